"""AWS is told of the end of every session that was started, whichever way it ends: a session that nobody ends lives on
for 20 minutes and costs the instance a process. In all of these the far side would hold on by itself."""
import signal
import socket
import subprocess
import threading

import pytest

import client
import harness
from conftest import INSTANCE, clean_environment

HOST = "api.internal.example"


@pytest.fixture
def holder():
    """A server that says hello and then holds the connection until it is told something."""
    sock = socket.create_server(("127.0.0.1", 0))
    held = []

    def serve(conn):
        conn.sendall(b"hello")
        if conn.recv(1):
            conn.close()

    def run():
        while True:
            try:
                conn, _ = sock.accept()
            except OSError:
                return
            held.append(conn)
            threading.Thread(target=serve, args=(conn,), daemon=True).start()
    threading.Thread(target=run, daemon=True).start()
    yield sock.getsockname()[1]
    sock.close()
    for conn in held:
        conn.close()


def emulator(localaws, *faults, more=()):
    wrong = [x for f in faults for x in ("--fault", f)]
    return localaws("--resolve", f"{HOST}=127.0.0.1", "--resolve", "other.internal.example=127.0.0.1", *wrong, *more)


def hold(proxy, port, host=HOST):
    s = client.socks5(proxy.listener, host, port)
    assert client.read_exactly(s, 5) == b"hello"
    return s


def let_go(s):
    with s:
        s.sendall(b"x")
        assert client.read_to_end(s) == b""


def all_ended(aws, started):
    """Sessions that were started, and that AWS has been told of."""
    aws.wait_sessions_open(0)
    assert aws.stats()["sessions"] == started


def stop_by_control(proxy):
    harness.run([harness.program("awsocks"), "stop"], env=proxy.env)


STOPS = {
    "SIGTERM": lambda p: p.child.send_signal(signal.SIGTERM),
    "SIGINT": lambda p: p.child.send_signal(signal.SIGINT),
    "stop": stop_by_control,
}


@pytest.mark.parametrize("how", STOPS)
@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_stop_ends_all_sessions(localaws, awsocks, holder, how, workers):
    """Two hosts, a stream on each; no session has gone when the process has."""
    aws = emulator(localaws)
    proxy = awsocks("--route-default", "proxy", "--workers", workers, aws=aws)
    held = [hold(proxy, holder), hold(proxy, holder, "other.internal.example")]
    assert aws.stats()["sessions_open"] == 2
    STOPS[how](proxy)
    assert proxy.child.wait(harness.LIMIT_S) == 0
    all_ended(aws, 2)
    for s in held:
        s.close()


def test_a_reload_keeps_the_sessions(localaws, awsocks, holder):
    """SIGHUP reads the rules again; what is open stays, and ends with the process."""
    aws = emulator(localaws)
    proxy = awsocks("--route-default", "proxy", aws=aws)
    with hold(proxy, holder):
        proxy.child.send_signal(signal.SIGHUP)
        harness.wait_for(lambda: "reloaded" in proxy.log(), what="the reload")
        assert aws.stats()["sessions_open"] == 1
        assert proxy.stop() == 0
    all_ended(aws, 1)


def test_an_idle_session_ends(localaws, awsocks, holder):
    aws = emulator(localaws)
    proxy = awsocks("--route-default", "proxy", "--session-idle", "1s", aws=aws)
    let_go(hold(proxy, holder))
    all_ended(aws, 1)
    assert "idle, ending the session" in proxy.log()


def test_one_that_makes_room_ends(localaws, awsocks, holder):
    """The total is used up: the session that has been unused longest goes."""
    aws = emulator(localaws)
    proxy = awsocks("--route-default", "proxy", "--sessions-total", "1", aws=aws)
    let_go(hold(proxy, holder))
    with hold(proxy, holder, "other.internal.example"):
        assert "ended to make room for another host" in proxy.log()
        aws.wait_sessions_open(1)
    assert proxy.stop() == 0
    all_ended(aws, 2)


def test_a_websocket_that_is_refused(localaws, awsocks, web):
    """StartSession went well, the data channel does not open."""
    aws = emulator(localaws, more=("--require-signed-ws",))
    proxy = awsocks("--route-default", "proxy", "--no-sign-data-channel", aws=aws)
    r = client.curl("--proxy", proxy.url(), f"http://{HOST}:{web.port}/bytes/1", check=False)
    assert r.returncode != 0

    def all_told():
        stats = aws.stats()
        return stats["sessions_open"] == 0 and stats["sessions"] == stats["TerminateSession"] >= 1
    harness.wait_for(all_told, what="the session's end")


@pytest.mark.parametrize("fault", ["ask-kms", "ask-unknown"])
def test_a_handshake_that_fails(localaws, awsocks, web, fault):
    aws = emulator(localaws, fault)
    proxy = awsocks("--route-default", "proxy", aws=aws)
    assert client.curl("--proxy", proxy.url(), f"http://{HOST}:{web.port}/bytes/1", check=False).returncode != 0
    aws.wait_sessions_open(0)
    assert aws.stats()["sessions"] >= 1


def test_an_agent_too_old(localaws, awsocks, web):
    """Its session was started, and turned out to be of no use."""
    aws = emulator(localaws, more=("--agent-version", "3.1.1000.0"))
    proxy = awsocks("--route-default", "proxy", aws=aws)
    assert client.curl("--proxy", proxy.url(), f"http://{HOST}:{web.port}/bytes/1", check=False).returncode != 0
    aws.wait_sessions_open(0)


def test_a_stop_in_the_middle_of_the_handshake(localaws, awsocks, web):
    """The agent has not come yet: nobody is there who could take the flag."""
    aws = emulator(localaws, "slow-start=600000")
    proxy = awsocks("--route-default", "proxy", aws=aws)
    with socket.create_connection(proxy.listener) as s:
        s.sendall(f"CONNECT {HOST}:{web.port} HTTP/1.1\r\n\r\n".encode())
        harness.wait_for(lambda: aws.stats()["websockets"] == 1, what="the websocket")
        assert proxy.stop() == 0
    all_ended(aws, 1)
    assert aws.stats()["TerminateSession"] == 1


def test_a_stop_while_the_websocket_is_silent(localaws, awsocks, holder):
    """The flag goes nowhere: the call does it."""
    aws = emulator(localaws)
    proxy = awsocks("--route-default", "proxy", aws=aws)
    with hold(proxy, holder) as s:
        aws.faults("freeze-ws-after=0.001")
        s.settimeout(1.5)
        with pytest.raises(socket.timeout):        # the emulator has looked at its websockets meanwhile
            s.recv(1)
        assert proxy.stop() == 0
    all_ended(aws, 1)


def test_a_stop_while_the_websocket_is_away(localaws, awsocks, holder):
    """It is being resumed, in vain."""
    aws = emulator(localaws, "drop-ws-after=1")
    proxy = awsocks("--route-default", "proxy", aws=aws)
    with hold(proxy, holder):
        aws.faults("throttle-api")
        harness.wait_for(lambda: "data channel lost" in proxy.log(), what="the cut")
        aws.faults("clear")
        assert proxy.stop() == 0
    all_ended(aws, 1)


# --- connect ---

def connect(aws, tmp_path, *words):
    env = {**clean_environment(tmp_path), **aws.env()}
    return subprocess.Popen([harness.program("awsocks"), "connect", *map(str, words)], stdin=subprocess.PIPE,
                            stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=env, bufsize=0)


@pytest.mark.parametrize("how", [signal.SIGHUP, signal.SIGTERM, signal.SIGINT])
def test_connect_to_an_instance_is_ended(localaws, holder, tmp_path, how):
    aws = localaws("--resolve", f"localhost:22=127.0.0.1:{holder}")
    with connect(aws, tmp_path, INSTANCE, 22) as p:
        assert p.stdout.read(5) == b"hello"
        p.send_signal(how)
        p.wait(harness.LIMIT_S)
    all_ended(aws, 1)


@pytest.mark.parametrize("how", [signal.SIGHUP, signal.SIGTERM])
def test_connect_to_an_instance_is_ended_before_it_is_there(localaws, tmp_path, how):
    aws = localaws("--fault", "slow-start=600000")
    with connect(aws, tmp_path, INSTANCE, 22) as p:
        harness.wait_for(lambda: aws.stats()["websockets"] == 1, what="the websocket")
        p.send_signal(how)
        p.wait(harness.LIMIT_S)
    all_ended(aws, 1)


def test_the_far_end_closes_first(localaws, web, tmp_path):
    aws = localaws("--resolve", f"localhost:80=127.0.0.1:{web.port}")
    with connect(aws, tmp_path, INSTANCE, 80) as p:
        p.stdin.write(b"GET /bytes/10 HTTP/1.0\r\n\r\n")
        assert p.stdout.read().startswith(b"HTTP/1")
        assert p.wait(harness.LIMIT_S) == 0
    all_ended(aws, 1)


def test_nobody_is_there(localaws, tmp_path):
    aws = localaws()
    with connect(aws, tmp_path, INSTANCE, harness.free_port()) as p:
        assert p.wait(harness.LIMIT_S) == 69
    all_ended(aws, 1)


@pytest.mark.parametrize("how", [signal.SIGHUP, signal.SIGTERM])
def test_standalone_by_ssh_is_ended(localaws, sshd, holder, tmp_path, how):
    aws = localaws("--resolve", f"localhost:22=127.0.0.1:{sshd.port}")
    with connect(aws, tmp_path, "--standalone", "--transport", "ssh", "--ssh-user", sshd.user, "--ssh-key",
                 sshd.folder / "client_key", "--instance-id", INSTANCE, "--route-default", "proxy", "127.0.0.1",
                 holder) as p:
        assert p.stdout.read(5) == b"hello"
        p.send_signal(how)
        assert p.wait(harness.LIMIT_S) == 0
    all_ended(aws, 1)


# --- by SSH ---

@pytest.mark.parametrize("how", STOPS)
def test_a_stop_ends_ssh_sessions(localaws, awsocks, sshd, holder, how):
    aws = localaws("--resolve", f"localhost:22=127.0.0.1:{sshd.port}")
    proxy = awsocks("--transport", "ssh", "--ssh-user", sshd.user, "--ssh-key", str(sshd.folder / "client_key"),
                    "--route-default", "proxy", aws=aws)
    with hold(proxy, holder, "127.0.0.1"):
        STOPS[how](proxy)
        assert proxy.child.wait(harness.LIMIT_S) == 0
    all_ended(aws, 1)


def test_an_idle_ssh_session_ends(localaws, awsocks, sshd, holder):
    aws = localaws("--resolve", f"localhost:22=127.0.0.1:{sshd.port}")
    proxy = awsocks("--transport", "ssh", "--ssh-user", sshd.user, "--ssh-key", str(sshd.folder / "client_key"),
                    "--route-default", "proxy", "--session-idle", "1s", aws=aws)
    let_go(hold(proxy, holder, "127.0.0.1"))
    all_ended(aws, 1)


def test_ssh_that_may_not_log_in(localaws, awsocks, sshd, web, tmp_path):
    """The session was there, the key is not the right one."""
    harness.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", tmp_path / "stranger"])
    aws = localaws("--resolve", f"localhost:22=127.0.0.1:{sshd.port}")
    proxy = awsocks("--transport", "ssh", "--ssh-user", sshd.user, "--ssh-key", str(tmp_path / "stranger"),
                    "--route-default", "proxy", aws=aws)
    r = client.curl("--proxy", proxy.url(), f"http://127.0.0.1:{web.port}/bytes/1", check=False)
    assert r.returncode != 0
    aws.wait_sessions_open(0)
