"""A Session Manager client of its own, from the protocol page alone: no code of awsocks is behind it.

It exists to judge the emulator. Standard library sockets for the websocket, botocore (AWS's own SDK)
for REST and signatures. Synchronous: nothing is read from the socket but inside wait().

    api = Api(endpoint, key_id, secret)
    chan = Channel(api.start("AWS-StartPortForwardingSession", portNumber="80"), api)
    chan.handshake()
    mux = Mux(chan)
    s = mux.open(); s.send(b"GET / ..."); data = s.read_all()
"""

import base64
import hashlib
import json
import os
import socket
import ssl
import struct
import time
import urllib.parse
import uuid

import botocore.auth
import botocore.awsrequest
import botocore.client
import botocore.credentials
import botocore.session

REGION = "us-east-1"
LIMIT_S = 20

OUTPUT, HANDSHAKE_REQUEST, HANDSHAKE_RESPONSE, HANDSHAKE_COMPLETE, FLAG = 1, 5, 6, 7, 10
DISCONNECT, TERMINATE, CONNECT_ERROR = 1, 2, 3
SYN, FIN, PSH, NOP = 0, 1, 2, 3


class Closed(Exception):
    """The websocket is over; code is None when TCP ended without a close frame."""

    def __init__(self, code=None, reason=""):
        super().__init__(f"closed: {code} {reason}")
        self.code, self.reason = code, reason


class Refused(Exception):
    """The upgrade was answered with another status than 101."""

    def __init__(self, status, body):
        super().__init__(f"{status}: {body}")
        self.status, self.body = status, body


# --- REST ---

class Api:
    def __init__(self, endpoint, key_id, secret, token=None, ca=None):
        self.endpoint, self.ca = endpoint, ca or None
        self.credentials = botocore.credentials.Credentials(key_id, secret, token)

    def client(self, service, retries=1):
        session = botocore.session.Session()
        c = self.credentials
        session.set_credentials(c.access_key, c.secret_key, c.token)
        return session.create_client(
            service, region_name=REGION, endpoint_url=self.endpoint, verify=self.ca,
            config=botocore.client.Config(retries={"total_max_attempts": retries}, proxies={}))

    def start(self, document, target="i-0123456789abcdef0", **parameters):
        return self.client("ssm").start_session(Target=target, DocumentName=document,
                                                Parameters={k: [v] for k, v in parameters.items()})

    def sign(self, url):
        """Headers for the upgrade. The URL goes out as it is; what is signed is its query as a form parser
        reads it: '+' is a space."""
        parts = urllib.parse.urlsplit(url)
        query = urllib.parse.urlencode(sorted(urllib.parse.parse_qsl(parts.query)), quote_via=urllib.parse.quote,
                                       safe="-_.~")
        scheme = "https" if parts.scheme == "wss" else "http"
        request = botocore.awsrequest.AWSRequest("GET", f"{scheme}://{parts.netloc}{parts.path}?{query}",
                                                 headers={"Host": parts.netloc})
        botocore.auth.SigV4Auth(self.credentials, "ssmmessages", REGION).add_auth(request)
        return dict(request.headers.items())


# --- websocket ---

class WebSocket:
    def __init__(self, url, headers=None, ca=None, mask=None):
        parts = urllib.parse.urlsplit(url)
        self.sock = socket.create_connection((parts.hostname, parts.port), timeout=LIMIT_S)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if parts.scheme == "wss":
            self.sock = ssl.create_default_context(cafile=ca).wrap_socket(self.sock, server_hostname=parts.hostname)
        self.buffer = bytearray()
        self.fragments, self.fragment_op, self.fragment_counts = [], None, []
        self.pongs, self.pings = [], []
        self.mask = mask or os.urandom(4)
        self._upgrade(parts, headers or {})

    def _upgrade(self, parts, headers):
        key = base64.b64encode(os.urandom(16)).decode()
        lines = {"Host": parts.netloc, "Upgrade": "websocket", "Connection": "Upgrade", "Sec-WebSocket-Key": key,
                 "Sec-WebSocket-Version": "13"}
        lines.update(headers)
        head = f"GET {parts.path}?{parts.query} HTTP/1.1\r\n" + "".join(f"{k}: {v}\r\n" for k, v in lines.items())
        self.sock.sendall(head.encode() + b"\r\n")
        while b"\r\n\r\n" not in self.buffer:
            data = self.sock.recv(65536)
            if not data:
                raise Closed()
            self.buffer += data
        head, _, rest = bytes(self.buffer).partition(b"\r\n\r\n")
        status = int(head.split()[1])
        if status != 101:
            raise Refused(status, rest.decode())
        accept = base64.b64encode(hashlib.sha1(key.encode() + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest())
        assert b"sec-websocket-accept: " + accept.lower() in head.lower(), head
        self.buffer = bytearray(rest)

    def frame(self, op, payload, fin=True):
        n = len(payload)
        size = bytes([0x80 | n]) if n < 126 else \
            b"\xfe" + struct.pack(">H", n) if n < 65536 else b"\xff" + struct.pack(">Q", n)
        whole = (self.mask * (n // 4 + 1))[:n]
        masked = (int.from_bytes(payload, "big") ^ int.from_bytes(whole, "big")).to_bytes(n, "big")
        return bytes([(0x80 if fin else 0) | op]) + size + self.mask + masked

    def send(self, op, payload):
        try:
            self.sock.sendall(self.frame(op, payload))
        except ConnectionError:
            raise Closed() from None

    def _frame_in(self):
        b = self.buffer
        if len(b) < 2:
            return None
        assert not b[1] & 0x80, "a server must not mask"
        n, at = b[1] & 0x7F, 2
        if n == 126:
            n, at = struct.unpack_from(">H", b, 2)[0] if len(b) >= 4 else 1 << 62, 4
        elif n == 127:
            n, at = struct.unpack_from(">Q", b, 2)[0] if len(b) >= 10 else 1 << 62, 10
        if len(b) < at + n:
            return None
        op, fin, payload = b[0] & 15, bool(b[0] & 0x80), bytes(b[at:at + n])
        del b[:at + n]
        return op, fin, payload

    def _control(self, op, payload):
        if op == 8:
            code = struct.unpack(">H", payload[:2])[0] if len(payload) >= 2 else None
            raise Closed(code, payload[2:].decode())
        if op == 9:
            self.pings.append(payload)
            self.send(10, payload)
        elif op == 10:
            self.pongs.append(payload)

    def recv(self, deadline):
        """(op, payload) of a whole message; None at the deadline."""
        while True:
            frame = self._frame_in()
            if frame is None:
                if not self._more(deadline):
                    return None
                continue
            op, fin, payload = frame
            if op >= 8:
                self._control(op, payload)
                continue
            assert (op == 0) == bool(self.fragments), "fragments out of order"
            if op:
                self.fragment_op = op
            self.fragments.append(payload)
            if fin:
                whole, count = b"".join(self.fragments), len(self.fragments)
                self.fragments = []
                self.fragment_counts.append(count)
                return self.fragment_op, whole

    def _more(self, deadline):
        left = deadline - time.monotonic()
        if left <= 0:
            return False
        self.sock.settimeout(left)
        try:
            data = self.sock.recv(262144)
        except (socket.timeout, ssl.SSLWantReadError):
            return False
        except ConnectionError:
            raise Closed() from None
        finally:
            self.sock.settimeout(LIMIT_S)
        if not data:
            raise Closed()
        self.buffer += data
        return True

    def drop(self):
        self.sock.close()


# --- binary messages ---

class Message:
    def __init__(self, kind, payload, seq=0, flags=0, payload_type=0, ident=None):
        self.kind, self.payload, self.seq, self.flags = kind, payload, seq, flags
        self.payload_type, self.ident = payload_type, ident or uuid.uuid4()
        self.header, self.padding, self.digest_ok = 116, b" ", True

    def encode(self):
        u = self.ident.bytes
        return (struct.pack(">I", 116) + self.kind.encode().ljust(32) +
                struct.pack(">IQqQ", 1, int(time.time() * 1000), self.seq, self.flags) + u[8:] + u[:8] +
                hashlib.sha256(self.payload).digest() +
                struct.pack(">II", self.payload_type, len(self.payload)) + self.payload)

    @classmethod
    def decode(cls, raw):
        header, = struct.unpack_from(">I", raw)
        assert header in (112, 116), header
        kind = raw[4:36]
        schema, date, seq, flags = struct.unpack_from(">IQqQ", raw, 36)
        assert schema == 1 and abs(date / 1000 - time.time()) < 3600
        ident = uuid.UUID(bytes=raw[72:80] + raw[64:72])
        kind_text = kind.rstrip(b"\0 ").decode()
        payload_type = struct.unpack_from(">I", raw, 112)[0] if header == 116 else 0
        length, = struct.unpack_from(">I", raw, header)
        m = cls(kind_text, raw[header + 4:], seq, flags, payload_type, ident)
        assert length == len(m.payload)
        m.header, m.padding = header, kind[len(kind_text):len(kind_text) + 1]
        m.digest_ok = raw[80:112] == hashlib.sha256(m.payload).digest()
        return m


# --- data channel ---

class Channel:
    def __init__(self, started, api=None, sign=True, client_version="1.2.764.0", join=True):
        self.api, self.sign = api, sign
        self.id, self.url, self.token = started["SessionId"], started["StreamUrl"], started["TokenValue"]
        self.client_id, self.client_version = str(uuid.uuid4()), client_version
        self.next_out, self.expected = 0, 0
        self.unacked, self.ahead = {}, {}
        self.acking, self.in_order = True, True
        self.log, self.acks, self.flags, self.output = [], [], [], bytearray()
        self.request = self.complete = self.closed = None
        self.ws = None
        if join:
            self.join()

    def join(self, token=None):
        headers = self.api.sign(self.url) if self.sign else {}
        self.ws = WebSocket(self.url, headers, self.api.ca if self.api else None)
        self.ws.send(1, json.dumps({
            "MessageSchemaVersion": "1.0", "RequestId": str(uuid.uuid4()), "TokenValue": token or self.token,
            "ClientId": self.client_id, "ClientVersion": self.client_version}).encode())

    def resume(self):
        answer = self.api.client("ssm").resume_session(SessionId=self.id)
        self.url = answer["StreamUrl"]
        self.join(answer["TokenValue"])
        for raw in list(self.unacked.values()):
            self.ws.send(2, raw)

    # out

    def make(self, payload_type, payload):
        m = Message("input_stream_data", payload, self.next_out, 0, payload_type)
        self.next_out += 1
        self.unacked[m.seq] = m.encode()
        return m

    def send(self, payload_type, payload):
        m = self.make(payload_type, payload)
        self.ws.send(2, self.unacked[m.seq])
        return m

    def resend(self):
        for raw in list(self.unacked.values()):
            self.ws.send(2, raw)

    def flag(self, value):
        return self.send(FLAG, struct.pack(">I", value))

    # in

    def _ack(self, m):
        if not self.acking:
            return
        body = json.dumps({"AcknowledgedMessageType": m.kind, "AcknowledgedMessageId": str(m.ident),
                           "AcknowledgedMessageSequenceNumber": m.seq, "IsSequentialMessage": True})
        self.ws.send(2, Message("acknowledge", body.encode(), 0, 3).encode())

    def _take(self, m):
        if m.payload_type == HANDSHAKE_REQUEST:
            self.request = json.loads(m.payload)
        elif m.payload_type == HANDSHAKE_COMPLETE:
            self.complete = json.loads(m.payload)
        elif m.payload_type == FLAG:
            self.flags.append((struct.unpack(">I", m.payload)[0], len(self.output)))
        elif m.payload_type == OUTPUT:
            self.output += m.payload

    def _stream(self, m):
        assert m.digest_ok
        assert m.flags == (1 if m.seq == 0 else 0)
        self._ack(m)
        if m.seq >= self.expected:
            self.ahead.setdefault(m.seq, m)
        while self.expected in self.ahead:
            self._take(self.ahead.pop(self.expected))
            self.expected += 1

    def _message(self, raw):
        m = Message.decode(raw)
        self.log.append(m)
        if m.kind == "output_stream_data":
            self._stream(m)
        elif m.kind == "acknowledge":
            a = json.loads(m.payload)
            assert set(a) == {"AcknowledgedMessageType", "AcknowledgedMessageId", "AcknowledgedMessageSequenceNumber",
                              "IsSequentialMessage"} and m.flags == 3 and m.seq == 0 and m.digest_ok
            self.acks.append(a["AcknowledgedMessageSequenceNumber"])
            self.unacked.pop(a["AcknowledgedMessageSequenceNumber"], None)
        elif m.kind == "channel_closed":
            self.closed = m
            self.closed_body = json.loads(m.payload)

    def wait(self, done, limit_s=LIMIT_S):
        """Reads until done() is true. False: it did not become so."""
        deadline = time.monotonic() + limit_s
        while not done():
            got = self.ws.recv(deadline)
            if got is None:
                return bool(done())
            op, payload = got
            assert op == 2, got
            self._message(payload)
        return True

    def must(self, done, limit_s=LIMIT_S):
        assert self.wait(done, limit_s), (self.closed and self.closed.payload, self.acks[-5:], self.expected)

    # handshake

    def respond(self, status=1, version=None):
        actions = [{"ActionType": a["ActionType"], "ActionStatus": status, "ActionResult": None,
                    "Error": "" if status == 1 else "no"} for a in self.request["RequestedClientActions"]]
        body = {"ClientVersion": version or self.client_version, "ProcessedClientActions": actions, "Errors": None}
        return self.send(HANDSHAKE_RESPONSE, json.dumps(body).encode())

    def handshake(self, settle_s=0.1, version=None):
        self.must(lambda: self.request)
        self.respond(version=version)
        self.must(lambda: self.complete)
        self.wait(lambda: self.closed, settle_s)  # data right after it may be swallowed (the page, 6)


# --- smux ---

class Stream:
    def __init__(self, mux, ident):
        self.mux, self.id, self.data, self.fin = mux, ident, bytearray(), False

    def send(self, data):
        for i in range(0, len(data), 32768):
            part = data[i:i + 32768]
            self.mux.bytes(struct.pack("<BBHI", 1, PSH, len(part), self.id) + part)

    def close(self):
        self.mux.bytes(struct.pack("<BBHI", 1, FIN, 0, self.id))

    def must_read(self, n, limit_s=LIMIT_S):
        self.mux.must(lambda: len(self.data) >= n, limit_s)
        return bytes(self.data)

    def read_all(self, limit_s=LIMIT_S):
        self.mux.must(lambda: self.fin, limit_s)
        return bytes(self.data)


class Mux:
    def __init__(self, channel, payload=1024):
        self.channel, self.payload, self.at, self.next_id = channel, payload, 0, 3
        self.streams, self.frames = {}, []

    def bytes(self, data):
        for i in range(0, len(data), self.payload):
            self.channel.send(OUTPUT, data[i:i + self.payload])

    def open(self):
        s = Stream(self, self.next_id)
        self.streams[s.id] = s
        self.next_id += 2
        self.bytes(struct.pack("<BBHI", 1, SYN, 0, s.id))
        return s

    def nop(self):
        self.bytes(struct.pack("<BBHI", 1, NOP, 0, 0))

    def parse(self):
        out = self.channel.output
        while len(out) - self.at >= 8:
            version, cmd, n, ident = struct.unpack_from("<BBHI", out, self.at)
            assert version == 1 and cmd in (SYN, FIN, PSH, NOP), (version, cmd)
            if len(out) - self.at < 8 + n:
                return
            self.frames.append((cmd, ident, n, self.at))
            s = self.streams.get(ident)
            if cmd == PSH:
                assert s and not s.fin and 0 < n <= 32768
                s.data += out[self.at + 8:self.at + 8 + n]
            elif cmd == FIN and s:
                s.fin = True
            self.at += 8 + n

    def wait(self, done, limit_s=LIMIT_S):
        def check():
            self.parse()
            return done()
        return self.channel.wait(check, limit_s)

    def must(self, done, limit_s=LIMIT_S):
        assert self.wait(done, limit_s), (self.frames[-5:], self.channel.flags, self.channel.closed)
