"""The world of tests/bypass: a VM, its host with awsocks, and an internet that answers at every address and for every
name, so that whatever slips through is seen.

A case is a file of tests/bypass with attempt(t). t (class Try) speaks to the proxy from the VM. When attempt() returns,
nothing may have arrived anywhere, no name may have been asked for, and every audit line must be a refusal, but for what
the case names with t.passes(...).

    listener   rules
    allow      default: block, and a few names (ALLOW below); what a sandbox has
    deny       default: direct, and a few blocked (DENY)
    aws        default: proxy; the AWS endpoint is a witness that never answers
    open_host  default: direct; allow-host for this host's own name
    sni        default: direct, check-sni
    box        as allow, on a Unix socket
"""
import collections
import contextlib
import json
import os
import re
import socket
import struct
import sys

import client
import conftest
import harness
import netns
from witness import Witness

HERE = os.path.dirname(os.path.abspath(__file__))
GATEWAY = netns.GATEWAY
ELSEWHERE = "203.0.113.10"      # where all names of the internet lead
PORTS = {"allow": 1080, "deny": 1081, "aws": 1082, "open_host": 1083, "sni": 1084}

ALLOW = r"""
default: block
rules:
  - { match: "no.wild.example", route: block, reason: "not this one" }
  - { match: "port.example:443", route: direct }
  - { match: "allowed.example", route: direct }
  - { match: "*.wild.example", route: direct }
  - { match: ".sub.example", route: direct }
  - { match: "re:build[0-9]+\\.example", route: direct }
  - { match: "198.51.100.0/24", port: [80], route: direct }
"""
DENY = r"""
default: direct
block: ["blocked.example", "*.bad.example", "203.0.113.66", "2001:db8::66"]
rules:
  - { match: "re:evil.*\\.example", route: block }
  - { match: "bücher.example", route: block }
"""
OPEN_HOST = r"""
default: direct
rules:
  - { match: "192.168.64.1", route: direct, allow-host: true }
  - { match: "127.0.0.1:8080", route: direct, allow-host: true }
"""
CONFIG = """
listeners:
  - {{ address: "{gateway}:1080", allow-from: ["192.168.64.0/24"], rules: allow.yaml, name: allow }}
  - {{ address: "{gateway}:1081", allow-from: ["192.168.64.0/24"], rules: deny.yaml, name: deny }}
  - {{ address: "{gateway}:1082", allow-from: ["192.168.64.0/24"], rules: aws.yaml, name: aws }}
  - {{ address: "{gateway}:1083", allow-from: ["192.168.64.0/24"], rules: open.yaml, name: open_host }}
  - {{ address: "{gateway}:1084", allow-from: ["192.168.64.0/24"], rules: direct.yaml, name: sni, check-sni: true }}
  - {{ address: "unix:{folder}/box/proxy.sock", rules: allow.yaml, name: box }}
  - {{ address: "127.0.0.1:1085", rules: direct.yaml, name: own }}
"""

Answer = collections.namedtuple("Answer", "code text")
"""HTTP: status and all that was said. SOCKS: the reply's code; "" """


class World:
    def __init__(self, folder):
        self.folder = str(folder)
        self.net = netns.World(folder)
        self.children, self.proxy = [], None
        self.lasting = set()    # what awsocks may send by itself, at any time
        try:
            self._wire()
            self.far = self._witness("net", {"tcp": [80, 443, 22, 8080, 1080], "udp": [7, 80],
                                             "dns": [["203.0.113.53", 53]]})
            own = [[a, p] for a in ("127.0.0.1", GATEWAY, netns.NET_HOST, "10.9.0.1") for p in (80, 22, 81, 8080)]
            self.near = self._witness("host", {"tcp": [["::1", 80], ["127.0.0.1", 4599], *own],
                                               "udp": [["127.0.0.1", 7], [GATEWAY, 7]]})
            self.vm = self._witness("vm", {"tcp": [["192.168.64.3", 80]]})
            self._start()
        except BaseException:
            self.close()
            raise

    def _wire(self):
        """The internet has every address; the host's way there is its default route."""
        host, net, vm = self.net.host, self.net.net, self.net.vm
        host.address("net0", "2001:db8:1::1/64")
        net.address("eth0", "2001:db8:1::2/64")
        for address in (ELSEWHERE, "203.0.113.9", "203.0.113.53"):
            net.address("eth0", f"{address}/24")
        vm.address("eth0", "192.168.64.3/24")
        host.run(["ip", "route", "add", "default", "via", netns.NET])
        host.run(["ip", "-6", "route", "add", "default", "via", "2001:db8:1::2"])
        net.run(["ip", "route", "add", "local", "0.0.0.0/0", "dev", "lo"])
        net.run(["ip", "-6", "route", "add", "local", "::/0", "dev", "lo"])
        host.run(["ip", "link", "add", "br9", "type", "bridge"])
        host.address("br9", "10.9.0.1/24")
        host.run(["ip", "link", "set", "br9", "up"])
        host.bind("resolv.conf", "nameserver 203.0.113.53\noptions timeout:10 attempts:2\n")
        if os.path.exists("/etc/nsswitch.conf"):
            host.bind("nsswitch.conf", "hosts: files dns\n")

    def _witness(self, where, wanted):
        path = os.path.join(self.folder, f"{where}.sock")
        space = getattr(self.net, where)
        argv = [*space.wrap, sys.executable, "-B", os.path.join(HERE, "witness.py"), path, json.dumps(wanted)]
        child = harness.Process(argv, self.folder, f"witness-{where}")
        self.children.append(child)
        witness = Witness(path)
        child.wait_for(witness.ready, what=f"the witness in {where}")
        return witness

    def _start(self):
        home = os.path.join(self.folder, "home")
        os.makedirs(os.path.join(home, "audit"))
        os.mkdir(os.path.join(home, "box"), 0o700)
        for name, text in (("allow", ALLOW), ("deny", DENY), ("aws", "default: proxy\n"), ("open", OPEN_HOST),
                           ("direct", "default: direct\n")):
            with open(os.path.join(home, f"{name}.yaml"), "w", encoding="utf-8") as f:
                f.write(text)
        with open(os.path.join(home, "config.yaml"), "w", encoding="utf-8") as f:
            f.write(CONFIG.format(gateway=GATEWAY, folder=home))
        env = conftest.clean_environment(home)
        env.update({"AWS_ENDPOINT_URL": "http://127.0.0.1:4599", "AWS_REGION": conftest.REGION,
                    "AWS_ACCESS_KEY_ID": "AKIDEXAMPLE", "AWS_SECRET_ACCESS_KEY": "secret"})
        argv = ["start", "--config", os.path.join(home, "config.yaml"), "--audit-log",
                os.path.join(home, "audit", "audit.jsonl"), "--grace", "200ms", "--instance-id", conftest.INSTANCE]
        self.proxy = conftest.Awsocks(home, argv, env, self.net.host.wrap)
        self.box = os.path.join(home, "box", "proxy.sock")
        self.control = os.path.join(env["XDG_RUNTIME_DIR"], "awsocks")

    def close(self):
        if self.proxy:
            self.proxy.kill()
        for child in self.children:
            child.kill()
        self.net.close()

    def events(self):
        """What everyone saw so far, by who it was."""
        return {who: getattr(self, who).events() for who in ("far", "near", "vm")}


class Try:
    """One case."""

    def __init__(self, world):
        self.world = world
        self.expected = set()
        self.before = world.events()
        self.lines_before = len(world.proxy.audit())
        self.sent_before = {}
        self.sockets = []

    # ---- speaking to the proxy, from the VM ----

    def dial(self, listener="allow"):
        s = client.dial(self.world.box) if listener == "box" else self.world.vm.dial(GATEWAY, PORTS[listener])
        s.settimeout(harness.LIMIT_S)
        self.sockets.append(s)
        return s

    def say(self, data, listener="allow", until=None):
        """All that the proxy says to these bytes, until it closes, or until(it). Without until we end, too."""
        s = self.dial(listener)
        with contextlib.suppress(OSError):      # it may be refused before all is sent; the answer counts
            s.sendall(data if isinstance(data, bytes) else data.encode("latin-1"))
            if not until:
                s.shutdown(socket.SHUT_WR)
        out, more = b"", b"-"
        while more and not (until and until(out)):
            try:
                more = s.recv(1 << 16)
            except ConnectionResetError:
                more = b""
            out += more
        return out

    def http(self, data, listener="allow"):
        data = data if isinstance(data, bytes) else data.encode("latin-1")
        # Who waits for a tunnel and ends has gone away.
        opened = re.compile(rb"HTTP/1.1 200 .*\r\n\r\n", re.S).match if data.startswith(b"CONNECT") else None
        out = self.say(data, listener, opened).decode("latin-1")
        return Answer(int(out.split(" ")[1]) if out.startswith("HTTP/1.1 ") else 0, out)

    def connect(self, target, listener="allow", headers=""):
        return self.http(f"CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n{headers}\r\n", listener)

    def get(self, url, listener="allow", headers="", method="GET"):
        host = url.partition("://")[2].partition("/")[0]
        return self.http(f"{method} {url} HTTP/1.1\r\nHost: {host}\r\n{headers}\r\n", listener)

    def socks5(self, host, port, listener="allow"):
        """host: text goes as a name, whatever it looks like; bytes: ATYP and address."""
        if isinstance(host, str):
            name = host.encode()
            host = b"\3" + bytes([len(name)]) + name
        return self.socks5_raw(b"\5\1\0" + host + struct.pack(">H", port), listener)

    def socks5_raw(self, request, listener="allow"):
        out = self.say(b"\5\1\0" + request, listener, lambda out: len(out) >= 12)
        return Answer(out[3] if len(out) > 3 else None, "")

    def socks4(self, address, port, name=None, listener="allow", user=b"me"):
        tail = b"" if name is None else name + b"\0"
        out = self.say(b"\4\1" + struct.pack(">H", port) + address + user + b"\0" + tail, listener,
                       lambda out: len(out) >= 8)
        return Answer(out[1] if len(out) > 1 else None, "")

    def tunnel(self, host, port, listener):
        """An open tunnel (CONNECT)."""
        s = self.dial(listener)
        s.sendall(f"CONNECT {host}:{port} HTTP/1.1\r\n\r\n".encode())
        head = client.read_head(s)
        assert b" 200 " in head, head
        return s

    def associate(self, listener):
        """A UDP association: send(host, port, data)."""
        tcp = self.dial(listener)
        tcp.sendall(b"\5\1\0\5\3\0\1" + bytes(6))
        assert client.read_exactly(tcp, 2) == b"\5\0"
        reply = client.read_exactly(tcp, 10)
        assert reply[1] == 0, reply
        udp = self.world.vm.datagram(GATEWAY, struct.unpack(">H", reply[8:])[0])
        self.sockets.append(udp)

        def send(host, port, data=b"x"):
            udp.send(b"\0\0\0" + client.socks5_address(host) + struct.pack(">H", port) + data)
        return send

    # ---- what must be so ----

    def refused(self, answer, code, says=""):
        codes = code if isinstance(code, tuple) else (code,)
        assert answer.code in codes, answer
        assert says in answer.text, answer
        return answer

    def denied(self, *answers):
        """HTTP 403, SOCKS5 reply 2, SOCKS4 reply 91: by a rule or the guard."""
        for answer in answers:
            self.refused(answer, (403, 2, 91))

    def passes(self, *events):
        """What may leave, as witness.py writes it; and then must."""
        self.expected.update(events)

    def passes_from_now_on(self, *events):
        """What may leave in this case and after it."""
        self.passes(*events)
        self.world.lasting.update(events)

    def sent(self, at):
        """The bytes of this case that came to that place of the internet."""
        whole = self.world.far.sent(at)
        if at not in self.sent_before:
            raise AssertionError("t.watch() it first")
        return whole[self.sent_before[at]:]

    def watch(self, at):
        self.sent_before[at] = len(self.world.far.sent(at))

    def audit(self):
        return self.world.proxy.audit()[self.lines_before:]

    def audited(self, **fields):
        """Waits for an audit line with these fields (error: a part of it)."""
        def fits(line):
            return all(v in str(line.get(k)) if k == "error" else line.get(k) == v for k, v in fields.items())
        return harness.wait_for(lambda: [line for line in self.audit() if fits(line)], what=f"audit line {fields}")

    def seen(self):
        now = self.world.events()
        return [e for who, events in now.items() for e in events[len(self.before[who]):]]

    def end(self):
        """Ends all connections, and waits until the proxy knows: their audit lines are not to be the next case's."""
        for s in self.sockets:
            s.close()
        harness.wait_for(lambda: self.world.proxy.status()["connections"] == 0, what="the connections' end")

    def check(self):
        """The runner's, at the end."""
        self.end()
        lines = harness.wait_for(self.audit, what="an audit line")
        harness.wait_for(lambda: self.expected <= set(self.seen()), what=f"what is to leave: {self.expected}")
        seen = set(self.seen()) - (self.world.lasting - self.expected)
        assert seen == self.expected, (seen, self.expected, lines)
        if not self.expected:
            # A UDP association itself has no host.
            assert all(line["action"] in ("block", "refuse") for line in lines if line.get("host")), lines
