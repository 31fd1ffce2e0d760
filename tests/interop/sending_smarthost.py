"""Mail that ringmail hands to Postfix as a smarthost: logins by each mechanism that both know, a certificate or a key that it shows, and what it says when
Postfix is not the right one or does not let it in."""

import re

from server import PASSWORD, expect, need, succeed
from server.postfix import Postfix
from server.sending import Stage, authority, certificate, mx_zones, run

need("saslpasswd2", "openssl")
HOSTS = {"all": "127.0.0.51", "plain": "127.0.0.52", "cram": "127.0.0.53", "keys": "127.0.0.54", "wrong": "127.0.0.55", "implicit": "127.0.0.56"}
# Of a transport, by its name: the host it leads to, and its other lines.
LOGIN = 'user = "relay@postfix.test"\npassword_file = "password"\n'
TRANSPORTS = {
    "scram": ("all", LOGIN),
    "clear": ("plain", LOGIN),
    "cram": ("cram", LOGIN + 'mechanisms = ["CRAM-MD5"]\n'),
    "notcram": ("cram", LOGIN),
    "badpassword": ("all", 'user = "relay@postfix.test"\npassword_file = "other-password"\n'),
    "nologin": ("all", ""),
    "certificate": ("keys", 'client_cert = "client.pem"\nclient_key = "client.key"\n'),
    "key": ("keys", 'client_key = "bare.key"\n'),
    "nokey": ("keys", ""),
    "wrong": ("wrong", LOGIN),
    "implicit": ("implicit", LOGIN),
}


def fingerprint(der):
    """As Postfix has it: SHA-256 of a key, with colons."""
    octets = succeed("openssl", "dgst", "-sha256", "-c", der).split("= ")[1].strip()
    return octets.upper()


def prepare(stage):
    scratch = stage.scratch
    authority(scratch)
    authority(scratch, "other")
    chain, key = certificate(scratch, "mx", *[f"mx.{name}.unsigned.test" for name in HOSTS if name != "wrong"])
    wrong_chain, wrong_key = certificate(scratch, "wrong", "mx.wrong.unsigned.test", by="other")
    certificate(scratch, "client", "client.example.org")
    succeed("openssl", "genpkey", "-algorithm", "ed25519", "-out", scratch / "bare.key")
    # Only our own user may read secrets.
    for name, text in (("password", PASSWORD), ("other-password", "something else")):
        (scratch / name).write_text(text + "\n")
    for name in ("password", "other-password", "client.key", "bare.key"):
        (scratch / name).chmod(0o600)
    keys = ""
    for name in ("client", "bare"):
        public = scratch / f"{name}.public"
        succeed("openssl", "pkey", "-in", scratch / f"{name}.key", "-pubout", "-outform", "DER", "-out", public)
        keys += f"{fingerprint(public)} OK\n"
    # Where Debian's Postfix looks, whatever cyrus_sasl_config_path says.
    sasl = scratch / "postfix" / "etc" / "sasl"
    sasl.mkdir(parents=True)
    database = sasl / "users"
    succeed("saslpasswd2", "-p", "-c", "-f", database, "-u", "postfix.test", "relay", stdin=PASSWORD)
    database.chmod(0o644)
    for name, mechanisms in (("all", "PLAIN LOGIN CRAM-MD5 SCRAM-SHA-1 SCRAM-SHA-256"), ("plain", "PLAIN LOGIN"), ("cram", "CRAM-MD5")):
        (sasl / f"{name}.conf").write_text(f"pwcheck_method: auxprop\nauxprop_plugin: sasldb\nsasldb_path: {database}\nmech_list: {mechanisms}\n")
    asking = ["smtpd_tls_ask_ccert = yes", f"smtpd_relay_restrictions = check_ccert_access texthash:{scratch}/ccert, reject"]
    (scratch / "ccert").write_text(keys)
    services = {}
    for name, address in HOSTS.items():
        right = name != "wrong"
        services[address] = [
            f"myhostname = mx.{name}.unsigned.test",
            f"smtpd_tls_cert_file = {chain if right else wrong_chain}",
            f"smtpd_tls_key_file = {key if right else wrong_key}",
            "smtpd_tls_wrappermode = yes" if name == "implicit" else "smtpd_tls_security_level = may",
            *(asking if name == "keys" else [
                "smtpd_sasl_auth_enable = yes",
                f"smtpd_sasl_path = {name if name in ('plain', 'cram') else 'all'}",
                "smtpd_relay_restrictions = permit_sasl_authenticated, reject",
            ]),
        ]  # fmt: skip
    more = 'ehlo_name = "mail.example.org"\n'
    for name, (host, lines) in TRANSPORTS.items():
        tls = "implicit" if name == "implicit" else "starttls"
        more += f'[transport.{name}]\nkind = "smarthost"\nhost = "mx.{host}.unsigned.test"\nport = {stage.port}\nca_file = "ca.pem"\ntls = "{tls}"\n{lines}'
        more += f'[[route]]\nto_domains = ["{name}.elsewhere.test"]\ntransport = "{name}"\n'
    stage.send_with(outbound='pause_first_secs = "1s"\n', more=more)
    stage.postfix = stage.add(Postfix(
        scratch,
        stage.port,
        services,
        [f"{name}.elsewhere.test" for name in TRANSPORTS],
        "smtpd_sasl_security_options = noanonymous\nsmtpd_tls_auth_only = yes\nsmtpd_tls_received_header = yes\n"
        "smtpd_sasl_authenticated_header = yes\nsmtpd_tls_fingerprint_digest = sha256\nsmtpd_tls_loglevel = 1\nsmtpd_sasl_local_domain = postfix.test\n",
    ))  # fmt: skip


def delivered(stage, name, login=None):
    """By this transport, with this login: what Postfix has got."""
    stage.sender.submit(f"friend@{name}.elsewhere.test", f"by-{name}")
    text = stage.postfix.received(f"by-{name}")
    if login:
        expect(b"(Authenticated sender: relay@postfix.test)" in text, text)
        client = re.search(rf"sasl_method={re.escape(login)}, sasl_username=relay@postfix.test", stage.postfix.log())
        expect(client, login, "is not what Postfix saw:", stage.postfix.log()[-3000:])
    stage.sender.empty()
    return text


def refused(stage, name, *reason):
    """By this transport nothing goes, and the reason says why."""
    sender = stage.sender
    sender.submit(f"friend@{name}.elsewhere.test", f"by-{name}")
    item = sender.waits(f"friend@{name}.elsewhere.test", *reason)
    sender.ringmail("queue", "drop", "--all")
    sender.empty()
    return item


def logins(stage):
    delivered(stage, "scram", "SCRAM-SHA-256")
    delivered(stage, "clear", "PLAIN")
    delivered(stage, "cram", "CRAM-MD5")
    delivered(stage, "implicit", "SCRAM-SHA-256")


def logins_that_fail(stage):
    refused(stage, "badpassword", "refuses the login by SCRAM-SHA-256")
    refused(stage, "notcram", "offers no mechanism that the transport allows", "CRAM-MD5")
    # It offers AUTH and lets nobody send without.
    sender = stage.sender
    sender.submit("friend@nologin.elsewhere.test", "by-nologin")
    fields, *_ = sender.report("friend@nologin.elsewhere.test", "failed")
    expect(fields["status"].startswith("5.7."), fields)
    sender.empty()


def another_certificate(stage):
    refused(stage, "wrong", "not trusted")
    expect("mx.wrong" not in "".join(line for line in stage.postfix.log().splitlines() if "sasl_method" in line), "a login shown to a stranger")


def certificates_and_keys(stage):
    """Postfix lets in whose key it knows, and logs it."""
    delivered(stage, "certificate")
    delivered(stage, "key")
    for kind in ("ECDSA", "ED25519"):
        expect(f"client-signature {kind}" in stage.postfix.log(), "no key of", kind, stage.postfix.log()[-3000:])
    sender = stage.sender
    sender.submit("friend@nokey.elsewhere.test", "by-nokey")
    fields, *_ = sender.report("friend@nokey.elsewhere.test", "failed")
    expect("554 5.7.1" in fields["diagnostic-code"], fields)
    sender.empty()


run(Stage(mx_zones("unsigned.test", HOSTS)), prepare, logins, logins_that_fail, another_certificate, certificates_and_keys)
