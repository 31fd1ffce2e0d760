"""Signatures of ringmail over mail as Postfix has received it: OpenDKIM verifies them while it arrives, dkimpy and Mail::DKIM what was stored. RSA and Ed25519;
keys are in DNS. RFC 6376, 8463."""

import base64
import email.utils
import re
import smtplib
import tempfile
from pathlib import Path

from server import HOST, PASSWORD, expect, same, succeed
from server.dkim_verifiers import mail_dkim, passes, signable
from server.opendkim import OpenDkim
from server.postfix import Postfix
from server.sending import SENDER, Stage, run, until
from server.zones import APEX

ADDRESS, RECIPIENT = "127.0.0.111", "friend@unsigned.test"
ALGORITHMS = {"rsa": b"rsa-sha256", "small": b"ed25519-sha256"}
DOMAIN, RECORDS = "example.org", {}


def zones(stage):
    """Keys, and their records in DNS."""
    for selector, options in (("rsa", ("RSA", "-pkeyopt", "rsa_keygen_bits:2048")), ("small", ("ed25519",))):
        key, public = stage.scratch / f"{selector}.key", stage.scratch / f"{selector}.der"
        succeed("openssl", "genpkey", "-algorithm", *options, "-out", key)
        key.chmod(0o600)
        succeed("openssl", "pkey", "-in", key, "-pubout", "-outform", "DER", "-out", public)
        octets = public.read_bytes()
        # RFC 8463 4: without what stands around it.
        octets = octets[-32:] if selector == "small" else octets
        kind = "ed25519" if selector == "small" else "rsa"
        RECORDS[f"{selector}._domainkey.{DOMAIN}"] = f"v=DKIM1; k={kind}; p={base64.b64encode(octets).decode()}"
    lines = ""
    for name, record in RECORDS.items():
        parts = " ".join(f'"{record[at : at + 255]}"' for at in range(0, len(record), 255))
        lines += f"{name}. TXT {parts}\n"
    return {"signed.test": APEX + "@ MX 10 ns\n", "unsigned.test": APEX + f"@ MX 10 mx\nmx A {ADDRESS}\n", DOMAIN: APEX + lines.replace(";", "\\;")}


def prepare(stage):
    keys = "".join(f'[domain."{DOMAIN}".dkim.{selector}]\nkey = "{selector}.key"\n' for selector in ALGORITHMS)
    # OpenDKIM falls over two connections at a time.
    one = "connections_per_site_max = 1\nconnections_at_first = 1\n"
    stage.send_with(outbound=f'pause_first_secs = "1s"\n{one}', domain=keys)
    judge = stage.add(OpenDkim(stage.scratch, stage.daemons.unbound))
    # We come from an address of its own, and are not to be taken for a client that leaves its headers to Postfix.
    more = f"smtpd_milters = inet:{HOST}:{judge.port}\nmilter_default_action = reject\nlocal_header_rewrite_clients =\n"
    stage.postfix = stage.add(Postfix(stage.scratch, stage.port, {ADDRESS: ["myhostname = mx.unsigned.test"]}, ["unsigned.test"], more))


def submit(stage, messages):
    """Submits them: what Postfix has, by number."""
    with smtplib.SMTP(HOST, stage.sender.ports["submission"], local_hostname="client.example.org", timeout=60) as client:
        client.ehlo()
        expect(client.has_extn("chunking"), client.esmtp_features)
        client.login(SENDER, PASSWORD)
        for number, message in enumerate(messages):
            options = ["BODY=8BITMIME"] + ["SMTPUTF8"] * (not message.partition(b"\r\n\r\n")[0].isascii())
            same(client.mail(SENDER, options)[0], 250, "reply to MAIL")
            same(client.rcpt(RECIPIENT)[0], 250, "reply to RCPT")
            # By BDAT, without what smtplib would make of its end. RFC 3030 2.
            message = b"X-Number: %d\r\n" % number + message
            client.send(b"BDAT %d LAST\r\n" % len(message) + message)
            reply = client.getreply()
            same(reply[0], 250, f"reply to message {number}: {reply}")
    found = {}

    def all_there():
        for text in stage.postfix.messages():
            # Maildir has bare LFs.
            text = text.replace(b"\n", b"\r\n")
            found[int(re.search(rb"^X-Number: (\d+)\r$", text, re.M)[1])] = text
        return len(found) == len(messages)

    until(all_there, lambda: f"{len(messages)} messages, not {sorted(found)}: {stage.postfix.log()[-5000:]}")
    stage.sender.empty()
    for path in (stage.scratch / "postfix" / "mail" / "all" / "new").glob("*"):
        path.unlink()
    return found


def all_pass(found, messages):
    unjudged = 0
    for number, text in found.items():
        header, _, body = text.partition(b"\r\n\r\n")
        unfolded = re.sub(rb"\r\n[ \t]+", b" ", header)
        what = f"message {number}: {header.decode(errors='replace')}"
        algorithms = re.findall(rb"^DKIM-Signature: v=1; a=(\S+);.*? d=example.org;", unfolded, re.M)
        same(algorithms, list(ALGORITHMS.values()), what)
        is_large = len(body) > 100_000
        # dkimpy takes a second for a large one.
        for index in (1,) if is_large else (0, 1):
            expect(passes(text, index, RECORDS), "signature", index, what)
            expect(is_large or not passes(header + b"\r\n\r\n." + body, index, RECORDS), "with another body, signature", index, what)
        original = messages[number].partition(b"\r\n\r\n")[2]
        same(body, original + (b"" if original.endswith(b"\r\n") or not original else b"\r\n"), f"body of {what}")
        results = re.search(rb"^Authentication-Results: ?opendkim.test;(.*)", unfolded, re.M)
        expect(results, "nothing of OpenDKIM in", what)
        if b"(bad message/signature format)" in results[1]:
            # It judges no message whose header is not as it should be.
            unjudged += 1
            continue
        for algorithm in ALGORITHMS.values():
            expect(re.search(rb" dkim=pass(?: \([^)]*\))? [^;]*header.a=" + algorithm + b" ", results[1]), results[1], what)
    expect(unjudged * 4 < len(found), unjudged, "of", len(found), "messages that OpenDKIM does not judge")
    with tempfile.TemporaryDirectory() as folder:
        for n, text in enumerate(found.values()):
            (Path(folder) / f"{n:05}").write_bytes(text)
        same(mail_dkim(folder, RECORDS, DOMAIN, "rsa"), ["rsa=pass"] * len(found), "Mail::DKIM")


def mail_of_all_kinds(stage):
    """What may become another on the way: dots, ends, lines without end, octets beyond ASCII, fields of many forms, size."""
    start = f"From: Anna <{SENDER}>\r\nTo: {RECIPIENT}\r\nSubject: x\r\nDate: {email.utils.formatdate()}\r\nMessage-ID: <1@{DOMAIN}>\r\n".encode()
    messages = [
        start + b"\r\nhello\r\n",
        start + b"\r\n.\r\n..dots\r\n...\r\n. \r\n.\r\n",
        start + b"\r\nends \t\r\n\r\n \r\n\r\n",
        start + b"\r\n\r\n\r\n",
        start + b"\r\n",
        start + b"\r\nno line end",
        start + b"\r\n.",
        start + b"\r\n" + b"a line without end " * 500 + b"\r\nand one\r\n",
        start + b"\r\n" + "ä".encode() * 3000 + b" and no line end",
        start + "\r\nGr\u00fc\u00dfe\r\n.\r\n".encode(),
        start + "Comments: \u00e4\r\n".encode() + b"\r\nx\r\n",
        start + b"Reply-To:friend@unsigned.test  \r\nCc:\r\n a@unsigned.test,\r\n\t  b@unsigned.test\t\r\nKEYWORDS : a,  b\r\nMIME-version: 1.0\r\n\r\nx\r\n",
        start + b"Cc: " + b", ".join(b"friend-%d@unsigned.test" % n for n in range(200)) + b"\r\n\r\nx\r\n",
        start + b"\r\n" + b"words that fill a line,  and more of them\r\n" * 30_000,
    ]
    all_pass(submit(stage, messages), messages)


def real_mail(stage):
    """Of the corpora, as if our user had written it."""
    messages = []
    for _, text in signable()[::20]:
        header, separator, body = text.partition(b"\r\n\r\n")
        header = re.sub(rb"^from[ \t]*:(?:.|\r\n[ \t])*", b"From: " + SENDER.encode(), header, flags=re.M | re.I)
        # What the servers would refuse or remove for reasons of their own, and what is not ours.
        header = re.sub(rb"^(?:dkim-signature|delivered-to|return-path|received|content-length)[ \t]*:(?:.|\r\n[ \t])*\r\n", b"", header + b"\r\n",
                        flags=re.M | re.I)  # fmt: skip
        messages.append(header.removesuffix(b"\r\n") + separator + body.replace(b"\0", b""))
    # A line that is no field is where the body begins, for Postfix: it puts an empty line before it.
    messages = [text for text in messages if all(re.match(rb"[!-9;-~]+[ \t]*:|[ \t]", line) for line in text.partition(b"\r\n\r\n")[0].split(b"\r\n"))]
    expect(len(messages) > 20, len(messages))
    all_pass(submit(stage, messages), messages)


run(Stage(zones), prepare, mail_of_all_kinds, real_mail)
