"""Mail that ringmail sends to Exim by MX records: in clear and by STARTTLS, put off, refused, beyond a limit, with 8-bit text, with addresses beyond
ASCII."""

from server import expect, same
from server.exim import Exim
from server.sending import Stage, authority, certificate, mx_zones, run

ADDRESSES = {"plain": "127.0.0.31", "tls": "127.0.0.32"}
ACL = """
  deny local_parts = nobody
    message = 5.1.1 no such person here
  warn local_parts = slow
    delay = 1s
  defer local_parts = later
    condition = ${if !exists{FOLDER/exim/open}}
    message = 4.2.1 this mailbox is closed just now
"""


def prepare(stage):
    authority(stage.scratch)
    chain, key = certificate(stage.scratch, "mx", "mx.tls.unsigned.test")
    stage.send_with(outbound='reply_timeout_secs = "20s"\npause_first_secs = "1s"\n')
    stage.exim = stage.add(Exim(
        stage.scratch,
        stage.port,
        list(ADDRESSES.values()),
        [f"{name}.unsigned.test" for name in ADDRESSES],
        f"""tls_advertise_hosts = ${{if eq{{$received_ip_address}}{{{ADDRESSES["tls"]}}}{{*}}}}
tls_certificate = {chain}
tls_privatekey = {key}
smtp_accept_max_per_host = 2
""",
        ACL.replace("FOLDER", str(stage.scratch)),
    ))  # fmt: skip


def in_clear_and_by_starttls(stage):
    sender = stage.sender
    sender.submit("friend@plain.unsigned.test", "clear")
    sender.submit("friend@tls.unsigned.test", "by-tls")
    clear, by_tls = stage.exim.received("clear"), stage.exim.received("by-tls")
    expect(b"with esmtp (Exim" in clear, clear)
    expect(b"with esmtps" in by_tls and b"TLS1.3" in by_tls, by_tls)
    sender.empty()


def put_off_and_refused(stage):
    sender = stage.sender
    sender.submit(["nobody@plain.unsigned.test", "later@plain.unsigned.test", "friend@plain.unsigned.test"], "three")
    stage.exim.received("three")
    item = sender.waits("later@plain.unsigned.test", "this mailbox is closed just now", "next attempt")
    same((item["history"][0]["code"], item["history"][0]["enhanced"]), (451, "4.2.1"), "attempt")
    fields, *_ = sender.report("nobody@plain.unsigned.test", "failed")
    same(fields["status"], "5.1.1", "status")
    (stage.scratch / "exim" / "open").touch()
    sender.kick("later@plain.unsigned.test")
    sender.empty()


def too_many_connections(stage):
    """Exim says 421 to the third at a time, and all get through."""
    sender = stage.sender
    for n in range(8):
        sender.submit("slow@plain.unsigned.test", f"slow-{n}")
    for n in range(8):
        stage.exim.received(f"slow-{n}")
    sender.empty()


def size(stage):
    sender = stage.sender
    sender.submit("friend@plain.unsigned.test", "large", "words that fill a line, and more of them\n" * 30_000)
    fields, *_ = sender.report("friend@plain.unsigned.test", "failed")
    same(fields["status"], "5.3.4", "status")
    sender.empty()


def octets_beyond_ascii(stage):
    sender = stage.sender
    sender.submit("friend@plain.unsigned.test", "eight-bit", "Gr\u00fc\u00dfe\n.\n..\n", ["BODY=8BITMIME"])
    expect("\nGr\u00fc\u00dfe\n.\n..\n".encode() in stage.exim.received("eight-bit"), "the body is another")
    sender.submit("fr\u00e4nk@plain.unsigned.test", "Gr\u00fc\u00dfe", "x\n", ["SMTPUTF8", "BODY=8BITMIME"])
    stage.exim.received("Gr\u00fc\u00dfe")
    sender.empty()


run(Stage(mx_zones("unsigned.test", ADDRESSES)), prepare, in_clear_and_by_starttls, put_off_and_refused, size, octets_beyond_ascii, too_many_connections)
