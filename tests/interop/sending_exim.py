"""Mail that ringmail sends to Exim by MX records: in clear and by STARTTLS, put off, refused, beyond a limit, with 8-bit text, with addresses beyond
ASCII."""

import re

from server import expect, same
from server.exim import Exim
from server.sending import Stage, authority, certificate, mx_zones, run, until

ADDRESSES = {"plain": "127.0.0.31", "tls": "127.0.0.32", "busy": "127.0.0.33", "stuck": "127.0.0.34"}
# Whoever comes from here may have few connections, with few messages.
CROWDED = "127.0.0.30"
ACL = """
  defer local_parts = grey
    condition = ${if !exists{FOLDER/exim/spool/seen}}
    condition = ${run{/usr/bin/touch FOLDER/exim/spool/seen}{yes}{yes}}
    message = 4.7.1 Greylisted, come again
  deny local_parts = nobody
    message = 5.1.1 no such person here
  warn local_parts = slow
    delay = 1s
  warn local_parts = stuck
    delay = 60s
  defer local_parts = later
    condition = ${if !exists{FOLDER/exim/open}}
    message = 4.2.1 this mailbox is closed just now
"""
# Who looks at messages says so after them.
DATA_ACL = """
  defer condition = ${if eq{$h_subject:}{looked-at}}
    condition = ${if !exists{FOLDER/exim/spool/looked-at}}
    condition = ${run{/usr/bin/touch FOLDER/exim/spool/looked-at}{yes}{yes}}
    message = 4.7.1 Greylisted, come again
"""


def prepare(stage):
    authority(stage.scratch)
    chain, key = certificate(stage.scratch, "mx", "mx.tls.unsigned.test")
    crowded = f'kind = "direct"\nsource_addresses = ["{CROWDED}"]\n[[route]]\nto_domains = ["busy.unsigned.test"]\ntransport = "crowded"\n'
    stage.send_with(outbound='reply_timeout_secs = "6s"\npause_first_secs = "1s"\n', more=f"[transport.crowded]\n{crowded}")
    stage.exim = stage.add(Exim(
        stage.scratch,
        stage.port,
        list(ADDRESSES.values()),
        [f"{name}.unsigned.test" for name in ADDRESSES],
        f"""tls_advertise_hosts = ${{if eq{{$received_ip_address}}{{{ADDRESSES["tls"]}}}{{*}}}}
tls_certificate = {chain}
tls_privatekey = {key}
smtp_accept_max_per_host = ${{if eq{{$sender_host_address}}{{{CROWDED}}}{{2}}{{0}}}}
recipients_max = 3
""",
        ACL.replace("FOLDER", str(stage.scratch)),
        DATA_ACL.replace("FOLDER", str(stage.scratch)),
        messages_max=f"${{if eq{{$sender_host_address}}{{{CROWDED}}}{{3}}{{0}}}}",
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


def greylisting(stage):
    """After RCPT, and after the message."""
    for recipient, subject in (("grey", "grey"), ("friend", "looked-at")):
        sender, recipient = stage.sender, f"{recipient}@plain.unsigned.test"
        sender.submit(recipient, subject)
        item = sender.waits(recipient, "451 4.7.1", "Greylisted, come again", "next attempt")
        same((item["history"][0]["code"], item["history"][0]["enhanced"]), (451, "4.7.1"), "attempt")
        sender.kick(recipient)
        stage.exim.received(subject)
        sender.empty()


def too_many_recipients(stage):
    """Exim says 452 to the fourth of a message: all get it in one attempt, in three transactions."""
    sender, recipients = stage.sender, [f"many-{n}@plain.unsigned.test" for n in range(7)]
    sender.submit(recipients, "many")
    taken = until(lambda: len(found := stage.exim.messages("many")) == 7 and found, stage.exim.log)
    same(len({re.search(rb"\n\tid (\S+)", text)[1] for text in taken}), 3, "transactions")
    sender.empty()
    same(sender.log_lines("to=many-", "result=deferred"), [], "who had to wait")


def too_many_connections_and_messages(stage):
    """Exim says 421 to the third connection at a time and to the fourth message of each; one never answers. All others get through, none by a later
    attempt."""
    sender, subjects = stage.sender, [f"slow-{n}" for n in range(8)]
    sender.submit("stuck@stuck.unsigned.test", "stuck")
    sender.submit_at_once("slow@busy.unsigned.test", subjects)
    for subject in subjects:
        stage.exim.received(subject)
    same(sender.log_lines("to=slow@", "result=deferred"), [], "who had to wait")
    log = stage.exim.log()
    expect("too many connections from that IP address" in log and "too many messages in one connection" in log, log)
    sender.waits("stuck@stuck.unsigned.test", "no answer in time")
    sender.ringmail("queue", "drop", "--all")
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


run(
    Stage(mx_zones("unsigned.test", ADDRESSES)),
    prepare,
    in_clear_and_by_starttls,
    put_off_and_refused,
    greylisting,
    size,
    octets_beyond_ascii,
    too_many_recipients,
    too_many_connections_and_messages,
)
