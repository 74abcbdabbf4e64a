"""Who sees what arrives: TCP and UDP listeners and a DNS server that remember everything, and a dialler for
tests that are in another network namespace. It runs inside one of tests/integration/netns.py's:

    witness.py CONTROL '{"tcp": [80, ["127.0.0.1", 22]], "udp": [7], "dns": 53}'

A port alone is every address. Asked over CONTROL, a Unix socket, by Witness (one JSON object each way):

    events()    "tcp 203.0.113.10:80", "udp ADDRESS:PORT", "dns NAME"; all until now, in order
    sent(at)    the bytes that came to that address and port
    dial(...)   a connected socket of that namespace; datagram() one for UDP

An HTTP request is answered by 200 and its head, or as its path says: /redirect?URL, /hold (never). Names are answered
by NAMES below, all others below "example" by 203.0.113.10.
"""
import contextlib
import json
import os
import selectors
import socket
import struct
import sys

ELSEWHERE = "203.0.113.10"
# Each list is one answer; the last one is given again. Text with letters is a CNAME.
NAMES = {
    "blocked.example": [["203.0.113.9"]],
    "rebind.example": [[ELSEWHERE], ["127.0.0.1"]],
    "both.example": [[ELSEWHERE, "127.0.0.1"]],
    "loop.example": [["127.0.0.1"]],
    "alias.example": [["meta.example", "169.254.169.254"]],
    "meta.example": [["169.254.169.254"]],
    "wire.example": [["168.63.129.16"]],
    "six.example": [["::ffff:127.0.0.1", "64:ff9b::a9fe:a9fe", "2002:7f00:1::1", "::1", "fd00:ec2::254"]],
    "gateway.example": [["192.168.64.1"]],
    "outside.example": [["203.0.113.1"]],
    "sibling.example": [["192.168.64.3"]],
    "bridge.example": [["10.9.0.5"]],
    "any.example": [["0.0.0.0"]],
}


def encode(name):
    return b"".join(bytes([len(part)]) + part.encode() for part in name.split(".")) + b"\0"


def record(owner, value, kind):
    """One answer of the wanted kind (1: A, 28: AAAA); b"" when it is of another."""
    for number, family in ((1, socket.AF_INET), (28, socket.AF_INET6)):
        try:
            data = socket.inet_pton(family, value)
        except OSError:
            continue
        return owner + struct.pack(">HHIH", number, 1, 0, len(data)) + data if number == kind else b""
    data = encode(value)
    return owner + struct.pack(">HHIH", 5, 1, 0, len(data)) + data


class Server:
    def __init__(self, control, wanted):
        self.selector = selectors.DefaultSelector()
        self.events, self.bytes, self.asked, self.open = [], {}, {}, []
        for key, what in (("tcp", self.accept), ("udp", self.datagram), ("dns", self.question)):
            for place in wanted.get(key, []):
                self.listen(key, *(("::", place) if isinstance(place, int) else place), what)
        self.control = self.watch(socket.socket(socket.AF_UNIX), self.command)
        self.control.bind(control)
        self.control.listen()

    def watch(self, s, what):
        self.selector.register(s, selectors.EVENT_READ, what)
        return s

    def listen(self, key, host, port, what):
        s = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET,
                          socket.SOCK_STREAM if key == "tcp" else socket.SOCK_DGRAM)
        s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if s.family == socket.AF_INET6:       # tells to which address a datagram came
            s.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVPKTINFO, 1)
        s.bind((host, port))
        if key == "tcp":
            s.listen(512)
        s.setblocking(False)
        self.watch(s, what)

    @staticmethod
    def name_of(address):
        host, port = address[0].removeprefix("::ffff:"), address[1]
        return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"

    def accept(self, listener):
        s, _ = listener.accept()
        at = self.name_of(s.getsockname())
        self.events.append(f"tcp {at}")
        self.open.append(s)
        pending = bytearray()

        def read(_):
            try:
                data = s.recv(1 << 16)
            except OSError:
                data = b""
            if not data:
                self.selector.unregister(s)
                s.close()
                return
            self.bytes[at] = self.bytes.get(at, b"") + data
            pending.extend(data)
            while b"\r\n\r\n" in pending:
                head, _, rest = bytes(pending).partition(b"\r\n\r\n")
                pending[:] = rest
                self.answer(s, head)
        self.watch(s, read)

    @staticmethod
    def answer(s, head):
        target = head.split(b" ")[1:2] or [b""]
        location = target[0].partition(b"/redirect?")[2]
        if target[0] == b"/hold":
            return
        status = b"302 Found\r\nLocation: " + location if location else b"200 OK"
        with contextlib.suppress(OSError):
            s.sendall(b"HTTP/1.1 %s\r\nContent-Length: %d\r\n\r\n%s" % (status, len(head), head))

    def datagram(self, s):
        data, more, _, _ = s.recvmsg(1 << 16, 1000)
        at = s.getsockname()
        for _, _, info in more:
            at = (socket.inet_ntop(socket.AF_INET6, info[:16]), at[1])
        self.events.append(f"udp {self.name_of(at)} {data!r}")

    def question(self, s):
        data, sender = s.recvfrom(4096)
        labels, at = [], 12
        while data[at]:
            labels.append(data[at + 1:at + 1 + data[at]].decode("latin-1"))
            at += data[at] + 1
        kind, end = struct.unpack(">H", data[at + 1:at + 3])[0], at + 5
        name = ".".join(labels).lower()
        self.events.append(f"dns {name}")
        answers = NAMES.get(name, [[ELSEWHERE]] if name.endswith(".example") else [[]])
        turn = self.asked.get((name, kind), 0)
        self.asked[(name, kind)] = turn + 1
        records, owner = [], b"\xc0\x0c"
        for value in answers[min(turn, len(answers) - 1)]:
            records.append(record(owner, value, kind))
            if value.replace(".", "").isalpha():
                owner = encode(value)
        records = [r for r in records if r]
        s.sendto(data[:2] + struct.pack(">HHHHH", 0x8580, 1, len(records), 0, 0) + data[12:end] + b"".join(records),
                 sender)

    def command(self, listener):
        """One question of the test's, after all that has come until now has been taken."""
        s, _ = listener.accept()
        with s:
            ask = json.loads(s.recv(1 << 16))
            self.settle()
            if ask["do"] == "sent":
                s.sendall(json.dumps(self.bytes.get(ask["at"], b"").decode("latin-1")).encode())
            elif ask["do"] == "events":
                s.sendall(json.dumps(self.events).encode())
            else:
                new = socket.socket(socket.AF_INET6 if ":" in ask["to"][0] else socket.AF_INET,
                                    socket.SOCK_STREAM if ask["do"] == "tcp" else socket.SOCK_DGRAM)
                with new:
                    new.settimeout(5)
                    new.connect(tuple(ask["to"]))
                    socket.send_fds(s, [b"{}"], [new.fileno()])

    def turn(self, wait):
        ready = [(k.data, k.fileobj) for k, _ in self.selector.select(wait)]
        # A command takes what has come meanwhile, so it is the last.
        for what, s in sorted(ready, key=lambda one: one[1] is self.control):
            if s is not self.control or wait is None:
                what(s)
        return [s for _, s in ready if s is not self.control]

    def settle(self):
        while self.turn(0):
            pass

    def run(self):
        while True:
            self.turn(None)


class Witness:
    """The other end of CONTROL."""

    def __init__(self, path):
        self.path = path

    def ready(self):
        try:
            self.events()
        except OSError:
            return False
        return True

    def _ask(self, fds=0, **what):
        with socket.socket(socket.AF_UNIX) as s:
            s.settimeout(20)
            s.connect(self.path)
            s.sendall(json.dumps(what).encode())
            if fds:
                data, got, _, _ = socket.recv_fds(s, 100, 1)
                if not got:
                    raise ConnectionError(f"{what}: {data!r}")
                return socket.socket(fileno=got[0])
            s.shutdown(socket.SHUT_WR)
            return json.loads(b"".join(iter(lambda: s.recv(1 << 16), b"")))

    def events(self):
        return self._ask(do="events")

    def sent(self, at):
        return self._ask(do="sent", at=at).encode("latin-1")

    def dial(self, host, port):
        return self._ask(1, do="tcp", to=[host, port])

    def datagram(self, host, port):
        return self._ask(1, do="udp", to=[host, port])


if __name__ == "__main__":
    if os.path.exists(sys.argv[1]):
        os.unlink(sys.argv[1])
    Server(sys.argv[1], json.loads(sys.argv[2])).run()
