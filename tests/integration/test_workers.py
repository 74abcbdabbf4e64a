"""--workers: several loops behind the same listeners. Which worker a connection comes to is chance (the kernel
spreads them), so tests make enough of them for every worker to have some."""
import concurrent.futures
import hashlib
import json
import os
import resource
import select
import shutil
import signal
import socket
import struct
import subprocess
import threading

import client
import conftest
import harness
import pytest

WORKERS = 4
MANY = 48        # that one of four workers gets none of them: once in 10^6
HOST = "api.internal.example"
DIRECT = ("--workers", str(WORKERS), "--route-default", "block", "--route-direct", "127.0.0.0/8")
BOTH = ("--workers", str(WORKERS), "--route-default", "block", "--route-direct", "127.0.0.0/8",
        "--route-proxy", HOST)


@pytest.fixture
def aws(localaws):
    return localaws("--resolve", f"{HOST}=127.0.0.1")


def has_namespaces():
    return shutil.which("unshare") and shutil.which("ip") and subprocess.run(
        ["unshare", "-rn", "true"], check=False, stderr=subprocess.DEVNULL).returncode == 0


def tasks(pid):
    """Each thread's number and what the kernel says of it."""
    for tid in os.listdir(f"/proc/{pid}/task"):
        with open(f"/proc/{pid}/task/{tid}/status", encoding="ascii") as f:
            yield tid, dict(line.rstrip("\n").split(":\t", 1) for line in f if ":\t" in line)


def workers(p):
    return p.status()["per_worker"]


def fetch(s, host, port, path="/bytes/5", extra=""):
    """One request on a kept connection: status and body."""
    s.sendall(f"GET http://{host}:{port}{path} HTTP/1.1\r\nHost: {host}:{port}\r\n{extra}\r\n".encode())
    return answer(s)


def answer(s):
    head = client.read_head(s).decode("latin-1")
    length = next(int(line.split(":")[1]) for line in head.splitlines() if line.lower().startswith("content-length"))
    return int(head.split()[1]), client.read_exactly(s, length)


def tunnel_get(s, path="/bytes/5"):
    s.sendall(f"GET {path} HTTP/1.0\r\n\r\n".encode())
    return client.read_to_end(s).partition(b"\r\n\r\n")[2]


def close_all(sockets):
    for s in sockets:
        s.close()


def spread_and_check(p, dial, count=MANY):
    """Connections are at every worker at the same time, and each is served there."""
    sockets = [dial() for _ in range(count)]
    now = workers(p)
    assert [w["worker"] for w in now] == list(range(WORKERS))
    assert all(w["connections"] > 0 for w in now), now
    assert sum(w["connections"] for w in now) == count == p.status()["connections"]
    bodies = {tunnel_get(s) for s in sockets}
    assert bodies == {b"".join(harness.pattern(5))}
    close_all(sockets)
    harness.wait_for(lambda: p.status()["connections"] == 0, what="the connections' end")
    s = p.status()
    assert s["workers"] == WORKERS and s["connections_total"] == count
    assert len(p.audit()) == count and len({line["id"] for line in p.audit()}) == count
    return s["per_worker"]


# --- who serves ----------------------------------------------------------------


@pytest.mark.parametrize("address", ["127.0.0.1:0", "[::1]:0"])
def test_every_worker_serves(awsocks, web, address):
    p = awsocks(*DIRECT, listen=address)
    after = spread_and_check(p, lambda: client.socks5(p.listener, "127.0.0.1", web.port))
    assert all(w["handed_over"] == 0 for w in after)
    text = harness.run([harness.program("awsocks"), "status"], env=p.env).stdout.decode()
    assert f"{WORKERS} workers" in text


def test_a_unix_socket_is_shared_out(awsocks, tmp_path):
    p = awsocks(*DIRECT, listen=f"unix:{tmp_path}/s/proxy.sock")
    sockets = [client.dial(p.listener) for _ in range(MANY)]
    harness.wait_for(lambda: p.status()["connections"] == MANY, what="all connections")
    now = [w["connections"] for w in workers(p)]
    assert max(now) - min(now) <= 1, now        # by count, not by chance
    close_all(sockets)
    harness.wait_for(lambda: p.status()["connections"] == 0, what="the connections' end")


def test_one_worker_is_one_thread(awsocks):
    p = awsocks("--route-default", "block")
    assert p.status()["workers"] == 1
    assert len(os.listdir(f"/proc/{p.pid}/task")) == 1
    several = awsocks("--route-default", "block", "--workers", "auto")
    cores = len(os.sched_getaffinity(0))
    assert several.status()["workers"] == min(cores, 64)


def test_clients_of_a_unix_socket_go_over_with_who_they_are(awsocks, aws, web, tmp_path):
    p = awsocks(*BOTH, aws=aws, listen=f"unix:{tmp_path}/s/proxy.sock")
    for _ in range(2 * WORKERS):
        with client.socks5(p.listener, HOST, web.port) as s:
            assert tunnel_get(s) == b"".join(harness.pattern(5))
    p.wait_for(lambda: len(p.audit()) == 2 * WORKERS, what="the audit lines")
    assert {(line["uid"], line["pid"], line["route"]) for line in p.audit()} == {(os.getuid(), os.getpid(), "proxy")}
    assert sum(w["handed_over"] for w in workers(p)) > 0


def test_auto_on_one_core_is_one_thread(awsocks):
    p = awsocks("--route-default", "block", "--workers", "auto",
                wrap=("taskset", "-c", str(min(os.sched_getaffinity(0)))))
    assert p.status()["workers"] == 1
    assert len(os.listdir(f"/proc/{p.pid}/task")) == 1 or harness.SANITIZED


# --- routes of another loop ------------------------------------------------------


@pytest.mark.parametrize("way", ["socks5", "socks5-in-bytes", "socks4a", "connect"])
def test_ssm_routes_from_every_worker(awsocks, aws, web, way):
    p = awsocks(*BOTH, aws=aws)
    early = b"GET /bytes/5 HTTP/1.0\r\n\r\n"
    body = b"".join(harness.pattern(5))

    def in_bytes(s, data):
        for i in range(len(data)):
            s.sendall(data[i:i + 1])

    def one(_):
        if way == "socks5":
            with client.socks5(p.listener, HOST, web.port, early) as s:
                return client.read_to_end(s)
        if way == "socks5-in-bytes":
            with client.dial(p.listener) as s:
                in_bytes(s, b"\5\1\0")
                assert client.read_exactly(s, 2) == b"\5\0"
                in_bytes(s, b"\5\1\0" + client.socks5_address(HOST) + web.port.to_bytes(2, "big"))
                assert client.read_exactly(s, 10)[1] == 0
                s.sendall(early)
                return client.read_to_end(s)
        if way == "socks4a":
            with client.dial(p.listener) as s:
                s.sendall(b"\4\1" + web.port.to_bytes(2, "big") + b"\0\0\0\1me\0" + HOST.encode() + b"\0" + early)
                assert client.read_exactly(s, 8)[1] == 90
                return client.read_to_end(s)
        with client.dial(p.listener) as s:
            s.sendall(f"CONNECT {HOST}:{web.port} HTTP/1.1\r\nHost: x\r\n\r\n".encode() + early)
            assert b" 200 " in client.read_head(s)
            return client.read_to_end(s)

    count = 16
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        for answered in pool.map(one, range(count)):
            assert answered.partition(b"\r\n\r\n")[2] == body
    harness.wait_for(lambda: len(p.audit()) == count and p.status()["connections"] == 0, what="the connections' end")
    lines = p.audit()
    assert {line["route"] for line in lines} == {"proxy"} and {line["host"] for line in lines} == {HOST}
    assert len({line["id"] for line in lines}) == count
    s = p.status()
    assert s["connections_total"] == count
    own = s["per_worker"][0]
    gone = sum(w["handed_over"] for w in s["per_worker"])
    assert own["handed_over"] == 0 and 0 < gone == count - own["connections_total"]


def test_kept_http_connections_change_between_routes(awsocks, aws, web):
    p = awsocks(*BOTH, aws=aws)
    body = b"".join(harness.pattern(5))
    requests = ["127.0.0.1", HOST, "127.0.0.1", HOST, HOST]
    sockets = [client.dial(p.listener) for _ in range(12)]
    for host in requests:
        for s in sockets:
            assert fetch(s, host, web.port) == (200, body)
    for s in sockets:
        assert fetch(s, "blocked.example", 80)[0] == 403
    assert p.status()["connections"] == len(sockets)
    assert sum(w["handed_over"] for w in workers(p)) > 0
    close_all(sockets)
    lines = p.audit()
    assert len(lines) == len({line["id"] for line in lines}) == len(sockets) * (len(requests) + 1)
    assert [line["action"] for line in lines].count("block") == len(sockets)


def test_pipelined_requests_and_bodies_go_along(awsocks, aws, web):
    """What was read behind the head is not lost: a body's first part, and the next request."""
    p = awsocks(*BOTH, aws=aws)
    data = b"".join(harness.pattern(20_000))
    digest = hashlib.sha256(data).hexdigest().encode()
    for _ in range(12):
        with client.dial(p.listener) as s:
            assert fetch(s, "127.0.0.1", web.port)[0] == 200
            post = f"POST http://{HOST}:{web.port}/digest HTTP/1.1\r\nHost: x\r\nContent-Length: {len(data)}\r\n\r\n"
            get = f"GET http://127.0.0.1:{web.port}/bytes/7 HTTP/1.1\r\nHost: x\r\n\r\n"
            s.sendall(post.encode() + data + get.encode())
            assert answer(s) == (200, digest)
            assert answer(s) == (200, b"".join(harness.pattern(7)))


def test_an_end_of_file_behind_the_request_goes_along(awsocks, aws, web):
    p = awsocks(*BOTH, aws=aws)
    for _ in range(12):
        with client.dial(p.listener) as s:
            s.sendall(f"CONNECT {HOST}:{web.port} HTTP/1.1\r\nHost: x\r\n\r\nGET /bytes/5 HTTP/1.0\r\n\r\n".encode())
            s.shutdown(socket.SHUT_WR)
            assert b" 200 " in client.read_head(s)
            assert client.read_to_end(s).endswith(b"".join(harness.pattern(5)))


def test_a_failing_backend_answers_clients_of_every_worker(awsocks):
    p = awsocks(*BOTH)       # no instance is named
    for _ in range(12):
        with pytest.raises(client.Refused) as e:
            client.socks5(p.listener, HOST, 80)
        assert e.value.code == 1
        with pytest.raises(client.Refused) as e:
            client.http_connect(p.listener, HOST, 80)
        assert e.value.code in (500, 502, 503)
    assert len(p.audit()) == 24
    harness.wait_for(lambda: p.status()["connections"] == 0, what="the connections' end")


def test_the_limit_counts_every_worker_once(awsocks, aws, web):
    """A place goes along with its client: the limit holds over all workers, and no place is lost."""
    p = awsocks(*BOTH, "--max-connections", "8", aws=aws)

    def end(s):      # an end of file alone is not passed on by an SSM session
        assert tunnel_get(s) == b"".join(harness.pattern(5))
        s.close()

    for _ in range(3):
        sockets = [client.socks5(p.listener, HOST, web.port) for _ in range(8)]
        with client.dial(p.listener) as waiting:
            waiting.sendall(b"\5\1\0")
            assert p.status()["connections"] == 8
            assert not select.select([waiting], [], [], 0)[0]
            end(sockets.pop())
            assert client.read_exactly(waiting, 2) == b"\5\0"
        for s in sockets:
            end(s)
        harness.wait_for(lambda: p.status()["connections"] == 0, what="the connections' end")


# --- reload, stop, files -----------------------------------------------------------


@pytest.mark.parametrize("host, route", [("127.0.0.1", "direct"), (HOST, "proxy")])
def test_reload_under_load_is_whole(awsocks, aws, web, tmp_path, host, route):
    """Each connection is decided by one version, and after the answer to a reload by none but the new. Those on their
    way to another loop are decided by the version that they find there."""
    rules = tmp_path / "rules" / "rules.yaml"      # a folder that the fence leaves readable as a whole
    rules.parent.mkdir()
    filler = "".join(f"  - {{ match: host{i}.example, route: block }}\n" for i in range(200))

    def write(version):
        # Both versions name the host; a mixture of them would let the default decide, and so would a file that was
        # only begun: the old one is replaced whole.
        fresh = rules.with_suffix(".new")
        fresh.write_text(f"default: block\nrules:\n{filler}"
                         f"  - {{ match: {host}, route: {route if version else 'block'} }}\n")
        fresh.replace(rules)

    def reload():
        harness.run([harness.program("awsocks"), "reload"], env=p.env)

    def goes():
        try:
            with client.socks5(p.listener, host, web.port) as s:     # ends by a reset: an SSM session has no other end
                s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        except client.Refused as e:
            assert e.code == 2
            return False
        return True

    write(1)
    p = awsocks("--workers", str(WORKERS), "--rules", str(rules), aws=aws)
    done = threading.Event()

    def hammer():
        while not done.is_set():
            goes()
        return True

    with concurrent.futures.ThreadPoolExecutor(3) as pool:
        load = [pool.submit(hammer) for _ in range(3)]
        try:
            for version in (0, 1, 0, 1, 0):
                write(version)
                reload()
                assert {goes() for _ in range(16)} == {bool(version)}
        finally:
            done.set()
        assert all(one.result() for one in load)
    p.wait_for(lambda: p.status()["connections"] == 0, what="the connections' end")
    assert {line["rule"] for line in p.audit()} == {f"{rules}:203"}
    assert {line["route"] for line in p.audit()} == {route, "block"}
    assert route == "direct" or sum(w["handed_over"] for w in workers(p)) > 0


def test_stop_ends_running_connections_and_leaves_nothing(awsocks, aws, web):
    p = awsocks(*BOTH, "--grace", "300ms", aws=aws)
    sockets = [client.socks5(p.listener, host, web.port) for _ in range(12) for host in ("127.0.0.1", HOST)]
    idle = [client.dial(p.listener) for _ in range(12)]
    harness.wait_for(lambda: p.status()["connections"] == 36, what="all connections")
    assert p.stop() == 0, p.log()
    for s in sockets + idle:
        try:
            assert s.recv(1) == b""
        except ConnectionResetError:
            pass
        s.close()
    lines = p.audit()
    assert [line.get("error") for line in lines].count("awsocks is stopping") == 24 and len(lines) == 24
    assert "handles are still open" not in p.log()


def test_stop_under_load(awsocks, aws, web):
    """Clients that are on their way between loops when the stop comes get an answer or their end."""
    p = awsocks(*BOTH, "--grace", "100ms", aws=aws)
    client.socks5(p.listener, HOST, web.port).close()
    done = threading.Event()

    def hammer(i):
        count = 0
        while not done.is_set():
            try:
                client.socks5(p.listener, (HOST, "127.0.0.1")[i % 2], web.port).close()
                count += 1
            except (client.Refused, ConnectionError):
                pass
        return count

    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        load = [pool.submit(hammer, i) for i in range(4)]
        try:
            harness.wait_for(lambda: p.status()["connections_total"] > 100, what="some load")
            assert p.stop() == 0, p.log()
        finally:
            done.set()
        assert sum(one.result() for one in load) > 90       # 4 may be under way, one was the first


def test_a_second_signal_ends_at_once(awsocks, web, tmp_path):
    pid_file = tmp_path / "pid"
    p = awsocks(*DIRECT, "--grace", "10m", "--pid-file", str(pid_file))
    assert pid_file.exists()
    with client.socks5(p.listener, "127.0.0.1", web.port):
        os.kill(p.pid, signal.SIGTERM)
        harness.wait_for(lambda: "stopping" in p.log(), what="the stop to begin")
        os.kill(p.pid, signal.SIGTERM)
        assert p.child.wait(harness.LIMIT_S) != 0
    assert not pid_file.exists()


def test_a_stop_while_clients_wait_for_places(awsocks, web):
    """A place that becomes free is offered to workers that wait for one, also to some that have ended already."""
    p = awsocks(*DIRECT, "--max-connections", "2", "--grace", "300ms")
    served = [client.socks5(p.listener, "127.0.0.1", web.port) for _ in range(2)]
    waiting = [client.dial(p.listener) for _ in range(MANY)]
    assert p.status()["connections"] == 2
    assert p.stop() == 0, p.log()
    close_all(served + waiting)
    assert len(p.audit()) == 2


def test_signals_are_the_main_threads(awsocks):
    p = awsocks(*DIRECT)
    wanted = sum(1 << s - 1 for s in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD, signal.SIGPIPE))
    # under a sanitizer there is a thread of its own
    blocked = {int(tid): int(status["SigBlk"], 16) & wanted == wanted for tid, status in tasks(p.pid)}
    assert not blocked.pop(p.pid)
    assert sum(blocked.values()) == WORKERS - 1 or harness.SANITIZED, blocked


# With look-ups that nobody answers: the resolver waits 30 s for each of 5 tries.
SILENT = """
import socket
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.bind(("127.0.0.1", 53))
print("ready", flush=True)
while True:
    s.recv(512)
    print("asked", flush=True)
"""


@pytest.mark.skipif(not has_namespaces(), reason="needs network namespaces and iproute2")
def test_a_stop_does_not_wait_for_the_resolver(awsocks, tmp_path):
    """The system's resolver cannot be told to stop. It is left behind when all else has ended."""
    (tmp_path / "resolv.conf").write_text("nameserver 127.0.0.1\noptions timeout:30 attempts:5\n")
    path = f"{tmp_path}/s/proxy.sock"
    p = awsocks("--workers", str(WORKERS), "--route-default", "direct", "--pid-file", str(tmp_path / "pid"),
                listen=f"unix:{path}", wrap=("unshare", "-rmn", "sh", "-c", "ip link set lo up && "
                                             f'mount --bind {tmp_path}/resolv.conf /etc/resolv.conf && exec "$0" "$@"'))
    with subprocess.Popen(["nsenter", f"--target={p.pid}", "--user", "--net", "--preserve-credentials", "python3", "-c",
                           SILENT], stdout=subprocess.PIPE) as silent:
        try:
            assert silent.stdout.readline() == b"ready\n"
            asking = [client.dial(path) for _ in range(WORKERS)]
            for s in asking:
                s.sendall(b"\5\1\0\5\1\0" + client.socks5_address("slow.example") + b"\0P")
                assert client.read_exactly(s, 2) == b"\5\0"
            assert silent.stdout.readline() == b"asked\n"        # what has not begun is not left behind
            os.kill(p.pid, signal.SIGTERM)
            assert p.child.wait(harness.LIMIT_S) == 0
            assert len(p.audit()) == WORKERS
            assert not (tmp_path / "pid").exists()
            assert "are left behind" in p.log()
            close_all(asking)
        finally:
            silent.kill()


def test_descriptors_come_back(awsocks, aws, web):
    p = awsocks(*BOTH, aws=aws)

    def round_of_traffic():
        sockets = [client.socks5(p.listener, host, web.port) for _ in range(10) for host in ("127.0.0.1", HOST)]
        assert {tunnel_get(s) for s in sockets} == {b"".join(harness.pattern(5))}
        close_all(sockets)
        harness.wait_for(lambda: p.status()["connections"] == 0, what="the connections' end")

    round_of_traffic()
    round_of_traffic()
    p.gives_back(round_of_traffic)


def start_with_limits(tmp_path, stack, memory):
    def limit():
        resource.setrlimit(resource.RLIMIT_STACK, (stack, resource.getrlimit(resource.RLIMIT_STACK)[1]))
        resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
    return subprocess.run([harness.program("awsocks"), "start", "--workers", str(WORKERS), "--route-default", "block",
                           "--listen", "127.0.0.1:0"], env=conftest.clean_environment(tmp_path), preexec_fn=limit,
                          capture_output=True, timeout=harness.LIMIT_S, check=False)


@pytest.mark.skipif(harness.SANITIZED, reason="a sanitizer's shadow takes more memory than the limit")
@pytest.mark.parametrize("threads", [0, 2])
def test_a_thread_that_cannot_be_had_is_an_error(tmp_path, threads):
    """Also when others run already. Each takes the stack's size of address space."""
    size = 1 << 30
    r = start_with_limits(tmp_path, size, threads * size + size // 2)
    assert r.returncode == 75, r
    last = r.stderr.decode().splitlines()[-1]
    assert last.startswith(f"awsocks: --workers {WORKERS}: the system has no thread for worker {threads + 1} "), r
    assert b"handles are still open" not in r.stderr, r


def test_no_lazy_is_ready_before_the_workers_serve(awsocks, aws, web):
    p = awsocks(*BOTH, "--no-lazy", aws=aws)
    assert p.status()["backends"][0]["state"] == "active"
    for _ in range(2 * WORKERS):
        with client.socks5(p.listener, HOST, web.port) as s:
            assert tunnel_get(s) == b"".join(harness.pattern(5))


def test_no_lazy_that_fails_ends_before_there_are_threads(tmp_path):
    env = {**conftest.clean_environment(tmp_path), "AWS_EC2_METADATA_DISABLED": "true",
           "AWS_REGION": conftest.REGION}
    r = subprocess.run([harness.program("awsocks"), "start", "--workers", str(WORKERS), "--no-lazy", "--instance-id",
                        conftest.INSTANCE, "--listen", "127.0.0.1:0"], env=env, capture_output=True,
                       timeout=harness.LIMIT_S, check=False)
    assert r.returncode == 77 and b"listen" not in r.stderr, r


def test_a_port_in_use_is_an_error(awsocks, processes, tmp_path):
    """Also against another awsocks of the same user, whose sockets share their port among themselves."""
    p = awsocks(*DIRECT)
    for count in ("1", str(WORKERS)):
        r = subprocess.run([harness.program("awsocks"), "start", "--workers", count, "--listen", p.address],
                           env=conftest.clean_environment(tmp_path), capture_output=True, timeout=harness.LIMIT_S,
                           check=False)
        assert r.returncode == 71 or r.returncode == 69 or r.returncode == 74, r
        assert f"listen at {p.address}".encode() in r.stderr
    assert p.status()["listeners"][0]["open"]


def test_start_that_fails_half_way_ends(awsocks, tmp_path):
    """The first listener is open at every worker when the second one fails."""
    p = awsocks(*DIRECT)
    r = subprocess.run([harness.program("awsocks"), "start", "--workers", str(WORKERS), "--listen", "127.0.0.1:0",
                        "--listen", p.address], env=conftest.clean_environment(tmp_path), capture_output=True,
                       timeout=harness.LIMIT_S, check=False)
    assert r.returncode != 0 and b"handles are still open" not in r.stderr, r


def test_the_audit_log_is_reopened_for_all(awsocks, web):
    p = awsocks(*DIRECT)
    path = os.path.join(p.env["HOME"], "audit", "audit.jsonl")
    close_all([client.socks5(p.listener, "127.0.0.1", web.port) for _ in range(MANY)])
    harness.wait_for(lambda: len(p.audit()) == MANY, what="the first lines")
    os.rename(path, path + ".1")
    harness.run([harness.program("awsocks"), "reload"], env=p.env)
    close_all([client.socks5(p.listener, "127.0.0.1", web.port) for _ in range(MANY)])
    harness.wait_for(lambda: len(p.audit()) == MANY, what="the new file's lines")
    with open(path + ".1", encoding="utf-8") as f:
        assert len(f.readlines()) == MANY


@pytest.mark.skipif(not has_namespaces(), reason="needs network namespaces and iproute2")
def test_an_address_that_comes_later_is_served_by_all(awsocks):
    p = awsocks("--workers", str(WORKERS), "--route-default", "block", "--allow-from", "192.0.2.0/24",
                listen="192.0.2.7:1080", wrap=("unshare", "-rn", "sh", "-c", 'ip link set lo up && exec "$0" "$@"'))
    inside = ["nsenter", f"--target={p.pid}", "--user", "--net", "--preserve-credentials"]
    harness.run([*inside, "ip", "address", "add", "192.0.2.7/32", "dev", "lo"])
    p.wait_for(lambda: p.status()["listeners"][0]["open"], what="the listener")
    harness.run([*inside, "bash", "-c", f"for i in $(seq {MANY}); do : </dev/tcp/192.0.2.7/1080; done"])
    p.wait_for(lambda: p.status()["connections_total"] == MANY, what="all connections")
    assert all(w["connections_total"] > 0 for w in workers(p)), workers(p)
