"""Mail that ringmail hands to Exim as a smarthost: logins through TLS by all that Exim knows (SCRAM by Cyrus SASL, CRAM-MD5, PLAIN, LOGIN, and EXTERNAL by a
certificate), and what comes of it when Exim lets us in not at all, not now, or not with so many connections and messages."""

from server import PASSWORD, expect, need, same, succeed
from server.exim import Exim
from server.sending import Stage, authority, certificate, mx_zones, run, shared_port, until

need("saslpasswd2", "openssl")
MECHANISMS = {"scram": "SCRAM-SHA-256", "sha1": "SCRAM-SHA-1", "cram": "CRAM-MD5", "plain": "PLAIN", "login": "LOGIN", "external": "EXTERNAL"}
HOSTS = {name: f"127.0.0.{n + 41}" for n, name in enumerate((*MECHANISMS, "asleep", "clear", "wrong"))}
# Whoever comes from here may have few connections.
CROWDED = "127.0.0.40"
USER = "relay@exim.test"
LOGIN = f'user = "{USER}"\npassword_file = "password"\n'
# Of a transport, by its name: the host it leads to, and its other lines.
TRANSPORTS = {
    **{name: (name, LOGIN) for name in ("scram", "sha1", "plain", "asleep", "clear", "wrong")},
    "cram": ("cram", LOGIN + 'mechanisms = ["CRAM-MD5"]\n'),
    "login": ("login", LOGIN + 'mechanisms = ["LOGIN"]\n'),
    "external": ("external", f'user = "{USER}"\nclient_cert = "client.pem"\nclient_key = "client.key"\n'),
    "stranger": ("external", f'user = "{USER}"\nclient_cert = "stranger.pem"\nclient_key = "stranger.key"\n'),
    "nologin": ("plain", ""),
    **{f"bad-{name}": (name, LOGIN.replace('"password"', '"other-password"')) for name in ("scram", "plain")},
    "busy": ("plain", LOGIN + f'source_addresses = ["{CROWDED}"]\n'),
    "implicit": ("plain", LOGIN + 'tls = "implicit"\n'),
}
# Each only where it belongs, and only through TLS.
AUTHENTICATORS = """
scram:
  driver = cyrus_sasl
  public_name = SCRAM-SHA-256
  server_realm = exim.test
  server_set_id = $auth1
sha1:
  driver = cyrus_sasl
  public_name = SCRAM-SHA-1
  server_realm = exim.test
  server_set_id = $auth1
cram:
  driver = cram_md5
  public_name = CRAM-MD5
  server_secret = ${if eq{$auth1}{USER}{PASSWORD}fail}
  server_set_id = $auth1
plain:
  driver = plaintext
  public_name = PLAIN
  server_prompts = :
  server_condition = ${if eq{$received_ip_address}{ASLEEP}{the users are asleep}{${if and{{eq{$auth2}{USER}}{eq{$auth3}{PASSWORD}}}}}}
  server_set_id = $auth2
login:
  driver = plaintext
  public_name = LOGIN
  server_prompts = Username:: : Password::
  server_condition = ${if and{{eq{$auth1}{USER}}{eq{$auth2}{PASSWORD}}}}
  server_set_id = $auth1
external:
  driver = external
  public_name = EXTERNAL
  server_param2 = ${certextract{subj_altname,dns,>:}{$tls_in_peercert}}
  server_condition = ${if and{{bool{$tls_in_certificate_verified}}{forany{$auth2}{eq{$item}{client.example.org}}}{eq{$auth1}{USER}}}}
  server_set_id = $auth1
""".replace("USER", USER).replace("PASSWORD", PASSWORD).replace("ASLEEP", HOSTS["asleep"])


def advertised():
    """The authenticators, with the condition that each needs."""
    text = ""
    for line in AUTHENTICATORS.splitlines():
        text += line + "\n"
        if line.endswith(":") and not line.startswith(" "):
            name = line[:-1]
            addresses = HOSTS[name] + (f":{HOSTS['asleep']}" if name == "plain" else "")
            text += f"  server_advertise_condition = ${{if and{{{{inlist{{$received_ip_address}}{{{addresses}}}}}{{def:tls_in_cipher}}}}}}\n"
    return text


def prepare(stage):
    scratch = stage.scratch
    authority(scratch)
    authority(scratch, "other")
    chain, key = certificate(scratch, "mx", *[f"mx.{name}.unsigned.test" for name in HOSTS if name != "wrong"])
    certificate(scratch, "client", "client.example.org")
    certificate(scratch, "stranger", "client.example.org", by="other")
    # Only our own user may read secrets.
    for name, text in (("password", PASSWORD), ("other-password", "something else")):
        (scratch / name).write_text(text + "\n")
    for name in ("password", "other-password", "client.key", "stranger.key"):
        (scratch / name).chmod(0o600)
    database = scratch / "users"
    succeed("saslpasswd2", "-p", "-c", "-f", database, "-u", "exim.test", "relay", stdin=PASSWORD)
    database.chmod(0o644)
    (scratch / "exim.conf").write_text(f"pwcheck_method: auxprop\nauxprop_plugin: sasldb\nsasldb_path: {database}\nmech_list: SCRAM-SHA-256 SCRAM-SHA-1\n")
    implicit = shared_port()
    more = 'ehlo_name = "mail.example.org"\n'
    for name, (host, lines) in TRANSPORTS.items():
        port = implicit if name == "implicit" else stage.port
        more += f'[transport.{name}]\nkind = "smarthost"\nhost = "mx.{host}.unsigned.test"\nport = {port}\nca_file = "ca.pem"\n{lines}'
        more += f'[[route]]\nto_domains = ["{name}.elsewhere.test"]\ntransport = "{name}"\n'
    stage.send_with(outbound='pause_first_secs = "1s"\n', more=more)
    stage.exim = stage.add(Exim(
        scratch,
        stage.port,
        list(HOSTS.values()),
        ["*.elsewhere.test"],
        f"""tls_advertise_hosts = ${{if eq{{$received_ip_address}}{{{HOSTS["clear"]}}}{{}}{{*}}}}
tls_certificate = {chain}
tls_privatekey = {key}
tls_try_verify_hosts = *
tls_verify_certificates = {scratch}/ca.pem
tls_on_connect_ports = {implicit}
auth_advertise_hosts = *
smtp_accept_max_per_host = ${{if eq{{$sender_host_address}}{{{CROWDED}}}{{2}}{{0}}}}
log_selector = +smtp_no_mail +incoming_interface
""",
        f"""
  warn local_parts = slow
    delay = 1s
  defer local_parts = later
    condition = ${{if !exists{{{scratch}/exim/open}}}}
    message = 4.2.1 this mailbox is closed just now
  deny !authenticated = *
    message = log in first
""",
        authenticators=advertised(),
        ports=[implicit],
        sasl=scratch,
        messages_max=3,
    ))  # fmt: skip


def delivered(stage, name, login=None):
    """By this transport, with this login: what Exim says of it."""
    stage.sender.submit(f"friend@{name}.elsewhere.test", f"by-{name}")
    text = stage.exim.received(f"by-{name}")
    expect(b"with esmtpsa" in text, text)
    stage.sender.empty()
    lines = [line for line in stage.exim.log().splitlines() if " <= " in line and f"A={login or name}:{USER}" in line and " X=TLS1.3" in line]
    expect(lines, login or name, "is not what Exim saw:", stage.exim.log())


def refused(stage, name, *reason):
    """By this transport nothing goes, and the reason says why."""
    sender = stage.sender
    sender.submit(f"friend@{name}.elsewhere.test", f"by-{name}")
    sender.waits(f"friend@{name}.elsewhere.test", *reason)
    sender.ringmail("queue", "drop", "--all")
    sender.empty()


def logins(stage):
    for name in MECHANISMS:
        delivered(stage, name)
    delivered(stage, "implicit", "plain")


def logins_that_fail(stage):
    """For good or for now: the mail waits, and what Exim says is the reason."""
    refused(stage, "bad-scram", "refuses the login by SCRAM-SHA-256: 535 Incorrect authentication data")
    refused(stage, "bad-plain", "refuses the login by PLAIN: 535 Incorrect authentication data")
    refused(stage, "stranger", "refuses the login by EXTERNAL: 535 Incorrect authentication data")
    refused(stage, "asleep", "refuses the login by PLAIN: 435 Unable to authenticate at present: the users are asleep")
    sender = stage.sender
    sender.submit("friend@nologin.elsewhere.test", "by-nologin")
    fields, *_ = sender.report("friend@nologin.elsewhere.test", "failed")
    same(fields["status"][0], "5", "status")
    expect("550 log in first" in fields["diagnostic-code"], fields)
    sender.empty()


def no_password_for_a_stranger(stage):
    refused(stage, "wrong", "not trusted")
    refused(stage, "clear", "offers no STARTTLS")
    for name, said in (("wrong", "C=EHLO,STARTTLS"), ("clear", "C=EHLO,QUIT")):
        def ended(name=name):
            lines = stage.exim.log().splitlines()
            return [line for line in lines if f" I=[{HOSTS[name]}]" in line and "no MAIL in SMTP connection" in line]

        lines = until(ended, stage.exim.log)
        expect(all(line.endswith(said) for line in lines), name, lines)


def put_off(stage):
    sender = stage.sender
    sender.submit("later@plain.elsewhere.test", "later")
    item = sender.waits("later@plain.elsewhere.test", "this mailbox is closed just now", "next attempt")
    same((item["history"][0]["code"], item["history"][0]["enhanced"]), (451, "4.2.1"), "attempt")
    (stage.scratch / "exim" / "open").touch()
    sender.kick("later@plain.elsewhere.test")
    stage.exim.received("later")
    sender.empty()


def few_connections_with_few_messages(stage):
    """Two connections at a time, three messages on each: Exim says 421 to whoever wants more. All get through, at once."""
    sender, subjects = stage.sender, [f"busy-{n}" for n in range(8)]
    sender.submit_at_once("slow@busy.elsewhere.test", subjects)
    for subject in subjects:
        stage.exim.received(subject)
    sender.empty()
    log = stage.exim.log()
    expect("too many connections from that IP address" in log and "too many messages in one connection" in log, log)


run(
    Stage(mx_zones("unsigned.test", HOSTS)),
    prepare,
    logins,
    logins_that_fail,
    no_password_for_a_stranger,
    put_off,
    few_connections_with_few_messages,
)
