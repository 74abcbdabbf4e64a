"""UDP ASSOCIATE with real clients: PySocks, dante's client library under a program that knows
nothing of SOCKS, and dig through a small forwarder, all asking a real DNS server (dnsmasq)."""
import contextlib
import os
import shutil
import signal
import socket
import struct
import subprocess
import threading

import client
import harness
import pytest
import socks

DIRECT = ("--route-default", "direct")
PYTHON = "/usr/bin/python3"


def query(name, ident):
    """A DNS question for an A record."""
    labels = b"".join(bytes([len(part)]) + part.encode() for part in name.split("."))
    return struct.pack(">HHHHHH", ident, 0x100, 1, 0, 0, 0) + labels + b"\0" + struct.pack(">HH", 1, 1)


def pysocks(proxy):
    host, port = proxy.listener
    s = socks.socksocket(socket.AF_INET, socket.SOCK_DGRAM)
    s.set_proxy(socks.SOCKS5, host, port)
    s.settimeout(harness.LIMIT_S)
    return s


def associate(listener, request=b"\x01" + bytes(6)):
    """(reply, the TCP connection, where to send to)"""
    s = client.dial(listener)
    s.sendall(b"\x05\x01\x00\x05\x03\x00" + request)
    assert client.read_exactly(s, 2) == b"\x05\x00"
    reply = client.read_exactly(s, 4)
    size = 4 if reply[3] == 1 else 16
    host = socket.inet_ntop(socket.AF_INET if size == 4 else socket.AF_INET6, client.read_exactly(s, size))
    return reply[1], s, (host, struct.unpack(">H", client.read_exactly(s, 2))[0])


def header(host, port):
    return b"\0\0\0" + client.socks5_address(host) + struct.pack(">H", port)


class Dns(harness.Process):
    """dnsmasq that knows names below example.test."""

    def __init__(self, folder):
        self.port = harness.free_port("127.0.0.2")
        super().__init__([shutil.which("dnsmasq", path="/usr/sbin:/usr/bin:/sbin"), "--keep-in-foreground",
                          "--conf-file=/dev/null", f"--port={self.port}", "--listen-address=127.0.0.2",
                          "--bind-interfaces", "--no-resolv", "--no-hosts", "--address=/example.test/192.0.2.7",
                          f"--user={os.environ.get('USER') or 'root'}", "--pid-file="], folder, "dnsmasq")
        self.wait_for(self.answers, what="dnsmasq")

    def answers(self):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
            s.settimeout(1)
            try:
                s.sendto(query("a.example.test", 1), ("127.0.0.2", self.port))
                return s.recv(512)
            except OSError:
                return None


@pytest.fixture
def dns(tmp_path, processes):
    server = Dns(tmp_path)
    processes.append(server)
    return server


@pytest.fixture
def echo():
    """A UDP server that sends back what it gets; its address."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        s.bind(("127.0.0.1", 0))

        def serve():
            while True:
                data, peer = s.recvfrom(65536)
                if data == b"the end of the test":
                    return
                s.sendto(data, peer)
        t = threading.Thread(target=serve, daemon=True)
        t.start()
        yield s.getsockname()
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as last:
            while t.is_alive():
                last.sendto(b"the end of the test", s.getsockname())
                t.join(0.1)


def test_pysocks_asks_a_dns_server(awsocks, dns):
    proxy = awsocks(*DIRECT)
    with pysocks(proxy) as s:
        for ident in range(50):
            s.sendto(query(f"host{ident}.example.test", ident), ("127.0.0.2", dns.port))
            answer, peer = s.recvfrom(512)
            assert peer == ("127.0.0.2", dns.port)
            assert answer[:2] == struct.pack(">H", ident) and answer.endswith(bytes([192, 0, 2, 7]))
    harness.wait_for(lambda: len(proxy.audit()) == 2, what="the association's last line")
    first, last = proxy.audit()
    assert first["proto"] == last["proto"] == "socks5-udp" and first["id"] == last["id"]
    assert (first["host"], first["port"], first["route"]) == ("127.0.0.2", dns.port, "direct")
    assert "host" not in last and last["bytes_up"] > 50 * 30 and last["bytes_down"] > 50 * 40
    assert "dropped" not in last and "error" not in last


def test_pysocks_sends_names(awsocks, echo):
    """The name goes in the header: it is awsocks that looks it up."""
    proxy = awsocks(*DIRECT)
    with pysocks(proxy) as s:
        for word in (b"one", b"two"):
            s.sendto(word, ("localhost", echo[1]))
            assert s.recvfrom(100) == (word, echo)


def test_a_program_without_socks_under_dantes_library(awsocks, dns, tmp_path):
    socksify = shutil.which("socksify")
    if not socksify:
        pytest.skip("dante-client is not installed")
    proxy = awsocks(*DIRECT)
    conf = tmp_path / "socks.conf"
    conf.write_text("route { from: 0.0.0.0/0 to: 127.0.0.2/32 via: %s port = %d\n"
                    " protocol: tcp udp\n proxyprotocol: socks_v5\n method: none\n}\n" % proxy.listener)
    program = ("import socket, sys\n"
               "s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)\n"
               "s.settimeout(%d)\n"
               "s.sendto(%r, ('127.0.0.2', %d))\n"
               "sys.stdout.buffer.write(s.recvfrom(512)[0])\n"
               % (harness.LIMIT_S, query("www.example.test", 7), dns.port))
    r = harness.run([socksify, PYTHON, "-c", program],
                    env=dict(os.environ, SOCKS_CONF=str(conf), SOCKS_AUTOADD_LANROUTES="no"))
    assert r.stdout.startswith(b"\0\7") and r.stdout.endswith(bytes([192, 0, 2, 7]))
    assert any(line.get("host") == "127.0.0.2" for line in proxy.audit())


def test_dig(awsocks, dns):
    """dig asks a local port, which a forwarder made of PySocks carries through awsocks."""
    proxy = awsocks(*DIRECT)
    with pysocks(proxy) as far, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as near:
        near.bind(("127.0.0.1", 0))
        near.settimeout(harness.LIMIT_S)

        def forward():
            for _ in range(3):
                data, peer = near.recvfrom(4096)
                far.sendto(data, ("127.0.0.2", dns.port))
                near.sendto(far.recvfrom(4096)[0], peer)
        t = threading.Thread(target=forward)
        t.start()
        for name in ("a", "b", "c"):
            r = subprocess.run(["dig", "+short", "+tries=1", f"+time={harness.LIMIT_S}", "@127.0.0.1",
                                "-p", str(near.getsockname()[1]), f"{name}.example.test"],
                               capture_output=True, timeout=2 * harness.LIMIT_S, check=True)
            assert r.stdout == b"192.0.2.7\n"
        t.join(harness.LIMIT_S)


def test_ten_thousand_datagrams_each_way(awsocks, echo):
    """None is lost or doubled while the test itself sends no more than the sockets' buffers hold. Two may change
    places: a sender that is moved to another processor overtakes itself there."""
    total, window = 10000, 32
    proxy = awsocks(*DIRECT)
    reply, tcp, near = associate(proxy.listener)
    assert reply == 0
    with tcp, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        s.settimeout(harness.LIMIT_S)
        s.connect(near)
        head = header(*echo)
        text = bytes(range(256)) * 6
        sent, got = 0, set()
        while len(got) < total:
            while sent < total and sent - len(got) < window:
                s.send(head + struct.pack(">I", sent) + text[:sent % 1400])
                sent += 1
            answer = s.recv(4096)
            assert answer[:len(head)] == head
            number, = struct.unpack_from(">I", answer, len(head))
            assert number < sent and number not in got and answer[len(head) + 4:] == text[:number % 1400]
            got.add(number)
    harness.wait_for(lambda: len(proxy.audit()) == 2, what="the association's last line")
    last = proxy.audit()[-1]
    size = sum(4 + i % 1400 for i in range(total))
    assert (last["bytes_up"], last["bytes_down"]) == (size, size) and "dropped" not in last


def test_ipv6(awsocks):
    proxy = awsocks(*DIRECT, listen="[::1]:0")
    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as server:
        server.settimeout(harness.LIMIT_S)
        server.bind(("::1", 0))
        reply, tcp, near = associate(proxy.listener)
        assert reply == 0 and near[0] == "::1"
        with tcp, socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as s:
            s.settimeout(harness.LIMIT_S)
            head = header("::1", server.getsockname()[1])
            s.sendto(head + b"question", near)
            data, peer = server.recvfrom(100)
            assert data == b"question"
            server.sendto(b"answer", peer)
            assert s.recv(100) == head + b"answer"


def test_rules_judge_each_datagram_and_a_reload_counts(awsocks, echo, tmp_path):
    rules = tmp_path / "rules.yaml"
    rules.write_text("default: direct\n")
    proxy = awsocks("--rules", str(rules))
    reply, tcp, near = associate(proxy.listener)
    assert reply == 0

    def last_line():
        return ([line for line in proxy.audit() if line.get("host") == "127.0.0.1"] or [{}])[-1]
    with tcp, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s, \
            socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        other.bind(("127.0.0.3", 0))
        s.settimeout(harness.LIMIT_S)
        other.settimeout(harness.LIMIT_S)
        s.sendto(header(*echo) + b"allowed", near)
        assert s.recv(100) == header(*echo) + b"allowed"
        for text, action in (("block: ['127.0.0.1']\n", "block"), ("proxy: ['127.0.0.1']\n", "refuse")):
            rules.write_text("default: direct\n" + text)
            harness.run([harness.program("awsocks"), "reload"], env=proxy.env)
            s.sendto(header(*echo) + b"refused now", near)
            s.sendto(header(*other.getsockname()) + b"next", near)
            assert other.recv(100) == b"next"
            # "next" may have overtaken the one before it: see the ten thousand.
            harness.wait_for(lambda action=action: last_line().get("action") == action, what="its line")
            assert last_line()["error"]
        rules.write_text("default: direct\n")
        harness.run([harness.program("awsocks"), "reload"], env=proxy.env)
        s.sendto(header(*echo) + b"again", near)
        assert s.recv(100) == header(*echo) + b"again"


@pytest.mark.parametrize("options", [("--route-default", "proxy"), ("--route-default", "block"),
                                     ("--route-proxy", "*.example.test")], ids=" ".join)
def test_reply_7_where_nothing_is_direct(awsocks, options):
    proxy = awsocks(*options)
    reply, tcp, _ = associate(proxy.listener)
    assert reply == 7
    assert tcp.recv(1) == b""
    tcp.close()
    with pysocks(proxy) as s, pytest.raises(socks.SOCKS5Error, match="Command not supported"):
        s.sendto(b"x", ("127.0.0.1", 53))
    assert {line["action"] for line in proxy.audit()} == {"refuse"}
    assert "only direct can carry UDP" in proxy.audit()[0]["error"]


def test_associations_of_several_workers(awsocks, echo, dns):
    """Each is served by the loop that its connection came to, with sockets of its own; counts and ids are whole."""
    count = 32                                  # that one of two workers gets none of them: once in 10^9
    proxy = awsocks(*DIRECT, "--workers", "2", "--max-connections", str(count))
    before = len(proxy.descriptors())
    with contextlib.ExitStack() as stack:
        ends = []
        for _ in range(count):
            reply, tcp, near = associate(proxy.listener)
            assert reply == 0
            s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            ends += [(stack.enter_context(tcp), stack.enter_context(s), near)]
            s.settimeout(harness.LIMIT_S)
        status = proxy.status()
        assert status["connections"] == status["listeners"][0]["connections"] == count
        assert all(w["connections"] for w in status["per_worker"]), status
        waiting = stack.enter_context(client.dial(proxy.listener))      # an association has a place in the limits
        waiting.sendall(b"\5\1\0")
        for i, (_, s, near) in enumerate(ends):                          # all under way at once
            s.sendto(header("localhost", echo[1]) + b"datagram %d" % i, near)
            s.sendto(header("127.0.0.2", dns.port) + query("a.example.test", i), near)
        for i, (_, s, _) in enumerate(ends):
            got = {s.recv(600) for _ in range(2)}
            assert header(*echo) + b"datagram %d" % i in got
            assert any(one.startswith(header("127.0.0.2", dns.port) + struct.pack(">H", i)) for one in got)
        assert proxy.status()["connections"] == count
        ends[0][0].close()
        assert client.read_exactly(waiting, 2) == b"\5\0"
    harness.wait_for(lambda: proxy.status()["connections"] == 0, what="the associations to end")
    harness.wait_for(lambda: proxy.status()["listeners"][0]["connections"] == 0, what="their places to be free")
    harness.wait_for(lambda: len(proxy.descriptors()) <= before, what="descriptors to be closed")
    lines = [line for line in proxy.audit() if line["proto"] == "socks5-udp"]
    ids = {line["id"] for line in lines}
    assert len(ids) == count and len(lines) == 3 * count
    for one in ids:
        hosts = {line.get("host") for line in lines if line["id"] == one}
        assert hosts == {"localhost", "127.0.0.2", None}
    proxy.stop()


def test_reply_7_on_a_unix_listener(awsocks, tmp_path):
    path = str(tmp_path / "s")
    proxy = awsocks(*DIRECT, listen=f"unix:{path}")
    reply, tcp, _ = associate(path)
    assert reply == 7
    tcp.close()
    assert "Unix socket" in proxy.audit()[0]["error"]


def test_the_host_guard_stands_before_udp_too(awsocks, echo, tmp_path):
    """A listener that a VM could reach: this host's own addresses are not for its clients."""
    proxy = awsocks(*DIRECT, listen="127.0.0.1:0")
    folder = os.path.join(proxy.env["XDG_CONFIG_HOME"], "awsocks")
    assert proxy.stop() == 0
    os.makedirs(folder, exist_ok=True)
    with open(os.path.join(folder, "config.yaml"), "w", encoding="utf-8") as f:
        f.write("listeners:\n  - { address: '127.0.0.1:0', guard: true, name: guarded }\n")
    proxy = awsocks(*DIRECT, listen=None, env={"XDG_CONFIG_HOME": proxy.env["XDG_CONFIG_HOME"]})
    reply, tcp, near = associate(proxy.listener)
    assert reply == 0
    with tcp, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        for host in ("127.0.0.1", "localhost"):
            s.sendto(header(host, echo[1]) + b"not for you", near)
        harness.wait_for(lambda: len(proxy.audit()) >= 2, what="both refusals")
    lines = proxy.audit()[:2]
    assert {line["host"] for line in lines} == {"127.0.0.1", "localhost"}
    for line in lines:
        assert line["action"] == "refuse" and "host guard" in line["error"]


def test_nothing_stays_open(awsocks, echo):
    proxy = awsocks(*DIRECT)
    before = len(proxy.descriptors())
    for turn in range(30):
        reply, tcp, near = associate(proxy.listener)
        assert reply == 0
        with tcp, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
            s.settimeout(harness.LIMIT_S)
            s.sendto(header(*echo) + b"x", near)
            assert s.recv(100) == header(*echo) + b"x"
            if turn % 2:
                tcp.shutdown(socket.SHUT_WR)
                assert tcp.recv(1) == b""
    harness.wait_for(lambda: len(proxy.descriptors()) <= before, what="descriptors to be closed")


def test_a_stop_ends_open_associations(awsocks, echo):
    proxy = awsocks(*DIRECT, "--grace", "60s")
    open_ones = [associate(proxy.listener) for _ in range(20)]
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        s.settimeout(harness.LIMIT_S)
        s.sendto(header(*echo) + b"x", open_ones[0][2])
        assert s.recv(100) == header(*echo) + b"x"
        proxy.signal(signal.SIGTERM)
        for _, tcp, _ in open_ones:
            assert tcp.recv(1) == b""
            tcp.close()
    harness.wait_for(lambda: not proxy.running(), what="the proxy to end")
    assert proxy.child.returncode == 0
    assert sum("stopping" in line.get("error", "") for line in proxy.audit()) == 20


def test_status_counts_associations(awsocks):
    proxy = awsocks(*DIRECT)
    _, tcp, _ = associate(proxy.listener)
    assert proxy.status()["connections"] == 1
    tcp.close()
    harness.wait_for(lambda: proxy.status()["connections"] == 0, what="the association to end")
    assert [line["action"] for line in proxy.audit()] == ["allow"]
