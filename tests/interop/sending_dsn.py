"""What senders ask of reports (DSN, RFC 3461), handed on to Postfix: it reports of success, failure and delay, with ORCPT and ENVID as they were given and as much of
the message as RET says; its reports come to us by SMTP. Of a receiver that does not offer DSN, and of one that refuses, we report ourselves."""

import re

from server import expect, same
from server.postfix import Postfix
from server.sending import SENDER, Stage, mx_zones, run, status, until

ADDRESSES = {"plain": "127.0.0.81", "old": "127.0.0.82", "gone": "127.0.0.83", "late": "127.0.0.84"}
BEHIND = {"gone": "127.0.0.85", "late": "127.0.0.86"}
BODY = "words that only the body has\n"
# "+" and "=" are quoted on the way: RFC 3461 4.
ENVID, ENVELOPE_ID = "ENVID=QQ+2B1+3D2", "QQ+1=2"
ORCPT, ORIGINAL = "ORCPT=rfc822;first+2Bone@elsewhere.example", "rfc822; first+one@elsewhere.example"


def prepare(stage):
    sender = stage.send_with(outbound='pause_first_secs = "1s"\n')
    services = {address: [f"myhostname = mx.{name}.unsigned.test"] for name, address in ADDRESSES.items()}
    services[ADDRESSES["old"]].append("smtpd_discard_ehlo_keywords = dsn")
    # Postfix takes what is for these, and hands it on to itself, where it is refused.
    ways = f"{{ example.org = smtp:[127.0.0.1]:{sender.ports['smtp']} }}"
    for name, action in (("gone", "reject 5.2.1 disabled"), ("late", "defer 4.2.1 asleep")):
        ways += f", {{ {name}.unsigned.test = smtp:[{BEHIND[name]}]:{stage.port} }}"
        services[BEHIND[name]] = [f"myhostname = {name}.behind.test", f"smtpd_client_restrictions = check_client_access static:{{{action}}}"]
    stage.postfix = stage.add(Postfix(
        stage.scratch,
        stage.port,
        services,
        [f"{name}.unsigned.test" for name in ADDRESSES],
        f"transport_maps = inline:{{ {ways} }}\ndelay_warning_time = 1s\nqueue_run_delay = 1s\nminimal_backoff_time = 2s\n",
    ))  # fmt: skip


def postfixes_own(stage, recipient, action, returned):
    """Waits for a report of Postfix's: the recipient's fields, when it has what the sender gave and returns as much as he asked for."""
    fields, of_message, report = stage.sender.report(recipient, action)
    same(of_message["reporting-mta"], "dns; postfix.test", "who reports")
    same(of_message.get("original-envelope-id"), ENVELOPE_ID, "envelope id")
    same(fields["original-recipient"].replace(";", "; ").replace("  ", " "), ORIGINAL, "original recipient")
    same(BODY.strip() in report, returned == "message", "the body is in the report")
    expect("Return-Path: <>" in report and f"Delivered-To: {SENDER}" in report, report)
    return fields


def asked(stage, recipient, subject, notify, ret="HDRS"):
    stage.sender.submit(recipient, subject, BODY, options=[ENVID, f"RET={ret}"], rcpt_options=[f"NOTIFY={notify}", ORCPT])


def success_is_told_by_who_delivers(stage):
    for ret, returned in (("HDRS", "header"), ("FULL", "header")):
        name = f"friend-{ret.lower()}@plain.unsigned.test"
        asked(stage, name, "success", "SUCCESS,FAILURE", ret)
        # RFC 3461 4.3: what RET says is about failures; of a success Postfix returns the header.
        fields = postfixes_own(stage, name, "delivered", returned)
        same(fields["status"][0], "2", "status")
    stage.sender.empty()


def failure_is_told_by_who_finds_it(stage):
    for ret, returned in (("HDRS", "header"), ("FULL", "message")):
        name = f"friend-{ret.lower()}@gone.unsigned.test"
        asked(stage, name, "failure", "FAILURE", ret)
        fields = postfixes_own(stage, name, "failed", returned)
        same(fields["status"], "5.2.1", "status")
    # By us, for Postfix refuses it at once; and RET is heeded too.
    for ret, returned in (("HDRS", "header"), ("FULL", "message")):
        name = f"nobody@{'plain' if ret == 'HDRS' else 'old'}.unsigned.test"
        asked(stage, name, "refused", "FAILURE", ret)
        fields, of_message, report = stage.sender.report(name, "failed")
        same(of_message["reporting-mta"], "dns; mail.example.org", "who reports")
        same(of_message["original-envelope-id"], ENVELOPE_ID, "envelope id")
        same((fields["original-recipient"], fields["status"]), (ORIGINAL, "5.1.1"), "recipient")
        same(BODY.strip() in report, returned == "message", "the body is in the report")
    stage.sender.empty()


def delay_is_told_by_who_waits(stage):
    asked(stage, "friend@late.unsigned.test", "delay", "DELAY")
    fields = postfixes_own(stage, "friend@late.unsigned.test", "delayed", "header")
    same(fields["status"], "4.2.1", "status")
    stage.sender.empty()


def relayed_to_who_does_not_report(stage):
    """Postfix would refuse the parameters: it does not offer them."""
    asked(stage, "asked@old.unsigned.test", "relayed", "SUCCESS")
    fields, of_message, _ = stage.sender.report("asked@old.unsigned.test", "relayed")
    same(of_message["reporting-mta"], "dns; mail.example.org", "who reports")
    same((of_message["original-envelope-id"], fields["original-recipient"]), (ENVELOPE_ID, ORIGINAL), "what the sender gave")
    expect("mx.old.unsigned.test" in fields["remote-mta"], fields)
    stage.sender.empty()


def each_recipient_has_what_he_asked_for(stage):
    """One message for recipients who differ: of two that Postfix can't deliver to, nobody is to hear."""
    sender = stage.sender
    names = {name: f"each-{name}@{domain}.unsigned.test" for name, domain in (("told", "plain"), ("untold", "plain"), ("never", "gone"), ("success", "gone"))}
    notify = {"told": ["NOTIFY=SUCCESS"], "untold": ["NOTIFY=FAILURE,DELAY"], "never": ["NOTIFY=NEVER"], "success": ["NOTIFY=SUCCESS"]}
    sender.submit_each("each", {names[name]: options for name, options in notify.items()})
    _, _, report = sender.report(names["told"], "delivered")
    same(len(status(report.encode())), 2, "groups of fields: the message's and one recipient's")
    # Once Postfix has removed the other one it has told what it tells.
    log = stage.postfix.log
    number = until(lambda: re.search(rf"(\w+): to=<{names['never']}>.*status=bounced", log()), log)[1]
    until(lambda: f"{number}: removed" in log(), log)
    expect(f"to=<{names['success']}>" in log(), log())
    expect(f"{number}: sender" not in log(), "a report that nobody has asked for:", log())
    sender.empty()


run(
    Stage(mx_zones("unsigned.test", ADDRESSES)),
    prepare,
    success_is_told_by_who_delivers,
    failure_is_told_by_who_finds_it,
    delay_is_told_by_who_waits,
    relayed_to_who_does_not_report,
    each_recipient_has_what_he_asked_for,
)
