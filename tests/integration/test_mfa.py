"""Roles that want a one-time code, and the cache that is shared with the AWS CLI."""
import fcntl
import json
import os
import pty
import select
import signal
import stat
import subprocess
import termios
import threading

import pytest

botocore_credentials = pytest.importorskip("botocore.credentials")
import botocore.session  # noqa: E402
from botocore.utils import JSONFileCache  # noqa: E402

import client  # noqa: E402
import harness  # noqa: E402
from conftest import INSTANCE, REGION, clean_environment, listener_of  # noqa: E402
from test_credentials import cli, fields  # noqa: E402,F401

SERIAL, CODE = "arn:aws:iam::123456789012:mfa/demo", "654987"
ARN = "arn:aws:iam::123456789012:role/One"
HOST = "api.internal.example"


@pytest.fixture
def setting(localaws, tmp_path):
    """(emulator, environment with a profile `role` that needs a code)"""
    def make(more=None):
        aws = localaws(*(["--mfa", f"{SERIAL}={CODE}"] if more is None else []), "--resolve", f"{HOST}=127.0.0.1")
        more = f"mfa_serial = {SERIAL}" if more is None else more
        folder = tmp_path / "aws"
        folder.mkdir()
        own = aws.env()
        (folder / "credentials").write_text(f"[user]\naws_access_key_id = {own['AWS_ACCESS_KEY_ID']}\n"
                                            f"aws_secret_access_key = {own['AWS_SECRET_ACCESS_KEY']}\n")
        (folder / "config").write_text(f"[profile role]\nrole_arn = {ARN}\nsource_profile = user\n{more}\n")
        return aws, {"AWS_ENDPOINT_URL": aws.endpoint, "AWS_REGION": REGION, "AWS_DEFAULT_REGION": REGION,
                     "AWS_PROFILE": "role",
                     "AWS_SHARED_CREDENTIALS_FILE": str(folder / "credentials"),
                     "AWS_CONFIG_FILE": str(folder / "config"), "AWS_EC2_METADATA_DISABLED": "true"}
    return make


def cache_files(home):
    folder = os.path.join(home, ".aws", "cli", "cache")
    return [os.path.join(folder, f) for f in os.listdir(folder)] if os.path.isdir(folder) else []


def mfa(proxy, code):
    return harness.run([harness.program("awsocks"), "mfa", code], env=proxy.env, check=False)


def ask_for_a_page(proxy, web):
    """A connection that waits for a one-time code: its thread, and a list for the head of its answer."""
    results = []

    def connect():
        with client.socks5(proxy.listener, HOST, web.port) as s:
            s.sendall(f"GET /bytes/10 HTTP/1.1\r\nHost: {HOST}\r\nConnection: close\r\n\r\n".encode())
            results.append(client.read_head(s))
    t = threading.Thread(target=connect)
    t.start()
    harness.wait_for(lambda: proxy.status()["mfa"], what="the question")
    return t, results


def test_a_running_proxy_is_told_the_code(setting, awsocks, web):
    aws, env = setting()
    proxy = awsocks("--route-default", "proxy", "--instance-id", INSTANCE, env=env)
    assert b"no one-time code is asked for" in mfa(proxy, CODE).stderr
    t, results = ask_for_a_page(proxy, web)
    assert proxy.status()["mfa"] == [{"profile": "role", "serial": SERIAL}]
    assert b": awsocks mfa\n" in harness.run([harness.program("awsocks"), "status"], env=proxy.env).stdout
    assert ": awsocks mfa\n" in proxy.log()
    assert b"six digits" in mfa(proxy, "12345x").stderr
    assert mfa(proxy, CODE).returncode == 0
    t.join()
    assert results and results[0].startswith(b"HTTP/1.1 200")
    assert proxy.status()["mfa"] == [] and CODE not in proxy.log()
    assert aws.stats()["AssumeRole"] == 1
    (kept,) = cache_files(proxy.env["HOME"])
    assert stat.S_IMODE(os.stat(kept).st_mode) == 0o600


@pytest.fixture
def waiting(setting, awsocks, web):
    """An awsocks in which a connection waits for a code; .end() says what it then got."""
    _, env = setting()
    proxy = awsocks("--route-default", "proxy", "--instance-id", INSTANCE, "--while-initializing", "hold", env=env)
    t, results = ask_for_a_page(proxy, web)

    def end():
        t.join()
        return results[0][:12] if results else None
    proxy.end = end
    return proxy


@pytest.mark.parametrize("text", [f"{CODE}\n", f"  {CODE} \r\n", CODE])
def test_the_code_from_standard_input(waiting, text):
    def mfa_from(text):
        return harness.run([harness.program("awsocks"), "mfa"], env=waiting.env, check=False, input=text.encode())
    for wrong in ("", "12 456\n", "1" * 100, '"}{"'):
        r = mfa_from(wrong)
        assert r.returncode != 0 and r.stderr, wrong
    assert mfa_from(text).returncode == 0
    assert waiting.end() == b"HTTP/1.1 200" and CODE not in waiting.log()


def test_the_code_from_the_terminal_is_not_shown(waiting):
    out, shown = at_terminal([harness.program("awsocks"), "mfa"], waiting.env, [CODE.encode() + b"\n"], b"code: ")
    assert waiting.end() == b"HTTP/1.1 200" and out == b"" and CODE not in shown and "One-time code: " in shown


def test_a_signal_leaves_the_terminal_as_it_was(waiting):
    master, slave = pty.openpty()
    before = termios.tcgetattr(slave)

    def own_terminal():
        os.setsid()
        fcntl.ioctl(slave, termios.TIOCSCTTY, 0)
    p = subprocess.Popen([harness.program("awsocks"), "mfa"], env=waiting.env, stdin=slave, stderr=slave,
                         preexec_fn=own_terminal)
    try:
        harness.wait_for(lambda: not termios.tcgetattr(slave)[3] & termios.ECHO, what="the prompt")
        os.write(master, b"12\x03")
        assert p.wait(harness.LIMIT_S) == -signal.SIGINT
        assert termios.tcgetattr(slave) == before
    finally:
        p.kill()
        p.wait()
        os.close(master)
        os.close(slave)
    assert mfa(waiting, CODE).returncode == 0 and waiting.end() == b"HTTP/1.1 200"


def test_nobody_to_ask(setting, tmp_path):
    aws, env = setting()
    r = subprocess.run([harness.program("awsocks"), "credentials"], env={**clean_environment(tmp_path), **env},
                       capture_output=True, text=True, stdin=subprocess.DEVNULL, start_new_session=True,
                       timeout=harness.LIMIT_S, check=False)
    assert r.returncode == 77 and SERIAL in r.stderr and "no terminal" in r.stderr
    assert aws.stats()["AssumeRole"] == 0


def at_terminal(argv, env, typed, prompt=b"): "):
    """(standard output, what the terminal showed) of a program that has a terminal of its own."""
    master, slave = pty.openpty()

    def own_terminal():
        os.setsid()
        fcntl.ioctl(slave, termios.TIOCSCTTY, 0)
    p = subprocess.Popen(argv, env=env, stdin=slave, stdout=subprocess.PIPE, stderr=slave,
                         preexec_fn=own_terminal)
    os.close(slave)
    shown = b""
    try:
        for text in typed:
            while not shown.endswith(prompt):
                shown += os.read(master, 1000)
            os.write(master, text)
            shown += b"|"
        out = p.communicate(timeout=harness.LIMIT_S)[0]
    finally:
        p.kill()
        p.wait()
        os.close(master)
    return out, shown.decode()


def test_asked_at_the_terminal_once(setting, tmp_path):
    aws, env = setting()
    env = {**clean_environment(tmp_path), **env}
    out, shown = at_terminal([harness.program("awsocks"), "credentials"], env, [b"oops\n", b"654987\n"])
    first = json.loads(out)
    assert f"MFA code of {SERIAL} (profile role): " in shown
    again = json.loads(harness.run([harness.program("awsocks"), "credentials"], env=env).stdout)
    assert again == first and aws.stats()["AssumeRole"] == 1


class Session(botocore.session.Session):
    def create_client(self, *args, **kwargs):
        kwargs["endpoint_url"] = os.environ["AWS_ENDPOINT_URL"]
        return super().create_client(*args, **kwargs)


def botocore_creds(home):
    """As the AWS CLI gets them, its cache included."""
    session = Session(profile="role")
    provider = session.get_component("credential_provider").get_provider("assume-role")
    provider.cache = JSONFileCache(os.path.join(home, ".aws", "cli", "cache"))
    return session.get_credentials().get_frozen_credentials()


@pytest.mark.parametrize("first", ["ours", "botocore"])
@pytest.mark.parametrize("more", ["", "external_id = x:/1\nduration_seconds = 1800",
                                  "role_session_name = me@here"])
def test_the_cache_is_shared(setting, cli, tmp_path, monkeypatch, first, more):  # noqa: F811
    aws, env = setting(more)
    env = {**clean_environment(tmp_path), **env}
    for old in [k for k in os.environ if k.startswith("AWS")]:
        monkeypatch.delenv(old)
    for key, value in env.items():
        monkeypatch.setenv(key, value)

    def ours():
        got = fields(harness.run([cli, "creds"], env=env).stdout.decode().splitlines())
        return got["id"], got["token"]

    def theirs():
        found = botocore_creds(env["HOME"])
        return found.access_key, found.token
    one, two = (ours, theirs) if first == "ours" else (theirs, ours)
    assert one() == two()
    assert aws.stats()["AssumeRole"] == 1 and len(cache_files(env["HOME"])) == 1


class Foreground:
    """A program at a terminal of its own, that stays there when the program is gone."""
    def __init__(self, argv, env):
        self.master, self.slave = pty.openpty()
        self.before, self.shown = termios.tcgetattr(self.slave), b""

        def own_terminal():
            os.setsid()
            fcntl.ioctl(self.slave, termios.TIOCSCTTY, 0)
        self.child = subprocess.Popen(argv, env=env, stdin=self.slave, stdout=subprocess.DEVNULL, stderr=self.slave,
                                      preexec_fn=own_terminal)

    def until(self, text):
        while text not in self.shown:
            assert select.select([self.master], [], [], harness.LIMIT_S)[0], self.shown
            self.shown += os.read(self.master, 4096)

    def echoes(self):
        return bool(termios.tcgetattr(self.slave)[3] & termios.ECHO)

    def close(self):
        self.child.kill()
        self.child.wait()
        os.close(self.master)
        os.close(self.slave)


@pytest.fixture
def foreground(setting, tmp_path, web):
    """An awsocks in the foreground of a terminal, fence and all, in which a connection waits for a code."""
    _, env = setting()
    ready = tmp_path / "ready.json"
    env = {**clean_environment(tmp_path / "home"), **env}
    env.pop("AWSOCKS_SANDBOX", None)
    f = Foreground([harness.program("awsocks"), "start", "--listen", "127.0.0.1:0", "--ready-file", str(ready),
                    "--route-default", "proxy", "--instance-id", INSTANCE, "--while-initializing", "hold"], env)
    listener = listener_of(harness.wait_for(lambda: harness.read_json(ready))["listeners"][0]["address"])
    f.request = subprocess.Popen(["curl", "-sS", "-o", tmp_path / "got", "--proxy",
                                  f"socks5h://127.0.0.1:{listener[1]}", f"http://{HOST}:{web.port}/bytes/10"],
                                 stderr=subprocess.DEVNULL)
    f.until(b"(profile role): ")
    yield f
    f.request.kill()
    f.request.wait()
    f.close()


def test_the_terminal_of_a_running_proxy_shows_no_code(foreground):
    harness.wait_for(lambda: not foreground.echoes(), what="no echo")
    foreground.shown = b""
    os.write(foreground.master, CODE.encode() + b"\n")
    assert foreground.request.wait(harness.LIMIT_S) == 0
    assert termios.tcgetattr(foreground.slave) == foreground.before
    foreground.until(b"\n")                 # what is shown of the line: its end
    assert CODE.encode() not in foreground.shown


@pytest.mark.parametrize("key, times", [(b"\x03", 1), (b"\x03", 2), (b"\x1c", 1)])
def test_a_key_that_ends_the_proxy_leaves_the_terminal_as_it_was(foreground, key, times):
    harness.wait_for(lambda: not foreground.echoes(), what="no echo")
    for _ in range(times):
        os.write(foreground.master, b"12" + key)
        harness.wait_for(lambda: termios.tcgetattr(foreground.slave) == foreground.before, what="the echo")
    foreground.child.wait(harness.LIMIT_S)
    assert termios.tcgetattr(foreground.slave) == foreground.before


def test_a_proxy_that_is_stopped_gives_the_terminal_back(foreground):
    harness.wait_for(lambda: not foreground.echoes(), what="no echo")
    foreground.shown = b""
    foreground.child.send_signal(signal.SIGTSTP)        # without a shell it is ignored in the end
    foreground.until(b"(profile role): ")
    harness.wait_for(lambda: not foreground.echoes(), what="no echo again")
    os.write(foreground.master, CODE.encode() + b"\n")
    assert foreground.request.wait(harness.LIMIT_S) == 0


@pytest.mark.parametrize("end", ["\x04", "\x03"])
def test_no_code_is_typed(setting, tmp_path, end):
    _, env = setting()
    f = Foreground([harness.program("awsocks"), "credentials"], {**clean_environment(tmp_path), **env})
    try:
        f.until(b"(profile role): ")
        harness.wait_for(lambda: not f.echoes(), what="no echo")
        os.write(f.master, end.encode())
        assert f.child.wait(harness.LIMIT_S) == (77 if end == "\x04" else -signal.SIGINT)
        assert termios.tcgetattr(f.slave) == f.before
        if end == "\x04":
            f.until(b"was not given")
    finally:
        f.close()
