"""Other people's programs log in by each mechanism they have, over every door, with the right password and a wrong one.

What a program says of a login is one judge, the server's count by mechanism the other. RFC 4954, 9051, 5802, 7677, 9266.
"""

import base64
import imaplib
import json
import os
import shutil
import smtplib
from pathlib import Path

from server import PASSWORD, USER, command, counted, draft, expect, need, ok, run, same, succeed

need("gsasl", "swaks", "curl", "msmtp", "mutt", "mbsync", "node")

NODE = Path(os.environ.get("RINGMAIL_NODE_MODULES") or "/nonexistent")
CLEAR = ("PLAIN", "LOGIN")
SCRAM = ("SCRAM-SHA-1", "SCRAM-SHA-256")
MECHANISMS = (*CLEAR, "CRAM-MD5", *SCRAM)
PLUS = tuple(f"{name}-PLUS" for name in SCRAM)


def is_refused(protocol, said):
    """In the words of the protocol: RFC 9051 7.1 (AUTHENTICATIONFAILED), RFC 4954 6."""
    words = {"imap": "NO [AUTHENTICATIONFAILED]", "smtp": "535 5.7.8"}[protocol]
    return words in said


# gsasl


def gsasl(server, protocol, mechanism, *options, password=PASSWORD):
    port = {"imap": server.imap, "smtp": server.submission}[protocol]
    words = ["gsasl", f"--{protocol}", f"--connect=localhost:{port}", f"--mechanism={mechanism}", f"--password={password}"]
    code, out, err = command(*words, f"--authentication-id={USER}", "--hostname=localhost", *options)
    return code, out + err


def gsasl_succeeds(server, protocol, mechanism, *options):
    with counted(server, mechanism):
        code, said = gsasl(server, protocol, mechanism, *options)
        expect(code == 0 and "Client authentication finished (server trusted)" in said, protocol, mechanism, "exited with", code, said)


def starttls(server):
    return ["--starttls", f"--x509-ca-file={server.certificate}"]


def gsasl_plain(server):
    for protocol in ("imap", "smtp"):
        for mechanism in MECHANISMS:
            gsasl_succeeds(server, protocol, mechanism, "--no-starttls")


def gsasl_starttls(server):
    for protocol in ("imap", "smtp"):
        for mechanism in (*CLEAR, "CRAM-MD5", *PLUS):
            gsasl_succeeds(server, protocol, mechanism, *starttls(server))
        for mechanism in SCRAM:
            # Without a binding at hand gsasl says `n`, though -PLUS is announced: RFC 5802 6 lets it.
            gsasl_succeeds(server, protocol, mechanism, *starttls(server), "--no-cb")
            # It has a binding and is told not to use it: it fails itself (seen without a server as well), and goes in the middle.
            with counted(server, mechanism, "aborted"):
                code, said = gsasl(server, protocol, mechanism, *starttls(server))
            expect(code != 0 and "Error authenticating user" in said, code, said)


def gsasl_tls_1_2(server):
    """RFC 9266 2: there is no exporter to bind to with TLS 1.2 as it is; then -PLUS needs what gsasl has not, and the rest works."""
    old = ["--priority=NORMAL:-VERS-ALL:+VERS-TLS1.2"]
    for protocol in ("imap", "smtp"):
        for mechanism in SCRAM:
            gsasl_succeeds(server, protocol, mechanism, *starttls(server), *old, "--no-cb")


def gsasl_wrong_password(server):
    for protocol in ("imap", "smtp"):
        for mechanism in (*MECHANISMS, *PLUS):
            options = starttls(server) if mechanism in PLUS else ["--no-starttls"]
            with counted(server, mechanism, "badcreds"):
                code, said = gsasl(server, protocol, mechanism, *options, password="wrong")
            expect(code != 0, protocol, mechanism, "exited with 0", said)
            if mechanism in (*SCRAM, *PLUS):
                # RFC 5802 7: server-error. gsasl gives up upon it.
                expect(b64("e=invalid-proof") in said, protocol, mechanism, said)
            else:
                expect(is_refused(protocol, said), protocol, mechanism, said)
    gsasl_succeeds(server, "imap", "PLAIN", "--no-starttls")


def gsasl_for_another(server):
    """Nobody may act for another; for oneself one may."""
    for mechanism in ("PLAIN", "SCRAM-SHA-256"):
        gsasl_succeeds(server, "imap", mechanism, "--no-starttls", f"--authorization-id={USER}")
        code, said = gsasl(server, "imap", mechanism, "--no-starttls", "--authorization-id=u1@localhost")
        expect(code != 0 and "NO [AUTHORIZATIONFAILED]" in said, mechanism, code, said)


def b64(text):
    return base64.b64encode(text.encode()).decode()


# swaks and curl


def smtp_doors(server):
    tls = ["--tls-verify", "--tls-ca-path", server.certificate]
    yield server.submission, []
    yield server.submission, ["--tls", *tls]
    yield server.submissions, ["--tls-on-connect", *tls]


def swaks(server):
    for mechanism in (*CLEAR, "CRAM-MD5"):
        for port, options in smtp_doors(server):
            words = ["swaks", "--server", f"localhost:{port}", "--auth", mechanism, "--auth-user", USER, "--quit-after", "AUTH", *options]
            with counted(server, mechanism):
                said = succeed(*words, "--auth-password", PASSWORD)
            expect("235 2.7.0" in said, mechanism, said)
            with counted(server, mechanism, "badcreds"):
                code, said, _ = command(*words, "--auth-password", "wrong")
            expect(code != 0 and "535 5.7.8" in said, mechanism, code, said)


def curl(server):
    mail = server.scratch / "curl.eml"
    mail.write_bytes(draft("by curl", sender=USER).as_bytes())
    send = ["--mail-from", USER, "--mail-rcpt", USER, "-T", mail]
    tls = ["--cacert", server.certificate]
    doors = (
        (f"imap://localhost:{server.imap}", []),
        (f"imap://localhost:{server.imap}", ["--ssl-reqd", *tls]),
        (f"imaps://localhost:{server.imaps}", tls),
        (f"smtp://localhost:{server.submission}", send),
        (f"smtp://localhost:{server.submission}", [*send, "--ssl-reqd", *tls]),
        (f"smtps://localhost:{server.submissions}", [*send, *tls]),
    )
    for mechanism in (*CLEAR, "CRAM-MD5"):
        for url, options in doors:
            words = ["curl", "-sS", url, "--login-options", f"AUTH={mechanism}", *options]
            with counted(server, mechanism):
                succeed(*words, "-u", f"{USER}:{PASSWORD}")
            with counted(server, mechanism, "badcreds"):
                # CURLE_LOGIN_DENIED
                same(command(*words, "-u", f"{USER}:wrong")[0], 67, f"curl by {mechanism} at {url} with a wrong password")


# Programs that read and send mail


def msmtp(server):
    text = draft("by msmtp", sender=USER).as_bytes()
    tls = ["--tls=on", f"--tls-trust-file={server.certificate}"]
    doors = (
        (server.submission, ["--tls=off"]),
        (server.submission, [*tls, "--tls-starttls=on"]),
        (server.submissions, [*tls, "--tls-starttls=off"]),
    )
    for mechanism in MECHANISMS:
        for port, options in doors:
            words = ["msmtp", "--host=localhost", f"--port={port}", f"--auth={mechanism.lower()}", f"--user={USER}", f"--from={USER}", *options]
            with counted(server, mechanism):
                succeed(*words, f"--passwordeval=echo {PASSWORD}", USER, stdin=text)
            with counted(server, mechanism, "badcreds"):
                code, _, err = command(*words, "--passwordeval=echo wrong", USER, stdin=text)
            # EX_NOPERM; libgsasl 2.2 does not know SCRAM's `e=` (RFC 5802 7) and calls it a parse error: EX_SOFTWARE.
            wanted = (70, "could not parse input") if mechanism in SCRAM else (77, "authentication failed")
            expect(code == wanted[0] and wanted[1] in err, mechanism, port, code, err)


def mutt(server):
    """Submits a message and keeps a copy in a mailbox: two logins."""
    settings = server.scratch / "muttrc"
    settings.write_text(
        f"""
set from="{USER}" imap_user="{USER}" imap_pass="{PASSWORD}" smtp_pass="{PASSWORD}"
set certificate_file="{server.certificate}" ssl_force_tls=yes
"""
    )
    doors = (
        (f"smtp://{USER}@localhost:{server.submission}", f"imap://localhost:{server.imap}/Sent"),
        (f"smtps://{USER}@localhost:{server.submissions}", f"imaps://localhost:{server.imaps}/Sent"),
    )
    for mechanism in MECHANISMS:
        for smtp, imap in doors:
            urls = f"set smtp_url={smtp} record={imap} smtp_authenticators={mechanism} imap_authenticators={mechanism}"
            with counted(server, mechanism, times=2):
                succeed("mutt", "-n", "-F", settings, "-e", urls, "-s", "by mutt", USER, stdin="hello\n")


def mbsync(server):
    maildir = server.scratch / "maildir"
    for part in ("cur", "new", "tmp"):
        (maildir / "INBOX" / part).mkdir(parents=True)
    settings = server.scratch / "mbsyncrc"
    for mechanism in MECHANISMS:
        for tls, port in (("None", server.imap), ("STARTTLS", server.imap), ("IMAPS", server.imaps)):
            tries = [(PASSWORD, "ok"), ("wrong", "badcreds")]
            # Its library does not know SCRAM's `e=` (RFC 5802 7), and mbsync 1.4 then neither cancels nor hangs up: with a wrong
            # password it would sit there until the server's time is up.
            for password, result in tries[:1] if mechanism in SCRAM else tries:
                settings.write_text(
                    f"""
IMAPAccount ringmail
Host localhost
Port {port}
User {USER}
Pass {password}
SSLType {tls}
CertificateFile {server.certificate}
AuthMechs {mechanism}

IMAPStore remote
Account ringmail

MaildirStore local
Path {maildir}/
Inbox {maildir}/INBOX

Channel both
Far :remote:
Near :local:
"""
                )
                # By LOGIN it means the command.
                with counted(server, "login-command" if mechanism == "LOGIN" else mechanism, result):
                    code, out, err = command("mbsync", "-c", settings, "--list", "both")
                expect((code == 0) == (result == "ok"), mechanism, tls, result, "exited with", code, out, err)


def node(server):
    """imapflow and nodemailer."""
    expect((NODE / "imapflow").is_dir(), "RINGMAIL_NODE_MODULES does not name the folder with imapflow")
    # ES modules are looked for beside the script that imports them.
    folder = server.scratch / "node"
    folder.mkdir()
    script = shutil.copy(Path(__file__).parent / "node" / "logins.mjs", folder)
    (folder / "node_modules").symlink_to(NODE)
    doors = [
        {"client": "imapflow", "port": server.imap, "secure": False, "mechanisms": ["AUTH=PLAIN", "AUTH=LOGIN", "LOGIN"]},
        {"client": "imapflow", "port": server.imaps, "secure": True, "mechanisms": ["AUTH=PLAIN", "AUTH=LOGIN", "LOGIN"]},
        {"client": "nodemailer", "port": server.submission, "secure": False, "mechanisms": ["PLAIN", "LOGIN", "CRAM-MD5"]},
        {"client": "nodemailer", "port": server.submissions, "secure": True, "mechanisms": ["PLAIN", "LOGIN", "CRAM-MD5"]},
    ]
    tries = [
        {"client": door["client"], "port": door["port"], "secure": door["secure"], "mechanism": mechanism, "password": password}
        for door in doors
        for mechanism in door["mechanisms"]
        for password in (PASSWORD, "wrong")
    ]
    task = {"user": USER, "certificate": str(server.certificate), "tries": tries}
    before = counted(server, "").counts()
    results = json.loads(succeed("node", script, stdin=json.dumps(task)))
    after = counted(server, "").counts()
    same(len(results), len(tries), "results")
    for one, result in zip(tries, results):
        if one["password"] == PASSWORD:
            same(result, {"ok": True, "tls": True}, one)
        else:
            words = {"imapflow": "AUTHENTICATIONFAILED", "nodemailer": "535"}[one["client"]]
            same(result, {"ok": False, "code": words}, one)
    for mechanism, times in (("PLAIN", 4), ("LOGIN", 4), ("login-command", 2), ("CRAM-MD5", 2)):
        for result in ("ok", "badcreds"):
            name = (mechanism, result)
            same(after[name] - before.get(name, 0), times, f"{result} by {mechanism}")


# Python's own


def python_imaplib(server):
    def plain(_):
        return f"\0{USER}\0{PASSWORD}".encode()

    def login(challenge):
        return {b"Username:": USER, b"Password:": PASSWORD}[challenge].encode()

    def clients():
        yield imaplib.IMAP4("localhost", server.imap, timeout=60)
        client = imaplib.IMAP4("localhost", server.imap, timeout=60)
        client.starttls(server.tls())
        yield client
        yield imaplib.IMAP4_SSL("localhost", server.imaps, ssl_context=server.tls(), timeout=60)

    for mechanism, log_in in (
        ("PLAIN", lambda c: c.authenticate("PLAIN", plain)),
        ("LOGIN", lambda c: c.authenticate("LOGIN", login)),
        ("CRAM-MD5", lambda c: c.login_cram_md5(USER, PASSWORD)),
        ("login-command", lambda c: c.login(USER, PASSWORD)),
    ):
        for client in clients():
            with client, counted(server, mechanism):
                ok(log_in(client))
    for client in clients():
        with client, counted(server, "CRAM-MD5", "badcreds"):
            try:
                client.login_cram_md5(USER, "wrong")
                expect(False, "logged in")
            except imaplib.IMAP4.error as error:
                expect("[AUTHENTICATIONFAILED]" in str(error), error)


def python_smtplib(server):
    def clients():
        yield smtplib.SMTP("localhost", server.submission, timeout=60)
        client = smtplib.SMTP("localhost", server.submission, timeout=60)
        client.starttls(context=server.tls())
        yield client
        yield smtplib.SMTP_SSL("localhost", server.submissions, context=server.tls(), timeout=60)

    for mechanism in ("PLAIN", "LOGIN", "CRAM-MD5"):
        for initial in (True, False):
            for client in clients():
                with client, counted(server, mechanism):
                    client.ehlo()
                    client.user, client.password = USER, PASSWORD
                    method = getattr(client, f"auth_{mechanism.lower().replace('-', '_')}")
                    same(client.auth(mechanism, method, initial_response_ok=initial)[0], 235, mechanism)
        for client in clients():
            with client, counted(server, mechanism, "badcreds"):
                client.ehlo()
                client.user, client.password = USER, "wrong"
                try:
                    client.auth(mechanism, getattr(client, f"auth_{mechanism.lower().replace('-', '_')}"))
                    expect(False, "logged in")
                except smtplib.SMTPAuthenticationError as error:
                    expect(error.smtp_code == 535 and error.smtp_error.startswith(b"5.7.8 "), error)


run(
    gsasl_plain,
    gsasl_starttls,
    gsasl_tls_1_2,
    gsasl_wrong_password,
    gsasl_for_another,
    swaks,
    curl,
    msmtp,
    mutt,
    mbsync,
    node,
    python_imaplib,
    python_smtplib,
    options=["--accounts", "1"],
)
