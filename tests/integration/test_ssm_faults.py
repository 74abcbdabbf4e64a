"""The data channel when things go wrong: loss, reordering, cuts, refusals, old agents, stalled readers."""
import concurrent.futures
import socket
import struct

import pytest

import client
import harness

HOST = "api.internal.example"
SIZE = 300_000


def start(localaws, awsocks, *faults, emulator=(), proxy=()):
    options = [x for f in faults for x in ("--fault", f)]
    aws = localaws("--resolve", f"{HOST}=127.0.0.1", *options, *emulator)
    return aws, awsocks("--route-default", "proxy", "--route-proxy", HOST, *proxy, aws=aws)


def down(proxy, web, tmp_path, size=SIZE):
    return client.fetch_digest(proxy.url(), f"http://{HOST}:{web.port}/bytes/{size}", tmp_path)


def up(proxy, web, tmp_path, size=SIZE):
    path = harness.pattern_file(tmp_path / "up", size)
    r = client.curl("--fail", "--proxy", proxy.url(), "-T", path, f"http://{HOST}:{web.port}/digest")
    return r.stdout.decode()


CHANNELS = {
    "lossy uplink": ["lose-client=5"],
    "lossy downlink": ["lose-agent=1"],
    "repeats": ["repeat-client=20", "repeat-agent=20"],
    "reordering": ["reorder-client=10", "reorder-agent=10"],
    "slow": ["delay=20"],
    "late acks": ["delay-ack=300"],
    "lost acks": ["no-ack=10"],
    "fragments": ["fragment=100"],
    # Shorter than the round trip (20 ms) that tells a client that the gap is over: a slow machine may make it one.
    "swallowed early data": ["early-data-gap=15"],
    "everything": ["lose-client=2", "repeat-agent=5", "reorder-client=5", "reorder-agent=5", "delay=5", "no-ack=2"],
}


@pytest.mark.parametrize("name", CHANNELS)
def test_every_byte_arrives(localaws, awsocks, web, tmp_path, name):
    _, proxy = start(localaws, awsocks, *CHANNELS[name], "seed=7")
    assert down(proxy, web, tmp_path) == harness.pattern_digest(SIZE)
    assert up(proxy, web, tmp_path) == harness.pattern_digest(SIZE)


def test_cut_websockets_are_resumed(localaws, awsocks, web, tmp_path):
    aws, proxy = start(localaws, awsocks, "drop-ws-after-bytes=200000", emulator=("--throttle", "300000"))
    assert down(proxy, web, tmp_path, 600_000) == harness.pattern_digest(600_000)
    assert aws.stats()["StartSession"] == 1
    # A stream that comes while the session is away on a slow machine has another one opened for it.
    assert up(proxy, web, tmp_path, 600_000) == harness.pattern_digest(600_000)
    stats = aws.stats()
    assert stats["ResumeSession"] >= 4
    assert stats["StartSession"] <= 2


def test_the_hourly_close_is_resumed(localaws, awsocks, web, tmp_path):
    """Code 1000 "Bye" is not the end of a session (plugin #135)."""
    aws, proxy = start(localaws, awsocks, "close-1000-after=1", emulator=("--throttle", "200000"))
    assert down(proxy, web, tmp_path, 600_000) == harness.pattern_digest(600_000)
    assert aws.stats()["ResumeSession"] >= 1
    assert aws.stats()["StartSession"] == 1


def test_a_session_that_is_gone_ends_its_streams_and_a_new_one_serves(localaws, awsocks, web, tmp_path):
    aws, proxy = start(localaws, awsocks, "drop-ws-after-bytes=200000", "refuse-resume", proxy=("--sessions", "1"))
    r = client.curl("--proxy", proxy.url(), f"http://{HOST}:{web.port}/bytes/600000", check=False)
    assert r.returncode != 0
    assert len(r.stdout) < 600_000
    aws.faults("drop-ws-after-bytes=off")
    aws.faults("refuse-resume=off")
    assert down(proxy, web, tmp_path) == harness.pattern_digest(SIZE)
    assert aws.stats()["StartSession"] == 2


def test_a_gap_that_takes_too_long_ends_its_session_alone(localaws, awsocks, web, tmp_path):
    """The agent repeats ten messages a second: with hundreds of them lost the client is better off with an end."""
    aws, proxy = start(localaws, awsocks, "lose-agent=20", "seed=3", proxy=("--gap-limit", "5s", "--sessions", "1"))
    r = client.curl("--proxy", proxy.url(), f"http://{HOST}:{web.port}/bytes/4000000", check=False)
    assert r.returncode != 0
    harness.wait_for(lambda: "session is lost" in proxy.log(), what="the end of the session")
    aws.faults("lose-agent=off")
    assert down(proxy, web, tmp_path) == harness.pattern_digest(SIZE)
    assert aws.stats()["StartSession"] == 2
    aws.wait_sessions_open(1)


@pytest.mark.long
def test_a_session_that_only_acknowledges_is_replaced(localaws, awsocks, web, tmp_path):
    """7.3 of the protocol page: the agent's multiplexer dies, the session stays and acknowledges."""
    aws, proxy = start(localaws, awsocks)
    assert down(proxy, web, tmp_path) == harness.pattern_digest(SIZE)
    aws.faults("zombie")
    with client.socks5(proxy.listener, HOST, web.port) as s:
        s.sendall(b"GET /bytes/10 HTTP/1.1\r\nHost: x\r\n\r\n")
        s.settimeout(60)
        harness.wait_for(lambda: "asking whether it lives" in proxy.log(), what="the question")
        aws.faults("zombie=off")
        with pytest.raises(ConnectionResetError):
            s.recv(1)
    harness.wait_for(lambda: "carries nothing" in proxy.log(), what="its end")
    assert down(proxy, web, tmp_path) == harness.pattern_digest(SIZE)
    aws.wait_sessions_open(1)


def test_a_quiet_server_is_no_dead_session(localaws, awsocks, web):
    """The question is answered, and the stream that waits does not notice."""
    aws, proxy = start(localaws, awsocks)
    with client.socks5(proxy.listener, HOST, web.port) as s:
        s.sendall(b"GET /bytes/10 HTTP/1.1\r\n")
        harness.wait_for(lambda: "asking whether it lives" in proxy.log(), what="the question")
        harness.wait_for(lambda: aws.stats()["targets_open"] == 1, what="the end of the question")
        s.sendall(b"Host: x\r\n\r\n")
        s.settimeout(20)
        assert s.recv(1) == b"H"
    assert aws.stats()["StartSession"] == 1


def test_a_connection_that_is_only_quiet_keeps_its_session(localaws, awsocks, web):
    """AWS ends sessions without input (plugin #39); one whose connection is open says that it is."""
    aws, proxy = start(localaws, awsocks, emulator=("--idle-timeout", "3"), proxy=("--keep-alive", "300ms"))
    with client.socks5(proxy.listener, HOST, web.port) as s:
        s.sendall(b"GET /bytes/10 HTTP/1.1\r\nHost: x\r\n\r\n")
        assert client.read_head(s).startswith(b"HTTP/1.1 200")
        client.read_exactly(s, 10)
        before = aws.stats()["messages_in"]
        harness.wait_for(lambda: aws.stats()["messages_in"] >= before + 14, what="fourteen signs of life")
        s.sendall(b"GET /bytes/10 HTTP/1.1\r\nHost: x\r\n\r\n")
        assert client.read_head(s).startswith(b"HTTP/1.1 200")
        s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))      # an end alone is not passed on
    assert aws.stats()["StartSession"] == 1
    aws.wait_sessions_open(0)


def test_a_token_that_is_not_taken(localaws, awsocks, web, tmp_path):
    """At the start it is the end of that session, and named; at a resume another one is asked for."""
    aws, proxy = start(localaws, awsocks, "expire-token=0")
    with pytest.raises(client.Refused):
        client.socks5(proxy.listener, HOST, web.port)
    assert "token is invalid or expired" in proxy.log()
    aws.faults("clear")
    assert down(proxy, web, tmp_path, 10) == harness.pattern_digest(10)
    with client.socks5(proxy.listener, HOST, web.port) as s:
        s.sendall(b"GET /bytes/10 HTTP/1.1\r\n")
        resumes = aws.stats()["ResumeSession"]
        aws.faults("expire-token=0")
        aws.faults("close-1000-after=0.1")
        harness.wait_for(lambda: aws.stats()["ResumeSession"] >= resumes + 4, what="four tries to resume")
        aws.faults("clear")
        s.sendall(b"Host: x\r\n\r\n")
        assert client.read_head(s).startswith(b"HTTP/1.1 200")


def test_throttled_starts_are_asked_again(localaws, awsocks, web, tmp_path):
    """More refusals than one call's own retries: the shared bucket closes for a while, and nobody fails."""
    aws, proxy = start(localaws, awsocks, "throttle-api=5")
    assert down(proxy, web, tmp_path) == harness.pattern_digest(SIZE)
    assert "asked for too often" in proxy.log()
    assert aws.stats()["StartSession"] >= 2


def test_profiles_of_one_account_share_the_bucket(localaws, awsocks, web, tmp_path):
    """Nine sessions each, at once: ten of both go out, the rest waits its turn. Two come back each second."""
    hosts = [f"h{i}.{p}.example" for p in ("one", "two") for i in range(9)]
    aws = localaws(*[x for h in hosts for x in ("--resolve", f"{h}=127.0.0.1")])
    config = tmp_path / "config.yaml"
    config.write_text("profiles:\n" + "".join(f"  {p}: {{ instance-id: i-0123456789abcdef0 }}\n"
                                              for p in ("one", "two")))
    rules = tmp_path / "rules.yaml"
    rules.write_text("rules:\n" + "".join(f'  - {{ match: "*.{p}.example", route: "proxy:{p}" }}\n'
                                          for p in ("one", "two")))
    proxy = awsocks("--config", str(config), "--rules", str(rules), "--log-level", "info,ssm=debug", "one", aws=aws,
                    target=False)
    with concurrent.futures.ThreadPoolExecutor(len(hosts)) as pool:
        streams = list(pool.map(lambda h: client.socks5(proxy.listener, h, web.port), hosts))
    assert "waits its turn to be started" in proxy.log()
    assert aws.stats()["StartSession"] == len(hosts)
    for s in streams:
        s.close()


def test_a_warm_host_has_its_session_before_anyone_comes(localaws, awsocks, web, tmp_path):
    aws, proxy = start(localaws, awsocks, proxy=("--no-lazy", "--warm", f"{HOST}:{web.port}", "--session-idle", "1s",
                                                     "--sessions", "1"))
    harness.wait_for(lambda: aws.stats()["StartSession"] == 1, what="the warm session")
    harness.wait_for(lambda: aws.stats()["websockets"] == 1, what="its websocket")
    assert down(proxy, web, tmp_path) == harness.pattern_digest(SIZE)
    assert aws.stats()["StartSession"] == 1


ASKED = {
    "ask-kms": "KMS encryption, which port sessions do not have",
    "ask-unknown": "the unknown action 'Juggle'",
}


@pytest.mark.parametrize("fault", ASKED)
def test_what_the_agent_asks_for_in_vain_is_named(localaws, awsocks, web, tmp_path, fault):
    _, proxy = start(localaws, awsocks, fault)
    r = client.curl("-i", "--proxy", proxy.url("http"), f"http://{HOST}:{web.port}/bytes/1", check=False)
    assert ASKED[fault] in r.stdout.decode()
    assert web.connections == 0


def test_the_account_s_message_is_logged(localaws, awsocks, web, tmp_path):
    _, proxy = start(localaws, awsocks, "customer-message")
    assert down(proxy, web, tmp_path) == harness.pattern_digest(SIZE)
    assert "Maintenance at noon." in proxy.log()


def test_an_instance_that_is_not_connected_yet(localaws, awsocks, web, tmp_path):
    """For the first seconds after its start: who comes then waits, and is served."""
    aws, proxy = start(localaws, awsocks, "not-connected=2")
    assert down(proxy, web, tmp_path) == harness.pattern_digest(SIZE)
    assert "not connected yet, will be asked for again" in proxy.log()
    assert aws.stats()["StartSession"] == 3
    assert len([line for line in proxy.audit() if line.get("error")]) == 0


REFUSALS = {
    "refuse-session": "AccessDenied",
    "not-connected": "not connected",
    "refuse-remote-host": "InvalidDocument",
    "fail-api": "InternalServerError",
}


@pytest.mark.parametrize("fault", REFUSALS)
def test_a_refusal_names_its_cause(localaws, awsocks, web, fault):
    """The client reads why, in the words of AWS, and gets no other way to the host."""
    _, proxy = start(localaws, awsocks, fault, proxy=("--connect-timeout", "4s"))
    r = client.curl("-i", "--proxy", proxy.url("http"), f"http://{HOST}:{web.port}/bytes/1", check=False)
    text = r.stdout.decode()
    assert text.startswith("HTTP/1.1 50")
    assert REFUSALS[fault].lower() in text.lower(), text
    assert web.connections == 0
    line = proxy.audit()[-1]
    assert line["route"] == "proxy" and line["error"]


@pytest.mark.parametrize("version,words", [("3.0.196.0", "3.0.196.0"), ("3.1.1000.0", "3.1.1000.0")])
def test_an_agent_too_old_is_named(localaws, awsocks, web, version, words):
    _, proxy = start(localaws, awsocks, emulator=("--agent-version", version))
    r = client.curl("-i", "--proxy", proxy.url("http"), f"http://{HOST}:{web.port}/bytes/1", check=False)
    text = r.stdout.decode()
    assert text.startswith("HTTP/1.1 50") and words in text, text


def test_a_wrong_secret_is_named(localaws, awsocks, web):
    aws = localaws("--resolve", f"{HOST}=127.0.0.1")
    proxy = awsocks("--route-proxy", HOST, aws=aws, env={"AWS_SECRET_ACCESS_KEY": "wrong" * 8})
    r = client.curl("-i", "--proxy", proxy.url("http"), f"http://{HOST}:{web.port}/bytes/1", check=False)
    assert "signature" in r.stdout.decode().lower(), r.stdout
    assert "wrongwrong" not in proxy.log()


def test_tls_to_aws(localaws, awsocks, web, tmp_path):
    _, proxy = start(localaws, awsocks, emulator=("--tls", "--require-signed-ws"))
    assert down(proxy, web, tmp_path) == harness.pattern_digest(SIZE)


def test_tls_of_an_unknown_authority_is_refused(localaws, awsocks, web, tmp_path):
    aws = localaws("--resolve", f"{HOST}=127.0.0.1", "--tls")
    proxy = awsocks("--route-proxy", HOST, aws=aws, env={"AWS_CA_BUNDLE": ""})
    r = client.curl("-i", "--proxy", proxy.url("http"), f"http://{HOST}:{web.port}/bytes/1", check=False)
    assert "certificate" in r.stdout.decode().lower(), r.stdout
    assert aws.stats()["StartSession"] == 0


def test_one_stalled_reader_does_not_stop_the_others(localaws, awsocks, web, tmp_path):
    """A client that stops reading: 4 MiB are held for it; the others go on meanwhile."""
    aws, proxy = start(localaws, awsocks, proxy=("--sessions", "1"))
    with socket.create_connection(proxy.listener, timeout=harness.LIMIT_S) as s:
        name = HOST.encode()
        s.sendall(b"\5\1\0\5\1\0\3" + bytes([len(name)]) + name + web.port.to_bytes(2, "big"))
        s.sendall(f"GET /bytes/2000000 HTTP/1.1\r\nHost: {HOST}\r\n\r\n".encode())
        for i in range(3):
            assert down(proxy, web, tmp_path, SIZE + i) == harness.pattern_digest(SIZE + i)
    assert aws.stats()["StartSession"] == 1
