"""Schemathesis against the document of version 1 of the API: whatever fits the document, and much that does not, is answered as the document
says, and nothing of it is a fault of the server. OpenAPI 3.1, RFC 9457.
"""

import json
import os
import re
import sys
import tempfile
from pathlib import Path

from server import HOST, PASSWORD, USER, command, expect, run, same, succeed

SECS = 75
CHECKS = "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance"


def tested(server, checks, secs, *more):
    schemathesis = Path(sys.executable).parent / "st"
    expect(schemathesis.exists(), schemathesis, "is missing: tests/interop/requirements.txt has it")
    base = f"http://{HOST}:{server.http}/webapi/v1"
    words = [schemathesis, "run", f"{base}/openapi.json", "--url", base, "--auth", f"{USER}:{PASSWORD}", "--checks", checks, *more]
    # Each run is another one; the seed of one that fails is in what it prints.
    words += ["--phases", "examples,coverage,fuzzing", "--max-examples", "40", "--max-time", str(secs), "--no-shrink", "--continue-on-failure"]
    words += ["--suppress-health-check", "all", "--request-timeout", "20"]
    hooks = {"PYTHONPATH": str(Path(__file__).parent / "server"), "SCHEMATHESIS_HOOKS": "openapi_hooks", "PYTHONDONTWRITEBYTECODE": "1"}
    code, out, err = command(*words, timeout=secs + 60, cwd=tempfile.gettempdir(), env={**os.environ, **hooks})
    found = re.search(r"^=+ (ERRORS|FAILURES) =+$", out, re.M)
    expect(code == 0, "schemathesis found something:\n", out[found.start() if found else 0 :], err)
    expect("operations" in out.lower(), "nothing was tested\n", out)


def the_document_holds(server):
    tested(server, CHECKS, SECS)
    added = re.findall(r'msg="an endpoint of webhooks was added".* url=(\S+)', server.log.read_text(errors="replace"))
    expect(added, "no endpoint of webhooks was made")
    for url in added:
        expect(re.match(r"https?://127\.0\.0\.1:9(/|$|\?|#)", url), "an endpoint somewhere else:", url)


def what_does_not_fit_is_refused(server):
    """But for what may come as a form, where anything can be a file."""
    tested(server, "negative_data_rejection", 30, "--exclude-operation-id", "sendMessage", "--exclude-operation-id", "sendBatch")


def what_is_taken_fits(server):
    """Files in base64 and dates, where the document says it by a pattern."""
    base = f"http://{HOST}:{server.http}/webapi/v1"
    schemas = json.loads(succeed("curl", "-sS", f"{base}/openapi.json"))["components"]["schemas"]
    content = schemas["Attachment"]["properties"]["content"]["pattern"]
    date = schemas["NewMessage"]["properties"]["date"]["pattern"]

    def holds(pattern, text, more):
        message = {"from": {"address": USER}, "to": [{"address": "用户@例え.jp"}], "text": "x", **more}
        out = succeed("curl", "-sS", "-o", "/dev/null", "-w", "%{http_code}", "-u", f"{USER}:{PASSWORD}", f"{base}/messages", "--json", "@-", stdin=json.dumps(message))
        same(bool(re.search(pattern, text)), out == "200", f"{text!r}, which is answered {out}")

    for text in ["aGk=", "Y\nWJj", "\r\naG\r\nk\n=\n", "YQ=\n=", "", "aGk", "a k=", "aGl=", "aGk=aGk=", "=="]:
        holds(content, text, {"attachments": [{"content": text}]})
    for year in ["0000", "0001", "1899", "1900", "1999", "2000", "9999"]:
        time = f"{year}-01-01T00:00:00+01:00"
        holds(date, time, {"date": time})


if __name__ == "__main__":
    run(the_document_holds, what_does_not_fit_is_refused, what_is_taken_fits)
