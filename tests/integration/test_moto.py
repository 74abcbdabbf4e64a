"""EC2 and STS against moto's server, an AWS that is not ours (tests/setup-moto.sh installs it from PyPI)."""
import json
import os
import re

import botocore.client
import botocore.session
import cli as command
import client
import conftest
import harness
import pytest

REGION = conftest.REGION
OTHER = "210987654321"      # another account
KEYS = ("AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY")     # as the emulator has them
FLEET = 105        # more than moto gives on one page
SERVER = os.path.join(harness.TREE, "build", "moto", "bin", "moto_server")

pytestmark = [pytest.mark.skipif(bool(os.environ.get("AWSOCKS_SKIP_MOTO")), reason="AWSOCKS_SKIP_MOTO is set"),
              pytest.mark.timeout(400)]


class Moto(harness.Process):
    def __init__(self, folder):
        if not os.path.exists(SERVER):
            raise harness.Failed(f"{SERVER} is not there: run sh tests/setup-moto.sh (it needs PyPI), or set "
                                 "AWSOCKS_SKIP_MOTO=1")
        super().__init__([SERVER, "-H", "127.0.0.1", "-p", "0"], folder, "moto", conftest.clean_environment(folder))
        # Several seconds where nothing else runs, and there are as many of it as processes of pytest.
        self.url = self.wait_for(lambda: re.search(r"Running on (http://[\d.:]+)\s", self.log()), limit_s=150,
                                 what="moto")[1]
        self.ec2 = self.client("ec2")
        self.image = self.ec2.describe_images(Owners=["amazon"])["Images"][0]["ImageId"]

    def client(self, service, keys=KEYS):
        session = botocore.session.Session()
        session.set_credentials(*keys)
        return session.create_client(service, region_name=REGION, endpoint_url=self.url,
                                     config=botocore.client.Config(proxies={}))

    def launch(self, **tags):
        answer = self.ec2.run_instances(
            ImageId=self.image, MinCount=1, MaxCount=1, InstanceType="t3.nano",
            TagSpecifications=[{"ResourceType": "instance",
                                "Tags": [{"Key": k.replace("__", ":"), "Value": v} for k, v in tags.items()]}])
        return answer["Instances"][0]

    def state(self, ident):
        found = self.ec2.describe_instances(InstanceIds=[ident])
        return found["Reservations"][0]["Instances"][0]["State"]["Name"]

    def env(self):
        return {"AWS_ENDPOINT_URL": self.url, "AWS_REGION": REGION, "AWS_ACCESS_KEY_ID": KEYS[0],
                "AWS_SECRET_ACCESS_KEY": KEYS[1], "AWS_EC2_METADATA_DISABLED": "true"}


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """One for all tests: it takes many seconds to start."""
    started = Moto(tmp_path_factory.mktemp("moto"))
    yield started
    started.kill()


@pytest.fixture
def moto(server):
    """As new."""
    harness.run(["curl", "-q", "-sS", "--fail", "-X", "POST", f"{server.url}/moto-api/reset"])
    return server


@pytest.fixture
def aws_cli(moto, tmp_path):
    """Our client alone, without SSM: aws_cli("name", "box") -> lines."""
    def run(*args, env=None):
        settings = {**conftest.clean_environment(tmp_path), **moto.env(), **(env or {})}
        return harness.run([harness.program("unit/aws_cli"), *args], env=settings).stdout.decode().split("\n")[:-1]
    return run


def targets(moto, run, *args, env=None):
    """What `awsocks targets` finds at moto's EC2 (its SSM knows no managed nodes)."""
    p = run("targets", "--json", *args, env={**moto.env(), **(env or {})})
    assert p.returncode == 0, p.stderr
    return [json.loads(line)["id"] for line in p.stdout.splitlines()]


@pytest.fixture
def run(tmp_path):
    home = tmp_path / "home"
    home.mkdir()
    return command.Cli(home)


def test_names_and_tags_over_several_pages(moto, aws_cli, run):
    fleet = {moto.launch(Name="fleet", Role="box")["InstanceId"] for _ in range(FLEET)}
    moto.launch(Name="fleet-2")
    first = moto.ec2.describe_instances(Filters=[{"Name": "tag:Name", "Values": ["fleet"]}])
    assert first.get("NextToken"), "moto gives all on one page: launch more"
    assert {line.split()[0] for line in aws_cli("name", "fleet")} == fleet
    for how in (["--name", "fleet"], ["--filter", "tag:Role=box"], ["--filter", "tag:Role=b?x", "--name", "fleet"]):
        assert set(targets(moto, run, *how)) == fleet
    one = fleet.pop()
    assert aws_cli("id", one) == [f"{one} running"]
    moto.ec2.terminate_instances(InstanceIds=list(fleet))
    assert aws_cli("name", "fleet") == [f"{one} running"]
    assert aws_cli("name", "flee*") == [] == aws_cli("name", "nobody")
    assert aws_cli("id", "i-0123456789abcdef0") == []


@pytest.fixture
def both(moto, localaws, awsocks, web):
    """A proxy that asks moto about instances, and the emulator for sessions to this one of moto's."""
    def start(instance, *options, env=None):
        aws = localaws("--instance", f"id={instance}", "--resolve", f"intranet.example=127.0.0.1:{web.port}")
        return awsocks(*options, aws=aws, target=False, env={"AWS_ENDPOINT_URL_EC2": moto.url, **(env or {})})
    return start


def fetch(proxy):
    return client.curl("--proxy", proxy.url(), "--fail", "http://intranet.example/bytes/10")


@pytest.mark.parametrize("how", ["name", "tag", "group", "ip", "dns"])
def test_an_instance_by_what_is_known_of_it(moto, both, how):
    moto.launch(Name="other", Role="none")
    box = moto.launch(Name="box", Role="bastion")
    if how == "group":        # moto lets nobody give a tag of AWS's own at the launch
        moto.ec2.create_tags(Resources=[box["InstanceId"]], Tags=[{"Key": "aws:autoscaling:groupName", "Value": "g"}])
    proxy = both(box["InstanceId"], *{
        "name": ["--name", "box"], "tag": ["--filter", "tag:Role=bast*"], "group": ["--asg", "g"],
        "ip": ["--address", box["PrivateIpAddress"]], "dns": ["--address", box["PrivateDnsName"]]}[how])
    fetch(proxy)
    assert proxy.status()["backends"][0]["instance"] == box["InstanceId"]


def test_started_and_stopped(moto, both):
    box = moto.launch(Name="box")["InstanceId"]
    moto.ec2.stop_instances(InstanceIds=[box])
    assert moto.state(box) == "stopped"
    proxy = both(box, "--name", "box", "--auto-start", "--auto-stop")
    fetch(proxy)
    assert moto.state(box) == "running"
    assert proxy.stop() == 0
    assert moto.state(box) == "stopped"


def chain(moto, folder):
    """Profiles first and second: a role, and a role by it in another account."""
    config = folder / "aws"
    config.write_text("[profile base]\naws_access_key_id = " + KEYS[0] + "\naws_secret_access_key = " + KEYS[1] + "\n"
                      "[profile first]\nrole_arn = arn:aws:iam::123456789012:role/First\nsource_profile = base\n"
                      "role_session_name = one\n"
                      f"[profile second]\nrole_arn = arn:aws:iam::{OTHER}:role/Second\nsource_profile = first\n"
                      "role_session_name = two\nexternal_id = x\nduration_seconds = 1800\n")
    return {"AWS_ENDPOINT_URL": moto.url, "AWS_REGION": REGION, "AWS_CONFIG_FILE": str(config),
            "AWS_SHARED_CREDENTIALS_FILE": str(folder / "none"), "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": ""}


def test_a_chain_of_roles(moto, run, tmp_path):
    """Its identity is moto's, and so is what it finds: each account has its own instances."""
    env = chain(moto, tmp_path)
    found = json.loads(run.ok("credentials", "--profile", "second", env=env))
    keys = found["AccessKeyId"], found["SecretAccessKey"], found["SessionToken"]
    assert moto.client("sts", keys).get_caller_identity()["Arn"] == f"arn:aws:sts::{OTHER}:assumed-role/Second/two"
    assert found["Expiration"].endswith("Z")
    here = moto.launch(Name="box")["InstanceId"]
    there = moto.client("ec2", keys).run_instances(ImageId=moto.image, MinCount=1, MaxCount=1)
    for profile, ident in (("first", here), ("second", there["Instances"][0]["InstanceId"])):
        assert targets(moto, run, "--aws-profile", profile, env=env) == [ident]


def test_started_and_stopped_by_a_chain_of_roles(moto, both, tmp_path):
    """EC2's calls by the role of a role: moto has the instance in that account alone."""
    env = chain(moto, tmp_path)
    role = moto.client("sts").assume_role(RoleArn=f"arn:aws:iam::{OTHER}:role/Second", RoleSessionName="me")
    keys = role["Credentials"]
    ec2 = moto.client("ec2", (keys["AccessKeyId"], keys["SecretAccessKey"], keys["SessionToken"]))
    box = ec2.run_instances(ImageId=moto.image, MinCount=1, MaxCount=1)["Instances"][0]["InstanceId"]
    ec2.stop_instances(InstanceIds=[box])

    def state():
        return ec2.describe_instances(InstanceIds=[box])["Reservations"][0]["Instances"][0]["State"]["Name"]
    # SSM is the emulator's, which does not know moto's roles: no session comes up, and what was started is stopped
    proxy = both(box, "--instance-id", box, "--auto-start", "--auto-stop", "--aws-profile", "second",
                 "--connect-timeout", "3s", env={**env, "AWS_ENDPOINT_URL_SSM": moto.url})
    client.curl("--proxy", proxy.url(), "http://intranet.example/", check=False)
    harness.wait_for(lambda: state() == "running", what="its start")
    assert proxy.stop() == 0
    assert state() == "stopped"
