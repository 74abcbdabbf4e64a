"""The emulator with the manners of clients that people use: AWS's session-manager-plugin (mux and basic) and
libraries like ssm-session-client, as the protocol page describes them. The base is ssm_client.py."""
import json
import struct
import uuid

import pytest

import harness
from ssm_client import (DISCONNECT, HANDSHAKE_RESPONSE, OUTPUT, TERMINATE, Api, Channel, Message, Mux, Refused,
                        WebSocket)
from test_localaws import HOST, PORT, REMOTE, SSH, Target, echo, target  # noqa: F401 (a fixture)

BLOCK = bytes(range(256)) * 64


class Fragmenting(WebSocket):
    """gorilla's: 4096 bytes at most to a frame, and a control frame may stand between two of a message."""

    def send(self, op, payload):
        parts = [payload[at:at + 4096] for at in range(0, len(payload), 4096)] or [b""]
        for i, part in enumerate(parts):
            self.sock.sendall(self.frame(op if i == 0 else 0, part, i == len(parts) - 1))
            if op < 8 and i < len(parts) - 1:
                self.sock.sendall(self.frame(9, b"keepalive"))


class Plugin(Channel):
    """AWS's plugin: never acknowledges twice, resumes on the first StreamUrl, and a pump may write before the
    open message when it reconnects."""

    def join(self, token=None):
        self.ws = Fragmenting(self.url, self.api.sign(self.url) if self.sign else {}, self.api.ca)
        self.ws.sock.sendall(self.ws.frame(9, b"keepalive"))
        if token:
            self.resend()
        body = {"MessageSchemaVersion": "1.0", "RequestId": str(uuid.uuid4()), "TokenValue": token or self.token,
                "ClientId": self.client_id, "ClientVersion": self.client_version}
        self.ws.send(1, json.dumps(body).encode())

    def resume(self):
        self.join(self.api.client("ssm").resume_session(SessionId=self.id)["TokenValue"])
        self.resend()

    def _stream(self, m):
        if m.seq < self.expected:
            return
        super()._stream(m)


class Library(Channel):
    """ssm-session-client: an open message of three fields, marks on its first and last message, 1536 bytes each,
    nothing signed, and a version that asks for the basic session."""

    def join(self, token=None):
        self.ws = WebSocket(self.url, {"Origin": "http://localhost", "Sec-WebSocket-Extensions": "permessage-deflate",
                                       "Sec-WebSocket-Protocol": "mqtt", "User-Agent": "Go-http-client/1.1"})
        self.ws.send(1, json.dumps({"MessageSchemaVersion": "1.0", "RequestId": self.id,
                                    "TokenValue": self.token}).encode())

    def make(self, payload_type, payload):
        m = Message("input_stream_data", payload, self.next_out, 1 if self.next_out == 0 else 0, payload_type)
        self.next_out += 1
        self.unacked[m.seq] = m.encode()
        return m


def connect(aws, kind, port, document=REMOTE, **kw):
    api = Api(aws.endpoint, aws.ready["access_key_id"], aws.ready["secret_access_key"], ca=aws.ready["ca"])
    more = {"host": HOST} if document == REMOTE else {}
    return kind(api.start(document, portNumber=str(port), **more), api, **kw)


@pytest.fixture
def aws(localaws):
    return localaws("--resolve", f"{HOST}=127.0.0.1")


@pytest.mark.parametrize("version, sign", [("1.2.677.0", False), ("1.2.764.0", True), ("1.2.896.0", True)])
def test_the_plugin(aws, target, version, sign):    # noqa: F811
    chan = connect(aws, Plugin, target().port, sign=sign, client_version=version)
    chan.handshake()
    for payload in (1024, 16384):
        mux = Mux(chan, payload)
        mux.at, mux.next_id = len(chan.output), 3 + payload
        s = mux.open()
        s.send(BLOCK * 4)
        assert s.must_read(len(BLOCK) * 4) == BLOCK * 4
        s.close()
        mux.must(lambda s=s: s.fin)
    chan.flag(TERMINATE)
    chan.must(lambda: chan.closed)
    assert chan.closed_body["Output"] == "" and chan.ws.pongs


def test_the_plugin_reconnects(aws, target):    # noqa: F811
    chan = connect(aws, Plugin, target().port)
    chan.handshake()
    mux = Mux(chan)
    s = mux.open()
    for i in range(1, 6):
        s.send(b"%d" % i * 1000)
        chan.ws.drop()
        chan.resume()
        assert s.must_read(1000 * i)[-1000:] == b"%d" % i * 1000
    assert aws.stats()["dials"] == 1 and not chan.closed


def test_the_basic_plugin_serves_one_connection_after_the_other(localaws):
    """Old agents, or old plugins: DisconnectToPort between two connections, and the data of the next one dials."""
    t = Target(echo)
    aws = localaws("--agent-version", "3.0.196.0", "--resolve", f"localhost:80=127.0.0.1:{t.port}")
    chan = connect(aws, Plugin, 80, PORT)
    chan.handshake()
    for i in range(1, 4):
        chan.send(OUTPUT, b"connection %d" % i)
        while not chan.wait(lambda: not chan.unacked, 0.2):     # refused without ack until it is dialled
            chan.resend()
        chan.must(lambda n=i: chan.output.endswith(b"connection %d" % n))
        chan.flag(DISCONNECT)
        chan.must(lambda: not chan.unacked)
        assert t.ended.acquire(timeout=harness.LIMIT_S) and t.accepted == i
    chan.flag(TERMINATE)
    chan.must(lambda: chan.closed)
    t.stop()


def test_disconnecting_an_ssh_session_ends_it(localaws):
    t = Target(echo)
    aws = localaws("--resolve", f"localhost:22=127.0.0.1:{t.port}")
    chan = connect(aws, Plugin, 22, SSH)
    chan.handshake()
    chan.send(OUTPUT, b"SSH-2.0-x\r\n")
    chan.must(lambda: chan.output)
    chan.flag(DISCONNECT)
    chan.must(lambda: chan.closed)
    t.stop()


def test_a_library(aws, target):    # noqa: F811
    chan = connect(aws, Library, target().port, client_version="0.0.1")
    chan.handshake()
    want = BLOCK[:15360]
    for at in range(0, len(want), 1536):
        chan.send(OUTPUT, want[at:at + 1536])
    chan.must(lambda: len(chan.output) == len(want))
    assert chan.output == want
    m = Message("input_stream_data", struct.pack(">I", TERMINATE), chan.next_out, 2, 10)
    chan.ws.send(2, m.encode())
    chan.must(lambda: chan.closed)
    assert chan.closed.header == 112 and chan.closed.padding == b"\0"
    assert aws.stats()["websockets_unsigned"] == 1


def test_json_as_others_write_it(aws, target):    # noqa: F811
    """Go reads keys in any case, with any blanks and more keys than it knows."""
    chan = connect(aws, Channel, target().port)
    chan.must(lambda: chan.request)
    chan.acking = False
    body = {"errors": None, "Extra": {"a": [1]}, "processedclientactions": [
        {"actionstatus": 1, "error": "", "ACTIONTYPE": "SessionType", "ActionResult": {"any": "thing"}}],
        "clientversion": "1.2.764.0"}
    chan.send(HANDSHAKE_RESPONSE, json.dumps(body, indent=4).encode() + b"\n\n")
    chan.must(lambda: chan.complete)
    for seq in (1, 0):
        ack = {"acknowledgedmessagesequencenumber": seq, "IsSequentialMessage": False, "More": 1,
               "AcknowledgedMessageId": str(uuid.uuid4()).upper(), "AcknowledgedMessageType": "output_stream_data"}
        chan.ws.send(2, Message("acknowledge", json.dumps(ack, indent=1).encode(), 0, 0).encode())
    chan.wait(lambda: chan.closed, 0.1)
    mux = Mux(chan)
    s = mux.open()
    s.send(b"x")
    s.must_read(1)                      # sent behind the acks: so they have been read
    repeats = len(chan.log)
    chan.wait(lambda: chan.closed, 0.5)
    assert [m.seq for m in chan.log[repeats:] if m.payload_type in (5, 7)] == []


@pytest.mark.parametrize("port", ["080", "00", "0", "65536", "+80", " 80", "80 ", "8e1"])
def test_ports_that_are_none(aws, port):
    api = Api(aws.endpoint, aws.ready["access_key_id"], aws.ready["secret_access_key"], ca=aws.ready["ca"])
    with pytest.raises(Exception, match="not matching|InvalidParameters|ValidationException"):
        api.start(PORT, portNumber=port)


def test_an_upgrade_for_another_role(aws):
    api = Api(aws.endpoint, aws.ready["access_key_id"], aws.ready["secret_access_key"], ca=aws.ready["ca"])
    started = api.start(REMOTE, portNumber="80", host=HOST)
    with pytest.raises(Refused):
        WebSocket(started["StreamUrl"].replace("publish_subscribe", "spectate"))
