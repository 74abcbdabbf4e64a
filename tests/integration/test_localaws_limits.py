"""The emulator refuses what AWS refuses and takes what AWS takes, where one could make do with less: the documents' own
patterns, signers that read a query in another way, the agent's look at a header, and what agents of an older version
do not do yet. Clients: botocore, and ssm_client.py."""
import botocore.exceptions
import pytest

import client
from ssm_client import CONNECT_ERROR, OUTPUT, TERMINATE, Mux, Refused, WebSocket
from test_localaws import (HOST, INSTANCE, PORT, REMOTE, SSH, api_of, aws, code_of, connect,  # noqa: F401 (fixtures)
                           target)

NOWHERE = "nowhere.internal.example"


# --- StartSession ---

@pytest.mark.parametrize("host", ["db", "x", "a;b", "a'b", "[::1]", "a|b", "a#b", "$(id)"])
def test_hosts_that_the_document_refuses(aws, host):    # noqa: F811
    with pytest.raises(botocore.exceptions.ClientError) as caught:
        api_of(aws).start(REMOTE, portNumber="80", host=host)
    assert code_of(caught) == "InvalidParameters"
    assert f'Parameter "host" has value "{host}" not matching "^[^,$^&' in str(caught.value)


@pytest.mark.parametrize("host", ["::1", "a_b", "a b", "*.x", "db.", "é.example", "a%2fb", "日本語"])
def test_hosts_that_it_takes(aws, host):    # noqa: F811
    assert api_of(aws).start(REMOTE, portNumber="80", host=host)["TokenValue"]


def test_lengths_are_of_characters(aws):    # noqa: F811
    ssm = api_of(aws).client("ssm")
    assert ssm.start_session(Target=INSTANCE, DocumentName=PORT, Reason="€" * 256)["SessionId"]
    with pytest.raises(botocore.exceptions.ClientError) as caught:
        ssm.start_session(Target=INSTANCE, DocumentName=PORT, Reason="€" * 257)
    assert code_of(caught) == "ValidationException"


# --- signatures ---

def test_a_plus_in_the_query_may_be_signed_as_itself(localaws):
    """The page asks for %20, as a form parser reads it; %2B, as others write it, is taken too."""
    aws = localaws("--require-signed-ws")    # noqa: F811
    api = api_of(aws)
    url = api.start(SSH)["StreamUrl"]
    assert "+" in url
    WebSocket(url, api.sign(url))
    WebSocket(url, api.sign(url.replace("+", "%2B")))
    with pytest.raises(Refused) as caught:
        WebSocket(url, api.sign(url.replace("+", "%2D")))
    assert caught.value.status == 403


# --- messages ---

@pytest.mark.parametrize("at, n", [(40, 8), (4, 32)], ids=["date", "type"])
def test_a_header_without_date_or_type_is_dropped(aws, target, at, n):    # noqa: F811
    chan = connect(aws, target().port)
    chan.handshake(version="0.0.1")
    chan.acks.clear()
    m = chan.make(OUTPUT, b"hello")
    raw = bytearray(m.encode())
    raw[at:at + n] = bytes(n)
    chan.ws.send(2, bytes(raw))
    chan.make(OUTPUT, b", again")
    chan.ws.send(2, chan.unacked[m.seq + 1])
    chan.must(lambda: chan.acks)
    assert chan.acks == [m.seq + 1] and not chan.output
    chan.resend()
    chan.must(lambda: chan.output == b"hello, again")


# --- agents by version ---

@pytest.mark.parametrize("version, ends", [("2.3.722.0", False), ("2.3.733.0", True), ("3.0.196.0", True)])
def test_the_terminate_flag_is_newer_than_some_agents(localaws, target, version, ends):    # noqa: F811
    t = target()
    aws = localaws("--agent-version", version, "--resolve", f"localhost:22=127.0.0.1:{t.port}")    # noqa: F811
    chan = connect(aws, 22, document=SSH)
    chan.handshake()
    chan.send(OUTPUT, b"x")
    while not chan.wait(lambda: not chan.unacked, 0.5):     # refused without ack until it is dialled
        chan.resend()
    chan.must(lambda: chan.output == b"x")
    m = chan.flag(TERMINATE)
    chan.must(lambda: m.seq in chan.acks)
    if not ends:
        chan.send(OUTPUT, b"y")
        chan.must(lambda: chan.output == b"xy")
        assert not chan.closed
        chan.api.client("ssm").terminate_session(SessionId=chan.id)
    chan.must(lambda: chan.closed)


@pytest.mark.parametrize("version, ends", [("3.2.1040.0", False), ("3.2.1041.0", True)])
def test_older_agents_resolve_for_each_dial(localaws, version, ends):
    aws = localaws("--agent-version", version)    # noqa: F811
    chan = connect(aws, 80, NOWHERE)
    chan.must(lambda: chan.request)
    chan.respond()
    if ends:
        chan.must(lambda: chan.closed)
        assert chan.closed_body["Output"] == f"lookup {NOWHERE}: no such host"
        return
    chan.must(lambda: chan.complete)
    chan.wait(lambda: chan.closed, 0.1)
    mux = Mux(chan)
    for _ in range(2):
        s = mux.open()
        mux.must(lambda s=s: s.fin)
    assert [f for f, _ in chan.flags] == [CONNECT_ERROR] * 2 and not chan.closed


# --- STS, EC2 Instance Connect ---

def test_a_chained_role_lives_for_an_hour_at_most(aws):    # noqa: F811
    role = {"RoleArn": "arn:aws:iam::000000000000:role/demo", "RoleSessionName": "one"}
    account = api_of(aws).client("sts").get_caller_identity()["Account"]
    role["RoleArn"] = role["RoleArn"].replace("000000000000", account)
    first = api_of(aws).client("sts").assume_role(**role, DurationSeconds=7200)["Credentials"]
    chained = api_of(aws, key_id=first["AccessKeyId"], secret=first["SecretAccessKey"],
                     token=first["SessionToken"]).client("sts")
    assert chained.assume_role(**role, DurationSeconds=3600)["Credentials"]
    with pytest.raises(botocore.exceptions.ClientError) as caught:
        chained.assume_role(**role, DurationSeconds=3601)
    assert code_of(caught) == "ValidationError" and "role chaining" in str(caught.value)


def test_a_key_is_pushed_to_the_zone_of_the_instance(localaws):
    aws = localaws("--instance", f"id={INSTANCE},zone=eu-central-1b")    # noqa: F811
    eic = api_of(aws).client("ec2-instance-connect")
    key = {"InstanceId": INSTANCE, "InstanceOSUser": "ec2-user", "SSHPublicKey": "ssh-ed25519 " + "A" * 68}
    assert eic.send_ssh_public_key(**key, AvailabilityZone="eu-central-1b")["Success"]
    with pytest.raises(botocore.exceptions.ClientError) as caught:
        eic.send_ssh_public_key(**key, AvailabilityZone="us-east-1a")
    assert code_of(caught) == "EC2InstanceNotFoundException"


# --- and awsocks, when it meets them ---

def test_a_host_that_aws_refuses_is_no_failure_of_the_others(localaws, awsocks, web):
    aws = localaws("--resolve", f"{HOST}=127.0.0.1")    # noqa: F811
    proxy = awsocks("--transport", "port", "--route-default", "proxy", aws=aws)
    for _ in range(2):
        r = client.curl("-i", "--proxy", proxy.url("http"), f"http://db:{web.port}/bytes/1", check=False)
        assert r.stdout.startswith(b"HTTP/1.1 403") and b"AWS does not forward to 'db'" in r.stdout, r.stdout
        assert b"not matching" in r.stdout
        r = client.curl("--proxy", proxy.url("http"), f"http://{HOST}:{web.port}/bytes/10")
        assert len(r.stdout) == 10
    assert proxy.status()["backends"][0]["state"] == "active"


# --- lists ---

def test_sessions_are_listed(localaws, target):    # noqa: F811
    aws = localaws("--resolve", f"{HOST}=127.0.0.1", "--instance", f"id={INSTANCE}", "--instance",    # noqa: F811
                   "id=i-00000000000000002")
    ssm = api_of(aws).client("ssm")

    def ids(state="Active", **filters):
        more = {"Filters": [{"key": k, "value": v} for k, v in filters.items()]} if filters else {}
        return [s["SessionId"] for s in ssm.describe_sessions(State=state, **more)["Sessions"]]
    chan = connect(aws, target().port)
    chan.handshake()
    aws.faults("slow-start=60000")      # nobody answers the agent of the next one, which ends it after 15 s
    other = ssm.start_session(Target="i-00000000000000002", DocumentName=SSH, Reason="a reason")["SessionId"]
    assert ids() == [other, chan.id] and ids("History") == []
    new, old = ssm.describe_sessions(State="Active")["Sessions"]
    assert (new["Target"], new["Status"], new["Reason"]) == ("i-00000000000000002", "Connecting", "a reason")
    assert (old["Target"], old["Status"], old["DocumentName"]) == (INSTANCE, "Connected", REMOTE)
    assert old["Owner"].startswith("arn:aws:") and old["StartDate"] <= new["StartDate"] and "EndDate" not in old
    assert ids(Target=INSTANCE) == ids(Status="Connected") == ids(SessionId=chan.id) == [chan.id]
    assert ids(Owner=old["Owner"], InvokedAfter="2020-01-01T00:00:00Z") == [other, chan.id]
    assert ids(InvokedBefore="2020-01-01T00:00:00Z") == []
    first = ssm.describe_sessions(State="Active", MaxResults=1)
    second = ssm.describe_sessions(State="Active", MaxResults=1, NextToken=first["NextToken"])
    assert [s["SessionId"] for page in (first, second) for s in page["Sessions"]] == [other, chan.id]
    assert not second.get("NextToken")
    chan.flag(TERMINATE)
    chan.must(lambda: chan.closed)
    (over,) = ssm.describe_sessions(State="History")["Sessions"]
    assert over["SessionId"] == chan.id and over["Status"] == "Terminated" and over["EndDate"] >= over["StartDate"]
    assert ids() == [other]
    with pytest.raises(botocore.exceptions.ClientError) as caught:
        ids(Colour="red")
    assert code_of(caught) == "InvalidFilterKey"


def test_the_older_filters_of_instances(localaws):
    aws = localaws("--instance", f"id={INSTANCE}", "--instance", "id=i-00000000000000002,state=stopped")  # noqa: F811
    ssm = api_of(aws).client("ssm")

    def ids(**filters):
        answer = ssm.describe_instance_information(
            InstanceInformationFilterList=[{"key": k, "valueSet": [v]} for k, v in filters.items()])
        return [i["InstanceId"] for i in answer["InstanceInformationList"]]
    assert ids(InstanceIds=INSTANCE) == ids(PingStatus="Online") == [INSTANCE]
    assert ids(PingStatus="ConnectionLost") == ["i-00000000000000002"]
    assert ids(InstanceIds=INSTANCE, PingStatus="ConnectionLost") == []
