"""An agent that behaves badly, for the driver `process`: vm_guest.py KIND, then what awsocks gives its agent. The link
is standard input; frames are as docs/PROTOCOL.vm has them.
"""
import os
import socket
import struct
import sys

HELLO, NETWORK, LOG, OPEN, OPENED, DATA, WINDOW = 0x01, 0x03, 0x06, 0x22, 0x23, 0x30, 0x31


def frame(kind, payload=b"", stream=0, length=None):
    return struct.pack(">II", kind << 24 | (len(payload) if length is None else length), stream) + payload


def nonce_of(argv):
    """The first line of the settings that awsocks has written for its agent."""
    for word in reversed(argv):
        path = word.split("=", 1)[-1]
        if os.path.isfile(path):
            with open(path, encoding="latin-1") as f:
                for line in f:
                    if line.startswith("nonce="):
                        return bytes.fromhex(line[6:].strip())
    sys.exit("no nonce")


def hello(nonce, least=1, most=1):
    return frame(HELLO, struct.pack(">HHIII", least, most, 0, 65536, 100) + nonce + b"0.1.0 test")


def network():
    address = b"\4" + socket.inet_aton("203.0.113.7")
    return frame(NETWORK, b"\1\30" + address + b"\4" + socket.inet_aton("203.0.113.2") + b"\0")


class Guest:
    def __init__(self, argv):
        self.argv, self.s = argv, socket.socket(fileno=os.dup(0))

    def say(self, data):
        self.s.sendall(data)

    def read(self, n):
        out = b""
        while len(out) < n:
            piece = self.s.recv(n - len(out))
            if not piece:
                sys.exit(0)
            out += piece
        return out

    def next(self):
        kind, stream = struct.unpack(">II", self.read(8))
        return kind >> 24, stream, self.read(kind & 0xffffff)

    def good(self):
        self.say(hello(nonce_of(self.argv)) + network())

    def opened(self):
        """As far as a stream that is open; its number."""
        self.good()
        while True:
            kind, stream, asked = self.next()
            if kind == OPEN:        # its port, and of its addresses the first: another one would be an end by itself
                self.say(frame(OPENED, b"\0" + asked[1:3] + b"\1" + asked[4:5 + {4: 4, 6: 16}[asked[4]]], stream))
                return stream

    # ---- the kinds

    def zeros(self):
        self.say(bytes(1 << 20))

    def random(self):
        self.say(os.urandom(1 << 20))

    def http(self):
        self.say(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n" * 1000)

    def half(self):
        self.say(hello(nonce_of(self.argv))[:20])
        sys.exit(0)

    def nonce(self):
        self.say(hello(b"\x55" * 32) + network())

    def version(self):
        self.say(hello(nonce_of(self.argv), 99, 99))

    def window(self):
        """More than was granted."""
        stream = self.opened()
        for _ in range(1000):
            self.say(frame(DATA, bytes(32768), stream))

    def credit(self):
        """Credit without end."""
        stream = self.opened()
        for _ in range(100000):
            self.say(frame(WINDOW, b"\x7f\xff\xff\xff", stream))

    def stream(self):
        """Of a stream that nobody has opened."""
        self.good()
        self.say(frame(DATA, b"x" * 100, 4711))

    def length(self):
        self.good()
        self.say(frame(LOG, b"\2" + b"x" * 100, length=0xffffff) * 100)

    def flood(self):
        """Nothing but its log, for a while; and it takes nothing."""
        self.good()
        for _ in range(20000):
            self.say(frame(LOG, b"\2" + b"\x1b[2J\r\nlevel=error x" * 20))


def main():
    guest = Guest(sys.argv[2:])
    try:
        getattr(guest, sys.argv[1])()
        while True:             # awsocks has had enough, or it ends here
            guest.next()
    except OSError:
        pass


if __name__ == "__main__":
    main()
