"""Several profiles in one process: each has its own account, region and instance, and rules name them."""
import contextlib
import json

import botocore.exceptions
import botocore.session
import client
import harness
import pytest
import test_sso
import web as web_server

ONE, TWO = "i-0000000000000000a", "i-0000000000000000b"


def test_two_accounts(localaws, awsocks, web, tmp_path):
    names = ("--resolve", f"one.example=127.0.0.1:{web.port}", "--resolve", f"two.example=127.0.0.1:{web.port}")
    first = localaws("--region", "eu-central-1", "--instance", f"id={ONE},name=bastion", *names)
    second = localaws("--region", "us-west-2", "--instance", f"id={TWO},name=bastion", *names)
    keys = first.env()
    files = tmp_path / "aws"
    files.write_text("".join(
        f"[profile {name}]\nregion = {region}\nendpoint_url = {of.endpoint}\n"
        f"aws_access_key_id = {keys['AWS_ACCESS_KEY_ID']}\naws_secret_access_key = {keys['AWS_SECRET_ACCESS_KEY']}\n"
        for name, region, of in (("prod", "eu-central-1", first), ("lab", "us-west-2", second))))
    config = tmp_path / "config.yaml"
    config.write_text("profiles:\n  default: { name: bastion, aws-profile: prod }\n"
                      "  staging: { name: bastion, aws-profile: lab }\n")
    rules = tmp_path / "rules.yaml"
    rules.write_text("default: block\nproxy: [one.example]\nrules:\n"
                     "  - { match: two.example, route: 'proxy:staging' }\n")
    proxy = awsocks("--config", str(config), "--rules", str(rules),
                    env={"AWS_CONFIG_FILE": str(files), "AWS_SHARED_CREDENTIALS_FILE": str(tmp_path / "none"),
                         "AWS_REGION": ""})
    for name in ("one", "two"):
        client.curl("--proxy", proxy.url(), "--fail", f"http://{name}.example/bytes/10")
    backends = {b["name"]: b for b in proxy.status()["backends"]}
    assert [(b["instance"], b["region"]) for b in backends.values()] == [(ONE, "eu-central-1"), (TWO, "us-west-2")]
    assert first.stats()["StartSession"] == second.stats()["StartSession"] == 1
    assert proxy.stop() == 0
    lines = {line["host"]: line["route"] for line in proxy.audit()}
    assert lines == {"one.example": "proxy", "two.example": "proxy:staging"}
    for aws in (first, second):
        aws.wait_sessions_open(0)


# --- two accounts at one AWS ---

LAB = "210987654321"


def keys_of(aws, account=None):
    at = aws.ready["accounts"][account] if account else aws.ready
    return at["access_key_id"], at["secret_access_key"]


def aws_api(aws, service, keys, region="eu-central-1"):
    session = botocore.session.Session()
    session.set_credentials(*keys)
    return session.create_client(service, region_name=region, endpoint_url=aws.endpoint)


@contextlib.contextmanager
def refused(code):
    with pytest.raises(botocore.exceptions.ClientError) as told:
        yield
    assert told.value.response["Error"]["Code"] == code


@pytest.fixture
def shops(localaws, web):
    """An AWS with two accounts. The same private name is another host in each one's VPC."""
    other = web_server.WebServer()
    aws = localaws("--account", LAB, "--instance", f"id={ONE},name=bastion,region=eu-central-1",
                   "--instance", f"id={TWO},name=bastion,account={LAB},region=us-west-2",
                   "--resolve", f"123456789012/shop.example=127.0.0.1:{web.port}",
                   "--resolve", f"{LAB}/shop.example=127.0.0.1:{other.port}")
    yield aws, web, other
    other.stop()


def test_accounts_do_not_see_each_other(shops):
    aws, _, _ = shops
    first, lab = keys_of(aws), keys_of(aws, LAB)
    for keys, region, account, own, foreign in ((first, "eu-central-1", "123456789012", ONE, TWO),
                                                (lab, "us-west-2", LAB, TWO, ONE)):
        assert aws_api(aws, "sts", keys).get_caller_identity()["Account"] == account
        ec2, ssm = aws_api(aws, "ec2", keys, region), aws_api(aws, "ssm", keys, region)
        assert [r["Instances"][0]["InstanceId"] for r in ec2.describe_instances()["Reservations"]] == [own]
        assert [i["InstanceId"] for i in ssm.describe_instance_information()["InstanceInformationList"]] == [own]
        with refused("InvalidInstanceID.NotFound"):
            ec2.stop_instances(InstanceIds=[foreign])
        with refused("TargetNotConnected"):
            ssm.start_session(Target=foreign, DocumentName="AWS-StartSSHSession")
        session = ssm.start_session(Target=own, DocumentName="AWS-StartSSHSession")["SessionId"]
        other = aws_api(aws, "ssm", lab if keys == first else first, region)
        for call in (other.resume_session, other.terminate_session):
            with refused("DoesNotExistException"):
                call(SessionId=session)
        ssm.terminate_session(SessionId=session)
    assert aws_api(aws, "ec2", first, "us-west-2").describe_instances()["Reservations"] == []
    sts = aws_api(aws, "sts", first)
    role = sts.assume_role(RoleArn=f"arn:aws:iam::{LAB}:role/R", RoleSessionName="me")
    assert role["AssumedRoleUser"]["Arn"] == f"arn:aws:sts::{LAB}:assumed-role/R/me"
    with refused("AccessDenied"):
        sts.assume_role(RoleArn="arn:aws:iam::999999999999:role/R", RoleSessionName="me")


def profiles(tmp_path, aws, lab_keys, lab_patience="30s"):
    """AWS files with the profiles prod and lab, and the two that awsocks makes of them."""
    files, config = tmp_path / "aws", tmp_path / "config.yaml"
    files.write_text("".join(
        f"[profile {name}]\nregion = {region}\nendpoint_url = {aws.endpoint}\n"
        f"aws_access_key_id = {keys[0]}\naws_secret_access_key = {keys[1]}\n"
        for name, region, keys in (("prod", "eu-central-1", keys_of(aws)), ("lab", "us-west-2", lab_keys))))
    config.write_text("profiles:\n"
                      f"  default: {{ instance-id: {ONE}, aws-profile: prod, connect-timeout: 30s }}\n"
                      f"  staging: {{ instance-id: {TWO}, aws-profile: lab, connect-timeout: {lab_patience} }}\n")
    rules = tmp_path / "rules.yaml"
    rules.write_text("default: block\nrules:\n  - { match: 'shop.example:80', route: proxy }\n"
                     "  - { match: 'shop.example:81', route: 'proxy:staging' }\n")
    return ["--config", str(config), "--rules", str(rules)], {
        "AWS_CONFIG_FILE": str(files), "AWS_SHARED_CREDENTIALS_FILE": str(tmp_path / "none"), "AWS_REGION": ""}


def test_each_account_has_its_own_agent(shops, awsocks, tmp_path):
    """One process, one name, two ports: the rules say whose VPC it is looked up in."""
    aws, web, other = shops
    options, env = profiles(tmp_path, aws, keys_of(aws, LAB))
    proxy = awsocks(*options, env=env)
    for port, server in ((80, web), (81, other), (80, web)):
        client.curl("--proxy", proxy.url(), "--fail", f"http://shop.example:{port}/bytes/{port}")
        assert server.seen[-1][1] == f"/bytes/{port}"
    assert [len(server.seen) for server in (web, other)] == [2, 1]
    backends = {b["name"]: (b["instance"], b["region"], b["state"]) for b in proxy.status()["backends"]}
    assert list(backends.values()) == [(ONE, "eu-central-1", "active"), (TWO, "us-west-2", "active")]


def test_keys_of_one_account_do_not_reach_the_other(shops, awsocks, tmp_path):
    aws, _, other = shops
    options, env = profiles(tmp_path, aws, keys_of(aws), "2s")       # the first one's keys for both
    proxy = awsocks(*options, env=env)
    client.curl("--proxy", proxy.url(), "--fail", "http://shop.example:80/bytes/1")
    assert client.curl("--proxy", proxy.url(), "--fail", "http://shop.example:81/bytes/1", check=False).returncode
    harness.wait_for(lambda: f"{TWO} is not connected" in proxy.log(), what="why")
    assert other.seen == []


def test_one_sign_in_for_two_accounts(shops, tmp_path):
    """IAM Identity Center gives a role in each; a throttled portal delays, and no more."""
    aws, _, _ = shops
    folder = tmp_path / "home"
    folder.mkdir()
    home = test_sso.Home(folder, aws)
    home.write(".aws/config", "[sso-session corp]\nsso_start_url = https://x.awsapps.com/start\nsso_region = us-east-1\n"
               + "".join(f"[profile {name}]\nsso_session = corp\nsso_account_id = {account}\nsso_role_name = Dev\n"
                         f"region = {region}\n"
                         for name, account, region in (("prod", "123456789012", "eu-central-1"),
                                                       ("lab", LAB, "us-west-2"),
                                                       ("gone", "999999999999", "us-west-2"))))
    assert home.login("prod")[0] == 0
    aws.faults("throttle-api:GetRoleCredentials=1")
    for profile, ident in (("prod", ONE), ("lab", TWO)):
        lines = home.ok("targets", "--json", "--aws-profile", profile).splitlines()
        assert [json.loads(line)["id"] for line in lines] == [ident]
    assert "is not assigned to this user" in home.credentials("gone", status=77)


@pytest.mark.parametrize("option, words", [
    (("--account", "12"), "12 digits"), (("--account", "123456789012"), "is there already"),
    (("--instance", f"id={ONE},account={LAB}"), f"there is no --account {LAB}"),
    (("--resolve", f"{LAB}/x=127.0.0.1"), f"there is no --account {LAB}")])
def test_an_account_that_is_not_there_is_refused(option, words):
    r = harness.run([harness.program("awsocks-localaws"), "--listen", "127.0.0.1:0", *option], check=False)
    assert r.returncode == 64 and words in r.stderr.decode()
