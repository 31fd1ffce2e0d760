"""Python's imaplib and curl read and change mail over every IMAP door."""

import imaplib
import re
import threading
import time

from server import HOST, PASSWORD, USER, command, draft, expect, fetched, need, ok, run, same, succeed

need("curl")


def text(n, words="some words"):
    """A message to append."""
    return draft(f"number {n}", f"{words} {n}\n").as_bytes()


def filled(client, mailbox, count):
    """A new mailbox with messages 1 to `count`, selected."""
    ok(client.create(mailbox))
    for n in range(1, count + 1):
        ok(client.append(mailbox, r"(\Seen)" if n % 2 else "", '"02-Nov-2026 10:00:00 +0100"', text(n)))
    same(ok(client.select(mailbox)), [str(count).encode()], "messages")


def numbers(answer):
    return [int(n) for n in ok(answer)[0].split()]


def logins(server):
    clients = [
        imaplib.IMAP4(HOST, server.imap),
        imaplib.IMAP4("localhost", server.imap),
        imaplib.IMAP4_SSL("localhost", server.imaps, ssl_context=server.tls()),
    ]
    clients[1].starttls(ssl_context=server.tls())
    for client in clients:
        expect("IMAP4REV1" in client.capabilities and "IMAP4REV2" in client.capabilities, client.capabilities)
        ok(client.login(USER, PASSWORD))
        ok(client.select())
        same(client.logout()[0], "BYE", "LOGOUT")
    with imaplib.IMAP4(HOST, server.imap) as client:
        ok(client.authenticate("PLAIN", lambda _: f"\0{USER}\0{PASSWORD}".encode()))
        expect("AUTH=PLAIN" not in ok(client.capability())[0].decode(), "a mechanism is offered after login")


def logins_refused(server):
    for user, password in ((USER, "wrong"), ("nobody@localhost.example", PASSWORD), ('""', "")):
        client = imaplib.IMAP4(HOST, server.imap)
        try:
            client.login(user, password)
            raise AssertionError("logged in")
        except imaplib.IMAP4.error as error:
            expect("AUTHENTICATIONFAILED" in str(error), error)
        client.logout()


def mailboxes(server):
    with server.imap_login() as client:
        for name in ("work", "work/plans", '"with spaces"', '"&AOQ-rger"'):
            ok(client.create(name))
        same(client.create("work")[0], "NO", "CREATE of what is there")
        listed = [line.decode() for line in ok(client.list())]
        for wanted in (r'(\HasChildren) "/" work', r'(\HasNoChildren) "/" work/plans', r'(\HasNoChildren) "/" "with spaces"'):
            expect(wanted in listed, wanted, "is not in", listed)
        expect(any("&AOQ-rger" in line for line in listed), listed)
        for use in ("Sent", "Drafts", "Junk", "Trash", "Archive"):
            expect(any(f"\\{use})" in line and line.endswith(use) for line in listed), use, listed)
        ok(client.subscribe("work/plans"))
        expect(any(line.decode().endswith("work/plans") for line in ok(client.lsub())), "LSUB")
        ok(client.unsubscribe("work/plans"))
        ok(client.rename("work", "play"))
        same([line.decode().split()[-1] for line in ok(client.list('""', "play*"))], ["play", "play/plans"], "after RENAME")
        expect(client.rename("nothing", "something")[0] == "NO", "RENAME of what is not there")
        expect(client.delete("INBOX")[0] == "NO", "INBOX was deleted")
        for name in ("play/plans", "play", '"with spaces"', '"&AOQ-rger"'):
            ok(client.delete(name))
        same(client.select("play")[0], "NO", "SELECT of what was deleted")
        expect(b'(("" "/"))' in ok(client.namespace())[0], "NAMESPACE")


def append_and_fetch(server):
    with server.imap_login() as client:
        ok(client.create("append"))
        message = text(1, "Grüße")
        answer = ok(client.append("append", r"(\Flagged keyword)", '"02-Nov-2026 10:00:00 +0100"', message))
        expect(re.match(rb"\[APPENDUID \d+ 1\]", answer[0]), answer)
        expect(b"[TRYCREATE]" in client.append("nothing", "", None, message)[1][0], "TRYCREATE")
        ok(client.select("append"))
        same(fetched(client, "1"), message, "the message")
        data = ok(client.fetch("1", "(FLAGS INTERNALDATE RFC822.SIZE UID)"))[0].decode()
        expect(f"RFC822.SIZE {len(message)}" in data and "UID 1" in data, data)
        # In any order, and \Recent may be among them.
        expect({r"\Flagged", "keyword"} <= set(re.search(r"FLAGS \(([^)]*)\)", data)[1].split()), data)
        date = imaplib.Internaldate2tuple(b'INTERNALDATE "02-Nov-2026 10:00:00 +0100"')
        same(imaplib.Internaldate2tuple(data.encode()), date, "date")
        head, body = message.split(b"\r\n\r\n", 1)
        same(fetched(client, "1", "BODY.PEEK[HEADER]"), head + b"\r\n\r\n", "header")
        same(fetched(client, "1", "BODY.PEEK[TEXT]"), body, "text")
        same(fetched(client, "1", "BODY.PEEK[]<5.20>"), message[5:25], "a part")
        same(fetched(client, "1", "BODY.PEEK[HEADER.FIELDS (SUBJECT)]"), b"Subject: number 1\r\n\r\n", "a field")
        same(fetched(client, "1", "RFC822"), message, "RFC822")
        expect(rb"\Seen" in ok(client.fetch("1", "(FLAGS)"))[0], r"RFC822 sets \Seen")
        envelope = ok(client.fetch("1", "(ENVELOPE BODYSTRUCTURE)"))[0].decode()
        expect('"number 1"' in envelope and '"you" "example.org"' in envelope and '"text" "plain"' in envelope.lower(), envelope)
        same(client.uid("FETCH", "2", "(FLAGS)"), ("OK", [None]), "UID FETCH of what is not there")


def search(server):
    with server.imap_login() as client:
        filled(client, "search", 10)
        every = list(range(1, 11))
        for criteria, wanted in (
            (["ALL"], every),
            (["UNSEEN"], every[1::2]),
            (["2:4,8"], [2, 3, 4, 8]),
            (["SUBJECT", '"NUMBER 10"'], [10]),
            (["BODY", '"words 3"'], [3]),
            (["TEXT", '"words"', "NOT", "SEEN"], every[1::2]),
            (["OR", "FROM", '"nobody"', "UID", "9:*"], [9, 10]),
            (["SINCE", "2-Nov-2026", "BEFORE", "3-Nov-2026"], every),
            (["SENTBEFORE", "2-Nov-2026"], []),
            (["LARGER", "1000000"], []),
            (["HEADER", "Message-ID", '""'], every),
            (["KEYWORD", "nothing"], []),
        ):
            same(numbers(client.search(None, *criteria)), wanted, criteria)
        client.literal = "words 7".encode()
        same(numbers(client.uid("SEARCH", "CHARSET", "UTF-8", "BODY")), [7], "a literal")
        same(client.search("X-UNKNOWN", "ALL")[0], "NO", "an unknown charset")
        _, returned = client._simple_command("SEARCH", "RETURN", "(MIN MAX COUNT ALL)", "UNSEEN")
        same(client.response("ESEARCH")[1][-1].split(b") ", 1)[1].lower(), b"min 2 max 10 count 5 all 2,4,6,8,10", "ESEARCH")


def store_copy_move_expunge(server):
    with server.imap_login() as client, server.imap_login() as other:
        filled(client, "first", 10)
        ok(client.create("second"))
        ok(other.select("first"))
        ok(client.store("1:3", "+FLAGS", r"(\Flagged $label)"))
        ok(client.store("3", "-FLAGS", r"(\Flagged)"))
        ok(client.uid("STORE", "4", "FLAGS.SILENT", r"(\Answered)"))
        same(numbers(client.search(None, "FLAGGED")), [1, 2], "flagged")
        same(numbers(client.search(None, "KEYWORD", "$label")), [1, 2, 3], "labelled")
        ok(other.noop())
        same(numbers(other.search(None, "FLAGGED", "KEYWORD", "$label")), [1, 2], "what another session sees")
        expect(re.match(rb"\[COPYUID \d+ 1:2 1:2\]", ok(client.copy("1:2", "second"))[0]), "COPYUID")
        ok(client.uid("COPY", "5", "second"))
        same(status(client, "second", "MESSAGES"), 3, "copied")
        _, moved = client.uid("MOVE", "6:7", "second")
        same(status(client, "second", "MESSAGES"), 5, "moved")
        same(numbers(client.uid("SEARCH", "ALL")), [1, 2, 3, 4, 5, 8, 9, 10], "left")
        ok(client.store("1,3", "+FLAGS", r"(\Deleted)"))
        same(status(client, "first", "DELETED"), 2, "DELETED")
        # RFC 4315: of those named only.
        same(client.uid("EXPUNGE", "3")[0], "OK", "UID EXPUNGE")
        same(numbers(client.uid("SEARCH", "ALL")), [1, 2, 4, 5, 8, 9, 10], "after UID EXPUNGE")
        client.untagged_responses.clear()
        same(ok(client.expunge()), [b"1"], "EXPUNGE")
        # RFC 9051 7.5.1: nothing is expunged under a session that names messages by number; NOOP tells it.
        # Flags that changed may be told with it.
        expect(any(re.match(rb"10 \(.*UID 10\b", line) for line in ok(other.fetch("10", "(UID)"))), "the other session's numbers slipped")
        ok(other.noop())
        same(numbers(other.uid("SEARCH", "ALL")), [2, 4, 5, 8, 9, 10], "what the other session sees")
        for uid in (2, 10):
            same(fetched(other, str(uid), "BODY.PEEK[HEADER.FIELDS (SUBJECT)]"), f"Subject: number {uid}\r\n\r\n".encode(), uid)
        ok(client.store("1:*", "+FLAGS", r"(\Deleted)"))
        ok(client.close())
        same(status(client, "first", "MESSAGES"), 0, "after CLOSE")
        ok(client.select("second", readonly=True))
        same(client.store("1", "+FLAGS", r"(\Seen)")[0], "NO", "STORE after EXAMINE")
        ok(client.unselect())


def status(client, mailbox, item):
    return int(re.search(rf"{item} (\d+)", ok(client.status(mailbox, f"({item})"))[0].decode())[1])


def statuses(server):
    with server.imap_login() as client:
        filled(client, "status", 4)
        items = ok(client.status("status", "(MESSAGES UNSEEN UIDNEXT UIDVALIDITY SIZE RECENT DELETED HIGHESTMODSEQ)"))[0].decode()
        sizes = ok(client.fetch("1:*", "(RFC822.SIZE)"))
        size = sum(int(re.search(rb"SIZE (\d+)", line)[1]) for line in sizes)
        for part in ("MESSAGES 4", "UNSEEN 2", "UIDNEXT 5", f"SIZE {size}", "DELETED 0"):
            expect(part in items, part, "is not in", items)
        same(client.status("nothing", "(MESSAGES)")[0], "NO", "STATUS of what is not there")


def idle(server):
    """imaplib 3.11 knows no IDLE: by hand."""
    with server.imap_login() as client:
        ok(client.create("idle"))
        ok(client.select("idle"))
        client.send(b"x1 IDLE\r\n")
        expect(client.readline().startswith(b"+ "), "no continuation")

        def change():
            with server.imap_login() as other:
                ok(other.append("idle", "", None, text(1)))
                ok(other.select("idle"))
                ok(other.store("1", "+FLAGS", r"(\Flagged)"))
                ok(other.store("1", "+FLAGS", r"(\Deleted)"))
                ok(other.expunge())

        thread = threading.Thread(target=change)
        thread.start()
        seen = b""
        while b"EXPUNGE" not in seen:
            line = client.readline()
            expect(line, "the server closed after", seen)
            seen += line
        thread.join()
        expect(b"* 1 EXISTS" in seen and b"* 1 EXPUNGE" in seen, seen)
        # A delivery from outside wakes it as well.
        client.send(b"DONE\r\n")
        expect(client.readline().startswith(b"x1 OK"), "IDLE did not end")
        ok(client.select())
        client.send(b"x2 IDLE\r\n")
        expect(client.readline().startswith(b"+ "), "no continuation")
        start = time.monotonic()
        with server.smtp_client() as smtp:
            smtp.send_message(draft("wake up"))
        while b"EXISTS" not in client.readline():
            pass
        expect(time.monotonic() - start < 2, "news took", time.monotonic() - start)
        client.send(b"DONE\r\n")
        while not client.readline().startswith(b"x2 OK"):
            pass


def large_mailbox(server):
    """1,000 messages: all flags and all heads in one answer each."""
    with server.imap_login() as client:
        ok(client.create("large"))
        message = text(0)
        # RFC 3502 is not offered: one APPEND each, the literals without waiting (RFC 7888).
        for n in range(1000):
            client.send(b"a%d APPEND large {%d+}\r\n%b\r\n" % (n, len(message), message))
        for n in range(1000):
            line = client.readline()
            while line.startswith(b"* "):
                line = client.readline()
            expect(line.startswith(b"a%d OK [APPENDUID" % n), line)
        same(ok(client.select("large")), [b"1000"], "messages")
        same(len(ok(client.fetch("1:*", "(FLAGS UID)"))), 1000, "flags")
        bodies = [part[1] for part in ok(client.uid("FETCH", "1:*", "(BODY.PEEK[])")) if isinstance(part, tuple)]
        same((len(bodies), set(bodies)), (1000, {message}), "bodies")


def curl(server, url, *options, scheme="imap", port=None):
    base = f"{scheme}://localhost:{port or server.imap}/{url}"
    return succeed("curl", "-sS", "--cacert", server.certificate, "-u", f"{USER}:{PASSWORD}", base, *options)


def curl_all(server):
    doors = (("imap", server.imap, []), ("imap", server.imap, ["--ssl-reqd"]), ("imaps", server.imaps, []))
    message = draft("curl", "appended by curl\n").as_bytes()
    file = server.scratch / "message"
    file.write_bytes(message)
    for n, (scheme, port, options) in enumerate(doors):
        how = {"scheme": scheme, "port": port}
        curl(server, "", "-X", f"CREATE curl{n}", *options, **how)
        expect(f"curl{n}" in curl(server, "", *options, **how), "LIST")
        curl(server, f"curl{n}", "-T", file, *options, **how)
        same(curl(server, f"curl{n};MAILINDEX=1", *options, **how), message.decode(), "FETCH by MAILINDEX")
        same(curl(server, f"curl{n};UID=1;SECTION=TEXT", *options, **how), "appended by curl\r\n", "a section")
        same(curl(server, f"curl{n}?SUBJECT%20curl", *options, **how).strip(), "* SEARCH 1", "SEARCH")
        expect("MESSAGES 1" in curl(server, "", "-X", f"STATUS curl{n} (MESSAGES)", *options, **how), "STATUS")
    for mechanism in ("PLAIN", "LOGIN"):
        expect("INBOX" in curl(server, "", "--login-options", f"AUTH={mechanism}"), mechanism)
    code, _, _ = command("curl", "-sS", "-u", f"{USER}:wrong", f"imap://localhost:{server.imap}/")
    same(code, 67, "curl with a wrong password")


run(
    logins,
    logins_refused,
    mailboxes,
    append_and_fetch,
    search,
    store_copy_move_expunge,
    statuses,
    idle,
    large_mailbox,
    curl_all,
)
