"""Agents of other versions, as the emulator plays them: served as they can be, or refused with what is missing and what
to do about it."""
import subprocess

import pytest

import client
import harness
from conftest import INSTANCE, clean_environment

HOST = "api.internal.example"
SIZE = 100_000
NO_MUX = ["2.3.700.0", "3.0.100.0", "3.0.196.0"]
NO_REMOTE_HOST = ["3.0.222.0", "3.1.1000.0", "3.1.1373.0"]
WHOLE = ["3.1.1374.0", "3.1.1446.0", "3.1.1511.0", "3.1.1575.0", "3.2.1041.0", "3.3.808.0"]


def emulator(localaws, version, *more):
    return localaws("--resolve", f"{HOST}=127.0.0.1", "--agent-version", version, *more)


def down(proxy, web, tmp_path, host=HOST):
    url = f"http://{host}:{web.port}/bytes/{SIZE}"
    return client.fetch_digest(proxy.url(), url, tmp_path) == harness.pattern_digest(SIZE)


def answer(proxy, web):
    r = client.curl("-i", "--proxy", proxy.url("http"), f"http://{HOST}:{web.port}/bytes/1", check=False)
    return r.stdout.decode()


@pytest.mark.parametrize("version", WHOLE)
@pytest.mark.parametrize("transport", ["port", "auto"])
def test_one_that_can_all(localaws, awsocks, web, tmp_path, version, transport):
    aws = emulator(localaws, version)
    proxy = awsocks("--transport", transport, "--route-default", "proxy", aws=aws)
    assert down(proxy, web, tmp_path)
    assert proxy.status()["backends"][0]["transport"] == "port"


@pytest.mark.parametrize("version,missing", [(v, "cannot multiplex") for v in NO_MUX] +
                         [(v, "too old to forward to other hosts") for v in NO_REMOTE_HOST])
def test_port_sessions_alone_are_refused_with_the_reason(localaws, awsocks, web, version, missing):
    aws = emulator(localaws, version)
    proxy = awsocks("--transport", "port", "--route-default", "proxy", aws=aws)
    text = answer(proxy, web)
    assert text.startswith("HTTP/1.1 50")
    assert version in text and missing in text and "update" in text and "--transport" in text, text
    assert web.connections == 0
    aws.wait_sessions_open(0)


def test_a_refused_document_is_told_apart(localaws, awsocks, web):
    aws = emulator(localaws, "3.3.1142.0", "--fault", "refuse-remote-host")
    proxy = awsocks("--transport", "port", "--route-default", "proxy", aws=aws)
    text = answer(proxy, web)
    assert "InvalidDocument" in text and "too old" not in text and "--transport" in text, text


@pytest.mark.parametrize("version", [NO_MUX[0], NO_MUX[-1], NO_REMOTE_HOST[0], NO_REMOTE_HOST[-1]])
@pytest.mark.parametrize("transport", ["auto", "ssh"])
def test_ssh_serves_where_port_sessions_do_not(localaws, awsocks, sshd, web, tmp_path, version, transport):
    aws = emulator(localaws, version, "--resolve", f"localhost:22=127.0.0.1:{sshd.port}")
    proxy = awsocks("--transport", transport, "--ssh-user", sshd.user, "--ssh-key", str(sshd.folder / "client_key"),
                    "--route-default", "proxy", aws=aws)
    assert down(proxy, web, tmp_path, "127.0.0.1")
    assert proxy.status()["backends"][0]["transport"] == "ssh"
    assert ("transport ssh, because " in proxy.log()) == (transport == "auto")


def test_auto_without_sshd_names_both_reasons(localaws, awsocks, web):
    aws = emulator(localaws, "3.0.196.0", "--resolve", f"localhost:22=127.0.0.1:{harness.free_port()}")
    proxy = awsocks("--transport", "auto", "--route-default", "proxy", aws=aws)
    text = answer(proxy, web)
    assert "3.0.196.0" in text and "and by SSH: " in text, text


@pytest.mark.parametrize("version,serves", [("3.0.196.0", False), ("3.0.222.0", True), ("3.1.1373.0", True)])
def test_ssh_by_the_port_document_needs_mux(localaws, awsocks, sshd, web, tmp_path, version, serves):
    aws = emulator(localaws, version, "--resolve", f"localhost:22=127.0.0.1:{sshd.port}")
    proxy = awsocks("--transport", "ssh", "--ssh-document", "port", "--ssh-user", sshd.user, "--ssh-key",
                    str(sshd.folder / "client_key"), "--route-default", "proxy", aws=aws)
    if serves:
        assert down(proxy, web, tmp_path, "127.0.0.1")
    else:
        text = answer(proxy, web)
        assert version in text and "cannot multiplex" in text, text


@pytest.mark.parametrize("version", ["2.3.700.0", "3.0.196.0", "3.1.1000.0", "3.3.1142.0"])
def test_connect_serves_with_every_agent(localaws, sshd, tmp_path, version):
    aws = emulator(localaws, version, "--resolve", f"localhost:22=127.0.0.1:{sshd.port}")
    env = {**clean_environment(tmp_path), **aws.env()}
    r = harness.run(["ssh", *sshd.client("-o", f"ProxyCommand={harness.program('awsocks')} connect %h %p")[1:], "-p",
                     "22", INSTANCE, "echo here"], env=env)
    assert r.stdout == b"here\n"


@pytest.mark.parametrize("version,by_flag", [("2.3.722.0", False), ("2.3.733.0", True)])
def test_the_end_is_told_so_that_the_agent_understands_it(localaws, sshd, tmp_path, version, by_flag):
    """Agents up to 2.3.722.0 acknowledge the flag TerminateSession, and do nothing: AWS has to be asked. It is asked
    too when an agent that knows the flag is slow to acknowledge it."""
    aws = emulator(localaws, version, "--resolve", f"localhost:22=127.0.0.1:{sshd.port}")
    env = {**clean_environment(tmp_path), **aws.env()}
    with subprocess.Popen([harness.program("awsocks"), "connect", INSTANCE, "22"], stdin=subprocess.PIPE,
                          stdout=subprocess.PIPE, env=env) as p:
        assert p.stdout.readline().startswith(b"SSH-2.0-")
        p.terminate()
        p.wait(timeout=harness.LIMIT_S)
    aws.wait_sessions_open(0)
    assert by_flag or aws.stats()["TerminateSession"]
