"""Mail that ringmail sends to Postfix by MX records: in clear and by STARTTLS, to one that puts off, refuses, has limits, is slow, or knows few
extensions; and what its users hear of it."""

import re
import socketserver
import threading

from server import expect, same
from server.postfix import Postfix
from server.sending import Stage, authority, certificate, mx_zones, run, until

ADDRESSES = {name: f"127.0.0.{n + 11}" for n, name in enumerate(("plain", "tls", "grey", "few", "slow", "stuck", "old", "small", "unsaid", "closed", "many"))}
OLD = "smtpd_discard_ehlo_keywords = 8bitmime, smtputf8, dsn, pipelining, chunking, enhancedstatuscodes"


class Greylisting(socketserver.ThreadingTCPServer):
    """A policy server of Postfix's: whoever comes for the first time is to come again."""

    daemon_threads = True

    def __init__(self):
        self.seen = seen = set()

        class Handler(socketserver.StreamRequestHandler):
            def handle(self):
                asked = {}
                for line in self.rfile:
                    name, _, value = line.decode().rstrip("\n").partition("=")
                    asked[name] = value
                    if name:
                        continue
                    who = asked["sender"], asked["recipient"]
                    action = "dunno" if who in seen else "defer_if_permit 4.2.0 Greylisted, come again"
                    seen.add(who)
                    self.wfile.write(f"action={action}\n\n".encode())
                    asked = {}

        super().__init__(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.serve_forever, daemon=True).start()


def prepare(stage):
    authority(stage.scratch)
    chain, key = certificate(stage.scratch, "mx", "mx.tls.unsigned.test")
    policy = Greylisting()
    own = {
        "tls": ["smtpd_tls_security_level = may", f"smtpd_tls_cert_file = {chain}", f"smtpd_tls_key_file = {key}", "smtpd_tls_received_header = yes"],
        "grey": [f"smtpd_recipient_restrictions = check_policy_service inet:127.0.0.1:{policy.server_address[1]}"],
        "few": ["smtpd_client_connection_count_limit = 2", "smtpd_recipient_restrictions = sleep 1"],
        "many": ["smtpd_recipient_limit = 3"],
        "slow": ["smtpd_recipient_restrictions = sleep 2"],
        "stuck": ["smtpd_recipient_restrictions = sleep 120"],
        "old": [OLD],
        "small": ["message_size_limit = 20000"],
        "unsaid": ["message_size_limit = 20000", "smtpd_discard_ehlo_keywords = size"],
    }
    services = {address: [f"myhostname = mx.{name}.unsigned.test", *own.get(name, [])] for name, address in ADDRESSES.items() if name != "closed"}
    sender = stage.send_with(outbound='reply_timeout_secs = "6s"\npause_first_secs = "1s"\n')
    stage.postfix = stage.add(Postfix(
        stage.scratch,
        stage.port,
        services,
        [f"{name}.unsigned.test" for name in ADDRESSES],
        f"transport_maps = inline:{{{{ example.org = smtp:[127.0.0.1]:{sender.ports['smtp']} }}}}\n",
    ))  # fmt: skip


def in_clear_and_by_starttls(stage):
    sender = stage.sender
    sender.submit("friend@plain.unsigned.test", "clear")
    sender.submit(["friend@tls.unsigned.test", "other@tls.unsigned.test"], "by-tls")
    clear, by_tls = stage.postfix.received("clear"), stage.postfix.received("by-tls")
    expect(b"ESMTP id" in clear and b"using TLS" not in clear, clear)
    expect(b"using TLSv1.3" in by_tls and b"ESMTPS id" in by_tls, by_tls)
    expect(b"from mail.example.org (unknown [127.0.0.1])" in clear, clear)
    sender.empty()


def who_is_not_there(stage):
    """One of two is refused for good: the other gets it, and the sender hears of the one."""
    sender = stage.sender
    sender.submit(["nobody@plain.unsigned.test", "friend@plain.unsigned.test"], "one-of-two")
    stage.postfix.received("one-of-two")
    fields, _, message = sender.report("nobody@plain.unsigned.test", "failed")
    same(fields["status"], "5.1.1", "status")
    expect("550 5.1.1" in fields["diagnostic-code"] and "User unknown" in fields["diagnostic-code"], fields)
    expect("mx.plain.unsigned.test" in fields["remote-mta"], fields)
    expect(message.startswith("Return-Path: <>"), message)
    expect("Final-Recipient: rfc822; friend@plain" not in message, message)
    sender.empty()


def greylisting(stage):
    sender = stage.sender
    sender.submit("friend@grey.unsigned.test", "grey")
    item = sender.waits("friend@grey.unsigned.test", "450 4.2.0", "Greylisted, come again", "next attempt")
    same((item["history"][0]["code"], item["history"][0]["enhanced"]), (450, "4.2.0"), "attempt")
    sender.kick("friend@grey.unsigned.test")
    stage.postfix.received("grey")
    sender.empty()


def too_many_connections(stage):
    """Postfix takes two at a time and says 421 to more. All is delivered, none of it later than it must."""
    sender = stage.sender
    for n in range(12):
        sender.submit("friend@few.unsigned.test", f"few-{n}")
    for n in range(12):
        stage.postfix.received(f"few-{n}")
    sender.empty()


def too_many_recipients(stage):
    """Postfix says 452 to the fourth of a message: all get it in one attempt, in three transactions."""
    sender, recipients = stage.sender, [f"many-{n}@many.unsigned.test" for n in range(7)]
    sender.submit(recipients, "many")
    sender.empty()
    same(sender.log_lines("to=many-", "result=deferred"), [], "who had to wait")
    taken = until(lambda: len(found := re.findall(r" (\w+): to=<many-\d@many.unsigned.test>.* status=sent", stage.postfix.log())) == 7 and found, stage.postfix.log)
    same(len(set(taken)), 3, "transactions")


def slow_ones_hold_up_nobody(stage):
    sender = stage.sender
    sender.submit("friend@stuck.unsigned.test", "stuck")
    sender.submit("friend@slow.unsigned.test", "slow")
    sender.submit("friend@plain.unsigned.test", "not-slow")
    stage.postfix.received("not-slow")
    stage.postfix.received("slow")
    sender.waits("friend@stuck.unsigned.test", "no answer in time")
    sender.submit("friend@closed.unsigned.test", "closed")
    sender.waits("friend@closed.unsigned.test", "connection refused")
    sender.ringmail("queue", "drop", "--all")
    sender.empty()


def size(stage):
    """Said by Postfix before, or after the message only."""
    sender, body = stage.sender, "words that fill a line, and more of them\n" * 700
    sender.submit("friend@small.unsigned.test", "small", body)
    sender.submit("friend@unsaid.unsigned.test", "unsaid", body)
    fields, *_ = sender.report("friend@small.unsigned.test", "failed")
    same(fields["status"], "5.3.4", "status")
    fields, *_ = sender.report("friend@unsaid.unsigned.test", "failed")
    same(fields["status"], "5.3.4", "status")
    expect("552 5.3.4" in fields["diagnostic-code"], fields)
    sender.empty()


def octets_beyond_ascii(stage):
    sender = stage.sender
    sender.submit("friend@plain.unsigned.test", "eight-bit", "Gr\u00fc\u00dfe\n", ["BODY=8BITMIME"])
    expect("\nGr\u00fc\u00dfe\n".encode() in stage.postfix.received("eight-bit"), "the body is another")
    sender.submit("fr\u00e4nk@plain.unsigned.test", "Gr\u00fc\u00dfe", "x\n", ["SMTPUTF8", "BODY=8BITMIME"])
    stage.postfix.received("Gr\u00fc\u00dfe")
    # Asked for and not needed: goes without.
    sender.submit("friend@old.unsigned.test", "ascii", "x\n", ["SMTPUTF8", "BODY=8BITMIME"])
    stage.postfix.received("ascii")
    sender.submit("friend@old.unsigned.test", "no-eight-bit", "Gr\u00fc\u00dfe\n", ["BODY=8BITMIME"])
    fields, *_ = sender.report("friend@old.unsigned.test", "failed")
    same(fields["status"], "5.6.3", "status")
    sender.submit("fr\u00e4nk@old.unsigned.test", "no-utf8", "x\n", ["SMTPUTF8", "BODY=8BITMIME"])
    fields, *_ = sender.report("fr\u00e4nk@old.unsigned.test", "failed")
    same(fields["status"], "5.6.7", "status")
    sender.empty()


run(
    Stage(mx_zones("unsigned.test", ADDRESSES)),
    prepare,
    in_clear_and_by_starttls,
    who_is_not_there,
    greylisting,
    too_many_connections,
    too_many_recipients,
    slow_ones_hold_up_nobody,
    size,
    octets_beyond_ascii,
)
