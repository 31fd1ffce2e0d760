"""Schemathesis against the document of version 1 of the API: whatever fits the document, and much that does not, is answered as the document
says, and nothing of it is a fault of the server. OpenAPI 3.1, RFC 9457.
"""

import sys
import tempfile
from pathlib import Path

from server import HOST, PASSWORD, USER, command, expect, run

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
    code, out, err = command(*words, timeout=secs + 60, cwd=tempfile.gettempdir())
    expect(code == 0, "schemathesis found something\n", out[-20000:], err)
    expect("operations" in out.lower(), "nothing was tested\n", out)


def the_document_holds(server):
    tested(server, CHECKS, SECS)


def what_does_not_fit_is_refused(server):
    """But for what may come as a form, where anything can be a file."""
    tested(server, "negative_data_rejection", 30, "--exclude-operation-id", "sendMessage", "--exclude-operation-id", "sendBatch")


if __name__ == "__main__":
    run(the_document_holds, what_does_not_fit_is_refused)
