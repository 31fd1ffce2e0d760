"""Forms with files as programs write them, sent to version 0 of the API: curl, requests, urllib3 (names in each of its ways), Werkzeug, Python's email package,
node's FormData, and by hand what older ones write. Each file comes to the account with its name and octets. RFC 7578, RFC 2046."""

import email
import email.policy
import json
import warnings
from email.message import EmailMessage
from email.mime.application import MIMEApplication
from email.mime.multipart import MIMEMultipart
from email.mime.text import MIMEText

import requests
import urllib3
from server import HOST, PASSWORD, USER, need, run, same, succeed
from urllib3.fields import RequestField, format_header_param_rfc2231
from werkzeug.test import EnvironBuilder

import sending_api

need("curl", "node")
# One of urllib3's ways is deprecated, and what older ones do.
warnings.simplefilter("ignore", FutureWarning)
OCTETS = bytes(range(256)) + b"\r\n--\r\n--Bx1\n--Bx\r\n"
NAMES = ["plain.pdf", "r\u00e9sum\u00e9.pdf", "\u8cc7\u6599\u8868.pdf", "two words; and=more.txt", "it's 100% (1).txt"]


def request():
    return json.dumps({"To": [{"Address": "ann@example.net"}], "Subject": "form", "Text": "t"})


def url(server):
    return f"http://{HOST}:{server.http}/webapi/v0/Send"


def files_of(server, said):
    message = email.message_from_bytes(sending_api.by_id(server, said["MessageID"]), policy=email.policy.default)
    return [(part.get_filename(), part.get_payload(decode=True)) for part in message.iter_attachments()]


def posted(server, body, boundary="Bx", content_type=None):
    """What is answered to a body; a login, a type, and no more."""
    headers = {"Content-Type": content_type or f"multipart/form-data; boundary={boundary}"}
    answer = requests.post(url(server), data=body, headers=headers, auth=(USER, PASSWORD), timeout=20)
    return answer.status_code, answer.json()


def comes(server, expected, body, **how):
    status, said = posted(server, body, **how)
    same(status, 200, f"status of {body[:600]}: {said}")
    same(files_of(server, said), expected, f"files of {body[:600]}")


def programs_with_forms(server):
    for name in NAMES:
        expected = [(name, OCTETS)]
        files = {"attachedfile": (name, OCTETS, "application/x-test")}
        answer = requests.post(url(server), data={"request": request()}, files=files, auth=(USER, PASSWORD), timeout=20)
        same(files_of(server, answer.json()), expected, f"requests: {name}")
        for format in (None, format_header_param_rfc2231):
            field = RequestField("attachedfile", OCTETS, filename=name, header_formatter=format)
            field.make_multipart(content_type="application/x-test")
            body, content_type = urllib3.encode_multipart_formdata([("request", request()), field])
            comes(server, expected, body, content_type=content_type)
        path = server.scratch / name
        path.write_bytes(OCTETS)
        for more in ((), ("--form-escape",)):
            options = ["-u", f"{USER}:{PASSWORD}", *more, "--form-string", f"request={request()}", "--form", f'attachedfile=@"{path}"']
            said = json.loads(succeed("curl", "-sS", url(server), *options))
            same(files_of(server, said), expected, f"curl {more}: {name}")
        builder = EnvironBuilder(method="POST", data={"request": request(), "attachedfile": (path.open("rb"), name)})
        environ = builder.get_environ()
        comes(server, expected, environ["wsgi.input"].read(), content_type=environ["CONTENT_TYPE"])
    script = """
        const [url, login, request, names, octets] = JSON.parse(process.argv[1]);
        const form = new FormData();
        form.append("request", request);
        for (const name of names) form.append("attachedfile", new Blob([Buffer.from(octets, "base64")]), name);
        form.append("inlinefile", new Blob([]), "");
        fetch(url, {method: "POST", body: form, headers: {Authorization: "Basic " + btoa(login)}}).then(r => r.text()).then(t => console.log(t));
    """
    octets = sending_api.base64.b64encode(OCTETS).decode()
    said = json.loads(succeed("node", "-e", script, json.dumps([url(server), f"{USER}:{PASSWORD}", request(), NAMES, octets])))
    same(files_of(server, said), [(name, OCTETS) for name in NAMES], "node")


def email_package(server):
    """As scripts misuse it: the header goes into the request's, the body is sent."""
    for policy in (email.policy.compat32, email.policy.HTTP, email.policy.SMTP, email.policy.default):
        for name in NAMES:
            form = MIMEMultipart("form-data", boundary="Bx")
            field = MIMEText(request(), "plain", "us-ascii")
            field.add_header("Content-Disposition", "form-data", name="request")
            # Its encoder of nothing: the octets go as they are, with surrogates for what is not ASCII.
            file = MIMEApplication(b"1\r\n2 =41\r\n", "x-a-type-that-is-long-enough-to-be-folded", _encoder=lambda part: None, charset="a-charset-with-a-long-name")
            file.add_header("Content-Disposition", "form-data", name="attachedfile", filename=name if name.isascii() else ("utf-8", "", name))
            form.attach(field)
            form.attach(file)
            body = form.as_bytes(policy=policy).partition(b"--Bx")
            lines = b"1\r\n2 =41\r\n" if policy.linesep == "\r\n" else b"1\n2 =41\n"
            comes(server, [(name, lines)], b"preamble" + policy.linesep.encode() + body[1] + body[2])
    part = EmailMessage(policy=email.policy.SMTP)
    part.set_content("caf\u00e9 =\n" * 3 + "long " * 40 + "\n", cte="quoted-printable")
    part.replace_header("Content-Type", "text/plain; charset=utf-8")
    part["Content-Disposition"] = 'form-data; name="attachedfile"; filename="quoted.txt"'
    body = b'--Bx\r\nContent-Disposition: form-data; name="request"\r\n\r\n' + request().encode() + b"\r\n--Bx\r\n" + part.as_bytes() + b"\r\n--Bx--\r\n"
    comes(server, [("quoted.txt", ("caf\u00e9 =\r\n" * 3 + "long " * 40 + "\r\n").encode())], body)


def form(disposition, more=b"", octets=b"DATA", line_end=b"\r\n"):
    lines = [b"--Bx", b'Content-Disposition: form-data; name="request"', b"", request().encode()]
    lines += [b"--Bx", b"Content-Disposition: " + disposition, *([more] if more else []), b"", octets, b"--Bx--", b""]
    return line_end.join(lines)


def by_hand(server):
    file = b'form-data; name="attachedfile"; filename='
    for disposition, name in [
        (file + b'"r\xe9.pdf"', "r\u00e9.pdf"),
        (file + "\u8868.pdf".encode("shift_jis"), None),
        (b"form-data; name=\"attachedfile\"; filename*=shift_jis''%95%5C.pdf", "\u8868.pdf"),
        (b'form-data; name="attachedfile"; filename*0="ab"; filename*1="c.pdf"', "abc.pdf"),
        (b"form-data; name=\"attachedfile\"; filename*=utf-8''r\xe9.pdf", "r\u00e9.pdf"),
        (b'form-data; filename="C:\\dir\\"; name="attachedfile"', "dir"),
        (file + b'"../../etc/passwd"', "passwd"),
        (file + b'"C:\\dir\\x.txt"', "x.txt"),
        (file + b'"a\\"b"', 'a"b'),
        (file + b"x y", "x y"),
        (b'form-data;\r\n name="attachedfile";\r\n\tfilename="x"', "x"),
    ]:
        status, said = posted(server, form(disposition))
        same(status, 200, f"status of {disposition}: {said}")
        [(found, octets)] = files_of(server, said)
        same((found if name else None, octets), (name, b"DATA"), f"file of {disposition}")
    comes(server, [("x", b"DATA")], form(file + b"x", line_end=b"\n"))
    comes(server, [("x", b"DATA")], form(file + b"x", b"X-A : b\r\nContent-Type : a/b"))
    comes(server, [("x", b"DATA")], form(file + b"x", b"\r\n".join([b"X-H: y"] * 100)))
    comes(server, [("x", b"DATA")], form(file + b"x", b"Content-Transfer-Encoding: quoted-printable", b"D=41T=\r\nA"))
    comes(server, [], form(file + b'""', octets=b""))
    for disposition in (b'form-data; name="attachment"; filename=x', file + b'"x', b"attachment; filename=x"):
        status, said = posted(server, form(disposition))
        same((status, said["Code"]), (400, "protocol"), f"what is said to {disposition}")


if __name__ == "__main__":
    run(programs_with_forms, email_package, by_hand)
