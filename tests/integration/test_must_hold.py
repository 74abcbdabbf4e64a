"""What the direct path promises, as figures that do not hang on the machine's speed: counts of system calls, memory
and descriptors of an idle tunnel, processor time while nothing happens, and what is served when something runs short.

The client and the target server are those of `make bench` (tests/bench/socksbench.c)."""
import contextlib
import json
import os
import re
import resource
import shutil
import signal
import socket
import subprocess
import time

import client
import harness
import pytest
from load import Bench

DIRECT = ("--route-default", "block", "--route-direct", "127.0.0.0/8", "--log-level", "warn")
PIPES_KEPT = 32         # by net/sock_relay_splice.c, for the next transfers
pytestmark = pytest.mark.nosan      # of figures that sanitizers multiply


@pytest.fixture
def bench(tmp_path, processes):
    return Bench(tmp_path, processes)


def ticks(proxy):
    """Processor time so far, user and system, in clock ticks."""
    with open(f"/proc/{proxy.pid}/stat", encoding="ascii") as f:
        return sum(int(v) for v in f.read().rsplit(")", 1)[1].split()[11:13])


# ---- system calls ----


class Traced:
    """strace -c of a running proxy; .calls is their number by name once the block is left."""

    def __init__(self, proxy, folder):
        self.proxy, self.path, self.calls = proxy, f"{folder}/strace", {}

    def attached(self):
        for task in os.listdir(f"/proc/{self.proxy.pid}/task"):
            with contextlib.suppress(FileNotFoundError, ProcessLookupError), \
                    open(f"/proc/{self.proxy.pid}/task/{task}/status", encoding="ascii") as f:
                if re.search(r"^TracerPid:\t0$", f.read(), re.M):
                    return False
        return True

    def __enter__(self):
        self.strace = subprocess.Popen(["strace", "-f", "-c", "-q", "-o", self.path, "-p", str(self.proxy.pid)],
                                       stderr=subprocess.PIPE)
        harness.wait_for(lambda: self.strace.poll() is not None or self.attached(), what="strace to attach")
        if self.strace.poll() is not None:
            pytest.skip(f"strace cannot attach here: {self.strace.stderr.read()}")
        return self

    def __exit__(self, *_):
        self.strace.send_signal(signal.SIGINT)
        self.strace.communicate(timeout=harness.LIMIT_S)
        with open(self.path, encoding="ascii") as f:
            for line in f:
                w = line.split()
                if len(w) >= 5 and w[3].isdigit() and w[-1] != "total":
                    self.calls[w[-1]] = int(w[3])


needs_strace = pytest.mark.skipif(not shutil.which("strace"), reason="no strace")


@needs_strace
def test_system_calls_of_a_connection(awsocks, bench, tmp_path):
    """The goal is 37; 21.9 was reached, and more than 25 would be a step back."""
    p = awsocks(*DIRECT, audit=False)
    with Traced(p, tmp_path) as t:
        r = bench.run(p, "conn", "--conc", "8", "--count", "500")
    assert r["done"] == 500, r
    assert 10 <= sum(t.calls.values()) / 500 <= 25, t.calls


@needs_strace
def test_system_calls_of_a_round_trip(awsocks, bench, tmp_path):
    p = awsocks(*DIRECT, audit=False)
    with Traced(p, tmp_path) as t:
        r = bench.run(p, "rtt", "--conc", "1", "--count", "2000")
    assert r["ok"], r
    assert 4 <= sum(t.calls.values()) / 2100 <= 6.1, t.calls


# ---- idle tunnels ----


def idle(p, bench, count, hold_ms):
    """What socksbench says about `count` idle tunnels, and the most descriptors that were open beyond those before."""
    # A few first: pages of the program's own files, which it maps when it comes to them, are no cost of a tunnel.
    assert bench.run(p, "idle", "--count", "32", "--conc", "32", "--hold-ms", "100")["alive"] == 32
    p.wait_for(lambda: connections(p) == 0, what="the end of the first")
    before = most = p.settled_descriptors()
    with bench.start(p, "idle", "--count", count, "--conc", "32", "--hold-ms", hold_ms) as child:
        while child.poll() is None and p.running():
            most = max(most, len(os.listdir(f"/proc/{p.pid}/fd")))
            time.sleep(0.05)
        out, err = child.communicate(timeout=harness.LIMIT_S)
    assert out, err
    return json.loads(out), most - before


def check_idle(r, count, descriptors, hold_ms):
    assert r["up"] == r["alive"] == count, r
    # Not pss: of the program's own pages it gets a larger share when another test's awsocks ends.
    assert r["rss_kb_per_tunnel"] <= 1.0, r
    assert 2 * count <= descriptors <= 2 * count + 2 * PIPES_KEPT, descriptors
    # two clock ticks in all: their number does not grow with the tunnels
    assert r["idle_cpu_ms_per_s"] * hold_ms / 1000 <= 20, r


def test_an_idle_tunnel_costs_a_kibibyte_and_two_descriptors(awsocks, bench):
    p = awsocks(*DIRECT, audit=False)
    r, descriptors = idle(p, bench, 2000, 3000)
    check_idle(r, 2000, descriptors, 3000)


@pytest.mark.skipif(resource.getrlimit(resource.RLIMIT_NOFILE)[1] < 20000, reason="needs 20,000 open files")
def test_9500_idle_tunnels_under_20000_descriptors(awsocks, bench):
    p = awsocks(*DIRECT, audit=False, wrap=("prlimit", "--nofile=20000:20000"))
    r, descriptors = idle(p, bench, 9500, 3000)
    check_idle(r, 9500, descriptors, 3000)


# ---- many, and slow ones ----


@pytest.mark.long
@pytest.mark.parametrize("via", ["socks5", "http"])
def test_30000_connections_without_a_failure(awsocks, bench, via):
    p = awsocks(*DIRECT)
    r = bench.run(p, "conn", "--conc", "32", "--count", "30000", via=via)
    assert r["ok"] and r["done"] == 30000, r
    p.wait_for(lambda: p.status()["connections"] == 0, what="their end")
    with open(os.path.join(p.env["HOME"], "audit", "audit.jsonl"), encoding="utf-8") as f:
        lines = [json.loads(line) for line in f]
    assert len(lines) == 30000 and not any("error" in line for line in lines)
    assert p.log() == "" or "no instance is named" in p.log()


@pytest.mark.long
@pytest.mark.parametrize("via", ["socks5", "http"])
def test_1000_slow_handshakes_beside_200_requests_a_second(awsocks, bench, via):
    """A byte a second each: all are cut at the deadline, and every request beside them is served."""
    p = awsocks(*DIRECT, "--handshake-timeout", "10s")
    r = bench.run(p, "drip", "--drips", "1000", "--seconds", "15", "--rate", "200", via=via)
    assert r["drips_open"] == 1000 and r["during_sent"] == 3000, r
    assert r["during_served"] == 3000 and r["before_served"] == r["before_sent"], r
    assert r["drips_alive"] == 0, r
    p.wait_for(lambda: sum(1 for line in p.audit() if "no whole request" in line.get("error", "")) == 1000,
               what="their audit lines")


REQUESTS = [
    ("SOCKS5", b"\5\2\1\0" + b"\5\1\0\1\x7f\0\0\1%s", 12),
    ("SOCKS4", b"\4\1%s\x7f\0\0\1someone\0", 8),
    ("SOCKS4a", b"\4\1%s\0\0\0\1someone\x00127.0.0.1\0", 8),
    ("CONNECT", b"CONNECT 127.0.0.1:%d HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Field: a b c\r\n\r\n", 0),
]


@pytest.mark.parametrize("name,text,answer", REQUESTS, ids=[r[0] for r in REQUESTS])
def test_a_greeting_in_single_bytes_is_accepted(awsocks, name, text, answer):
    p = awsocks(*DIRECT)
    with socket.create_server(("127.0.0.1", 0)) as server, client.dial(p.listener) as s:
        server.settimeout(harness.LIMIT_S)
        port = server.getsockname()[1]
        s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for byte in text % (port if name == "CONNECT" else port.to_bytes(2, "big")):
            s.sendall(bytes([byte]))
            time.sleep(0.001)           # each its own segment; nothing waits for it
        far, _ = server.accept()
        with far:
            far.sendall(b"!")
            got = client.read_exactly(s, answer) if answer else client.read_head(s)
            assert got.startswith({"SOCKS5": b"\5\0\5\0", "CONNECT": b"HTTP/1.1 200"}.get(name, b"\0\x5a"))
            assert client.read_exactly(s, 1) == b"!"


# ---- out of descriptors ----


def answers(s):
    s.sendall(b"?")
    return client.read_exactly(s, 1) == b"?"


def outcome(s):
    """What became of a tunnel that was asked for: "open", "refused", or None while it waits."""
    s.setblocking(False)
    try:
        got = s.recv(64, socket.MSG_PEEK)
    except BlockingIOError:
        return None
    except ConnectionResetError:
        return "refused"
    finally:
        s.settimeout(harness.LIMIT_S)
    if len(got) >= 12:
        return "open" if got[:4] == b"\5\0\5\0" else "refused"
    return "refused" if got == b"" else None


@pytest.mark.parametrize("most", ["auto", "1000"])
def test_out_of_descriptors(awsocks, bench, most):
    """What is open goes on; what is new waits or is refused; then all is as before. `auto` stops short of the limit,
    1,000 clients run into it."""
    p = awsocks(*DIRECT, "--max-connections", most, wrap=("prlimit", "--nofile=120:120"))
    request = b"\5\1\0\5\1\0\1\x7f\0\1\1" + bench.port.to_bytes(2, "big")
    with contextlib.ExitStack() as stack:
        asked = []
        for _ in range(150):
            asked.append(stack.enter_context(client.dial(p.listener)))
            asked[-1].sendall(request)
        p.wait_for(lambda: says_so(p.log()), what="the shortage")
        before = ticks(p)
        p.wait_for(lambda: sum(1 for s in asked if outcome(s)) >= 30, what="as many as there is room for")
        opened = [s for s in asked if outcome(s) == "open"]
        assert len(opened) < 60, "120 descriptors are not enough for 60 tunnels"
        for s in opened:
            assert client.read_exactly(s, 12) and answers_first(s)
        for _ in range(20):
            assert all(answers(s) for s in opened)
            time.sleep(0.05)            # a second of shortage, over which processor time is counted
        assert ticks(p) - before <= 50, p.log()         # of 100 in a second
        rest = [s for s in asked if s not in opened]
        for s in opened:
            s.close()
        p.wait_for(lambda: served(rest), what="those that waited")
        p.wait_for(lambda: connections(p) == 0, what="their end")
        with client.socks5(p.listener, "127.0.1.1", bench.port) as s:
            assert answers_first(s)


def connections(p):
    """How many there are; None while there is no descriptor for who asks."""
    r = harness.run([harness.program("awsocks"), "status", "--json"], env=p.env, check=False)
    return json.loads(r.stdout)["connections"] if r.returncode == 0 else None


def says_so(log):
    return "Too many open files" in log or "which is the limit (--max-connections)" in log


def answers_first(s):
    """The target's first byte says what it does: it echoes."""
    s.sendall(b"E")
    return client.read_exactly(s, 1) == b"E"


def served(rest):
    """All that waited are answered one way or the other; those that were let through are closed, for the next."""
    done = True
    for s in rest:
        if s.fileno() < 0:
            continue
        what = outcome(s)
        done = done and what is not None
        if what:
            s.close()
    return done
