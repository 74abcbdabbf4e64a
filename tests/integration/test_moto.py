"""EC2 and STS against moto's server, an AWS that is not ours (tests/setup-moto.sh installs it from PyPI)."""
import json
import os
import subprocess

import botocore.client
import botocore.session
import client
import conftest
import harness
import pytest

REGION = conftest.REGION
KEYS = ("AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY")     # as the emulator has them
FLEET = 105        # more than moto gives on one page
SERVER = os.path.join(harness.TREE, "build", "moto", "bin", "moto_server")

pytestmark = pytest.mark.skipif(bool(os.environ.get("AWSOCKS_SKIP_MOTO")), reason="AWSOCKS_SKIP_MOTO is set")


class Moto(harness.Process):
    def __init__(self, folder):
        if not os.path.exists(SERVER):
            raise harness.Failed(f"{SERVER} is not there: run sh tests/setup-moto.sh (it needs PyPI), or set "
                                 "AWSOCKS_SKIP_MOTO=1")
        self.port = harness.free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        super().__init__([SERVER, "-H", "127.0.0.1", "-p", self.port], folder, "moto",
                         conftest.clean_environment(folder))
        self.wait_for(lambda: "Running on" in self.log(), limit_s=60, what="moto")
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


@pytest.fixture
def moto(tmp_path, processes):
    folder = tmp_path / "moto"
    folder.mkdir()
    server = Moto(folder)
    processes.append(server)
    return server


@pytest.fixture
def aws_cli(moto, tmp_path):
    """Our client alone, without SSM: aws_cli("name", "box") -> lines."""
    def run(*args, env=None):
        settings = {**conftest.clean_environment(tmp_path), **moto.env(), **(env or {})}
        return harness.run([harness.program("unit/aws_cli"), *args], env=settings).stdout.decode().split("\n")[:-1]
    return run


def test_names_over_several_pages(moto, aws_cli):
    fleet = {moto.launch(Name="fleet")["InstanceId"] for _ in range(FLEET)}
    moto.launch(Name="fleet-2")
    first = moto.ec2.describe_instances(Filters=[{"Name": "tag:Name", "Values": ["fleet"]}])
    assert first.get("NextToken"), "moto gives all on one page: launch more"
    assert {line.split()[0] for line in aws_cli("name", "fleet")} == fleet
    one = fleet.pop()
    assert aws_cli("id", one) == [f"{one} running"]
    moto.ec2.terminate_instances(InstanceIds=list(fleet))
    assert aws_cli("name", "fleet") == [f"{one} running"]
    assert aws_cli("name", "flee*") == [] == aws_cli("name", "nobody")
    assert aws_cli("id", "i-0123456789abcdef0") == []


@pytest.fixture
def both(moto, localaws, awsocks, web):
    """A proxy that asks moto about instances, and the emulator for sessions to this one of moto's."""
    def start(instance, *options):
        aws = localaws("--instance", f"id={instance}", "--resolve", f"intranet.example=127.0.0.1:{web.port}")
        return awsocks(*options, aws=aws, target=False, env={"AWS_ENDPOINT_URL_EC2": moto.url})
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


def test_a_chain_of_roles(moto, tmp_path):
    config = tmp_path / "aws"
    config.write_text("[profile base]\naws_access_key_id = " + KEYS[0] + "\naws_secret_access_key = " + KEYS[1] + "\n"
                      "[profile first]\nrole_arn = arn:aws:iam::123456789012:role/First\nsource_profile = base\n"
                      "role_session_name = one\n"
                      "[profile second]\nrole_arn = arn:aws:iam::210987654321:role/Second\nsource_profile = first\n"
                      "role_session_name = two\nexternal_id = x\nduration_seconds = 1800\n")
    env = {**conftest.clean_environment(tmp_path), "AWS_ENDPOINT_URL": moto.url, "AWS_REGION": REGION,
           "AWS_CONFIG_FILE": str(config), "AWS_SHARED_CREDENTIALS_FILE": str(tmp_path / "none"),
           "AWS_EC2_METADATA_DISABLED": "true"}
    r = subprocess.run([harness.program("awsocks"), "credentials", "--profile", "second"], env=env, check=True,
                       capture_output=True, timeout=harness.LIMIT_S)
    found = json.loads(r.stdout)
    sts = moto.client("sts", (found["AccessKeyId"], found["SecretAccessKey"], found["SessionToken"]))
    assert sts.get_caller_identity()["Arn"] == "arn:aws:sts::210987654321:assumed-role/Second/two"
    assert found["Expiration"].endswith("Z")
