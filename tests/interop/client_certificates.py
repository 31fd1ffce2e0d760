"""Certificates that nobody registered, of every kind OpenSSL makes: they break neither the handshake nor the password login after it. And
registered ones, whose keys log in.
Listeners ask for one and look at nothing but its key. RFC 5246 7.4.8, RFC 8446 4.4.2 and 4.4.3.
"""

import base64
import hashlib
import re
import subprocess
import threading

from server import PASSWORD, USER, binary, command, expect, need, run, same, succeed

need("openssl", "curl", "gsasl")

P256 = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"]


def curve(name):
    return ["-newkey", "ec", "-pkeyopt", f"ec_paramgen_curve:{name}"]


# How each is made; and with which versions of TLS OpenSSL proves that it has the key, else it shows none: no algorithm that we offer fits.
KINDS = {
    "rsa-1024": (["-newkey", "rsa:1024"], "23"),
    "rsa-2048": (["-newkey", "rsa:2048"], "23"),
    "rsa-2050": (["-newkey", "rsa:2050"], "23"),
    "rsa-3-prime": (["-newkey", "rsa:2048", "-pkeyopt", "rsa_keygen_primes:3"], "23"),
    "rsa-exponent-3": (["-newkey", "rsa:2048", "-pkeyopt", "rsa_keygen_pubexp:3"], "23"),
    "rsa-exponent-34-bits": (["-newkey", "rsa:2048", "-pkeyopt", "rsa_keygen_pubexp:8589934593"], "23"),
    "rsa-pss": (["-newkey", "rsa-pss", "-pkeyopt", "rsa_keygen_bits:2048"], ""),
    "ecdsa-p256": (P256, "23"),
    "ecdsa-p256-explicit": ([*P256, "-pkeyopt", "ec_param_enc:explicit"], "23"),
    "ecdsa-p384": (curve("P-384"), "23"),
    "ecdsa-p521": (curve("P-521"), "2"),
    "ecdsa-secp256k1": (curve("secp256k1"), "2"),
    "ed25519": (["-newkey", "ed25519"], "23"),
    "ed448": (["-newkey", "ed448"], ""),
    "sha1-signed": ([*P256, "-sha1"], "23"),
    "no-name": ([*P256, "-subj", "/"], "23"),
    "long": ([*P256, "-addext", f"nsComment={'x' * 8000}"], "23"),
    "extensions": (
        [
            *P256,
            *("-addext", "1.2.3.4.5=critical,DER:0102"),
            *("-addext", "1.2.3.4.6=DER:ff"),
            *("-addext", "keyUsage=critical,keyEncipherment"),
            *("-addext", "extendedKeyUsage=critical,codeSigning"),
            *("-addext", "nameConstraints=critical,permitted;DNS:elsewhere.example"),
            *("-addext", "subjectAltName=email:postmaster@localhost,otherName:1.2.3.4;UTF8:x"),
        ],
        "23",
    ),
}


def make(folder):
    """Certificates and keys, as NAME.crt and NAME.key; answers the names and what is expected of each."""
    for name, (options, _) in KINDS.items():
        files = ["-keyout", folder / f"{name}.key", "-out", folder / f"{name}.crt"]
        subject = [] if "-subj" in options else ["-subj", f"/CN={name}"]
        succeed("openssl", "req", "-x509", "-nodes", "-days", "30", *files, *subject, *options)
    for name, options in (("expired", ["-days", "-1"]), ("version-1", [])):
        request = succeed("openssl", "req", "-new", "-nodes", *P256, "-subj", f"/CN={name}", "-keyout", folder / f"{name}.key")
        files = ["-key", folder / f"{name}.key", "-out", folder / f"{name}.crt"]
        succeed("openssl", "x509", "-req", *files, *options, stdin=request)
    for name, group in (("ecdsa-p256-compressed", "prime256v1"), ("ecdsa-p384-compressed", "secp384r1")):
        key = succeed("openssl", "ecparam", "-name", group, "-genkey", "-noout")
        succeed("openssl", "ec", "-conv_form", "compressed", "-out", folder / f"{name}.key", stdin=key)
        files = ["-key", folder / f"{name}.key", "-out", folder / f"{name}.crt"]
        succeed("openssl", "req", "-x509", "-new", "-subj", f"/CN={name}", *files)
    made = {name: proves for name, (_, proves) in KINDS.items()}
    return made | dict.fromkeys(("expired", "version-1", "ecdsa-p256-compressed", "ecdsa-p384-compressed"), "23")


class Talk:
    """`openssl s_client`, line by line."""

    def __init__(self, server, door, version, name=None):
        port, options = {
            "imap": (server.imap, ["-starttls", "imap"]),
            "imaps": (server.imaps, []),
            "submission": (server.submission, ["-starttls", "smtp"]),
            "submissions": (server.submissions, []),
        }[door]
        self.messages = server.scratch / f"{door}-{version}-{name}"
        words = ["openssl", "s_client", "-quiet", "-crlf", "-connect", f"localhost:{port}", f"-tls1_{version}", *options]
        words += ["-verify_return_error", "-CAfile", server.certificate, "-msg", "-msgfile", self.messages]
        # Level 0: keys as small as they come.
        words += ["-cipher", "DEFAULT@SECLEVEL=0"]
        if name:
            words += ["-cert", server.scratch / f"{name}.crt", "-key", server.scratch / f"{name}.key"]
        self.errors = open(server.scratch / "errors", "w+b")
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": self.errors}
        self.process = subprocess.Popen([str(w) for w in words], **pipes)
        # Whatever happens, a read ends.
        self.limit = threading.Timer(30, self.process.kill)
        self.limit.start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.limit.cancel()
        self.process.kill()
        self.process.wait()
        self.process.stdin.close()
        self.process.stdout.close()
        self.errors.close()

    def say(self, line):
        self.process.stdin.write(line.encode() + b"\n")
        self.process.stdin.flush()

    def until(self, *starts):
        """The first line that begins with one of these."""
        for line in self.process.stdout:
            if line.decode().startswith(starts):
                return line.decode().rstrip()
        self.errors.seek(0)
        raise AssertionError(f"closed before any of {starts}: {self.errors.read().decode(errors='replace')}")

    def log_in(self, door):
        if door.startswith("imap"):
            # After STARTTLS there is no greeting.
            self.say(f"a LOGIN {USER} wrong")
            expect(self.until("a ").startswith("a NO [AUTHENTICATIONFAILED]"), "a wrong password")
            self.say(f"b LOGIN {USER} {PASSWORD}")
            expect(self.until("b ").startswith("b OK"), "the right password")
            self.say("c LOGOUT")
            self.until("c OK")
        else:
            self.say("EHLO client.example.org")
            self.until("250 ")
            for password, code in (("wrong", "535 5.7.8"), (PASSWORD, "235 2.7.0")):
                self.say(f"AUTH PLAIN {plain(password)}")
                expect(self.until("2", "5").startswith(code), "wanted", code)
            self.say("QUIT")
            self.until("221")

    def sent(self):
        """Which of the client's messages about its certificate went out, and how long the first was."""
        text = self.messages.read_bytes().decode("ascii", errors="replace")
        found = re.findall(r"^>>> TLS 1\.\d, Handshake \[length ([0-9a-f]+)\], (Certificate\w*)", text, re.M)
        return [kind for _, kind in found], int(found[0][0], 16) if found else 0


def plain(password):
    return base64.b64encode(f"\0{USER}\0{password}".encode()).decode()


DOORS = ("imap", "imaps", "submission", "submissions")


def no_certificate(server):
    for door in DOORS:
        for version in ("2", "3"):
            with Talk(server, door, version) as talk:
                talk.log_in(door)
                kinds, length = talk.sent()
            # Asked for, and answered with an empty list.
            expect(kinds == ["Certificate"] and length <= 8, door, version, kinds, length)


def unregistered_certificates(server):
    made = make(server.scratch)
    for n, (name, proves) in enumerate(made.items()):
        for version in ("2", "3"):
            # One sees all doors, the others two: another protocol with each version of TLS.
            for door in DOORS if name == "rsa-2048" else (DOORS[(n + (0 if version == "2" else 2)) % 4],):
                with Talk(server, door, version, name) as talk:
                    try:
                        talk.log_in(door)
                    except Exception as error:
                        raise AssertionError(f"{name} at {door} with TLS 1.{version}: {error}") from error
                    kinds, _ = talk.sent()
                wanted = ["Certificate", "CertificateVerify"] if version in proves else ["Certificate"]
                same(kinds, wanted, f"what {name} sent at {door} with TLS 1.{version}")


def a_chain_of_many(server):
    """Ten more certificates behind the first."""
    chain = server.scratch / "chain.pem"
    chain.write_bytes((server.scratch / "rsa-2048.crt").read_bytes() * 11)
    for version in ("2", "3"):
        url = f"imaps://localhost:{server.imaps}/"
        files = ["--cert", server.scratch / "chain.pem", "--key", server.scratch / "rsa-2048.key", "--cacert", server.certificate]
        succeed("curl", "-sS", url, "-u", f"{USER}:{PASSWORD}", *files, f"--tlsv1.{version}", "--tls-max", f"1.{version}")


def gnutls(server):
    """Another library of TLS; -PLUS is bound to a connection with a certificate as to any."""
    for name in ("rsa-2048", "ecdsa-p256", "ecdsa-p384", "ecdsa-p521", "ed25519", "expired"):
        for protocol, port in (("imap", server.imap), ("smtp", server.submission)):
            files = [f"--x509-cert-file={server.scratch / name}.crt", f"--x509-key-file={server.scratch / name}.key"]
            words = ["gsasl", f"--{protocol}", f"--connect=localhost:{port}", "--mechanism=SCRAM-SHA-256-PLUS", "--hostname=localhost"]
            words += [f"--authentication-id={USER}", f"--password={PASSWORD}", "--starttls", f"--x509-ca-file={server.certificate}"]
            code, out, err = command(*words, *files)
            expect(code == 0 and "server trusted" in out + err, name, protocol, code, out, err)


def registered_certificates(server):
    """Their key logs in: PREAUTH with TLS from the start, EXTERNAL after STARTTLS, submission without AUTH. Who signed it and for whom does not count."""
    for name in ("rsa-2048", "ecdsa-p256", "ecdsa-p384", "ed25519", "sha1-signed", "no-name", "version-1", "extensions"):
        certificate = (server.scratch / f"{name}.crt").read_text()
        where = ["--dir", server.directory]
        added = succeed(binary(), "config", "tlspubkey", "add", USER, name, *where, stdin=certificate)
        fingerprint = added.split()[0]
        public = succeed("openssl", "x509", "-in", server.scratch / f"{name}.crt", "-noout", "-pubkey")
        der = subprocess.run(["openssl", "pkey", "-pubin", "-outform", "DER"], input=public.encode(), capture_output=True, check=True).stdout
        ours = base64.urlsafe_b64encode(hashlib.sha256(der).digest()).decode().rstrip("=")
        same(fingerprint, ours, f"the fingerprint of {name}")
        for version in ("2", "3"):
            with Talk(server, "imaps", version, name) as talk:
                expect(talk.until("* ").startswith("* PREAUTH "), name, "with TLS 1." + version)
                talk.say('a STATUS INBOX (MESSAGES)')
                expect(talk.until("a ").startswith("a OK"), name)
            with Talk(server, "imap", version, name) as talk:
                talk.say("a AUTHENTICATE EXTERNAL =")
                expect(talk.until("a ").startswith("a OK"), name)
            for door in ("submission", "submissions"):
                with Talk(server, door, version, name) as talk:
                    talk.say("EHLO client.example.org")
                    talk.until("250 ")
                    talk.say(f"MAIL FROM:<{USER}>")
                    expect(talk.until("2", "5").startswith("250 2.1.0"), name, door)
                    talk.say("RSET")
                    talk.until("250 ")
                    talk.say("AUTH EXTERNAL =")
                    expect(talk.until("2", "5").startswith("235 "), name, door)
        succeed(binary(), "config", "tlspubkey", "remove", fingerprint, *where)
        with Talk(server, "imaps", "3", name) as talk:
            greeting = talk.until("* ")
            expect(greeting.startswith("* OK "), name, "after its removal:", greeting)
            talk.log_in("imaps")


def nothing_in_the_log(server):
    """A certificate is no event; a wrong password is one."""
    lines = [line for line in server.log.read_text().splitlines() if line.startswith("time=")]
    expected = ('msg="login failed"', 'msg="ready"', "module=lookup ")
    other = [line for line in lines if not any(words in line for words in expected)]
    same(other, [], "lines of the log")


run(no_certificate, unregistered_certificates, a_chain_of_many, gnutls, registered_certificates, nothing_in_the_log)
