"""Zones served by knot and resolved by unbound, for scripts that need names as they are out there."""

import random
import socket
import subprocess
import time

from . import HOST, Failed, expect, succeed

APEX = """$ORIGIN {zone}.
$TTL 300
@ SOA ns.{zone}. hostmaster.{zone}. 1 3600 600 86400 60
@ NS ns
ns A 127.0.0.1
"""


def free_port():
    """A port of 127.0.0.1 that is free for UDP and TCP now. It is given once; and it is below 32,768, where Linux begins to take ports of clients: whoever
    listens there may do so later, and again after a restart."""
    for port in PORTS:
        with socket.socket(type=socket.SOCK_DGRAM) as udp, socket.socket() as tcp:
            # As servers bind: connections that linger do not matter.
            tcp.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                udp.bind((HOST, port))
                tcp.bind((HOST, port))
            except OSError:
                continue
            return port
    raise Failed("no free port")


PORTS = iter(random.sample(range(10_000, 32_000), 2_000))


class Daemons:
    """knotd with the zones, some of them signed, and unbound that asks it, with keys of others for those that are wrong."""

    def __init__(self, scratch, zones, signed, wrong=()):
        self.scratch, self.processes = scratch, []
        self.zones, self.signed, self.wrong = zones, signed, wrong
        self.knot, self.unbound = free_port(), free_port()

    def start(self):
        anchors = self.start_knot()
        self.start_unbound(anchors)

    def start_knot(self):
        folder = self.scratch / "knot"
        folder.mkdir()
        zones = ""
        for zone, text in self.zones.items():
            (folder / f"{zone}.zone").write_text(text.format(zone=zone))
            zones += f"  - domain: {zone}\n    zonefile-sync: -1\n    zonefile-load: difference-no-serial\n    journal-content: all\n"
            zones += "    dnssec-signing: on\n    dnssec-policy: ours\n" if zone in self.signed else ""
        configuration = folder / "knot.conf"
        configuration.write_text(f"""server:
  listen: {HOST}@{self.knot}
  rundir: {folder}
  udp-workers: 1
  tcp-workers: 1
  background-workers: 1
log:
  - target: stdout
    any: info
database:
  storage: {folder}
policy:
  - id: ours
    manual: on
    single-type-signing: on
    algorithm: ecdsap256sha256
template:
  - id: default
    storage: {folder}
    file: "%s.zone"
zone:
{zones}""")
        anchors = {}
        for zone in self.signed:
            succeed("keymgr", "-c", configuration, zone, "generate", "algorithm=ecdsap256sha256", "ksk=yes", "zsk=yes")
            all_ds = succeed("keymgr", "-c", configuration, zone, "ds")
            anchors[zone] = next(line for line in all_ds.splitlines() if " 13 2 " in line)
        self.spawn("knotd", "-c", configuration)
        return anchors

    def start_unbound(self, anchors):
        folder = self.scratch / "unbound"
        folder.mkdir()
        for zone in self.wrong:
            # Another digest than that of the zone's key.
            words = anchors[zone].split()
            anchors[zone] = " ".join(words[:-1] + [words[-1][::-1]])
        stubs = "".join(f"stub-zone:\n  name: {zone}\n  stub-addr: {HOST}@{self.knot}\n" for zone in self.zones)
        trusted = "".join(f'  trust-anchor: "{anchor}"\n' for anchor in anchors.values())
        configuration = folder / "unbound.conf"
        configuration.write_text(f"""server:
  interface: {HOST}@{self.unbound}
  username: ""
  chroot: ""
  directory: {folder}
  pidfile: ""
  use-syslog: no
  num-threads: 1
  msg-cache-size: 1m
  rrset-cache-size: 1m
  module-config: "validator iterator"
  do-not-query-localhost: no
  ede: yes
  val-log-level: 1
{trusted}  local-zone: "test." nodefault
  local-zone: "2.0.192.in-addr.arpa." nodefault
remote-control:
  control-enable: no
{stubs}""")
        self.spawn("unbound", "-d", "-c", configuration)
        end = time.monotonic() + 40
        while not self.answers():
            expect(time.monotonic() < end, "unbound and knot do not answer")
            time.sleep(0.05)

    def answers(self):
        """Whether unbound finds what knot has."""
        with socket.socket(type=socket.SOCK_DGRAM) as probe:
            probe.settimeout(1)
            probe.connect((HOST, self.unbound))
            try:
                probe.send(b"\0\1\1\0\0\1\0\0\0\0\0\0\6signed\4test\0\0\x0f\0\1")
                answer = probe.recv(4096)
            except OSError:
                return False
            return answer[3] & 15 == 0 and answer[7] > 0

    def spawn(self, *words):
        log = open(self.scratch / f"{words[0]}.log", "wb")
        process = subprocess.Popen([str(w) for w in words], stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        log.close()
        self.processes.append(process)

    def stop(self):
        for process in self.processes:
            process.kill()
            process.wait()
