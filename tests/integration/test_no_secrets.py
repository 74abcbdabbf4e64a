"""No source of credentials lets a secret into the log, at the finest level, or into an argument list."""
import glob
import json
import os

import pytest

import client
import harness
from conftest import INSTANCE
from test_refresh import HOSTS, environment
from test_sources_botocore import ARN, jwt


def secrets_of(proxy):
    r = harness.run([harness.program("awsocks"), "credentials"], env=proxy.env)
    got = json.loads(r.stdout)
    return [got["SecretAccessKey"], *([got["SessionToken"]] if "SessionToken" in got else [])]


def settings(aws, source, role, tmp_path):
    if source in ("role", "instance", "container"):
        return environment(aws, source, role), []
    own = aws.env()
    if source == "keys":
        return own, [own["AWS_SECRET_ACCESS_KEY"]]
    folder = tmp_path / "aws"
    folder.mkdir()
    if source == "web identity":
        token = jwt(secret="x" * 40)
        (folder / "token").write_text(token)
        return {"AWS_ENDPOINT_URL": aws.endpoint, "AWS_REGION": own["AWS_REGION"], "AWS_ROLE_ARN": ARN + "web",
                "AWS_WEB_IDENTITY_TOKEN_FILE": str(folder / "token")}, [token]
    (folder / "json").write_text(json.dumps({"Version": 1, "AccessKeyId": own["AWS_ACCESS_KEY_ID"],
                                             "SecretAccessKey": own["AWS_SECRET_ACCESS_KEY"]}))
    (folder / "config").write_text(f"[default]\ncredential_process = cat {folder}/json\n")
    return {"AWS_ENDPOINT_URL": aws.endpoint, "AWS_REGION": own["AWS_REGION"],
            "AWS_CONFIG_FILE": str(folder / "config"),
            "AWS_SHARED_CREDENTIALS_FILE": str(folder / "none")}, [own["AWS_SECRET_ACCESS_KEY"]]


@pytest.mark.parametrize("source", ["keys", "role", "instance", "container", "web identity", "process"])
def test_no_secret_in_the_log(localaws, awsocks, web, role, tmp_path, source):
    aws = localaws("--resolve", f"{HOSTS[0]}=127.0.0.1")
    env, known = settings(aws, source, role, tmp_path)
    proxy = awsocks("--route-default", "proxy", "--instance-id", INSTANCE, "--log-level", "debug", env=env)
    with client.socks5(proxy.listener, HOSTS[0], web.port) as s:
        s.sendall(f"GET /bytes/10 HTTP/1.1\r\nHost: {HOSTS[0]}\r\n\r\n".encode())
        assert client.read_head(s).startswith(b"HTTP/1.1 200")
        for name in glob.glob(f"/proc/{proxy.pid}/cmdline"):
            with open(name, "rb") as f:
                known_in_argv = f.read()
            assert not any(k.encode() in known_in_argv for k in known)
    known += secrets_of(proxy)
    status = harness.run([harness.program("awsocks"), "status", "--json"], env=proxy.env).stdout.decode()
    told = proxy.log() + status
    if os.path.exists(os.path.join(proxy.env["HOME"], "audit", "audit.jsonl")):
        told += str(proxy.audit())
    assert "debug" in proxy.log() and known
    for secret in known:
        assert secret not in told
