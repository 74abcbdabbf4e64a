"""--transport ssh with other keys than a plain file: certificates, keys that only an agent has, security keys."""
import os
import pwd
import shutil
import signal

import pytest

import client
import harness

SIZE = 20_000


@pytest.fixture
def agent():
    """agent(key, ...) -> the environment in which ssh finds an agent with these keys. provider: of security keys."""
    started = []

    def start(*keys, provider=None):
        may = ["-P", str(provider)] if provider else []
        words = harness.run(["ssh-agent", "-s", *may]).stdout.decode()
        env = dict(w.strip().split("=", 1) for line in words.splitlines() for w in line.split(";") if "=" in w)
        started.append(int(env["SSH_AGENT_PID"]))
        for key in keys:
            harness.run(["ssh-add", "-q", *(["-S", provider] if provider else []), key], env={**os.environ, **env})
        return {"SSH_AUTH_SOCK": env["SSH_AUTH_SOCK"]}
    yield start
    for pid in started:
        os.kill(pid, signal.SIGTERM)


def make_key(path, kind="ed25519"):
    harness.run(["ssh-keygen", "-q", "-t", kind, "-N", "", "-f", path])
    return path


@pytest.fixture
def signed(sshd, tmp_path):
    """signed(principal, *options) -> a key that sshd does not know, with a certificate of the CA that it trusts."""
    ca = make_key(sshd.folder / "user_ca")

    def sign(principal, *options):
        key = make_key(tmp_path / "signed_key")
        harness.run(["ssh-keygen", "-q", "-s", ca, "-I", "test", "-n", principal, *options, f"{key}.pub"])
        return key
    return sign


def start(localaws, awsocks, sshd, key, env=None):
    aws = localaws("--resolve", f"localhost:22=127.0.0.1:{sshd.port}")
    return aws, awsocks("--transport", "ssh", "--ssh-user", sshd.user, "--ssh-key", str(key), "--route-default",
                        "proxy", aws=aws, env=env)


def works(proxy, web, tmp_path):
    digest = client.fetch_digest(proxy.url(), f"http://127.0.0.1:{web.port}/bytes/{SIZE}", tmp_path)
    return digest == harness.pattern_digest(SIZE)


def refusal(proxy, web):
    return client.curl("--proxy", proxy.url("http"), f"http://127.0.0.1:{web.port}/bytes/1", check=False).stdout


def no_own_config():
    # ssh asks the password file for the home directory, and not $HOME
    if os.path.exists(os.path.join(pwd.getpwuid(os.getuid()).pw_dir, ".ssh", "config")):
        pytest.skip("this user's own ~/.ssh/config would count")


def test_a_certificate_beside_its_key(localaws, awsocks, sshd, signed, web, tmp_path):
    aws, proxy = start(localaws, awsocks, sshd, signed(sshd.user, "-V", "+1h"))
    assert works(proxy, web, tmp_path)
    assert aws.stats()["SendSSHPublicKey"] == 0
    assert "ED25519-CERT" in sshd.log()


@pytest.mark.parametrize("why", ["principal", "expired"])
def test_a_certificate_that_does_not_serve(localaws, awsocks, sshd, signed, web, why):
    key = signed("somebody", "-V", "+1h") if why == "principal" else signed(sshd.user, "-V", "-2h:-1h")
    aws, proxy = start(localaws, awsocks, sshd, key)
    assert b"accepts none of our keys" in refusal(proxy, web)
    aws.wait_sessions_open(0)


def test_a_certificate_that_the_agent_has(localaws, awsocks, sshd, signed, agent, web, tmp_path):
    no_own_config()
    key = signed(sshd.user, "-V", "+1h")
    env = agent(key)
    for name in (key, f"{key}.pub", f"{key}-cert.pub"):
        os.unlink(name)
    _, proxy = start(localaws, awsocks, sshd, "agent", env)
    assert works(proxy, web, tmp_path)
    assert "ED25519-CERT" in sshd.log()


def test_a_key_that_only_the_agent_has(localaws, awsocks, sshd, agent, web, tmp_path):
    no_own_config()
    _, proxy = start(localaws, awsocks, sshd, "agent", agent(sshd.folder / "client_key"))
    os.unlink(sshd.folder / "client_key")
    assert works(proxy, web, tmp_path)


def test_the_agent_s_key_named_by_its_public_half(localaws, awsocks, sshd, agent, web, tmp_path):
    """Of several keys the one that is meant, so that sshd does not count the others as failures."""
    others = [make_key(tmp_path / f"other{i}") for i in range(8)]
    env = agent(*others, sshd.folder / "client_key")
    os.unlink(sshd.folder / "client_key")
    _, proxy = start(localaws, awsocks, sshd, sshd.folder / "client_key.pub", env)
    assert works(proxy, web, tmp_path)


def test_too_many_keys_in_the_agent(localaws, awsocks, sshd, agent, web, tmp_path):
    no_own_config()
    others = [make_key(tmp_path / f"other{i}") for i in range(8)]
    _, proxy = start(localaws, awsocks, sshd, "agent", agent(*others, sshd.folder / "client_key"))
    assert b"name one with --ssh-key" in refusal(proxy, web)


def test_what_sshd_said_counts_though_its_session_ends_before_ssh(localaws, awsocks, sshd, agent, web, tmp_path):
    """As on a busy machine, where ssh reads its refusal when the agent has ended the session already."""
    no_own_config()
    slow = tmp_path / "slow" / "ssh"
    slow.parent.mkdir()
    slow.write_text(f"#!/bin/sh\n{shutil.which('ssh')} \"$@\" 2>{tmp_path}/words\nstatus=$?\nsleep 0.3\n"
                    f"cat {tmp_path}/words >&2\nexit $status\n")
    slow.chmod(0o755)
    keys = agent(*[make_key(tmp_path / f"other{i}") for i in range(8)])
    _, proxy = start(localaws, awsocks, sshd, "agent", {**keys, "PATH": f"{slow.parent}:{os.environ['PATH']}"})
    assert b"name one with --ssh-key" in refusal(proxy, web)


def test_a_key_with_a_passphrase_and_no_agent(localaws, awsocks, sshd, web, tmp_path):
    """Nobody is asked: the answer says what to do."""
    key = tmp_path / "locked"
    harness.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "secret", "-f", key])
    (sshd.folder / "pushed").write_text((tmp_path / "locked.pub").read_text())
    _, proxy = start(localaws, awsocks, sshd, key)
    assert b"a key with a passphrase has to be in the agent" in refusal(proxy, web)


@pytest.mark.parametrize("kind", ["ecdsa", "rsa"])
def test_other_kinds_of_keys(localaws, awsocks, sshd, web, tmp_path, kind):
    key = make_key(tmp_path / "key", kind)
    (sshd.folder / "pushed").write_text((tmp_path / "key.pub").read_text())
    _, proxy = start(localaws, awsocks, sshd, key)
    assert works(proxy, web, tmp_path)


# --- security keys: what a FIDO device does is done by a library of the test's own ---

@pytest.fixture(scope="session")
def provider(tmp_path_factory):
    """A SecurityKeyProvider without hardware."""
    compiler = shutil.which(os.environ.get("CC", "cc"))
    if not compiler or not os.path.exists("/usr/lib/openssh/ssh-sk-helper"):
        pytest.skip("no compiler, or no ssh-sk-helper where it is looked for")
    out = os.path.realpath(tmp_path_factory.mktemp("provider") / "sk_software.so")
    harness.run([compiler, "-std=c11", "-D_GNU_SOURCE", "-fPIC", "-shared",
                 os.path.join(os.path.dirname(__file__), "sk_software.c"), "-o", out, "-lcrypto"])
    return out


@pytest.fixture
def security_key(provider, sshd, tmp_path):
    """A key of that provider, which sshd knows."""
    key = tmp_path / "security_key"
    r = harness.run(["ssh-keygen", "-q", "-t", "ed25519-sk", "-w", provider, "-N", "", "-f", key], check=False)
    if r.returncode != 0:
        pytest.skip(f"this ssh has no security keys, or another interface to them: {harness.show(r.stderr)}")
    (sshd.folder / "pushed").write_text((tmp_path / "security_key.pub").read_text())
    return key


def test_a_security_key_by_the_agent(localaws, awsocks, sshd, agent, provider, security_key, web, tmp_path):
    """Signed by the key, touch and counter included, and judged by sshd."""
    _, proxy = start(localaws, awsocks, sshd, security_key, agent(security_key, provider=provider))
    assert works(proxy, web, tmp_path)
    assert "ED25519-SK" in sshd.log()


def test_a_security_key_that_is_not_plugged_in(localaws, awsocks, sshd, security_key, web):
    """ssh comes as far as asking the device: nothing of ours keeps it from that."""
    _, proxy = start(localaws, awsocks, sshd, security_key)
    text = refusal(proxy, web)
    assert b"accepts none of our keys" in text
