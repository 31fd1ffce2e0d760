"""A `ringmail localserve` of its own for a script, and the checks the scripts share.

A script is run as `python3 tests/interop/NAME.py PATH_TO_RINGMAIL`. It hands its cases, functions that take the server, to `run`; a case
fails by raising. What the server wrote is shown when one did. Python 3.11's standard library only.
"""

import email.message
import email.policy
import imaplib
import os
import random
import re
import shutil
import smtplib
import socket
import ssl
import subprocess
import sys
import tempfile
import time
import traceback
import urllib.error
import urllib.request
from pathlib import Path

sys.dont_write_bytecode = True
# imaplib's bound for a line is below what one FETCH of a large mailbox or header may take.
imaplib._MAXLINE = 50_000_000

HOST = "127.0.0.1"
PASSWORD = "ringmailringmail"
USER = "ringmail@localhost"
STANDARD_PORTS = {"smtp": 25, "submission": 587, "submissions": 465, "imap": 143, "imaps": 993, "http": 80}
READY_SECS = 30
STOP_SECS = 20
# Cases that failed, and why.
FAILED = {}


class Failed(Exception):
    """Something is not as it should be."""


def expect(truth, *said):
    """Fails unless `truth`."""
    if not truth:
        raise Failed(" ".join(str(s) for s in said))


def same(got, wanted, of):
    """Fails unless both are equal; long values are shown from where they part."""
    if got == wanted:
        return
    at = 0
    if isinstance(got, bytes) and isinstance(wanted, bytes):
        at = next((i for i, (a, b) in enumerate(zip(got, wanted)) if a != b), min(len(got), len(wanted)))
        where = f" (lengths {len(got)} and {len(wanted)}, equal up to {at})"
        at = max(0, at - 40)
        got, wanted = got[at : at + 120], wanted[at : at + 120]
    else:
        where = ""
    raise Failed(f"{of}{where}\n   got:    {got!r}\n   wanted: {wanted!r}")


def binary():
    """The program under test."""
    if len(sys.argv) != 2 or not os.access(sys.argv[1], os.X_OK):
        sys.exit(f"usage: python3 {sys.argv[0]} PATH_TO_RINGMAIL")
    return str(Path(sys.argv[1]).resolve())


def command(*words, stdin="", timeout=60, env=None, cwd=None):
    """Runs a program to its end; answers exit code, standard output, standard error."""
    stdin = stdin if isinstance(stdin, bytes) else stdin.encode()
    done = subprocess.run([str(w) for w in words], input=stdin, capture_output=True, timeout=timeout, env=env, cwd=cwd)
    return done.returncode, done.stdout.decode(errors="replace"), done.stderr.decode(errors="replace")


def succeed(*words, **how):
    """Runs a program that must exit with 0; answers its standard output."""
    code, out, err = command(*words, **how)
    expect(code == 0, " ".join(str(w) for w in words), "exited with", code, "\n", out, err)
    return out


def need(*programs):
    """Fails at once when a program is not installed: a test that silently does nothing is worse."""
    missing = [p for p in programs if shutil.which(p) is None]
    if missing:
        sys.exit(f"not installed: {', '.join(missing)}")


def port_offset():
    """An offset at which every standard port is free now."""
    for _ in range(200):
        offset = random.randrange(10_000, 31_000)
        try:
            for port in STANDARD_PORTS.values():
                with socket.socket() as probe:
                    # As the server binds: connections of an earlier test that linger do not matter.
                    probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                    probe.bind((HOST, port + offset))
            return offset
        except OSError:
            continue
    raise Failed("no free ports")


class Process:
    """The program, serving until the end of the `with`; then it must stop with exit code 0."""

    def __init__(self, words, http_port, log):
        self.words, self.http_port, self.log = words, http_port, log
        self.process = None

    def start(self):
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(self.words, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        end = time.monotonic() + READY_SECS
        while not self.is_ready():
            expect(self.process.poll() is None, "the server ended at its start with", self.process.returncode)
            expect(time.monotonic() < end, "the server was not ready within", READY_SECS, "s")
            time.sleep(0.02)
        return self

    def is_ready(self):
        return self.page("/readyz")[0] == 200

    def page(self, path):
        """An HTTP page: status and text; status 0 while nobody listens."""
        try:
            with urllib.request.urlopen(f"http://{HOST}:{self.http_port}{path}", timeout=10) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as answer:
            return answer.code, answer.read().decode()
        except OSError:
            return 0, ""

    def metric(self, name):
        """The sum of a metric's series."""
        lines = re.findall(rf"^{name}(?:\{{[^}}]*\}})? (\S+)$", self.page("/metrics")[1], re.M)
        return sum(float(value) for value in lines)

    def wait(self):
        """Waits for the end; answers the exit code."""
        try:
            return self.process.wait(STOP_SECS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise Failed(f"the server did not stop within {STOP_SECS} s") from None

    def stop(self):
        if self.process.poll() is None:
            same(self.metric("ringmail_panics_total"), 0.0, "panics of the server")
            self.process.terminate()
        same(self.wait(), 0, "exit code of the server")

    def kill(self):
        if self.process and self.process.poll() is None:
            self.process.kill()
            self.process.wait()


class Localserve(Process):
    """`ringmail localserve` in a directory of its own."""

    def __init__(self, *options):
        self.temp = tempfile.TemporaryDirectory(prefix="ringmail-interop-")
        self.scratch = Path(self.temp.name)
        self.directory = self.scratch / "server"
        self.offset = port_offset()
        self.ports = {name: port + self.offset for name, port in STANDARD_PORTS.items()}
        words = [binary(), "localserve", "--dir", str(self.directory), "--port-offset", str(self.offset), *options]
        super().__init__(words, self.ports["http"], self.scratch / "log")

    def __getattr__(self, name):
        # server.smtp, server.imaps, ...: the port.
        try:
            return self.__dict__["ports"][name]
        except KeyError:
            raise AttributeError(name) from None

    @property
    def certificate(self):
        return self.directory / "localhost.crt"

    def tls(self):
        """A context that trusts this server's certificate and no other."""
        return ssl.create_default_context(cafile=str(self.certificate))

    def ringmail(self, *words, **how):
        """A command about this server: exit code, standard output, standard error."""
        return command(binary(), *words, "--dir", self.directory, **how)

    def imap_login(self, user=USER):
        """A logged-in imaplib connection."""
        client = imaplib.IMAP4(HOST, self.imap, timeout=60)
        client.login(user, PASSWORD)
        return client

    def smtp_client(self):
        return smtplib.SMTP(HOST, self.smtp, local_hostname="client.example.org", timeout=60)

    def delivered(self, subject, user=USER, mailbox="INBOX", after_reply=False):
        """The one message with this subject in the account, as bytes. `after_reply`: one for several accounts, which is delivered to each
        after the 250; any other is there at once."""
        end = time.monotonic() + (20 if after_reply else 0)
        with self.imap_login(user) as client:
            ok(client.select(mailbox))
            while not (found := ok(client.uid("SEARCH", "SUBJECT", quoted(subject)))[0].split()) and time.monotonic() < end:
                time.sleep(0.05)
                ok(client.noop())
            same(len(found), 1, f"messages with subject {subject} of {user}")
            return fetched(client, found[0].decode())


class counted:
    """What is done inside is counted by the server as so many logins of this mechanism and result, and nothing else is counted."""

    def __init__(self, server, mechanism, result="ok", times=1):
        self.server, self.mechanism, self.result, self.times = server, mechanism, result, times

    def counts(self):
        found = {}
        for line in self.server.page("/metrics")[1].splitlines():
            labels = re.match(r'ringmail_authentication_total\{protocol="[^"]*",mechanism="([^"]*)",result="([^"]*)"\} (\d+)', line)
            if labels:
                mechanism, result, count = labels.groups()
                # Of both protocols together.
                found[mechanism, result] = found.get((mechanism, result), 0) + int(count)
        return found

    def __enter__(self):
        self.before = self.counts()

    def __exit__(self, kind, *_):
        if kind is None:
            wanted = {(self.mechanism, self.result): self.times} if self.times else {}
            # The end of a connection is noticed a moment later.
            end = time.monotonic() + 20
            while True:
                new = {name: n - self.before.get(name, 0) for name, n in self.counts().items()}
                new = {name: n for name, n in new.items() if n}
                if new == wanted or time.monotonic() > end:
                    break
                time.sleep(0.02)
            same(new, wanted, "logins counted")


def run(*cases, options=()):
    """Runs the cases one after the other against one server and ends the script with 0 or 1."""
    start = time.monotonic()
    server = Localserve(*options)
    try:
        server.start()
        for case in cases:
            attempt(case, server)
        attempt(Process.stop, server)
    except Exception:
        fail("start")
    finally:
        server.kill()
        if FAILED:
            print(f"---- what the server of {sys.argv[0]} wrote", server.log.read_text(errors="replace")[-20_000:], sep="\n")
        server.temp.cleanup()
    end(f"{len(cases)} cases", start)


def attempt(case, *arguments):
    """Runs a case; one that fails is in `FAILED`."""
    start = time.monotonic()
    try:
        case(*arguments)
    except Exception:
        fail(case.__name__)
    else:
        print(f"ok {case.__name__} ({time.monotonic() - start:.1f} s)", flush=True)


def fail(name):
    """The exception that is being handled made this fail."""
    print(f"FAILED {name}", flush=True)
    traceback.print_exc()
    FAILED[name] = str(sys.exc_info()[1]) or traceback.format_exc()


def end(what, start):
    """Says how it went, why it failed last, as of a long log often only the end is kept, and ends the script with 0 or 1."""
    for name, why in FAILED.items():
        print(f"---- {name} failed:", why if len(why) <= 1_600 else f"{why[:1_200]}\n[...]\n{why[-400:]}", sep="\n")
    print(f"{Path(sys.argv[0]).name}: {what} in {time.monotonic() - start:.1f} s, failed: {list(FAILED) or 'none'}", flush=True)
    sys.exit(1 if FAILED else 0)


def ok(answer):
    """What imaplib got with OK."""
    status, data = answer
    expect(status == "OK", "the server answered", status, data)
    return data


def quoted(text):
    """An IMAP quoted string."""
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def fetched(client, uid, what="BODY.PEEK[]"):
    """The one literal of a UID FETCH."""
    literals = [part[1] for part in ok(client.uid("FETCH", uid, f"({what})")) if isinstance(part, tuple)]
    same(len(literals), 1, f"literals of UID FETCH {uid} {what}")
    return literals[0]


def draft(subject, body="hello\n", sender="you@example.org", to=USER):
    """A plain message."""
    message = email.message.EmailMessage(email.policy.SMTP)
    message["From"], message["To"], message["Subject"] = sender, to, subject
    message["Date"], message["Message-ID"] = "Mon, 02 Nov 2026 10:00:00 +0000", f"<{random.getrandbits(64):x}@example.org>"
    message.set_content(body)
    return message


def corpora():
    """The folder of test messages; its absence is a failure, never a reason to pass."""
    folder = Path(os.environ.get("RINGMAIL_CORPORA") or "/nonexistent")
    if not (folder / "mime").is_dir():
        sys.exit("RINGMAIL_CORPORA does not name the folder of the corpora")
    return folder
