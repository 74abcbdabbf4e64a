"""What SSM at full strength promises: equal digests and no reset while everything that can go wrong on the way does.

The rates reached are printed (-s); none is asserted, the machine may be slow."""
import hashlib
import threading
import time

import pytest

import client
import harness
from conftest import INSTANCE
from load import Bench

HOST = "api.internal.example"
NAMED = ("--route-default", "direct", "--route-proxy", HOST)
ROUGH = ["drop-ws-after=3", "lose-client=2", "repeat-client=2", "reorder-client=5", "seed=11"]
MB = 1 << 20
pytestmark = [pytest.mark.long, pytest.mark.nosan]


def start(localaws, awsocks, *faults, emulator=(), proxy=(), role=None):
    options = [x for f in faults for x in ("--fault", f)]
    aws = localaws("--resolve", f"{HOST}=127.0.0.1", *options, *emulator)
    if role:
        return aws, awsocks(*NAMED, *proxy, "--instance-id", INSTANCE, env=role(aws))
    return aws, awsocks(*NAMED, *proxy, aws=aws)


def put(proxy, web, size, seed=0):
    """Sends `size` bytes in one connection. The digest that the far side has made, and ours."""
    block = hashlib.sha256(b"%d" % seed).digest() * 2048
    ours = hashlib.sha256()
    with client.socks5(proxy.listener, HOST, web.port) as s:
        s.settimeout(300)
        s.sendall(f"PUT /digest HTTP/1.1\r\nHost: {HOST}\r\nContent-Length: {size}\r\n\r\n".encode())
        for left in range(size, 0, -len(block)):
            piece = block[:left]
            s.sendall(piece)
            ours.update(piece)
        head = client.read_head(s)
        assert head.startswith(b"HTTP/1.1 200"), head
        return client.read_exactly(s, 64).decode(), ours.hexdigest()


def get(proxy, web, size):
    digest = hashlib.sha256()
    with client.socks5(proxy.listener, HOST, web.port) as s:
        s.settimeout(300)
        s.sendall(f"GET /bytes/{size} HTTP/1.1\r\nHost: {HOST}\r\n\r\n".encode())
        assert client.read_head(s).startswith(b"HTTP/1.1 200")
        while size:
            piece = s.recv(min(size, 1 << 16))
            assert piece, "the end came early"
            digest.update(piece)
            size -= len(piece)
    return digest.hexdigest()


def at_once(count, work):
    """work(i) in `count` threads; their results, or the first failure."""
    results, failures = [None] * count, []

    def run(i):
        try:
            results[i] = work(i)
        except Exception as e:      # to be told where it can fail the test
            failures.append(e)
    threads = [threading.Thread(target=run, args=(i,)) for i in range(count)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    if failures:
        raise failures[0]
    return results


def say(what, size, since, aws):
    stats = aws.stats()
    seconds = time.monotonic() - since
    print(f"\n{what}: {size / 1e6 / seconds:.1f} MB/s in {seconds:.0f} s, {stats['StartSession']} sessions, "
          f"{stats['ResumeSession']} resumes")


def upload_all(aws, proxy, web):
    since = time.monotonic()
    theirs, ours = put(proxy, web, 1024 * MB)
    assert theirs == ours
    say("upload of 1 GiB", 1024 * MB, since, aws)
    since = time.monotonic()
    for theirs, ours in at_once(50, lambda i: put(proxy, web, 4 * MB, i)):
        assert theirs == ours
    say("50 uploads of 4 MiB", 200 * MB, since, aws)
    assert aws.stats()["ResumeSession"] >= 5


def test_uploads_survive_drops_and_loss(localaws, awsocks, web):
    aws, proxy = start(localaws, awsocks, *ROUGH)
    upload_all(aws, proxy, web)


def test_uploads_survive_credentials_that_expire(localaws, awsocks, web, role):
    aws, proxy = start(localaws, awsocks, *ROUGH, "expire-credentials=20", emulator=("--require-signed-ws",),
                       role=role)
    upload_all(aws, proxy, web)
    assert aws.stats()["AssumeRole"] >= 2


def test_downloads_survive_drops_and_loss(localaws, awsocks, web):
    """The agent repairs ten messages a second: sessions are neither given up for that nor too late."""
    aws, proxy = start(localaws, awsocks, "drop-ws-after=10", "lose-agent=0.1", "seed=5",
                       emulator=("--throttle", "agent"))
    since = time.monotonic()
    want = harness.pattern_digest(8 * MB)
    assert at_once(8, lambda i: get(proxy, web, 8 * MB)) == [want] * 8
    say("8 downloads of 8 MiB", 64 * MB, since, aws)
    assert "session is lost" not in proxy.log()
    assert aws.stats()["ResumeSession"] >= 2


def resident_kib(pid):
    with open(f"/proc/{pid}/status", encoding="ascii") as f:
        return next(int(line.split()[1]) for line in f if line.startswith("VmRSS"))


def test_short_connections_leave_nothing(localaws, awsocks, tmp_path, processes):
    """40,000 short ones, 2,000 a second: at a machine that is too slow for that they take longer."""
    bench = Bench(tmp_path, processes)
    aws = localaws()
    proxy = awsocks("--route-default", "block", "--route-proxy", "127.0.1.0/24", "--sessions", "4",
                    "--log-level", "warn", aws=aws, audit=False)

    def connections(count):
        r = bench.run(proxy, "conn", "--count", count, "--conc", "64", "--pace", "2000", "--targets", "4", "--far-end",
                      limit_s=600)
        assert (r["ok"], r["done"], r["fails"]) == (True, count, 0), r
        harness.wait_for(lambda: aws.stats()["targets_open"] == 0, limit_s=60, what="the end of all connections")
        harness.wait_for(lambda: held() <= 4, limit_s=60, what="all descriptors to be closed")
        return r

    def held():                         # besides its own and the sessions'; some are calls to AWS, kept alive
        return len(proxy.descriptors()) - own - aws.stats()["websockets_open"]

    own = len(proxy.descriptors())
    connections(10000)                  # memory that is kept for reuse is taken here
    kib = [resident_kib(proxy.pid)]
    for _ in range(3):                  # and later, when more than ever wait at once; what is lost is lost each time
        r = connections(40000)
        kib.append(resident_kib(proxy.pid))
        print(f"\n{r['conn_s']:.0f} connections per second, p50 {r['p50_us'] / 1e3:.1f} ms, "
              f"{r['proxy_cpu_us_per_conn']:.0f} us of processor each, {kib[-2]} KiB before, {kib[-1]} KiB after")
        if kib[-1] - kib[-2] < 512:     # 13 bytes a connection would show
            return
    pytest.fail(f"memory grew: {kib} KiB")
