"""Signatures of ours that dkimpy and Mail::DKIM verify, and dkimpy's that we do, over real mail. No server: `protocols/dkim/examples/dkim.rs` stands
for it, which `cargo test` builds beside the program under test.
"""

import base64
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from server import attempt, binary, corpora, expect, need, same

try:
    import dkim
    import nacl.signing
except ImportError as missing:
    sys.exit(f"not installed: {missing.name} (tests/interop/requirements.txt)")

need("perl")

DOMAIN, NOW = "example.org", int(time.time())
CANONICALIZATIONS = ["relaxed/relaxed", "simple/simple", "relaxed/simple", "simple/relaxed"]
FOLDERS = ("mime", "spam/ham", "spam/spam", "bounces")
NO_MESSAGES = {".json", ".xml", ".md", ".out", ".txt", ".dat"}


def pipe(*words, stdin=b""):
    """Runs a program that must exit with 0; bytes in, bytes out."""
    done = subprocess.run([str(w) for w in words], input=stdin, capture_output=True, timeout=60)
    expect(done.returncode == 0, words[0], "exited with", done.returncode, done.stderr.decode(errors="replace"))
    return done.stdout


def tool(*words, stdin=b""):
    """Runs the example."""
    return pipe(EXAMPLE, *words, stdin=stdin)


def messages():
    """Name and octets of what can be signed: one From field, nothing that dkimpy takes for malformed. Every line ends with CRLF."""
    found, left_out = [], 0
    for folder in FOLDERS:
        for path in sorted(p for p in (corpora() / folder).rglob("*") if p.is_file()):
            if NO_MESSAGES & {s.lower() for s in path.suffixes} or path.name in ("LICENSE", "README"):
                continue
            text = re.sub(rb"\r\n|\r|\n", b"\r\n", path.read_bytes())
            header = text.partition(b"\r\n\r\n")[0]
            signable = len(re.findall(rb"^from[ \t]*:", header, re.M | re.I)) == 1 and b"\r\n\r\n" in text
            try:
                dkim.rfc822_parse(text)
            except dkim.MessageFormatError:
                signable = False
            if signable:
                found.append((str(path), text))
            else:
                left_out += 1
    expect(len(found) > 400, "only", len(found), "messages,", left_out, "left out")
    return found


def records():
    """What DNS would say."""
    return {f"{selector}._domainkey.{DOMAIN}": tool("record", pem).decode() for selector, pem in KEYS.items()}


def ask(name, timeout=5):
    """dkimpy's question to DNS."""
    return RECORDS.get(name.decode().rstrip("."), "").encode()


def sign(text, canonicalizations, selectors=("rsa", "ed25519"), form="ascii"):
    words = [w for s in selectors for w in (DOMAIN, s, canonicalizations, KEYS[s])]
    return tool("sign", str(NOW), "joe", form, *words, stdin=text)


def is_good(text, index):
    """What dkimpy says of one signature."""
    try:
        return dkim.DKIM(text).verify(index, ask)
    except dkim.ValidationError:
        return False


def ours_for_dkimpy():
    """Both signatures pass, and none does once an octet of the body or of a signed field is another."""
    for n, (name, text) in enumerate(MESSAGES):
        signed = sign(text, CANONICALIZATIONS[n % 4])
        expect(signed.endswith(text), name)
        for index in (0, 1):
            expect(is_good(signed, index), name, "signature", index, CANONICALIZATIONS[n % 4])
        changed = signed.replace(b"\r\n\r\n", b"\r\n\r\n.", 1)
        expect(not is_good(changed, 0), name, "with another body")
        expect(not is_good(b"Subject: more\r\n" + signed, 1), name, "with another subject")


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
        words = [w for pair in RECORDS.items() for w in pair]
        results = pipe("perl", "-e", MAIL_DKIM, folder, *words).decode().splitlines()
    same(len(results), len(messages), "results")
    for result, (name, _) in zip(results, messages):
        same(result, "rsa=pass", name)


# Answers of DNS are arguments.
MAIL_DKIM = """
use Mail::DKIM::Verifier;
use Net::DNS;
my ($folder, %records) = @ARGV;
no warnings "redefine";
*Mail::DKIM::DNS::query = sub {
    my $record = $records{$_[0]} or return;
    return Net::DNS::RR->new(name => $_[0], type => "TXT", txtdata => [unpack "(a255)*", $record]);
};
for my $path (sort glob "$folder/*") {
    open my $file, "<:raw", $path or die;
    local $/;
    my $verifier = Mail::DKIM::Verifier->new;
    $verifier->PRINT(<$file>);
    $verifier->CLOSE;
    my @ours = grep { $_->domain eq "example.org" && $_->selector eq "rsa" } $verifier->signatures;
    print join(" ", map { $_->selector . "=" . $_->result_detail } @ours), "\\n";
}
"""


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
MESSAGES = messages()[::2]
CASES = (ours_for_dkimpy, dkimpys_for_us, ours_for_mail_dkim, internationalized)
FAILED = [case.__name__ for case in CASES if not attempt(case)]
print(f"{Path(__file__).name}: {len(CASES)} cases over {len(MESSAGES)} messages, failed: {FAILED or 'none'}", flush=True)
sys.exit(1 if FAILED else 0)
