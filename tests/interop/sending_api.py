"""The sending API by curl, as its users call it, and the messages it makes beside those of nodemailer for the same words: the same leaves with the same
octets, the same fields."""

import base64
import email
import email.policy
import json
import os
import random
import shutil
import time
from email.utils import getaddresses
from pathlib import Path

import server as interop
from server import HOST, PASSWORD, USER, expect, need, run, same, succeed

need("curl", "node")
NODE = os.environ.get("RINGMAIL_NODE_MODULES") or "/nonexistent"
PNG = base64.b64decode("iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==")
PDF = b"%PDF-1.4\n" + bytes(range(256)) * 20


def curl(server, method, *options, login=f"{USER}:{PASSWORD}"):
    """The status and the body as JSON, or as text."""
    url = f"http://{HOST}:{server.http}/webapi/v0/{method}"
    out = succeed("curl", "-sS", "-w", "\n%{http_code}", *(["-u", login] if login else []), url, *options)
    body, _, status = out.rpartition("\n")
    try:
        return int(status), json.loads(body)
    except ValueError:
        return int(status), body


def call(server, method, request):
    return curl(server, method, "--data-urlencode", "request=" + json.dumps(request))


def sent(server, request, *files):
    """Sends, and answers the message as it came to the account, which has what goes to anybody."""
    subject = request["Subject"]
    options = ["--form-string", "request=" + json.dumps(request)]
    status, said = curl(server, "Send", *options, *files)
    same(status, 200, f"status of Send {subject}: {said}")
    expect(said["MessageID"].startswith("<") and said["MessageID"].endswith(">"), said)
    return said, by_id(server, said["MessageID"])


def by_id(server, message_id):
    end = time.monotonic() + 20
    with server.imap_login() as client:
        interop.ok(client.select("INBOX"))
        while not (found := interop.ok(client.uid("SEARCH", "HEADER", "Message-ID", interop.quoted(message_id)))[0].split()) and time.monotonic() < end:
            time.sleep(0.05)
            interop.ok(client.noop())
        # Each recipient has one.
        expect(found, "no message", message_id)
        return interop.fetched(client, found[0].decode())


def annex(server):
    """The calls that documentation shows."""
    request = {"To": [{"Name": "Ann", "Address": "ann@example.net"}], "Subject": "annex urlencoded", "Text": "Hello\n", "Extra": {"order": "77"}, "SaveSent": True}
    status, said = call(server, "Send", request)
    same(status, 200, "status")
    same(sorted(said), ["MessageID", "Submissions"], "fields")
    [submission] = said["Submissions"]
    same(sorted(submission), ["Address", "FromID", "QueueMsgID"], "fields of a submission")
    expect(submission["Address"] == "ann@example.net" and submission["QueueMsgID"] > 0, said)
    message = server.delivered("annex urlencoded", after_reply=True)
    expect(b"order" not in message, "Extra is the sender's alone:", message)
    server.delivered("annex urlencoded", mailbox="Sent")


def annex_multipart(server):
    (server.scratch / "logo.png").write_bytes(PNG)
    (server.scratch / "bill.pdf").write_bytes(PDF)
    request = {"To": [{"Address": "ann@example.net"}], "Subject": "annex multipart", "HTML": '<img src="cid:logo">'}
    inline = f'inlinefile=@{server.scratch}/logo.png;headers="Content-ID: <logo>"'
    said, message = sent(server, request, "--form", inline, "--form", f"attachedfile=@{server.scratch}/bill.pdf")
    parts = {part.get_content_type(): part for part in email.message_from_bytes(message, policy=email.policy.default).walk()}
    same(parts["image/png"]["Content-ID"], "<logo>", "Content-ID")
    same(parts["image/png"].get_content(), PNG, "the picture")
    same(parts["application/pdf"].get_filename(), "bill.pdf", "file name")
    same(parts["application/pdf"].get_content(), PDF, "the bill")


def every_field(server):
    """As a typed client writes them, empty ones too."""
    nothing = {key: None for key in ("From", "CC", "BCC", "ReplyTo", "References", "Date", "Extra", "Headers", "AlternativeFiles", "InlineFiles", "AttachedFiles", "RequireTLS", "FutureRelease")}
    request = nothing | {"To": [{"Name": "", "Address": "ann@example.net"}], "MessageID": "", "Subject": "every field", "Text": "t", "HTML": "", "SaveSent": False}
    same(call(server, "Send", request)[0], 200, "status")
    # Field names in another case are the same ones.
    same(call(server, "Send", {"to": [{"address": "ann@example.net"}], "SUBJECT": "other case", "text": "t"})[0], 200, "status")


def errors(server):
    to = [{"Address": "ann@example.net"}]
    for request, code in [
        ({"To": to, "Subject": "s"}, "missingBody"),
        ({"To": to, "Text": "t", "From": [{"Address": USER}, {"Address": USER}]}, "multipleFrom"),
        ({"To": [{"Address": "nobody"}], "Text": "t"}, "badAddress"),
        ({"Text": "t"}, "noRecipients"),
        ({"To": to, "Text": "t", "MessageID": "no-brackets@example.org"}, "malformedMessageID"),
        ({"To": to, "Text": "t", "Unknown": 1}, "protocol"),
        ({"To": to, "Text": "t", "Subject": "a\nb"}, "user"),
    ]:
        status, said = call(server, "Send", request)
        same((status, said["Code"]), (400, code), f"what was said to {request}")
        expect(said["Message"], said)
    same(curl(server, "Send", "--data", "request=%7B")[0], 400, "status of half an object")
    same(curl(server, "Send", "--data", "request=%7B%7D", login=None)[0], 401, "status without a login")
    same(curl(server, "Send", "--data", "request=%7B%7D", login=f"{USER}:wrong")[0], 401, "status with a wrong password")
    same(curl(server, "Nothing", "--data", "request=%7B%7D")[0], 404, "status of an unknown method")


def suppression(server):
    address = f"suppressed{random.getrandbits(32):x}@example.net"
    present = lambda: call(server, "SuppressionPresent", {"EmailAddress": address})
    same(present(), (200, {"Present": False}), "present before")
    same(call(server, "SuppressionAdd", {"EmailAddress": address, "Manual": True, "Reason": "asked to"}), (200, {}), "added")
    same(call(server, "SuppressionAdd", {"EmailAddress": address})[1]["Code"], "error", "added again")
    same(present(), (200, {"Present": True}), "present")
    status, said = call(server, "SuppressionList", {})
    mine = [one for one in said["Suppressions"] if one["OriginalAddress"] == address]
    same((status, len(mine), mine[0]["Manual"], mine[0]["Reason"]), (200, 1, True, "asked to"), "the list")
    same(call(server, "SuppressionRemove", {"EmailAddress": address}), (200, {}), "removed")
    same(call(server, "SuppressionRemove", {"EmailAddress": address})[1]["Code"], "error", "removed again")


WORDS = "Grüße aus Köln – 你好, ça va?"


def messages():
    """What is sent by both: the request of the API, and the options of nodemailer."""
    plain = "Hello,\n\na line that begins with\n.a dot\nFrom here\n\ttab and trailing blanks  \n" + "long " * 300 + "\n"
    texts = [("plain", plain, ""), ("html", "", "<p>Hello &amp; good bye</p>\n"), ("both", "Hi\n", "<b>Hi</b>\n"), ("wörter", WORDS + "\n" + "ö" * 500 + "\n", f"<p>{WORDS}</p>\n")]
    file = lambda name, kind, data, cid="": {"Name": name, "ContentType": kind, "ContentID": f"<{cid}>" if cid else "", "Data": base64.b64encode(data).decode()}
    calendar = b"BEGIN:VCALENDAR\r\nEND:VCALENDAR\r\n"
    sets = [
        {},
        {"AttachedFiles": [file("bill.pdf", "application/pdf", PDF), file("Übersicht für Müller.txt", "text/plain", WORDS.encode())]},
        {"InlineFiles": [file("logo.png", "image/png", PNG, "logo@x")]},
        {"AlternativeFiles": [file("", "text/calendar; charset=utf-8", calendar)]},
        {"InlineFiles": [file("logo.png", "image/png", PNG, "logo@x")], "AttachedFiles": [file("a.bin", "application/octet-stream", b"\0\r\n\xff" * 100)], "AlternativeFiles": [file("", "text/calendar; charset=utf-8", calendar)]},
    ]
    for kind, text, html in texts:
        for number, files in enumerate(sets):
            subject = f"parity {kind} {number} {random.getrandbits(32):x}"
            people = [{"Name": "Ann Müller, MD", "Address": "ann@example.net"}, {"Name": 'Bob "B"', "Address": "bob@example.net"}]
            request = {"From": [{"Name": "Grüße aus Köln", "Address": USER}], "To": people, "CC": [{"Name": "", "Address": "c@example.net"}], "ReplyTo": [{"Name": "R", "Address": "r@example.net"}],
                "Subject": subject, "Text": text, "HTML": html, "Date": "2026-08-01T10:00:00+02:00", "MessageID": f"<{random.getrandbits(64):x}@example.org>",
                "References": ["<1@example.org>", "<2@example.org>"], "Headers": [["X-Order", "77"], ["X-Words", WORDS], ["X-Link", "https://example.org/" + "a" * 300 + "?b=_c"]], **files}
            person = lambda one: {"name": one["Name"], "address": one["Address"]}
            plain_files = lambda key, more: [{"content": f["Data"], "contentType": f["ContentType"], **({"filename": f["Name"]} if f["Name"] else {}), **({"cid": f["ContentID"].strip("<>")} if f["ContentID"] else {}), **more} for f in files.get(key, [])]
            options = {"from": person(request["From"][0]), "to": [person(p) for p in people], "cc": "c@example.net", "replyTo": person(request["ReplyTo"][0]), "subject": subject,
                "date": request["Date"], "messageId": request["MessageID"], "references": request["References"], "inReplyTo": request["References"][-1],
                "headers": [{"key": key, "value": value} for key, value in request["Headers"]],
                "attachments": plain_files("InlineFiles", {"contentDisposition": "inline"}) + plain_files("AttachedFiles", {}), "alternatives": plain_files("AlternativeFiles", {}),
                **({"text": text} if text else {}), **({"html": html} if html else {})}
            yield request, options


def leaves(message):
    """Type, file name, Content-ID and octets of each part that is none of parts; line ends of text are LF."""
    found = []
    for part in message.walk():
        if part.is_multipart():
            continue
        content = part.get_payload(decode=True)
        kind = part.get_content_type()
        if kind in ("text/plain", "text/html") and not part.get_filename():
            # What ends the text is the line's end or not: both are the same text.
            content = content.decode(part.get_content_charset() or "ascii").replace("\r\n", "\n").rstrip("\n")
        found.append((kind, part.get_filename() or "", str(part["Content-ID"] or ""), content))
    return sorted(found, key=repr)


def fields(message):
    # Where a long value is folded is the one or the other.
    said = {name.lower(): str(message[name]).strip() for name in ("Subject", "Message-ID", "In-Reply-To", "X-Order", "X-Words", "X-Link")}
    said["references"] = str(message["References"]).split()
    said["date"] = message["Date"].datetime.timestamp()
    for name in ("From", "To", "Cc", "Reply-To"):
        said[name.lower()] = getaddresses([str(message[name])])
    return said


def parity(server):
    """The same words make the same mail."""
    folder = server.scratch / "node"
    folder.mkdir()
    script = shutil.copy(Path(__file__).parent / "node" / "mime.mjs", folder)
    (folder / "node_modules").symlink_to(NODE)
    asked = list(messages())
    theirs = json.loads(succeed("node", script, stdin=json.dumps([options for _, options in asked])))
    same(len(theirs), len(asked), "messages of nodemailer")
    for (request, _), their in zip(asked, theirs):
        status, said = call(server, "Send", request)
        same(status, 200, f"status: {said}")
        octets = by_id(server, request["MessageID"])
        ours, their = (email.message_from_bytes(m, policy=email.policy.default) for m in (octets, base64.b64decode(their)))
        same(fields(ours), fields(their), f"fields of {request['Subject']}")
        same(leaves(ours), leaves(their), f"parts of {request['Subject']}")
        for part in ours.walk():
            same(list(part.defects), [], f"defects of {request['Subject']}")
        longest = max(len(line) for line in octets.split(b"\r\n"))
        expect(longest <= 998, "a line of", longest, "octets in", request["Subject"])
        expect(all(octet < 128 for octet in octets), "octets beyond ASCII in", request["Subject"])


def batched(server, request):
    """What one recipient of a batch gets for the same words and files."""
    raw = lambda text: "{% raw %}" + text + "{% endraw %}" if text else ""
    file = lambda f: {"content": f["Data"], "content_type": f["ContentType"], **({"filename": f["Name"]} if f["Name"] else {}), **({"content_id": f["ContentID"]} if f["ContentID"] else {})}
    batch = {"template": {"subject": raw(request["Subject"]), "text": raw(request["Text"]), "html": raw(request["HTML"])}, "recipients": [{"address": "ann@example.net"}],
        "attachments": [file(f) for key in ("InlineFiles", "AttachedFiles") for f in request.get(key, [])]}
    out = succeed("curl", "-sS", "-u", f"{USER}:{PASSWORD}", f"http://{HOST}:{server.http}/webapi/v1/batches", "--json", "@-", stdin=json.dumps(batch))
    return by_id(server, f"<{json.loads(out)['id']}.")


def parity_of_batches(server):
    """Files of a batch are those of a single message."""
    for request, _ in messages():
        if "AlternativeFiles" in request:
            continue
        same(call(server, "Send", request)[0], 200, "status")
        single, ours = (email.message_from_bytes(m, policy=email.policy.default) for m in (by_id(server, request["MessageID"]), batched(server, request)))
        same(str(ours["Subject"]), str(single["Subject"]), "subject")
        same(leaves(ours), leaves(single), f"parts of {request['Subject']}")
        for part in ours.walk():
            same(list(part.defects), [], f"defects of {request['Subject']}")


if __name__ == "__main__":
    run(annex, annex_multipart, every_field, errors, suppression, parity, parity_of_batches)
