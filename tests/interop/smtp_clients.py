"""Mail comes in through swaks, curl and Python's smtplib, over every SMTP door, and is found over IMAP as it was sent."""

import base64
import smtplib
import socket
import time

import server as interop
from server import HOST, PASSWORD, USER, draft, expect, need, ok, run, same, succeed

need("swaks", "curl")


def swaks(server, subject, port, *options, sender="you@example.org", to=USER, by_queue=False):
    """Sends one message; swaks fails unless the server accepts it."""
    words = ["swaks", "--server", f"localhost:{port}", "--ehlo", "client.example.org", "--from", sender, "--to", to]
    said = succeed(*words, "--header", f"Subject: {subject}", "--body", f"swaks says {subject}", *options)
    expect("<-  250 2.0.0" in said or "<~  250 2.0.0" in said, "no 250 in", said)
    message = server.delivered(subject, after_reply=by_queue)
    expect(f"swaks says {subject}".encode() in message, "the text is missing in", message)
    return said, message


def login(mechanism):
    return ["--auth", mechanism, "--auth-user", USER, "--auth-password", PASSWORD]


def verified(server):
    """swaks checks the certificate and its name."""
    return ["--tls-verify", "--tls-ca-path", server.certificate]


def swaks_plain(server):
    _, message = swaks(server, "swaks plain", server.smtp)
    head = message.split(b"\r\n\r\n")[0].decode()
    expect(head.startswith(f"Delivered-To: {USER}\r\nReturn-Path: <you@example.org>\r\nReceived: from client.example.org "), head)
    expect(f"for <{USER}>" in head and "with ESMTP id" in head, head)


def swaks_pipelining(server):
    said, _ = swaks(server, "swaks pipelining", server.smtp, "--pipeline")
    expect(" -> DATA\n<-  250" in said, "swaks did not pipeline", said)


def swaks_starttls(server):
    said, message = swaks(server, "swaks starttls", server.smtp, "--tls", *verified(server))
    expect("TLS started with cipher TLSv1.3" in said and b"with ESMTPS id" in message, said, message)


def swaks_starttls_old(server):
    said, _ = swaks(server, "swaks tls 1.2", server.smtp, "--tls", "--tls-protocol", "tlsv1_2", *verified(server))
    expect("TLS started with cipher TLSv1.2" in said, said)


def swaks_submission(server):
    for mechanism in ("PLAIN", "LOGIN"):
        said, message = swaks(server, f"swaks submission {mechanism}", server.submission, *login(mechanism), sender=USER)
        expect("235 2.7.0" in said and b"with ESMTPA id" in message, said, message)
        expect(b"client.example.org" not in message.split(b"\r\n\r\n")[0], "our user's machine is told:", message)


def swaks_submission_starttls(server):
    for mechanism in ("PLAIN", "LOGIN"):
        options = [*login(mechanism), "--tls", *verified(server)]
        said, message = swaks(server, f"swaks submission tls {mechanism}", server.submission, *options, sender=USER)
        expect("~> AUTH" in said and b"with ESMTPSA id" in message, said, message)


def swaks_submissions(server):
    for mechanism in ("PLAIN", "LOGIN"):
        options = [*login(mechanism), "--tls-on-connect", *verified(server)]
        _, message = swaks(server, f"swaks submissions {mechanism}", server.submissions, *options, sender=USER)
        expect(b"with ESMTPSA id" in message, message)


def swaks_elsewhere(server):
    """localserve has no outside: mail to anywhere comes to its one account."""
    swaks(server, "swaks elsewhere", server.smtp, to="b@example.net")
    swaks(server, "swaks submitted elsewhere", server.submission, *login("PLAIN"), sender=USER, to="b@example.net", by_queue=True)


def swaks_refused(server):
    """The wrong-input side: no login, a wrong password, a sender of somebody else."""
    base = ["swaks", "--server", f"localhost:{server.submission}", "--to", USER]
    code, said, _ = interop.command(*base, "--from", USER)
    expect(code != 0 and "530 5.7.0" in said, code, said)
    code, said, _ = interop.command(*base, "--from", USER, "--auth", "PLAIN", "--auth-user", USER, "--auth-password", "wrong")
    expect(code != 0 and "535 5.7.8" in said, code, said)
    code, said, _ = interop.command(*base, "--from", "u1@localhost", *login("PLAIN"))
    expect(code != 0 and "<** 550 5.7" in said, code, said)


def curl(server, subject, url, *options, sender="you@example.org", to=(USER,)):
    """Sends a file with a first line that begins with a dot and a last line without an end."""
    text = f"From: {sender}\r\nSubject: {subject}\r\n\r\n.dot\r\n..\r\n.\r\nno end"
    file = server.scratch / "curl.eml"
    # --crlf is for files with the line ends of Unix.
    file.write_bytes(text.replace("\r", "" if "--crlf" in options else "\r").encode())
    recipients = [word for address in to for word in ("--mail-rcpt", address)]
    succeed("curl", "-sS", url, "--mail-from", sender, *recipients, "-T", file, *options)
    message = server.delivered(subject, after_reply=len(to) > 1)
    expect(message.endswith(text.encode() + b"\r\n"), "not as sent:", message)


def curl_smtp(server):
    curl(server, "curl smtp", f"smtp://localhost:{server.smtp}/client.example.org")
    curl(server, "curl from lf", f"smtp://localhost:{server.smtp}", "--crlf")


def curl_starttls(server):
    options = ["--ssl-reqd", "--cacert", server.certificate]
    curl(server, "curl starttls", f"smtp://localhost:{server.smtp}", *options)
    curl(server, "curl submission", f"smtp://localhost:{server.submission}", *options, "-u", f"{USER}:{PASSWORD}", sender=USER)


def curl_smtps(server):
    for mechanism in ("PLAIN", "LOGIN"):
        options = ["--cacert", server.certificate, "-u", f"{USER}:{PASSWORD}", "--login-options", f"AUTH={mechanism}"]
        curl(server, f"curl smtps {mechanism}", f"smtps://localhost:{server.submissions}", *options, sender=USER)


def curl_several(server):
    curl(server, "curl to three", f"smtp://localhost:{server.smtp}", to=(USER, "u1@localhost", "U2+detail@LOCALHOST"))
    for user in ("u1@localhost", "u2@localhost"):
        expect(b"no end" in server.delivered("curl to three", user, after_reply=True), user)


def smtplib_starttls(server):
    with server.smtp_client() as client:
        client.starttls(context=server.tls())
        client.send_message(draft("smtplib starttls"))
        # The same connection again.
        client.send_message(draft("smtplib second"))
    for subject in ("smtplib starttls", "smtplib second"):
        server.delivered(subject)


def smtplib_submission(server):
    with smtplib.SMTP_SSL("localhost", server.submissions, context=server.tls(), timeout=60) as client:
        client.login(USER, PASSWORD)
        client.send_message(draft("smtplib submissions", sender=USER))
    with smtplib.SMTP("localhost", server.submission, timeout=60) as client:
        client.ehlo()
        same(client.esmtp_features["auth"].split(), ["SCRAM-SHA-256", "SCRAM-SHA-1", "CRAM-MD5", "PLAIN", "LOGIN"], "mechanisms")
        client.user, client.password = USER, PASSWORD
        client.auth("LOGIN", client.auth_login)
        client.send_message(draft("smtplib auth login", sender=USER))
    for subject in ("smtplib submissions", "smtplib auth login"):
        server.delivered(subject)


def smtplib_smtputf8(server):
    message = draft("smtplib utf8 größe", sender="jürgen@bücher.example", to="δοκιμή@localhost")
    with server.smtp_client() as client:
        client.send_message(message)
    # RFC 6531: header and envelope are UTF-8 on the way and in the mailbox.
    with server.imap_login() as client:
        ok(client.select())
        uid = ok(client.uid("SEARCH", "HEADER", "Message-ID", interop.quoted(message["Message-ID"])))[0].decode()
        got = interop.fetched(client, uid)
    for part in ("Subject: smtplib utf8 größe", "Return-Path: <jürgen@bücher.example>", "δοκιμή@localhost", "with UTF8SMTP id"):
        expect(part.encode() in got, part, "is missing in", got.decode())


def smtplib_8bitmime(server):
    text = "From: you@example.org\r\nSubject: smtplib 8bit\r\nContent-Type: text/plain; charset=iso-8859-1\r\n\r\n".encode()
    text += bytes(range(128, 256)) + b"\r\n"
    with server.smtp_client() as client:
        client.sendmail("you@example.org", [USER], text, mail_options=["BODY=8BITMIME"])
    expect(server.delivered("smtplib 8bit").endswith(text), "not as sent")


def smtplib_big(server):
    """30 MB, streamed to a file on its way in."""
    line = base64.b64encode(bytes(range(57))) + b"\r\n"
    text = b"From: you@example.org\r\nSubject: smtplib big\r\n\r\n" + line * (30_000_000 // len(line))
    with server.smtp_client() as client:
        # By hand: smtplib's own quoting of dots takes seconds on such a message.
        client.ehlo()
        same(client.mail("you@example.org", [f"SIZE={len(text)}"])[0], 250, "MAIL")
        same(client.rcpt(USER)[0], 250, "RCPT")
        same(client.docmd("DATA")[0], 354, "DATA")
        client.sock.sendall(text + b".\r\n")
        same(client.getreply()[0], 250, "the end")
    got = server.delivered("smtplib big")
    same(got[-len(text) :] == text, True, "the message is as sent")
    with server.smtp_client() as client:
        client.ehlo()
        largest = int(client.esmtp_features["size"])
        same(client.mail("you@example.org", [f"SIZE={largest + 1}"])[0], 552, "a message above SIZE")


def smtplib_recipients(server):
    """200 accounts, one transaction: one fan-out over all cores."""
    users = [f"u{n}@localhost" for n in range(1, 201)]
    # u1 and u2 have mail already.
    before = messages(server)
    with server.smtp_client() as client:
        same(client.sendmail("you@example.org", users, draft("to all of you").as_bytes()), {}, "refused recipients")
    # Mail for other cores is delivered after the 250.
    end = time.monotonic() + 20
    while (now := messages(server)) != [n + 1 for n in before] and time.monotonic() < end:
        time.sleep(0.1)
    same(now, [n + 1 for n in before], "messages of each account")
    for user in users[::20] + users[-1:]:
        message = server.delivered("to all of you", user)
        expect(message.startswith(f"Delivered-To: {user}\r\n".encode()), message)


def messages(server):
    """Messages of u1, u2, ... u200."""
    import json

    code, out, err = server.ringmail("account", "list", "--numbers", "--json")
    same((code, err), (0, ""), "account list")
    items = [json.loads(line) for line in out.splitlines()]
    counts = {item["name"]: item["messages"] for item in items}
    return [counts[f"u{n}"] for n in range(1, 201)]


def smtplib_chunking(server):
    """BDAT by hand, since no client at hand speaks it; BINARYMIME keeps every octet."""
    text = b"From: you@example.org\r\nSubject: bdat\r\nContent-Transfer-Encoding: binary\r\n\r\n" + bytes(range(256)) * 4
    with server.smtp_client() as client:
        client.ehlo()
        same(client.mail("you@example.org", ["BODY=BINARYMIME"])[0], 250, "MAIL")
        same(client.rcpt(USER)[0], 250, "RCPT")
        client.sock.sendall(b"BDAT 100\r\n" + text[:100] + b"BDAT %d LAST\r\n" % (len(text) - 100) + text[100:])
        same([client.getreply()[0], client.getreply()[0]], [250, 250], "BDAT")
    with server.imap_login() as client:
        ok(client.select())
        uid = ok(client.uid("SEARCH", "SUBJECT", "bdat"))[0].decode()
        got = interop.fetched(client, uid, "BINARY.PEEK[]")
    expect(got.endswith(text), "not as sent:", got)


def many_at_once(server):
    """40 connections at the same time, each pipelining as far as RFC 2920 3.1 lets it."""
    talks = []
    for _ in range(40):
        talk = socket.create_connection((HOST, server.smtp), timeout=60)
        talks.append((talk, talk.makefile("rb")))
        talk.sendall(b"EHLO client\r\n")
    for n, (talk, lines) in enumerate(talks):
        while (line := lines.readline())[:4] != b"250 ":
            expect(line[:3] in (b"220", b"250"), "got", line)
        talk.sendall(f"MAIL FROM:<>\r\nRCPT TO:<u{n + 101}@localhost>\r\nDATA\r\n".encode())
    for talk, lines in talks:
        replies = [lines.readline()[:3] for _ in range(3)]
        same(replies, [b"250", b"250", b"354"], "replies")
        talk.sendall(b"From: <>\r\nSubject: many\r\n\r\n.\r\nQUIT\r\n")
    for talk, lines in talks:
        expect(lines.readline().startswith(b"250 2.0.0"), "not accepted")
        expect(lines.readline().startswith(b"221"), "no goodbye")
        talk.close()
    server.delivered("many", "u140@localhost")


run(
    swaks_plain,
    swaks_pipelining,
    swaks_starttls,
    swaks_starttls_old,
    swaks_submission,
    swaks_submission_starttls,
    swaks_submissions,
    swaks_elsewhere,
    swaks_refused,
    curl_smtp,
    curl_starttls,
    curl_smtps,
    curl_several,
    smtplib_starttls,
    smtplib_submission,
    smtplib_smtputf8,
    smtplib_8bitmime,
    smtplib_big,
    smtplib_recipients,
    smtplib_chunking,
    many_at_once,
    options=["--accounts", "200"],
)
