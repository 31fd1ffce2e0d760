"""An OpenDKIM of its own, for Postfix to ask (milter): it looks up keys by unbound and says in Authentication-Results what it finds."""

import subprocess

from . import HOST, expect, need
from .sending import listens, until
from .zones import free_port

need("opendkim")


class OpenDkim:
    """`resolver`: the port of unbound."""

    def __init__(self, scratch, resolver):
        self.port, self.folder = free_port(), scratch / "opendkim"
        self.folder.mkdir()
        self.process = None
        unbound, self.configuration = self.folder / "unbound.conf", self.folder / "opendkim.conf"
        unbound.write_text(f'server:\n  do-not-query-localhost: no\nforward-zone:\n  name: "."\n  forward-addr: {HOST}@{resolver}\n')
        self.configuration.write_text(f"""Mode v
Syslog no
Socket inet:{self.port}@{HOST}
AuthservID opendkim.test
AlwaysAddARHeader yes
ResolverConfiguration {unbound}
InternalHosts 192.0.2.1
UserID nobody
""")

    def start(self):
        log = open(self.folder / "opendkim.log", "wb")
        self.process = subprocess.Popen(["opendkim", "-f", "-x", str(self.configuration)], stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        log.close()
        said = self.folder / "opendkim.log"
        until(lambda: listens(HOST, self.port) or self.process.poll() is not None, said.read_text)
        expect(self.process.poll() is None, "OpenDKIM ended:", said.read_text())
        return self

    def stop(self):
        if self.process:
            self.process.kill()
            self.process.wait()
