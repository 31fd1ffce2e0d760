"""Mail that ringmail sends to Postfix through SOCKS5 servers of others (RFC 1928, 1929): without a login and with one; refused ones; hosts that the proxy can't or
won't reach. Names are looked up here: the machine's resolver does not know them, and DANE holds as without a proxy."""

from server import HOST, expect, same, succeed
from server.postfix import Postfix
from server.sending import Stage, authority, certificate, run
from server.socks import dante, microsocks
from server.zones import APEX, free_port

ADDRESSES = {name: f"127.0.0.{n + 91}" for n, name in enumerate(("right", "wrong", "closed", "barred"))}
# Where the proxies connect from.
OPEN, SECURED = "127.0.0.97", "127.0.0.98"
LOGIN = 'proxy_user = "ringmail"\nproxy_password_file = "proxy.password"\n'


def zones(stage):
    authority(stage.scratch)
    stage.chain, stage.key = certificate(stage.scratch, "mx", "mx-right.signed.test")
    text = succeed("openssl", "x509", "-in", stage.chain, "-noout", "-pubkey")
    public = stage.scratch / "mx.der"
    succeed("openssl", "pkey", "-pubin", "-outform", "DER", "-out", public, stdin=text)
    digests = {"right": succeed("openssl", "dgst", "-sha256", "-r", public).split()[0], "wrong": "0" * 64}
    lines = "@ MX 10 ns\n"
    for name, address in ADDRESSES.items():
        lines += f"mx-{name} A {address}\n"
        if name in digests:
            lines += f"_{stage.port}._tcp.mx-{name} TLSA 3 1 1 {digests[name]}\n"
    # Of each transport a domain for each host.
    for way in TRANSPORTS:
        lines += "".join(f"{name}.{way} MX 10 mx-{name}\n" for name in ADDRESSES)
    return {"signed.test": APEX + lines}


def transports(stage):
    """By name: their proxy, its login."""
    return {
        "open": (stage.open.port, ""),
        "offered": (stage.open.port, LOGIN),
        "secured": (stage.secured.port, LOGIN),
        "badlogin": (stage.secured.port, LOGIN.replace("proxy.password", "other.password")),
        "nologin": (stage.secured.port, ""),
        "dante": (stage.dante.port, ""),
        "gone": (free_port(), ""),
        "smarthost": (stage.secured.port, LOGIN + f'host = "mx-right.signed.test"\nport = {stage.port}\nca_file = "ca.pem"\n'),
    }


TRANSPORTS = ("open", "offered", "secured", "badlogin", "nologin", "dante", "gone", "smarthost")


def prepare(stage):
    scratch = stage.scratch
    for name, text in (("proxy", "pass word"), ("other", "another")):
        path = scratch / f"{name}.password"
        path.write_text(text + "\n")
        path.chmod(0o600)
    stage.open = stage.add(microsocks(scratch, "open", OPEN))
    stage.secured = stage.add(microsocks(scratch, "secured", SECURED, "-u", "ringmail", "-P", "pass word"))
    stage.dante = stage.add(dante(scratch, ADDRESSES["barred"]))
    more = 'ehlo_name = "mail.example.org"\n'
    for name, (port, lines) in transports(stage).items():
        kind = "smarthost" if name == "smarthost" else "direct"
        more += f'[transport.{name}]\nkind = "{kind}"\nproxy = "{HOST}:{port}"\n{lines}[[route]]\nto_domains = [".{name}.signed.test"]\ntransport = "{name}"\n'
    stage.send_with(outbound='pause_first_secs = "1s"\n', more=more)
    tls = [f"smtpd_tls_cert_file = {stage.chain}", f"smtpd_tls_key_file = {stage.key}", "smtpd_tls_security_level = may"]
    services = {address: [f"myhostname = mx-{name}.signed.test", *tls] for name, address in ADDRESSES.items() if name != "closed"}
    domains = [f"{name}.{way}.signed.test" for way in TRANSPORTS for name in ADDRESSES]
    stage.postfix = stage.add(Postfix(scratch, stage.port, services, domains, "smtpd_tls_received_header = yes\n"))


def goes(stage, way, source):
    stage.sender.submit(f"friend@right.{way}.signed.test", f"by-{way}")
    text = stage.postfix.received(f"by-{way}")
    expect(f"(unknown [{source}])".encode() in text and b"using TLSv1.3" in text, text)
    stage.sender.empty()


def waits(stage, name, way, *reason):
    sender, address = stage.sender, f"friend@{name}.{way}.signed.test"
    sender.submit(address, f"{name}-by-{way}")
    sender.waits(address, *reason)
    sender.ringmail("queue", "drop", "--all")
    sender.empty()


def by_a_proxy(stage):
    goes(stage, "open", OPEN)
    goes(stage, "offered", OPEN)
    goes(stage, "secured", SECURED)
    goes(stage, "smarthost", SECURED)
    goes(stage, "dante", HOST)
    # By address; the name it never heard.
    said = stage.dante.said()
    expect(f"{ADDRESSES['right']}.{stage.port}" in said and "signed.test" not in said, said)


def refused_by_a_proxy(stage):
    proxy = f"the proxy {HOST}:{stage.secured.port}: "
    waits(stage, "right", "badlogin", proxy + "it refuses the user and password")
    waits(stage, "right", "nologin", proxy + "it wants a login that it was not given")
    waits(stage, "right", "gone", "the proxy ", "connection refused")
    proxy = f"the proxy {HOST}:{stage.dante.port}: "
    waits(stage, "barred", "dante", proxy + "its rules do not allow the connection to the host")
    waits(stage, "closed", "dante", proxy, f"({ADDRESSES['closed']}:{stage.port})")
    waits(stage, "closed", "open", f"the proxy {HOST}:{stage.open.port}: ", f"({ADDRESSES['closed']}:{stage.port})")


def certificates_count_behind_a_proxy(stage):
    waits(stage, "wrong", "open", "4.7.5", "no TLSA record matches the certificate", "DANE")
    same(len(stage.postfix.messages()), 5, "messages that Postfix has")


run(Stage(zones), prepare, by_a_proxy, refused_by_a_proxy, certificates_count_behind_a_proxy)
