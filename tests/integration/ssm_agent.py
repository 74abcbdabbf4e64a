"""An AWS with one agent of its own, from the protocol page alone: no code of awsocks is behind it.

It exists to judge the client, as ssm_client.py judges the emulator: it writes what is legal but unusual (its
Manner), and notes every rule of the page that the client breaks (.broken). Every stream of its multiplexer is
an echo; that of a session to port 7 is refused. An SSH session greets and is an echo. One thread a connection.
"""
import base64
import contextlib
import hashlib
import hmac
import json
import random
import re
import select
import socket
import struct
import threading
import time
import urllib.parse
import uuid

CLIENT_VERSION = (1, 2, 764, 0)     # at least
SYN, FIN, PSH, NOP = 0, 1, 2, 3
ACK_KEYS = ["AcknowledgedMessageType", "AcknowledgedMessageId", "AcknowledgedMessageSequenceNumber",
            "IsSequentialMessage"]
OPEN_KEYS = ["MessageSchemaVersion", "RequestId", "TokenValue", "ClientId", "ClientVersion"]


class Manner:
    """How the agent (and the service before it) does what it may do as it likes."""
    version = "3.3.1142.0"
    padding = b" "                  # of MessageType
    schema, flags = 1, None         # None: SYN on the first, as the real one
    pieces = (1024,)                # sizes of output messages, by chance
    fragment = 0                    # websocket fragments of so many bytes, a ping between them
    twice = shuffled = 0            # percent of output messages
    ack_twice = ack_late = 0        # percent: a second time; together with later ones, in any order
    strangers = False               # payload types, message types and smux frames that mean nothing to a client
    greet_twice = False             # HandshakeRequest and HandshakeComplete again, with numbers of their own
    kill_at = ()                    # websockets end after so many messages from the client, one after the other
    close = None                    # ... with this frame instead of just TCP
    pauses = 0                      # percent of the client's messages are answered by pause and start
    length = None                   # what PayloadLength says instead of the truth
    digest = True                   # else PayloadDigest is empty, which no reader minds where PayloadLength is 0
    stream_host = "127.0.0.1"       # in StreamUrl
    silent_start = False            # no start_publication

    def __init__(self, **kw):
        for k, v in kw.items():
            assert hasattr(self, k), k
            setattr(self, k, v)

    def request(self, properties):
        return {"AgentVersion": self.version, "RequestedClientActions": [
            {"ActionType": "SessionType", "ActionParameters": {"SessionType": "Port", "Properties": properties}}]}

    def dump(self, what):
        return json.dumps(what).encode()

    def ack(self, kind, ident, seq):
        return {"AcknowledgedMessageType": kind, "AcknowledgedMessageId": str(ident),
                "AcknowledgedMessageSequenceNumber": seq, "IsSequentialMessage": True}


class Odd(Manner):
    """JSON and headers that another serializer might write."""
    padding, schema, flags = b"\0", 99, 0xFFFF
    pieces = (1, 7, 1000, 1024, 4096, 65536)

    def request(self, properties):
        properties.update(portNumber=int(properties["portNumber"]), retries=1.5, tags=["a"], nested={"x": None})
        r = super().request(properties)
        r["Unknown"] = {"deep": [1, 2, {"é": "\U0001f600"}]}
        return dict(reversed(r.items()))

    def dump(self, what):
        return b" \n" + json.dumps(what, indent=3, ensure_ascii=False).encode() + b" \r\n\t"

    def ack(self, kind, ident, seq):
        return {"Extra": None, "IsSequentialMessage": "yes", "AcknowledgedMessageSequenceNumber": float(seq),
                "AcknowledgedMessageId": str(ident).upper(), "AcknowledgedMessageType": kind}


class Closed(Exception):
    pass


class Leg:
    """The client's websocket, seen from the service. Strict: RFC 6455, 5.1 to 5.5."""

    def __init__(self, conn, aws, rest):
        self.conn, self.aws, self.buffer = conn, aws, bytearray(rest)
        self.op, self.parts = None, []

    def put(self, op, payload, fin=True):
        n = len(payload)
        size = bytes([n]) if n < 126 else b"\x7e" + struct.pack(">H", n) if n < 65536 else \
            b"\x7f" + struct.pack(">Q", n)
        return bytes([(0x80 if fin else 0) | op]) + size + payload

    def send(self, op, payload):
        part = self.aws.manner.fragment
        if op > 2 or not part or len(payload) <= part:
            out = self.put(op, payload)
        else:
            out, n = b"", len(payload)
            for at in range(0, n, part):
                out += self.put(op if at == 0 else 0, payload[at:at + part], at + part >= n)
                if at + part < n:
                    out += self.put(9, b"") + self.put(10, b"unasked")
            if self.aws.dice.randrange(2):                  # the last fragment may be empty
                out = out[:0] + self.put(op, payload, False) + self.put(9, b"x" * 125) + self.put(0, b"")
        try:
            self.conn.sendall(out)
        except OSError:
            raise Closed() from None

    def _frame(self):
        b, n, at = self.buffer, 0, 2
        if len(b) < 2:
            return None
        self.aws.must(b[1] & 0x80, "a client's frame is masked")
        self.aws.must(not b[0] & 0x70, "no reserved bit")
        n = b[1] & 0x7F
        if n >= 126:
            at = 4 if n == 126 else 10
            if len(b) < at:
                return None
            n = int.from_bytes(b[2:at], "big")
        if len(b) < at + 4 + n:
            return None
        mask = (bytes(b[at:at + 4]) * (n // 4 + 1))[:n]
        body = (int.from_bytes(b[at + 4:at + 4 + n], "big") ^ int.from_bytes(mask, "big")).to_bytes(n, "big")
        op, fin = b[0] & 15, b[0] & 0x80
        del b[:at + 4 + n]
        return op, fin, body

    def messages(self, timeout):
        """What has come, as (op, payload); reads once."""
        if select.select([self.conn], [], [], timeout)[0]:
            try:
                data = self.conn.recv(1 << 18)
            except OSError:
                raise Closed() from None
            if not data:
                raise Closed()
            self.buffer += data
        while (frame := self._frame()) is not None:
            op, fin, body = frame
            if op == 8:
                raise Closed()
            if op == 9:
                self.send(10, body)
            elif op < 8:
                self.op = op or self.op
                self.parts.append(body)
                if fin:
                    whole, self.parts = b"".join(self.parts), []
                    yield self.op, whole


class Session:
    """The agent's side. It lives on while its websocket does not."""

    def __init__(self, aws, properties):
        self.aws, self.properties = aws, properties
        self.raw_stream = "type" not in properties
        self.id = f"user@example.com-0{uuid.uuid4().hex[:16]}"
        self.token = self.client_id = self.leg = None
        self.request_ids = set()
        self.next_out = self.expected = self.in_count = 0
        self.unacked, self.ahead, self.late, self.held = {}, {}, [], []
        self.answered = self.completed = self.opened = False
        self.first = None
        self.mux, self.streams = bytearray(), {}
        self.over = self.terminated = False
        self.kills = list(aws.manner.kill_at)

    # out

    def wire(self, kind, payload, seq=0, flags=0, payload_type=0, ident=None):
        m, u = self.aws.manner, (ident or uuid.uuid4()).bytes
        if m.flags is not None:
            flags = m.flags
        head = struct.pack(">I", 116) + kind.encode() + m.padding * (32 - len(kind)) + \
            struct.pack(">IQqQ", m.schema, int(time.time() * 1000), seq, flags) + u[8:] + u[:8] + \
            (hashlib.sha256(payload).digest() if m.digest else bytes(32))
        return head + struct.pack(">II", payload_type, len(payload) if m.length is None else m.length) + payload

    def raw(self, bytes_):
        leg = self.leg                              # another thread's, when a test says something
        if leg:
            leg.send(2, bytes_)

    def send(self, payload_type, payload):
        """A numbered message, kept until it is acknowledged."""
        m, ident = self.aws.manner, uuid.uuid4()
        seq, self.next_out = self.next_out, self.next_out + 1
        bytes_ = self.wire("output_stream_data", payload, seq, 1 if seq == 0 else 0, payload_type, ident)
        self.unacked[seq] = [bytes_, time.monotonic(), str(ident)]
        self.held.append(bytes_)
        if self.aws.chance(m.twice):
            self.held.append(bytes_)
        if not self.aws.chance(m.shuffled):
            self.release()

    def release(self):
        held, self.held = self.held, []
        if len(held) > 1:
            self.aws.dice.shuffle(held)
        for bytes_ in held:
            self.raw(bytes_)

    def output(self, data):
        at = 0
        while at < len(data):
            n = self.aws.dice.choice(self.aws.manner.pieces)
            self.send(1, data[at:at + n])
            at += n
            if self.aws.manner.strangers and self.aws.chance(20):
                self.stranger()

    def stranger(self):
        what = self.aws.dice.randrange(5)
        if what == 0:
            self.send(self.aws.dice.choice([0, 2, 4, 8, 11, 12, 99]), b"{}")
        elif what == 1:
            self.raw(self.wire("agent_session_state", b"{}"))
        elif what == 2:         # all but its type is meaningless in a publication
            self.raw(struct.pack(">I", 116) + b"start_publication".ljust(32) + bytes(84) + b"\xff{")
        elif what == 3:
            self.send(10, b"\0\0\0\x63")
        else:
            self.leg and self.leg.send(1, b"text that nobody asked for")

    def greet(self):
        m = self.aws.manner
        for _ in range(1 + m.greet_twice):
            self.send(5, m.dump(m.request(dict(self.properties))))

    def tick(self):
        """Every 100 ms the oldest message, and that alone (5.4)."""
        self.acks_out()
        self.release()
        if self.unacked:
            entry = self.unacked[min(self.unacked)]
            if time.monotonic() > entry[1] + 0.2:
                entry[1] = time.monotonic()
                self.raw(entry[0])

    # in

    def acks_out(self):
        late, self.late = self.late, []
        self.aws.dice.shuffle(late)
        for one in late:
            self.raw(one)

    def ack(self, ident, seq):
        m = self.aws.manner
        one = self.wire("acknowledge", m.dump(m.ack("input_stream_data", ident, seq)), 0, 3)
        self.late += [one, one] if self.aws.chance(m.ack_twice) else [one]
        if not self.aws.chance(m.ack_late):
            self.acks_out()

    def message(self, raw):
        must, a = self.aws.must, self.aws
        self.in_count += 1
        if self.kills and self.in_count >= self.kills[0]:
            self.kills.pop(0)
            self.in_count = 0
            if a.manner.close:
                self.leg.send(8, a.manner.close)
            raise Closed()
        header, = struct.unpack_from(">I", raw)
        kind, (schema, date, seq, flags) = raw[4:36], struct.unpack_from(">IQqQ", raw, 36)
        ident, payload = uuid.UUID(bytes=raw[72:80] + raw[64:72]), raw[120:]
        payload_type, length = struct.unpack_from(">II", raw, 112)
        must(header == 116 and schema == 1, "HeaderLength 116, SchemaVersion 1")
        must(abs(date / 1000 - time.time()) < 3600, "CreatedDate in milliseconds")
        must(length == len(payload) > 0, "PayloadLength, never 0")
        must(raw[80:112] == hashlib.sha256(payload).digest(), "digest")
        must(ident.version == 4 and ident.variant == uuid.RFC_4122, "MessageId is a UUID v4, halves swapped")
        if kind == b"acknowledge".ljust(32):
            must(flags == 3 and seq == 0 and payload_type == 0, "an acknowledgement's header")
            self.acknowledged(json.loads(payload))
        elif kind == b"input_stream_data".ljust(32):
            must(flags == 0 and seq >= 0, "a stream message's header")
            self.numbered(ident, seq, payload_type, payload)
        else:
            must(False, f"message type {kind}")
        if a.chance(a.manner.pauses):
            self.raw(self.wire("pause_publication", b"{}"))
            self.raw(self.wire("start_publication", b"{}"))

    def acknowledged(self, body):
        must = self.aws.must
        seq = body.get("AcknowledgedMessageSequenceNumber")
        must(sorted(body) == sorted(ACK_KEYS) and body["IsSequentialMessage"] is True and isinstance(seq, int) and
             body["AcknowledgedMessageType"] == "output_stream_data", f"acknowledgement {body}")
        must(0 <= seq < self.next_out, "an acknowledgement of what was sent")
        entry = self.unacked.pop(seq, None)
        must(not entry or entry[2] == body["AcknowledgedMessageId"], "the id of what is acknowledged, lower case")

    def numbered(self, ident, seq, payload_type, payload):
        if seq >= self.expected:
            self.ahead[seq] = (payload_type, payload)
        self.ack(ident, seq)
        while self.expected in self.ahead:
            kind, body = self.ahead.pop(self.expected)
            self.expected += 1
            self.process(kind, body)

    def process(self, payload_type, payload):
        must, m = self.aws.must, self.aws.manner
        if payload_type == 6:
            must(not self.answered and self.expected == 1, "one HandshakeResponse, and first")
            self.answered = True
            self.response(json.loads(payload))
            self.completed = time.monotonic()       # the client has it later, and who knows when this thread goes on
            for _ in range(1 + m.greet_twice):
                self.send(7, m.dump({"HandshakeTimeToComplete": 925691, "CustomerMessage": ""}))
            if self.raw_stream:
                self.send(1, b"SSH-2.0-agent\r\n")
        elif payload_type == 10:
            must(payload == b"\0\0\0\2", f"flag {payload}")
            self.terminated = True
        elif self.raw_stream:
            must(payload_type == 1, f"payload type {payload_type} out of place")
            must(self.first or time.monotonic() > self.completed + 0.05, "nothing is sent at once")
            self.first = True
            self.output(payload)
        else:
            must(payload_type == 1 and self.completed, f"payload type {payload_type} out of place")
            must(self.first or payload == struct.pack("<BBHI", 1, NOP, 0, 0), "the first message is a NOP")
            self.first = True
            self.mux += payload
            self.frames()

    def response(self, body):
        must = self.aws.must
        must(list(body) == ["ClientVersion", "ProcessedClientActions", "Errors"] and body["Errors"] is None,
             f"HandshakeResponse {body}")
        must(tuple(map(int, body["ClientVersion"].split("."))) >= CLIENT_VERSION, "ClientVersion")
        must(body["ProcessedClientActions"] == [{"ActionType": "SessionType", "ActionStatus": 1,
                                                 "ActionResult": None, "Error": ""}], f"actions {body}")

    def frames(self):
        must = self.aws.must
        while len(self.mux) >= 8:
            version, cmd, n, ident = struct.unpack_from("<BBHI", self.mux)
            must(version == 1 and cmd <= NOP and (cmd == PSH or n == 0), "an smux v1 frame")
            if len(self.mux) < 8 + n:
                return
            data = bytes(self.mux[8:8 + n])
            del self.mux[:8 + n]
            if cmd == SYN:
                must(ident % 2 and ident > max(self.streams, default=1), "odd ids, growing")
                self.streams[ident] = True
                if self.properties["portNumber"] == "7":
                    self.send(10, b"\0\0\0\3")
                    self.frame(FIN, ident)
            elif cmd == PSH:
                must(self.streams.get(ident) is not None, "data of an open stream")
                self.frame(PSH, ident, data)
            elif cmd == FIN:
                self.frame(FIN, ident)

    def frame(self, cmd, ident, data=b""):
        out = struct.pack("<BBHI", 1, cmd, len(data), ident) + data
        if self.aws.manner.strangers:
            out = struct.pack("<BBHI", 1, NOP, 0, 0) + struct.pack("<BBHI", 1, PSH, 0, ident) + \
                struct.pack("<BBHI", 1, PSH, 3, 4000002) + b"who" + out + struct.pack("<BBHI", 1, FIN, 0, 4000002)
        self.output(out)

    # a websocket's life

    def open(self, leg, text):
        must = self.aws.must
        body = json.loads(text)
        must(list(body) == OPEN_KEYS and body["MessageSchemaVersion"] == "1.0", f"open message {list(body)}")
        must(body["TokenValue"] == self.token, "the last token")
        for key in ("RequestId", "ClientId"):
            must(str(uuid.UUID(body[key])) == body[key] and uuid.UUID(body[key]).version == 4, f"{key} a UUID v4")
        must(self.client_id in (None, body["ClientId"]), "the same ClientId")
        must(body["RequestId"] not in self.request_ids, "a new RequestId")
        self.request_ids.add(body["RequestId"])
        self.client_id, self.token, self.leg = body["ClientId"], None, leg
        if not self.aws.manner.silent_start:
            self.raw(self.wire("start_publication", b"{}"))
        if not self.opened:
            self.opened = True
            self.greet()

    def serve(self, leg):
        opened = False
        try:
            while not self.over and self.leg in (None, leg):
                for op, payload in leg.messages(0.1):
                    if not opened:
                        self.aws.must(op == 1, "the open message is text and first")
                        self.open(leg, payload)
                        opened = True
                    elif self.aws.must(op == 2, "binary"):
                        self.message(payload)
                if opened:
                    self.tick()
        except Closed:
            pass
        finally:
            if self.leg is leg:
                self.leg = None
            leg.conn.close()

    def closed(self, output, short=True):
        """channel_closed, as the service writes it (3)."""
        body = json.dumps({"MessageId": str(uuid.uuid4()), "CreatedDate": "2026-01-01T00:00:00.000Z",
                           "DestinationId": self.id, "SessionId": self.id, "MessageType": "channel_closed",
                           "SchemaVersion": 1, "Output": output}).encode()
        whole = self.wire("channel_closed", body)
        if short:
            whole = struct.pack(">I", 112) + whole[4:36].replace(b" ", b"\0") + whole[36:112] + whole[116:]
        self.raw(whole)


class Aws:
    """REST and websockets on one port."""

    def __init__(self, manner, seed=1):
        self.manner, self.dice = manner, random.Random(seed)
        self.sessions, self.calls, self.broken, self.heads = {}, [], [], []
        self.query = "role=publish_subscribe&cell-number=AbC+dE/f0123+/w=="
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.endpoint = f"http://127.0.0.1:{self.port}"
        threading.Thread(target=self.accept, daemon=True).start()

    def env(self):
        return {"AWS_ENDPOINT_URL": self.endpoint, "AWS_ACCESS_KEY_ID": "AKIDUSER", "AWS_REGION": "eu-central-1",
                "AWS_SECRET_ACCESS_KEY": "secret"}

    def must(self, good, what):
        if not good:
            self.broken.append(what)
        return good

    def chance(self, percent):
        return percent and self.dice.randrange(100) < percent

    def stop(self):
        self.listener.close()
        for s in self.sessions.values():
            s.over = True

    def accept(self):
        while True:
            try:
                conn, _ = self.listener.accept()
            except OSError:
                return
            conn.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            threading.Thread(target=self.connection, args=(conn,), daemon=True).start()

    def connection(self, conn):
        try:
            buffer = b""
            while True:
                while b"\r\n\r\n" not in buffer:
                    data = conn.recv(65536)
                    if not data:
                        return
                    buffer += data
                head, _, buffer = buffer.partition(b"\r\n\r\n")
                lines = head.decode().split("\r\n")
                fields = {k.lower(): v for k, v in (line.split(": ", 1) for line in lines[1:])}
                if "upgrade" in fields:
                    self.upgrade(conn, lines[0], fields, buffer)
                    return
                n = int(fields["content-length"])
                while len(buffer) < n:
                    data = conn.recv(65536)
                    if not data:
                        return
                    buffer += data
                body, buffer = buffer[:n], buffer[n:]
                self.rest(conn, fields, json.loads(body))
        except (OSError, Closed):
            pass
        except Exception as e:      # a thread that dies must not look like a good client
            self.broken.append(repr(e))
            conn.close()

    def rest(self, conn, fields, body):
        op = fields["x-amz-target"].removeprefix("AmazonSSM.")
        self.must("Credential=AKIDUSER/" in fields["authorization"] and "/ssm/aws4_request" in fields["authorization"],
                  "signed for ssm")
        self.must(fields["content-type"] == "application/x-amz-json-1.1", "JSON 1.1")
        self.calls.append((op, body))
        answer = getattr(self, op)(body)
        text = json.dumps(answer, indent=1).encode()
        conn.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: application/x-amz-json-1.1\r\nContent-Length: %d\r\n\r\n"
                     % len(text) + text)

    def reply(self, session):
        session.token = base64.b64encode(random.randbytes(90)).decode()
        return {"Extra": [], "TokenValue": session.token, "SessionId": session.id, "StreamUrl":
                f"ws://{self.manner.stream_host}:{self.port}/v1/data-channel/{session.id}?{self.query}"}

    def StartSession(self, body):
        parameters = {"AWS-StartPortForwardingSessionToRemoteHost": {"host", "portNumber", "localPortNumber"},
                      "AWS-StartPortForwardingSession": {"portNumber", "localPortNumber"},
                      "AWS-StartSSHSession": {"portNumber"}}[body["DocumentName"]]
        self.must(set(body["Parameters"]) == parameters and
                  all(isinstance(v, list) and len(v) == 1 and isinstance(v[0], str)
                      for v in body["Parameters"].values()), f"StartSession {body}")
        p = {k: v[0] for k, v in body["Parameters"].items()}
        if "localPortNumber" in p:
            p["type"] = "LocalPortForwarding"
        s = Session(self, p)
        self.sessions[s.id] = s
        return self.reply(s)

    def ResumeSession(self, body):
        s = self.sessions[body["SessionId"]]
        return {"SessionId": s.id} if s.over or s.terminated else self.reply(s)

    def TerminateSession(self, body):
        s = self.sessions[body["SessionId"]]
        s.over = True
        return {"SessionId": s.id}

    def GetConnectionStatus(self, body):
        return {"Target": body["Target"], "Status": "connected"}

    def signed(self, path, query, fields):
        """Signature Version 4 by its description, the query as a form parser reads it."""
        found = re.fullmatch(r"AWS4-HMAC-SHA256 Credential=AKIDUSER/((\d{8})/([a-z0-9-]+)/ssmmessages/aws4_request), *"
                             r"SignedHeaders=([a-z0-9;-]+), *Signature=([0-9a-f]{64})", fields.get("authorization", ""))
        if not found or not {"host", "x-amz-date"} <= set(found[4].split(";")):
            return False
        pairs = sorted((urllib.parse.quote(k, safe="-_.~"), urllib.parse.quote(v, safe="-_.~"))
                       for k, v in urllib.parse.parse_qsl(query, keep_blank_values=True))
        canonical = "\n".join(["GET", urllib.parse.quote(path, safe="/-_.~"), "&".join(f"{k}={v}" for k, v in pairs),
                               *(f"{name}:{fields[name]}" for name in found[4].split(";")), "", found[4],
                               hashlib.sha256(b"").hexdigest()])
        key = b"AWS4secret"
        for part in (found[2], found[3], "ssmmessages", "aws4_request"):
            key = hmac.digest(key, part.encode(), "sha256")
        text = "\n".join(["AWS4-HMAC-SHA256", fields["x-amz-date"], found[1],
                          hashlib.sha256(canonical.encode()).hexdigest()])
        return hmac.digest(key, text.encode(), "sha256").hex() == found[5] and fields["x-amz-date"][:8] == found[2]

    def upgrade(self, conn, line, fields, rest):
        method, target, version = line.split()
        path, _, query = target.partition("?")
        self.heads.append((target, fields))
        self.must(method == "GET" and version == "HTTP/1.1" and query == self.query, f"StreamUrl verbatim: {target}")
        self.must(self.signed(path, query, fields), "the upgrade is signed")
        self.must("sec-websocket-extensions" not in fields and "sec-websocket-protocol" not in fields, "a bare upgrade")
        key = fields["sec-websocket-key"].encode() + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
        conn.sendall(b"HTTP/1.1 101 switching\r\nconnection: upgrade\r\nUPGRADE: WebSocket\r\nSec-WebSocket-Accept: " +
                     base64.b64encode(hashlib.sha1(key).digest()) + b"\r\n\r\n")
        s = self.sessions[path.rpartition("/")[2]]
        leg = s.leg
        if leg:                                     # whose thread has not seen its end yet; the socket is that thread's
            with contextlib.suppress(OSError):
                leg.conn.shutdown(socket.SHUT_RDWR)
            s.leg = None
        s.serve(Leg(conn, self, rest))
