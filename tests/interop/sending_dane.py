"""Mail that ringmail sends to Postfix where TLSA records say which certificate it must have: right ones, wrong ones, without STARTTLS, of no use, in zones
that are not signed or signed wrongly. RFC 7672 2 and 3."""

from server import expect, same, succeed
from server.postfix import Postfix
from server.sending import Stage, authority, certificate, run
from server.zones import APEX

ADDRESSES = {name: f"127.0.0.{n + 61}" for n, name in enumerate(("right", "wrong", "anchor", "clear", "unusable", "bare"))}
ZEROES = "0" * 64


def digest(path, kind):
    """SHA-256 of the key of a certificate, or of a CA's."""
    public = path.with_suffix(f".{kind}.der")
    text = succeed("openssl", "x509", "-in", path, "-noout", "-pubkey")
    succeed("openssl", "pkey", "-pubin", "-outform", "DER", "-out", public, stdin=text)
    return succeed("openssl", "dgst", "-sha256", "-r", public).split()[0]


def zones(stage):
    authority(stage.scratch)
    stage.chain, stage.key = certificate(stage.scratch, "mx", *[f"mx.{name}.signed.test" for name in ADDRESSES], "mx.unsigned.test")
    ours, anchor = digest(stage.chain, "mx"), digest(stage.scratch / "ca.pem", "ca")
    records = {
        "right": f"3 1 1 {ours}",
        "wrong": f"3 1 1 {ZEROES}",
        "anchor": f"2 1 1 {anchor}",
        "clear": f"3 1 1 {ours}",
        "unusable": f"1 1 1 {ZEROES}",
    }
    signed = APEX + "@ MX 10 ns\n"
    for name, address in ADDRESSES.items():
        signed += f"{name} MX 10 mx.{name}\nmx.{name} A {address}\n"
        if name in records:
            signed += f"_{stage.port}._tcp.mx.{name} TLSA {records[name]}\n"
    return {
        "signed.test": signed + "second MX 10 mx.wrong\nsecond MX 20 mx.right\n",
        "unsigned.test": APEX + f"@ MX 10 mx\nmx A {ADDRESSES['right']}\n_{stage.port}._tcp.mx TLSA 3 1 1 {ZEROES}\n",
        "bogus.test": APEX + f"@ MX 10 mx\nmx A {ADDRESSES['right']}\n",
    }


def prepare(stage):
    tls = [f"smtpd_tls_cert_file = {stage.chain}", f"smtpd_tls_key_file = {stage.key}", "smtpd_tls_security_level = may"]
    services = {address: [f"myhostname = mx.{name}.signed.test", *(tls if name != "clear" else [])] for name, address in ADDRESSES.items()}
    stage.send_with(outbound='pause_first_secs = "1s"\n')
    domains = [f"{name}.signed.test" for name in (*ADDRESSES, "second")] + ["unsigned.test", "bogus.test"]
    stage.postfix = stage.add(Postfix(stage.scratch, stage.port, services, domains, "smtpd_tls_received_header = yes\n"))


def taken_over_tls(stage, name, domain):
    stage.sender.submit(f"friend@{domain}", f"to-{name}")
    text = stage.postfix.received(f"to-{name}")
    expect(b"using TLSv1.3" in text, text)
    stage.sender.empty()
    return text


def right_records(stage):
    for name in ("right", "anchor", "unusable", "bare"):
        taken_over_tls(stage, name, f"{name}.signed.test")


def wrong_records(stage):
    """Nothing goes, and the reason says so; the second host does."""
    sender = stage.sender
    sender.submit("friend@wrong.signed.test", "to-wrong")
    item = sender.waits("friend@wrong.signed.test", "4.7.5", "no TLSA record matches the certificate", "DANE", "mx.wrong.signed.test")
    same(item["history"][0]["code"], 0, "code")
    sender.submit("friend@clear.signed.test", "to-clear")
    sender.waits("friend@clear.signed.test", "4.7.5", "offers no STARTTLS", "DANE")
    sender.ringmail("queue", "drop", "--all")
    text = taken_over_tls(stage, "second", "second.signed.test")
    expect(b"by mx.right.signed.test" in text, text)
    same([m for m in stage.postfix.messages() if b"to-wrong" in m or b"to-clear" in m], [], "messages that must not go")


def zones_that_prove_nothing(stage):
    """A record in a zone that is not signed is not looked at; one that is signed wrongly says nothing at all."""
    taken_over_tls(stage, "unsigned", "unsigned.test")
    sender = stage.sender
    sender.submit("friend@bogus.test", "to-bogus")
    sender.waits("friend@bogus.test", "4.4.3", "DNSSEC")
    sender.ringmail("queue", "drop", "--all")
    sender.empty()


def what_reports_need(stage):
    """Last: it stops the server. RFC 8460 4."""
    results = stage.sender.tls_results()
    told = {}
    for domain, policies in results.items():
        for policy in policies:
            counts = policy["summary"]
            kinds = sorted({detail["result-type"] for detail in policy.get("failure-details", [])})
            told[domain, policy["policy"]["policy-type"]] = counts["total-successful-session-count"], counts["total-failure-session-count"], kinds
    # By the name that has the records. The connection that "second" was sent over is counted for mx.right, or that of "right" was used again.
    same(told["mx.wrong.signed.test", "tlsa"][0], 0, told)
    same(told["mx.wrong.signed.test", "tlsa"][2], ["validation-failure"], told)
    expect(told["mx.wrong.signed.test", "tlsa"][1] >= 2, told)
    same(told["mx.clear.signed.test", "tlsa"], (0, 1, ["starttls-not-supported"]), told)
    expect(told["mx.right.signed.test", "tlsa"][0] >= 1 and told["mx.right.signed.test", "tlsa"][1] == 0, told)
    same(told["mx.anchor.signed.test", "tlsa"], (1, 0, []), told)
    same(told["unsigned.test", "no-policy-found"], (1, 0, []), told)
    same(told["bare.signed.test", "no-policy-found"], (1, 0, []), told)


run(Stage(zones, ("signed.test", "bogus.test"), ("bogus.test",)), prepare, right_records, wrong_records, zones_that_prove_nothing, what_reports_need)
