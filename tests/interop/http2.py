"""HTTP/2 as Node's client speaks it: the API over it, hundreds of requests of one connection, a large one beside small ones, and the end of the
server while one is under way. RFC 9113.
"""

import json
import subprocess
from pathlib import Path

from server import PASSWORD, USER, expect, need, run, same

need("node")


def one_connection_does_it_all(server):
    words = ["node", str(Path(__file__).parent / "node" / "http2.mjs"), str(server.offset + 443), str(server.certificate), f"{USER}:{PASSWORD}"]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as node:
        try:
            said = node.stdout.readline()
            same(said, "stop\n", "what the client says first")
            same(server.metric("ringmail_panics_total"), 0.0, "panics of the server")
            server.process.terminate()
            out, _ = node.communicate(timeout=60)
        finally:
            node.kill()
    same(node.returncode, 0, "exit code of the client")
    # A second signal would end it at once.
    same(server.wait(), 0, "exit code of the server")
    told = json.loads(out)
    same((told["alive"], told["sent"], told["last"]), (300, [200, 200, 200], 200), "what was answered")
    expect(told["paths"] > 10, "the document is not whole", told)


if __name__ == "__main__":
    run(one_connection_does_it_all)
