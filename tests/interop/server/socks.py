"""SOCKS5 servers of others: microsocks, which knows logins, and Dante, which has rules and writes down whom it was asked for."""

import os
import subprocess

from . import HOST, expect, need
from .sending import listens, until
from .zones import free_port

need("microsocks", "danted")


class Proxy:
    """A program that listens at a port."""

    def __init__(self, scratch, name, words):
        self.port, self.log, self.words = free_port(), scratch / f"{name}.log", words
        self.process = None

    def start(self):
        with open(self.log, "wb") as log:
            words = [str(w) for w in self.words(self.port)]
            # Its own group: Dante is several processes.
            self.process = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)
        until(lambda: listens(HOST, self.port) or self.process.poll() is not None, self.said)
        expect(self.process.poll() is None, self.words, "ended:", self.said())
        return self

    def said(self):
        return self.log.read_text(errors="replace")

    def stop(self):
        if self.process:
            os.killpg(self.process.pid, 9)
            self.process.wait()


def microsocks(scratch, name, source, *more):
    """Connects from this address; `more`: its options."""
    return Proxy(scratch, name, lambda port: ["microsocks", "-i", HOST, "-p", port, "-b", source, *more])


def dante(scratch, blocked):
    """Connects to all of this machine but one address."""
    def words(port):
        configuration = scratch / "danted.conf"
        configuration.write_text(f"""logoutput: stdout
internal: {HOST} port = {port}
external: lo
clientmethod: none
socksmethod: none
user.privileged: root
user.unprivileged: nobody
client pass {{
  from: 127.0.0.0/8 to: 127.0.0.0/8
}}
socks block {{
  from: 127.0.0.0/8 to: {blocked}/32
  log: connect
}}
socks pass {{
  from: 127.0.0.0/8 to: 127.0.0.0/8
  command: connect
  log: connect
}}
""")
        return ["danted", "-f", configuration, "-N", 1]

    return Proxy(scratch, "danted", words)
