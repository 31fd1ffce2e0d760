"""What a sender asks to be told with smtplib, read back by IMAP and taken apart by Python's email package: DSN, FUTURERELEASE, REQUIRETLS."""

import email
import email.policy
import email.utils
import json
import smtplib
import time

import server as interop
from server import PASSWORD, USER, draft, expect, ok, run, same

FAILS = "queue-permerror@c.example"


def logged_in(server):
    """Submission within TLS, after EHLO."""
    client = smtplib.SMTP_SSL("localhost", server.submissions, context=server.tls(), timeout=60)
    client.login(USER, PASSWORD)
    return client


def submit(server, message, recipients, *options, sender=USER, client=logged_in):
    """Sends a message to recipients, each with its parameters; what smtplib has no way for, by hand."""
    with client(server) as talk:
        talk.ehlo_or_helo_if_needed()
        if "SMTPUTF8" in options:
            # smtplib encodes commands in ASCII unless it has seen this itself.
            talk.command_encoding = "utf-8"
        same(talk.mail(sender, options)[0], 250, "MAIL")
        for address, *parameters in recipients:
            same(talk.rcpt(address, parameters)[0], 250, f"RCPT {address}")
        same(talk.data(message if isinstance(message, bytes) else message.as_bytes())[0], 250, "DATA")


def about(server, message, count):
    """The reports about a message, once there are so many, and no more."""
    end = time.monotonic() + 20
    with server.imap_login() as client:
        while True:
            ok(client.select(readonly=True))
            found = ok(client.uid("SEARCH", "HEADER", "References", interop.quoted(message["Message-ID"])))[0].split()
            if len(found) >= count or time.monotonic() > end:
                break
            time.sleep(0.05)
        same(len(found), count, "reports")
        octets = [interop.fetched(client, uid.decode()) for uid in found]
    return [email.message_from_bytes(o, policy=email.policy.default) for o in octets]


def arrived(server, message):
    """Whether the message itself is in the INBOX."""
    with server.imap_login() as client:
        ok(client.select(readonly=True))
        return bool(ok(client.uid("SEARCH", "HEADER", "Message-ID", interop.quoted(message["Message-ID"])))[0])


def queued(server, message):
    code, out, err = server.ringmail("queue", "list", "--json")
    same((code, err), (0, ""), "queue list")
    items = [json.loads(line) for line in out.splitlines()]
    return [item for item in items if item["message_id"] == message["Message-ID"]]


def settled(server, message):
    """Waits until nothing of a message is in the queue: what was not reported by then never is."""
    end = time.monotonic() + 20
    while queued(server, message):
        expect(time.monotonic() < end, "still in the queue:", queued(server, message))
        time.sleep(0.05)


def parts(report):
    """The three parts of a report: its text, the groups of fields, the original."""
    same(report.get_content_type(), "multipart/report", "type of the report")
    same(report["Content-Type"].params["report-type"], "delivery-status", "report-type")
    same(report["Return-Path"], "<>", "Return-Path")
    same(report["Auto-Submitted"], "auto-replied", "Auto-Submitted")
    text, status, original = report.get_payload()
    same(text.get_content_type(), "text/plain", "type of the first part")
    if status.get_content_type() == "message/delivery-status":
        groups = status.get_payload()
    else:
        # The package does not know its UTF-8 form: the first group is the header of a message, the others its body.
        same(status.get_content_type(), "message/global-delivery-status", "type of the second part")
        first = status.get_payload(0)
        rest = first.get_payload(decode=True).decode().replace("\r\n", "\n").strip().split("\n\n")
        groups = [first, *(email.message_from_string(group, policy=email.policy.default) for group in rest)]
    for group in groups:
        same(group.defects, [], "defects of the fields")
    same(report.defects, [], "defects of the report")
    return text, groups, original


def fields(group, **wanted):
    """Fields of a group as they should be; None: not there."""
    for name, value in wanted.items():
        name = name.replace("_", "-")
        same(None if group[name] is None else str(group[name]), value, name)


def is_date(text):
    return email.utils.parsedate_to_datetime(str(text)) is not None


def announced(server):
    with server.smtp_client() as client:
        client.ehlo()
        expect(client.has_extn("dsn"), "DSN on port 25")
        expect(not client.has_extn("requiretls"), "REQUIRETLS without TLS")
        expect(not client.has_extn("futurerelease"), "FUTURERELEASE on port 25")
        client.starttls(context=server.tls())
        client.ehlo()
        expect(client.has_extn("requiretls"), "no REQUIRETLS within TLS")
    with logged_in(server) as client:
        client.ehlo()
        expect(client.has_extn("dsn") and client.has_extn("requiretls"), client.esmtp_features)
        seconds, until = client.esmtp_features["futurerelease"].split()
        same(seconds, "5184000", "longest HOLDFOR")
        latest = time.mktime(time.strptime(until, "%Y-%m-%dT%H:%M:%SZ")) - time.timezone
        expect(abs(latest - time.time() - 5184000) < 300, "latest HOLDUNTIL", until)


def failure(server):
    message = draft("fails", sender=USER)
    options = ["RET=FULL", "ENVID=QQ+2B314159"]
    submit(server, message, [(FAILS, "NOTIFY=FAILURE", "ORCPT=rfc822;Old+2Bname@c.example")], *options)
    (report,) = about(server, message, 1)
    text, (of_message, of_recipient), original = parts(report)
    fields(of_message, Reporting_MTA="dns; localhost", Original_Envelope_Id="QQ+314159", Future_Release_Request=None)
    expect(is_date(of_message["Arrival-Date"]), "Arrival-Date")
    fields(
        of_recipient,
        Original_Recipient="rfc822; Old+name@c.example",
        Final_Recipient=f"rfc822; {FAILS}",
        Action="failed",
        Status="5.0.0",
        Remote_MTA="dns; localhost",
        Diagnostic_Code="smtp; 550 simulated failure",
        Will_Retry_Until=None,
    )
    expect(is_date(of_recipient["Last-Attempt-Date"]), "Last-Attempt-Date")
    expect(FAILS in text.get_content(), text.get_content())
    same(original.get_content_type(), "message/rfc822", "type of the original")
    same(original.get_payload(0)["Message-ID"], message["Message-ID"], "the original")
    same(original.get_payload(0).get_content().strip(), "hello", "text of the original")


def headers_alone(server):
    """RET=HDRS; and RFC 8689 5: as if it were there, with REQUIRETLS."""
    for subject, options in (("headers", ["RET=HDRS"]), ("protected", ["RET=FULL", "REQUIRETLS"])):
        message = draft(subject, sender=USER)
        submit(server, message, [(FAILS,)], *options)
        (report,) = about(server, message, 1)
        _, _, original = parts(report)
        same(original.get_content_type(), "text/rfc822-headers", "type of the original")
        header = email.message_from_string(original.get_content(), policy=email.policy.default)
        same(header["Message-ID"], message["Message-ID"], "the header")
        expect("hello" not in report.as_string(), report.as_string())
        same("(requiretls)" in header["Received"], "REQUIRETLS" in options, "REQUIRETLS in Received")


def each_as_it_wants(server):
    message = draft("several", sender=USER)
    recipients = [
        ("queue-permerror@silent.example", "NOTIFY=NEVER"),
        ("queue-permerror@success.example", "NOTIFY=SUCCESS"),
        ("queue-permerror@default.example",),
        ("queue-permerror@asked.example", "NOTIFY=FAILURE,DELAY"),
        ("fine@default.example",),
        ("fine@asked.example", "NOTIFY=SUCCESS,FAILURE"),
        (USER, "NOTIFY=SUCCESS", f"ORCPT=rfc822;{USER}"),
    ]
    submit(server, message, recipients)
    settled(server, message)
    told = {}
    # Recipients of one domain share a report; these have one each.
    for report in about(server, message, 4):
        _, (_, *groups), _ = parts(report)
        for group in groups:
            told[str(group["Final-Recipient"]).split("; ")[1]] = str(group["Action"])
    wanted = {
        "queue-permerror@default.example": "failed",
        "queue-permerror@asked.example": "failed",
        "fine@asked.example": "delivered",
        USER: "delivered",
    }
    same(told, wanted, "what is told")


def from_elsewhere(server):
    """By port 25, for an account here: the report goes to the reverse-path, which in localserve comes to its one account."""
    message = draft("from elsewhere")
    submit(server, message, [(USER, "NOTIFY=SUCCESS,DELAY")], "ENVID=1", sender="you@example.org", client=interop.Localserve.smtp_client)
    (report,) = about(server, message, 1)
    same(report["Delivered-To"], "you@example.org", "Delivered-To")
    _, (of_message, of_recipient), original = parts(report)
    fields(of_message, Original_Envelope_Id="1")
    fields(of_recipient, Final_Recipient=f"rfc822; {USER}", Action="delivered", Status="2.1.5", Remote_MTA=None, Diagnostic_Code=None)
    same(original.get_content_type(), "text/rfc822-headers", "type of the original")
    expect(arrived(server, message), "the message is not there")
    silent = draft("from nobody")
    submit(server, silent, [(USER, "NOTIFY=SUCCESS")], sender="", client=interop.Localserve.smtp_client)
    settled(server, silent)
    about(server, silent, 0)


def internationalized(server):
    """RFC 6533: an address in UTF-8 in a report, and ORCPT in its 7-bit form and as it is."""
    recipient = "queue-permerror@bücher.example"
    for orcpt in ("utf-8;j\\x{F8}rn@bücher.example", "utf-8;j\\x{F8}rn@b\\x{FC}cher.example"):
        message = draft("utf8", sender=USER)
        submit(server, message, [(recipient, f"ORCPT={orcpt}")], "SMTPUTF8")
        (report,) = about(server, message, 1)
        _, (_, of_recipient), _ = parts(report)
        fields(of_recipient, Original_Recipient="utf-8; jørn@bücher.example", Final_Recipient=f"utf-8; {recipient}", Action="failed")


def held(server):
    subjects = ("held for long", "held until", "held short", "held and failing")
    later, until, soon, failing = (draft(subject, sender=USER) for subject in subjects)
    submit(server, later, [(USER,), ("a@a.example",)], "HOLDFOR=3600")
    moment = int(time.time()) + 7200
    submit(server, until, [(USER,)], time.strftime("HOLDUNTIL=%Y-%m-%dT%H:%M:%SZ", time.gmtime(moment)))
    submit(server, soon, [(USER,)], "HOLDFOR=1")
    submit(server, failing, [(FAILS,)], "HOLDFOR=1")
    (report,) = about(server, failing, 1)
    _, (of_message, _), _ = parts(report)
    same(str(of_message["Future-Release-Request"]), "for;1", "what was asked for")
    settled(server, soon)
    expect(arrived(server, soon), "what was held does not arrive")
    waiting = queued(server, later)
    same([item["next"] - item["accepted"] for item in waiting], [3600, 3600], "how long they wait")
    same([item["next"] for item in queued(server, until)], [moment], "until when it waits")
    expect(not arrived(server, later) and not arrived(server, until), "what is held has arrived")


def tls_not_required(server):
    """RFC 8689 3: the field is taken and stays in the message."""
    message = draft("any way", sender=USER)
    message["TLS-Required"] = "No"
    submit(server, message, [("a@a.example",)])
    settled(server, message)
    expect(b"TLS-Required: No\r\n" in server.delivered("any way"), "the field is gone")


run(
    announced,
    failure,
    headers_alone,
    each_as_it_wants,
    from_elsewhere,
    internationalized,
    held,
    tls_not_required,
)
