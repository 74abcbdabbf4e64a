"""Limits as a user meets them: how many clients in total, at a listener, for each peer; deadlines; idle tunnels; and
a program that runs out of descriptors."""
import contextlib
import os
import resource
import select
import shutil
import signal
import socket
import subprocess
import threading
import time

import pytest

import client
import conftest
import harness

DIRECT = ("--route-default", "block", "--route-direct", "127.0.0.0/8", "--route-direct", "localhost", "--route-direct",
          "*.invalid")


class Echo:
    """A server that echoes, one thread for all."""

    def __init__(self):
        self.socket = socket.create_server(("127.0.0.1", 0), backlog=1024)
        self.port = self.socket.getsockname()[1]
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        with contextlib.suppress(OSError):
            while True:
                s, _ = self.socket.accept()
                threading.Thread(target=self.echo, args=(s,), daemon=True).start()

    @staticmethod
    def echo(s):
        with contextlib.suppress(OSError), s:
            while data := s.recv(1 << 16):
                s.sendall(data)

    def stop(self):
        with contextlib.suppress(OSError):
            self.socket.shutdown(socket.SHUT_RDWR)
        self.socket.close()


@pytest.fixture
def echo():
    server = Echo()
    yield server
    server.stop()


def answers(s, text=b"are you there?"):
    s.sendall(text)
    return client.read_exactly(s, len(text)) == text


def greeted(s):
    """True once a place was given: the proxy answers the SOCKS5 greeting."""
    s.sendall(b"\5\1\0")
    return client.read_exactly(s, 2) == b"\5\0"


def waits(s):
    """Nobody reads it and nobody closes it. (What is under test here would come at once.)"""
    s.settimeout(0.3)
    with pytest.raises(TimeoutError):
        s.recv(1)
    s.settimeout(harness.LIMIT_S)
    return True


def ended(s):
    """Closed from the other side, with or without a reset."""
    with contextlib.suppress(ConnectionResetError):
        return client.read_to_end(s) is not None
    return True


def configured(folder, text):
    path = folder / "config.yaml"
    path.write_text(text)
    return str(path)


# --- how many ----------------------------------------------------------------------------


@pytest.mark.parametrize("workers", ["1", "3"])
def test_over_the_total_clients_wait_and_are_then_served(awsocks, echo, workers):
    """Over all listeners: the third waits in the backlog, whichever it came to, and is served when one ends."""
    p = awsocks(*DIRECT, "--workers", workers, "--max-connections", "2", "--listen", "127.0.0.1:0")
    other = conftest.listener_of(p.ready["listeners"][1]["address"])
    a = client.socks5(p.listener, "127.0.0.1", echo.port)
    b = client.socks5(other, "127.0.0.1", echo.port)
    with client.dial(p.listener) as c, client.dial(other) as d:
        c.sendall(b"\5\1\0")
        d.sendall(b"\5\1\0")
        assert waits(c) and waits(d)
        told = "which is the limit (--max-connections)"
        harness.wait_for(lambda: told in p.log(), what="the limit")
        assert p.log().count(told) == 1
        assert answers(a) and answers(b)
        assert p.status()["connections"] == 2       # the control socket is none of them
        a.close()
        b.close()
        assert client.read_exactly(c, 2) == client.read_exactly(d, 2) == b"\5\0"
    p.stop()
    assert not [line for line in p.audit() if line["action"] == "refuse" and "limit" in line.get("error", "")]


def test_waiting_costs_no_processor_time(awsocks, echo):
    p = awsocks(*DIRECT, "--max-connections", "1")
    with client.socks5(p.listener, "127.0.0.1", echo.port) as a, contextlib.ExitStack() as stack:
        for _ in range(50):
            stack.enter_context(client.dial(p.listener)).sendall(b"\5\1\0")
        harness.wait_for(lambda: "which is the limit" in p.log(), what="the limit")
        before = p.cpu_s()
        time.sleep(1)           # a busy loop would use all of it
        assert p.cpu_s() - before < (0.5 if harness.SANITIZED else 0.2)
        assert answers(a)


@pytest.mark.parametrize("workers", ["1", "3"])
def test_many_more_clients_than_places(awsocks, web, workers):
    """All are served, a few at a time."""
    p = awsocks(*DIRECT, "--workers", workers, "--max-connections", "3")
    got = []

    def fetch():
        r = client.curl("--proxy", p.url(), f"http://127.0.0.1:{web.port}/bytes/1000")
        got.append(r.stdout)
    threads = [threading.Thread(target=fetch) for _ in range(30)]
    for t in threads:
        t.start()
    for t in threads:
        t.join(harness.LIMIT_S * 2)
    assert got == [b"".join(harness.pattern(1000))] * 30


def served_meanwhile(p):
    """Many clients, always back, at the first listener of `p`: how many of them are served while one waits at the
    second, 32 times."""
    other = conftest.listener_of(p.ready["listeners"][1]["address"])
    stop, served = threading.Event(), []

    def come_again():
        while not stop.is_set():
            with contextlib.suppress(OSError), client.dial(p.listener) as s:
                greeted(s)
                served.append(1)
                stop.wait(0.005)
    crowd = [threading.Thread(target=come_again) for _ in range(30)]
    for t in crowd:
        t.start()
    try:
        harness.wait_for(lambda: len(served) > 60, what="the crowd")
        waited = []
        for _ in range(32):
            before = len(served)
            with client.dial(other) as s:
                assert greeted(s)
            waited.append(len(served) - before)
    finally:
        stop.set()
        for t in crowd:
            t.join(harness.LIMIT_S)
    harness.wait_for(lambda: p.status()["listeners"][0]["connections"] == 0, what="their end")
    return sorted(waited)


@pytest.mark.parametrize("workers", ["1", "2", "4"])
def test_places_go_round(awsocks, workers):
    """One listener's clients do not keep all places, whichever worker who waits came to."""
    p = awsocks(*DIRECT, "--workers", workers, "--max-connections", "2", "--listen", "127.0.0.1:0")
    waited = served_meanwhile(p)
    # Not the longest: this very thread waits for its turn at the interpreter, too, while the crowd is served.
    assert waited[len(waited) // 2] < 100, waited


@pytest.mark.nosan      # LeakSanitizer does not work under ptrace
@pytest.mark.skipif(not shutil.which("strace"), reason="no strace")
def test_places_go_round_when_turns_are_long(awsocks):
    """With a slow disk below the audit log each turn of the loop finds clients that ended and clients that come."""
    slow = ("strace", "-D", "-f", "-qq", "-o", "/dev/null", "-e", "trace=write", "-e", "inject=write:delay_enter=25ms")
    if subprocess.run([*slow, "true"], capture_output=True, check=False).returncode:
        pytest.skip("strace cannot do that here")
    p = awsocks(*DIRECT, "--workers", "1", "--max-connections", "2", "--listen", "127.0.0.1:0", wrap=slow)
    waited = served_meanwhile(p)
    assert waited[-1] < 60, waited          # it was 200 and more, or never


def test_a_listener_has_a_limit_of_its_own(awsocks, echo, tmp_path):
    text = ('listeners:\n  - { address: "127.0.0.1:0", name: small, max-connections: 1 }\n'
            '  - { address: "127.0.0.1:0", name: large }\n')
    p = awsocks("--config", configured(tmp_path, text), *DIRECT, listen=None)
    small, large = (conftest.listener_of(p.listeners[n]["address"]) for n in ("small", "large"))
    a = client.socks5(small, "127.0.0.1", echo.port)
    with client.dial(small) as b:
        b.sendall(b"\5\1\0")
        assert waits(b)
        with client.socks5(large, "127.0.0.1", echo.port) as c:
            assert answers(c) and answers(a)
        a.close()
        assert client.read_exactly(b, 2) == b"\5\0"
    assert "small: 1 clients are served, which is the limit (max-connections: of the listener)" in p.log()


def from_address(address, listener):
    s = socket.socket()
    s.settimeout(harness.LIMIT_S)
    s.bind((address, 0))
    s.connect(listener)
    return s


@pytest.mark.parametrize("workers", ["1", "3"])
def test_a_peer_over_its_share_is_refused_and_others_are_not(awsocks, echo, workers):
    p = awsocks(*DIRECT, "--workers", workers, "--max-connections-per-peer", "2", "--listen", "127.0.0.1:0")
    other = conftest.listener_of(p.ready["listeners"][1]["address"])
    a = client.socks5(p.listener, "127.0.0.1", echo.port)
    with from_address("127.0.0.1", other) as b:
        assert greeted(b)
        for listener in (p.listener, other):            # counted over both
            with client.dial(listener) as c:
                assert ended(c)
        with from_address("127.0.0.9", p.listener) as d:
            assert greeted(d)
        assert answers(a)
        a.close()
        # Of the listeners: a client's share is free when it is not counted there any more.
        harness.wait_for(lambda: sum(one["connections"] for one in p.status()["listeners"]) == 1, what="its end")
        client.socks5(p.listener, "127.0.0.1", echo.port).close()
    p.stop()
    refused = [line for line in p.audit() if "which is its limit" in line.get("error", "")]
    assert len(refused) == 2 and {line["action"] for line in refused} == {"refuse"}
    assert p.log().count("more are refused") == 1


def test_users_of_a_unix_socket_are_peers(awsocks, echo, tmp_path_factory):
    folder = tmp_path_factory.mktemp("s")
    path = f"{folder}/p.sock"
    text = f'listeners: [{{ address: "unix:{path}", name: box, guard: off, max-per-peer: 1 }}]\n'
    p = awsocks("--config", configured(folder, text), *DIRECT, listen=None)
    with client.socks5(path, "127.0.0.1", echo.port) as a:
        with client.dial(path) as b:
            assert ended(b)
        assert answers(a)
    p.stop()
    (line,) = [line for line in p.audit() if line["action"] == "refuse"]
    assert line["uid"] == os.getuid() and line["pid"] == os.getpid() and "its limit" in line["error"]
    shutil.rmtree(folder)


@pytest.mark.parametrize("workers", ["1", "2"])
def test_status_shows_limits_and_counts(awsocks, echo, tmp_path, workers):
    text = ('listeners:\n  - { address: "127.0.0.1:0", name: small, max-connections: 7, max-per-peer: 3 }\n'
            '  - { address: "127.0.0.1:0", name: large }\n')
    p = awsocks("--config", configured(tmp_path, text), *DIRECT, "--workers", workers, "--max-connections", "50",
                "--max-connections-per-peer", "40", listen=None)
    small, large = (conftest.listener_of(p.listeners[n]["address"]) for n in ("small", "large"))

    def counts():
        return {one["name"]: one["connections"] for one in p.status()["listeners"]}

    def shown():
        return harness.run([harness.program("awsocks"), "status"], env=p.env).stdout.decode()
    with contextlib.ExitStack() as stack:
        for at in (small, large, large):
            stack.enter_context(client.socks5(at, "127.0.0.1", echo.port))
        s = p.status()
        assert (s["connections"], s["max_connections"], s["max_per_peer"]) == (3, 50, 40)
        assert counts() == {"small": 1, "large": 2}
        one, other = s["listeners"]
        assert (one["max_connections"], one["max_per_peer"]) == (7, 3)
        assert "max_connections" not in other and "max_per_peer" not in other      # none of its own
        lines = shown().splitlines()
        assert "3 connections now of at most 50 (40 a peer), 3 in all" in lines[0]
        assert [line.split(maxsplit=2)[2] for line in lines if line.startswith(("  small ", "  large "))] == [
            "1 connections now of at most 7 (3 a peer)", "2 connections now"]
    harness.wait_for(lambda: counts() == {"small": 0, "large": 0}, what="their end")


def test_status_shows_the_limit_that_follows_the_open_files(awsocks):
    p = awsocks(*DIRECT, wrap=("prlimit", "--nofile=264:264"))
    assert p.status()["max_connections"] == 100


@pytest.mark.parametrize("key", ["max-connections", "max-per-peer"])
@pytest.mark.parametrize("value", ["0", "-1", "many", "[1]", "1000001"])
def test_wrong_numbers_are_told(tmp_path, key, value):
    path = configured(tmp_path, f'listeners:\n  - {{ address: "127.0.0.1:0", {key}: {value} }}\n')
    r = harness.run([harness.program("awsocks"), "check", path], check=False, env=conftest.clean_environment(tmp_path))
    text = harness.show(r.stdout) + harness.show(r.stderr)
    assert r.returncode == 65 and f"{key}: a number between 1 and 1000000 expected" in text and "config.yaml:2:" in text


# --- deadlines ---------------------------------------------------------------------------

DRIPS = {
    "socks5 greeting": (b"", b"\5\xff" + bytes(255), b"\5\xff"),
    "socks5 request": (b"\5\1\0", b"\5\1\0\3\xff" + b"a" * 255 + b"\0\x50", b"\5\0\5\6"),
    "socks4": (b"", b"\4\1\0\x50\x7f\0\0\1" + b"u" * 300 + b"\0", b"\0\x5b"),
    "connect": (b"", b"CONNECT 127.0.0.1:1 HTTP/1.1\r\nX: " + b"x" * 300 + b"\r\n\r\n", b"HTTP/1.1 408 "),
    "http": (b"", b"GET http://127.0.0.1:1/ HTTP/1.1\r\nX: " + b"x" * 300 + b"\r\n\r\n", b"HTTP/1.1 408 "),
}


def drip(s, data, limit_s=harness.LIMIT_S):
    """A byte at a time, until the other side has had enough; what it said."""
    got = b""
    s.settimeout(0.01)
    with contextlib.suppress(ConnectionResetError, BrokenPipeError):
        for i in range(len(data)):
            s.sendall(data[i:i + 1])
            with contextlib.suppress(TimeoutError):
                piece = s.recv(4096)
                if not piece:
                    return got
                got += piece
    s.settimeout(limit_s)
    with contextlib.suppress(ConnectionResetError):         # what came before a reset may still be read
        while piece := s.recv(4096):
            got += piece
    return got


@pytest.mark.parametrize("kind", DRIPS)
def test_slow_bytes_do_not_extend_the_deadline(awsocks, kind):
    """Each would need 2.5 s or more for its handshake, and has 1.5 s: enough for the first bytes on any machine."""
    p = awsocks(*DIRECT, "--handshake-timeout", "1500ms")
    first, slow, want = DRIPS[kind]
    with client.dial(p.listener) as s:
        s.sendall(first)
        got = drip(s, slow)
    assert got.startswith(want), got
    p.stop()
    assert p.audit()[-1]["error"].startswith("no whole request within")


def test_the_deadline_of_a_second_request_begins_with_its_first_byte(awsocks, web):
    p = awsocks(*DIRECT, "--handshake-timeout", "2s")
    with client.dial(p.listener) as s:
        request = b"GET http://127.0.0.1:%d/bytes/3 HTTP/1.1\r\nX: %s\r\n\r\n"
        for pause in (0, 3):           # longer than the deadline, between requests
            time.sleep(pause)
            s.sendall(request % (web.port, b"x"))
            client.read_head(s)
            assert client.read_exactly(s, 3) == b"".join(harness.pattern(3))
        got = drip(s, request % (web.port, b"x" * 500))
    assert got.startswith(b"HTTP/1.1 408 "), got


def test_a_greeting_in_single_bytes_is_accepted(awsocks, echo):
    p = awsocks(*DIRECT)
    with client.dial(p.listener) as s:
        for byte in b"\5\1\0\5\1\0\1\x7f\0\0\1" + echo.port.to_bytes(2, "big"):
            s.sendall(bytes([byte]))
        assert client.read_exactly(s, 12)[:4] == b"\5\0\5\0"
        assert answers(s)


# --- idle tunnels ------------------------------------------------------------------------


@pytest.mark.parametrize("route", ["direct", "proxy"])
def test_idle_tunnels_are_ended_and_busy_ones_are_not(awsocks, localaws, echo, route):
    host = "127.0.0.1" if route == "direct" else "api.internal.example"
    aws = localaws("--resolve", f"api.internal.example=127.0.0.1:{echo.port}")
    p = awsocks(*DIRECT, "--route-proxy", "api.internal.example", "--idle-timeout", "3s", aws=aws)
    with contextlib.ExitStack() as stack:
        idle = stack.enter_context(client.socks5(p.listener, host, echo.port))
        assert answers(idle)
        busy = stack.enter_context(client.http_connect(p.listener, host, echo.port))
        idle.settimeout(0.1)
        deadline = time.monotonic() + harness.LIMIT_S
        while time.monotonic() < deadline:
            assert answers(busy)
            with contextlib.suppress(TimeoutError, ConnectionResetError):
                assert idle.recv(1) == b""
                break
            if "idle limit" in open(os.path.join(p.env["HOME"], "audit", "audit.jsonl"), encoding="utf-8").read():
                break
        assert answers(busy)
        harness.wait_for(p.audit, what="the audit line")
        (line,) = p.audit()
    assert line["error"] == "nothing moved for longer than the idle limit" and line["route"] == route
    assert line["bytes_up"] == line["bytes_down"] == len(b"are you there?")


def test_the_idle_limit_is_for_http_too(awsocks, web):
    """An exchange in which nothing moves is a 504; a kept connection without a request is closed."""
    p = awsocks(*DIRECT, "--idle-timeout", "3s")
    request = b"GET http://127.0.0.1:%d/bytes/3 HTTP/1.1\r\n\r\n"
    with socket.create_server(("127.0.0.1", 0)) as silent, client.dial(p.listener) as s, \
            client.dial(p.listener) as kept:
        s.sendall(request % silent.getsockname()[1])
        kept.sendall(request % web.port)
        client.read_head(kept)
        assert client.read_exactly(kept, 3) == b"".join(harness.pattern(3))
        answer = client.read_head(s)
        assert answer.startswith(b"HTTP/1.1 504 "), answer
        assert ended(kept)
    harness.wait_for(lambda: len(p.audit()) >= 2, what="both audit lines")
    errors = [line.get("error") for line in p.audit()]
    assert sorted(map(str, errors)) == ["None", "nothing moved for longer than the idle limit"]


def test_without_the_option_idle_tunnels_stay(awsocks, echo):
    p = awsocks(*DIRECT)
    with client.socks5(p.listener, "127.0.0.1", echo.port) as s:
        time.sleep(1)
        assert answers(s)
        assert p.status()["connections"] == 1


# --- names -------------------------------------------------------------------------------


def test_names_in_the_cache_are_still_judged_by_rules_and_guard(awsocks, echo, tmp_path_factory):
    """localhost was looked up for one listener; at a guarded one it is refused, and so it is where rules block it."""
    folder = tmp_path_factory.mktemp("s")
    (folder / "block.yaml").write_text("default: direct\nblock: [localhost]\n")
    (folder / "open.yaml").write_text("default: direct\n")
    text = (f'listeners:\n  - {{ address: "127.0.0.1:0", name: free, rules: {folder}/open.yaml }}\n'
            f'  - {{ address: "127.0.0.1:0", name: guarded, guard: on, rules: {folder}/open.yaml }}\n'
            f'  - {{ address: "127.0.0.1:0", name: blocked, rules: {folder}/block.yaml }}\n')
    p = awsocks("--config", configured(folder, text), listen=None)
    at = {name: conftest.listener_of(one["address"]) for name, one in p.listeners.items()}
    for _ in range(2):
        client.socks5(at["free"], "localhost", echo.port).close()
        for name in ("guarded", "blocked"):
            with pytest.raises(client.Refused) as e:
                client.socks5(at[name], "localhost", echo.port)
            assert e.value.code == 2
    p.stop()
    shutil.rmtree(folder)


# --- out of descriptors ------------------------------------------------------------------

FEW = 64


def few(awsocks, *options, files=FEW):
    return awsocks(*DIRECT, "--max-connections", "1000", *options, wrap=("prlimit", f"--nofile={files}:{files}"))


SHORTAGE = "Too many open files; new connections wait"


def fill(p, echo, most=1000, until=SHORTAGE):
    """Tunnels until there is no descriptor for one more, which the log tells as `until`: (open tunnels, clients that
    were refused or wait)."""
    tunnels, rest = [], []
    for _ in range(most):
        s = client.dial(p.listener)
        s.sendall(b"\5\1\0\5\1\0\1\x7f\0\0\1" + echo.port.to_bytes(2, "big"))
        # An answer may take its time; that none comes is believed when the log says so too.
        while not select.select([s], [], [], 0.2)[0]:
            if until and until in p.log():
                rest.append(s)
                return tunnels, rest
        (tunnels if client.read_exactly(s, 12)[3] == 0 else rest).append(s)
    return tunnels, rest


@pytest.mark.parametrize("files", [64, 300])
def test_out_of_descriptors_open_tunnels_go_on(awsocks, echo, files):
    """New clients wait or are told; the control socket, the logs and bulk in open tunnels work; then all recovers."""
    p = few(awsocks, "--handshake-timeout", "5m", files=files)
    tunnels, rest = fill(p, echo)
    assert len(tunnels) >= (files - 16) // 2 - 16 and rest
    rest += [client.dial(p.listener) for _ in range(40)]      # these take what single ones are left
    harness.wait_for(lambda: SHORTAGE in p.log(), what="the shortage")
    assert all(answers(s) for s in tunnels)
    size = 4 << 20                              # pipes for splice(2) are not to be had
    data = b"".join(harness.pattern(size))
    t = threading.Thread(target=tunnels[0].sendall, args=(data,))
    t.start()
    assert client.read_exactly(tunnels[0], size) == data
    t.join()
    assert p.status()["connections"] >= len(tunnels)
    audit = os.path.join(p.env["HOME"], "audit", "audit.jsonl")
    os.rename(audit, audit + ".1")
    p.signal(signal.SIGHUP)
    harness.wait_for(lambda: os.path.exists(audit), what="the new audit log")
    before = p.cpu_s()
    time.sleep(1)                               # a busy loop would use all of it
    assert p.cpu_s() - before < (0.5 if harness.SANITIZED else 0.2)
    assert all(answers(s) for s in tunnels)
    assert p.log().count(SHORTAGE) == 1
    for s in tunnels + rest:
        s.close()
    harness.wait_for(lambda: p.status()["connections"] == 0, what="all to end")
    again, more = fill(p, echo, 10, until=None)
    assert len(again) == 10 and not more
    for s in again:
        s.close()


@pytest.mark.parametrize("kind", ["socks5", "connect", "http"])
def test_a_client_for_which_there_is_no_second_descriptor_is_told(awsocks, echo, kind):
    p = few(awsocks)
    waiting = []
    with contextlib.ExitStack() as stack:
        for _ in range(FEW):                    # accepted, and not yet connected to anything
            s = stack.enter_context(client.dial(p.listener))
            s.sendall(b"GET " if kind == "http" else b"C" if kind == "connect" else b"\5\1\0")
            waiting.append(s)
        harness.wait_for(lambda: "Too many open files" in p.log(), what="the shortage")
        first = waiting[0]
        if kind == "socks5":
            first.sendall(b"\5\1\0\1\x7f\0\0\1" + echo.port.to_bytes(2, "big"))
            assert client.read_to_end(first)[:4] == b"\5\0\5\1"
        else:
            first.sendall({"connect": b"ONNECT 127.0.0.1:%d HTTP/1.1\r\n\r\n",
                           "http": b"http://127.0.0.1:%d/ HTTP/1.1\r\nConnection: close\r\n\r\n"}[kind] % echo.port)
            answer = client.read_to_end(first)
            assert answer.startswith(b"HTTP/1.1 503 ") and b"Too many open files" in answer
        (line,) = harness.wait_for(p.audit, what="the audit line")
        assert "Too many open files" in line["error"] and line["route"] == "direct"


def test_names_that_cannot_be_looked_up_for_want_of_descriptors(awsocks):
    """Not 'no such host', which might be believed."""
    p = few(awsocks)
    with contextlib.ExitStack() as stack:
        s = stack.enter_context(client.dial(p.listener))
        s.sendall(b"\5\1\0")
        assert client.read_exactly(s, 2) == b"\5\0"
        limits = resource.prlimit(p.pid, resource.RLIMIT_NOFILE)
        resource.prlimit(p.pid, resource.RLIMIT_NOFILE, (3, limits[1]))     # as if all were taken by something else
        s.sendall(b"\5\1\0\3\x0cname.invalid\0\x50")
        assert client.read_exactly(s, 2) == b"\5\1"
        harness.wait_for(p.audit, what="the audit line")
        assert "Too many open files" in p.audit()[0]["error"]
        resource.prlimit(p.pid, resource.RLIMIT_NOFILE, limits)
        with client.dial(p.listener) as s:          # and it was not kept as an answer
            s.sendall(b"\5\1\0\5\1\0\3\x0cname.invalid\0\x50")
            assert client.read_exactly(s, 4) == b"\5\0\5\4"


# --- out of memory -----------------------------------------------------------------------


def data_size(p):
    """What RLIMIT_DATA counts: heap and private memory that can be written to."""
    with open(f"/proc/{p.pid}/status", encoding="ascii") as f:
        return next(int(line.split()[1]) * 1024 for line in f if line.startswith("VmData:"))


@pytest.mark.nosan
@pytest.mark.skipif(harness.SANITIZED, reason="sanitizers need address space without end")
def test_out_of_memory_open_tunnels_go_on(awsocks, echo):
    """Not a page more from here on: clients are turned away cleanly, the others never notice, and it passes."""
    p = awsocks(*DIRECT, "--handshake-timeout", "5m")
    tunnels = [client.socks5(p.listener, "127.0.0.1", echo.port) for _ in range(5)]
    limits = resource.prlimit(p.pid, resource.RLIMIT_DATA)
    resource.prlimit(p.pid, resource.RLIMIT_DATA, (data_size(p), limits[1]))
    greedy = []
    head = b"GET http://127.0.0.1:1/ HTTP/1.1\r\nX: " + b"x" * 30000         # kept until the head is whole
    for _ in range(100):
        s = client.dial(p.listener)
        with contextlib.suppress(ConnectionError):
            s.sendall(head)
        greedy.append(s)
    harness.wait_for(lambda: any("out of memory" in line.get("error", "") for line in p.audit()), what="the shortage")
    assert all(answers(s) for s in tunnels)
    before = p.cpu_s()
    time.sleep(1)
    assert p.cpu_s() - before < 0.2
    assert p.log().count("clients are turned away") <= 1
    resource.prlimit(p.pid, resource.RLIMIT_DATA, limits)
    for s in greedy:
        s.close()
    harness.wait_for(lambda: p.status()["connections"] == len(tunnels), what="their end")
    with client.socks5(p.listener, "127.0.0.1", echo.port) as s:
        assert answers(s)
    for s in tunnels:
        assert answers(s)
        s.close()
