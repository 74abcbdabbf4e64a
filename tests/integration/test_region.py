"""The region when nothing names one: that of the instance we run on, as for the AWS CLI v2. And how instance metadata
are asked: as often and as patiently as botocore does it, and never through a proxy."""
import json
import os
import select
import threading
import time

import pytest

botocore_session = pytest.importorskip("botocore.session")
from botocore.utils import IMDSRegionProvider  # noqa: E402

import client  # noqa: E402
import harness  # noqa: E402
import peer  # noqa: E402
from conftest import INSTANCE, clean_environment  # noqa: E402
from test_credentials import cli, fields  # noqa: E402,F401

HOST, REGION = "api.internal.example", "us-east-1"     # the emulator's instance metadata say so
AWSOCKS = harness.program("awsocks")
PATIENT = {"AWS_METADATA_SERVICE_TIMEOUT": "20"}       # they are asked once, for a second, if nothing else is said


def nowhere(aws, imds=None):
    """An environment with keys, and nothing that names a region but `imds`."""
    own = {k: v for k, v in aws.env().items() if "REGION" not in k}
    return {**own, **PATIENT, "AWS_EC2_METADATA_DISABLED": "false",
            "AWS_EC2_METADATA_SERVICE_ENDPOINT": imds or aws.endpoint}


@pytest.fixture
def home(tmp_path):
    folder = tmp_path / "home"
    folder.mkdir()
    return folder


def fetch(proxy, web):
    with client.socks5(proxy.listener, HOST, web.port) as s:
        s.sendall(f"GET /bytes/10 HTTP/1.1\r\nHost: {HOST}\r\nConnection: close\r\n\r\n".encode())
        return client.read_head(s)


def start(awsocks, env, *options):
    """awsocks() names a region itself, with nothing in it that is none."""
    return awsocks("--route-default", "proxy", "--instance-id", INSTANCE, "--while-initializing", "hold", *options,
                   env={**env, "AWS_REGION": ""})


def test_the_proxy_asks_when_it_is_needed(localaws, awsocks, web):
    aws = localaws("--resolve", f"{HOST}=127.0.0.1")
    proxy = start(awsocks, nowhere(aws))
    assert aws.stats()["InstanceMetadata"] == 0
    assert proxy.status()["backends"][0]["state"] == "idle"
    results = []
    threads = [threading.Thread(target=lambda: results.append(fetch(proxy, web))) for _ in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert [r[:12] for r in results] == [b"HTTP/1.1 200"] * 4, str(proxy.audit())
    assert proxy.status()["backends"][0]["region"] == REGION
    assert aws.stats()["InstanceMetadata"] == 2           # a token, and the region; for all of them together
    assert aws.stats()["signatures_bad"] == 0


def test_no_lazy_asks_at_once(localaws, awsocks, web):
    aws = localaws("--resolve", f"{HOST}=127.0.0.1")
    proxy = start(awsocks, nowhere(aws), "--no-lazy")
    assert proxy.status()["backends"][0]["region"] == REGION
    assert fetch(proxy, web).startswith(b"HTTP/1.1 200")


def test_nobody_asks_when_something_names_it(localaws, awsocks, web):
    aws = localaws("--resolve", f"{HOST}=127.0.0.1")
    proxy = start(awsocks, nowhere(aws), "--region", "eu-west-1")
    assert fetch(proxy, web).startswith(b"HTTP/1.1 200")
    assert aws.stats()["InstanceMetadata"] == 0 and proxy.status()["backends"][0]["region"] == "eu-west-1"


@pytest.mark.parametrize("disabled", ["false", "true"])
def test_none_is_said_and_then_looked_for_anew(localaws, awsocks, web, tmp_path, closed_port, disabled):
    aws = localaws("--resolve", f"{HOST}=127.0.0.1")
    folder = tmp_path / "aws"      # of its own: so the fence lets new files in
    folder.mkdir()
    proxy = start(awsocks, {**nowhere(aws, f"http://127.0.0.1:{closed_port}"),
                            "AWS_EC2_METADATA_DISABLED": disabled, "AWS_CONFIG_FILE": str(folder / "config")})
    with pytest.raises(client.Refused):
        fetch(proxy, web)
    assert "no AWS region: give --region, AWS_REGION, or region in the AWS profile 'default'" in proxy.log()
    assert "instance metadata" in harness.wait_for(proxy.audit, what="the audit line")[-1]["error"]
    assert proxy.status()["backends"][0]["state"] == "failed" and aws.stats()["requests"] == 0
    (folder / "config").write_text("[default]\nregion = eu-west-3\n")

    def served():
        try:
            return fetch(proxy, web).startswith(b"HTTP/1.1 200")
        except client.Refused:
            return False
    harness.wait_for(served, what="the region of the file")
    assert proxy.status()["backends"][0]["region"] == "eu-west-3"


def run(home, env, *argv, check=True, **more):
    return harness.run([AWSOCKS, *argv], env={**clean_environment(home), **env}, check=check, **more)


def test_commands_that_ask_once(localaws, home):
    aws = localaws()
    env = nowhere(aws)
    said = run(home, env, "credentials", "--explain").stdout.decode()
    assert f"region      {REGION} (instance metadata)" in said and aws.stats()["InstanceMetadata"] == 2
    assert run(home, env, "credentials", "--region", "eu-west-1", "--explain").stdout.count(b"eu-west-1\n") == 1
    assert aws.stats()["InstanceMetadata"] == 2
    assert INSTANCE in run(home, env, "targets").stdout.decode()
    assert f"region {REGION}" in run(home, env, "doctor", "--instance-id", INSTANCE).stdout.decode()
    assert aws.stats()["signatures_bad"] == 0


def test_the_region_that_botocore_finds(localaws, home, monkeypatch):
    aws = localaws()
    env = {**clean_environment(home), **nowhere(aws)}
    for old in [k for k in os.environ if k.startswith("AWS")]:
        monkeypatch.delenv(old)
    for key, value in env.items():
        monkeypatch.setenv(key, value)
    theirs = IMDSRegionProvider(botocore_session.Session()).provide()
    assert f"region      {theirs} (" in run(home, env, "credentials", "--explain").stdout.decode()


def test_one_connection_to_the_instance(localaws, home, web):
    aws = localaws()
    request = b"GET /bytes/10 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
    r = run(home, nowhere(aws), "connect", INSTANCE, str(web.port), input=request)
    assert r.stdout.startswith(b"HTTP/1.1 200")


def test_without_one_commands_say_so(localaws, home, closed_port):
    aws = localaws()
    env = nowhere(aws, f"http://127.0.0.1:{closed_port}")
    r = run(home, env, "targets", check=False)
    assert r.returncode == 65 and b"no AWS region: give --region" in r.stderr and b"instance metadata" in r.stderr
    assert b"region      none (give --region or AWS_REGION)" in run(home, env, "credentials", "--explain").stdout
    r = run(home, env, "doctor", "--instance-id", INSTANCE, check=False)
    assert r.returncode == 65 and b"no AWS region" in r.stdout


def test_sts_of_the_instances_region(localaws, home, tmp_path):
    """A role without a region anywhere: STS is asked where the instance is, and without one at us-east-1."""
    aws = localaws()
    (tmp_path / "config").write_text(
        "[profile r]\nrole_arn = arn:aws:iam::123456789012:role/R\ncredential_source = Environment\n")
    env = {**nowhere(aws), "AWS_CONFIG_FILE": str(tmp_path / "config")}
    assert b"assume role" in run(home, env, "credentials", "--profile", "r", "--explain").stdout
    assert aws.stats()["InstanceMetadata"] >= 2 and aws.stats()["AssumeRole"] == 1


class Metadata(peer.Http):
    """Instance metadata with faults: {path's end: [status, ... or "empty", "junk", "late", "never"]}, one a request."""

    def __init__(self, faults):
        self.faults = {k: list(v) for k, v in faults.items()}
        self.seen = []
        fake = self

        class Handler(peer.Handler):
            protocol_version = "HTTP/1.1"

            def do_GET(self):
                fake.answer(self)
            do_PUT = do_GET

        self.serve(Handler)

    def answer(self, h):
        name = h.path.rstrip("/").rsplit("/", 1)[-1]
        self.seen.append((h.command, name))
        fault = self.faults.get(name, [])
        fault = fault.pop(0) if fault else 200
        text = {"token": "t0ken", "security-credentials": "one", "one": json.dumps(
            {"Code": "Success", "AccessKeyId": "AKIDONE", "SecretAccessKey": "s", "Token": "t",
             "Expiration": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 3600))})}[name]
        if fault == "late":
            time.sleep(1.2)
        if fault == "never":
            select.select([h.connection], [], [], harness.LIMIT_S)     # whoever asked closes it
        text = {"empty": "", "junk": "{"}.get(fault, text)
        try:
            h.send_response(fault if isinstance(fault, int) else 200)
            h.send_header("Content-Length", str(len(text)))
            h.end_headers()
            h.wfile.write(text.encode())
        except OSError:
            pass                        # whoever asked has gone


@pytest.mark.parametrize("attempts,profile,faults,good", [
    (None, "", {}, True),
    (None, "", {"security-credentials": [500]}, False),
    (None, "", {"one": ["junk"]}, False),
    ("3", "", {"token": [500, 503], "security-credentials": [500, "empty"], "one": ["junk", 500]}, True),
    ("3", "", {"security-credentials": [500, 500, 500]}, False),
    ("3", "", {"security-credentials": [404, 429]}, True),
    (None, "metadata_service_num_attempts = 2", {"security-credentials": [500], "one": ["empty"]}, True),
    ("1", "metadata_service_num_attempts = 2", {"security-credentials": [500]}, False),
    ("0", "", {}, False),
], ids=lambda v: str(v) if isinstance(v, (str, type(None))) else "")
def test_as_often_as_botocore(cli, home, monkeypatch, attempts, profile, faults, good):  # noqa: F811
    (home / "aws-config").write_text(f"[default]\n{profile}\n")
    env = {**clean_environment(home), **PATIENT, "AWS_CONFIG_FILE": str(home / "aws-config"),
           "AWS_EC2_METADATA_DISABLED": "false"}
    if attempts:
        env["AWS_METADATA_SERVICE_NUM_ATTEMPTS"] = attempts
    ours, theirs = both(cli, env, faults, monkeypatch)
    assert ours[0] == theirs[0] == good and ours[1] == theirs[1]


def both(cli, env, faults, monkeypatch):  # noqa: F811
    """(credentials came, requests) of ours, of botocore's."""
    results = []
    for who in ("ours", "theirs"):
        service = Metadata(faults)
        env = {**env, "AWS_EC2_METADATA_SERVICE_ENDPOINT": service.url}
        if who == "ours":
            r = harness.run([cli, "creds"], env=env, check=False)
            good = r.returncode == 0 and fields(r.stdout.decode().splitlines())["id"] == "AKIDONE"
        else:
            for old in [k for k in os.environ if k.startswith("AWS")]:
                monkeypatch.delenv(old)
            for key, value in env.items():
                monkeypatch.setenv(key, value)
            found = botocore_session.Session().get_credentials()
            good = found is not None and found.access_key == "AKIDONE"
        service.stop()
        results.append((good, service.seen))
    return results


@pytest.mark.parametrize("how,good", [(None, False), ("environment", True)])
def test_as_patient_as_botocore(cli, home, monkeypatch, how, good):  # noqa: F811
    (home / "aws-config").write_text("[default]\n")
    env = {**clean_environment(home), "AWS_CONFIG_FILE": str(home / "aws-config"), "AWS_EC2_METADATA_DISABLED": "false"}
    if how == "environment":
        env.update(PATIENT)
    for _ in range(5):
        ours, theirs = both(cli, env, {"one": ["late" if how else "never"]}, monkeypatch)
        if ("GET", "one") in ours[1] and ("GET", "one") in theirs[1]:
            break       # a second was enough for the two requests before, which a busy machine may not grant
    assert ours == theirs and ours[0] == good


@pytest.mark.parametrize("source", ["instance", "container", "region"])
def test_metadata_never_go_through_a_proxy(localaws, home, counter, source):
    aws = localaws()
    names = ("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy", "ALL_PROXY", "all_proxy")
    env = {n: f"http://127.0.0.1:{counter.port}" for n in names}
    if source == "region":
        env.update(nowhere(aws))
    elif source == "instance":
        env.update({**PATIENT, "AWS_EC2_METADATA_DISABLED": "false", "AWS_EC2_METADATA_SERVICE_ENDPOINT": aws.endpoint})
    else:
        env["AWS_CONTAINER_CREDENTIALS_FULL_URI"] = f"{aws.endpoint}/v2/credentials/x"
    said = run(home, env, "credentials", "--explain").stdout.decode()
    assert {"instance": "source      instance metadata", "container": "source      container",
            "region": f"region      {REGION}"}[source] in said
    assert counter.count == 0 and aws.stats()["requests"] > 0
