"""`ringmail serve` that sends by MX records found by unbound in knot's zones, and what its scripts share: submitting, the queue as an operator sees it,
reports in the sender's INBOX, certificates. Receivers listen on addresses of their own, 127.0.0.0/8, all at one port (`[outbound] port`)."""

import imaplib
import json
import os
import re
import shutil
import smtplib
import socket
import sys
import tempfile
import time
from pathlib import Path

from . import FAILED, HOST, PASSWORD, Process, attempt, binary, command, draft, end, expect, fail, ok, same, succeed
from .zones import APEX, Daemons, free_port

SENDER = "anna@example.org"
WAIT_SECS = 60


def until(condition, what, secs=WAIT_SECS):
    """Waits until `condition` gives something, and answers that."""
    end = time.monotonic() + secs
    while not (found := condition()):
        expect(time.monotonic() < end, "did not come about:", what() if callable(what) else what)
        time.sleep(0.05)
    return found


def shared_port():
    """A port that is free on all addresses of this machine now."""
    for _ in range(100):
        port = free_port()
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("0.0.0.0", port))
            except OSError:
                continue
            return port
    raise OSError("no free port")


def listens(address, port):
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex((address, port)) == 0


def authority(folder, name="ca"):
    """An authority of our own: NAME.pem and NAME.key."""
    files = ["-keyout", folder / f"{name}.key", "-out", folder / f"{name}.pem"]
    succeed("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2", "-subj", f"/CN=test {name}", *files)


def certificate(folder, name, *hosts, by="ca", days=2):
    """A certificate for these hosts: NAME.pem, the chain, and NAME.key. It is over after so many days."""
    key, request, chain = (folder / f"{name}.{suffix}" for suffix in ("key", "csr", "pem"))
    (folder / f"{name}.ext").write_text("subjectAltName=" + ",".join(f"DNS:{host}" for host in hosts) + "\nbasicConstraints=CA:FALSE\n")
    succeed("openssl", "req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", f"/CN={hosts[0]}", "-keyout", key, "-out", request)
    succeed("openssl", "x509", "-req", "-in", request, "-CA", folder / f"{by}.pem", "-CAkey", folder / f"{by}.key", "-CAcreateserial", "-days", days,
            "-extfile", folder / f"{name}.ext", "-out", chain)  # fmt: skip
    chain.write_text(chain.read_text() + (folder / f"{by}.pem").read_text())
    # Daemons read them before they give up root's rights, or not.
    key.chmod(0o644)
    return chain, key


def status(report):
    """The groups of fields of a report's part for programs, RFC 3464 and 6533."""
    found = re.search(rb"\nContent-Type: message/(?:global-)?delivery-status\b.*?\r?\n\r?\n(.*?)\r?\n--", report, re.S | re.I)
    if not found:
        return [{}]
    groups = re.sub(r"\r?\n[ \t]+", " ", found[1].decode().replace("\r\n", "\n")).strip().split("\n\n")
    return [{name.lower(): value.strip() for name, _, value in (line.partition(":") for line in group.split("\n"))} for group in groups]


def in_inbox(client):
    """The messages in the INBOX, as octets."""
    if int(ok(client.select())[0]) == 0:
        return []
    return [part[1] for part in ok(client.fetch("1:*", "(BODY.PEEK[])")) if isinstance(part, tuple)]


class Ringmail(Process):
    """Its own configuration; `outbound` and `more` are lines of it."""

    def __init__(self, scratch, resolver, port, outbound="", more="", domain="", retry="1h"):
        self.config = scratch / "ringmail.toml"
        self.ports = {name: free_port() for name in ("smtp", "submission", "imap", "http")}
        (scratch / "accounts").mkdir(exist_ok=True)
        (scratch / "accounts" / "anna.toml").write_text(f'addresses = ["{SENDER}"]\n')
        (scratch / "domains.toml").write_text(f'[postmaster]\naccount = "anna"\n[domain."example.org"]\n{domain}')
        self.config.write_text(f"""data_dir = "data"
hostname = "mail.example.org"
[log]
level = "debug"
[dns]
servers = ["{HOST}:{resolver}"]
[limits.auth]
scram_sha256_iterations = 4096
scram_sha1_iterations = 4096
argon2_memory_bytes = "8MiB"
argon2_passes = 1
[queue]
retry_secs = ["{retry}"]
[outbound]
refuse_networks = []
port = {port}
{outbound}{more}
[[listener]]
name = "local"
addresses = ["{HOST}"]
[listener.smtp]
port = {self.ports["smtp"]}
[listener.submission]
port = {self.ports["submission"]}
allow_plain_auth = true
[listener.imap]
port = {self.ports["imap"]}
allow_plain_auth = true
[listener.http]
port = {self.ports["http"]}
metrics = true
""")
        super().__init__([binary(), "serve", "--config", str(self.config)], self.ports["http"], scratch / "ringmail.log")

    def start(self):
        super().start()
        self.ringmail("account", "password", "anna", stdin=PASSWORD + "\n")
        return self

    def ringmail(self, *words, **how):
        """A command about this server that must succeed: its output."""
        return succeed(binary(), *words, "--config", self.config, **how)

    def submit(self, recipients, subject="hello", body="hello\n", options=(), rcpt_options=(), message=None):
        """A message of anna's, over one connection; all recipients must be taken."""
        recipients = [recipients] if isinstance(recipients, str) else recipients
        if message is None:
            message = draft(subject, body, SENDER, ", ".join(recipients))
            message = message.as_bytes(policy=message.policy.clone(utf8=True, cte_type="8bit"))
        with smtplib.SMTP(HOST, self.ports["submission"], local_hostname="client.example.org", timeout=60) as client:
            client.login(SENDER, PASSWORD)
            refused = client.sendmail(SENDER, recipients, message, list(options), list(rcpt_options))
        same(refused, {}, "refused recipients")

    def submit_each(self, subject, recipients, body="hello\n"):
        """One message whose recipients, the keys, have options of their own."""
        message = draft(subject, body, SENDER, ", ".join(recipients))
        with smtplib.SMTP(HOST, self.ports["submission"], local_hostname="client.example.org", timeout=60) as client:
            client.login(SENDER, PASSWORD)
            same(client.mail(SENDER)[0], 250, "reply to MAIL")
            for recipient, options in recipients.items():
                same(client.rcpt(recipient, options)[0], 250, f"reply to RCPT {recipient}")
            same(client.data(message.as_bytes())[0], 250, "reply to the message")

    def submit_at_once(self, recipient, subjects):
        """Messages that are all due at the same time: held until the last one is there."""
        self.ringmail("queue", "holdrules", "add", "--domain", recipient.split("@")[1])
        rule = json.loads(self.ringmail("queue", "holdrules", "list", "--json").splitlines()[-1])["id"]
        for subject in subjects:
            self.submit(recipient, subject)
        self.ringmail("queue", "holdrules", "remove", rule)
        self.ringmail("queue", "release", "--rule", rule)

    def queue(self, *selection):
        """The queue as `ringmail queue list --json` has it."""
        return [json.loads(line) for line in self.ringmail("queue", "list", *selection, "--json").splitlines()]

    def waits(self, recipient, *reason, attempts=1):
        """Waits until a recipient was tried so often and waits; its reason must have these words."""
        def tried():
            return [r for r in self.queue("--to", recipient) if r["state"] == "waiting" and r["attempts"] >= attempts and "an attempt" not in r["reason"]]

        item = until(tried, lambda: f"{recipient} waits after {attempts} attempts: {self.queue()}")[0]
        for words in reason:
            expect(words in item["reason"], f"{words!r} is not in:", item["reason"])
        same(item["attempts"], attempts, f"attempts for {recipient}")
        return item

    def empty(self):
        """Waits until the queue is."""
        until(lambda: not self.queue(), lambda: f"an empty queue: {self.queue()}")

    def kick(self, recipient):
        self.ringmail("queue", "kick", "--to", recipient)

    def reports(self):
        """The messages in anna's INBOX, as octets."""
        with self.imap_login() as client:
            return in_inbox(client)

    def imap_login(self):
        client = imaplib.IMAP4(HOST, self.ports["imap"], timeout=60)
        client.login(SENDER, PASSWORD)
        return client

    def report(self, recipient, action):
        """Waits for the report that says so of a recipient: his fields, those of the message, and all of it."""
        def look():
            for message in in_inbox(client):
                of_message, *others = status(message)
                for fields in others:
                    if fields["final-recipient"].split(";")[1].strip() == recipient and fields["action"].split()[0] == action:
                        return fields, of_message, message.decode()
            return None

        # One connection: so many new ones would be refused.
        with self.imap_login() as client:
            return until(look, lambda: f"a report that says {action} of {recipient}: {in_inbox(client)}")

    def tls_results(self):
        """What `ringmail tlsresults` has of each domain, with the server stopped: everything is written then."""
        self.stop()
        found = {}
        for line in self.ringmail("tlsresults", "--json").splitlines():
            found.setdefault(json.loads(line)["domain"], []).extend(json.loads(line)["policies"])
        return found

    def log_lines(self, *words):
        """Lines of its log with all these words."""
        lines = self.log.read_text(errors="replace").splitlines()
        return [line for line in lines if all(word in line for word in words)]


class Stage:
    """A directory, zones, receivers and the sender; all of it goes at the end."""

    def __init__(self, zones, signed=("signed.test",), wrong=()):
        self.scratch = Path(tempfile.mkdtemp(prefix="ringmail-sending-"))
        # Daemons that are not root pass through.
        self.scratch.chmod(0o711)
        self.port = shared_port()
        # A function is given the stage, for zones that name its port or its certificates.
        zones = zones(self) if callable(zones) else zones
        self.daemons = Daemons(self.scratch, zones, signed, wrong)
        self.running = [self.daemons]
        self.sender = None

    def add(self, daemon):
        """Starts it; it is stopped at the end."""
        self.running.append(daemon)
        daemon.start()
        return daemon

    def send_with(self, **how):
        self.sender = Ringmail(self.scratch, self.daemons.unbound, self.port, **how)
        self.sender.start()
        return self.sender

    def end(self):
        if self.sender:
            self.sender.kill()
        for daemon in reversed(self.running):
            daemon.stop()


def run(stage, prepare, *cases):
    """Prepares the stage, runs the cases with it, and ends the script with 0 or 1."""
    start = time.monotonic()
    try:
        stage.daemons.start()
        prepare(stage)
        for case in cases:
            attempt(case, stage)
        attempt(Process.stop, stage.sender)
    except Exception:
        fail("start")
    finally:
        stage.end()
        if FAILED:
            for log in stage.scratch.rglob("*log"):
                if log.is_file():
                    print(f"---- {log.name}", log.read_text(errors="replace")[-8000:], sep="\n")
        shutil.rmtree(stage.scratch, ignore_errors=True)
    end(f"{len(cases)} cases", start)


def as_root():
    """Postfix and Exim start as root and give up its rights."""
    if os.geteuid() != 0:
        sys.exit("the receivers need to be started by root")


def mx_zones(domain, addresses):
    """A zone with a mail domain NAME.DOMAIN for each name, whose one host is at this address; and one that is signed, as `Daemons` wants it."""
    lines = "".join(f"{name} MX 10 mx.{name}\nmx.{name} A {address}\n" for name, address in addresses.items())
    return {"signed.test": APEX + "@ MX 10 ns\n", domain: APEX + lines}
