"""What strangers send to a listener: cut at every byte, oversized, in single bytes, of the wrong version.
Each must get the right refusal or the right success, never a hang; the proxy lives on, and nothing
reaches a server that should not."""
import collections
import contextlib
import re
import socket
import struct

import client
import harness
import pytest

DIRECT = ("--route-default", "block", "--route-direct", "127.0.0.0/8", "--route-direct", "localhost")


def at(proxy):
    return "127.0.0.1", proxy.ready["listeners"][0]["port"]


def refusal5(code):
    return b"\x05\x00" + bytes([5, code, 0, 1]) + bytes(6)


def socks5(host, port, head=b"\x05\x01\x00\x03"):
    return b"\x05\x01\x00" + head + bytes([len(host)]) + host + struct.pack(">H", port)


SOCKS = [
    ("no acceptable method", b"\x05\x01\x02", b"\x05\xff"),
    ("no methods at all", b"\x05\x00", b"\x05\xff"),
    ("empty name", socks5(b"", 80), refusal5(1)),
    ("NUL in the name", socks5(b"local\0host", 80), refusal5(1)),
    ("percent in the name", socks5(b"localhost%00", 80), refusal5(1)),
    ("slash in the name", socks5(b"localhost/x", 80), refusal5(1)),
    ("name of 255 bytes", socks5(b"n" * 255, 80), refusal5(1)),
    ("bytes that are no text", socks5(b"\xff\xfe\x80", 80), refusal5(1)),
    ("port 0", socks5(b"localhost", 0), refusal5(1)),
    ("BIND", socks5(b"localhost", 80, b"\x05\x02\x00\x03"), refusal5(7)),
    ("UDP ASSOCIATE, blocked", socks5(b"blocked.example", 80, b"\x05\x03\x00\x03"), refusal5(2)),
    ("UDP ASSOCIATE, NUL in the name", socks5(b"local\0host", 80, b"\x05\x03\x00\x03"), refusal5(1)),
    ("UDP ASSOCIATE, empty name", socks5(b"", 80, b"\x05\x03\x00\x03"), refusal5(1)),
    ("unknown command", socks5(b"localhost", 80, b"\x05\x7f\x00\x03"), refusal5(7)),
    ("unknown address type", socks5(b"localhost", 80, b"\x05\x01\x00\x02"), refusal5(8)),
    ("version 4 within 5", socks5(b"localhost", 80, b"\x04\x01\x00\x03"), refusal5(1)),
    ("blocked", socks5(b"blocked.example", 80), refusal5(2)),
    ("255 methods, none of ours", b"\x05\xff" + bytes(range(1, 256)), b"\x05\xff"),
    ("tab in the name", socks5(b"local\thost", 80), refusal5(1)),
    ("user in the name", socks5(b"a@localhost", 80), refusal5(1)),
    ("port in the name", socks5(b"localhost:80", 80), refusal5(1)),
    ("dots only", socks5(b"..", 80), refusal5(1)),
    ("number that is no address", socks5(b"1.2.3.4.5", 80), refusal5(1)),
    ("scoped address", socks5(b"fe80::1%lo", 80), refusal5(1)),
    ("4a: slash in the name", b"\x04\x01\x00\x50\x00\x00\x00\x01u\x00local/host\x00", b"\x00\x5b" + bytes(6)),
    ("4: port 0", b"\x04\x01\x00\x00\x7f\x00\x00\x01\x00", b"\x00\x5b" + bytes(6)),
    ("4: unknown command", b"\x04\x00\x00\x50\x7f\x00\x00\x01\x00", b"\x00\x5b" + bytes(6)),
    ("4: blocked", b"\x04\x01\x00\x50\x00\x00\x00\x01u\x00blocked.example\x00", b"\x00\x5b" + bytes(6)),
    ("4: BIND", b"\x04\x02\x00\x50\x7f\x00\x00\x01\x00", b"\x00\x5b" + bytes(6)),
    ("4: user id without end", b"\x04\x01\x00\x50\x7f\x00\x00\x01" + b"u" * 300, b"\x00\x5b" + bytes(6)),
    ("4a: empty name", b"\x04\x01\x00\x50\x00\x00\x00\x01u\x00\x00", b"\x00\x5b" + bytes(6)),
    ("4a: name without end", b"\x04\x01\x00\x50\x00\x00\x00\x01u\x00" + b"n" * 300, b"\x00\x5b" + bytes(6)),
]
HTTP = [
    ("TLS", b"\x16\x03\x01\x02\x00\x01\x00", 400),
    ("binary", bytes(range(6, 256)), 400),
    ("0.9", b"GET http://localhost/\r\n", 400),
    ("2.0 preface", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 501),
    ("version 1.7", b"GET http://localhost/ HTTP/1.7\r\n\r\n", 501),
    ("origin form", b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n", 400),
    ("https", b"GET https://localhost/ HTTP/1.1\r\n\r\n", 501),
    ("user in the target", b"GET http://a:b@localhost/ HTTP/1.1\r\n\r\n", 400),
    ("no host", b"GET http:///x HTTP/1.1\r\n\r\n", 400),
    ("port 65536", b"CONNECT localhost:65536 HTTP/1.1\r\n\r\n", 400),
    ("CONNECT without port", b"CONNECT localhost HTTP/1.1\r\n\r\n", 400),
    ("CONNECT with body", b"CONNECT localhost:1 HTTP/1.1\r\nContent-Length: 1\r\n\r\nx", 400),
    ("NUL in the host", b"CONNECT local\0host:1 HTTP/1.1\r\n\r\n", 400),
    ("length and chunked",
     b"POST http://localhost/ HTTP/1.1\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
    ("two lengths", b"POST http://localhost/ HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab", 400),
    ("chunked twice", b"POST http://localhost/ HTTP/1.1\r\nTransfer-Encoding: chunked, chunked\r\n\r\n", 501),
    ("blank before the colon", b"GET http://localhost/ HTTP/1.1\r\nContent-Length : 1\r\n\r\nx", 400),
    ("folded", b"GET http://localhost/ HTTP/1.1\r\nA: b\r\n c: d\r\n\r\n", 400),
    ("bare line feed", b"GET http://localhost/ HTTP/1.1\nA: b\n\n", 400),
    ("bare carriage return", b"GET http://localhost/ HTTP/1.1\r\nA: b\rC: d\r\n\r\n", 400),
    ("two hosts", b"GET http://localhost/ HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400),
    ("head of 100 KiB", b"GET http://localhost/ HTTP/1.1\r\nA: " + b"a" * 102400 + b"\r\n\r\n", 431),
    ("1000 fields", b"GET http://localhost/ HTTP/1.1\r\n" + b"a: b\r\n" * 1000 + b"\r\n", 431),
    ("NUL in the target", b"GET http://localhost/\0 HTTP/1.1\r\n\r\n", 400),
    ("NUL in a value", b"GET http://localhost/ HTTP/1.1\r\nA: b\0c\r\n\r\n", 400),
    ("NUL in a name", b"GET http://localhost/ HTTP/1.1\r\nA\0: b\r\n\r\n", 400),
    ("empty field name", b"GET http://localhost/ HTTP/1.1\r\n: b\r\n\r\n", 400),
    ("empty host with port", b"GET http://:80/ HTTP/1.1\r\n\r\n", 400),
    ("port 0 in the target", b"GET http://localhost:0/ HTTP/1.1\r\n\r\n", 400),
    ("letters in the port", b"GET http://localhost:8o/ HTTP/1.1\r\n\r\n", 400),
    ("percent in the host", b"GET http://local%68ost/ HTTP/1.0\r\n\r\n", 400),
    ("backslash in the host", b"GET http://blocked.example\\.localhost/ HTTP/1.0\r\n\r\n", 400),
    ("backslash and user", b"GET http://localhost\\@blocked.example/ HTTP/1.1\r\n\r\n", 400),
    ("fragment", b"GET http://localhost/#x HTTP/1.1\r\n\r\n", 400),
    ("two blanks", b"GET  http://localhost/ HTTP/1.1\r\n\r\n", 400),
    ("tab for blank", b"GET\thttp://localhost/ HTTP/1.1\r\n\r\n", 400),
    ("two empty lines before", b"\r\n\r\nGET http://localhost/ HTTP/1.1\r\n\r\n", 400),
    ("negative length", b"POST http://localhost/ HTTP/1.1\r\nContent-Length: -1\r\n\r\n", 400),
    ("signed length", b"POST http://localhost/ HTTP/1.1\r\nContent-Length: +1\r\n\r\nx", 400),
    ("huge length", b"POST http://localhost/ HTTP/1.1\r\nContent-Length: 18446744073709551617\r\n\r\nx", 400),
    ("list of lengths", b"POST http://localhost/ HTTP/1.1\r\nContent-Length: 1, 1\r\n\r\nx", 400),
    ("same length twice", b"POST http://localhost/ HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\nx", 400),
    ("chunked in 1.0", b"POST http://localhost/ HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
    ("gzip, chunked", b"POST http://localhost/ HTTP/1.1\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", 501),
    ("chunked with a tail", b"POST http://localhost/ HTTP/1.1\r\nTransfer-Encoding: chunked;x\r\n\r\n0\r\n\r\n", 501),
    ("CONNECT with a path", b"CONNECT localhost:1/x HTTP/1.1\r\n\r\n", 400),
    ("CONNECT with a scheme", b"CONNECT http://localhost:1 HTTP/1.1\r\n\r\n", 400),
    ("CONNECT with a user", b"CONNECT a@localhost:1 HTTP/1.1\r\n\r\n", 400),
    ("CONNECT to port 0", b"CONNECT localhost:0 HTTP/1.1\r\n\r\n", 400),
    ("CONNECT to two ports", b"CONNECT localhost:1:2 HTTP/1.1\r\n\r\n", 400),
    ("CONNECT to bare IPv6", b"CONNECT ::1:80 HTTP/1.1\r\n\r\n", 400),
    ("CONNECT to a name in brackets", b"CONNECT [a:b]:80 HTTP/1.1\r\n\r\n", 400),
    ("CONNECT to an open bracket", b"CONNECT [::1:80 HTTP/1.1\r\n\r\n", 400),
    ("CONNECT, chunked", b"CONNECT localhost:1 HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
    ("blocked", b"GET http://blocked.example/ HTTP/1.0\r\n\r\n", 403),
    ("blocked CONNECT", b"CONNECT blocked.example:443 HTTP/1.1\r\n\r\n", 403),
]


def all_of(s):
    """All that comes until the other side closes, by a reset too: it had more to read."""
    got = b""
    with contextlib.suppress(ConnectionResetError):
        while piece := s.recv(65536):
            got += piece
    return got


def exchange(listener, data, single):
    """All that comes back until the proxy closes."""
    with client.dial(listener) as s:
        s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            for i in range(0, len(data), 1 if single else len(data)):
                s.sendall(data[i:i + (1 if single else len(data))])
        except OSError:
            pass    # refused before the last byte
        return all_of(s)


@pytest.mark.parametrize("single", [False, True], ids=["whole", "single bytes"])
def test_socks_table(awsocks, single):
    proxy = awsocks(*DIRECT)
    for name, data, want in SOCKS:
        got = exchange(at(proxy), data, single)
        assert got == want, (name, got)
    assert proxy.running()
    harness.wait_for(lambda: len(proxy.audit()) >= len(SOCKS), what="the audit lines")
    lines = proxy.audit()
    assert len(lines) == len(SOCKS)
    assert {line["action"] for line in lines} == {"refuse", "block"}


@pytest.mark.parametrize("single", [False, True], ids=["whole", "single bytes"])
def test_http_table(awsocks, single):
    proxy = awsocks(*DIRECT)
    for name, data, want in HTTP:
        if single and len(data) > 1000:
            continue
        got = exchange(at(proxy), data, single)
        assert got.startswith(f"HTTP/1.1 {want} ".encode()), (name, got[:200])
        assert b"\r\nX-Awsocks-Reason: " in got and b"\r\nConnection: close\r\n" in got, (name, got[:300])
    assert proxy.running()


def test_cut_at_every_byte(awsocks):
    """The client goes away in the middle: nothing is dialled, nothing stays."""
    proxy = awsocks(*DIRECT)

    def descriptors():
        """How many there are of each kind."""
        return collections.Counter(re.sub(r"\d+", "N", d) for d in proxy.descriptors())
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.setblocking(False)
        port = server.getsockname()[1]
        before = descriptors()
        for whole in (socks5(b"localhost", port),
                      b"\x04\x01" + struct.pack(">H", port) + b"\x00\x00\x00\x01me\x00localhost\x00",
                      b"CONNECT localhost:%d HTTP/1.1\r\nHost: x\r\n\r\n" % port,
                      b"GET http://localhost:%d/ HTTP/1.1\r\nHost: x\r\n\r\n" % port):
            for n in range(len(whole)):
                with client.dial(at(proxy)) as s:
                    s.sendall(whole[:n])
                    s.shutdown(socket.SHUT_WR)
                    try:
                        while s.recv(4096):
                            pass
                    except ConnectionResetError:
                        pass
        with pytest.raises(BlockingIOError):
            server.accept()
        harness.wait_for(lambda: not descriptors() - before, what="descriptors to be closed")


def test_single_bytes_and_early_data_succeed(awsocks):
    proxy = awsocks(*DIRECT)
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(harness.LIMIT_S)
        port = server.getsockname()[1]
        granted = b"\x05\x00\x05\x00\x00\x01" + bytes(6)
        for head, answer in ((socks5(b"LOCALHOST.", port), granted),
                             (b"\x04\x01" + struct.pack(">H", port) + b"\x00\x00\x00\x01\x00localhost\x00",
                              b"\x00\x5a" + bytes(6)),
                             (b"CONNECT 127.1:%d HTTP/1.1\r\n\r\n" % port,
                              b"HTTP/1.1 200 Connection established\r\n\r\n")):
            for single in (False, True):
                with client.dial(at(proxy)) as s:
                    data = head + b"early"
                    if single:
                        s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                        for i in range(len(data)):
                            s.sendall(data[i:i + 1])
                    else:
                        s.sendall(data)
                    far, _ = server.accept()
                    with far:
                        far.settimeout(harness.LIMIT_S)
                        assert client.read_exactly(s, len(answer)) == answer
                        assert client.read_exactly(far, 5) == b"early"
                        s.shutdown(socket.SHUT_WR)
                        assert far.recv(1) == b""
                        far.sendall(b"late answer")
                        far.shutdown(socket.SHUT_WR)
                        assert client.read_to_end(s) == b"late answer"


def test_pipelined_requests_are_each_decided(awsocks):
    """The second of two requests in one segment is for a blocked host: it is refused, the third is served."""
    proxy = awsocks(*DIRECT)
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(harness.LIMIT_S)
        port = server.getsockname()[1]
        good = b"GET http://127.0.0.1:%d/ HTTP/1.1\r\n\r\n" % port
        with client.dial(at(proxy)) as s:
            s.sendall(good + b"GET http://blocked.example/ HTTP/1.1\r\n\r\n" + good)
            for _ in range(2):
                far, _ = server.accept()
                with far:
                    far.settimeout(harness.LIMIT_S)
                    assert client.read_head(far).startswith(b"GET / HTTP/1.1\r\n")
                    far.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
            s.shutdown(socket.SHUT_WR)
            answers = client.read_to_end(s)
    assert answers.count(b"HTTP/1.1 200 OK\r\n") == 2 and answers.count(b"HTTP/1.1 403 ") == 1
    harness.wait_for(lambda: len(proxy.audit()) >= 3, what="the audit lines")
    assert [line["action"] for line in proxy.audit()] == ["allow", "block", "allow"]


def test_slow_handshake_is_ended(awsocks):
    proxy = awsocks(*DIRECT, "--handshake-timeout", "1500ms")
    assert exchange(at(proxy), b"\x05\x01\x00\x05\x01", False) == refusal5(6)
    assert exchange(at(proxy), b"GET http://localh", False).startswith(b"HTTP/1.1 408 ")
    assert exchange(at(proxy), b"\x05", False) == b"\x05\xff"


def test_a_refusal_behind_head_has_its_body(awsocks, web):
    """Only the answer to HEAD itself is without one."""
    proxy = awsocks(*DIRECT)
    head = b"HEAD http://127.0.0.1:%d/bytes/3 HTTP/1.1\r\n\r\n" % web.port
    for data in (b"CONNECT blocked.example:443 HTTP/1.1\r\n\r\n", b"nonsense\r\n"):
        with client.dial(at(proxy)) as s:
            s.sendall(head + data)
            client.read_head(s)
            answer = client.read_head(s).decode()
            size = int(answer.split("Content-Length: ")[1].split()[0])
            assert len(all_of(s)) == size > 0


BODIES = [
    ("no size", b"x\r\n"),
    ("size of 16 digits", b"0000000000000001\r\nx\r\n0\r\n\r\n"),
    ("minus", b"-1\r\nx\r\n"),
    ("bare line feed", b"1\nx\r\n0\r\n\r\n"),
    ("more than the size", b"1\r\nxx\r\n0\r\n\r\n"),
    ("NUL in an extension", b"1;\0\r\nx\r\n0\r\n\r\n"),
    ("endless extension", b"1;" + b"a" * 5000 + b"\r\nx\r\n0\r\n\r\n"),
    ("bad trailer", b"0\r\nno colon\r\n\r\n"),
    ("folded trailer", b"0\r\nA: b\r\n c\r\n\r\n"),
]


@pytest.mark.parametrize("name,body", BODIES, ids=[b[0] for b in BODIES])
def test_a_malformed_chunked_body_does_not_leave(awsocks, name, body):
    """The request is answered with 400, the server's connection is broken, and the rest is no request."""
    proxy = awsocks(*DIRECT)
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(harness.LIMIT_S)
        url = b"http://127.0.0.1:%d" % server.getsockname()[1]
        with client.dial(at(proxy)) as s:
            s.sendall(b"POST %s/a HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n" % url)
            far, _ = server.accept()
            with far:
                far.settimeout(harness.LIMIT_S)
                assert client.read_head(far).startswith(b"POST /a ")
                s.sendall(body + b"GET %s/smuggled HTTP/1.1\r\n\r\n" % url)
                assert all_of(s).startswith(b"HTTP/1.1 400 "), name
                seen = all_of(far)
                assert b"smuggled" not in seen and not seen.endswith(b"0\r\n\r\n")


def test_odd_notations_are_what_they_mean(awsocks):
    """Whatever getaddrinfo() would take for 127.0.0.1 falls under the rule for it."""
    proxy = awsocks("--route-default", "direct", "--route-block", "127.0.0.0/8", "--route-block", "localhost",
                    "--route-block", "::1")
    for host in ("127.0.0.1", "127.1", "0x7f.1", "0177.0.0.1", "2130706433", "0x7f000001", "127.0.0.1.", "LOCALHOST",
                 "localhost.", "\uff11\uff12\uff17.0.0.1", "\u24db\u24de\u24d2\u24d0\u24db\u24d7\u24de\u24e2\u24e3"):
        raw = host.encode()
        got = exchange(at(proxy), b"\x05\x01\x00\x05\x01\x00\x03" + bytes([len(raw)]) + raw + b"\x00\x50", False)
        assert got == refusal5(2), (host, got)
        if host.isascii():
            for request in (f"GET http://{host}/ HTTP/1.0\r\n\r\n", f"CONNECT {host}:80 HTTP/1.1\r\n\r\n"):
                got = exchange(at(proxy), request.encode(), False)
                assert got.startswith(b"HTTP/1.1 403 "), (request, got)
    for host in ("[::1]", "[0:0::0:1]", "[::ffff:127.0.0.1]", "[::FFFF:7f00:1]"):
        for request in (f"GET http://{host}/ HTTP/1.0\r\n\r\n", f"CONNECT {host}:80 HTTP/1.1\r\n\r\n"):
            got = exchange(at(proxy), request.encode(), False)
            assert got.startswith(b"HTTP/1.1 403 "), (request, got)
    assert {line["action"] for line in proxy.audit()} == {"block"}
