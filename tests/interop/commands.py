"""The commands a new user and an operator type, as the README and the help tell them: what they print, what they change, how they exit."""

import imaplib
import json
import re
import shutil
import smtplib
import ssl
from pathlib import Path

import server as interop
from server import HOST, PASSWORD, STANDARD_PORTS, USER, binary, command, draft, expect, need, ok, run, same, succeed

need("swaks", "curl", "openssl", "bash")

README = Path(__file__).resolve().parents[2] / "README.md"


def block(heading, n):
    """The n-th block of commands below a heading of the README."""
    section = README.read_text().split(f"\n## {heading}\n")[1].split("\n## ")[0]
    return re.findall(r"^```\n(.*?)^```", section, re.M | re.S)[n]


def with_ports(server, text):
    """The same for this server: 1025 and its likes, with another offset."""
    for name, port in STANDARD_PORTS.items():
        text = re.sub(rf"(?<=[:]){port + 1000}\b", str(server.ports[name]), text)
    return text


def readme_first_mail(server):
    """The README's commands word for word, but for the ports."""
    commands = block("A first mail", 0)
    out = succeed("bash", "-ec", with_ports(server, commands))
    expect("Subject: first mail\r\n" in out.split("221 2.0.0")[1], "curl does not show the message:", out)
    succeed("bash", "-eo", "pipefail", "-c", with_ports(server, block("A first mail", 1)))
    read = with_ports(server, commands.splitlines()[1]).replace("MAILINDEX=1", "MAILINDEX=2")
    expect(succeed("bash", "-ec", read).endswith("\r\n\r\nhello\r\n"), "the second message is not what curl sent")


def welcome_is_true(server):
    """Every line that localserve prints to be tried works as it stands."""
    printed = server.log.read_text()
    for name, port in server.ports.items():
        expect(re.search(rf"^  {name} .*localhost:{port}\b", printed, re.M), name, "is not told in", printed)
    tries = [line.strip() for line in printed.splitlines() if line.startswith(("  swaks", "  printf", "  curl"))]
    same(len(tries), 6, "commands to try")
    for line in tries:
        succeed("bash", "-eo", "pipefail", "-c", line)
    expect(str(server.certificate) in printed and server.certificate.exists(), "the certificate is not where it says")


def second_process(server):
    code, out, err = command(*server.words)
    same((code, out), (1, ""), "a second server on the same ports")
    expect("a server runs on" in err, err)
    other = [str(interop.port_offset()) if word == str(server.offset) else word for word in server.words]
    code, out, err = command(*other)
    same((code, out), (1, ""), "a second server on the same directory")
    expect(str(server.directory) in err and "a server runs on" in err, err)


def health(server):
    same(server.page("/healthz"), (200, "alive\n"), "/healthz")
    same(server.page("/readyz"), (200, "ready\n"), "/readyz")
    code, out, _ = server.ringmail("status", "--json")
    same((code, json.loads(out)["troubles"]), (0, []), "status")


def wrong_words(_):
    for words, exit_code, said in (
        ([], 2, "command is missing"),
        (["dance"], 2, 'no command "dance"'),
        (["stop"], 2, "--config FILE"),
        (["stop", "--dir", "/nonexistent"], 1, "there is no directory /nonexistent"),
        (["stop", "--dir", "/usr"], 1, "neither a directory of localserve nor a data directory"),
        (["serve"], 2, "--config FILE"),
        (["serve", "--config", "/nonexistent/ringmail.toml"], 1, "/nonexistent/ringmail.toml"),
        (["localserve", "--port-offset", "70000"], 2, "70000"),
        (["config", "check", "--config", "/nonexistent"], 1, "/nonexistent"),
    ):
        code, out, err = command(binary(), *words)
        same((code, out), (exit_code, ""), words)
        expect(said in err and "panicked" not in err, words, "said", err)
    code, out, err = command(binary(), "localserve", env={"HOME": ""})
    same((code, out), (2, ""), "localserve without a home")
    expect("use --dir DIR" in err, err)
    same(command(binary(), "--version")[0], 0, "--version")
    expect("localserve" in succeed(binary(), "--help"), "--help")


class Serve(interop.Process):
    """`ringmail serve` with the printed example, its paths, addresses and ports made ours."""

    def __init__(self, scratch):
        self.folder = scratch / "etc"
        self.file = self.folder / "ringmail.toml"
        self.offset = interop.port_offset()
        self.ports = {name: port + self.offset for name, port in STANDARD_PORTS.items()}
        (self.folder / "accounts").mkdir(parents=True)
        for name in ("ringmail.toml", "domains.toml", "accounts/example.toml"):
            (self.folder / name).write_text(succeed(binary(), "config", "example", name))
        self.certificate = scratch / "fullchain.pem"
        succeed("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
                "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost",
                "-keyout", scratch / "privkey.pem", "-out", self.certificate)  # fmt: skip
        text = self.file.read_text()
        changes = {"/var/lib/ringmail": str(scratch / "data"), "/etc/ringmail/tls": str(scratch), '"192.0.2.10", "2001:db8::10"': '"127.0.0.1"'}
        for before, after in changes.items():
            expect(text.count(before) >= 1, before, "is not in the example")
            text = text.replace(before, after)
        tables, mark, listeners = text.partition("[[listener]]")
        for name, port in STANDARD_PORTS.items():
            expect(f"#port = {port}\n" in listeners, port, "is not in the example")
            listeners = listeners.replace(f"#port = {port}\n", f"port = {self.ports[name]}\n")
        # Mail for elsewhere waits, whatever names this machine can look up.
        later = '[transport.later]\nkind = "fail"\ncode = 451\n[[route]]\ntransport = "later"\n'
        self.file.write_text(tables + later + mark + listeners)
        super().__init__([binary(), "serve", "--config", str(self.file)], self.ports["http"], scratch / "serve.log")

    def ringmail(self, *words, **how):
        return command(binary(), *words, "--config", self.file, **how)

    def done(self, *words, **how):
        code, out, err = self.ringmail(*words, **how)
        same((code, err if "check" not in words else ""), (0, ""), words)
        return out

    def tls(self):
        return ssl.create_default_context(cafile=str(self.certificate))

    def imap(self, user, password):
        client = imaplib.IMAP4_SSL("localhost", self.ports["imaps"], ssl_context=self.tls())
        client.login(user, password)
        return client

    def submit(self, user, password, *to):
        with smtplib.SMTP_SSL("localhost", self.ports["submissions"], context=self.tls(), timeout=60) as client:
            client.login(user, password)
            return client.send_message(draft("submitted", sender=user, to=", ".join(to)))


def a_real_server(server):
    """From the printed example to a server that is stopped and started again."""
    serve = Serve(server.scratch)
    same(serve.done("config", "check"), f"{serve.file}: no mistake; 2 listeners, 1 domain, 1 account\n", "config check")
    misspelled(serve)
    try:
        serve.start()
        same((server.scratch / "data").stat().st_mode & 0o777, 0o700, "mode of the data directory")
        accounts(serve)
        reload(serve)
        queue(serve)
        expect("nothing is wrong" in serve.done("check"), "check of the running server")
        same(serve.done("stop"), "The server has stopped.\n", "stop")
        same(serve.wait(), 0, "exit code of the server")
        stopped(serve)
        serve.start()
        same(len(serve.done("queue", "list", "--json").splitlines()), 2, "queued recipients after a new start")
        serve.stop()
    except Exception:
        print(serve.log.read_text()[-5000:] if serve.log.exists() else "not started")
        raise
    finally:
        serve.kill()


def misspelled(serve):
    good = serve.file.read_text()
    serve.file.write_text(good.replace("hostname = ", "hostnam = ", 1))
    line = 1 + good[: good.index("\nhostname = ") + 1].count("\n")
    for words in (["config", "check"], ["serve"]):
        code, out, err = serve.ringmail(*words)
        same((code, out), (1, ""), words)
        expect(f"{serve.file}:{line}:1: unknown field" in err and "hostname" in err, err)
    serve.file.write_text(good)


def accounts(serve):
    serve.done("account", "password", "example", stdin="first password\n")
    expect("Give it a password" in serve.done("account", "add", "anna", "anna@example.org", "a@example.org"), "account add")
    password = serve.done("account", "password", "anna", "--generate").strip()
    listed = [json.loads(line) for line in serve.done("account", "list", "--json").splitlines()]
    same([item["name"] for item in listed], ["anna", "example"], "accounts")
    serve.submit("anna@example.org", password, "you@example.org")
    with serve.imap("you@example.org", "first password") as client:
        same(ok(client.select()), [b"1"], "messages of the example account")
    # A new password; the old one is of no use from then on.
    serve.done("account", "password", "example", stdin="second password\n")
    serve.imap("you@example.org", "second password").logout()
    refused(serve, "you@example.org", "first password")
    serve.anna = password
    for words, why in (
        (["account", "add", "anna", "x@example.org"], "anna"),
        (["account", "add", "ben", "a@example.org"], "a@example.org"),
        (["account", "add", "ben", "ben@elsewhere.example"], "is not ours"),
        (["account", "remove", "nobody"], "there is no account nobody"),
        (["account", "remove", "example"], "postmaster"),
    ):
        code, out, err = serve.ringmail(*words)
        same((code, out), (1, ""), words)
        expect(why in err, words, "said", err)


def refused(serve, user, password):
    try:
        serve.imap(user, password)
    except imaplib.IMAP4.error as error:
        expect("AUTHENTICATIONFAILED" in str(error), error)
    else:
        expect(False, user, "logged in with", password)


def receives(serve, address):
    with smtplib.SMTP(HOST, serve.ports["smtp"], timeout=60) as client:
        client.ehlo()
        client.mail("you@elsewhere.example")
        return client.rcpt(address)


def reload(serve):
    same(receives(serve, "new@example.org")[0], 550, "before reload")
    file = serve.folder / "accounts/anna.toml"
    file.write_text(file.read_text().replace('"a@example.org"', '"a@example.org", "new@example.org"') + "# by hand\n")
    expect(serve.done("reload").startswith("The settings are in force."), "reload")
    same(receives(serve, "new@example.org")[0], 250, "after reload")
    expect(file.read_text().endswith("# by hand\n"), "the comment is gone")
    good = file.read_text()
    file.write_text("nonsense = 1\n")
    code, out, err = serve.ringmail("reload")
    same((code, out), (1, ""), "reload of a mistake")
    expect(f"{file}:1:1: unknown field" in err, err)
    same(receives(serve, "new@example.org")[0], 250, "after a reload that failed")
    file.write_text(good)


def queue(serve):
    same(serve.done("queue", "list"), "The queue is empty.\n", "queue list")
    serve.submit("anna@example.org", serve.anna, "friend@elsewhere.example", "pal@other.example", "you@example.org")
    items = [json.loads(line) for line in serve.done("queue", "list", "--json").splitlines()]
    same([(i["account"], i["reverse_path"], i["recipient"], i["state"]) for i in items],
         [("anna", "anna@example.org", to, "waiting") for to in ("friend@elsewhere.example", "pal@other.example")], "queued")  # fmt: skip
    same(items[1]["id"], items[0]["id"] + 1, "numbers of the recipients of a message")
    text = serve.done("queue", "list")
    expect("<anna@example.org> to <friend@elsewhere.example>" in text and text.endswith("2 recipients.\n"), text)
    # No relaying for strangers: not on port 25, not without login.
    code, said = receives(serve, "friend@elsewhere.example")
    same(code, 550, said)
    with smtplib.SMTP("localhost", serve.ports["submission"], timeout=60) as client:
        client.ehlo()
        offered = client.esmtp_features.get("auth", "").split()
        expect("PLAIN" not in offered and "LOGIN" not in offered, "passwords without TLS are offered:", offered)
        client.starttls(context=serve.tls())
        client.ehlo()
        same(client.mail("anna@example.org")[0], 530, "MAIL without login")
        client.login("a@example.org", serve.anna)
        same(client.mail("you@example.org")[0], 550, "somebody else's address")


def stopped(serve):
    for words in (["stop"], ["reload"], ["status"]):
        code, out, err = serve.ringmail(*words)
        same((code, out), (1, ""), words)
        expect(f"start it with: ringmail serve --config {serve.file}" in err, err)
    expect("nothing is wrong" in serve.done("check"), "check of the stopped directory")
    same(len(serve.done("queue", "list", "--json").splitlines()), 2, "queued recipients of the stopped directory")
    serve.done("account", "add", "carl", "carl@example.org")
    serve.done("account", "password", "carl", stdin="carl's password\n")
    serve.done("account", "remove", "carl")
    expect("carl" not in serve.done("account", "list"), "carl is still there")


def stop_command(server):
    """`ringmail stop` ends localserve, which starts again with its mail."""
    code, out, err = server.ringmail("check")
    same((code, "nothing is wrong" in out), (0, True), out + err)
    same(server.ringmail("stop"), (0, "The server has stopped.\n", ""), "stop")
    same(server.wait(), 0, "exit code of localserve")
    code, out, err = server.ringmail("check")
    same((code, "nothing is wrong" in out), (0, True), out + err)
    shutil.copytree(server.directory, server.scratch / "copy")
    server.start()
    with server.imap_login() as client:
        expect(int(ok(client.select())[0]) >= 2, "the mail is gone")


def damage_is_found(server):
    """One bit of a stored message, in a copy of the directory: found and named, exit code 1, and 0 once it is as it was."""
    copy = server.scratch / "copy"
    for file in sorted(p for p in copy.rglob("*") if p.is_file()):
        content = file.read_bytes()
        at = content.find(b"Subject: first mail")
        if at >= 0:
            file.write_bytes(content[:at] + b"s" + content[at + 1 :])
            code, out, err = command(binary(), "check", "--dir", copy)
            same((code, "1 thing is wrong" in out), (1, True), out + err)
            file.write_bytes(content)
            code, out, err = command(binary(), "check", "--dir", copy)
            same((code, "nothing is wrong" in out), (0, True), out + err)
            return
    expect(False, "no file holds the first message")


run(readme_first_mail, welcome_is_true, second_process, health, wrong_words, a_real_server, stop_command, damage_is_found)
