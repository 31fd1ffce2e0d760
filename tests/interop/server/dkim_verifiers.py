"""Other people's verifiers of DKIM signatures, dkimpy and Perl's Mail::DKIM, and real mail that can be signed."""

import re
import subprocess
import sys
from pathlib import Path

from . import corpora, expect, need

try:
    import dkim
except ImportError as missing:
    sys.exit(f"not installed: {missing.name} (tests/interop/requirements.txt)")

need("perl")

FOLDERS = ("mime", "spam/ham", "spam/spam", "bounces")
NO_MESSAGES = {".json", ".xml", ".md", ".out", ".txt", ".dat"}


def pipe(*words, stdin=b""):
    """Runs a program that must exit with 0; bytes in, bytes out."""
    done = subprocess.run([str(w) for w in words], input=stdin, capture_output=True, timeout=60)
    expect(done.returncode == 0, words[0], "exited with", done.returncode, done.stderr.decode(errors="replace"))
    return done.stdout


def signable():
    """Name and octets of what can be signed: one From field, nothing that dkimpy takes for malformed. Every line ends with CRLF."""
    found, left_out = [], 0
    for folder in FOLDERS:
        for path in sorted(p for p in (corpora() / folder).rglob("*") if p.is_file()):
            if NO_MESSAGES & {s.lower() for s in path.suffixes} or path.name in ("LICENSE", "README"):
                continue
            text = re.sub(rb"\r\n|\r|\n", b"\r\n", path.read_bytes())
            header = text.partition(b"\r\n\r\n")[0]
            one_from = len(re.findall(rb"^from[ \t]*:", header, re.M | re.I)) == 1 and b"\r\n\r\n" in text
            try:
                dkim.rfc822_parse(text)
            except dkim.MessageFormatError:
                one_from = False
            if one_from:
                found.append((str(path), text))
            else:
                left_out += 1
    expect(len(found) > 400, "only", len(found), "messages,", left_out, "left out")
    return found


def passes(text, index, records):
    """What dkimpy says of one signature, with these answers of DNS."""
    def ask(name, timeout=5):
        return records.get(name.decode().rstrip("."), "").encode()

    try:
        return dkim.DKIM(text).verify(index, ask)
    except dkim.ValidationError:
        return False


def mail_dkim(folder, records, domain, selector):
    """What Mail::DKIM says of this signature of each file of a folder, as `selector=result`. It knows RSA alone."""
    words = [w for pair in records.items() for w in pair]
    return pipe("perl", "-e", MAIL_DKIM, folder, domain, selector, *words).decode().splitlines()


# Answers of DNS are arguments.
MAIL_DKIM = """
use Mail::DKIM::Verifier;
use Net::DNS;
my ($folder, $domain, $selector, %records) = @ARGV;
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
    my @ours = grep { $_->domain eq $domain && $_->selector eq $selector } $verifier->signatures;
    print join(" ", map { $_->selector . "=" . $_->result_detail } @ours), "\\n";
}
"""
