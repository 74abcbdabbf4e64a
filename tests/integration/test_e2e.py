"""One request through every part: real clients, the real program, the emulator,
and servers that only the emulator's agent can resolve."""
import asyncio
import hashlib
import resource

import pytest

import client
import harness

HOST = "api.internal.example"
SECURE = "secure.internal.example"
SIZES = [0, 1, 1 << 20, pytest.param(256 << 20, marks=pytest.mark.long)]
LONG_S = 600


def limit_for(size):
    return LONG_S if size > 1 << 24 else harness.LIMIT_S


@pytest.fixture
def aws(localaws):
    """An emulator whose "VPC" knows our names; nobody else does."""
    return localaws("--resolve", f"{HOST}=127.0.0.1", "--resolve", f"{SECURE}=127.0.0.1")


# Named for proxy: what comes there only by default may go direct while AWS is asked for the first time.
NAMED = ("--route-proxy", "*.internal.example", "--route-default", "direct")


@pytest.fixture
def proxy(awsocks, aws):
    return awsocks(*NAMED, aws=aws)


def test_nobody_else_resolves_the_name(web):
    r = client.curl("--connect-timeout", "5", f"http://{HOST}:{web.port}/bytes/1", check=False)
    assert r.returncode in (6, 28) and b"esolv" in r.stderr, r      # "could not", or not within the time


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("scheme", ["socks5h", "socks4a", "http"])
def test_down(proxy, web, tmp_path, scheme, size):
    got = client.fetch_digest(proxy.url(scheme), f"http://{HOST}:{web.port}/bytes/{size}", tmp_path,
                              limit_s=limit_for(size))
    assert got == harness.pattern_digest(size)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("scheme", ["socks5h", "socks4a", "http"])
def test_up(proxy, web, tmp_path, scheme, size):
    path = harness.pattern_file(tmp_path / "up", size)
    r = client.curl("--fail", "--proxy", proxy.url(scheme), "-T", path, f"http://{HOST}:{web.port}/digest",
                    limit_s=limit_for(size))
    assert r.stdout.decode() == harness.pattern_digest(size)


@pytest.mark.parametrize("size", SIZES)
def test_https_through_connect(proxy, web_tls, authority, tmp_path, size):
    """http:// proxy and https: target: CONNECT, and the certificate is checked end to end."""
    base = f"https://{SECURE}:{web_tls.port}"
    trust = ("--cacert", authority.ca)
    got = client.fetch_digest(proxy.url("http"), f"{base}/bytes/{size}", tmp_path, *trust, limit_s=limit_for(size))
    assert got == harness.pattern_digest(size)
    path = harness.pattern_file(tmp_path / "up", size)
    r = client.curl("--fail", *trust, "--proxy", proxy.url("http"), "-T", path, f"{base}/digest",
                    limit_s=limit_for(size))
    assert r.stdout.decode() == harness.pattern_digest(size)


async def fetch(proxy, host, port, path):
    """Digest of a page, over SOCKS5 with plain asyncio streams."""
    reader, writer = await asyncio.open_connection(*proxy)
    try:
        name = host.encode()
        writer.write(b"\5\1\0")
        assert await reader.readexactly(2) == b"\5\0"
        writer.write(b"\5\1\0\3" + bytes([len(name)]) + name + port.to_bytes(2, "big"))
        head = await reader.readexactly(4)
        assert head[1] == 0, f"refused: {head[1]}"
        await reader.readexactly({1: 6, 4: 18}[head[3]])
        writer.write(f"GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
        head = await reader.readuntil(b"\r\n\r\n")
        size = int(next(line for line in head.split(b"\r\n") if line.lower().startswith(b"content-length")).split()[1])
        h = hashlib.sha256()
        while size:
            piece = await reader.read(min(size, 1 << 16))
            assert piece, "ended early"
            size -= len(piece)
            h.update(piece)
        return h.hexdigest()
    finally:
        writer.close()


def test_200_downloads_through_one_session(awsocks, aws, web):
    size = 200_000
    p = awsocks(*NAMED, "--sessions", "1", aws=aws)

    async def all_of_them():
        jobs = [fetch(p.listener, HOST, web.port, f"/bytes/{size + i}") for i in range(200)]
        return await asyncio.wait_for(asyncio.gather(*jobs), harness.LIMIT_S * 3)
    got = asyncio.run(all_of_them())
    assert got == [harness.pattern_digest(size + i) for i in range(200)]
    assert aws.stats()["sessions"] == 1


def test_direct_route_asks_no_aws(awsocks, aws, web, tmp_path):
    p = awsocks(*NAMED, aws=aws)
    for scheme in ("socks5h", "socks4a", "http"):
        got = client.fetch_digest(p.url(scheme), f"http://127.0.0.1:{web.port}/bytes/100000", tmp_path)
        assert got == harness.pattern_digest(100000)
    assert aws.stats()["StartSession"] == 0
    assert aws.stats()["requests"] == 0


def test_block_is_real(awsocks, aws, counter):
    p = awsocks(*NAMED, "--route-block", "127.0.0.1", aws=aws)
    with pytest.raises(client.Refused) as e:
        client.socks5(p.listener, "127.0.0.1", counter.port)
    assert e.value.code == 2
    with pytest.raises(client.Refused) as e:
        client.http_connect(p.listener, "127.0.0.1", counter.port)
    assert e.value.code == 403
    r = client.curl("--proxy", p.url("http"), "-w", "%{http_code}", f"http://127.0.0.1:{counter.port}/")
    assert r.stdout.endswith(b"403")
    assert len(r.stdout.splitlines()) >= 1
    assert counter.count == 0
    blocked = [line for line in p.audit() if line.get("route") == "block"]
    assert len(blocked) == 3


def test_refused_at_the_far_end_is_reply_5(proxy):
    port = harness.free_port()
    with pytest.raises(client.Refused) as e:
        client.socks5(proxy.listener, HOST, port)
    assert e.value.code == 5


def test_a_name_the_agent_does_not_know_is_reply_4(proxy, web):
    with pytest.raises(client.Refused) as e:
        client.socks5(proxy.listener, "nowhere.internal.example", web.port)
    assert e.value.code == 4


def test_bytes_sent_with_the_request_arrive(proxy, web):
    """A client that does not wait for the reply loses nothing."""
    request = f"GET /bytes/1000 HTTP/1.1\r\nHost: {HOST}\r\nConnection: close\r\n\r\n".encode()
    s = client.socks5(proxy.listener, HOST, web.port, early=request)
    body = client.read_to_end(s).partition(b"\r\n\r\n")[2]
    assert body == b"".join(harness.pattern(1000))


def test_half_close_on_a_direct_route(awsocks, web):
    p = awsocks("--route-default", "direct")
    s = client.socks5(p.listener, "127.0.0.1", web.port)
    s.sendall(f"GET /bytes/300000 HTTP/1.1\r\nHost: {HOST}\r\nConnection: close\r\n\r\n".encode())
    s.shutdown(1)
    body = client.read_to_end(s).partition(b"\r\n\r\n")[2]
    assert body == b"".join(harness.pattern(300000))


def test_half_close_loses_no_answer_on_a_session(proxy, web):
    """smux cannot pass it on: the stream stays open until the far side ends."""
    s = client.socks5(proxy.listener, HOST, web.port)
    s.sendall(f"GET /bytes/300000 HTTP/1.1\r\nHost: {HOST}\r\nConnection: close\r\n\r\n".encode())
    s.shutdown(1)
    body = client.read_to_end(s).partition(b"\r\n\r\n")[2]
    assert body == b"".join(harness.pattern(300000))


def test_upgrade_through_the_plain_proxy(proxy, web):
    s = client.dial(proxy.listener)
    s.sendall(f"GET http://{HOST}:{web.port}/upgrade HTTP/1.1\r\nHost: {HOST}:{web.port}\r\n"
              "Connection: Upgrade\r\nUpgrade: echo\r\n\r\n".encode())
    assert client.read_head(s).startswith(b"HTTP/1.1 101 ")
    for piece in (b"one", b"two" * 1000):
        s.sendall(piece)
        assert client.read_exactly(s, len(piece)) == piece
    s.close()


def test_every_request_on_a_kept_connection_is_routed(awsocks, aws, web, counter):
    """A blocked host cannot hide behind an allowed one on the same connection."""
    p = awsocks(*NAMED, "--route-block", "127.0.0.1", aws=aws)
    s = client.dial(p.listener)
    for host, port, want in ((HOST, web.port, 200), ("127.0.0.1", counter.port, 403)):
        s.sendall(f"GET http://{host}:{port}/bytes/5 HTTP/1.1\r\nHost: {host}:{port}\r\n\r\n".encode())
        head = client.read_head(s).decode("latin-1")
        assert int(head.split()[1]) == want
        length = next(int(line.split(":")[1]) for line in head.splitlines()
                      if line.lower().startswith("content-length"))
        client.read_exactly(s, length)
    assert counter.count == 0


def test_git_clone(proxy, web, repository, tmp_path):
    for scheme in ("socks5h", "http"):
        clone = tmp_path / f"clone-{scheme}"
        harness.run(["git", "-c", f"http.proxy={proxy.url(scheme)}", "clone", "-q",
                     f"http://{HOST}:{web.port}/git/{repository.name}", clone])
        assert repository.same_as(clone)


def test_ssh_by_proxy_command(proxy, sshd):
    command = f"ProxyCommand={harness.program('awsocks')} connect --to {proxy.address} %h %p"
    data = b"".join(harness.pattern(300_000))
    r = harness.run([*sshd.client("-o", command, HOST), "cat"], input=data, env=proxy.env)
    assert r.stdout == data


@pytest.mark.parametrize("lazy", [True, False])
@pytest.mark.parametrize("scheme", ["socks5h", "socks4a", "http"])
def test_a_named_host_never_leaks(awsocks, localaws, counter, tmp_path, lazy, scheme):
    """SSM refuses: what a rule names for proxy goes nowhere, whatever the fallback for the rest."""
    aws = localaws("--fault", "refuse-session")
    p = awsocks("--lazy" if lazy else "--no-lazy", "--fallback", "all", "--route-default", "direct",
                "--route-proxy", "localhost", "--route-proxy", "127.0.0.1", aws=aws)
    for host in ("localhost", "127.0.0.1"):
        r = client.curl("--fail", "--proxy", p.url(scheme), f"http://{host}:{counter.port}/", check=False)
        assert r.returncode != 0
    assert aws.stats()["StartSession"] >= 1
    assert counter.count == 0
    lines = p.audit()
    assert len(lines) == 2
    assert all(line["error"] and line["route"] == "proxy" for line in lines)


def test_non_lazy_start_that_cannot_fails(awsocks, localaws):
    """Without the instance, --no-lazy says so and never listens."""
    aws = localaws("--instance", "id=i-0aaaaaaaaaaaaaaaa,name=other")
    with pytest.raises(harness.Failed, match="ended with status (69|77)"):
        awsocks("--no-lazy", *NAMED, "--name", "demo", aws=aws, target=False)


def test_non_lazy_is_ready_when_it_listens(awsocks, aws, web, tmp_path):
    p = awsocks("--no-lazy", *NAMED, aws=aws)
    assert aws.stats()["requests"] > 0
    got = client.fetch_digest(p.url(), f"http://{HOST}:{web.port}/bytes/5", tmp_path)
    assert got == harness.pattern_digest(5)


def test_lazy_start_touches_nothing(awsocks, aws, web):
    p = awsocks("--lazy", *NAMED, aws=aws)
    client.curl("--fail", "--proxy", p.url(), f"http://127.0.0.1:{web.port}/bytes/5")
    assert aws.stats()["requests"] == 0
    client.curl("--fail", "--proxy", p.url(), f"http://{HOST}:{web.port}/bytes/5")
    assert aws.stats()["StartSession"] == 1


@pytest.mark.nosan
def test_lazy_start_takes_few_milliseconds(awsocks, aws):
    """Processor time until it accepts, the least of five: under 10 ms. A machine that is busy with other things takes
    more for anything, for the mere loading of the libraries too: then not more than twice that. Both are taken in
    turn, and more often where it is busy."""
    def loading():
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        harness.run([harness.program("awsocks"), "--version"])
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime

    times, loads = [], []
    while len(times) < 5 or (min(times) >= max(0.010, 2 * min(loads)) and len(times) < 20):
        p = awsocks("--lazy", *NAMED, aws=aws)
        times.append(p.cpu_at_ready_s)
        loads.append(loading())
        assert p.stop() == 0, p.log()
    assert min(times) < max(0.010, 2 * min(loads)), (times, loads)


def test_stop_ends_the_sessions(awsocks, aws, web):
    p = awsocks(*NAMED, aws=aws)
    client.curl("--fail", "--proxy", p.url(), f"http://{HOST}:{web.port}/bytes/5")
    assert aws.stats()["sessions_open"] == 1
    assert p.stop() == 0, p.log()
    # A dropped websocket would leave the session open, to be resumed: it was ended.
    aws.wait_sessions_open(0)
    harness.wait_for(lambda: aws.stats()["websockets_open"] == 0, what="the websocket's end")


def test_stop_while_a_download_runs(awsocks, aws, web):
    """Running streams get a short grace, then the program ends all the same."""
    p = awsocks(*NAMED, aws=aws)
    s = client.socks5(p.listener, HOST, web.port)
    s.sendall(f"GET /slow/100000/10 HTTP/1.1\r\nHost: {HOST}\r\n\r\n".encode())
    client.read_head(s)
    assert p.stop() == 0, p.log()
    aws.wait_sessions_open(0)


def test_descriptors_come_back(awsocks, aws, web):
    """Many connections of every kind leave nothing behind. The far side ends them: a client's end alone cannot be
    passed on through smux. A busy machine may want one more session for a host, and keeps it: what is lost with
    connections is lost each time."""
    p = awsocks(*NAMED, aws=aws)
    refused = harness.free_port()

    def rounds(n):
        for _ in range(n):
            for scheme in ("socks5h", "socks4a", "http"):
                for host in (HOST, "127.0.0.1"):
                    client.curl("--fail", "-H", "Connection: close", "--proxy", p.url(scheme),
                                f"http://{host}:{web.port}/bytes/70000")
            client.curl("--proxy", p.url("socks5h"), f"http://{HOST}:{refused}/", check=False)

    rounds(1)
    p.gives_back(lambda: rounds(5))


@pytest.mark.long
@pytest.mark.nosan
def test_valgrind_is_clean_at_exit(awsocks, aws, web, tmp_path):
    wrap = ["valgrind", "-q", "--leak-check=full", "--show-leak-kinds=definite,possible", "--track-fds=yes",
            "--error-exitcode=99", f"--suppressions={harness.TREE}/tests/valgrind.supp"]
    p = awsocks(*NAMED, aws=aws, wrap=wrap)
    for scheme in ("socks5h", "socks4a", "http"):
        for host in (HOST, "127.0.0.1"):
            got = client.fetch_digest(p.url(scheme), f"http://{host}:{web.port}/bytes/300000", tmp_path, limit_s=120)
            assert got == harness.pattern_digest(300000)
    with pytest.raises(client.Refused):
        client.socks5(p.listener, HOST, harness.free_port())
    assert p.stop(120) == 0, p.log()
    left = [line for line in p.log().splitlines() if "Open file descriptor" in line or "Open AF_" in line]
    # Its standard ones, and the log that the test gave it twice.
    assert len([line for line in left if "inherited" not in line]) <= 2, p.log()
