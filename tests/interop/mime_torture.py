"""Messages that broke other programs: each comes back octet for octet, delivered over SMTP and appended over IMAP, and can be described.

The server parses none of them to accept them; what it says about their structure must at least be a well-formed answer.
"""

import re

from server import USER, corpora, expect, ok, quoted, run, same

FOLDERS = ("mime/mail-parser", "mime/mime4j", "spam", "bounces")
NO_MESSAGES = {".json", ".xml", ".md", ".out", ".txt", ".dat"}
# One connection may say so much; localserve allows more, but then a failure shows which message it was.
BATCH = 100


def messages():
    """Name and octets of each, with CRLF wherever a line ends."""
    folder = corpora()
    found = []
    for name in FOLDERS:
        paths = sorted(p for p in (folder / name).rglob("*") if p.is_file())
        paths = [p for p in paths if not NO_MESSAGES & {s.lower() for s in p.suffixes} and p.name not in ("LICENSE", "README")]
        expect(paths, "no messages in", folder / name)
        found += [(str(p.relative_to(folder)), crlf(p.read_bytes())) for p in paths]
    expect(len(found) > 500, "only", len(found), "messages")
    return found


def crlf(text):
    """RFC 5321 2.3.8: lines end with CRLF; a bare CR or LF is the end of a line in these files."""
    text = re.sub(rb"\r\n|\r|\n", b"\r\n", text)
    return text if text.endswith(b"\r\n") else text + b"\r\n"


def fits_data(text):
    """RFC 5321 4.5.3.1.6 bounds lines, RFC 5321 2.3.1 forbids NUL; such messages go by BDAT with BINARYMIME."""
    return b"\0" not in text and max(len(line) for line in text.split(b"\r\n")) <= 998


def delivered(server):
    """By DATA where that is allowed, else by BDAT; fetched back with only our own fields before them."""
    with server.smtp_client() as smtp:
        smtp.ehlo()
        for n, (name, text) in enumerate(MESSAGES):
            user = f"u{n % 4 + 1}+t{n}@localhost"
            body = "BINARYMIME" if not fits_data(text) else "8BITMIME"
            same(smtp.mail("you@example.org", [f"BODY={body}", f"SIZE={len(text)}"])[0], 250, name)
            same(smtp.rcpt(user)[0], 250, name)
            if body == "BINARYMIME":
                smtp.sock.sendall(b"BDAT %d LAST\r\n" % len(text) + text)
                reply = smtp.getreply()
            else:
                reply = smtp.data(text)
            expect(reply[0] == 250, name, "was refused:", reply)
    for account in range(1, 5):
        with server.imap_login(f"u{account}@localhost") as client:
            same(int(ok(client.select())[0]), len(MESSAGES[account - 1 :: 4]), "messages")
            for uid, n in enumerate(range(account - 1, len(MESSAGES), 4), 1):
                name, text = MESSAGES[n]
                got = body_of(client, uid, text)
                ours, theirs = got[: len(got) - len(text)], got[len(got) - len(text) :]
                same(theirs, text, name)
                fields = re.sub(rb"\r\n[ \t]+", b" ", ours).split(b"\r\n")
                same([field.split(b":")[0] for field in fields], [b"Delivered-To", b"Return-Path", b"Received", b""], name)
                same(fields[0], f"Delivered-To: u{account}+t{n}@localhost".encode(), name)
                described(client, uid, name, len(got))


def appended(server):
    """With LITERAL+, and as literal8 what needs it; fetched back as it was."""
    with server.imap_login() as client:
        ok(client.create("torture"))
        for start in range(0, len(MESSAGES), BATCH):
            batch = MESSAGES[start : start + BATCH]
            for name, text in batch:
                literal = b"~{%d+}" if b"\0" in text else b"{%d+}"
                client.send(b"a1 APPEND torture " + literal % len(text) + b"\r\n" + text + b"\r\n")
            for name, _ in batch:
                line = client.readline()
                expect(line.startswith(b"a1 OK [APPENDUID "), name, "was refused:", line)
        same(int(ok(client.select("torture"))[0]), len(MESSAGES), "messages")
        for uid, (name, text) in enumerate(MESSAGES, 1):
            same(body_of(client, uid, text), text, name)
            described(client, uid, name, len(text))


def body_of(client, uid, text):
    """BODY[], or BINARY[] for what a literal cannot carry (RFC 9051 4.3: no NUL)."""
    what = "BINARY.PEEK[]" if b"\0" in text else "BODY.PEEK[]"
    answer = ok(client.uid("FETCH", str(uid), f"({what})"))
    literals = [part[1] for part in answer if isinstance(part, tuple)]
    same(len(literals), 1, answer[:2])
    return literals[0]


def described(client, uid, name, size):
    """Structure and envelope are whole: brackets and quotes close, literals aside."""
    answer = ok(client.uid("FETCH", str(uid), "(RFC822.SIZE ENVELOPE BODYSTRUCTURE BODY)"))
    line = b"".join(part[0] + quoted(part[1].decode("latin-1")).encode("latin-1") if isinstance(part, tuple) else part for part in answer)
    line = re.sub(rb"\{\d+\}(?=\")", b"", line)
    expect(f"RFC822.SIZE {size}".encode() in line, name, line[:200])
    outside = re.sub(rb'"(?:[^"\\]|\\.)*"', b"", line, flags=re.S)
    expect(b'"' not in outside and b"\0" not in line, name, "is described with a lone quote:", line)
    depth = 0
    for bracket in re.findall(rb"[()]", outside):
        depth += 1 if bracket == b"(" else -1
        expect(depth >= 0, name, "closes more than it opens:", line)
    same(depth, 0, f"open brackets of {name}")
    # RFC 9051 7.5.2: ten fields of the envelope.
    envelope = outside[outside.index(b"ENVELOPE (") :]
    expect(envelope, name)


def parts(server):
    """Each part that the structure of an appended message names is there: MIME headers, content, decoded content."""
    with server.imap_login() as client:
        ok(client.select("torture", readonly=True))
        for uid, (name, text) in enumerate(MESSAGES, 1):
            if b"\0" in text:
                continue
            for part in ("1", "1.1", "2", "2.HEADER", "1.MIME"):
                status, answer = client.uid("FETCH", str(uid), f"(BODY.PEEK[{part}])")
                expect(status == "OK", name, part, status, answer)
            # NO for an encoding that cannot be undone (RFC 3516 4.3) and for a part that is no leaf.
            status, answer = client.uid("FETCH", str(uid), "(BINARY.SIZE[1] BINARY.PEEK[1])")
            refused = status == "NO" and answer[0].startswith((b"[UNKNOWN-CTE]", b"[CANNOT]"))
            expect(status == "OK" or refused, name, status, answer)


def searched(server):
    """Every message is decoded and looked through."""
    with server.imap_login() as client:
        ok(client.select("torture", readonly=True))
        for criteria in (["BODY", '"the"'], ["TEXT", '"subject"'], ["SUBJECT", '"re"'], ["FROM", '"@"'], ["SENTSINCE", "1-Jan-1990"]):
            found = ok(client.uid("SEARCH", *criteria))[0].split()
            expect(len(found) > 20, criteria, "found", len(found))


def checked(server):
    code, out, err = server.ringmail("check")
    same((code, "nothing is wrong" in out), (0, True), out + err)


MESSAGES = messages()
run(delivered, appended, parts, searched, checked, options=["--accounts", "4"])
