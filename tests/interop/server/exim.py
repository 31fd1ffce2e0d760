"""An Exim of its own, which listens on several addresses and keeps what it gets in files. Debian's packages of Exim and Postfix exclude each other, so
that of Exim is unpacked where RINGMAIL_EXIM says, its program with it."""

import os
import subprocess
import sys

from . import expect
from .sending import as_root, listens, until

PROGRAM = os.environ.get("RINGMAIL_EXIM") or "exim4"
as_root()


def is_there():
    """Whether the program can be run, and knows Cyrus SASL; without it the scripts end."""
    try:
        done = subprocess.run([PROGRAM, "-bV"], capture_output=True, timeout=20)
    except OSError:
        return False
    return b"Exim version" in done.stdout and b" cyrus_sasl " in done.stdout


if not is_there():
    sys.exit("not installed: exim4-daemon-heavy (RINGMAIL_EXIM names its program)")


class Exim:
    """`main`: more options, `acl`: statements on RCPT before it is accepted, `data_acl`: those on the message, `authenticators`: those; `ports`: more of them, `sasl`: the folder of Cyrus
    SASL's settings, `messages_max`: of a connection."""

    def __init__(self, scratch, port, addresses, domains, main="", acl="", data_acl="", authenticators="", ports=(), sasl="", messages_max=0):
        self.port, self.addresses, self.folder = port, addresses, scratch / "exim"
        self.environment = {**os.environ, "SASL_CONF_PATH": str(sasl)}
        self.process = None
        for name in ("spool", "log", "mail"):
            (self.folder / name).mkdir(parents=True)
            os.chmod(self.folder / name, 0o777)
        self.configuration = self.folder / "exim.conf"
        self.configuration.write_text(f"""exim_path = {PROGRAM}
keep_environment = SASL_CONF_PATH
spool_directory = {self.folder}/spool
log_file_path = {self.folder}/log/%slog
pid_file_path =
primary_hostname = exim.test
qualify_domain = exim.test
exim_user = nobody
exim_group = nogroup
never_users =
daemon_smtp_ports = {" : ".join(str(p) for p in (port, *ports))}
local_interfaces = {" : ".join(addresses)}
domainlist ours = {" : ".join(domains)}
host_lookup =
dns_csa_search_limit = 0
rfc1413_query_timeout = 0s
smtp_accept_max_per_connection = {messages_max}
smtp_accept_queue_per_connection = 0
chunking_advertise_hosts = *
dsn_advertise_hosts = *
smtputf8_advertise_hosts = *
accept_8bitmime = true
queue_run_in_order = false
message_size_limit = 1M
acl_smtp_rcpt = rcpt
acl_smtp_mail = accept
acl_smtp_data = data
{main}
begin acl
rcpt:
{acl}
  accept domains = +ours
  deny message = no relaying
data:
{data_acl}
  accept
begin routers
kept:
  driver = accept
  transport = kept
begin transports
kept:
  driver = appendfile
  directory = {self.folder}/mail
  maildir_format
  create_directory
  user = nobody
  group = nogroup
begin retry
* * F,1h,1h
begin authenticators
{authenticators}
""")

    def start(self):
        log = open(self.folder / "start.log", "wb")
        self.process = subprocess.Popen([PROGRAM, "-C", str(self.configuration), "-bdf", "-v"], stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                        env=self.environment)  # fmt: skip
        log.close()
        wrote = self.folder / "start.log"
        until(lambda: listens(self.addresses[0], self.port) or self.process.poll() is not None, lambda: "Exim listens: " + wrote.read_text())
        expect(self.process.poll() is None, "Exim ended:", wrote.read_text())
        return self

    def stop(self):
        if self.process and self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()

    def log(self):
        path = self.folder / "log" / "mainlog"
        return path.read_text(errors="replace") if path.exists() else ""

    def messages(self, subject):
        """Those with this subject, as octets."""
        texts = [path.read_bytes() for path in (self.folder / "mail" / "new").glob("*")]
        return [text for text in texts if b"\nSubject: " + subject.encode() + b"\n" in text]

    def received(self, subject):
        """Waits for a message with this subject."""
        return until(lambda: self.messages(subject), lambda: f"Exim has {subject}: {self.log()[-3000:]}")[0]
