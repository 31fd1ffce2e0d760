"""A Postfix of its own, with a service of smtpd for each address, which differ in their options. It keeps what it gets in files."""

import os
import shutil
import signal
import subprocess
from pathlib import Path

from . import expect, need, succeed
from .sending import as_root, listens, until

need("postfix", "postconf")
as_root()
MASTER = succeed("postconf", "-dh", "daemon_directory").strip() + "/master"

QUIET = "cleanup unix n - n - 0 cleanup\nqmgr unix n - n 300 1 qmgr\ntlsmgr unix - - n 1000? 1 tlsmgr\nrewrite unix - - n - - trivial-rewrite\n" + "".join(
    f"{name} unix - - n - 0 bounce\n" for name in ("bounce", "defer", "trace")
) + "".join(
    f"{name} unix - - n - {most} {name}\n" for name, most in (("verify", 1), ("smtp", "-"), ("error", "-"), ("discard", "-"), ("anvil", 1), ("scache", 1))
) + "proxymap unix - - n - - proxymap\nvirtual unix - n n - - virtual\npostlog unix-dgram n - n - 1 postlogd\n"


def make_queue(spool):
    """The folders of a queue, as Postfix wants it."""
    for name in ("active", "bounce", "corrupt", "defer", "deferred", "flush", "hold", "incoming", "private", "saved", "trace"):
        (spool / name).mkdir(mode=0o700)
        shutil.chown(spool / name, "postfix")
    for name, mode in (("maildrop", 0o730), ("public", 0o710)):
        (spool / name).mkdir()
        shutil.chown(spool / name, "postfix", "postdrop")
        (spool / name).chmod(mode)
    (spool / "pid").mkdir()


class Postfix:
    """`services`: options of smtpd by address; `domains`: those it takes mail for; `more`: lines of main.cf."""

    def __init__(self, scratch, port, services, domains, more=""):
        self.port, self.services, self.folder = port, services, scratch / "postfix"
        self.process = None
        etc = self.folder / "etc"
        for name in ("etc", "spool", "data", "mail"):
            (self.folder / name).mkdir(parents=True, exist_ok=True)
        make_queue(self.folder / "spool")
        shutil.chown(self.folder / "data", "postfix")
        shutil.chown(self.folder / "mail", "nobody")
        # Nobody is not there, everybody else is.
        (etc / "mailboxes").write_text("if !/^nobody@/\n/@/ all/\nendif\n")
        etc.joinpath("main.cf").write_text(f"""compatibility_level = 3.6
queue_directory = {self.folder}/spool
data_directory = {self.folder}/data
maillog_file_prefixes = {self.folder}
maillog_file = {self.folder}/postfix.log
myhostname = postfix.test
mydestination =
mynetworks = 192.0.2.1
inet_protocols = ipv4
alias_maps =
local_recipient_maps =
smtpd_peername_lookup = no
smtp_host_lookup = native
smtputf8_enable = yes
smtpd_relay_restrictions = reject_unauth_destination
smtpd_client_connection_rate_limit = 0
anvil_rate_time_unit = 60s
virtual_mailbox_domains = {" ".join(domains)}
virtual_mailbox_base = {self.folder}/mail
virtual_mailbox_maps = regexp:{etc}/mailboxes
virtual_mailbox_limit = 0
virtual_minimum_uid = 1
virtual_uid_maps = static:65534
virtual_gid_maps = static:65534
{more}""")
        lines = ""
        for address, options in services.items():
            words = "".join(f" -o {{ {option} }}" for option in options)
            lines += f"{address}:{port} inet n - n - 50 smtpd{words}\n"
        etc.joinpath("master.cf").write_text(lines + QUIET)
        # Its programs wait with a file that was written a moment ago.
        os.utime(etc / "main.cf", (0, 0))
        self.etc = etc

    def start(self):
        # Not by `postfix start-fg`, whose scripts look after an installation: they take seconds.
        self.process = subprocess.Popen([MASTER, "-c", str(self.etc), "-s"], stdin=subprocess.DEVNULL,
                                        stdout=open(self.folder / "start.log", "wb"), stderr=subprocess.STDOUT)  # fmt: skip
        address = next(iter(self.services))
        wrote = self.folder / "start.log"
        until(lambda: listens(address, self.port) or self.process.poll() is not None, lambda: "Postfix listens: " + wrote.read_text())
        expect(self.process.poll() is None, "Postfix ended:", wrote.read_text(), self.log())
        return self

    def stop(self):
        """The master has a session of its own, whatever becomes of the command that started it; it ends its processes."""
        pid = self.folder / "spool" / "pid" / "master.pid"
        if self.process and pid.exists() and pid.read_text().strip():
            try:
                os.kill(int(pid.read_text()), signal.SIGTERM)
            except ProcessLookupError:
                pass
        if self.process:
            try:
                self.process.wait(20)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()

    def log(self):
        path = self.folder / "postfix.log"
        return path.read_text(errors="replace") if path.exists() else ""

    def messages(self):
        """What it has delivered, as octets."""
        return [path.read_bytes() for path in sorted(Path(self.folder / "mail").glob("all/new/*"))]

    def received(self, subject):
        """Waits for a message with this subject."""
        def found():
            return [text for text in self.messages() if b"\nSubject: " + subject.encode() + b"\n" in text]

        return until(found, lambda: f"Postfix has {subject}: {self.log()[-3000:]}")[0]
