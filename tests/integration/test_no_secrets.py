"""No source of credentials lets a secret into the log, at the finest level, into an argument list, or into the
environment of a process that was not given it."""
import json
import os
import sys

import pytest

import client
import harness
from conftest import INSTANCE
from test_refresh import HOSTS, environment
from test_sources_botocore import ARN, jwt
from test_sso import BOB, Home, login_session

PROCESS = """import os, sys
folder, answer = sys.argv[1:]
with open(os.path.join(folder, "seen"), "ab") as to:
    for name in ("self/cmdline", "self/environ", "%d/cmdline" % os.getppid()):
        with open("/proc/" + name, "rb") as f:
            to.write(f.read() + b"\\0")
print(open(answer).read())
"""


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
    (folder / "process.py").write_text(PROCESS)
    (folder / "config").write_text(
        f"[default]\ncredential_process = {sys.executable} {folder}/process.py {folder} {folder}/json\n")
    return {"AWS_ENDPOINT_URL": aws.endpoint, "AWS_REGION": own["AWS_REGION"],
            "AWS_CONFIG_FILE": str(folder / "config"),
            "AWS_SHARED_CREDENTIALS_FILE": str(folder / "none")}, [own["AWS_SECRET_ACCESS_KEY"]]


def family(pid):
    """The process and those below it."""
    parents = {}
    for name in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{name}/stat", encoding="latin-1") as f:
                parents[int(name)] = int(f.read().rsplit(")", 1)[1].split()[1])
        except OSError:
            pass                                    # it has just ended
    found = {pid}
    while more := {p for p, parent in parents.items() if parent in found} - found:
        found |= more
    return found


def read_proc(pid, name):
    try:
        with open(f"/proc/{pid}/{name}", "rb") as f:
            return f.read().decode("latin-1")
    except OSError:
        return ""


def check(proxy, known):
    """Nothing of `known` in argument lists, environments (but for what was given), the log, status, audit."""
    given = "\0".join(proxy.env.values())
    for pid in family(proxy.pid):
        arguments, environment = read_proc(pid, "cmdline"), read_proc(pid, "environ")
        assert not [k for k in known if k in arguments]
        assert not [k for k in known if k in environment and k not in given]
    told = proxy.log() + harness.run([harness.program("awsocks"), "status", "--json"], env=proxy.env).stdout.decode()
    with open(proxy.argv[proxy.argv.index("--audit-log") + 1], encoding="utf-8") as f:
        told += f.read()
    assert "debug" in proxy.log() and known and all(known)
    assert not [k for k in known if k in told]


def fetch(proxy, web, host=HOSTS[0]):
    with client.socks5(proxy.listener, host, web.port) as s:
        s.sendall(f"GET /bytes/10 HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
        assert client.read_head(s).startswith(b"HTTP/1.1 200"), proxy.log()


@pytest.mark.parametrize("source", ["keys", "role", "instance", "container", "web identity", "process"])
def test_no_secret_in_the_log(localaws, awsocks, web, role, tmp_path, source):
    aws = localaws("--resolve", f"{HOSTS[0]}=127.0.0.1")
    env, known = settings(aws, source, role, tmp_path)
    proxy = start(awsocks, env)
    fetch(proxy, web)
    check(proxy, known + secrets_of(proxy))
    if source == "process":
        seen = (tmp_path / "aws" / "seen").read_text(encoding="latin-1")
        assert seen.count("awsocks") and not [k for k in known if k in seen]


def start(awsocks, env, *options):
    return awsocks("--route-default", "proxy", "--instance-id", INSTANCE, "--log-level", "debug",
                   "--while-initializing", "hold", *options, env=env)


def test_no_secret_of_a_container_that_wants_a_token(localaws, awsocks, web, tmp_path):
    aws = localaws("--resolve", f"{HOSTS[0]}=127.0.0.1", "--container-token", "the-containers-own-secret")
    folder = tmp_path / "aws"
    folder.mkdir()
    (folder / "token").write_text("the-containers-own-secret")
    proxy = start(awsocks, {"AWS_ENDPOINT_URL": aws.endpoint, "AWS_REGION": "eu-central-1",
                            "AWS_CONTAINER_CREDENTIALS_FULL_URI": aws.endpoint + "/v2/credentials/the-secret-path",
                            "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE": str(folder / "token")})
    fetch(proxy, web)
    check(proxy, ["the-containers-own-secret", "the-secret-path", *secrets_of(proxy)])


@pytest.fixture
def home(tmp_path, localaws):
    folder = tmp_path / "home"
    folder.mkdir()
    return Home(folder, localaws("--resolve", f"{HOSTS[0]}=127.0.0.1"))


def signed_in(home, awsocks, profile, *options):
    """With its AWS files, and a HOME of its own for what it writes."""
    return start(awsocks, {**home.env, "AWS_PROFILE": profile}, *options)


def secrets_in(tree, names=("accessToken", "refreshToken", "clientSecret", "dpopKey", "idToken", "secretAccessKey",
                            "sessionToken")):
    """Texts of these names anywhere in it; of a PEM its lines."""
    found = []
    for key, value in tree.items():
        if isinstance(value, dict):
            found += secrets_in(value, names)
        elif key in names and value:
            found += [line for line in value.splitlines() if not line.startswith("-----")]
    return found


def test_no_secret_of_a_sign_in(home, awsocks, web):
    status, said = home.login()
    assert status == 0
    known = secrets_in(home.token())
    home.ages()
    proxy = signed_in(home, awsocks, "corp")
    fetch(proxy, web)
    assert "sign-in renewed" in proxy.log()
    known += secrets_in(home.token()) + secrets_of(proxy)
    for folder, _, files in os.walk(home.path("sso", "cache")):
        for name in files:
            known += secrets_in(harness.read_json(os.path.join(folder, name)))
    check(proxy, known)
    assert len(set(known)) >= 7 and not [k for k in known if k in said]


def test_no_secret_of_aws_login(home, awsocks, web):
    known = secrets_in(login_session(home, 100))
    proxy = signed_in(home, awsocks, "bob")
    fetch(proxy, web)
    assert home.aws.stats()["CreateOAuth2Token"] == 1
    known += secrets_in(harness.read_json(home.path("login", "cache", BOB))) + secrets_of(proxy)
    check(proxy, known)
    assert len(set(known)) >= 8


def test_no_secret_where_a_sign_in_fails(home, awsocks, web):
    """Refusals quote what they refuse."""
    assert home.login()[0] == 0
    home.set_token(refreshToken="a-refresh-token-that-was-used")
    home.ages(left_s=-5)
    proxy = signed_in(home, awsocks, "corp")
    with pytest.raises(client.Refused):
        fetch(proxy, web)
    check(proxy, secrets_in(home.token()))
    proxy.stop()


def test_no_secret_given_to_ssh(localaws, awsocks, web, role, sshd):
    """What the ssh below us is given by us: neither keys of AWS nor a session's token."""
    aws = localaws("--resolve", f"localhost:22=127.0.0.1:{sshd.port}", "--resolve", f"{HOSTS[0]}=127.0.0.1")
    proxy = start(awsocks, role(aws), "--transport", "ssh", "--ssh-user", sshd.user, "--ssh-key",
                  str(sshd.folder / "client_key"))
    fetch(proxy, web, "127.0.0.1")
    assert any("ssh" in read_proc(pid, "comm") for pid in family(proxy.pid))
    check(proxy, secrets_of(proxy))
