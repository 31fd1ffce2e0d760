"""Mail that ringmail sends to Postfix where policies of MTA-STS say which hosts and certificates are right: enforced, in testing, not fitting, over. RFC 8461
4 and 5."""

import time

from server import expect, same
from server.policy_host import PolicyHost
from server.postfix import Postfix
from server.sending import Stage, authority, certificate, run
from server.zones import APEX

HOSTS = {"good": "127.0.0.71", "bad": "127.0.0.72", "clear": "127.0.0.73", "other": "127.0.0.74", "late": "127.0.0.75"}
# How long a short policy is good, in seconds.
MAX_AGE = 3
# By domain: its host, mode, the host that the policy lists, how long it is good.
SETUP = {
    "right": ("good", "enforce", "mx-good", 604800),
    "wrong": ("bad", "enforce", "mx-bad", 604800),
    "named": ("other", "enforce", "mx-other", 604800),
    "late": ("late", "enforce", "mx-late", 604800),
    "unlisted": ("good", "enforce", "mx-other", 604800),
    "testing": ("bad", "testing", "mx-bad", 604800),
    "expired": ("good", "enforce", "mx-other", MAX_AGE),
    "kept": ("good", "enforce", "mx-other", 604800),
    "clear": ("clear", "enforce", "mx-clear", 604800),
}
DOMAIN = "unsigned.test"


def zones(_stage):
    lines = "".join(f"mx-{name} A {address}\n" for name, address in HOSTS.items())
    for name, (host, *_) in SETUP.items():
        lines += f'{name} MX 10 mx-{host}\n_mta-sts.{name} TXT "v=STSv1; id=1;"\nmta-sts.{name} A 127.0.0.1\n'
    return {"signed.test": APEX + "@ MX 10 ns\n", DOMAIN: APEX + lines}


def prepare(stage):
    scratch = stage.scratch
    authority(scratch)
    authority(scratch, "other")
    good = certificate(scratch, "good", f"mx-good.{DOMAIN}")
    bad = certificate(scratch, "bad", f"mx-bad.{DOMAIN}", by="other")
    files = {
        "bad": bad,
        "other": certificate(scratch, "another", "mx-elsewhere.unsigned.test"),
        # Good for this second.
        "late": certificate(scratch, "late", f"mx-late.{DOMAIN}", days=0),
    }
    host = certificate(scratch, "host", *[f"mta-sts.{name}.{DOMAIN}" for name in SETUP])
    stage.policies = {
        f"{name}.{DOMAIN}": f"version: STSv1\nmode: {mode}\nmx: {mx}.{DOMAIN}\nmax_age: {age}\n" for name, (_, mode, mx, age) in SETUP.items()
    }
    stage.policy_host = PolicyHost(host, stage.policies)
    services = {}
    for name, address in HOSTS.items():
        chain, key = files.get(name, good)
        tls = [f"smtpd_tls_cert_file = {chain}", f"smtpd_tls_key_file = {key}", "smtpd_tls_security_level = may"]
        services[address] = [f"myhostname = mx-{name}.{DOMAIN}", *(tls if name != "clear" else [])]
    policy = f'[tls_policy]\nca_file = "ca.pem"\nmta_sts_port = {stage.policy_host.port}\n'
    stage.send_with(outbound='pause_first_secs = "1s"\n', more=policy)
    stage.postfix = stage.add(Postfix(scratch, stage.port, services, [f"{name}.{DOMAIN}" for name in SETUP], "smtpd_tls_received_header = yes\n"))


def taken_over_tls(stage, name):
    stage.sender.submit(f"friend@{name}.{DOMAIN}", f"to-{name}")
    text = stage.postfix.received(f"to-{name}")
    expect(b"using TLSv1.3" in text, text)
    stage.sender.empty()


def waits(stage, name, *reason):
    stage.sender.submit(f"friend@{name}.{DOMAIN}", f"to-{name}")
    stage.sender.waits(f"friend@{name}.{DOMAIN}", "4.7.5", "MTA-STS", *reason)
    same([m for m in stage.postfix.messages() if f"to-{name}".encode() in m], [], "messages that must not go")


def enforced(stage):
    taken_over_tls(stage, "right")
    waits(stage, "wrong", "certificate")
    waits(stage, "named", "certificate")
    waits(stage, "unlisted", "mx-good")
    waits(stage, "clear", "offers no STARTTLS")
    stage.sender.ringmail("queue", "drop", "--all")
    stage.sender.empty()


def in_testing(stage):
    taken_over_tls(stage, "testing")


def one_that_is_over(stage):
    """Two policies list another host; their policy host forgets both, and the server is stopped until one is over. That one holds no longer, the
    other does."""
    sender = stage.sender
    waits(stage, "kept")
    waits(stage, "expired")
    for name in ("kept", "expired"):
        del stage.policies[f"{name}.{DOMAIN}"]
    sender.stop()
    # Times are whole seconds on both sides.
    time.sleep(MAX_AGE + 2)
    sender.start()
    sender.kick(f"friend@expired.{DOMAIN}")
    stage.postfix.received("to-expired")
    sender.kick(f"friend@kept.{DOMAIN}")
    sender.waits(f"friend@kept.{DOMAIN}", "4.7.5", "MTA-STS", attempts=2)
    # By now.
    waits(stage, "late", "certificate")
    sender.ringmail("queue", "drop", "--all")
    sender.empty()


def what_reports_need(stage):
    """Last: it stops the server. RFC 8460 4."""
    results = stage.sender.tls_results()

    def told(name):
        """Of its policy: sessions that went well, and the kinds of failure."""
        found = [p for p in results[f"{name}.{DOMAIN}"] if p["policy"]["policy-type"] == "sts"]
        same(len(found), 1, f"results of {name}: {results}")
        kinds = sorted({detail["result-type"] for detail in found[0].get("failure-details", [])})
        return found[0]["summary"]["total-successful-session-count"], kinds

    same(told("right"), (1, []), results)
    same(told("wrong"), (0, ["certificate-not-trusted"]), results)
    same(told("named"), (0, ["certificate-host-mismatch"]), results)
    same(told("late"), (0, ["certificate-expired"]), results)
    same(told("testing"), (0, ["certificate-not-trusted"]), results)
    same(told("clear"), (0, ["starttls-not-supported"]), results)
    same(told("unlisted"), (0, ["validation-failure"]), results)


run(Stage(zones), prepare, enforced, in_testing, one_that_is_over, what_reports_need)
