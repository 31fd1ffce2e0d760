"""Signatures of submitted mail, from the door to the reader: dkimpy and Mail::DKIM verify what a recipient gets. Keys and records are those of
`ringmail dkim gen`, the next hop is localserve's own, which brings mail for elsewhere back."""

import email.utils
import re
import smtplib
import tempfile
import time
from pathlib import Path

from server import HOST, PASSWORD, USER, expect, fetched, ok, run, same
from server.dkim_verifiers import mail_dkim, passes, signable

DOMAIN, AUTHOR = "example.net", "joe@example.net"
RECORDS = {}


def keys_are_made(server):
    """Two keys for a domain of the operator's own, and the server reloads."""
    domains = f'[postmaster]\naccount = "ringmail"\n[domain.localhost]\n[domain."{DOMAIN}"]\n'
    for selector, *options in (("rsa", "--bits", "3072"), ("small", "--ed25519")):
        code, told, error = server.ringmail("dkim", "gen", DOMAIN, selector, *options)
        expect(code == 0, told, error)
        name, strings = re.search(r"^(\S+)\. IN TXT \(\n((?:\t.*\n)+)\t\)$", told, re.M).groups()
        strings = re.findall(r'"(.*)"', strings)
        expect(all(len(s) <= 255 for s in strings), strings)
        RECORDS[name] = "".join(strings)
        domains += re.search(r"^\[domain\..*\n.*\n", told, re.M).group()
    same(sorted(RECORDS), [f"rsa._domainkey.{DOMAIN}", f"small._domainkey.{DOMAIN}"], "names")
    (server.directory / "domains.toml").write_text(domains)
    (server.directory / "accounts").mkdir(exist_ok=True)
    (server.directory / "accounts" / "ringmail.toml").write_text(f'addresses = ["{USER}", "{AUTHOR}"]\n')
    code, told, error = server.ringmail("reload")
    expect(code == 0, told, error)


def submit(server, messages):
    """Submits them for elsewhere, and answers what came back, in order."""
    with smtplib.SMTP(HOST, server.submission, local_hostname="client.example.org", timeout=60) as client:
        client.login(USER, PASSWORD)
        for number, message in enumerate(messages):
            options = ["BODY=8BITMIME"] + ["SMTPUTF8"] * (not message.partition(b"\r\n\r\n")[0].isascii())
            client.sendmail(AUTHOR, ["friend@example.org"], b"X-Number: %d\r\n" % number + message, options)
    with server.imap_login() as imap:
        end = time.monotonic() + 60
        while int(ok(imap.select())[0]) < len(messages):
            expect(time.monotonic() < end, "not all came back")
            time.sleep(0.1)
        uids = ok(imap.uid("SEARCH", "ALL"))[0].decode().split()
        found = {}
        for uid in uids:
            text = fetched(imap, uid)
            found[int(re.search(rb"^X-Number: (\d+)\r$", text, re.M).group(1))] = text
        ok(imap.uid("STORE", ",".join(uids), "+FLAGS", r"(\Deleted)"))
        ok(imap.expunge())
    same(sorted(found), list(range(len(messages))), "messages that came back")
    return [found[number] for number in range(len(messages))]


def all_pass(received):
    """Both signatures for dkimpy, that with RSA for Mail::DKIM; and none once the message is another."""
    for text in received:
        header = text.partition(b"\r\n\r\n")[0]
        ours = re.findall(rb"^DKIM-Signature: v=1; a=(\S+);(?:.|\r\n[ \t])*? d=example.net;", header, re.M)
        same(ours, [b"rsa-sha256", b"ed25519-sha256"], "signatures of ours")
        expect(header.find(b"DKIM-Signature: ") < header.find(b"\r\nReceived: "), header)
        for index in (0, 1):
            expect(passes(text, index, RECORDS), "signature", index, header.decode(errors="replace"))
            expect(not passes(text.replace(b"\r\n\r\n", b"\r\n\r\n.", 1), index, RECORDS), "with another body")
            expect(not passes(b"Subject: more\r\n" + text, index, RECORDS), "with another subject")
    with tempfile.TemporaryDirectory() as folder:
        for number, text in enumerate(received):
            (Path(folder) / f"{number:05}").write_bytes(text)
        same(mail_dkim(folder, RECORDS, DOMAIN, "rsa"), ["rsa=pass"] * len(received), "Mail::DKIM")


def mail_of_all_kinds(server):
    """What a server may change on the way: dots, empty lines at the end, octets beyond ASCII, fields that are missing, size."""
    start = f"From: Joe <{AUTHOR}>\r\nTo: friend@example.org\r\nSubject: x\r\n".encode()
    rest = f"Date: {email.utils.formatdate()}\r\nMessage-ID: <1@{DOMAIN}>\r\n".encode()
    messages = [
        start + b"\r\nhello\r\n",
        start + rest + b"\r\n.\r\n..dots\r\n.\r\n",
        start + rest + b"\r\nends \t\r\n\r\n \r\n\r\n",
        start + b"\r\n",
        start + rest + "\r\nGr\u00fc\u00dfe\r\n".encode(),
        start + "Comments: \u00e4\r\n".encode() + b"\r\nx\r\n",
        start + rest + b"List-Unsubscribe: <https://example.net/u>\r\nList-Unsubscribe-Post: List-Unsubscribe=One-Click\r\n\r\nx\r\n",
        # To a file on its way in.
        start + rest + b"\r\n" + b"words that fill a line,  and more of them\r\n" * 30_000,
        # Taken apart by the worker pool.
        start + b"".join(b"X-Field-%d: some words\r\n" % n for n in range(2000)) + b"\r\nx\r\n",
    ]
    all_pass(submit(server, messages))


def real_mail(server):
    """Of the corpora, as if our user had written it."""
    messages = []
    for _, text in signable()[::9]:
        header, separator, body = text.partition(b"\r\n\r\n")
        header = re.sub(rb"^from[ \t]*:(?:.|\r\n[ \t])*", b"From: " + AUTHOR.encode(), header, flags=re.M | re.I)
        # What the server would refuse for reasons of its own, and what is not ours.
        header = re.sub(rb"^(?:dkim-signature|delivered-to|return-path)[ \t]*:(?:.|\r\n[ \t])*\r\n", b"", header + b"\r\n", flags=re.M | re.I)
        messages.append(header.removesuffix(b"\r\n") + separator + body.replace(b"\0", b""))
    expect(len(messages) > 40, len(messages))
    received = submit(server, messages)
    all_pass(received)


run(keys_are_made, mail_of_all_kinds, real_mail)
