"""awsocks targets and awsocks doctor: what is there, and the first broken link, each broken once."""
import contextlib
import json
import signal
import socket
import subprocess
import threading

import cli as command
import conftest
import fakeaws
import harness
import pytest

from test_localaws import api_of

ID = conftest.INSTANCE


@pytest.fixture
def run(tmp_path):
    home = tmp_path / "home"
    home.mkdir()
    return command.Cli(home)


def env_of(aws, **more):
    return {**aws.env(), "AWS_EC2_METADATA_DISABLED": "true", **more}


# --- targets ---

def test_targets(localaws, run):
    aws = localaws("--page-size", "1", "--instance", f"id={ID},name=box,ip=10.1.1.1", "--instance",
                   "id=i-0000000000000000b,name=off,state=stopped", "--instance", "id=mi-0123456789abcdef0")
    lines = run.ok("targets", env=env_of(aws)).splitlines()
    assert lines[0].split() == ["ID", "NAME", "STATE", "ADDRESS", "ZONE", "SSM", "AGENT"]
    assert lines[1].split()[:6] == [ID, "box", "running", "10.1.1.1", "us-east-1a", "Online"]
    assert lines[1].split()[6].startswith("3.")
    rows = {r["id"]: r for r in map(json.loads, run.ok("targets", "--json", env=env_of(aws)).splitlines())}
    assert rows["i-0000000000000000b"]["state"] == "stopped"
    assert rows["i-0000000000000000b"]["ssm"] == "ConnectionLost"
    assert len(rows) == 3
    assert [json.loads(line)["id"] for line in run.ok("targets", "--json", "--name", "off",
                                                      env=env_of(aws)).splitlines()] == ["i-0000000000000000b"]


def test_a_name_cannot_write_to_the_terminal(localaws, run):
    aws = localaws("--instance", f"id={ID},name=a\tb\nc")
    assert " a?b?c " in run.ok("targets", env=env_of(aws))
    assert json.loads(run.ok("targets", "--json", env=env_of(aws)))["name"] == "a\tb\nc"


def test_targets_with_half_the_permissions(localaws, run):
    aws = localaws("--fault", "deny-status")
    p = run("targets", "--json", env=env_of(aws))
    assert p.returncode == 0 and "DescribeInstanceInformation" in p.stderr
    assert json.loads(p.stdout)["ssm"] == ""
    aws.faults("clear\ndeny-ec2")
    p = run("targets", "--json", env=env_of(aws))
    assert p.returncode == 0 and json.loads(p.stdout)["ssm"] == "Online"
    aws.faults("deny-status")
    assert run("targets", env=env_of(aws)).returncode == 77


# --- doctor ---

def doctor(run, aws, *args, env=None):
    p = run("doctor", *args, env={**env_of(aws), "AWS_MAX_ATTEMPTS": "1", **(env or {})})
    assert p.stderr == ""
    return p.returncode, p.stdout


def test_all_is_well(localaws, run):
    aws = localaws()
    status, text = doctor(run, aws, "--name", "demo")
    assert status == 0, text
    assert [line.split()[1] for line in text.splitlines()] == [
        "files", "profile", "credentials", "clock", "endpoints", "permissions", "instance", "agent", "document",
        "data-channel"]
    assert aws.stats()["StartSession"] == 1
    aws.wait_sessions_open(0)


BROKEN = {
    # name: (faults, options, environment, status, link, words of what is wrong or of the cure)
    "profile": ("", (), {"AWS_PROFILE": "nobody"}, 65, "profile", ("nobody", "--aws-profile")),
    "region": ("", (), {"AWS_REGION": ""}, 65, "profile", ("no AWS region", "--region")),
    "credentials": ("", (), {"AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": ""}, 77, "credentials", ("login",)),
    "keys": ("", (), {"AWS_SECRET_ACCESS_KEY": "wrong"}, 77, "credentials", ("SignatureDoesNotMatch", "make new ones")),
    "endpoint": ("", (), {"AWS_ENDPOINT_URL_STS": "http://127.0.0.1:1"}, 69, "endpoints", ("refused", "HTTPS_PROXY")),
    "proxy": ("", (), {"HTTP_PROXY": "http://127.0.0.1:1"}, 69, "endpoints", ("refused", "HTTPS_PROXY")),
    "permission": ("deny-ec2", (), {}, 77, "permissions", ("UnauthorizedOperation", "ec2:DescribeInstances")),
    "nobody": ("", ("--name", "nobody"), {}, 69, "instance", ("named 'nobody'", "awsocks targets")),
    "stopped": ("", ("--name", "off"), {}, 69, "instance", ("is stopped", "--auto-start")),
    "agent": ("", ("--name", "lost"), {}, 69, "agent", ("lost the agent", "amazon-ssm-agent")),
    "ec2": ("", (), {"AWS_ENDPOINT_URL_EC2": "http://127.0.0.1:1"}, 69, "endpoints", ("refused", "AWS_ENDPOINT_URL_EC2")),
    "ssm": ("", (), {"AWS_ENDPOINT_URL_SSM": "http://127.0.0.1:1"}, 69, "endpoints", ("refused", "AWS_ENDPOINT_URL_SSM")),
    "ec2 is out of order": ("fail-api:ec2", (), {"AWS_MAX_ATTEMPTS": "1"}, 69, "instance", ("InternalError",)),
    "old agent": ("agent-version", (), {}, 69, "agent", ("3.0.1295.0 is too old", "AWS-UpdateSSMAgent")),
    "throttled": ("throttle-api:StartSession", (), {"AWS_MAX_ATTEMPTS": "1"}, 75, "session",
                  ("ThrottlingException", "many sessions")),
    "may not start": ("deny-ec2:StartInstances", ("--name", "off", "--auto-start"), {}, 77, "permissions",
                      ("UnauthorizedOperation", "allow ec2:StartInstances")),
    "may not stop": ("deny-ec2:StopInstances", ("--name", "demo", "--auto-start", "--auto-stop"), {}, 77,
                     "permissions", ("ok      permissions  ec2:StartInstances", "allow ec2:StopInstances")),
    "ssmmessages": ("", ("--name", "demo", "--ssmmessages-endpoint", "http://127.0.0.1:1"), {}, 69, "data-channel",
                    ("refused", "ssmmessages")),
    "no ssmmessages": ("", ("--name", "demo", "--ssmmessages-endpoint", "gopher://x"), {}, 65, "data-channel",
                       ("correct --ssmmessages-endpoint",)),
    "denied": ("refuse-session", (), {}, 77, "permissions", ("AccessDenied", "ssm:StartSession")),
    "not connected": ("not-connected", (), {}, 69, "agent", ("is not connected", "amazon-ssm-agent")),
    "document": ("refuse-remote-host", (), {}, 69, "document", ("InvalidDocument", "--transport ssh")),
    "data channel": ("deny-channel", (), {}, 77, "data-channel", ("ssmmessages:OpenDataChannel",)),
}


@pytest.mark.parametrize("what", BROKEN)
def test_the_broken_link_is_named(localaws, run, what):
    faults, options, env, want, link, words = BROKEN[what]
    more = []
    if faults == "agent-version":
        faults, more = "", ["--agent-version", "3.0.1295.0"]
    aws = localaws("--instance", f"id={ID},name=demo", "--instance", "id=i-0000000000000000b,name=off,state=stopped",
                   "--instance", "id=i-0000000000000000c,name=lost,state=stopped", *more)
    if what == "agent":     # it runs, and its agent has not come
        aws.faults("connect-delay=1000000")
        api_of(aws).client("ec2").start_instances(InstanceIds=["i-0000000000000000c"])
    aws.faults(faults)
    status, text = doctor(run, aws, *(options or ("--name", "demo")), env=env)
    lines = [line for line in text.splitlines() if line.startswith("BROKEN")]
    assert len(lines) == 1 and lines[0].split()[1] == link, text
    for word in words:
        assert word in text, (word, text)
    assert status == want, text
    assert text.splitlines()[-1].split()[0] == "cure:"


def test_the_document_is_that_of_the_transport(localaws, run):
    aws = localaws()
    status, text = doctor(run, aws, "--name", "demo", "--transport", "ssh")
    assert status == 0 and "AWS-StartSSHSession" in text, text
    aws.faults("refuse-ssh")
    status, text = doctor(run, aws, "--name", "demo", "--transport", "ssh")
    assert status == 77 and "BROKEN  permissions" in text and "the document AWS-StartSSHSession" in text
    status, text = doctor(run, aws, "--name", "demo", "--transport", "ssh", "--ssh-document", "port")
    assert status == 0 and "AWS-StartPortForwardingSession\n" in text, text


def test_an_id_needs_no_permission_to_look_it_up(localaws, run):
    aws = localaws("--fault", "deny-ec2", "--fault", "deny-status")
    status, text = doctor(run, aws, "--instance-id", ID)
    assert status == 0 and "without ec2:DescribeInstances" in text and "not asked" in text, text


def test_a_proxy_that_is_none_is_told(localaws, run):
    aws = localaws()
    status, text = doctor(run, aws, "--name", "demo", env={"HTTPS_PROXY": "gopher://x"})
    assert status == 65 and "BROKEN  proxy" in text and "HTTPS_PROXY" in text, text


def test_one_profile_and_no_more(run):
    for name in ("doctor", "targets"):
        p = run(name, "one", "two")
        assert p.returncode == 64 and f"{name}: unknown argument 'two'" in p.stderr


def test_files_that_cannot_be_read(localaws, run):
    aws = localaws()
    status, text = doctor(run, aws, "--name", "demo", env={"AWS_CONFIG_FILE": run.write("aws", "[default\n")})
    assert status == 65 and "BROKEN  files" in text and "aws:1" in text
    text = doctor(run, aws, "--name", "demo", env={"AWS_CONFIG_FILE": run.write("aws", "[default]\n"),
                                                   "AWS_SHARED_CREDENTIALS_FILE": "/nowhere/credentials"})[1]
    assert "/aws, /nowhere/credentials (not there)\n" in text


def test_a_clock_that_is_wrong_is_told(localaws, run):
    aws = localaws("--fault", "clock-skew=3600")
    status, text = doctor(run, aws, "--name", "demo")
    assert status == 0, text
    assert "s off AWS's" in text


def test_several_are_listed(localaws, run):
    aws = localaws("--instance", f"id={ID},name=web,asg=g", "--instance", "id=i-0000000000000000b,asg=g,state=stopped")
    status, text = doctor(run, aws, "--asg", "g")
    assert status == 69 and "BROKEN  instance     2 instances in eu-central-1 are in Auto Scaling group 'g'" in text
    assert [line.split()[:2] for line in text.splitlines()[-2:]] == [[ID, "web"], ["i-0000000000000000b", "stopped"]]


def test_what_is_started_when_needed_is_not_broken(localaws, run):
    aws = localaws("--instance", f"id={ID},name=box,state=stopped")
    status, text = doctor(run, aws, "--name", "box", "--auto-start")
    assert status == 0 and "stopped; --auto-start starts it when needed" in text and "not tried:" in text, text
    assert "ok      permissions  ec2:StartInstances" in text     # asked with DryRun
    assert json.loads(aws.open("/_localaws/instances"))[0]["state"] == "stopped" and not aws.stats()["StartSession"]


def test_certificates_of_an_unknown_authority(localaws, run):
    aws = localaws("--tls")
    assert doctor(run, aws, "--name", "demo")[0] == 0
    status, text = doctor(run, aws, "--name", "demo", env={"AWS_CA_BUNDLE": "/etc/ssl/certs/ca-certificates.crt"})
    assert "BROKEN  endpoints" in text and "certificate" in text and "--ca-bundle" in text, text
    assert status != 0


def test_a_clock_that_cannot_be_allowed_for(run):
    """Its answers have the time that we have, and still call ours wrong."""
    aws = fakeaws.FakeAws()
    try:
        aws.faults = [(403, "SignatureDoesNotMatch", "Signature not yet current: x is still later than y")] * 5
        p = run("doctor", "--name", "demo", env={
            "AWS_ENDPOINT_URL": aws.url, "AWS_REGION": conftest.REGION, "AWS_ACCESS_KEY_ID": "AKIDUSER",
            "AWS_SECRET_ACCESS_KEY": "usersecret"})
    finally:
        aws.stop()
    assert p.returncode != 0 and "BROKEN  clock" in p.stdout and "timedatectl" in p.stdout, p.stdout


SIGN_INS = {
    # name: (a profile's lines, status, what is wrong and what mends it)
    "sso": ("sso_start_url = https://x.awsapps.com/start\nsso_region = us-east-1\nsso_account_id = 123456789012\n"
            "sso_role_name = R\n", 77, ("awsocks login",)),
    "login": ("login_session = arn:aws:iam::123456789012:user/x\n", 77, ("aws login",)),
    "process": ("credential_process = sh -c 'echo sorry >&2; exit 3'\n", 77, ("sorry",)),
    "process that is not there": ("credential_process = /nowhere/at-all\n", 74, ("/nowhere/at-all",)),
    "half of the keys": ("aws_access_key_id = AKIA\n", 77, ("aws_secret_access_key",)),
    "source": ("role_arn = arn:aws:iam::123456789012:role/R\nsource_profile = nobody\n", 65, ("nobody",)),
    "one-time code": ("role_arn = arn:aws:iam::123456789012:role/R\nsource_profile = user\n"
                      "mfa_serial = arn:aws:iam::123456789012:mfa/me\n", 77, ("one-time code",)),
    "web identity": ("role_arn = arn:aws:iam::123456789012:role/R\nweb_identity_token_file = /nowhere/token\n", 77,
                     ("/nowhere/token",)),
    "role": ("role_arn = arn:aws:iam::999999999999:role/R\nsource_profile = user\n", 77, ("AccessDenied",)),
}


@pytest.mark.parametrize("what", SIGN_INS)
def test_credentials_that_are_not_to_be_had(localaws, run, what):
    lines, want, words = SIGN_INS[what]
    aws = localaws("--account", "210987654321")
    keys = aws.env()
    config = run.write("aws", f"[profile p]\n{lines}[profile user]\n"
                       f"aws_access_key_id = {keys['AWS_ACCESS_KEY_ID']}\n"
                       f"aws_secret_access_key = {keys['AWS_SECRET_ACCESS_KEY']}\n")
    p = run("doctor", "--name", "demo", "--aws-profile", "p", env={
        "AWS_ENDPOINT_URL": aws.endpoint, "AWS_REGION": conftest.REGION, "AWS_CONFIG_FILE": config})
    broken = [line for line in p.stdout.splitlines() if line.startswith("BROKEN")]
    assert p.returncode == want and len(broken) == 1 and broken[0].split()[1] == "credentials", p.stdout
    for word in words:
        assert word in p.stdout, p.stdout


def test_a_proxy_that_wants_a_password(localaws, run):
    aws = localaws()
    with socket.create_server(("127.0.0.1", 0)) as server:
        def refuse(conn):
            with conn, contextlib.suppress(OSError):
                conn.recv(65536)
                conn.sendall(b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n")
                conn.shutdown(socket.SHUT_WR)
                while conn.recv(65536):     # what is not read would make a reset of the end
                    pass

        def serve():
            with contextlib.suppress(OSError):
                while True:
                    threading.Thread(target=refuse, args=server.accept()[:1], daemon=True).start()
        threading.Thread(target=serve, daemon=True).start()
        status, text = doctor(run, aws, "--name", "demo", env={
            "HTTP_PROXY": f"http://127.0.0.1:{server.getsockname()[1]}", "AWS_MAX_ATTEMPTS": "1"})
    assert "BROKEN  endpoints" in text and "407" in text and "HTTPS_PROXY" in text and status, text


# --- interrupted ---

@contextlib.contextmanager
def running(run, aws, *args, env=None):
    with subprocess.Popen([harness.program("awsocks"), *args], env={**run.env, **env_of(aws), **(env or {})},
                          cwd=run.cwd, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as p:
        try:
            yield p
        finally:
            p.kill()


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
@pytest.mark.parametrize("where", ["handshake", "not connected yet"])
def test_a_signal_ends_the_session(localaws, run, signum, where):
    """The agent does not come: the session is open, and ends with the program."""
    aws = localaws("--fault", "slow-start=600000")
    if where != "handshake":
        aws.faults("not-connected")
    args = ("connect", ID, "22") if where != "handshake" else ("doctor", "--name", "demo")
    with running(run, aws, *args) as p:
        harness.wait_for(lambda: aws.stats()["StartSession"], what="the session")
        if where == "handshake":
            harness.wait_for(lambda: aws.stats()["websockets"], what="the data channel")
        p.send_signal(signum)
        _, err = p.communicate(timeout=harness.LIMIT_S)
    if where == "handshake":
        assert p.returncode == 69 and b"interrupted; its session has been ended" in err
        assert aws.stats()["TerminateSession"] == 1
    assert p.returncode >= 0
    aws.wait_sessions_open(0)


class Mute:
    """Passes AWS calls on, but leaves those of one operation without an answer."""

    def __init__(self, aws, operation):
        self.asked = 0
        self.aws, self.operation = listener(aws.endpoint), operation.encode()
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self.socket.getsockname()[1]}"
        self.held = []
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self):
        with contextlib.suppress(OSError):
            while True:
                threading.Thread(target=self.one, args=self.socket.accept()[:1], daemon=True).start()

    def one(self, conn):
        self.held.append(conn)
        with contextlib.suppress(OSError), socket.create_connection(self.aws) as out:
            threading.Thread(target=self.back, args=(out, conn), daemon=True).start()
            seen = b""
            while data := conn.recv(65536):
                seen += data                    # a request may come in pieces
                if self.operation in seen:
                    self.asked += 1
                    return
                out.sendall(data)

    @staticmethod
    def back(out, conn):
        with contextlib.suppress(OSError):
            while data := out.recv(65536):
                conn.sendall(data)

    def close(self):
        self.socket.close()
        for conn in self.held:
            conn.close()


def listener(url):
    return conftest.listener_of(url.split("//")[1])


@pytest.mark.parametrize("args, operation, status", [
    (("doctor", "--name", "demo"), "StartSession", 69), (("connect", ID, "22"), "StartSession", 0),
    (("doctor", "--name", "demo"), "GetCallerIdentity", -signal.SIGTERM),
    (("targets",), "DescribeInstances", -signal.SIGTERM)])
def test_a_signal_ends_it_when_aws_says_nothing(localaws, run, args, operation, status):
    aws = localaws()
    mute = Mute(aws, operation)
    try:
        with running(run, aws, *args, env={"AWS_ENDPOINT_URL": mute.url}) as p:
            harness.wait_for(lambda: mute.asked, what=f"{operation}")
            p.send_signal(signal.SIGTERM)
            p.communicate(timeout=harness.LIMIT_S)
        assert p.returncode == status
    finally:
        mute.close()
