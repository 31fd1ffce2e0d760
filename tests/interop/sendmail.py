"""Programs that call sendmail find `ringmail sendmail` under that name: what Python, cron, PHP and shell scripts write arrives as they meant it."""

import os
import re
import subprocess
from email.message import EmailMessage

import server as interop
from server import PASSWORD, USER, expect, need, run, same, succeed

need("openssl", "sh")


def settings(server, name, port, more=""):
    """Settings for a door of this server that trust its own certificate."""
    file = server.scratch / name
    file.write_text(f'host = "localhost"\nport = {port}\nca_file = "{server.certificate}"\nuser = "{USER}"\npassword = "{PASSWORD}"\n{more}')
    return file


def sendmail(server):
    """A link named sendmail, as /usr/sbin/sendmail is one."""
    link = server.scratch / "sendmail"
    if not link.is_symlink():
        link.symlink_to(interop.binary())
    return link


def called(server, config, *options, text, code=0):
    """What a program does; answers standard error."""
    env = {**os.environ, "HOME": str(server.scratch)}
    text = text if isinstance(text, bytes) else text.encode()
    done = subprocess.run([sendmail(server), "-C", config, *options], input=text, capture_output=True, timeout=60, env=env)
    same((done.returncode, done.stdout), (code, b""), f"sendmail {options}: {done.stderr}")
    return done.stderr.decode()


def python_program(server):
    """An EmailMessage with Bcc, a text in UTF-8 and lines that begin with dots."""
    message = EmailMessage()
    message["From"], message["To"] = f"Größe <{USER}>", "u1@localhost"
    message["Cc"], message["Bcc"] = "u2@localhost", "u3@localhost"
    message["Subject"] = "from python größe"
    message.set_content(".\n..\n.grüße\n" + "x" * 900 + "\n", cte="8bit")
    config = settings(server, "python.toml", server.submissions)
    same(called(server, config, "-t", "-i", text=message.as_bytes()), "", "standard error")
    for user in ("u1@localhost", "u2@localhost", "u3@localhost"):
        got = server.delivered("from python", user, after_reply=True)
        body = message.as_bytes().split(b"\n\n", 1)[1].replace(b"\n", b"\r\n")
        expect(got.endswith(b"\r\n\r\n" + body), "not as sent:", got)
        expect(b"Bcc" not in got and b"u3@localhost" not in got.split(b"From: ", 1)[1], "Bcc is told:", got)


def cron(server):
    """The calls of Debian's cron and of the old one."""
    config = settings(server, "cron.toml", server.submission, 'tls = "starttls"\nlocal_recipient = "u1@localhost"\n')
    for number, options in enumerate((["-FCronDaemon", "-i", "-B8BITMIME", "-oem", "root"], ["-FCronDaemon", "-odi", "-oem", "-oi", "-t", "-f", "root"])):
        text = f"From: root (Cron Daemon)\nTo: root\nSubject: Cron <root@host7> true {number}\nMIME-Version: 1.0\nX-Cron-Env: <SHELL=/bin/sh>\n\nhello\n"
        same(called(server, config, *options, text=text), "", "standard error")
        got = server.delivered(f"Cron <root@host7> true {number}", "u1@localhost").decode()
        expect(f"\r\nFrom: Cron Daemon <{USER}>\r\n" in got and got.endswith("\r\n\r\nhello\r\n"), got)


def shell(server):
    config = settings(server, "shell.toml", server.submissions)
    script = f"printf 'Subject: from a shell\\n\\nhello\\n' | '{sendmail(server)}' -C '{config}' {USER}"
    same(succeed("sh", "-ec", script), "", "standard output")
    got = server.delivered("from a shell").decode()
    for field in (f"From: {USER}", "Date: ", "Message-ID: <"):
        expect(f"\r\n{field}" in got, field, "is missing in", got)


def openssl(server):
    """Fingerprint and key as openssl prints them."""
    printed = succeed("openssl", "x509", "-noout", "-fingerprint", "-sha256", "-in", server.certificate)
    key = server.scratch / "client.key"
    succeed("openssl", "genpkey", "-algorithm", "ed25519", "-out", key)
    config = settings(server, "openssl.toml", server.submissions, f'fingerprint = "{printed.split("=")[1].strip()}"\nclient_key = "{key}"\n')
    config.write_text(re.sub("ca_file.*\n", "", config.read_text()))
    same(called(server, config, USER, text="Subject: pinned\n\nhello\n"), "", "standard error")
    server.delivered("pinned")


def nothing_is_lost(server):
    """The wrong-input side: a wrong password, then the message that was kept."""
    config = settings(server, "wrong.toml", server.submissions)
    config.write_text(config.read_text().replace(PASSWORD, "wrong-password"))
    said = called(server, config, "-i", USER, text="Subject: kept\n\n.\nhello\n", code=77)
    kept = re.search(r"the message is kept in (\S+);", said)[1]
    right = settings(server, "right.toml", server.submissions)
    same(called(server, right, "--again", kept, text=""), "", "standard error")
    expect(server.delivered("kept").endswith(b"\r\n\r\n.\r\nhello\r\n"), "not as sent")
    expect(not os.path.exists(kept), kept, "is still there")


run(
    python_program,
    cron,
    shell,
    openssl,
    nothing_is_lost,
    options=["--accounts", "3"],
)
