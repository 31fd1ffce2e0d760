"""Other people's programs log in with tokens of somebody else's provider: OAUTHBEARER and XOAUTH2 (RFC 7628, 7519, 7662).

The provider is oidc-provider from npm. Its tokens are signed (each algorithm we take) or opaque (asked about by introspection). What a program
says of a login is one judge, the server's count by mechanism the other. No token and no secret is in the server's log.
"""

import base64
import json
import os
import shutil
import ssl
import subprocess
import tempfile
import time
import urllib.parse
import urllib.request
from pathlib import Path

import server as interop
from server import STANDARD_PORTS, attempt, binary, command, counted, draft, expect, need, same, succeed

need("curl", "msmtp", "mutt", "node", "openssl")

NODE = Path(os.environ.get("RINGMAIL_NODE_MODULES") or "/nonexistent")
ALGORITHMS = ("RS256", "PS256", "ES256", "EdDSA")
MECHANISMS = ("OAUTHBEARER", "XOAUTH2")
USER = "u1@localhost"


def make_certificate(path, key, *options):
    succeed("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
            "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost", *options, "-keyout", key, "-out", path)  # fmt: skip


class Provider:
    """oidc-provider, until the end of the `with`."""

    def __init__(self, scratch):
        expect((NODE / "oidc-provider").is_dir(), "RINGMAIL_NODE_MODULES does not name the folder with oidc-provider")
        # ES modules are looked for beside the script that imports them.
        self.folder = scratch / "node"
        self.folder.mkdir()
        for script in ("provider.mjs", "tokens.mjs"):
            shutil.copy(Path(__file__).parent / "node" / script, self.folder)
        (self.folder / "node_modules").symlink_to(NODE)
        self.tokens = []
        self.certificate, self.key = scratch / "provider.crt", scratch / "provider.key"
        # An authority would not do for a server's own certificate: rustls tells them apart.
        make_certificate(self.certificate, self.key, "-addext", "basicConstraints=critical,CA:FALSE")

    def __enter__(self):
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL, "text": True}
        self.process = subprocess.Popen(["node", "provider.mjs", self.certificate, self.key], cwd=self.folder, **pipes)
        self.issuer = self.process.stdout.readline().strip()
        expect(self.issuer.startswith("https://localhost:"), "the provider did not start")
        return self

    def __exit__(self, *_):
        self.process.stdin.close()
        self.process.wait(20)

    def post(self, path, client, **form):
        form = urllib.parse.urlencode(form).encode()
        basic = base64.b64encode(f"{client}:{client}".encode()).decode()
        request = urllib.request.Request(self.issuer + path, form, {"Authorization": f"Basic {basic}"})
        trust = ssl.create_default_context(cafile=str(self.certificate))
        with urllib.request.urlopen(request, timeout=20, context=trust) as answer:
            return answer.read()

    def token(self, resource, client="u1", scope="mail"):
        answer = self.post("/token", client, grant_type="client_credentials", scope=scope, resource=f"urn:{resource}")
        token = json.loads(answer)["access_token"]
        self.tokens.append(token)
        return token

    def revoke(self, token, client="u1"):
        self.post("/token/revocation", client, token=token)


class Server(interop.Process):
    """`ringmail serve` that takes the provider's tokens. The accounts u1 and u2 have no passwords."""

    def __init__(self, scratch, provider):
        self.folder, self.issuer, self.authority = scratch / "etc", provider.issuer, provider.certificate
        self.offset = interop.port_offset()
        self.ports = {name: port + self.offset for name, port in STANDARD_PORTS.items()}
        self.scratch, self.certificate = scratch, scratch / "localhost.crt"
        (self.folder / "accounts").mkdir(parents=True)
        for name in ("u1", "u2"):
            (self.folder / "accounts" / f"{name}.toml").write_text(f'addresses = ["{name}@localhost"]\n')
        (self.folder / "domains.toml").write_text('postmaster = { account = "u1" }\n[domain.localhost]\n')
        (self.folder / "secret").write_text("mail server\n")
        (self.folder / "secret").chmod(0o600)
        make_certificate(self.certificate, scratch / "localhost.key")
        self.write("")
        super().__init__([binary(), "serve", "--config", str(self.folder / "ringmail.toml")], self.ports["http"], scratch / "log")

    def write(self, more, trust=True):
        authority = f'ca_file = "{self.authority}"' if trust else ""
        doors = "".join(f"{name} = {{ port = {port} }}\n" for name, port in self.ports.items() if name not in ("smtp", "http"))
        (self.folder / "ringmail.toml").write_text(
            f"""
data_dir = "{self.scratch}/data"
hostname = "localhost"
shutdown_grace_secs = 2
[log]
level = "debug"
[limits.auth]
failures_per_minute_max = [1000, 1000, 1000]
failures_per_day_max = [1000, 1000, 1000]
[oauth]
issuer = "{self.issuer}"
audiences = ["ringmail"]
scopes = ["mail"]
clock_leeway_secs = 0
{authority}
{more}
[[listener]]
name = "local"
addresses = ["127.0.0.1"]
tls = {{ certificates = [{{ cert = "{self.certificate}", key = "{self.scratch}/localhost.key" }}] }}
http = {{ port = {self.ports["http"]}, metrics = true }}
{doors}"""
        )

    def ringmail(self, *words):
        return succeed(binary(), *words, "--config", self.folder / "ringmail.toml")

    def curl(self, door, token, user=USER):
        """curl's exit code. It takes OAUTHBEARER where that is offered, whatever it is told."""
        url = f"{'imaps' if door == 'imaps' else 'smtps'}://localhost:{self.ports[door]}"
        mail = self.scratch / "mail.eml"
        mail.write_bytes(draft("by curl", sender=user, to=user).as_bytes())
        send = [] if door == "imaps" else ["--mail-from", user, "--mail-rcpt", user, "-T", mail]
        words = ["curl", "-sS", url, "--cacert", self.certificate, *send]
        return command(*words, "-u", f"{user}:", "--oauth2-bearer", token)[0]


def curl(server, provider):
    for algorithm in ALGORITHMS:
        token = provider.token(f"ringmail:jwt:{algorithm}")
        for door in ("imaps", "submissions"):
            with counted(server, "OAUTHBEARER"):
                same(server.curl(door, token), 0, f"curl at {door} with {algorithm}")


def curl_refused(server, provider, short):
    good = provider.token("ringmail:jwt:RS256")
    bad = {
        "of another audience": provider.token("webmail:jwt:RS256"),
        "without the scope": provider.token("ringmail:jwt:RS256", scope="other"),
        "of nobody": provider.token("ringmail:jwt:RS256", client="nobody"),
        "of another account": provider.token("ringmail:jwt:RS256", client="u2"),
        "expired": short,
        "opaque": provider.token("ringmail:opaque"),
        "changed": good[:-20] + ("A" if good[-20] != "A" else "B") + good[-19:],
    }
    for why, token in bad.items():
        for door in ("imaps", "submissions"):
            with counted(server, "OAUTHBEARER", "badcreds"):
                # CURLE_LOGIN_DENIED
                same(server.curl(door, token), 67, f"curl at {door} with a token {why}")


def msmtp(server, provider):
    text = draft("by msmtp", sender=USER, to=USER).as_bytes()
    for mechanism in MECHANISMS:
        words = ["msmtp", "--host=localhost", f"--port={server.ports['submission']}", f"--auth={mechanism.lower()}", f"--user={USER}"]
        words += [f"--from={USER}", "--tls=on", f"--tls-trust-file={server.certificate}"]
        for resource, result in (("ringmail", "ok"), ("webmail", "badcreds")):
            token = provider.token(f"{resource}:jwt:ES256")
            with counted(server, mechanism, result):
                code, _, err = command(*words, f"--passwordeval=echo {token}", USER, stdin=text)
            # EX_NOPERM
            expect(code == (0 if result == "ok" else 77), mechanism, result, "exited with", code, err)


def mutt(server, provider):
    """Submits a message and keeps a copy in a mailbox: two logins."""
    token = provider.token("ringmail:jwt:PS256")
    settings = server.scratch / "muttrc"
    settings.write_text(
        f"""
set from="{USER}" imap_user="{USER}" certificate_file="{server.certificate}" ssl_force_tls=yes
set imap_oauth_refresh_command="echo {token}" smtp_oauth_refresh_command="echo {token}"
set smtp_url=smtps://{USER}@localhost:{server.ports["submissions"]} record=imaps://localhost:{server.ports["imaps"]}/Sent
"""
    )
    for mechanism in MECHANISMS:
        ours = f"set smtp_authenticators={mechanism} imap_authenticators={mechanism}"
        with counted(server, mechanism, times=2):
            succeed("mutt", "-n", "-F", settings, "-e", ours, "-s", "by mutt", USER, stdin="hello\n")


def node(server, provider):
    """imapflow by OAUTHBEARER, nodemailer by XOAUTH2."""
    good, bad = (provider.token(f"{audience}:jwt:EdDSA") for audience in ("ringmail", "webmail"))
    doors = {"imapflow": server.ports["imaps"], "nodemailer": server.ports["submissions"]}
    tries = [{"client": client, "port": port, "user": USER, "token": token} for client, port in doors.items() for token in (good, bad)]
    task = json.dumps({"certificate": str(server.certificate), "tries": tries})
    before = counted(server, "").counts()
    results = json.loads(succeed("node", provider.folder / "tokens.mjs", stdin=task))
    after = counted(server, "").counts()
    expect(results[0]["ok"] and results[0]["messages"] > 0, "imapflow said", results[0])
    same(results[1], {"ok": False, "code": "AUTHENTICATIONFAILED", "told": "invalid_token"}, "imapflow with a bad token")
    same(results[2:], [{"ok": True}, {"ok": False, "code": "535"}], "nodemailer")
    for mechanism in MECHANISMS:
        for result in ("ok", "badcreds"):
            name = (mechanism, result)
            # nodemailer tries again with a token that is refused: it might have got a new one.
            times = 2 if name == ("XOAUTH2", "badcreds") else 1
            same(after[name] - before.get(name, 0), times, f"{result} by {mechanism}")


def untrusted(server, provider):
    """A provider whose certificate nobody vouches for is not asked, and no token of it is good."""
    server.write("", trust=False)
    server.ringmail("reload")
    with counted(server, "OAUTHBEARER", "error"):
        expect(server.curl("imaps", provider.kept) != 0, "logged in with a provider that is not trusted")
    end = time.monotonic() + 20
    # Lines are written by a thread of their own.
    while "invalid peer certificate: UnknownIssuer" not in server.log.read_text(errors="replace"):
        expect(time.monotonic() < end, "the log does not say why")
        time.sleep(0.02)


def introspection(server, provider):
    server.write('check = "introspection"\nclient_id = "mail server"\nclient_secret_file = "secret"\nintrospection_cache_secs = 0')
    server.ringmail("config", "check")
    server.ringmail("reload")
    token = provider.token("ringmail:opaque")
    for door in ("imaps", "submissions"):
        with counted(server, "OAUTHBEARER"):
            same(server.curl(door, token), 0, f"curl at {door} with an opaque token")
    revoked = provider.token("ringmail:opaque")
    with counted(server, "OAUTHBEARER"):
        same(server.curl("imaps", revoked), 0, "curl with a token before it is revoked")
    provider.revoke(revoked)
    bad = {"revoked": revoked, "unknown": "nonsense", "of another audience": provider.token("webmail:opaque")}
    bad["of another account"] = provider.token("ringmail:opaque", client="u2")
    for why, token in bad.items():
        with counted(server, "OAUTHBEARER", "badcreds"):
            same(server.curl("submissions", token), 67, f"curl with a token {why}")


def without_provider(server, provider):
    """What can't be checked is nobody's failure."""
    with counted(server, "OAUTHBEARER", "error"):
        # Which of curl's codes it is, is curl's.
        expect(server.curl("imaps", provider.tokens[0]) != 0, "logged in without a provider")
    server.write("")
    server.ringmail("reload")
    with counted(server, "OAUTHBEARER", "error"):
        expect(server.curl("submissions", provider.kept) != 0, "logged in without a provider")


def recorded(server, provider):
    lines = server.ringmail("account", "logins", "--json").splitlines()
    found = {(r["mechanism"], r["result"], r["account"]) for r in map(json.loads, lines)}
    for wanted in (("OAUTHBEARER", "ok", "u1"), ("XOAUTH2", "ok", "u1"), ("OAUTHBEARER", "badcreds", "u1"), ("OAUTHBEARER", "error", "u1")):
        expect(wanted in found, "not in the record:", wanted, found)


def log_keeps_secrets(server, provider):
    log = server.log.read_text(errors="replace")
    expect('msg="login failed"' in log and "reason=" in log, "no failed login in the log")
    for token in provider.tokens:
        # The signature, or all of an opaque one.
        expect(token.rsplit(".", 1)[-1] not in log, "a token is in the log")
    expect(base64.b64encode(b"mail%20server:mail%20server").decode() not in log, "the secret is in the log")


def main():
    start = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="ringmail-interop-") as scratch:
        scratch = Path(scratch)
        server = None
        try:
            with Provider(scratch) as provider:
                short, made = provider.token("ringmail:jwt:RS256:short"), time.monotonic()
                provider.kept = provider.token("ringmail:jwt:RS256")
                server = Server(scratch, provider).start()
                # It lasts for a second of a clock without fractions.
                time.sleep(max(0.0, made + 2.1 - time.monotonic()))
                cases = [(curl,), (curl_refused, short), (msmtp,), (mutt,), (node,), (untrusted,), (introspection,)]
                for case, *more in cases:
                    attempt(case, server, provider, *more)
            for case in (without_provider, recorded, log_keeps_secrets):
                attempt(case, server, provider)
            attempt(interop.Process.stop, server)
        except Exception:
            interop.fail("start")
        finally:
            if server:
                server.kill()
                if interop.FAILED:
                    print("---- what the server wrote", server.log.read_text(errors="replace")[-20_000:], sep="\n")
    interop.end("cases", start)


main()
