"""What connections to other domains' mail hosts must hold to, found out by unbound, which validates, from zones that knot signs, and by a policy
host with a certificate of openssl's: DANE with records that can be used and cannot, that cannot be looked up, in zones that are not signed;
MTA-STS in each mode, from a host with the wrong certificate, and over a kill and the end of its host.
RFC 7672 2, RFC 8461 3, 4, 5.
"""

import json
import shutil
import socket
import tempfile
import time
from pathlib import Path

import server as interop
from server import HOST, binary, command, expect, need, same, succeed
from server.policy_host import PolicyHost
from server.sending import authority, certificate
from server.zones import APEX, Daemons, free_port

need("unbound", "knotd", "keymgr", "openssl")

TLSA = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
STS = '_mta-sts TXT "v=STSv1; id=20260101;"\nmta-sts A 127.0.0.1\n'
ZONES = {
    "signed.test": APEX
    + f"""@ MX 10 ee
@ MX 20 ta
@ MX 30 odd
@ MX 40 none
@ MX 50 broken
@ MX 60 away
@ MX 70 alias
ee A 192.0.2.1
_25._tcp.ee TLSA 3 1 1 {TLSA}
ta A 192.0.2.2
_25._tcp.ta TLSA 2 0 1 {TLSA}
odd A 192.0.2.3
_25._tcp.odd TLSA 1 1 1 {TLSA}
none A 192.0.2.4
broken A 192.0.2.5
_tcp.broken NS ns._tcp.broken
_tcp.broken DS 12345 13 2 {TLSA}
ns._tcp.broken A 127.0.0.1
away CNAME mx.unsigned.test.
alias CNAME ee
plain MX 10 mx.unsigned.test.
both MX 10 ee
both MX 20 none
_mta-sts.both TXT "v=STSv1; id=20260101;"
mta-sts.both A 127.0.0.1
""",
    # Not signed, though the zone above says that it is.
    "_tcp.broken.signed.test": APEX + f"_25 TLSA 3 1 1 {TLSA}\n",
    # Its hosts have records that nothing proves, for what names them is not signed.
    "unsigned.test": APEX + "@ MX 10 ee.signed.test.\nmx A 192.0.2.6\n" + f"_25._tcp.mx TLSA 3 1 1 {TLSA}\n",
    "enforce.test": APEX + "@ MX 10 mx\n@ MX 20 mx.unsigned.test.\nmx A 192.0.2.7\n" + STS,
    "testing.test": APEX + "@ MX 10 mx\nmx A 192.0.2.8\n" + STS,
    "leaving.test": APEX + "@ MX 10 mx\nmx A 192.0.2.8\n" + STS,
    "moved.test": APEX + "@ MX 10 mx\nmx A 192.0.2.8\n" + STS,
    # Its policy host has another's certificate.
    "wrong.test": APEX + "@ MX 10 mx\nmx A 192.0.2.9\n" + STS,
    "bogus.test": APEX + "@ MX 10 mx\nmx A 192.0.2.10\n",
}
POLICIES = {
    "enforce.test": "version: STSv1\r\nmode: enforce\r\nmx: *.enforce.test\r\nmax_age: 604800\r\n",
    "testing.test": "version: STSv1\nmode: testing\nmx: other.testing.test\nmax_age: 604800\n",
    "leaving.test": "version: STSv1\nmode: none\nmax_age: 604800\n",
    "wrong.test": "version: STSv1\nmode: enforce\nmx: mx.wrong.test\nmax_age: 604800\n",
    "both.signed.test": "version: STSv1\nmode: enforce\nmx: none.signed.test\nmax_age: 604800\n",
}


def policy_host(scratch):
    """For all policy hosts but one: that has no certificate of its own."""
    authority(scratch)
    names = [f"mta-sts.{domain}" for domain in [*POLICIES, "moved.test"] if domain != "wrong.test"]
    return PolicyHost(certificate(scratch, "host", *names), POLICIES, {"moved.test": "enforce.test"})


class Setup:
    def __init__(self, scratch, daemons, host):
        self.daemons, self.host, self.scratch = daemons, host, scratch
        self.config, self.http_port = scratch / "ringmail.toml", free_port()
        (scratch / "accounts").mkdir()
        (scratch / "domains.toml").write_text('[postmaster]\naccount = "anna"\n[domain."example.org"]\n')
        (scratch / "accounts" / "anna.toml").write_text('addresses = ["anna@example.org"]\n')
        self.config.write_text(f"""data_dir = "data"
hostname = "mail.example.org"
[dns]
servers = ["{HOST}:{daemons.unbound}"]
[tls_policy]
ca_file = "ca.pem"
mta_sts_port = {host.port}
[[listener]]
name = "http"
addresses = ["{HOST}"]
[listener.http]
port = {self.http_port}
metrics = true
""")

    def demands(self, domain):
        """Exit code, grounds by host, and the whole answer."""
        code, out, err = command(binary(), "dns", "tls", domain, "--json", "--config", self.config)
        expect(err == "", err)
        answer = json.loads(out)
        return code, {host["name"]: host["ground"] for host in answer["hosts"]}, answer

    def serve(self):
        return interop.Process([binary(), "serve", "--config", str(self.config)], self.http_port, self.scratch / "log")


def is_free(port):
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
            probe.listen()
        except OSError:
            return False
        return True


def dane(setup):
    code, grounds, answer = setup.demands("signed.test")
    same((code, answer["authentic"], answer["mta_sts"]), (0, True, "none"), "signed.test")
    same(
        grounds,
        {
            "ee.signed.test": "dane",
            "ta.signed.test": "dane",
            "odd.signed.test": "dane-unusable",
            "none.signed.test": "opportunistic",
            "broken.signed.test": "tlsa-unknown",
            "away.signed.test": "opportunistic",
            "alias.signed.test": "dane",
        },
        "grounds",
    )
    must = {host["name"].split(".")[0]: host["is_tls_mandatory"] for host in answer["hosts"] if host["is_usable"]}
    same(must, {"ee": True, "ta": True, "odd": True, "none": False, "away": False, "alias": True}, "TLS as a must")


def what_is_not_signed(setup):
    same(setup.demands("unsigned.test")[1], {"ee.signed.test": "opportunistic"}, "a signed host that an unsigned zone names")
    same(setup.demands("plain.signed.test")[1], {"mx.unsigned.test": "opportunistic"}, "an unsigned host that a signed zone names")
    code, grounds, answer = setup.demands("bogus.test")
    same((code, grounds, answer["result"]), (1, {}, "error"), "wrong signatures")


def policies(setup):
    code, grounds, answer = setup.demands("enforce.test")
    same((code, answer["mta_sts"], grounds), (0, "enforce", {"mx.enforce.test": "mta-sts", "mx.unsigned.test": "sts-mismatch"}), "enforce")
    same([host["is_usable"] for host in answer["hosts"]], [True, False], "hosts that may be used")
    _, grounds, answer = setup.demands("testing.test")
    same((answer["mta_sts"], grounds), ("testing", {"mx.testing.test": "mta-sts-testing"}), "testing")
    _, grounds, answer = setup.demands("leaving.test")
    same((answer["mta_sts"], grounds), ("none", {"mx.leaving.test": "opportunistic"}), "mode none")
    _, grounds, answer = setup.demands("moved.test")
    same((grounds, answer["mta_sts_problem"]), ({"mx.moved.test": "opportunistic"}, "sts-policy-fetch-error: https-status-301"), "a redirect")
    _, grounds, answer = setup.demands("wrong.test")
    same(grounds, {"mx.wrong.test": "opportunistic"}, "a wrong certificate")
    same(answer["mta_sts_problem"], "sts-webpki-invalid: policy-host-certificate", "a wrong certificate")
    same(setup.host.times("wrong.test"), 0, "requests to who has the wrong certificate")
    # RFC 8461 2: DANE first, though the policy does not list the host.
    _, grounds, _ = setup.demands("both.signed.test")
    same(grounds, {"ee.signed.test": "dane", "none.signed.test": "mta-sts"}, "both")
    code, out, _ = command(binary(), "mtasts", "show", "wrong.test", "--config", setup.config)
    expect(code == 1 and "the certificate is not for this host" in out, out)
    same(succeed(binary(), "mtasts", "show", "testing.test", "--config", setup.config).splitlines()[0], "testing.test: version 20260101", "show")


def kept_over_a_kill(setup):
    """Last: it ends the policy host."""
    process = setup.serve()
    process.start()
    try:
        before = setup.host.times("enforce.test")
        for _ in range(3):
            same(setup.demands("enforce.test")[1], {"mx.enforce.test": "mta-sts", "mx.unsigned.test": "sts-mismatch"}, "by a server")
        same(setup.host.times("enforce.test"), before + 1, "fetches")
        expect(process.metric("ringmail_mta_sts_fetch_duration_seconds_count") == 1, process.page("/metrics"))
        process.kill()
        # The kernel closes the sockets of a ring a moment after the process has gone.
        end = time.monotonic() + 10
        while not is_free(setup.http_port):
            expect(time.monotonic() < end, "the port stays taken")
            time.sleep(0.02)
        process = setup.serve()
        process.start()
        kept = json.loads(succeed(binary(), "mtasts", "list", "--json", "--config", setup.config))
        same((kept["domain"], kept["mode"], kept["mx"]), ("enforce.test", "enforce", ["*.enforce.test"]), "kept")
        # With the policy host gone; the record is there.
        setup.host.server.shutdown()
        setup.host.server.server_close()
        same(setup.demands("enforce.test")[1], {"mx.enforce.test": "mta-sts", "mx.unsigned.test": "sts-mismatch"}, "after a kill")
        _, grounds, answer = setup.demands("testing.test")
        same((grounds, answer["mta_sts_problem"]), ({"mx.testing.test": "opportunistic"}, "sts-policy-fetch-error: unreachable"), "never fetched")
        process.stop()
    finally:
        process.kill()


def main():
    start = time.monotonic()
    scratch = Path(tempfile.mkdtemp(prefix="ringmail-tls-"))
    daemons = Daemons(scratch, ZONES, ("signed.test", "bogus.test"), ("bogus.test",))
    cases = (dane, what_is_not_signed, policies, kept_over_a_kill)
    try:
        daemons.start()
        setup = Setup(scratch, daemons, policy_host(scratch))
        for case in cases:
            interop.attempt(case, setup)
    except Exception:
        interop.fail("start")
    finally:
        daemons.stop()
        if interop.FAILED:
            for log in [*scratch.glob("*.log"), scratch / "log"]:
                if log.exists():
                    print(f"---- {log.name}", log.read_text(errors="replace")[-5000:], sep="\n")
        shutil.rmtree(scratch, ignore_errors=True)
    interop.end(f"{len(cases)} cases", start)


main()
