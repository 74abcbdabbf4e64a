"""What is sent to AWS, next to what botocore sends for the same call, field by field.

A recording server answers both; compared are method, path, action, parameters, the fields that matter,
which of them are signed, and the signature's scope. Values that are our own choice are named in the call.
"""
import json
import os
import re
import subprocess
from urllib.parse import parse_qsl

import pytest

botocore_session = pytest.importorskip("botocore.session")
from botocore.config import Config  # noqa: E402

import harness  # noqa: E402
import peer  # noqa: E402
from conftest import clean_environment  # noqa: E402

AUTH = re.compile(r"AWS4-HMAC-SHA256 Credential=([^/]+)/\d{8}/([^/]+)/([^/]+)/aws4_request, "
                  r"SignedHeaders=([^,]+), Signature=[0-9a-f]{64}$")
REGION = "eu-west-3"
KEYS = {"AWS_ACCESS_KEY_ID": "AKIDUSER", "AWS_SECRET_ACCESS_KEY": "usersecret"}
TOKEN = {**KEYS, "AWS_SESSION_TOKEN": "tok/en+="}
ROLE = "arn:aws:iam::111122223333:role/One"
TARGET = "i-0123456789abcdef0"
KEY = "ssh-ed25519 " + "AAAAC3Nza" * 8 + " me@example"
STS = "<{0}Response><{0}Result><Credentials><AccessKeyId>ASIA</AccessKeyId><SecretAccessKey>s</SecretAccessKey>" \
      "<SessionToken>t</SessionToken><Expiration>2099-01-01T00:00:00Z</Expiration></Credentials>" \
      "</{0}Result></{0}Response>"
ANSWERS = {"DescribeInstances": "<DescribeInstancesResponse><reservationSet/></DescribeInstancesResponse>"}


class Recorder(peer.Http):
    """Answers any call of AWS, and keeps what it was."""

    def __init__(self):
        self.seen = seen = []

        class Handler(peer.Handler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                seen.append((self.command, self.path, dict(self.headers.items()), body))
                if self.headers.get("X-Amz-Target"):
                    kind, text = "application/x-amz-json-1.1", "{}"
                else:
                    action = dict(parse_qsl(body.decode()))["Action"]
                    kind, text = "text/xml", ANSWERS.get(action, STS.format(action))
                self.send_response(200)
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(text)))
                self.end_headers()
                self.wfile.write(text.encode())

        self.serve(Handler)

    def last(self, action):
        """What matters of the last request for this action."""
        for method, path, headers, body in reversed(self.seen):
            fields = {k.lower(): v for k, v in headers.items()}
            if "x-amz-target" in fields:
                name, parameters = fields["x-amz-target"], json.loads(body)
            else:
                parameters = dict(parse_qsl(body.decode(), keep_blank_values=True))
                name = parameters["Action"]
            if name.split(".")[-1] != action:
                continue
            m = AUTH.match(fields.get("authorization", ""))
            return {"method": method, "path": path, "action": name, "parameters": parameters,
                    "type": fields.get("content-type"), "host": fields.get("host"),
                    "token": fields.get("x-amz-security-token"), "length": int(fields["content-length"]) == len(body),
                    "key": m and m[1], "region": m and m[2], "service": m and m[3],
                    "signed": m and sorted(m[4].split(";"))}
        raise AssertionError(f"{action} was not asked for: {[s[2] for s in self.seen]}")


@pytest.fixture
def recorder():
    server = Recorder()
    yield server
    server.stop()


def program(name):
    build = os.path.basename(harness.BUILD)
    arguments = [*(["SAN=1"] if "-san" in build else []), *(["PORTABLE=1"] if "-portable" in build else [])]
    subprocess.run(["make", "-s", *arguments, f"{build}/unit/{name}"], cwd=harness.TREE, check=True, timeout=900)
    return os.path.join(harness.BUILD, "unit", name)


def start(to, **parameters):
    return {"Target": TARGET, "Parameters": parameters, "Reason": f"awsocks {to}"}


CALLS = {
    # name: (program, its arguments, botocore's service, method, action, parameters)
    "StartSession": ("ssm_cli", ["start", TARGET, "db.internal", "5432"], "ssm", "start_session", "StartSession",
                     {**start("db.internal:5432", host=["db.internal"], portNumber=["5432"], localPortNumber=["0"]),
                      "DocumentName": "AWS-StartPortForwardingSessionToRemoteHost"}),
    "StartSession, port": ("ssm_cli", ["port", TARGET, "22"], "ssm", "start_session", "StartSession",
                           {**start("localhost:22", portNumber=["22"], localPortNumber=["0"]),
                            "DocumentName": "AWS-StartPortForwardingSession"}),
    "StartSession, ssh": ("ssm_cli", ["ssh", TARGET, "22"], "ssm", "start_session", "StartSession",
                          {**start("localhost:22", portNumber=["22"]), "DocumentName": "AWS-StartSSHSession"}),
    "ResumeSession": ("ssm_cli", ["resume", "demo-0a1b"], "ssm", "resume_session", "ResumeSession",
                      {"SessionId": "demo-0a1b"}),
    "TerminateSession": ("ssm_cli", ["terminate", "demo-0a1b"], "ssm", "terminate_session", "TerminateSession",
                         {"SessionId": "demo-0a1b"}),
    "GetConnectionStatus": ("ssm_cli", ["status", TARGET], "ssm", "get_connection_status", "GetConnectionStatus",
                            {"Target": TARGET}),
    "SendSSHPublicKey": ("ssm_cli", ["key", TARGET, "ec2-user", "eu-west-3a", KEY],
                         "ec2-instance-connect", "send_ssh_public_key", "SendSSHPublicKey",
                         {"InstanceId": TARGET, "InstanceOSUser": "ec2-user", "AvailabilityZone": "eu-west-3a",
                          "SSHPublicKey": KEY}),
    "GetCallerIdentity": ("aws_cli", ["identity", "1"], "sts", "get_caller_identity", "GetCallerIdentity", {}),
    "DescribeInstances, id": ("aws_cli", ["id", TARGET], "ec2", "describe_instances", "DescribeInstances",
                              {"InstanceIds": [TARGET]}),
}


def settings_of(recorder, tmp_path, env):
    return {**clean_environment(tmp_path), "AWS_ENDPOINT_URL": recorder.url, "AWS_REGION": REGION,
            "AWS_CONFIG_FILE": str(tmp_path / "config.ini"), "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_SHARED_CREDENTIALS_FILE": str(tmp_path / "credentials.ini"), **env}


def ours(recorder, tmp_path, name, arguments, env):
    harness.run([program(name), *arguments], env=settings_of(recorder, tmp_path, env), check=False)


def client(recorder, service, env, **config):
    return botocore_session.Session().create_client(
        service, REGION, endpoint_url=recorder.url, aws_access_key_id=env.get("AWS_ACCESS_KEY_ID"),
        aws_secret_access_key=env.get("AWS_SECRET_ACCESS_KEY"), aws_session_token=env.get("AWS_SESSION_TOKEN"),
        config=Config(retries={"total_max_attempts": 1}, **config))


@pytest.mark.parametrize("env", [KEYS, TOKEN], ids=["keys", "token"])
@pytest.mark.parametrize("call", CALLS)
def test_a_call(recorder, tmp_path, call, env):
    name, arguments, service, method, action, parameters = CALLS[call]
    ours(recorder, tmp_path, name, arguments, env)
    got = recorder.last(action)
    recorder.seen.clear()
    getattr(client(recorder, service, env), method)(**parameters)
    assert got == recorder.last(action)


def one(name, *values):
    return {"Name": name, "Values": list(values)}


ALIVE = one("instance-state-name", "pending", "running", "stopping", "stopped")
ASKED = {
    # the options that name the instance, and botocore's filters for it
    "all": ([], [ALIVE]),
    "name": (["--name", "bas*tion"], [one("tag:Name", "bas\\*tion"), ALIVE]),
    "group": (["--asg", "bastions"], [one("tag:aws:autoscaling:groupName", "bastions"), ALIVE]),
    "address": (["--address", "10.0.3.7"], [one("private-ip-address", "10.0.3.7"), ALIVE]),
    "IPv6 address": (["--address", "fd00::7"], [one("network-interface.ipv6-addresses.ipv6-address", "fd00::7"),
                                                ALIVE]),
    "private name": (["--address", "ip-10-0-3-7.eu-west-3.compute.internal"],
                     [one("private-dns-name", "ip-10-0-3-7.eu-west-3.compute.internal"), ALIVE]),
    "tags": (["--filter", "tag:Role=a b+c/d=e&f", "--filter", "availability-zone=eu-west-3a"],
             [one("tag:Role", "a b+c/d=e&f"), one("availability-zone", "eu-west-3a"), ALIVE]),
    "all of them": (["--name", "b", "--asg", "g", "--filter", "tag:Ümlaut=ß"],
                    [one("tag:Name", "b"), one("tag:aws:autoscaling:groupName", "g"), one("tag:Ümlaut", "ß"), ALIVE]),
    "its own states": (["--filter", "instance-state-name=running"], [one("instance-state-name", "running")]),
}


def test_the_instance_that_is_meant(recorder, tmp_path):
    ec2, ssm = client(recorder, "ec2", TOKEN), client(recorder, "ssm", TOKEN)
    env = settings_of(recorder, tmp_path, TOKEN)
    for asked, (options, filters) in ASKED.items():
        harness.run([harness.program("awsocks"), "targets", *options], env=env)
        got, nodes = recorder.last("DescribeInstances"), recorder.last("DescribeInstanceInformation")
        recorder.seen.clear()
        ec2.describe_instances(Filters=filters)
        ssm.describe_instance_information(MaxResults=50)
        assert got == recorder.last("DescribeInstances"), asked
        assert nodes == recorder.last("DescribeInstanceInformation"), asked
    for target in (TARGET, "mi-0123456789abcdef0"):
        recorder.seen.clear()
        harness.run([harness.program("awsocks"), "targets", "--instance-id", target], env=env)
        got = recorder.last("DescribeInstanceInformation")
        assert any(b"DescribeInstances" in body for *_, body in recorder.seen) == target.startswith("i-")
        recorder.seen.clear()
        ssm.describe_instance_information(MaxResults=50, Filters=[{"Key": "InstanceIds", "Values": [target]}])
        assert got == recorder.last("DescribeInstanceInformation"), target


@pytest.mark.parametrize("more, parameters", [
    ("", {}),
    ("external_id = some id/+=\nduration_seconds = 1800\n", {"ExternalId": "some id/+=", "DurationSeconds": 1800}),
])
def test_assume_role(recorder, tmp_path, more, parameters):
    (tmp_path / "config.ini").write_text(f"[profile one]\nrole_arn = {ROLE}\nsource_profile = user\n"
                                         f"role_session_name = me@example\n{more}")
    (tmp_path / "credentials.ini").write_text("[user]\naws_access_key_id = AKIDUSER\n"
                                              "aws_secret_access_key = usersecret\n")
    ours(recorder, tmp_path, "aws_cli", ["creds", "one"], {})
    got = recorder.last("AssumeRole")
    recorder.seen.clear()
    client(recorder, "sts", KEYS).assume_role(RoleArn=ROLE, RoleSessionName="me@example", **parameters)
    assert got == recorder.last("AssumeRole")


def test_assume_role_with_web_identity(recorder, tmp_path):
    """Unsigned; and no key of anyone's goes along."""
    (tmp_path / "token").write_text("header.payload.signature")
    env = {"AWS_WEB_IDENTITY_TOKEN_FILE": str(tmp_path / "token"), "AWS_ROLE_ARN": ROLE,
           "AWS_ROLE_SESSION_NAME": "me@example"}
    ours(recorder, tmp_path, "aws_cli", ["creds"], env)
    got = recorder.last("AssumeRoleWithWebIdentity")
    recorder.seen.clear()
    client(recorder, "sts", {}).assume_role_with_web_identity(
        RoleArn=ROLE, RoleSessionName="me@example", WebIdentityToken="header.payload.signature")
    want = recorder.last("AssumeRoleWithWebIdentity")
    assert got == want and got["signed"] is None
