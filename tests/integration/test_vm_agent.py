"""awsocks-agent as a process, its link a socket pair; the host at the other end is vm_peer, which shares no code with
it. What needs a network of its own is in a namespace; there is no VM here."""
import contextlib
import hashlib
import os
import shutil
import socket
import struct
import threading

import pytest

import harness
import netns
import vm_peer
from bridging import Server

namespaces = pytest.mark.skipif(not netns.available(), reason="no namespaces here")
NONCE = bytes(range(32))
MIB = 1 << 20
# Bytes of the large transfers; sanitized programs are slow.
MUCH = 8 * MIB if harness.SANITIZED else 64 * MIB


def echo(s):
    with contextlib.suppress(OSError):          # the streams of many tests end with a reset
        while data := s.recv(1 << 16):
            s.sendall(data)


class Agent(harness.Process):
    def __init__(self, folder, name, settings, wrap=(), host=vm_peer.Host):
        self.conf = os.path.join(str(folder), f"{name}.conf")
        with open(self.conf, "w", encoding="ascii") as f:
            f.write("".join(f"{line}\n" for line in settings))
        ours, theirs = socket.socketpair()
        with theirs:
            super().__init__([*wrap, harness.program("awsocks-agent"), "--conf", self.conf], folder, name, stdin=theirs)
        self.host = host(ours, NONCE)

    def status(self):
        """How it ended."""
        return self.child.wait(harness.LIMIT_S)


@pytest.fixture
def agent(tmp_path, processes):
    """agent("key=value", ...) -> Agent, welcomed and with its network told."""
    started = []

    def start(*settings, net="none", wrap=(), loopback=True, welcome=True, network=True):
        lines = [f"nonce={NONCE.hex()}", "transport=stdin", f"net={net}", *settings]
        p = Agent(tmp_path, f"agent{len(started)}", lines + ["allow-loopback=yes"] * loopback, wrap)
        started.append(p)
        processes.append(p)
        if welcome:
            p.host.hello()
        if welcome and network:
            p.host.network()
        return p
    yield start
    for p in started:
        p.host.close()
        assert p.status() is not None
        p.check_clean()


@pytest.fixture
def server():
    """server(serve) -> its address."""
    started = []

    def start(serve=echo, address=("127.0.0.1", 0)):
        started.append(Server(serve, address))
        return started[-1].address
    yield start
    for s in started:
        s.stop()


@pytest.fixture
def deaf():
    """A port that takes no more connections and refuses none: its backlog is full."""
    with contextlib.ExitStack() as stack:
        s = stack.enter_context(socket.socket())
        s.bind(("127.0.0.2", harness.free_port()))      # and nobody is at that port of other addresses
        s.listen(0)
        for _ in range(4):
            c = stack.enter_context(socket.socket())
            c.setblocking(False)
            c.connect_ex(s.getsockname())

        def is_full():      # of a listener struct tcp_info has how many wait, tcpi_unacked, and how many may
            waiting, most = struct.unpack_from("II", s.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 32), 24)
            return waiting > most
        harness.wait_for(is_full, what="a full backlog")
        yield s.getsockname()


def refused(host, places, flags=0):
    with pytest.raises(vm_peer.Refused) as e:
        host.open(places, flags)
    return e.value.cause


# ---- beginning and end


def test_hello_comes_first(agent):
    p = agent(welcome=False)
    said = p.host.wait_hello()
    assert p.host.first == vm_peer.HELLO
    assert said["nonce"] == NONCE and said["least"] <= 1 <= said["most"]
    assert said["window"] > 0 and said["streams_max"] > 0
    assert said["agent"].split()[1] == os.uname().machine
    assert p.host.frames == {vm_peer.HELLO: 1}
    p.host.welcome()
    told = p.host.network()
    assert told["address"]
    p.host.ping()


def test_another_version_ends_it(agent):
    p = agent(welcome=False)
    p.host.wait_hello()
    p.host.welcome(version=77)
    p.host.wait_over()
    assert "77" in p.host.goodbye
    assert p.status() == 76


def test_the_host_leaves(agent):
    p = agent()
    p.host.close()
    assert p.status() == 0


def test_the_host_leaves_before_it_said_a_word(agent):
    p = agent(welcome=False)
    p.host.wait_hello()
    p.host.close()
    assert p.status() == 0


def test_shutdown(agent, server):
    p = agent()
    p.host.open([server()])
    p.host.shutdown()
    assert p.status() == 0


@pytest.mark.parametrize("bytes_", [b"\xff" * 100, vm_peer.frame(vm_peer.OPEN, 0, b"x" * 20), vm_peer.frame(0x40),
                                    vm_peer.frame(vm_peer.DATA, 99, b"x"),
                                    vm_peer.frame(vm_peer.OPEN, 7, b"\0\0\1\1\5"),
                                    vm_peer.frame(vm_peer.WELCOME, 0, b"\0\1" + b"\0" * 8),
                                    vm_peer.frame(vm_peer.RESOLVE, 3, b"a\0b"),
                                    b"\x30\xff\xff\xff\0\0\0\1"])
def test_garbage_ends_it_and_says_why(agent, server, bytes_):
    """GOODBYE names the frame, streams are reset, and it is no crash."""
    ended = threading.Event()

    def serve(s):
        with contextlib.suppress(ConnectionResetError):
            s.recv(1)
        ended.set()
    p = agent()
    p.host.open([server(serve)])
    p.host.send(bytes_)
    p.host.wait_over()
    assert p.host.goodbye
    assert p.status() == 76
    assert p.host.goodbye in p.log()
    assert ended.wait(harness.LIMIT_S)


@pytest.mark.parametrize("lines, says", [(["net=what"], "line 2: net: 'what'"), (["colour=red"], "line 2: unknown key"),
                                         (["nonce=00"], "line 2: nonce: 64"), (["dns=localhost"], "line 2: dns: "),
                                         (["net=static"], "address: is needed")])
def test_wrong_settings(tmp_path, lines, says):
    conf = tmp_path / "conf"
    conf.write_text("\n".join([f"nonce={NONCE.hex()}", *lines]) + "\n")
    r = harness.run([harness.program("awsocks-agent"), "--conf", conf], check=False)
    assert r.returncode == 65 and says.encode() in r.stderr
    assert NONCE.hex().encode() not in r.stderr


def test_usage(tmp_path):
    tool = harness.program("awsocks-agent")
    assert b"--conf FILE" in harness.run([tool, "--help"]).stdout
    assert harness.run([tool, "version"]).stdout.startswith(b"awsocks-agent ")
    assert harness.run([tool], check=False).returncode == 64
    r = harness.run([tool, "--conf", tmp_path / "none"], check=False)
    assert r.returncode == 74 and b"No such file" in r.stderr
    conf = tmp_path / "conf"
    conf.write_text(f"nonce={NONCE.hex()}\ntransport=stdin\nnet=none\n")
    r = harness.run([tool, "--conf", conf], check=False)
    assert r.returncode == 64 and b"is no socket" in r.stderr


@pytest.mark.skipif(harness.SANITIZED, reason="sanitizers have no static programs")
def test_one_small_file():
    path = harness.program("awsocks-agent")
    assert os.path.getsize(path) < MIB
    assert b"not a dynamic" in harness.run(["ldd", path], check=False).stderr or shutil.which("ldd") is None


# ---- dials


def test_echo(agent, server):
    p = agent()
    address = server()
    stream = p.host.open([address])
    assert stream.to == address
    stream.send(b"hello")
    assert stream.exactly(5) == b"hello"
    stream.eof()
    assert stream.read() == b""


def test_much_both_ways_at_once(agent, server):
    """Equal bytes up and down, by digest."""
    up = []

    def serve(s):
        def take():
            h = hashlib.sha256()
            while data := s.recv(1 << 18):
                h.update(data)
            up.append(h.hexdigest())
        t = threading.Thread(target=take, daemon=True)
        t.start()
        for piece in harness.pattern(MUCH):
            s.sendall(piece)
        s.shutdown(socket.SHUT_WR)
        t.join(harness.LIMIT_S)
    p = agent()
    stream = p.host.open([server(serve)])

    def give():
        for piece in harness.pattern(MUCH):
            stream.send(piece)
        stream.eof()
    giver = threading.Thread(target=give, daemon=True)
    giver.start()
    h = hashlib.sha256()
    while data := stream.recv():
        h.update(data)
    giver.join(harness.LIMIT_S)
    assert h.hexdigest() == harness.pattern_digest(MUCH)
    harness.wait_for(lambda: up, what="the server's digest")
    assert up == [harness.pattern_digest(MUCH)]


def test_the_host_ends_first(agent, server):
    def serve(s):
        got = b"".join(iter(lambda: s.recv(1 << 16), b""))
        s.sendall(got[::-1])
    p = agent()
    stream = p.host.open([server(serve)])
    stream.send(b"abc")
    stream.eof()
    assert stream.read() == b"cba"


def test_the_server_ends_first(agent, server):
    got = []

    def serve(s):
        s.sendall(b"bye")
        s.shutdown(socket.SHUT_WR)
        got.append(b"".join(iter(lambda: s.recv(1 << 16), b"")))
    p = agent()
    stream = p.host.open([server(serve)])
    assert stream.read() == b"bye"
    stream.send(b"x" * 100000)
    stream.eof()
    harness.wait_for(lambda: got, what="what the host said behind the server's end")
    assert got == [b"x" * 100000]


def fill(host, stream):
    """Sends until the agent, whose server does not read, takes no more; how much that was."""
    size, tries = 0, 0
    while tries < 5:
        host.ping()
        n = stream.may_send
        tries = 0 if n else tries + 1
        stream.send(bytes(n))
        size += n
    return size


def test_a_closed_stream_still_delivers(agent, server):
    """The host has said all and wants to hear no more (STOP, EOF) while the server is slow: it gets all, and an end."""
    go, got = threading.Event(), []

    def serve(s):
        s.sendall(b"nobody reads this")
        go.wait(harness.LIMIT_S)
        n = 0
        while data := s.recv(1 << 14):
            n += len(data)
        got.append(n)
    p = agent()
    stream = p.host.open([server(serve)])
    size = fill(p.host, stream)
    stream.stop()
    stream.eof()
    p.host.ping()
    go.set()
    harness.wait_for(lambda: got, what="the server's end")
    assert got == [size]
    p.wait_for(lambda: len([d for d in p.descriptors() if d.startswith("socket")]) == 1, what="closed sockets")


def test_a_closed_stream_whose_server_never_reads(agent, server):
    """It does not keep the agent from ending, nor others from being served."""
    stop = threading.Event()
    p = agent()
    stream = p.host.open([server(lambda s: stop.wait(harness.LIMIT_S))])
    fill(p.host, stream)
    stream.stop()
    stream.eof()
    p.host.ping()
    p.host.shutdown()
    assert p.status() == 0
    stop.set()


def test_a_reset_by_the_host(agent, server):
    """A reset, not an end: half a file is not taken for a whole one."""
    seen = []

    def serve(s):
        try:
            while s.recv(100):
                pass
            seen.append("end")
        except ConnectionResetError:
            seen.append("reset")
    p = agent()
    stream = p.host.open([server(serve)])
    stream.send(b"half")
    stream.reset()
    harness.wait_for(lambda: seen, what="the server's end")
    assert seen == ["reset"]


def test_a_reset_by_the_server(agent, server):
    def serve(s):
        s.recv(1)
        s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    p = agent()
    stream = p.host.open([server(serve)])
    stream.send(b"x")
    stream.wait_broken()
    p.host.ping()


def test_a_reset_while_the_host_does_not_read(agent, server):
    """Nothing is wanted of the socket then: the break is seen all the same."""
    go = threading.Event()

    def serve(s):
        s.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            while True:
                s.send(bytes(1 << 16))
        go.wait(harness.LIMIT_S)
        s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    p = agent()
    stream = p.host.open([server(serve)])
    p.host.wait_for(lambda: stream.granted == 0, what="a full window")
    go.set()
    stream.wait_broken()


def test_causes(agent, deaf, closed_port):
    p = agent("dial-limit=2000", "address=10.0.2.15/24")
    assert refused(p.host, [("127.0.0.1", closed_port)]) == vm_peer.REFUSED
    assert refused(p.host, [deaf]) == vm_peer.TIMEOUT
    # an answer says more than none
    assert refused(p.host, [("127.0.0.2", deaf[1]), ("127.0.0.3", deaf[1])]) == vm_peer.REFUSED
    p.host.ping()


@namespaces
def test_unreachable(agent, tmp_path):
    space = netns.Namespace(tmp_path, "apart")
    try:
        space.run(["ip", "route", "add", "unreachable", "198.51.100.0/24"])
        space.run(["ip", "route", "add", "prohibit", "203.0.113.0/24"])
        p = agent("address=10.0.2.15/24", wrap=space.wrap)
        assert refused(p.host, [("192.0.2.1", 80)]) == vm_peer.NETUNREACH
        assert refused(p.host, [("2001:db8::1", 80)]) == vm_peer.NETUNREACH
        assert refused(p.host, [("198.51.100.1", 80)]) == vm_peer.HOSTUNREACH
        assert refused(p.host, [("203.0.113.1", 80)]) == vm_peer.OTHER
        # the most telling of several
        assert refused(p.host, [("192.0.2.1", 80), ("198.51.100.1", 80), ("169.254.1.1", 80)]) == vm_peer.HOSTUNREACH
    finally:
        space.close()


def test_addresses_are_raced(agent, server, deaf):
    """The next one is tried while the first does not answer, and at once when it refuses."""
    p = agent()
    live = server(address=("127.0.0.1", deaf[1]))
    for first in ("127.0.0.2", "127.0.0.3", "::1"):
        stream = p.host.open([(first, deaf[1]), live])
        assert stream.to == live
        stream.send(b"x")
        assert stream.exactly(1) == b"x"
        stream.reset()


def test_a_dial_is_taken_back(agent, deaf):
    p = agent()
    before = len(p.descriptors())
    numbers = [p.host.ask_open([deaf]) for _ in range(20)]
    p.wait_for(lambda: len(p.descriptors()) >= before + 20, what="the dials")
    for n in numbers:
        p.host.take_back(n)
    p.wait_for(lambda: len(p.descriptors()) <= before, what="their end")
    p.host.ping()


GUARDED = ["127.0.0.1", "0.0.0.0", "169.254.169.254", "10.0.2.2", "10.0.2.3", "10.0.2.15", "10.0.2.77", "192.0.2.53",
           "224.0.0.1", "255.255.255.255", "::1", "fe80::1", "fec0::2", "fd00:ec2::254", "::ffff:10.0.2.2",
           "64:ff9b::a00:202"]


def test_guard(agent):
    p = agent("address=10.0.2.15/24", "gateway=10.0.2.2", "dns=10.0.2.3,192.0.2.53", loopback=False)
    told = p.host.network()
    assert told == {"up": True, "prefix": 24, "address": "10.0.2.15", "gateway": "10.0.2.2",
                    "dns": ["10.0.2.3", "192.0.2.53"], "why": ""}
    for address in GUARDED:
        assert refused(p.host, [(address, 80)]) == vm_peer.FORBIDDEN, address
    # a rule opens siblings, not the host
    for address in set(GUARDED) - {"10.0.2.77"}:
        assert refused(p.host, [(address, 80)], vm_peer.SIBLINGS) == vm_peer.FORBIDDEN, address


@namespaces
def test_siblings(agent, tmp_path):
    space = netns.Namespace(tmp_path, "apart")
    try:
        p = agent("address=10.0.2.15/24", wrap=space.wrap)
        assert refused(p.host, [("10.0.2.77", 80)], vm_peer.SIBLINGS) == vm_peer.NETUNREACH    # let through
        assert refused(p.host, [("10.0.2.77", 80)]) == vm_peer.FORBIDDEN
    finally:
        space.close()


def test_loopback_needs_a_setting(agent, server):
    p = agent(loopback=False)
    assert refused(p.host, [server()]) == vm_peer.FORBIDDEN


# ---- flow


def test_one_reader_stands_still(agent, server):
    """The host does not read one stream: it holds its window, and others go on."""
    sent = []

    def flood(s):
        with contextlib.suppress(OSError):
            while True:
                sent.append(s.send(bytes(1 << 16)))
    p = agent()
    still = p.host.open([server(flood)])
    p.host.wait_for(lambda: still.granted == 0, what="a full window")
    address = server()
    for _ in range(3):
        stream = p.host.open([address])
        stream.send(b"".join(harness.pattern(MIB // 8)))
        stream.eof()
        assert hashlib.sha256(stream.read()).hexdigest() == harness.pattern_digest(MIB // 8)
    assert still.got == still.link.window
    # and when it reads again, it goes on
    for _ in range(2 * still.link.window // 1000):
        still.exactly(1000)
    still.reset()


def test_one_server_stands_still(agent, server):
    """It takes no more than its window; others go on."""
    def sleeper(s):
        stop.wait(harness.LIMIT_S)
    stop = threading.Event()
    p = agent()
    still = p.host.open([server(sleeper)])

    def fill():
        with contextlib.suppress(vm_peer.Broken, vm_peer.Ended, harness.Failed):
            while True:
                still.send(bytes(1 << 16), 2 * harness.LIMIT_S)
    threading.Thread(target=fill, daemon=True).start()
    address = server()
    stream = p.host.open([address])
    for _ in range(16):
        stream.send(bytes(1 << 16))
        assert stream.exactly(1 << 16) == bytes(1 << 16)
    p.host.wait_for(lambda: still.may_send == 0, what="a window that stays shut")
    stream.send(b"y")
    assert stream.exactly(1) == b"y"
    stop.set()


def test_many_streams_and_none_is_left_behind(agent, server):
    p = agent()
    address = server()
    p.host.open([address]).reset()
    p.host.ping()
    before = None
    for _ in range(3):
        streams = [p.host.opened(n) for n in [p.host.ask_open([address]) for _ in range(100)]]
        for i, s in enumerate(streams):
            s.send(b"%d" % i)
        for i, s in enumerate(streams):
            assert s.exactly(len(b"%d" % i)) == b"%d" % i
            if i % 2:
                s.eof()
                assert s.read() == b""
            else:
                s.reset()
        p.host.ping()
        count = before or len(p.descriptors())
        p.wait_for(lambda most=count: len(p.descriptors()) <= most, what="closed sockets")
        before = len(p.descriptors())


def test_more_streams_than_agreed(agent, server):
    """The host was told how many: a further one is a broken protocol or a refusal, never served."""
    p = agent("streams-max=4")
    assert p.host.said["streams_max"] == 4
    address = server()
    for _ in range(4):
        p.host.open([address])
    with pytest.raises((vm_peer.Refused, vm_peer.Ended)):
        p.host.open([address])


def test_idle_costs_nothing(agent, server):
    p = agent()
    stream = p.host.open([server()])
    stream.send(b"x")
    stream.exactly(1)
    p.host.ping()
    before = p.cpu_s()
    count = len(p.host.metrics)
    p.host.wait_for(lambda: len(p.host.metrics) > count, what="METRICS")
    assert p.cpu_s() - before < 0.5         # one that never sleeps takes all of these seconds
    m = p.host.metrics[-1]
    assert m["streams"] == 1 and m["dials"] == 1 and m["failed"] == 0
    assert m["bytes_up"] == m["bytes_down"] == 1
    assert m["memory_total"] >= m["memory_available"] > 0 and m["uptime_ms"] > 0


def test_log(agent):
    p = agent("log=debug", "address=10.0.2.15/24")
    assert refused(p.host, [("10.0.2.2", 80)]) == vm_peer.FORBIDDEN
    p.host.wait_for(lambda: any("10.0.2.2" in t for _, t in p.host.log), what="a LOG frame")
    assert ("info" in {level for level, _ in p.host.log}) and "debug" in {level for level, _ in p.host.log}
    quiet = agent("log=error", "address=10.0.2.15/24")
    assert refused(quiet.host, [("10.0.2.2", 80)]) == vm_peer.FORBIDDEN
    quiet.host.ping()
    assert quiet.host.log == []


# ---- names


def test_resolve_localhost(agent):
    p = agent()
    assert "127.0.0.1" in p.host.resolve("localhost")
    assert p.host.resolve("192.0.2.7") == ["192.0.2.7"]


@pytest.fixture
def named(tmp_path):
    """A namespace with a name server at 127.0.0.1 that knows *.test, and nothing of nothing.test."""
    if not shutil.which("dnsmasq"):
        pytest.skip("no dnsmasq here")
    space = netns.Namespace(tmp_path, "named")
    space.bind("resolv.conf", "nameserver 127.0.0.1\noptions attempts:1 timeout:10\n")
    p = None
    try:
        p = harness.Process([*space.wrap, "dnsmasq", "-d", "-C", "/dev/null", "-q",
                             "--no-resolv", "--no-hosts", "--local=/test/", "--host-record=a.test,192.0.2.7",
                             "--host-record=b.test,2001:db8::7"], tmp_path, "dnsmasq")
        p.wait_for(lambda: "started" in p.log(), what="dnsmasq")
        space.server = p
        yield space
    finally:
        if p:
            p.kill()
        space.close()


@namespaces
def test_names(agent, named):
    p = agent(wrap=named.wrap)
    assert p.host.resolve("a.test") == ["192.0.2.7"]
    with pytest.raises(vm_peer.Refused) as e:
        p.host.resolve("nothing.test")
    assert e.value.cause == vm_peer.NO_NAME and "nothing.test" in e.value.text
    # it has an IPv6 address alone, and there is no way to one
    with pytest.raises(vm_peer.Refused):
        p.host.resolve("b.test")
    # not a word of NXDOMAIN: the server does not know the rest of the world
    with pytest.raises(vm_peer.Refused) as e:
        p.host.resolve("elsewhere.example")
    assert e.value.cause == vm_peer.RESOLVER
    named.run(["ip", "link", "add", "v0", "type", "veth", "peer", "name", "v1"])
    named.run(["ip", "link", "set", "v1", "up"])
    named.run(["ip", "link", "set", "v0", "up"])
    named.address("v0", "2001:db8:1::1/64")
    named.run(["ip", "-6", "route", "add", "default", "dev", "v0"])
    assert p.host.resolve("b.test") == ["2001:db8::7"]


@namespaces
def test_a_resolver_that_hangs(agent, named):
    """Its look-ups fail at their limit; then others are answered, though all threads still wait."""
    named.hosts({"here.test": "192.0.2.9"})
    p = agent("resolve-limit=2000", wrap=named.wrap)        # less than the resolver waits
    os.kill(named.server.child.pid, 19)         # SIGSTOP: nobody answers
    numbers = [p.host.ask(vm_peer.RESOLVE, b"n%d.test" % i) for i in range(30)]
    for n in numbers:
        with pytest.raises(vm_peer.Refused) as e:
            p.host.answer(n)
        assert e.value.cause == vm_peer.RESOLVER
    assert p.host.resolve("here.test") == ["192.0.2.9"]
    os.kill(named.server.child.pid, 18)
    harness.wait_for(lambda: _resolves(p, "a.test"), what="an answer")


def _resolves(p, name):
    try:
        return p.host.resolve(name)
    except vm_peer.Refused:
        return None


def test_a_look_up_is_taken_back(agent):
    p = agent()
    for _ in range(50):
        p.host.take_back(p.host.ask(vm_peer.RESOLVE, b"localhost"))
    assert p.host.resolve("localhost")
