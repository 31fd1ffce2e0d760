"""mbsync (isync) keeps maildirs and the server alike, in both directions: messages, flags, deletions, folders."""

import random
import subprocess
from collections import Counter
from pathlib import Path

from server import PASSWORD, USER, corpora, draft, expect, need, ok, run, same, succeed

need("mbsync")

GENERATED = 300
FLAGS = {"S": r"\Seen", "F": r"\Flagged", "R": r"\Answered", "D": r"\Draft", "T": r"\Deleted"}


def samples():
    """Generated messages and real ones, with the line ends of a maildir. mbsync takes no NUL and no header without an end."""
    chance = random.Random(1)
    texts = []
    for n in range(GENERATED):
        body = "".join(chance.choice("abcdefghij klmnop\n.") for _ in range(chance.randrange(0, 4000)))
        texts.append(draft(f"generated {n}", body).as_bytes().replace(b"\r\n", b"\n"))
    paths = sorted(corpora().glob("spam/ham/*")) + sorted(corpora().glob("bounces/*.eml"))
    for path in filter(Path.is_file, paths):
        text = path.read_bytes().replace(b"\r\n", b"\n")
        if b"\0" not in text and b"\r" not in text and b"\n\n" in text:
            texts.append(text if text.endswith(b"\n") else text + b"\n")
    expect(len(texts) > GENERATED + 100, "only", len(texts), "messages")
    return texts


class Maildir:
    """A maildir that one mbsync channel keeps like the server's mailboxes."""

    def __init__(self, server, name, tls):
        self.server, self.name = server, name
        self.path = server.scratch / name
        self.path.mkdir()
        self.config = server.scratch / f"{name}.mbsyncrc"
        self.config.write_text(
            f"""
IMAPAccount ringmail
Host localhost
Port {server.imaps if tls == "IMAPS" else server.imap}
User {USER}
Pass {PASSWORD}
SSLType {tls}
CertificateFile {server.certificate}
AuthMechs {"LOGIN" if tls == "None" else "PLAIN"}

IMAPStore remote
Account ringmail

MaildirStore local
Path {self.path}/
Inbox {self.path}/INBOX
SubFolders Verbatim

Channel both
Far :remote:
Near :local:
Patterns *
Create Both
Remove Both
Expunge Both
Sync All
SyncState *
"""
        )

    def sync(self):
        succeed("mbsync", "-c", self.config, "both", timeout=120)

    def folder(self, name):
        folder = self.path / name
        for part in ("cur", "new", "tmp"):
            (folder / part).mkdir(parents=True, exist_ok=True)
        return folder

    def add(self, mailbox, n, text, flags=""):
        (self.folder(mailbox) / "cur" / f"{n}.test.host:2,{flags}").write_bytes(text)

    def files(self, mailbox):
        return [p for part in ("cur", "new") for p in sorted((self.path / mailbox / part).iterdir())]

    def content(self, mailbox):
        """Each message without the field mbsync adds, and its flags."""
        return Counter((without_tuid(p.read_bytes()), flags_of(p)) for p in self.files(mailbox))

    def mailboxes(self):
        return sorted(str(p.parent.relative_to(self.path)) for p in self.path.rglob("cur"))


def without_tuid(text):
    head, separator, body = text.partition(b"\n\n")
    lines = [line for line in head.split(b"\n") if not line.startswith(b"X-TUID: ")]
    return b"\n".join(lines) + separator + body


def flags_of(path):
    return "".join(sorted(path.name.partition(":2,")[2])) if ":2," in path.name else ""


def alike(one, two, at_least=0):
    same(one.mailboxes(), two.mailboxes(), "mailboxes")
    for mailbox in one.mailboxes():
        left, right = one.content(mailbox), two.content(mailbox)
        if left != right:
            only = [(text[:80], flags) for text, flags in (left - right) + (right - left)]
            expect(False, mailbox, "differs in", len(only), "messages:", only[:4])
    total = sum(len(one.files(m)) for m in one.mailboxes())
    expect(total >= at_least, "only", total, "messages")


class Both:
    """The two maildirs, kept from case to case."""

    one = two = None


def pushed_and_pulled(server):
    Both.one, Both.two = one, two = Maildir(server, "one", "STARTTLS"), Maildir(server, "two", "IMAPS")
    texts = samples()
    for n, text in enumerate(texts):
        one.add("INBOX" if n % 3 else "Lists", n, text, "".join(sorted(f for i, f in enumerate("SFRD") if n >> i & 1)))
    one.sync()
    with server.imap_login() as client:
        pushed = sum(int(ok(client.select(m, readonly=True))[0]) for m in ("INBOX", "Lists"))
        same(pushed, len(texts), "messages on the server")
    two.sync()
    alike(one, two, at_least=len(texts))
    expect({"INBOX", "Lists", "Sent", "Drafts", "Junk", "Trash", "Archive"} <= set(two.mailboxes()), two.mailboxes())


def nothing_to_do(server):
    """A second run changes nothing on either side."""
    before = state(server)
    Both.one.sync()
    Both.two.sync()
    same(state(server), before, "modification sequences after a run with nothing to do")
    alike(Both.one, Both.two)


def state(server):
    with server.imap_login() as client:
        return [ok(client.status(m, "(MESSAGES UIDNEXT UIDVALIDITY HIGHESTMODSEQ)")) for m in ("INBOX", "Lists", "Sent")]


def flags(server):
    """Changed in both maildirs and on the server, before anyone knows of the others' changes."""
    one, two = Both.one, Both.two
    for n, path in enumerate(one.files("INBOX")[:60]):
        flag(path, "F" if n % 2 else "S")
    for n, path in enumerate(two.files("INBOX")[40:100]):
        flag(path, "R")
    with server.imap_login() as client:
        ok(client.select("Lists"))
        ok(client.store("1:20", "+FLAGS", r"(\Flagged)"))
        ok(client.store("10:30", "-FLAGS", r"(\Seen)"))
    for maildir in (one, two, one):
        maildir.sync()
    alike(one, two)
    with server.imap_login() as client:
        ok(client.select("Lists"))
        for letter, name in (("F", "FLAGGED"), ("R", "ANSWERED"), ("S", "SEEN"), ("D", "DRAFT")):
            for mailbox in ("INBOX", "Lists"):
                ok(client.select(mailbox, readonly=True))
                found = ok(client.search(None, name))[0].split()
                have = [p for p in one.files(mailbox) if letter in flags_of(p)]
                same(len(found), len(have), f"{name} in {mailbox}")


def flag(path, letter):
    """Sets or takes away."""
    now = set(flags_of(path)) ^ {letter}
    path.rename(path.parent.parent / "cur" / (path.name.partition(":2,")[0] + ":2," + "".join(sorted(now))))


def deletions(server):
    """In either maildir and on the server; Expunge Both carries them everywhere."""
    one, two = Both.one, Both.two
    before = len(one.files("INBOX"))
    for path in one.files("INBOX")[::10]:
        path.unlink()
    removed = len(range(0, before, 10))
    one.sync()
    same(len(one.files("INBOX")), before - removed, "left")
    two.sync()
    alike(one, two)
    for path in two.files("INBOX")[5:25]:
        flag(path, "T")
    with server.imap_login() as client:
        ok(client.select("INBOX"))
        ok(client.store("100:109", "+FLAGS", r"(\Deleted)"))
        ok(client.expunge())
    for maildir in (two, one, two):
        maildir.sync()
    alike(one, two)
    left = len(one.files("INBOX"))
    expect(before - removed - 30 <= left <= before - removed - 20, left, "are left of", before)
    with server.imap_login() as client:
        same(int(ok(client.select("INBOX"))[0]), left, "messages on the server")
        same(ok(client.search(None, "DELETED")), [b""], "messages marked as deleted")


def folders(server):
    """Made on any side, also deep ones and with other letters than a-z."""
    one, two = Both.one, Both.two
    # mbsync hands names on as they are: modified UTF-7 (RFC 3501 5.1.3).
    one.add("Projects/2026/Gr&APYA3w-e", 1, draft("deep").as_bytes().replace(b"\r\n", b"\n"), "S")
    one.folder("Projects")
    one.folder("Projects/2026")
    with server.imap_login() as client:
        ok(client.create("Made/on/server"))
        ok(client.append("Made/on/server", "", None, draft("from the server").as_bytes()))
    for maildir in (one, two, one):
        maildir.sync()
    alike(one, two)
    expect("Projects/2026/Gr&APYA3w-e" in two.mailboxes() and "Made/on/server" in one.mailboxes(), two.mailboxes())
    with server.imap_login() as client:
        names = b" ".join(ok(client.list()))
        expect(b"Projects/2026/Gr&APYA3w-e" in names, names)


def delivered_meanwhile(server):
    """New mail by SMTP while both sides append."""
    one, two = Both.one, Both.two
    for n in range(30):
        for maildir, name in ((one, "one"), (two, "two")):
            maildir.add("INBOX", f"new{n}", draft(f"from {name} {n}").as_bytes().replace(b"\r\n", b"\n"))
    start = [subprocess.Popen(["mbsync", "-q", "-c", str(m.config), "both"]) for m in (one, two)]
    with server.smtp_client() as smtp:
        for n in range(30):
            smtp.send_message(draft(f"by smtp {n}"))
    same([p.wait(120) for p in start], [0, 0], "exit codes")
    for maildir in (one, two, one):
        maildir.sync()
    alike(one, two, at_least=GENERATED + 90)
    with server.imap_login() as client:
        ok(client.select())
        for subject, wanted in (("from one", 30), ("from two", 30), ("by smtp", 30)):
            same(len(ok(client.search(None, "SUBJECT", f'"{subject}"'))[0].split()), wanted, subject)


def plain(server):
    """Without TLS, into a new maildir."""
    three = Maildir(server, "three", "None")
    three.sync()
    alike(Both.one, three)
    code, out, err = server.ringmail("check")
    same((code, "nothing is wrong" in out), (0, True), out + err)


run(pushed_and_pulled, nothing_to_do, flags, deletions, folders, delivered_meanwhile, plain)
