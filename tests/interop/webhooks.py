"""Webhooks as a receiver sees them who verifies with the library of the Standard Webhooks: what becomes of mail, signed; a second secret during a rotation."""

import email
import email.policy
import http.server
import json
import queue
import threading
import urllib.parse
import urllib.request
from base64 import b64encode

from standardwebhooks.webhooks import Webhook, WebhookVerificationError

from server import HOST, PASSWORD, USER, expect, run, same

EVENTS = "delivered,suppressed,delayed,failed,relayed,expanded,canceled,unrecognized,complaint,unsubscribed"


class Receiver:
    """Notes what it gets."""

    def __init__(self):
        self.got = queue.Queue()
        got = self.got

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                got.put(({name.lower(): value for name, value in self.headers.items()}, body))
                self.send_response(204)
                self.end_headers()

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer((HOST, 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.url = f"http://{HOST}:{self.server.server_port}/events"

    def next(self):
        return self.got.get(timeout=30)


def endpoint(server, receiver, *options):
    code, out, err = server.ringmail("webhook", "add", "ringmail", receiver.url, "--json", *options)
    expect(code == 0, out, err)
    return json.loads(out)


def send(server, request):
    """By version 0 of the API; answers its submissions."""
    form = urllib.parse.urlencode({"request": json.dumps(request)}).encode()
    login = b64encode(f"{USER}:{PASSWORD}".encode()).decode()
    url = f"http://{HOST}:{server.http}/webapi/v0/Send"
    with urllib.request.urlopen(urllib.request.Request(url, form, {"Authorization": f"Basic {login}"})) as answer:
        return json.load(answer)


def verified(secret, headers, body):
    """The event, if the signature holds; with another secret it does not."""
    event = Webhook(secret).verify(body, headers)
    same(event, json.loads(body), "what the library made of it")
    try:
        Webhook("whsec_" + b64encode(b"another secret of 32 octets.....").decode()).verify(body, headers)
    except WebhookVerificationError:
        return event
    raise AssertionError("a signature that holds for any secret")


def what_becomes_of_mail(server):
    receiver = Receiver()
    made = endpoint(server, receiver, "--events", EVENTS, "--authorization", "Bearer of events")
    secret = made["secret"]
    for address, events in [
        ("ann@example.net", ["delivered"]),
        ("queue-permerror@example.net", ["failed"]),
    ]:
        said = send(server, {"To": [{"Address": address}], "Subject": f"to {address}", "Text": "hello\n", "Extra": {"order": "77"}})
        for wanted in events:
            headers, body = receiver.next()
            event = verified(secret, headers, body)
            same(event["Event"], wanted, f"event of {address}")
            same(event["QueueMsgID"], said["Submissions"][0]["QueueMsgID"], "number")
            same((event["MessageID"], event["Subject"]), (said["MessageID"], f"to {address}"), "message")
            same(event["Extra"], {"order": "77"}, "Extra")
            same((event["Version"], headers["authorization"], headers["x-mox-webhook-attempt"]), (0, "Bearer of events", "1"), "the rest")
            expect(headers["content-type"].startswith("application/json"), headers)
            expect(headers["x-mox-webhook-id"].isdigit(), headers)
            expect(event["SMTPCode"] == 250 if wanted == "delivered" else 500 <= event["SMTPCode"] < 600, event)
    code, out, err = server.ringmail("webhook", "rotate", "ringmail", str(made["id"]), "--json")
    expect(code == 0, out, err)
    other = json.loads(out)["secret"]
    expect(other != secret, "the secret is the same")
    send(server, {"To": [{"Address": "ann@example.net"}], "Subject": "rotated", "Text": "hello\n"})
    headers, body = receiver.next()
    for each in (secret, other):
        same(verified(each, headers, body)["Subject"], "rotated", "subject")


def who_unsubscribes(server):
    """The link of the message, as a mail provider uses it (RFC 8058 3.2)."""
    receiver = Receiver()
    secret = endpoint(server, receiver, "--events", "unsubscribed")["secret"]
    message = {"from": {"address": USER}, "to": [{"address": "reader@example.net"}], "subject": "one click", "text": "news\n", "unsubscribe": True, "metadata": {"list": "news"}}
    login = b64encode(f"{USER}:{PASSWORD}".encode()).decode()
    headers = {"Authorization": f"Basic {login}", "Content-Type": "application/json"}
    url = f"http://{HOST}:{server.http}/webapi/v1/messages"
    with urllib.request.urlopen(urllib.request.Request(url, json.dumps(message).encode(), headers)) as answer:
        said = json.load(answer)
    found = email.message_from_bytes(server.delivered("one click", after_reply=True), policy=email.policy.default)
    same(found["List-Unsubscribe-Post"], "List-Unsubscribe=One-Click", "List-Unsubscribe-Post")
    link = str(found["List-Unsubscribe"]).strip("<> ").replace("//localhost:", f"//{HOST}:")
    for _ in range(2):
        with urllib.request.urlopen(urllib.request.Request(link, b"List-Unsubscribe=One-Click")) as answer:
            same(answer.status, 200, "status of the link")
    event = verified(secret, *receiver.next())
    same((event["Event"], event["MessageID"], event["Subject"]), ("unsubscribed", said["message_id"], "one click"), "event")
    same((event["QueueMsgID"], event["Extra"]), (said["recipients"][0]["id"], {"list": "news"}), "its message")
    expect("reader@example.net" in event["Error"], event)
    expect(receiver.got.empty(), "it was told twice")


if __name__ == "__main__":
    run(what_becomes_of_mail, who_unsubscribes)
