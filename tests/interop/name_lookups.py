"""The resolver against unbound, which validates, and knot, which signs: what is proved by DNSSEC and what is not, wrong signatures, answers that
do not fit into a datagram, aliases, what is not there, servers that are dead, silent, slow or that lie.
RFC 1035, RFC 2308, RFC 4035, RFC 7505, RFC 8914.
"""

import json
import shutil
import socket
import tempfile
import threading
import time
from pathlib import Path

import server as interop
from server import HOST, binary, command, expect, need, same, succeed
from server.zones import APEX, Daemons, free_port

need("unbound", "knotd", "keymgr")

ZONES = {
    "signed.test": APEX
    + """@ MX 10 mx
@ MX 10 mx2
@ MX 20 backup.unsigned.test.
mx A 192.0.2.1
mx AAAA 2001:db8::1
_25._tcp.mx TLSA 3 1 1 0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef
mx2 CNAME mx
null MX 0 .
text TXT "v=spf1 " "-all"
alias CNAME signed.test.
away CNAME unsigned.test.
loop CNAME loop2
loop2 CNAME loop
nowhere CNAME gone
nomx A 192.0.2.7
"""
    + "".join(f'big TXT "{n:03} {"x" * 200}"\n' for n in range(40))
    + "".join(f"chain{n} CNAME chain{n - 1}\n" for n in range(1, 7))
    + "chain0 A 192.0.2.9\n",
    "unsigned.test": APEX + "@ MX 5 mx\nmx A 192.0.2.2\nback CNAME mx.signed.test.\nbackup A 192.0.2.3\n",
    # Unbound is given the key of another zone for it.
    "bogus.test": APEX + "@ MX 10 mx\nmx A 192.0.2.4\n",
    "2.0.192.in-addr.arpa": APEX + "1 PTR mx.signed.test.\n",
}
SIGNED = ("signed.test", "bogus.test")
WRONG = ("bogus.test",)


class Responder:
    """A DNS server that answers each question with what a function makes of it: datagrams, in their order."""

    def __init__(self, answers):
        self.socket = socket.socket(type=socket.SOCK_DGRAM)
        self.socket.bind((HOST, 0))
        self.address = f"{HOST}:{self.socket.getsockname()[1]}"
        self.asked = 0
        threading.Thread(target=self.serve, args=(answers,), daemon=True).start()

    def serve(self, answers):
        while True:
            query, peer = self.socket.recvfrom(4096)
            self.asked += 1
            for answer in answers(query):
                self.socket.sendto(answer, peer)


def reply(query, address, number=None, question=None):
    """An answer with one A record."""
    end = query.index(b"\0", 12) + 5
    asked = question or query[12:end]
    number = number or query[:2]
    record = b"\xc0\x0c\0\1\0\1\0\0\0\x3c\0\4" + socket.inet_aton(address)
    return number + b"\x81\xa0\0\1\0\1\0\0\0\0" + asked + record


def lies(query):
    """What somebody sends who can send in the server's name but does not see the question; then the truth."""
    other = bytes([query[0] ^ 1, query[1]])
    yield reply(query, "192.0.2.66", number=other)
    yield reply(query, "192.0.2.66", question=b"\5other\4test\0\0\1\0\1")
    yield reply(query, "192.0.2.66", question=query[12 : query.index(b"\0", 12) + 1] + b"\0\x1c\0\1")
    yield query
    yield b""
    yield b"\0" * 40
    yield reply(query, "192.0.2.1")


class Settings:
    """A configuration whose `[dns]` changes from case to case."""

    def __init__(self, scratch, http_port, unbound):
        self.file, self.http_port = scratch / "ringmail.toml", http_port
        self.unbound = f"{HOST}:{unbound}"
        (scratch / "accounts").mkdir()
        (scratch / "domains.toml").write_text('[postmaster]\naccount = "anna"\n[domain."example.org"]\n')
        (scratch / "accounts" / "anna.toml").write_text('addresses = ["anna@example.org"]\n')
        self.write()

    def write(self, servers=None, more=""):
        named = ", ".join(f'"{s}"' for s in servers or [self.unbound])
        self.file.write_text(f"""data_dir = "data"
hostname = "mail.example.org"
[dns]
servers = [{named}]
{more}
[[listener]]
name = "http"
addresses = ["{HOST}"]
[listener.http]
port = {self.http_port}
metrics = true
""")

    def lookup(self, record_type, name):
        """Exit code, and the answer as JSON."""
        code, out, err = command(binary(), "dns", "lookup", record_type, name, "--json", "--config", self.file)
        expect(err == "", err)
        return code, json.loads(out)

    def mx(self, domain):
        """Exit code, and where mail would go, as JSON."""
        code, out, err = command(binary(), "dns", "mx", domain, "--json", "--config", self.file)
        expect(err == "", err)
        return code, json.loads(out)

    def records(self, record_type, name):
        code, answer = self.lookup(record_type, name)
        same(code, 0, f"{record_type} {name}: {answer}")
        return sorted(answer["records"]), answer["authentic"]


def signed_and_not(settings):
    same(settings.records("MX", "Signed.TEST."), (["10 mx.signed.test", "10 mx2.signed.test", "20 backup.unsigned.test"], True), "MX")
    same(settings.records("A", "mx.signed.test"), (["192.0.2.1"], True), "A")
    same(settings.records("AAAA", "mx.signed.test"), (["2001:db8::1"], True), "AAAA")
    tlsa = ["3 1 1 0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"]
    same(settings.records("TLSA", "_25._tcp.mx.signed.test"), (tlsa, True), "TLSA")
    same(settings.records("TXT", "text.signed.test"), (['"v=spf1 -all"'], True), "TXT")
    same(settings.records("MX", "null.signed.test"), (["0 ."], True), "null MX")
    same(settings.records("MX", "unsigned.test"), (["5 mx.unsigned.test"], False), "MX of what is not signed")
    same(settings.records("PTR", "192.0.2.1"), (["mx.signed.test"], False), "PTR")


def wrong_signatures(settings):
    code, answer = settings.lookup("MX", "bogus.test")
    same((code, answer["result"]), (1, "error"), answer)
    expect("DNSSEC signatures are wrong" in answer["error"], answer)
    code, out, err = command(binary(), "dns", "lookup", "mx", "bogus.test", "--config", settings.file)
    same((code, err), (1, ""), "a lookup that fails")
    expect(out.startswith("MX of bogus.test: the DNSSEC signatures are wrong: "), out)


def large_answers(settings):
    records, authentic = settings.records("TXT", "big.signed.test")
    same((len(records), authentic), (40, True), "an answer that does not fit into a datagram")
    same(records[7], f'"007 {"x" * 200}"', "the eighth")


def aliases(settings):
    _, answer = settings.lookup("MX", "alias.signed.test")
    same((answer["aliases"], answer["authentic"], len(answer["records"])), (["signed.test"], True, 3), "an alias")
    _, answer = settings.lookup("MX", "away.signed.test")
    same((answer["aliases"], answer["authentic"]), (["unsigned.test"], False), "a signed alias of what is not")
    same(settings.records("CNAME", "away.signed.test"), (["unsigned.test"], True), "the alias itself")
    _, answer = settings.lookup("A", "back.unsigned.test")
    same((answer["aliases"], answer["authentic"]), (["mx.signed.test"], False), "an alias that is not signed of what is")
    _, answer = settings.lookup("A", "chain6.signed.test")
    chain = [f"chain{n}.signed.test" for n in range(5, -1, -1)]
    same((answer["aliases"], answer["records"]), (chain, ["192.0.2.9"]), "a chain")
    code, answer = settings.lookup("A", "loop.signed.test")
    same((code, answer["result"]), (1, "error"), f"a circle: {answer}")
    code, answer = settings.lookup("A", "nowhere.signed.test")
    same((code, answer["result"], answer["aliases"]), (1, "nxdomain", ["gone.signed.test"]), "an alias of nothing")


def what_is_not_there(settings):
    for record_type, name, result, authentic in (
        ("MX", "gone.signed.test", "nxdomain", True),
        ("MX", "nomx.signed.test", "nodata", True),
        ("MX", "gone.unsigned.test", "nxdomain", False),
        ("AAAA", "mx.unsigned.test", "nodata", False),
    ):
        code, answer = settings.lookup(record_type, name)
        same((code, answer["result"], answer["authentic"]), (1, result, authentic), f"{record_type} {name}")
        # The SOA says 60.
        expect(0 < answer["ttl"] <= 60, answer)
    code, out, _ = command(binary(), "dns", "lookup", "MX", "nomx.signed.test", "--config", settings.file)
    expect(code == 1 and "the name has no such records (DNSSEC proves it; holds " in out, out)


def where_mail_goes(settings):
    code, answer = settings.mx("signed.test")
    same((code, answer["result"], answer["authentic"], answer["implicit"]), (0, "ok", True, False), "MX")
    by_name = {host["name"]: host for host in answer["hosts"]}
    same([host["preference"] for host in answer["hosts"]], [10, 10, 20], "preferences")
    same(answer["hosts"][2]["name"], "backup.unsigned.test", "the last")
    host = by_name["mx.signed.test"]
    same((host["addresses"], host["authentic"]), (["2001:db8::1", "192.0.2.1"], True), "addresses")
    same((len(host["tlsa"]), host["tlsa_base"]), (1, "mx.signed.test"), "TLSA")
    # RFC 7672 2.2.3: an alias's certificate is that of what it is an alias of.
    alias = by_name["mx2.signed.test"]
    same((alias["expanded"], len(alias["tlsa"]), alias["tlsa_base"]), ("mx.signed.test", 1, "mx.signed.test"), "TLSA of an alias")
    backup = by_name["backup.unsigned.test"]
    same((backup["addresses"], backup["authentic"], backup["tlsa"]), (["192.0.2.3"], False, []), "a host that is not signed")
    for domain, result, authentic, expanded in (
        ("null.signed.test", "null-mx", True, "null.signed.test"),
        ("gone.signed.test", "nxdomain", True, "gone.signed.test"),
        ("nowhere.signed.test", "nxdomain", True, "gone.signed.test"),
    ):
        code, answer = settings.mx(domain)
        same((code, answer["result"], answer["authentic"], answer["expanded"]), (1, result, authentic, expanded), domain)
    for domain in ("loop.signed.test", "bogus.test"):
        code, answer = settings.mx(domain)
        same((code, answer["result"]), (1, "error"), domain)
    code, answer = settings.mx("nomx.signed.test")
    same((code, answer["implicit"], answer["authentic"]), (0, True, True), "no MX")
    same([host["name"] for host in answer["hosts"]], ["nomx.signed.test"], "the domain itself")
    code, answer = settings.mx("alias.signed.test")
    same((code, answer["expanded"], answer["authentic"]), (0, "signed.test", True), "an alias")
    # RFC 7672 2.1.3: a signed alias of what is not signed is not proved.
    code, answer = settings.mx("away.signed.test")
    same((code, answer["expanded"], answer["authentic"]), (0, "unsigned.test", False), "a signed alias of what is not")
    code, out, _ = command(binary(), "dns", "mx", "signed.test", "--config", settings.file)
    expect(code == 0 and out.startswith("Mail for signed.test goes to (DNSSEC proves it):\n  10 mx"), out)
    expect("  20 backup.unsigned.test  192.0.2.3  no DANE\n" in out, out)


def who_is_not_trusted(settings):
    settings.write(more="trusted = false")
    same(settings.records("A", "mx.signed.test"), (["192.0.2.1"], False), "an answer of who is not trusted")


def dead_and_silent_servers(settings):
    # A socket that takes datagrams from one peer alone is none to others, and nobody else gets its port.
    taken = socket.socket(type=socket.SOCK_DGRAM)
    taken.bind((HOST, 0))
    taken.connect((HOST, 9))
    dead, silent = f"{HOST}:{taken.getsockname()[1]}", Responder(lambda _: ())
    settings.write([dead, settings.unbound])
    same(settings.records("A", "mx.signed.test")[0], ["192.0.2.1"], "with a dead server before")
    settings.write([silent.address, settings.unbound], 'try_timeout_secs = "1s"')
    same(settings.records("A", "mx.signed.test")[0], ["192.0.2.1"], "with a silent server before")
    settings.write([silent.address], 'try_timeout_secs = "500ms"')
    begun = time.monotonic()
    code, answer = settings.lookup("A", "mx.signed.test")
    same((code, answer["error"]), (1, f"no server answered in time: {silent.address}: no answer in time"), "a silent server alone")
    expect(time.monotonic() - begun < 8, "it took", time.monotonic() - begun)
    settings.write([dead])
    code, answer = settings.lookup("A", "mx.signed.test")
    same((code, answer["error"]), (1, f"no server can be reached: {dead}: nothing listens there"), "a dead server alone")
    taken.close()


def forged_answers(settings):
    liar = Responder(lies)
    settings.write([liar.address])
    same(settings.records("A", "mx.signed.test"), (["192.0.2.1"], True), "among forged answers")
    same(liar.asked, 1, "questions")


def a_server_that_remembers(settings):
    """The same by a running server, its cache, and a reload."""
    settings.write()
    folder = settings.file.parent
    process = interop.Process([binary(), "serve", "--config", str(settings.file)], settings.http_port, folder / "log")
    try:
        process.start()
        hits = lambda: process.metric("ringmail_dns_cache_hits_total")  # noqa: E731
        for record_type, name in (("MX", "signed.test"), ("MX", "gone.signed.test"), ("MX", "nomx.signed.test"), ("MX", "bogus.test")):
            before = hits()
            answers = [settings.lookup(record_type, name) for _ in range(2)]
            same(hits() - before, 1.0, f"hits of {name}")
            for _, answer in answers:
                answer.pop("ttl", None)
            same(answers[0], answers[1], name)
        expect(process.metric("ringmail_dns_lookup_duration_seconds_count") >= 4, process.page("/metrics"))
        same(settings.mx("signed.test")[1]["authentic"], True, "MX by a running server")
        lie = Responder(lambda query: [reply(query, "192.0.2.99")])
        settings.write([lie.address])
        same(settings.records("A", "mx.signed.test")[0], ["192.0.2.1"], "before the reload")
        succeed(binary(), "reload", "--config", settings.file)
        same(settings.records("A", "mx.signed.test")[0], ["192.0.2.99"], "after the reload")
        process.stop()
    except Exception:
        print((folder / "log").read_text(errors="replace")[-5000:])
        raise
    finally:
        process.kill()


def wrong_words(settings):
    for words, said in ((["NS", "signed.test"], '"NS" is no type of record'), (["A", "a..b"], "empty label"), (["A"], "NAME")):
        code, out, err = command(binary(), "dns", "lookup", *words, "--config", settings.file)
        same((code, out), (2, ""), words)
        expect(said in err, words, "said", err)


def main():
    start = time.monotonic()
    scratch = Path(tempfile.mkdtemp(prefix="ringmail-dns-"))
    daemons = Daemons(scratch, ZONES, SIGNED, WRONG)
    cases = (signed_and_not, wrong_signatures, large_answers, aliases, what_is_not_there, where_mail_goes, who_is_not_trusted, dead_and_silent_servers,
             forged_answers, a_server_that_remembers, wrong_words)  # fmt: skip
    try:
        daemons.start()
        settings = Settings(scratch, free_port(), daemons.unbound)
        for case in cases:
            settings.write()
            interop.attempt(case, settings)
    except Exception:
        interop.fail("start")
    finally:
        daemons.stop()
        if interop.FAILED:
            for log in scratch.glob("*.log"):
                print(f"---- {log.name}", log.read_text(errors="replace")[-5000:], sep="\n")
        shutil.rmtree(scratch, ignore_errors=True)
    interop.end(f"{len(cases)} cases", start)


main()
