"""Signatures of ours that dkimpy and Mail::DKIM verify, and dkimpy's that we do, over real mail. No server: `protocols/dkim/examples/dkim.rs` stands
for it, which `cargo test` builds beside the program under test.
"""

import base64
import re
import sys
import tempfile
import time
from pathlib import Path

from server import attempt, binary, end, expect, same
from server.dkim_verifiers import dkim, mail_dkim, passes, pipe, signable

try:
    import nacl.signing
except ImportError as missing:
    sys.exit(f"not installed: {missing.name} (tests/interop/requirements.txt)")

DOMAIN, NOW = "example.org", int(time.time())
CANONICALIZATIONS = ["relaxed/relaxed", "simple/simple", "relaxed/simple", "simple/relaxed"]


def tool(*words, stdin=b""):
    """Runs the example."""
    return pipe(EXAMPLE, *words, stdin=stdin)


def records():
    """What DNS would say."""
    return {f"{selector}._domainkey.{DOMAIN}": tool("record", pem).decode() for selector, pem in KEYS.items()}


def sign(text, canonicalizations, selectors=("rsa", "ed25519"), form="ascii"):
    words = [w for s in selectors for w in (DOMAIN, s, canonicalizations, KEYS[s])]
    return tool("sign", str(NOW), "joe", form, *words, stdin=text)


def ours_for_dkimpy():
    """Both signatures pass, and none does once an octet of the body or of a signed field is another."""
    for n, (name, text) in enumerate(MESSAGES):
        signed = sign(text, CANONICALIZATIONS[n % 4])
        expect(signed.endswith(text), name)
        for index in (0, 1):
            expect(passes(signed, index, RECORDS), name, "signature", index, CANONICALIZATIONS[n % 4])
        changed = signed.replace(b"\r\n\r\n", b"\r\n\r\n.", 1)
        expect(not passes(changed, 0, RECORDS), name, "with another body")
        expect(not passes(b"Subject: more\r\n" + signed, 1, RECORDS), name, "with another subject")


def dkimpys_for_us():
    """The other way round, with its own choice of fields."""
    seed = base64.b64encode(nacl.signing.SigningKey.generate().encode())
    public = base64.b64encode(nacl.signing.SigningKey(base64.b64decode(seed)).verify_key.encode()).decode()
    known = {**RECORDS, f"theirs._domainkey.{DOMAIN}": f"v=DKIM1; k=ed25519; p={public}"}
    words = [w for pair in known.items() for w in pair]
    for n, (name, text) in enumerate(MESSAGES):
        how = {"canonicalize": tuple(c.encode() for c in CANONICALIZATIONS[n % 4].split("/"))}
        rsa = dkim.sign(text, b"rsa", DOMAIN.encode(), KEYS["rsa"].encode(), **how)
        ed25519 = dkim.sign(text, b"theirs", DOMAIN.encode(), seed, signature_algorithm=b"ed25519-sha256", **how)
        subject = re.search(rb"^subject[ \t]*:", text.partition(b"\r\n\r\n")[0], re.M | re.I)
        wanted = "pass" if subject else "policy"
        lines = tool("verify", str(int(time.time()) + 60), *words, stdin=ed25519 + rsa + text).decode().splitlines()
        same([line.split()[:2] for line in lines[:2]], [[wanted, "theirs"], [wanted, "rsa"]], name)
        changed = (ed25519 + rsa + text).replace(b"\r\n\r\n", b"\r\n\r\n.", 1)
        lines = tool("verify", str(int(time.time()) + 60), *words, stdin=changed).decode().splitlines()
        same([line.split()[:2] for line in lines[:2]], [["fail", "theirs"], ["fail", "rsa"]], name)


def ours_for_mail_dkim():
    """A second opinion, that of Perl's Mail::DKIM: the library that amavis and SpamAssassin have. It knows RSA alone, and
    no message without a line end at its end."""
    messages = [(name, text) for name, text in MESSAGES if text.endswith(b"\r\n")]
    with tempfile.TemporaryDirectory() as folder:
        for n, (_, text) in enumerate(messages):
            (Path(folder) / f"{n:05}").write_bytes(sign(text, CANONICALIZATIONS[n % 4], ["rsa"]))
        results = mail_dkim(folder, RECORDS, DOMAIN, "rsa")
    same(len(results), len(messages), "results")
    for result, (name, _) in zip(results, messages):
        same(result, "rsa=pass", name)


def internationalized():
    """RFC 8616: U-labels in d= and s=, UTF-8 in i=. dkimpy asks for the key by U-labels, which it leaves to the resolver."""
    text = "From: J\u00f6rg <j\u00f6rg@b\u00fccher.example>\r\nSubject: \u00e4\r\n\r\nHallo\r\n".encode()
    for key in ("rsa", "ed25519"):
        signed = tool("sign", str(NOW), "j\u00f6rg", "utf8", "b\u00fccher.example", "s\u00fcd", "relaxed/relaxed", KEYS[key], stdin=text)
        expect("d=b\u00fccher.example; s=s\u00fcd;".encode() in signed.replace(b"\r\n\t", b" "), signed)
        record = RECORDS[f"{key}._domainkey.{DOMAIN}"]
        expect(dkim.DKIM(signed).verify(0, lambda name, timeout=5: record.encode()), key)
        words = ["xn--sd-xka._domainkey.xn--bcher-kva.example", record]
        same(tool("verify", str(NOW), *words, stdin=signed).split()[0], b"pass", key)


EXAMPLE = Path(binary()).parent / "examples" / "dkim"
expect(EXAMPLE.is_file(), EXAMPLE, "is not there: cargo test builds it")
RSA, ED25519 = re.findall(r"-----BEGIN.*?-----END PRIVATE KEY-----\n", tool("keys").decode(), re.S)
KEYS = {"rsa": RSA, "ed25519": ED25519}
RECORDS = records()
# Half of them take ten seconds; protocols/dkim/tests/corpora.rs takes all.
MESSAGES = signable()[::2]
CASES = (ours_for_dkimpy, dkimpys_for_us, ours_for_mail_dkim, internationalized)
START = time.monotonic()
for CASE in CASES:
    attempt(CASE)
end(f"{len(CASES)} cases over {len(MESSAGES)} messages", START)
