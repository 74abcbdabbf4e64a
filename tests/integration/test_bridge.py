"""awsocks bridge: bytes, ends, limits, and an other end that comes and goes."""
import hashlib
import os
import socket
import threading

import pytest

import client
import harness
from bridging import Server, assert_closed, bridge, echo, intranet, text_of     # noqa: F401

MIB = 1 << 20


def digest_then_pattern(size):
    """Reads to the end, answers with the digest, then sends `size` bytes of its own."""
    def serve(s):
        h = hashlib.sha256()
        while data := s.recv(1 << 18):
            h.update(data)
        s.sendall(h.hexdigest().encode())
        for piece in harness.pattern(size):
            s.sendall(piece)
    return serve


def send_pattern(s, size):
    for piece in harness.pattern(size):
        s.sendall(piece)
    s.shutdown(socket.SHUT_WR)


def read_digest(s):
    h = hashlib.sha256()
    while data := s.recv(1 << 18):
        h.update(data)
    return h.hexdigest()


@pytest.mark.parametrize("name", ["awsocks-bridge", "awsocks"])
@pytest.mark.parametrize("far", ["tcp", "unix"])
def test_64_mib_each_way_and_half_closes(bridge, tmp_path, far, name):
    """TCP and Unix on both sides: what one side has sent to its end arrives whole, and is answered after that end."""
    size = 64 * MIB
    server = Server(digest_then_pattern(size), str(tmp_path / "far") if far == "unix" else ("127.0.0.1", 0))
    p = bridge("--to", text_of(server.address), listen=("127.0.0.1:0", f"unix:{tmp_path}/near"), name=name)
    assert oct(os.stat(tmp_path / "near").st_mode)[-3:] == "600"
    for listener in p.listeners:
        with client.dial(listener) as s:
            send_pattern(s, size)
            assert client.read_exactly(s, 64).decode() == harness.pattern_digest(size)
            assert read_digest(s) == harness.pattern_digest(size)
    assert p.stop() == 0
    assert not os.path.exists(tmp_path / "near")
    server.stop()


def test_both_ways_at_once(bridge):
    server = Server(echo)
    p = bridge("--to", text_of(server.address))
    with client.dial(p.listener) as s:
        sender = threading.Thread(target=send_pattern, args=(s, 32 * MIB))
        sender.start()
        assert read_digest(s) == harness.pattern_digest(32 * MIB)
        sender.join()
    server.stop()


def test_a_stalled_reader_stops_its_writer(bridge):
    """What nobody reads is not taken into memory; the other connections do not notice."""
    go_on = threading.Event()

    def serve(s):
        if s.recv(1) == b"w":
            go_on.wait(harness.LIMIT_S)
            s.sendall(read_digest(s).encode())
        else:
            echo(s)
    server = Server(serve)
    p = bridge("--to", text_of(server.address))
    with client.dial(p.listener) as stalled, client.dial(p.listener) as other:
        stalled.sendall(b"w")
        other.sendall(b"e")
        stalled.setblocking(False)
        sent = blocked = 0
        while blocked < 50:             # the kernel's buffers and one of the bridge's are full
            try:
                sent += stalled.send(bytes(1 << 16))
                blocked = 0
            except BlockingIOError:
                blocked += 1
                other.sendall(b"x" * 1000)
                assert client.read_exactly(other, 1000) == b"x" * 1000
        assert sent < 64 * MIB
        go_on.set()
        stalled.setblocking(True)
        stalled.shutdown(socket.SHUT_WR)
        assert client.read_to_end(stalled).decode() == hashlib.sha256(bytes(sent)).hexdigest()
    server.stop()


def test_a_broken_end_breaks_the_other(bridge):
    """A reset is not passed on as an end: nobody takes half a file for a whole one."""
    def serve(s):
        s.sendall(b"half of it")
        s.recv(1)
        s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    server = Server(serve)
    p = bridge("--to", text_of(server.address))
    with client.dial(p.listener) as s:
        assert client.read_exactly(s, 10) == b"half of it"
        s.sendall(b"x")
        with pytest.raises(ConnectionResetError):
            client.read_to_end(s)
    server.stop()


def test_real_clients_through_awsocks(bridge, intranet, web, tmp_path):
    """curl and git, HTTP and SOCKS, to both kinds of listener."""
    proxy = intranet()
    p = bridge("--to", proxy.address, listen=("127.0.0.1:0", f"unix:{tmp_path}/near.sock"))
    at = text_of(p.listener)
    for url in (f"http://{at}", f"socks5h://{at}", f"socks5h://localhost{tmp_path}/near.sock"):
        assert client.fetch_digest(url, "http://intranet.example/bytes/300000", tmp_path) == \
            harness.pattern_digest(300000)
    clone = tmp_path / "clone"
    harness.run(["git", "-c", f"http.proxy=http://{at}", "clone", "-q", "http://intranet.example/git/project.git", clone])
    assert web.repository.same_as(clone)


def test_awsocks_restarts_under_a_running_client(bridge, intranet, tmp_path):
    """A download ends with the old one, early and visibly; what asks meanwhile is held, and served by the new one."""
    proxy = intranet()
    p = bridge("--to", proxy.address)
    url = f"http://{text_of(p.listener)}"
    with client.socks5(p.listener, "intranet.example", 80) as s:
        s.sendall(b"GET /slow/100000/20 HTTP/1.1\r\nHost: intranet.example\r\n\r\n")
        assert client.read_head(s).startswith(b"HTTP/1.1 200")
        assert proxy.stop() == 0
        assert_closed(s)
    held = [threading.Thread(target=lambda i=i: got.append(
        client.fetch_digest(url, "http://intranet.example/bytes/1000", held_folder(tmp_path, i)))) for i in range(5)]
    got = []
    for t in held:
        t.start()
    p.wait_for(lambda: "connections wait for it" in p.log(), what="the outage")
    intranet()
    for t in held:
        t.join(harness.LIMIT_S)
    assert got == [harness.pattern_digest(1000)] * 5
    p.wait_for(lambda: "answers again" in p.log(), what="the return in the log")


def held_folder(tmp_path, i):
    folder = tmp_path / f"held{i}"
    folder.mkdir()
    return folder


def test_the_other_end_comes_late_and_restarts(bridge, tmp_path):
    """Clients are held while it is away; those that were connected end; a new one is served once it is back."""
    path = str(tmp_path / "host.sock")
    p = bridge("--to", f"unix:{path}")
    early = client.dial(p.listener)
    early.sendall(b"early")
    p.wait_for(lambda: "connections wait for it" in p.log(), what="the outage")
    server = Server(echo, path)
    assert client.read_exactly(early, 5) == b"early"
    server.stop()
    # the old server's thread still serves `early`; a new client waits for the next one
    late = [client.dial(p.listener) for _ in range(20)]
    for s in late:
        s.sendall(b"late")
    p.wait_for(lambda: p.log().count("connections wait for it") == 2, what="the second outage")
    server = Server(echo, path)
    for s in late:
        assert client.read_exactly(s, 4) == b"late"
        s.close()
    early.close()
    p.wait_for(lambda: p.log().count("answers again") == 2, what="both returns in the log")
    server.stop()


def test_waiting_is_bounded(bridge, tmp_path):
    """In time and in number, with one line in the log for each."""
    p = bridge("--to", f"unix:{tmp_path}/none", "--wait", "4s", "--max-waiting", "3")
    waiting = [client.dial(p.listener) for _ in range(10)]
    for s in waiting:
        with s:
            assert_closed(s)
    log = p.log()
    assert log.count("3 connections wait for it: further ones are closed") == 1
    assert log.count("what waited for it is closed") == 1
    assert "bind the socket's directory" in log


def test_who_has_left_makes_room(bridge, tmp_path):
    """A client that closed while it was held keeps nobody else out; one that only ended what it sends is answered."""
    path = str(tmp_path / "host.sock")
    p = bridge("--to", f"unix:{path}", "--wait", "1m", "--max-waiting", "3", "--log-level", "debug")
    for words in (b"", b"asked", b"asked"):
        with client.dial(p.listener) as s:
            s.sendall(words)
    p.wait_for(lambda: p.log().count("ended what it sends") == 3, what="three ends")
    present = [client.dial(p.listener) for _ in range(2)]
    half = client.dial(p.listener)
    half.sendall(b"half")
    half.shutdown(socket.SHUT_WR)
    for s in present:
        s.sendall(b"here")
    p.wait_for(lambda: "connections wait for it" in p.log(), what="the outage")
    server = Server(echo, path)
    for s in present:
        assert client.read_exactly(s, 4) == b"here"
        s.close()
    assert client.read_to_end(half) == b"half"
    server.stop()


def test_no_waiting_for_what_will_not_change(bridge):
    """A path that cannot be one is refused at once."""
    p = bridge("--to", f"unix:{os.path.abspath(__file__)}/sock"[:100])
    for _ in range(3):
        with client.dial(p.listener) as s:
            assert_closed(s)
    assert p.log().count("connections are closed") == 1


def test_over_the_limit_clients_wait(bridge):
    """A flood waits in the backlog; those who are in go on, and each that leaves lets one in."""
    server = Server(echo)
    p = bridge("--to", text_of(server.address), "--max-connections", "3")
    clients = [client.dial(p.listener) for _ in range(40)]
    for i, s in enumerate(clients):
        s.sendall(b"%03d" % i)
    for i, s in enumerate(clients):
        assert client.read_exactly(s, 3) == b"%03d" % i
        assert server.accepted <= i + 3
        s.close()
    assert p.log().count("further clients wait") <= 40
    server.stop()


def test_a_stale_socket_is_replaced_and_a_live_one_is_not(bridge, tmp_path):
    path = str(tmp_path / "near.sock")
    dead = socket.socket(socket.AF_UNIX)
    dead.bind(path)
    dead.close()
    p = bridge("--to", f"unix:{tmp_path}/none", listen=(f"unix:{path}",))
    r = harness.run([harness.program("awsocks-bridge"), "bridge", "--listen", f"unix:{path}", "--to", "127.0.0.1:1"],
                    check=False)
    assert r.returncode == 65
    assert b"another process listens there" in r.stderr
    assert p.running() and os.path.exists(path)


@pytest.mark.parametrize("options, message", [
    ([], "--to ADDR is missing"),
    (["--to", "nonsense"], "--to: "),
    (["--to", "example.com:80"], "--to: 'example.com:80' is not an address"),
    (["--to", "127.0.0.1:1", "--listen", "127.0.0.1:1"], "its own other end"),
    (["--to", "127.0.0.1:1", "--listen", "0.0.0.0:1"], "its own other end"),
    (["--to", "127.0.0.1:1", "--wait", "soon"], "--wait: 'soon'"),
    (["--to", "127.0.0.1:1", "--mode", "0999"], "--mode: '0999'"),
    (["--to", "127.0.0.1:1", "--env"], "--env is for a COMMAND"),
    (["--to", "127.0.0.1:1", "--nonsense"], "unknown option --nonsense"),
    (["--to", "127.0.0.1:1", "ls"], "'ls': a command stands behind --"),
    (["--to", "127.0.0.1:1", "--"], "a command is expected behind --"),
    (["--to", "127.0.0.1:1", "--listen", "unix:/" + "x" * 200], "--listen: Unix socket path"),
])
def test_wrong_usage(options, message):
    r = harness.run([harness.program("awsocks-bridge"), "bridge", *options], check=False)
    assert r.returncode == 64
    assert message in r.stderr.decode()
    assert r.stderr.count(b"\n") == 1
