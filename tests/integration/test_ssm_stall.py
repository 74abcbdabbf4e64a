"""The data channel when somebody stalls, and the backend when AWS is away, slow, or of another opinion."""
import contextlib
import socket
import threading

import pytest

import client
import harness
from conftest import INSTANCE, REGION

HOST = "api.internal.example"
SIZE = 300_000
NAMED = ("--route-default", "direct", "--route-proxy", HOST)


def down(proxy, web, tmp_path, size=SIZE):
    """The far side ends it: a client's end alone cannot be passed on through smux."""
    return client.fetch_digest(proxy.url(), f"http://{HOST}:{web.port}/bytes/{size}", tmp_path,
                               "-H", "Connection: close")


def ask(s, path):
    s.sendall(f"GET {path} HTTP/1.1\r\nHost: {HOST}\r\n\r\n".encode())


def answer(s, size):
    head = client.read_head(s)
    assert head.startswith(b"HTTP/1.1 200"), head
    return client.read_exactly(s, size)


def stall(proxy, web):
    """A client that asks for 40 MB and reads nothing, once the session's reading has paused for it."""
    s = client.socks5(proxy.listener, HOST, web.port)
    ask(s, "/bytes/40000000")
    proxy.wait_for(lambda: "reading pauses for a slow reader" in proxy.log(), what="the pause")
    return s


def session_line(proxy):
    return [line for line in proxy.audit() if "stalled" in (line.get("error") or "")]


@pytest.mark.long
def test_a_stalled_reader_is_reset_with_its_reason(localaws, awsocks, web, tmp_path):
    aws = localaws("--resolve", f"{HOST}=127.0.0.1")
    proxy = awsocks(*NAMED, "--log-level", "debug", "--sessions", "2", aws=aws)
    with client.socks5(proxy.listener, HOST, web.port) as other:
        ask(other, "/bytes/1000")
        answer(other, 1000)
        with stall(proxy, web) as stalled:                                         # on the session that is there
            assert down(proxy, web, tmp_path) == harness.pattern_digest(SIZE)       # on a session of its own
            assert aws.stats()["StartSession"] == 2
            proxy.wait_for(lambda: session_line(proxy), what="the reason in the audit log")
            assert "reader stalled for 10 s" in session_line(proxy)[0]["error"]
            with pytest.raises(ConnectionResetError):                               # and no clean end after a part
                while stalled.recv(1 << 16):
                    pass
        ask(other, "/bytes/2000")                                                   # the same session, alive
        assert len(answer(other, 2000)) == 2000
    assert aws.stats()["StartSession"] == 2


def test_a_slow_reader_that_reads_on_loses_nothing(localaws, awsocks, web, tmp_path):
    aws = localaws("--resolve", f"{HOST}=127.0.0.1")
    proxy = awsocks(*NAMED, "--log-level", "debug", "--sessions", "1", aws=aws)
    with stall(proxy, web) as slow:
        waiting = []
        late = threading.Thread(target=lambda: waiting.append(down(proxy, web, tmp_path)))
        late.start()                                   # has to wait for the only session
        body = answer(slow, 40_000_000)
        late.join(harness.LIMIT_S)
        assert waiting == [harness.pattern_digest(SIZE)]
    assert body == b"".join(harness.pattern(40_000_000))
    assert aws.stats()["StartSession"] == 1


def test_an_idle_session_is_terminated(localaws, awsocks, web, tmp_path):
    aws = localaws("--resolve", f"{HOST}=127.0.0.1")
    proxy = awsocks(*NAMED, "--session-idle", "1s", "--sessions", "1", aws=aws)
    assert down(proxy, web, tmp_path) == harness.pattern_digest(SIZE)
    aws.wait_sessions_open(0)
    assert proxy.running()
    assert down(proxy, web, tmp_path) == harness.pattern_digest(SIZE)
    assert aws.stats()["StartSession"] == 2


def test_dials_wait_for_a_slow_agent_and_share_its_session(localaws, awsocks, web):
    aws = localaws("--resolve", f"{HOST}=127.0.0.1", "--fault", "slow-start=2000")
    proxy = awsocks(*NAMED, aws=aws)
    got = []

    def one():
        r = client.curl("--proxy", proxy.url(), f"http://{HOST}:{web.port}/bytes/1000")
        got.append(r.stdout == b"".join(harness.pattern(1000)))
    threads = [threading.Thread(target=one) for _ in range(20)]
    for t in threads:
        t.start()
    harness.wait_for(lambda: proxy.status(), what="a status while it starts")
    for t in threads:
        t.join(harness.LIMIT_S)
    assert got == [True] * 20
    assert aws.stats()["StartSession"] == 1


def test_aws_that_is_away_is_named_and_found_again(localaws, awsocks, web, tmp_path):
    port = harness.free_port()              # which nobody else is given meanwhile
    aws = localaws("--resolve", f"{HOST}=127.0.0.1", "--listen", f"127.0.0.1:{port}")
    assert aws.stop() == 0
    proxy = awsocks(*NAMED, aws=aws)
    r = client.curl("-i", "--proxy", proxy.url("http"), f"http://{HOST}:{web.port}/bytes/1", check=False)
    text = r.stdout.decode()
    assert text.startswith("HTTP/1.1 50") and "refused" in text.lower() and f":{port}" in text, text
    assert web.connections == 0
    localaws("--resolve", f"{HOST}=127.0.0.1", "--listen", f"127.0.0.1:{port}")

    def again():
        r = client.curl("--proxy", proxy.url(), f"http://{HOST}:{web.port}/bytes/1", check=False)
        return r.stdout == b"".join(harness.pattern(1))
    proxy.wait_for(again, what="AWS to be found again")


def test_credentials_that_expired_are_renewed_at_resume(localaws, awsocks, web, role):
    aws = localaws("--resolve", f"{HOST}=127.0.0.1", "--require-signed-ws")
    proxy = awsocks(*NAMED, "--instance-id", INSTANCE, env=role(aws))
    with client.socks5(proxy.listener, HOST, web.port) as s:
        ask(s, "/bytes/1000")
        answer(s, 1000)
        assert aws.stats()["AssumeRole"] == 1
        aws.faults("expire-credentials=0")             # those given out are good no more
        aws.faults("expire-credentials=3600")
        aws.faults("drop-ws-after-bytes=1")
        ask(s, "/bytes/2000")
        harness.wait_for(lambda: aws.stats()["ResumeSession"] >= 1, what="a resume")
        aws.faults("drop-ws-after-bytes=off")
        assert answer(s, 2000) == b"".join(harness.pattern(2000))
    assert aws.stats()["AssumeRole"] == 2
    assert aws.stats()["StartSession"] == 1


def test_a_clock_that_is_wrong_is_allowed_for_on_the_websocket(localaws, awsocks, web, tmp_path):
    aws = localaws("--resolve", f"{HOST}=127.0.0.1", "--require-signed-ws", "--fault", "clock-skew=3600")
    proxy = awsocks(*NAMED, aws=aws)
    assert down(proxy, web, tmp_path) == harness.pattern_digest(SIZE)


@pytest.mark.long
def test_a_frozen_websocket_is_noticed_and_resumed(localaws, awsocks, web):
    """30 s to the ping, 15 s to the verdict."""
    aws = localaws("--resolve", f"{HOST}=127.0.0.1")
    proxy = awsocks(*NAMED, aws=aws)
    with client.socks5(proxy.listener, HOST, web.port) as s:
        s.settimeout(120)
        ask(s, "/bytes/1000")
        answer(s, 1000)
        aws.faults("freeze-ws-after=1")
        ask(s, "/bytes/2000")
        harness.wait_for(lambda: aws.stats()["ResumeSession"], limit_s=90, what="a resume")
        aws.faults("freeze-ws-after=off")
        assert answer(s, 2000) == b"".join(harness.pattern(2000))
    assert aws.stats()["StartSession"] == 1


def test_a_greeting_for_a_client_that_has_gone(localaws, awsocks):
    """Clients that connect and leave at once, servers that speak first: nobody is confused."""
    aws = localaws("--resolve", f"{HOST}=127.0.0.1", "--fault", "delay=20")
    proxy = awsocks(*NAMED, aws=aws)
    with socket.create_server(("127.0.0.1", 0), backlog=200) as server:
        server.settimeout(harness.LIMIT_S)
        port = server.getsockname()[1]

        def serve():
            for _ in range(40):
                peer, _ = server.accept()
                with peer, contextlib.suppress(ConnectionError):       # it may have gone again
                    peer.sendall(b"220 hello\r\n")
        greeter = threading.Thread(target=serve)
        greeter.start()
        for i in range(40):
            s = client.socks5(proxy.listener, HOST, port)
            if i % 4 == 3:
                assert client.read_exactly(s, 11) == b"220 hello\r\n"
            s.close()
        greeter.join(harness.LIMIT_S)
        assert not greeter.is_alive()
    assert proxy.running()
