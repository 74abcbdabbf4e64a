"""The VM link's protocol a second time (docs/PROTOCOL.vm), written from its text and not from vm/link.c: a HOST
towards the real agent, and a GUEST towards the real awsocks.

    host = vm_peer.Host(sock, nonce)
    hello = host.hello()                     what the guest says of itself; welcomed if the nonce is right
    host.network()                           the newest NETWORK
    host.resolve("name") -> ["192.0.2.1"]    or raises vm_peer.Refused, with .cause and .text
    stream = host.open([("192.0.2.1", 80)])  or raises vm_peer.Refused
    stream.send(b"..."), .recv(n), .read(), .eof(), .reset(), .stop()

    guest = vm_peer.Guest(sock, nonce)       says HELLO; what it does then is in methods to be overridden

One thread reads; whoever waits does so with a limit. What a reader has not taken holds its window (`stream.hold`).
"""
import ipaddress
import os
import struct
import threading
import time

import harness

HELLO, WELCOME, NETWORK, PING, PONG, LOG, METRICS, SHUTDOWN, GOODBYE = range(1, 10)
RESOLVE, ADDRESSES, OPEN, OPENED, FAILED = range(0x20, 0x25)
DATA, WINDOW, EOF, RESET, STOP = range(0x30, 0x35)
REFUSED, NETUNREACH, HOSTUNREACH, TIMEOUT, NO_NAME, RESOLVER, FORBIDDEN, LIMIT, OTHER = range(1, 10)
SIBLINGS = 1
DATA_MAX, INITIAL = 32 * 1024, 256 * 1024
LEVELS = ("error", "warn", "info", "debug")


class Ended(Exception):
    """The link has ended while somebody waited for something of it."""


class Refused(Exception):
    """A question's FAILED."""

    def __init__(self, cause, text):
        super().__init__(f"cause {cause}: {text}")
        self.cause, self.text = cause, text


class Broken(Exception):
    """The stream was reset by the far end."""


def frame(kind, stream=0, payload=b""):
    return struct.pack(">II", kind << 24 | len(payload), stream) + payload


def put_address(text):
    if not text:
        return b"\0"
    ip = ipaddress.ip_address(text)
    return bytes([ip.version]) + ip.packed


def take_address(data, at):
    """(text or "", where the next field begins)"""
    size = {0: 0, 4: 4, 6: 16}[data[at]]
    ip = data[at + 1:at + 1 + size]
    return str(ipaddress.ip_address(ip)) if size else "", at + 1 + size


def put_addresses(addresses, port, flags=0):
    return struct.pack(">BHB", flags, port, len(addresses)) + b"".join(map(put_address, addresses))


def take_addresses(data):
    """([text], port, flags)"""
    flags, port, count = struct.unpack_from(">BHB", data)
    at, out = 4, []
    for _ in range(count):
        text, at = take_address(data, at)
        out.append(text)
    assert at == len(data), "addresses: its length does not fit"
    return out, port, flags


def hello_of(data):
    least, most, caps, window, streams = struct.unpack_from(">HHIII", data)
    return {"least": least, "most": most, "caps": caps, "window": window, "streams_max": streams,
            "nonce": data[16:48], "agent": data[48:].decode()}


def network_of(data):
    out = {"up": bool(data[0] & 1), "prefix": data[1]}
    out["address"], at = take_address(data, 2)
    out["gateway"], at = take_address(data, at)
    count, at, out["dns"] = data[at], at + 1, []
    for _ in range(count):
        text, at = take_address(data, at)
        out["dns"].append(text)
    out["why"] = data[at:].decode()
    return out


def metrics_of(data):
    names = ("memory_total", "memory_available", "bytes_up", "bytes_down", "streams", "dials", "failed", "uptime_ms")
    return dict(zip(names, struct.unpack(">QQQQIIIQ", data)))


class Stream:
    """One side of an open stream."""

    def __init__(self, link, number, may_send):
        self.link, self.number, self.may_send = link, number, may_send
        self.granted = link.window       # what the peer may still send
        self.data, self.ended, self.broken, self.stopped = bytearray(), False, False, False
        self.got = 0
        self.hold = False                # True: what is read does not open the window again

    def send(self, data, limit_s=harness.LIMIT_S):
        """All of it, as the window allows."""
        data = memoryview(data)
        while data:
            with self.link.changed:
                self.link.until(lambda: self.may_send or self.broken or self.stopped, limit_s, "a window to send")
                if self.broken:
                    raise Broken(f"stream {self.number}")
                if self.stopped:
                    return
                n = min(len(data), self.may_send, DATA_MAX)
                self.may_send -= n
            self.link.send(frame(DATA, self.number, bytes(data[:n])))
            data = data[n:]

    def recv(self, n=1 << 20, limit_s=harness.LIMIT_S):
        """Some bytes; b"" at the end."""
        with self.link.changed:
            self.link.until(lambda: self.data or self.ended or self.broken, limit_s, f"data of stream {self.number}")
            out = bytes(self.data[:n])
            del self.data[:len(out)]
            if not out and self.broken:
                raise Broken(f"stream {self.number}")
            grant = 0 if self.hold or self.ended or self.broken else len(out)
            self.granted += grant
        if grant:
            self.link.send(frame(WINDOW, self.number, struct.pack(">I", grant)))
        return out

    def exactly(self, n):
        out = b""
        while len(out) < n:
            piece = self.recv(n - len(out))
            assert piece, f"the end after {len(out)} bytes of {n}"
            out += piece
        return out

    def read(self):
        """To the end."""
        return b"".join(iter(self.recv, b""))

    def eof(self):
        self.link.send(frame(EOF, self.number))

    def reset(self):
        self.link.send(frame(RESET, self.number))

    def stop(self):
        self.link.send(frame(STOP, self.number))

    def wait_broken(self, limit_s=harness.LIMIT_S):
        with self.link.changed:
            self.link.until(lambda: self.broken, limit_s, f"the reset of stream {self.number}")


class Link:
    """What both roles have. `log`: [(level, text)]; `frames`: how many of each type came."""

    def __init__(self, sock, window=INITIAL):
        self.sock, self.window = sock, window
        self.changed = threading.Condition()
        self.writing = threading.Lock()
        self.streams, self.frames, self.log, self.metrics, self.pongs = {}, {}, [], [], []
        self.goodbye, self.over = None, False
        self.peer_window = None
        self.trouble = None              # what this side found wrong with the peer
        self.first = None                # type of the first frame
        threading.Thread(target=self._run, daemon=True).start()

    def send(self, data):
        with self.writing:
            try:
                self.sock.sendall(data)
            except OSError as e:
                raise Ended(str(e)) from e

    def until(self, condition, limit_s, what):
        """With the lock."""
        end = time.monotonic() + limit_s
        while not condition():
            if self.trouble:
                raise harness.Failed(f"the peer broke the protocol: {self.trouble}")
            if self.over:
                raise Ended(f"the link ended while {what} was waited for; goodbye: {self.goodbye}")
            left = end - time.monotonic()
            if left <= 0:
                raise harness.Failed(f"waited {limit_s} s for {what}; log: {self.log[-5:]}")
            self.changed.wait(left)

    def wait_for(self, condition, limit_s=harness.LIMIT_S, what="a frame"):
        with self.changed:
            self.until(condition, limit_s, what)

    def wait_over(self, limit_s=harness.LIMIT_S):
        with self.changed:
            self.changed.wait_for(lambda: self.over, limit_s)
            assert self.over, "the link has not ended"

    def ping(self, limit_s=harness.LIMIT_S):
        token = os.urandom(8)
        self.send(frame(PING, 0, token))
        self.wait_for(lambda: token in self.pongs, limit_s, "a PONG")

    def close(self):
        with self.changed:
            self.over = True
        try:
            self.sock.shutdown(2)
        except OSError:
            pass
        self.sock.close()

    # ---- what comes

    def _exactly(self, n):
        out = bytearray(n)
        view = memoryview(out)
        while view:
            got = self.sock.recv_into(view)
            if not got:
                raise EOFError
            view = view[got:]
        return bytes(out)

    def _run(self):
        try:
            while True:
                head, number = struct.unpack(">II", self._exactly(8))
                payload = self._exactly(head & 0xffffff)
                with self.changed:
                    self.first = self.first or head >> 24
                    self.frames[head >> 24] = self.frames.get(head >> 24, 0) + 1
                    self._take(head >> 24, number, payload)
                    self.changed.notify_all()
        except (OSError, EOFError):
            pass
        except (AssertionError, KeyError, ValueError, struct.error) as e:
            self.trouble = f"{type(e).__name__}: {e}"
        with self.changed:
            self.over = True
            for s in self.streams.values():
                s.broken = True
            self.changed.notify_all()

    def _take(self, kind, number, data):
        if kind in (DATA, WINDOW, EOF, RESET, STOP):
            assert number, "a stream's frame of stream 0"
            if number in self.streams:
                self._take_stream(kind, self.streams[number], data)
            elif kind == RESET:
                self.taken_back(number)
        elif kind == PING:
            threading.Thread(target=self.send, args=(frame(PONG, 0, data),), daemon=True).start()
        elif kind == PONG:
            self.pongs.append(data)
        elif kind == GOODBYE:
            self.goodbye = data.decode()
        else:
            self.take(kind, number, data)

    @staticmethod
    def _take_stream(kind, s, data):
        if kind == DATA:
            assert not s.ended, "data after the end"
            assert data and len(data) <= min(s.granted, DATA_MAX), f"{len(data)} bytes of {s.granted} granted"
            s.granted -= len(data)
            s.got += len(data)
            s.data += data
        elif kind == WINDOW:
            s.may_send += struct.unpack(">I", data)[0]
        elif kind == EOF:
            assert not s.ended, "two ends"
            s.ended = True
        elif kind == STOP:
            s.stopped = True
        else:
            s.broken = True

    def take(self, kind, number, data):
        raise ValueError(f"frame {kind:#x} of stream {number}")

    def taken_back(self, number):
        pass


class Host(Link):
    def __init__(self, sock, nonce=None, window=INITIAL):
        self.nonce = nonce
        self.said = self.told = None
        self.answers, self.next = {}, 1
        super().__init__(sock, window)

    def take(self, kind, number, data):
        if kind == HELLO:
            assert self.said is None and not number, "a second HELLO"
            self.said = hello_of(data)
            self.peer_window = self.said["window"]
            return
        assert self.said, f"frame {kind:#x} before HELLO"
        if kind == NETWORK:
            self.told = network_of(data)
        elif kind == LOG:
            self.log.append((LEVELS[data[0]], data[1:].decode()))
        elif kind == METRICS:
            self.metrics.append(metrics_of(data))
        elif kind in (ADDRESSES, OPENED, FAILED):
            assert number in self.answers and self.answers[number] is None, "an answer to nothing"
            self.answers[number] = (kind, data)
            if kind == OPENED:
                self.streams[number] = Stream(self, number, self.peer_window)
        else:
            super().take(kind, number, data)

    def wait_hello(self, limit_s=harness.LIMIT_S):
        self.wait_for(lambda: self.said, limit_s, "HELLO")
        return self.said

    def welcome(self, version=1, caps=0):
        self.send(frame(WELCOME, 0, struct.pack(">HII", version, caps, self.window)))

    def hello(self, limit_s=harness.LIMIT_S):
        """HELLO, and the answer to it if it is our guest's."""
        said = self.wait_hello(limit_s)
        assert self.first == HELLO
        if self.nonce is not None:
            assert said["nonce"] == self.nonce, "another boot's nonce"
        self.welcome(1, said["caps"])
        return said

    def network(self, up=True, limit_s=harness.LIMIT_S):
        self.wait_for(lambda: self.told and self.told["up"] == up, limit_s, f"a network that is {up}")
        return self.told

    def ask(self, kind, payload):
        """Its number."""
        with self.changed:
            number, self.next = self.next, self.next + 1
            self.answers[number] = None
        self.send(frame(kind, number, payload))
        return number

    def answer(self, number, limit_s=harness.LIMIT_S):
        self.wait_for(lambda: self.answers[number], limit_s, f"the answer to {number}")
        kind, data = self.answers.pop(number)
        if kind == FAILED:
            raise Refused(data[0], data[1:].decode())
        return take_addresses(data)

    def resolve(self, name, limit_s=harness.LIMIT_S):
        addresses, port, flags = self.answer(self.ask(RESOLVE, name.encode()), limit_s)
        assert addresses and not port and not flags
        return addresses

    def ask_open(self, places, flags=0):
        """Its number; places: [(address, port)], all with the same port."""
        return self.ask(OPEN, put_addresses([a for a, _ in places], places[0][1], flags))

    def opened(self, number, limit_s=harness.LIMIT_S):
        addresses, port, _ = self.answer(number, limit_s)
        assert len(addresses) == 1
        stream = self.streams[number]
        stream.to = (addresses[0], port)
        return stream

    def open(self, places, flags=0, limit_s=harness.LIMIT_S):
        return self.opened(self.ask_open(places, flags), limit_s)

    def take_back(self, number):
        self.send(frame(RESET, number))

    def shutdown(self):
        self.send(frame(SHUTDOWN))


class Guest(Link):
    """Answers nothing by itself; override. resolve(number, name) and opening(number, addresses, port, flags) run in the
    reading thread with the lock held: they may send, but not wait for frames."""

    def __init__(self, sock, nonce, window=INITIAL, streams_max=1024, versions=(1, 1), agent="0.0 python"):
        self.welcomed = None
        self.ended_by_host = False
        super().__init__(sock, window)
        self.send(frame(HELLO, 0, struct.pack(">HHIII", *versions, 0, window, streams_max) + nonce + agent.encode()))

    def take(self, kind, number, data):
        if kind == WELCOME:
            version, caps, self.peer_window = struct.unpack(">HII", data)
            self.welcomed = {"version": version, "caps": caps, "window": self.peer_window}
            self.ready()
        elif kind == RESOLVE:
            self.resolve(number, data.decode())
        elif kind == OPEN:
            self.opening(number, *take_addresses(data))
        elif kind == SHUTDOWN:
            self.ended_by_host = True
            self.shut()
        else:
            super().take(kind, number, data)

    def ready(self):
        self.tell_network()

    def resolve(self, number, name):
        self.fail(number, NO_NAME, f"{name}: there is no such name")

    def opening(self, number, addresses, port, flags):
        self.fail(number, REFUSED, "nobody is here")

    def shut(self):
        self.sock.close()

    def tell_network(self, address="10.0.2.15", prefix=24, gateway="10.0.2.2", dns=("10.0.2.3",), why=""):
        self.send(frame(NETWORK, 0, bytes([bool(address), prefix]) + put_address(address) + put_address(gateway) +
                        bytes([len(dns)]) + b"".join(map(put_address, dns)) + why.encode()))

    def fail(self, number, cause, text=""):
        self.send(frame(FAILED, number, bytes([cause]) + text.encode()))

    def answer(self, number, addresses):
        self.send(frame(ADDRESSES, number, put_addresses(addresses, 0)))

    def accept(self, number, address, port):
        """The question's stream."""
        stream = self.streams[number] = Stream(self, number, self.peer_window)
        self.send(frame(OPENED, number, put_addresses([address], port)))
        return stream
