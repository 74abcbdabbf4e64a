"""The emulator's EC2, by botocore: states that take time, filters, pages, an Auto Scaling group's replacement."""
import json

import botocore.exceptions
import pytest

import client
import conftest
import harness
from test_localaws import api_of, code_of

ONE, TWO, OFF = "i-00000000000000001", "i-00000000000000002", "i-00000000000000003"


def instance(ident, **fields):
    text = ",".join(f"{k.replace('__', ':')}={v}" for k, v in fields.items())
    return ["--instance", f"id={ident}" + ("," + text if text else "")]


@pytest.fixture
def aws(localaws):
    return localaws(*instance(ONE, name="web", ip="10.1.2.3", tag__Role="bastion"),
                    *instance(TWO, name="web*", asg="group", zone="us-east-1b"),
                    *instance(OFF, name="off", state="stopped"))


@pytest.fixture
def ec2(aws):
    return api_of(aws).client("ec2")


def found(ec2, **filters):
    answer = ec2.describe_instances(Filters=[{"Name": k.replace("__", ":").replace("_", "-"), "Values": [v]}
                                             for k, v in filters.items()])
    return [i["InstanceId"] for r in answer["Reservations"] for i in r["Instances"]]


def refusal(call, **arguments):
    with pytest.raises(botocore.exceptions.ClientError) as caught:
        call(**arguments)
    return code_of(caught)


def state(ec2, ident):
    return ec2.describe_instances(InstanceIds=[ident])["Reservations"][0]["Instances"][0]["State"]["Name"]


def test_filters(ec2):
    assert found(ec2, tag__Role="bastion") == [ONE]
    assert found(ec2, tag__Name="web*") == [ONE, TWO]
    assert found(ec2, tag__Name="web\\*") == [TWO]
    assert found(ec2, tag__Name="o?f") == [OFF]
    assert found(ec2, private_ip_address="10.1.2.3") == [ONE]
    assert found(ec2, private_dns_name="ip-10-1-2-3.ec2.internal") == [ONE]
    assert found(ec2, tag_key="Role") == [ONE]
    assert found(ec2, tag_key="aws:*") == found(ec2, **{"tag:aws:autoscaling:groupName": "group"})
    assert found(ec2, tag_key="Colour") == []
    assert found(ec2, availability_zone="us-east-1b") == [TWO]
    assert found(ec2, instance_state_name="stopped") == [OFF]
    answer = ec2.describe_instances(Filters=[{"Name": "tag:aws:autoscaling:groupName", "Values": ["group"]}])
    assert answer["Reservations"][0]["Instances"][0]["Tags"] == [
        {"Key": "Name", "Value": "web*"}, {"Key": "aws:autoscaling:groupName", "Value": "group"}]
    with pytest.raises(botocore.exceptions.ClientError) as caught:
        found(ec2, no_such="x")
    assert code_of(caught) == "InvalidParameterValue"


def test_start_and_stop_take_their_time(aws, ec2):
    ssm = api_of(aws).client("ssm")
    # long enough for what is tried in between
    aws.faults("start-delay=2500\nstop-delay=2500\nconnect-delay=2500")
    answer = ec2.start_instances(InstanceIds=[OFF])["StartingInstances"][0]
    assert (answer["PreviousState"], answer["CurrentState"]) == ({"Code": 80, "Name": "stopped"},
                                                                 {"Code": 0, "Name": "pending"})
    with pytest.raises(botocore.exceptions.ClientError) as caught:
        ec2.stop_instances(InstanceIds=[OFF])
    assert code_of(caught) == "IncorrectInstanceState"
    harness.wait_for(lambda: state(ec2, OFF) == "running", what="running")
    with pytest.raises(botocore.exceptions.ClientError) as caught:
        ssm.start_session(Target=OFF, DocumentName="AWS-StartSSHSession")
    assert code_of(caught) == "TargetNotConnected"
    harness.wait_for(lambda: ssm.get_connection_status(Target=OFF)["Status"] == "connected", what="connected")
    assert ssm.start_session(Target=OFF, DocumentName="AWS-StartSSHSession")["SessionId"]
    assert ec2.start_instances(InstanceIds=[OFF])["StartingInstances"][0]["PreviousState"]["Name"] == "running"
    answer = ec2.stop_instances(InstanceIds=[OFF])["StoppingInstances"][0]
    assert (answer["PreviousState"]["Name"], answer["CurrentState"]["Name"]) == ("running", "stopping")
    with pytest.raises(botocore.exceptions.ClientError) as caught:
        ec2.start_instances(InstanceIds=[OFF])
    assert code_of(caught) == "IncorrectInstanceState"
    harness.wait_for(lambda: state(ec2, OFF) == "stopped", what="stopped")
    aws.wait_sessions_open(0)


def test_what_start_and_stop_refuse(aws, ec2):
    def code(call):
        with pytest.raises(botocore.exceptions.ClientError) as caught:
            call()
        return code_of(caught)
    assert code(lambda: ec2.start_instances(InstanceIds=["i-0000000000000000f"])) == "InvalidInstanceID.NotFound"
    assert code(lambda: ec2.start_instances(InstanceIds=["x"])) == "InvalidInstanceID.Malformed"
    assert code(lambda: ec2.start_instances(InstanceIds=[OFF], DryRun=True)) == "DryRunOperation"
    assert state(ec2, OFF) == "stopped"
    aws.faults("refuse-start=1")
    assert code(lambda: ec2.start_instances(InstanceIds=[OFF])) == "InsufficientInstanceCapacity"
    aws.faults("deny-ec2=1")
    assert code(ec2.describe_instances) == "UnauthorizedOperation"
    assert ec2.describe_instances()["Reservations"]


def test_a_group_replaces_its_instance(aws, ec2):
    done = json.loads(aws.open("/_localaws/replace", b"group"))
    assert done["old"]["id"] == TWO
    assert state(ec2, TWO) == "terminated"
    assert state(ec2, done["new"]["id"]) == "running"
    answer = ec2.describe_instances(Filters=[{"Name": "tag:aws:autoscaling:groupName", "Values": ["group"]},
                                             {"Name": "instance-state-name", "Values": ["running"]}])
    assert [i["InstanceId"] for r in answer["Reservations"] for i in r["Instances"]] == [done["new"]["id"]]


def test_throttling_is_the_sdks_to_repeat(aws):
    aws.faults("throttle-api=2")
    assert len(api_of(aws).client("ec2", retries=4).describe_instances()["Reservations"]) == 3
    assert aws.stats()["DescribeInstances"] == 3


def test_one_operation_alone_is_throttled(localaws):
    aws = localaws("--fault", "throttle-api:StartSession=2", "--fault", "fail-api:sts")
    api = api_of(aws)
    assert json.loads(aws.open("/_localaws/faults")) == {"throttle-api:StartSession": 2, "fail-api:sts": True}
    api.client("ec2").describe_instances()
    api.client("ssm").get_connection_status(Target=conftest.INSTANCE)
    for _ in range(2):
        assert refusal(api.client("ssm").start_session, Target=conftest.INSTANCE,
                       DocumentName="AWS-StartSSHSession") == "ThrottlingException"
    assert refusal(api.client("sts").get_caller_identity) == "InternalFailure"
    aws.faults('{"fail-api:sts": false}')
    api.client("sts").get_caller_identity()
    assert json.loads(aws.open("/_localaws/faults")) == {}


def test_one_service_has_another_clock(localaws, awsocks, web):
    """It is allowed for by itself: its signatures are dated by its clock, and no other's."""
    aws = localaws("--resolve", f"intranet.example=127.0.0.1:{web.port}", "--fault", "clock-skew:ec2=3600")
    assert refusal(api_of(aws).client("ec2").describe_instances) == "RequestExpired"
    api_of(aws).client("ssm").get_connection_status(Target=conftest.INSTANCE)
    proxy = awsocks("--name", "demo", aws=aws, target=False,
                    env={"AWS_ENDPOINT_URL_EC2": aws.endpoint.replace("127.0.0.1", "localhost")})
    client.curl("--proxy", proxy.url(), "--fail", "http://intranet.example/bytes/10")
    assert (aws.stats()["DescribeInstances"], aws.stats()["StartSession"]) == (3, 1)
