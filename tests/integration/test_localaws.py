"""The emulator against clients that are not ours: botocore (AWS's own SDK) for STS, EC2 and SSM, and
ssm_client.py, written from the protocol page, for the data channel."""

import contextlib
import hashlib
import http.client
import json
import os
import socket
import struct
import threading
import time
import urllib.parse

import botocore.exceptions
import pytest

import harness
from ssm_client import (CONNECT_ERROR, FIN, HANDSHAKE_RESPONSE, NOP, OUTPUT, TERMINATE, Api, Channel, Closed, Message,
                        Mux, Refused, WebSocket)

INSTANCE = "i-0123456789abcdef0"
REMOTE = "AWS-StartPortForwardingSessionToRemoteHost"
PORT = "AWS-StartPortForwardingSession"
SSH = "AWS-StartSSHSession"
HOST = "api.internal.example"


# --- targets ---

class Target:
    """A server on loopback; handle(conn) runs in a thread for each connection."""

    def __init__(self, handle):
        self.sock = socket.create_server(("127.0.0.1", 0))
        self.port = self.sock.getsockname()[1]
        self.accepted, self.handle = 0, handle
        self.ended = threading.Semaphore(0)
        threading.Thread(target=self.run, daemon=True).start()

    def run(self):
        with contextlib.suppress(OSError):
            while True:
                conn, _ = self.sock.accept()
                self.accepted += 1
                threading.Thread(target=self.one, args=(conn,), daemon=True).start()

    def one(self, conn):
        with conn, contextlib.suppress(OSError):
            self.handle(conn)
        self.ended.release()

    def stop(self):
        with contextlib.suppress(OSError):
            self.sock.shutdown(socket.SHUT_RDWR)
        self.sock.close()


def echo(conn):
    while data := conn.recv(65536):
        conn.sendall(data)


@pytest.fixture
def target():
    """target(handle) -> Target"""
    all_of_them = []

    def start(handle=echo):
        all_of_them.append(Target(handle))
        return all_of_them[-1]
    yield start
    for t in all_of_them:
        t.stop()


def api_of(aws, **changes):
    args = {"endpoint": aws.endpoint, "key_id": aws.ready["access_key_id"],
            "secret": aws.ready["secret_access_key"], "ca": aws.ready["ca"]}
    args.update(changes)
    return Api(**args)


def connect(aws, port, host=HOST, document=REMOTE, **kw):
    api = api_of(aws)
    parameters = {"portNumber": str(port)}
    if document == REMOTE:
        parameters["host"] = host
    return Channel(api.start(document, **parameters), api, **kw)


@pytest.fixture
def aws(localaws):
    return localaws("--resolve", f"{HOST}=127.0.0.1")


def code_of(caught):
    return caught.value.response["Error"]["Code"]


# --- REST ---

@pytest.mark.parametrize("tls", [False, True], ids=["http", "https"])
def test_the_sdk_is_understood(localaws, tls):
    aws = localaws(*(["--tls"] if tls else []))
    api = api_of(aws)
    assert api.client("sts").get_caller_identity()["Account"] == "123456789012"
    found = api.client("ec2").describe_instances(Filters=[{"Name": "tag:Name", "Values": ["demo"]}])
    assert found["Reservations"][0]["Instances"][0]["InstanceId"] == INSTANCE
    info = api.client("ssm").describe_instance_information(Filters=[{"Key": "InstanceIds", "Values": [INSTANCE]}])
    assert info["InstanceInformationList"][0]["PingStatus"] == "Online"
    assert api.client("ssm").get_connection_status(Target=INSTANCE)["Status"] == "connected"
    assert aws.stats()["DescribeInstances"] == 1
    assert aws.stats()["signatures_good"] == 4


WRONG = {
    "secret": ({"secret": "another"}, {"sts": "SignatureDoesNotMatch", "ec2": "AuthFailure",
                                       "ssm": "InvalidSignatureException"}),
    "key": ({"key_id": "AKIANOBODY"}, {"sts": "InvalidClientTokenId", "ec2": "AuthFailure",
                                       "ssm": "UnrecognizedClientException"}),
    "token": ({"token": "made up"}, {"sts": "InvalidClientTokenId", "ec2": "AuthFailure",
                                     "ssm": "UnrecognizedClientException"}),
}


@pytest.mark.parametrize("what", WRONG)
def test_a_wrong_signature_is_refused_as_aws_does(aws, what):
    changes, codes = WRONG[what]
    api = api_of(aws, **changes)
    calls = {"sts": lambda c: c.get_caller_identity(), "ec2": lambda c: c.describe_instances(),
             "ssm": lambda c: c.get_connection_status(Target=INSTANCE)}
    for service, call in calls.items():
        with pytest.raises(botocore.exceptions.ClientError) as caught:
            call(api.client(service))
        assert code_of(caught) == codes[service]
        assert caught.value.response["ResponseMetadata"]["RequestId"]


def raw_call(aws, method="POST", path="/", body=b"", headers=None):
    c = http.client.HTTPConnection("127.0.0.1", aws.ready["port"], timeout=20)
    c.request(method, path, body, headers or {})
    r = c.getresponse()
    return r.status, r.read(), r.headers


def test_unsigned_requests(aws):
    status, body, headers = raw_call(aws, body=b"{}", headers={"X-Amz-Target": "AmazonSSM.StartSession"})
    assert status == 400 and json.loads(body)["__type"] == "MissingAuthenticationTokenException"
    assert headers["x-amzn-RequestId"] and headers["Date"]
    status, body, _ = raw_call(aws, body=b"Action=GetCallerIdentity&Version=2011-06-15")
    assert status == 403 and b"<Code>MissingAuthenticationToken</Code>" in body
    status, body, _ = raw_call(aws, "GET")
    assert (status, body.strip()) == (404, b"<UnknownOperationException/>")
    status, body, _ = raw_call(aws, body=b"{}", headers={"X-Amz-Target": "AmazonSSM.MakeCoffee"})
    assert status == 400 and json.loads(body)["__type"] == "UnknownOperationException"


@pytest.mark.parametrize("skew", ["600", "-600"])
def test_a_clock_that_is_wrong(aws, skew):
    aws.faults(f"clock-skew={skew}")
    with pytest.raises(botocore.exceptions.ClientError) as caught:
        api_of(aws).client("ssm").get_connection_status(Target=INSTANCE)
    assert code_of(caught) == "InvalidSignatureException"
    assert ("expired" if skew == "600" else "not yet current") in str(caught.value)


def test_assumed_roles_work_until_they_expire(aws):
    sts = api_of(aws).client("sts")
    made = sts.assume_role(RoleArn="arn:aws:iam::123456789012:role/path/Dev", RoleSessionName="me@host")
    c = made["Credentials"]
    role = api_of(aws, key_id=c["AccessKeyId"], secret=c["SecretAccessKey"], token=c["SessionToken"])
    assert role.client("sts").get_caller_identity()["Arn"].endswith(":assumed-role/Dev/me@host")
    role.client("ssm").get_connection_status(Target=INSTANCE)
    no_token = api_of(aws, key_id=c["AccessKeyId"], secret=c["SecretAccessKey"])
    with pytest.raises(botocore.exceptions.ClientError) as caught:
        no_token.client("sts").get_caller_identity()
    assert code_of(caught) == "InvalidClientTokenId"
    aws.faults("expire-credentials=0")
    for service, call, code in (("sts", lambda c: c.get_caller_identity(), "ExpiredToken"),
                                ("ec2", lambda c: c.describe_instances(), "RequestExpired"),
                                ("ssm", lambda c: c.get_connection_status(Target=INSTANCE), "ExpiredTokenException")):
        with pytest.raises(botocore.exceptions.ClientError) as caught:
            call(role.client(service))
        assert code_of(caught) == code


@pytest.mark.parametrize("arguments", [
    {"RoleArn": "arn:aws:iam::123456789012:nothing/x", "RoleSessionName": "abc"},
    {"RoleArn": "arn:aws:iam::123456789012:role/x", "RoleSessionName": "a b c"},
    {"RoleArn": "arn:aws:iam::123456789012:role/x", "RoleSessionName": "abc", "DurationSeconds": 899},
], ids=["arn", "name", "duration"])
def test_assume_role_checks(aws, arguments):
    with pytest.raises((botocore.exceptions.ClientError, botocore.exceptions.ParamValidationError)) as caught:
        api_of(aws).client("sts").assume_role(**arguments)
    if caught.type is not botocore.exceptions.ParamValidationError:
        assert code_of(caught) == "ValidationError"


def many(count):
    out = []
    for i in range(count):
        state = "stopped" if i % 3 == 2 else "running"
        out += ["--instance", f"id=i-{i:017x},name={'web' if i % 2 else 'db'}-{i},state={state},ip=10.1.0.{i}"]
    return out


def test_pages_and_filters(localaws):
    aws = localaws(*many(23), "--page-size", "4")
    ec2, ssm = api_of(aws).client("ec2"), api_of(aws).client("ssm")

    def ids(**kw):
        pages = ec2.get_paginator("describe_instances").paginate(**kw)
        return [i["InstanceId"] for p in pages for r in p["Reservations"] for i in r["Instances"]]
    assert ids() == [f"i-{i:017x}" for i in range(23)]
    assert aws.stats()["DescribeInstances"] == 6
    assert ids(Filters=[{"Name": "tag:Name", "Values": ["web-*"]}]) == [f"i-{i:017x}" for i in range(1, 23, 2)]
    assert ids(Filters=[{"Name": "instance-state-name", "Values": ["stopped"]},
                        {"Name": "private-ip-address", "Values": ["10.1.0.5", "10.1.0.6"]}]) == [f"i-{5:017x}"]
    assert ids(InstanceIds=[f"i-{7:017x}", f"i-{8:017x}"]) == [f"i-{7:017x}", f"i-{8:017x}"]
    online = [i["InstanceId"] for p in ssm.get_paginator("describe_instance_information").paginate(
        Filters=[{"Key": "PingStatus", "Values": ["Online"]}]) for i in p["InstanceInformationList"]]
    assert online == [f"i-{i:017x}" for i in range(23) if i % 3 != 2]
    status = ec2.describe_instance_status(InstanceIds=[f"i-{0:017x}", f"i-{2:017x}"], IncludeAllInstances=True)
    assert [s["InstanceState"]["Name"] for s in status["InstanceStatuses"]] == ["running", "stopped"]


@pytest.mark.parametrize("call, code", [
    (lambda ec2: ec2.describe_instances(InstanceIds=["i-0aaaaaaaaaaaaaaaa"]), "InvalidInstanceID.NotFound"),
    (lambda ec2: ec2.describe_instances(InstanceIds=["web"]), "InvalidInstanceID.Malformed"),
    (lambda ec2: ec2.describe_instances(Filters=[{"Name": "colour", "Values": ["x"]}]), "InvalidParameterValue"),
    (lambda ec2: ec2.describe_instances(MaxResults=5, InstanceIds=[INSTANCE]), "InvalidParameterCombination"),
    (lambda ec2: ec2.describe_instances(NextToken="x"), "InvalidParameterValue"),
    (lambda ec2: ec2.describe_vpcs(), "InvalidAction"),
], ids=["unknown id", "malformed id", "filter", "both", "token", "action"])
def test_ec2_errors(aws, call, code):
    with pytest.raises(botocore.exceptions.ClientError) as caught:
        call(api_of(aws).client("ec2"))
    assert code_of(caught) == code


STARTS = {
    "unknown instance": ({"Target": "i-0aaaaaaaaaaaaaaaa", "DocumentName": SSH}, "TargetNotConnected"),
    "stopped instance": ({"Target": "i-00000000000000002", "DocumentName": SSH}, "TargetNotConnected"),
    "unknown document": ({"Target": INSTANCE, "DocumentName": "AWS-StartNothing"}, "InvalidDocument"),
    "bad document name": ({"Target": INSTANCE, "DocumentName": "a b"}, "ValidationException"),
    "bad port": ({"Target": INSTANCE, "DocumentName": PORT, "Parameters": {"portNumber": ["65536"]}},
                 "InvalidParameters"),
    "unknown parameter": ({"Target": INSTANCE, "DocumentName": PORT, "Parameters": {"host": ["x"]}},
                          "InvalidParameters"),
    "bad host": ({"Target": INSTANCE, "DocumentName": REMOTE, "Parameters": {"host": ["a;b"]}}, "InvalidParameters"),
    "two values": ({"Target": INSTANCE, "DocumentName": PORT, "Parameters": {"portNumber": ["1", "2"]}},
                   "SerializationException"),
    "long reason": ({"Target": INSTANCE, "DocumentName": PORT, "Reason": "x" * 257}, "ValidationException"),
}


@pytest.mark.parametrize("name", STARTS)
def test_start_session_checks(localaws, name):
    aws = localaws("--instance", f"id={INSTANCE}", "--instance", "id=i-00000000000000002,state=stopped")
    arguments, code = STARTS[name]
    with pytest.raises((botocore.exceptions.ClientError, botocore.exceptions.ParamValidationError)) as caught:
        api_of(aws).client("ssm").start_session(**arguments)
    if caught.type is not botocore.exceptions.ParamValidationError:
        assert code_of(caught) == code
    assert aws.stats()["sessions"] == 0


def test_session_calls_on_sessions_that_are_not_there(aws):
    ssm = api_of(aws).client("ssm")
    for call in (ssm.resume_session, ssm.terminate_session):
        with pytest.raises(botocore.exceptions.ClientError) as caught:
            call(SessionId="demo-0123")
        assert code_of(caught) == "DoesNotExistException"
    started = ssm.start_session(Target=INSTANCE, DocumentName=SSH)
    assert ssm.terminate_session(SessionId=started["SessionId"])["SessionId"] == started["SessionId"]
    aws.wait_sessions_open(0)
    assert not ssm.resume_session(SessionId=started["SessionId"]).get("TokenValue")


def test_faults_of_the_api(localaws):
    aws = localaws("--fault", "refuse-session=2", "--fault", "throttle-api=1")
    ssm = api_of(aws).client("ssm")
    codes = []
    for _ in range(4):
        try:
            ssm.start_session(Target=INSTANCE, DocumentName=SSH)
            codes.append("ok")
        except botocore.exceptions.ClientError as e:
            codes.append(e.response["Error"]["Code"])
    assert codes == ["ThrottlingException", "AccessDeniedException", "AccessDeniedException", "ok"]
    aws.faults("not-connected=1\nfail-api=1")
    with pytest.raises(botocore.exceptions.ClientError) as caught:
        ssm.get_connection_status(Target=INSTANCE)
    assert code_of(caught) == "InternalServerError"
    with pytest.raises(botocore.exceptions.ClientError) as caught:
        ssm.start_session(Target=INSTANCE, DocumentName=SSH)
    assert code_of(caught) == "TargetNotConnected"
    assert aws.stats()["StartSession"] == 5


def test_admin_refuses_what_it_does_not_know(aws):
    for body in (b"no-such-fault", b"lose-client=101", b"zombie=3", b'{"delay": "x"}', b"delay="):
        status, answer, _ = raw_call(aws, path="/_localaws/faults", body=body)
        assert status == 400 and "error" in json.loads(answer), body
    status, answer, _ = raw_call(aws, path="/_localaws/faults", body=b'{"lose": 2, "zombie": true, "delay": null}')
    assert status == 200 and json.loads(answer) == {"lose-client": 2, "lose-agent": 2, "zombie": True}
    status, answer, _ = raw_call(aws, path="/_localaws/faults", body=b"clear")
    assert status == 200 and json.loads(answer) == {}


# --- HTTP ---

def http_raw(aws, data, pieces=1):
    """What comes back for these bytes, until the server closes."""
    with socket.create_connection(("127.0.0.1", aws.ready["port"]), timeout=20) as s:
        step = max(1, len(data) // pieces)
        for i in range(0, len(data), step):
            s.sendall(data[i:i + step])
        out = b""
        with contextlib.suppress(ConnectionResetError):     # behind the answer, where it left some unread
            while part := s.recv(65536):
                out += part
        return out


def test_http_bodies_and_pipelines(aws):
    body = b'{"delay": 5}'
    chunked = b"5\r\n" + body[:5] + b"\r\n7;x=y\r\n" + body[5:] + b"\r\n0\r\nTrailer: x\r\n\r\n"
    one = b"POST /_localaws/faults HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n" + chunked
    two = b"GET /_localaws/faults HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    for pieces in (1, 400):
        out = http_raw(aws, one + two, pieces)
        assert out.count(b"HTTP/1.1 200 OK") == 2 and out.count(b'"delay":\t5') == 2


@pytest.mark.parametrize("data, status", [
    (b"GET\r\n\r\n", 400), (b"GET / HTTP/1.1\r\nA : b\r\n\r\n", 400), (b"\x16\x03\x01\x00\x05hello\r\n\r\n", 400),
    (b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999\r\n\r\n", 413),
    (b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", 400),
    (b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", 400),
    (b"GET / HTTP/1.1\r\nX: " + b"a" * 70000 + b"\r\n\r\n", 400),
], ids=["line", "blank", "tls", "large", "two lengths", "chunk", "head"])
def test_bad_http(aws, data, status):
    answer = http_raw(aws, data)
    assert answer.startswith(b"HTTP/1.1 %d " % status) or (status == 400 and answer.startswith(b"HTTP/1.1 413 "))
    assert aws.running()


# --- opening the data channel ---

def test_unsigned_upgrade_is_counted(aws, target):
    chan = connect(aws, target().port, sign=False)
    chan.handshake()
    assert aws.stats()["websockets_unsigned"] == 1


def test_upgrades_that_are_refused(localaws):
    aws = localaws("--require-signed-ws")
    api = api_of(aws)
    started = api.start(SSH)
    url = started["StreamUrl"]
    query = urllib.parse.urlsplit(url).query
    assert query.startswith("role=publish_subscribe&cell-number=") and "+" in query and "/" in query
    good = api.sign(url)
    for headers in ({}, dict(good, Authorization=good["Authorization"][:-4] + "0000"),
                    api_of(aws, secret="x").sign(url), api.sign(url + "x")):
        with pytest.raises(Refused) as caught:
            WebSocket(url, headers)
        assert caught.value.status == 403
    with pytest.raises(Refused) as caught:
        bare = url.split("?")[0] + "?role=observe"
        WebSocket(bare, api.sign(bare))
    assert caught.value.status == 400
    WebSocket(url, good)


@pytest.mark.parametrize("text, why", [
    ('{"MessageSchemaVersion":"1.0"}', "request to open data channel does not contain token"),
    ('{"TokenValue":"made up"}', "token"), ("no JSON", "does not contain token")], ids=["none", "wrong", "junk"])
def test_the_token_is_checked(aws, text, why):
    chan = connect(aws, 80, join=False)
    chan.ws = WebSocket(chan.url)
    chan.ws.send(1, text.encode())
    with pytest.raises(Closed) as caught:
        chan.wait(lambda: False)
    assert caught.value.code == 1003 and why in caught.value.reason and chan.id in caught.value.reason


def test_a_token_serves_once(aws):
    chan = connect(aws, 80)
    chan.must(lambda: chan.request)
    second = WebSocket(chan.url)
    second.send(1, json.dumps({"TokenValue": chan.token}).encode())
    with pytest.raises(Closed) as caught:
        second.recv(time.monotonic() + 20)
    assert caught.value.code == 1003


def test_binary_before_the_open_message_is_skipped(aws, target):
    chan = connect(aws, target().port, join=False)
    chan.ws = WebSocket(chan.url)
    chan.ws.send(2, Message("input_stream_data", b"early", 0, 0, OUTPUT).encode())
    chan.ws.send(1, json.dumps({"TokenValue": chan.token}).encode())
    chan.handshake()
    assert chan.acks == [0]


@pytest.mark.parametrize("data, code", [
    (b"\x82\x05hello", 1002), (b"\xc2\x80\x00\x00\x00\x00", 1002), (b"\x83\x80\x00\x00\x00\x00", 1002),
    (b"\x80\x80\x00\x00\x00\x00", 1002), (b"\x09\x80\x00\x00\x00\x00", 1002),
    (b"\x82\xfe\x00\x05\x00\x00\x00\x00hello", 1002), (b"\x82\xff\x00\x00\x00\x00\xff\xff\xff\xff", 1009),
], ids=["unmasked", "reserved bit", "opcode", "continuation", "control in parts", "long form", "huge"])
def test_broken_frames(aws, data, code):
    chan = connect(aws, 80)
    chan.must(lambda: chan.request)
    chan.ws.sock.sendall(data)
    with pytest.raises(Closed) as caught:
        chan.wait(lambda: False)
    assert caught.value.code == code


def test_pings_are_answered(aws):
    chan = connect(aws, 80)
    chan.ws.send(9, b"keepalive")
    chan.must(lambda: chan.ws.pongs == [b"keepalive"] and chan.request)


# --- handshake ---

def test_the_handshake_as_the_agent_does_it(localaws):
    aws = localaws("--agent-version", "3.2.1.7")
    chan = connect(aws, 8080)
    chan.handshake()
    first = [m for m in chan.log if m.kind == "output_stream_data"][0]
    assert (first.seq, first.flags, first.payload_type, first.header, first.padding) == (0, 1, 5, 116, b" ")
    assert chan.request["AgentVersion"] == "3.2.1.7"
    action = chan.request["RequestedClientActions"][0]
    assert action["ActionType"] == "SessionType" and action["ActionParameters"] == {
        "SessionType": "Port", "Properties": {"host": HOST, "localPortNumber": "0", "portNumber": "8080",
                                              "type": "LocalPortForwarding"}}
    assert chan.complete["HandshakeTimeToComplete"] > 1000 and chan.complete["CustomerMessage"] == ""
    ssh = connect(aws, 22, document=SSH, join=False)
    ssh.join()
    ssh.must(lambda: ssh.request)
    assert ssh.request["RequestedClientActions"][0]["ActionParameters"]["Properties"] == {"portNumber": "22"}


@pytest.mark.parametrize("status", [0, 2, 3])
def test_any_other_action_status_ends_the_session(aws, status):
    chan = connect(aws, 80)
    chan.must(lambda: chan.request)
    chan.respond(status=status)
    chan.must(lambda: chan.closed)
    assert "handshake" in chan.closed_body["Output"] and not chan.complete


def test_early_data_is_acknowledged_and_lost(aws, target):
    chan = connect(aws, target().port)
    chan.must(lambda: chan.request)
    response = chan.make(HANDSHAKE_RESPONSE, json.dumps({
        "ClientVersion": "1.2.764.0", "Errors": None,
        "ProcessedClientActions": [{"ActionType": "SessionType", "ActionStatus": 1}]}).encode())
    # An early message takes the response's number: it is counted, so the response moves up by one.
    early = Message("input_stream_data", struct.pack("<BBHI", 1, 0, 0, 3), 0, 0, OUTPUT)
    chan.ws.send(2, early.encode())
    chan.must(lambda: chan.acks == [0])
    response.seq, chan.next_out = 1, 2
    chan.ws.send(2, response.encode())
    chan.must(lambda: chan.complete)
    chan.wait(lambda: False, 0.1)
    mux = Mux(chan)
    lost = mux.open()                     # id 3 again: the first SYN never reached the mux
    lost.send(b"hello")
    assert lost.must_read(5) == b"hello"
    assert aws.stats()["early_data_swallowed"] == 1


def test_the_gap_after_handshake_complete(localaws, target):
    aws = localaws("--resolve", f"{HOST}=127.0.0.1", "--fault", "early-data-gap=1500")
    chan = connect(aws, target().port)
    chan.must(lambda: chan.request)
    chan.respond()
    chan.must(lambda: chan.complete)
    mux = Mux(chan)
    first = mux.open()                    # within the gap: acknowledged, and gone
    chan.must(lambda: not chan.unacked)
    time.sleep(2)
    for _ in range(5):                    # once, unless the emulator's gap was longer than it was to be
        second = mux.open()
        first.send(b"nobody")
        second.send(b"somebody")
        if mux.wait(lambda s=second: len(s.data) >= 8, 3):
            break
    assert second.data == b"somebody" and not first.data
    assert aws.stats()["dials"] == 1


def test_a_second_response_blocks_the_agent(aws, target):
    chan = connect(aws, target().port)
    chan.handshake()
    chan.respond()
    Mux(chan).open()
    assert not chan.wait(lambda: len(chan.acks) > 1, 1.0)
    assert chan.acks == [0]


@pytest.mark.parametrize("version", ["1.2.764.0", "1.1.70"])
def test_new_clients_get_the_mux(aws, target, version):
    chan = connect(aws, target().port)
    chan.handshake(version=version)
    s = Mux(chan).open()
    s.send(b"x")
    assert s.must_read(1) == b"x"


@pytest.mark.parametrize("version, agent", [("0.0.1", "3.3.1142.0"), ("1.1.69.9", "3.3.1142.0"),
                                            ("1.2.764.0", "3.0.196.0")])
def test_old_ones_get_the_raw_stream(localaws, target, version, agent):
    aws = localaws("--agent-version", agent, "--resolve", "localhost:80=127.0.0.1:%d" % (port := target().port))
    chan = connect(aws, 80, document=PORT)
    chan.handshake(version=version)
    chan.send(OUTPUT, b"raw bytes")
    chan.must(lambda: chan.output == b"raw bytes")
    assert port


# --- numbers and acknowledgements ---

def test_out_of_order_and_twice(aws, target):
    chan = connect(aws, target().port)
    chan.handshake(version="0.0.1")       # raw: what arrives is what was sent
    chan.acks.clear()
    a, b, c = (chan.make(OUTPUT, x) for x in (b"A", b"B", b"C"))
    for m in (c, b, a, a):
        chan.ws.send(2, m.encode())
    chan.must(lambda: len(chan.acks) == 4 and len(chan.output) == 3)
    assert chan.acks == [c.seq, b.seq, a.seq, a.seq] and chan.output == b"ABC"
    chan.ws.send(2, b.encode())
    chan.must(lambda: len(chan.acks) == 5)
    assert chan.output == b"ABC"


def test_older_agents_do_not_acknowledge_again(localaws, target):
    aws = localaws("--resolve", f"{HOST}=127.0.0.1", "--agent-version", "3.2.1040.0")
    chan = connect(aws, target().port)
    chan.handshake(version="0.0.1")
    chan.acks.clear()
    a = chan.send(OUTPUT, b"A")
    chan.must(lambda: chan.output == b"A" and chan.acks)
    chan.ws.send(2, a.encode())
    chan.send(OUTPUT, b"B")
    chan.must(lambda: chan.output == b"AB")
    assert chan.acks == [a.seq, a.seq + 1]


def test_without_acks_only_the_head_is_sent_again(aws, target):
    chan = connect(aws, target().port)
    chan.handshake(version="0.0.1")
    chan.acking = False
    chan.send(OUTPUT, bytes(10 * 1024))
    chan.must(lambda: len(chan.output) == 10 * 1024)
    chan.log.clear()
    began = time.monotonic()

    def again():
        return [m.seq for m in chan.log if m.kind == "output_stream_data"]
    chan.must(lambda: len(again()) >= 6)
    took = time.monotonic() - began
    assert set(again()) == {2} and len(again()) <= took / 0.2 + 2, (again(), took)  # every 200..300 ms, no more


def test_a_message_without_digest_or_length_is_taken(aws, target):
    chan = connect(aws, target().port)
    chan.handshake(version="0.0.1")
    m = chan.make(OUTPUT, b"hello")
    raw = bytearray(m.encode())
    raw[80:112] = os.urandom(32)
    raw[116:120] = b"\xff\xff\xff\xff"
    raw[56:64] = b"\xff" * 8
    chan.ws.send(2, bytes(raw))
    chan.must(lambda: chan.output == b"hello")
    assert aws.stats()["digests_bad"] == 1


@pytest.mark.parametrize("raw", [b"", b"\0" * 40, b"\xff" * 200, b"\0\0\0\x00" + b"x" * 200, b"\0\0\1\0" + b"x" * 100])
def test_junk_messages_do_no_harm(aws, target, raw):
    chan = connect(aws, target().port)
    chan.handshake(version="0.0.1")
    chan.ws.send(2, raw)
    chan.send(OUTPUT, b"still here")
    chan.must(lambda: chan.output == b"still here")


# --- mux ---

SIZE = 1 << 20


@pytest.mark.parametrize("tls", [False, True], ids=["ws", "wss"])
@pytest.mark.parametrize("payload", [1024, 16384, 300000])
def test_a_mebibyte_each_way(localaws, target, tls, payload):
    aws = localaws("--resolve", f"{HOST}=127.0.0.1", *(["--tls"] if tls else []))
    got = []

    def serve(conn):
        digest, left = hashlib.sha256(), SIZE
        while left and (data := conn.recv(min(left, 65536))):
            digest.update(data)
            left -= len(data)
        got.append(digest.hexdigest())
        conn.sendall(bytes(reversed(bytes(range(256)))) * (SIZE // 256))
    chan = connect(aws, target(serve).port)
    chan.handshake()
    mux = Mux(chan, payload)
    s = mux.open()
    up = os.urandom(SIZE)
    s.send(up)
    assert s.read_all() == bytes(reversed(bytes(range(256)))) * (SIZE // 256)
    assert got == [hashlib.sha256(up).hexdigest()]
    chan.must(lambda: not chan.unacked)
    outs = [m for m in chan.log if m.kind == "output_stream_data" and m.payload_type == OUTPUT]
    assert max(len(m.payload) for m in outs) == 1024
    assert aws.stats()["digests_bad"] == 0


def test_many_streams_side_by_side(aws, target):
    chan = connect(aws, target().port)
    chan.handshake()
    mux = Mux(chan)
    streams = [mux.open() for _ in range(50)]
    for i, s in enumerate(streams):
        s.send(b"%d" % i * 1000)
    for i, s in enumerate(streams):
        assert s.must_read(len(b"%d" % i) * 1000) == b"%d" % i * 1000
    mux.nop()
    chan.must(lambda: not chan.unacked)
    assert aws.stats()["targets_open"] == 50


def test_a_refused_port_is_flag_3_before_fin(aws, closed_port):
    chan = connect(aws, closed_port)
    chan.handshake()
    mux = Mux(chan)
    s = mux.open()
    s.read_all()
    flags = [m for m in chan.log if m.payload_type == 10]
    fin = [m for m in chan.log if m.payload_type == OUTPUT][0]
    assert [f[0] for f in chan.flags] == [CONNECT_ERROR] and flags[0].payload == b"\0\0\0\3"
    assert flags[0].seq == 2 and fin.seq == 3 and not s.data
    assert mux.frames == [(FIN, s.id, 0, 0)]
    assert not chan.closed                # the session lives on
    mux.open().read_all()
    assert len(chan.flags) == 2


def test_the_clients_fin_closes_the_target_fully(aws, target):
    late = threading.Event()

    def serve(conn):
        while conn.recv(65536):
            pass
        late.wait(5)
        conn.sendall(b"too late")
    t = target(serve)
    chan = connect(aws, t.port)
    chan.handshake()
    mux = Mux(chan)
    s = mux.open()
    s.send(b"question")
    s.close()
    assert s.read_all() == b""            # FIN comes at once: no half-close
    late.set()
    assert not mux.wait(lambda: s.data, 0.5)
    harness.wait_for(lambda: aws.stats()["targets_open"] == 0)


def test_the_targets_end_is_fin_and_later_data_is_dropped(aws, target):
    t = target(lambda conn: conn.sendall(b"bye"))
    chan = connect(aws, t.port)
    chan.handshake()
    mux = Mux(chan)
    s = mux.open()
    assert s.read_all() == b"bye"
    s.send(b"into the void" * 1000)
    chan.must(lambda: not chan.unacked)
    assert mux.frames[-1][:2] == (FIN, s.id) and [f[0] for f in mux.frames].count(FIN) == 1


def test_a_dial_holds_up_the_next_streams(localaws, target):
    """The dial is inside the accept loop: a target whose backlog is full blocks what comes after it."""
    with socket.create_server(("127.0.0.1", 0), backlog=0) as full:
        port = full.getsockname()[1]
        stuck = [socket.socket() for _ in range(4)]
        for s in stuck:
            s.setblocking(False)
            s.connect_ex(("127.0.0.1", port))
        aws = localaws("--resolve", f"{HOST}=127.0.0.1")
        chan = connect(aws, port)
        chan.handshake()
        mux = Mux(chan)
        first, second = mux.open(), mux.open()
        chan.must(lambda: not chan.unacked)
        harness.wait_for(lambda: aws.stats()["dials"] == 1, what="the first dial")
        assert not mux.wait(lambda: first.fin or second.fin, 0.5)
        assert aws.stats()["dials"] == 1
        for s in stuck:
            s.close()


def test_four_mebibytes_of_a_slow_stream_stop_the_session(aws, target):
    gate = threading.Event()

    def serve(conn):
        conn.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 262144)
        gate.wait(120)
        while conn.recv(1 << 20):
            pass
    chan = connect(aws, target(serve).port)
    chan.handshake()
    mux = Mux(chan, 65536)
    slow = mux.open()
    block = bytes(65536)
    sent = 0
    while sent < 32 << 20:
        slow.send(block)
        sent += len(block)
        if not chan.wait(lambda: len(chan.unacked) < 8, 20 if sent < 4 << 20 else 2):
            break
    assert (4 << 20) <= sent < 16 << 20   # the bucket, and what sockets hold
    quick = mux.open()
    quick.send(b"x")
    assert not chan.wait(lambda: not chan.unacked, 0.5)
    gate.set()
    chan.must(lambda: not chan.unacked)


def test_a_bad_version_byte_makes_a_zombie(aws, target):
    chan = connect(aws, target().port)
    chan.handshake()
    mux = Mux(chan)
    s = mux.open()
    s.send(b"x")
    s.must_read(1)
    mux.bytes(b"\2\0\0\0\0\0\0\0")
    s.send(b"still acknowledged")
    chan.must(lambda: not chan.unacked)
    assert not mux.wait(lambda: s.fin or chan.closed or len(s.data) > 1, 0.5)


def test_a_length_on_syn_is_not_consumed(aws, target):
    chan = connect(aws, target().port)
    chan.handshake()
    mux = Mux(chan)
    mux.bytes(struct.pack("<BBHI", 1, 0, 2, 3))   # 2 bytes announced; the next frame follows at once
    s = mux.open()                                # id 3 again: known, ignored
    s.send(b"x")
    assert s.must_read(1) == b"x"


def test_throttled_as_the_agent_is(localaws, target):
    size = 512 * 1024
    t = target(lambda conn: conn.sendall(bytes(size)))
    rates = {}
    for throttle in ("agent", "200000", "none"):
        aws = localaws("--resolve", f"{HOST}=127.0.0.1", "--throttle", throttle)
        for _ in range(3 if throttle == "none" else 1):     # a busy machine is slow, too, now and then
            chan = connect(aws, t.port)
            chan.handshake()
            began = time.monotonic()
            assert len(Mux(chan).open().read_all()) == size
            rates[throttle] = max(rates.get(throttle, 0), size / (time.monotonic() - began))
    assert rates["agent"] < 1.1e6, rates       # 1024 bytes a millisecond at most; how much less is the machine's affair
    assert rates["200000"] < 0.21e6 < rates["none"], rates


# --- names ---

@pytest.mark.parametrize("host, output", [
    ("nowhere.internal.example", "lookup nowhere.internal.example: no such host"),
    ("169.254.169.254", "Forwarding to IP address 169.254.169.254 is forbidden."),
    ("fd00:ec2::254", "Forwarding to IP address fd00:ec2::254 is forbidden."),
    ("imds.internal.example", "Forwarding to IP address 169.254.169.253 is forbidden."),
])
@pytest.mark.parametrize("long_form", [False, True], ids=["112", "116"])
def test_hosts_that_end_the_session(localaws, host, output, long_form):
    aws = localaws("--resolve", "imds.internal.example=169.254.169.253",
                   *(["--fault", "channel-closed-116"] if long_form else []))
    chan = connect(aws, 80, host)
    chan.must(lambda: chan.request)
    chan.respond()
    chan.must(lambda: chan.closed)
    assert chan.complete and chan.closed_body["Output"] == output
    assert set(chan.closed_body) == {"MessageId", "CreatedDate", "DestinationId", "SessionId", "MessageType",
                                     "SchemaVersion", "Output"}
    assert (chan.closed.header, chan.closed.padding) == ((116, b" ") if long_form else (112, b"\0"))
    aws.wait_sessions_open(0)


def test_the_port_of_a_name_may_be_another(localaws, target):
    t = target()
    aws = localaws("--resolve", f"{HOST}=127.0.0.1:{t.port}", "--resolve", "two.example:443=127.0.0.1:1",
                   "--resolve", f"two.example=[::1]:{t.port}")
    for host, port in ((HOST, 1), (HOST.upper() + ".", 443)):
        chan = connect(aws, port, host)
        chan.handshake()
        s = Mux(chan).open()
        s.send(b"x")
        assert s.must_read(1) == b"x"
    chan = connect(aws, 443, "two.example")
    chan.handshake()
    assert Mux(chan).open().read_all() == b"" and chan.flags


def test_other_addresses_than_loopback_are_not_dialled(aws):
    chan = connect(aws, 80, "192.0.2.1")
    chan.handshake()
    assert Mux(chan).open().read_all() == b"" and chan.flags
    assert "192.0.2.1:80 is not a loopback address" in aws.log()


def test_print_env(tmp_path, processes):
    p = harness.Process([harness.program("awsocks-localaws"), "--listen", "127.0.0.1:0", "--print-env", "--tls",
                         "--state-dir", str(tmp_path)], tmp_path, "printer")
    processes.append(p)
    wanted = {"AWS_ENDPOINT_URL", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_CA_BUNDLE"}

    def printed():
        lines = [line for line in p.log().splitlines(True) if line.startswith("export ") and line.endswith("\n")]
        found = dict(line.strip().removeprefix("export ").split("=", 1) for line in lines)
        return found if wanted <= found.keys() else None
    env = p.wait_for(printed, what="the environment")
    api = Api(env["AWS_ENDPOINT_URL"], env["AWS_ACCESS_KEY_ID"], env["AWS_SECRET_ACCESS_KEY"], ca=env["AWS_CA_BUNDLE"])
    assert api.client("sts").get_caller_identity()["Account"]
    assert p.stop() == 0


def test_only_loopback_is_served():
    r = harness.run([harness.program("awsocks-localaws"), "--listen", "0.0.0.0:0"], check=False)
    assert r.returncode == 64 and "loopback" in str(r.stderr)


def system_name():
    """A name that the system resolves to loopback addresses and the emulator does not know by itself."""
    for name in ("ip6-localhost", "localhost.localdomain", socket.gethostname(), "localhost."):
        with contextlib.suppress(OSError):
            found = {i[4][0] for i in socket.getaddrinfo(name, 80)}
            if len(name) >= 3 and found and all(a == "::1" or a.startswith("127.") for a in found):
                return name, sorted(found)[0]
    return pytest.skip("no such name here")


def test_names_that_the_system_knows(localaws):
    name, address = system_name()
    aws = localaws("--resolve-system")
    with socket.create_server((address, 0), family=socket.AF_INET6 if ":" in address else socket.AF_INET) as server:
        chan = connect(aws, server.getsockname()[1], name)
        chan.handshake()
        Mux(chan).open().send(b"x")
        server.settimeout(20)
        with server.accept()[0] as conn:
            conn.settimeout(20)
            assert conn.recv(1) == b"x"
    chan = connect(aws, 80, "no-such-host.invalid")
    chan.must(lambda: chan.request)
    chan.respond()
    chan.must(lambda: chan.closed)
    assert chan.closed_body["Output"] == "lookup no-such-host.invalid: no such host"


# --- the ends of sessions ---

@pytest.mark.parametrize("version", ["1.2.764.0", "0.0.1"], ids=["mux", "basic"])
def test_the_terminate_flag(aws, target, version):
    t = target()
    chan = connect(aws, t.port)
    chan.handshake(version=version)
    if version == "0.0.1":
        chan.send(OUTPUT, b"x")
        chan.must(lambda: chan.output)
    m = chan.flag(TERMINATE)
    chan.must(lambda: chan.closed)
    assert m.seq in chan.acks and chan.closed_body["Output"] == ""
    with pytest.raises(Closed) as caught:
        chan.wait(lambda: False)
    assert caught.value.code == 1000
    aws.wait_sessions_open(0)
    assert not api_of(aws).client("ssm").resume_session(SessionId=chan.id).get("TokenValue")


def test_the_agent_drains_for_two_seconds_at_most(aws, target):
    chan = connect(aws, target().port)
    chan.handshake(version="0.0.1")
    chan.acking = False
    chan.send(OUTPUT, b"x")
    chan.must(lambda: chan.output)
    began = time.monotonic()
    chan.flag(TERMINATE)
    chan.must(lambda: chan.closed)
    assert 1.5 < time.monotonic() - began < 15


def test_terminate_session_closes_the_channel(aws):
    chan = connect(aws, 80)
    chan.must(lambda: chan.request)
    api_of(aws).client("ssm").terminate_session(SessionId=chan.id)
    chan.must(lambda: chan.closed)


def test_an_idle_session_ends(localaws):
    aws = localaws("--idle-timeout", "3")
    chan = connect(aws, 80, "127.0.0.1")
    chan.handshake()
    chan.must(lambda: chan.closed)
    assert chan.closed_body["Output"] == (
        f"SessionId: {chan.id} : Your session timed out due to inactivity and has been terminated.")


def test_ssh_sessions_are_one_raw_stream(localaws, target):
    t = target(lambda conn: (conn.sendall(b"SSH-2.0-test\r\n"), conn.sendall(conn.recv(100))))
    aws = localaws("--resolve", f"localhost:22=127.0.0.1:{t.port}")
    chan = connect(aws, 22, document=SSH)
    chan.handshake()
    chan.must(lambda: chan.output == b"SSH-2.0-test\r\n")   # dialled without being asked
    chan.send(OUTPUT, b"\n")                                # a lone LF stays one
    chan.must(lambda: chan.closed)                          # the target's end is the session's
    assert chan.output == b"SSH-2.0-test\r\n\n" and t.accepted == 1


def test_an_ssh_session_to_a_closed_port_dies_without_a_reason(aws, closed_port):
    chan = connect(aws, closed_port, document=SSH)
    chan.must(lambda: chan.request)
    chan.respond()
    chan.must(lambda: chan.closed)
    assert chan.closed_body["Output"] == "" and not chan.output


def test_basic_forwarding_redials_and_tells_nobody(localaws, target):
    t = target(lambda conn: conn.sendall(conn.recv(100)))
    aws = localaws("--resolve", f"localhost=127.0.0.1:{t.port}")
    chan = connect(aws, 80, document=PORT)
    chan.handshake(version="0.0.1")
    chan.send(OUTPUT, b"one")
    chan.must(lambda: chan.output == b"one")
    harness.wait_for(lambda: aws.stats()["targets_open"] == 0, what="the emulator to see the target's end")
    assert not chan.wait(lambda: chan.closed, 0.3)
    two = chan.send(OUTPUT, b"two")
    assert not chan.wait(lambda: two.seq in chan.acks, 0.3)   # refused: not connected
    chan.resend()
    chan.must(lambda: chan.output == b"onetwo")
    assert t.accepted == 2


@pytest.mark.long
def test_keepalive_is_for_old_clients(aws, target):
    """Above 1.2.331.0 silence is fine and nothing is said; up to it NOPs come and silence ends the session."""
    aws.faults("keepalive=1500")
    old, new = connect(aws, target().port), connect(aws, target().port)
    old.handshake(version="1.2.0.0")
    new.handshake()
    old_mux, new_mux = Mux(old), Mux(new)
    for mux in (old_mux, new_mux):
        s = mux.open()
        s.send(b"x")
        s.must_read(1)
    old_mux.must(lambda: old.closed, 70)
    assert [f[0] for f in old_mux.frames].count(NOP) >= 4
    new_mux.must(lambda: b"keepalive" in new.ws.pings)      # the gateway's own, after 5.4 times as long
    assert not new.closed and NOP not in [f[0] for f in new_mux.frames]
    s.send(b"y")
    s.must_read(2)


# --- drops, resume, faults on the way ---

def test_resume_after_a_cut(aws, target):
    chan = connect(aws, target().port)
    chan.handshake()
    mux = Mux(chan)
    s = mux.open()
    s.send(b"before ")
    s.must_read(7)
    chan.ws.drop()
    harness.wait_for(lambda: aws.stats()["websockets_open"] == 0)
    s_out = Message("input_stream_data", struct.pack("<BBHI", 1, 2, 5, s.id) + b"after", chan.next_out, 0, OUTPUT)
    chan.unacked[chan.next_out] = s_out.encode()              # written while away
    chan.next_out += 1
    chan.resume()
    assert s.must_read(12) == b"before after"
    assert aws.stats()["resumes"] == 1 and aws.stats()["dials"] == 1


def test_a_download_survives_a_cut(aws, target):
    go = threading.Event()

    def serve(conn):
        conn.sendall(b"a" * 5000)
        go.wait(20)
        conn.sendall(b"b" * 5000)
    chan = connect(aws, target(serve).port)
    chan.handshake()
    mux = Mux(chan)
    s = mux.open()
    s.must_read(5000)
    chan.ws.drop()
    harness.wait_for(lambda: aws.stats()["websockets_open"] == 0)
    go.set()
    chan.resume()
    assert s.read_all() == b"a" * 5000 + b"b" * 5000


def test_a_message_that_cannot_be_delivered_pauses_the_sender(localaws):
    aws = localaws("--fault", "slow-start=3000")
    chan = connect(aws, 80)
    chan.ws.send(2, Message("input_stream_data", b"x", 5, 0, OUTPUT).encode())
    chan.must(lambda: any(m.kind == "pause_publication" for m in chan.log))
    chan.must(lambda: any(m.kind == "start_publication" for m in chan.log) and chan.request)


def test_an_agent_that_is_gone_leaves_its_session(aws, target):
    """Every message is answered by a pause, and the session is there until it idles out (plugin #22)."""
    chan = connect(aws, target().port)
    chan.handshake()
    aws.faults("agent-gone")
    for count in range(1, 4):
        chan.send(OUTPUT, b"x")
        chan.must(lambda n=count: sum(m.kind == "pause_publication" for m in chan.log) == n)
    assert not chan.acks[1:] and not chan.closed
    chan.ws.drop()
    chan.resume()
    chan.must(lambda: sum(m.kind == "pause_publication" for m in chan.log) == 6)


@pytest.mark.parametrize("fault, code", [("close-1000-after=0.3", 1000), ("drop-ws-after=0.3", None)])
def test_closes_of_the_service_are_not_the_end(aws, target, fault, code):
    chan = connect(aws, target().port)
    chan.handshake()
    aws.faults(fault)
    with pytest.raises(Closed) as caught:
        chan.wait(lambda: False)
    assert caught.value.code == code and caught.value.reason == ("Bye" if code else "") and not chan.closed
    aws.faults("clear")
    chan.resume()
    s = Mux(chan).open()
    s.send(b"x")
    assert s.must_read(1) == b"x"


def test_drop_after_bytes(localaws, target):
    aws = localaws("--resolve", f"{HOST}=127.0.0.1", "--fault", "drop-ws-after-bytes=100000")
    chan = connect(aws, target().port)
    chan.handshake()
    s = Mux(chan).open()
    with pytest.raises(Closed):
        s.send(bytes(1 << 20))
        chan.wait(lambda: False)
    assert aws.stats()["websocket_drops"] == 1


def test_a_frozen_websocket(localaws, target):
    aws = localaws("--resolve", f"{HOST}=127.0.0.1")
    chan = connect(aws, target().port)
    chan.handshake()
    aws.faults("freeze-ws-after=0.4")           # of its age
    asked = 0

    def silent():
        nonlocal asked
        asked += 1
        chan.ws.send(9, b"anyone?")
        return not chan.wait(lambda: len(chan.ws.pongs) == asked, 1)
    harness.wait_for(silent, what="silence")
    assert not chan.wait(lambda: len(chan.ws.pongs) == asked, 1)
    aws.faults("clear")
    chan.resume()
    s = Mux(chan).open()
    s.send(b"x")
    assert s.must_read(1) == b"x"


def test_refused_resume(localaws):
    aws = localaws("--fault", "refuse-resume=1")
    chan = connect(aws, 80)
    chan.must(lambda: chan.request)
    ssm = api_of(aws).client("ssm")
    assert not ssm.resume_session(SessionId=chan.id).get("TokenValue")
    assert ssm.resume_session(SessionId=chan.id)["TokenValue"]


def test_fragments_are_legal_websocket(localaws, target):
    aws = localaws("--resolve", f"{HOST}=127.0.0.1", "--fault", "fragment=100")
    chan = connect(aws, target().port)
    chan.handshake()
    s = Mux(chan).open()
    s.send(bytes(range(256)) * 20)
    assert s.must_read(5120) == bytes(range(256)) * 20
    assert max(chan.ws.fragment_counts) > 10 and b"between" in chan.ws.pings


def test_data_survives_loss_repetition_and_disorder(localaws, target):
    aws = localaws("--resolve", f"{HOST}=127.0.0.1", "--fault", "seed=7", "--fault", "lose-client=5",
                   "--fault", "repeat=20", "--fault", "reorder=10", "--fault", "delay=5", "--fault", "lose-agent=1")
    chan = connect(aws, target().port)
    chan.must(lambda: chan.request)
    chan.respond()
    while not chan.wait(lambda: chan.complete, 0.3):
        chan.resend()
    chan.wait(lambda: False, 0.1)
    mux = Mux(chan)
    s = mux.open()
    data = os.urandom(150000)
    s.send(data)
    end = time.monotonic() + 60
    while not mux.wait(lambda: len(s.data) >= len(data), 0.4) and time.monotonic() < end:
        chan.resend()
    assert bytes(s.data) == data
    stats = aws.stats()
    assert stats["messages_lost"] > 0 and stats["duplicates_in"] > 0


def test_delayed_and_missing_acks(aws, target):
    chan = connect(aws, target().port)
    chan.handshake(version="0.0.1")
    aws.faults("delay-ack=2000")
    began = time.monotonic()
    chan.send(OUTPUT, b"x")
    chan.must(lambda: chan.output == b"x")
    assert chan.unacked
    chan.must(lambda: not chan.unacked)
    assert time.monotonic() - began >= 1.99
    aws.faults("delay-ack=off\nno-ack")
    chan.send(OUTPUT, b"y")
    chan.must(lambda: chan.output == b"xy")
    assert not chan.wait(lambda: not chan.unacked, 0.4)


def test_zombies(aws, target):
    chan = connect(aws, target().port)
    chan.handshake()
    aws.faults("zombie")
    s = Mux(chan).open()
    s.send(b"x")
    chan.must(lambda: not chan.unacked)
    assert not Mux(chan).wait(lambda: chan.output, 0.3)


def test_refused_targets(aws, target):
    t = target()
    aws.faults("refuse-target=1")
    chan = connect(aws, t.port)
    chan.handshake()
    mux = Mux(chan)
    assert mux.open().read_all() == b"" and chan.flags and t.accepted == 0
    s = mux.open()
    s.send(b"x")
    assert s.must_read(1) == b"x"


def test_the_end_of_the_program_is_clean_with_everything_open(aws, target):
    chan = connect(aws, target().port)
    chan.handshake()
    s = Mux(chan).open()
    s.send(bytes(100000))
    s.must_read(1)
    assert aws.stop() == 0
    with pytest.raises(Closed):
        chan.wait(lambda: False)


# --- EC2 Instance Connect ---

KEY = "ssh-ed25519 " + "A" * 68 + " test"


def test_a_pushed_key_is_handed_out(localaws, tmp_path):
    keys = tmp_path / "authorized_keys"
    aws = localaws("--authorized-keys", str(keys))
    connect = api_of(aws).client("ec2-instance-connect")
    for _ in range(2):
        answer = connect.send_ssh_public_key(InstanceId=INSTANCE, InstanceOSUser="ec2-user", SSHPublicKey=KEY,
                                             AvailabilityZone="us-east-1a")
        assert answer["Success"] is True
    connect.send_ssh_public_key(InstanceId=INSTANCE, InstanceOSUser="root", SSHPublicKey=KEY + "2")
    assert keys.read_text() == KEY + "\n" + KEY + "2\n"
    given = json.loads(aws.open("/_localaws/ssh-keys"))
    assert [(k["instance"], k["user"], k["key"]) for k in given] == [(INSTANCE, "ec2-user", KEY),
                                                                   (INSTANCE, "root", KEY + "2")]
    assert all(0 < k["left_ms"] <= 60000 for k in given)


@pytest.mark.parametrize("change, code", [
    ({"InstanceId": "i-0000000000000dead"}, "EC2InstanceNotFoundException"),
    ({"AvailabilityZone": "eu-west-9z"}, "EC2InstanceNotFoundException"),
    ({"InstanceOSUser": "no blanks"}, "InvalidArgsException"),
    ({"SSHPublicKey": "x" * 90}, "InvalidArgsException"),
    ({"SSHPublicKey": KEY + "\n" + KEY}, "InvalidArgsException"),
], ids=["instance", "zone", "user", "key", "two keys"])
def test_keys_that_are_refused(aws, change, code):
    good = {"InstanceId": INSTANCE, "InstanceOSUser": "ec2-user", "SSHPublicKey": KEY}
    with pytest.raises(botocore.exceptions.ClientError) as caught:
        api_of(aws).client("ec2-instance-connect").send_ssh_public_key(**{**good, **change})
    assert code_of(caught) == code
    assert json.loads(aws.open("/_localaws/ssh-keys")) == []


def test_faults_of_ssh(localaws):
    aws = localaws("--fault", "refuse-key=1", "--fault", "refuse-ssh=1")
    with pytest.raises(botocore.exceptions.ClientError) as caught:
        api_of(aws).client("ec2-instance-connect").send_ssh_public_key(
            InstanceId=INSTANCE, InstanceOSUser="ec2-user", SSHPublicKey=KEY)
    assert code_of(caught) == "AccessDeniedException"
    ssm = api_of(aws).client("ssm")
    with pytest.raises(botocore.exceptions.ClientError) as caught:
        ssm.start_session(Target=INSTANCE, DocumentName=SSH)
    assert code_of(caught) == "AccessDeniedException"
    assert ssm.start_session(Target=INSTANCE, DocumentName=SSH)["SessionId"]
