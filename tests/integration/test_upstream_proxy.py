"""The proxy in front of AWS: HTTPS_PROXY, HTTP_PROXY and NO_PROXY for REST and the data channel alike.

Real proxies: tinyproxy with Basic authentication, another awsocks, and for https:// a small one here.
"""
import base64
import re
import select
import shutil
import socket
import socketserver
import ssl
import threading

import pytest

import harness
from conftest import clean_environment

USER, PASSWORD = "some user", "p:a/s s%@"
QUOTED = "some%20user:p%3Aa%2Fs%20s%25%40@"


class Tinyproxy(harness.Process):
    def __init__(self, folder, password="letmein"):
        self.port = harness.free_port()
        config = folder / "tinyproxy.conf"
        config.write_text(f"Port {self.port}\nListen 127.0.0.1\nTimeout 600\nMaxClients 100\nLogLevel Connect\n"
                          f"Allow 127.0.0.1\nBasicAuth alice {password}\nDisableViaHeader Yes\n")
        super().__init__([shutil.which("tinyproxy"), "-d", "-c", config], folder, "tinyproxy",
                         clean_environment(folder))
        self.url = f"http://alice:{password}@127.0.0.1:{self.port}"
        self.wait_for(self.answers, what="tinyproxy")

    def answers(self):
        with socket.socket() as s:
            return s.connect_ex(("127.0.0.1", self.port)) == 0

    def tunnels(self):
        return re.findall(r"Request \(file descriptor \d+\): CONNECT (\S+)", self.log())


@pytest.fixture
def tinyproxy(tmp_path, processes):
    if not shutil.which("tinyproxy"):
        pytest.skip("no tinyproxy here (make setup installs it)")
    folder = tmp_path / "tinyproxy"
    folder.mkdir()
    p = Tinyproxy(folder)
    processes.append(p)
    return p


class TlsProxy(socketserver.ThreadingTCPServer):
    """CONNECT and nothing else, over TLS, for one user."""
    allow_reuse_address = daemon_threads = True

    def __init__(self, context):
        self.context, self.tunnels, self.answer = context, [], None
        super().__init__(("127.0.0.1", 0), None)
        self.port = self.server_address[1]
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def finish_request(self, request, client_address):
        with self.context.wrap_socket(request, server_side=True) as s:
            self.serve(s)

    def handle_error(self, request, client_address):
        pass                            # a client that goes away

    def serve(self, s):
        head = b""
        while b"\r\n\r\n" not in head:
            piece = s.recv(4096)
            if not piece:
                return
            head += piece
        lines = head.decode().split("\r\n")
        want = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
        if self.answer:
            s.sendall(self.answer)
            return
        if f"Proxy-Authorization: Basic {want}" not in lines:
            s.sendall(b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n")
            return
        host, port = lines[0].split()[1].rsplit(":", 1)
        self.tunnels.append(f"{host}:{port}")
        with socket.create_connection((host, int(port))) as far:
            s.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
            s.setblocking(False)
            far.setblocking(False)
            relay(s, far)


def relay(tls, far, seen_up=None, seen_down=None):
    """Both ways until either has ended and what it said has been passed on. Non-blocking TLS, by one thread (two may
    not use one connection): what waits is tried again. `seen_up`, `seen_down`: bytearrays that get a copy."""
    up, down, over = b"", b"", None
    while not over or (up if over is tls else down):
        reading = [x for x, waits in ((tls, up), (far, down)) if x is not over and len(waits) < 1 << 20]
        writing = [x for x, waits in ((far, up), (tls, down)) if waits]
        more = tls in reading and tls.pending()
        ready, writable, _ = select.select([] if more else reading, writing, [], 0 if more else 1)
        try:
            if tls in ready or more:
                data = tls.recv(65536)
                over = over if data else tls
                up += data
                if seen_up is not None:
                    seen_up += data
        except ssl.SSLWantReadError:
            pass
        if far in ready:
            data = far.recv(65536)
            over = over if data else far
            down += data
            if seen_down is not None:
                seen_down += data
        try:
            if far in writable:
                up = up[far.send(up):]
            if tls in writable:
                down = down[tls.send(down):]
        except (ssl.SSLWantWriteError, BlockingIOError):
            pass


@pytest.fixture
def tls_proxy(authority):
    server = TlsProxy(authority.context("localhost"))
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture
def proxied(awsocks, localaws, tmp_path, authority):
    """proxied(proxy's URL, tls=...) -> (awsocks, emulator) with that proxy before AWS."""
    def start(url, *options, tls=False, names=("HTTPS_PROXY", "HTTP_PROXY"), listen="127.0.0.1:0", **env):
        aws = localaws("--resolve", "web.internal.example=127.0.0.1", *(["--tls"] if tls else []))
        if tls:
            both = tmp_path / "both.pem"
            with open(aws.ready["ca"], encoding="ascii") as one, open(authority.ca, encoding="ascii") as two:
                both.write_text(one.read() + two.read())
            env["AWS_CA_BUNDLE"] = str(both)
        elif "ca" in env:
            env["AWS_CA_BUNDLE"] = env["ca"]
        env.pop("ca", None)
        return awsocks("--route-default", "proxy", *options, aws=aws, listen=listen,
                       env={**{n: url for n in names}, **env}), aws
    return start


def works(proxy, web, size=300000):
    url = f"http://web.internal.example:{web.port}/bytes/{size}"
    r = harness.run(["curl", "-sS", "--proxy", proxy.url(), url, "--max-time", str(harness.LIMIT_S)], check=False)
    return r.returncode == 0 and len(r.stdout) == size


@pytest.mark.parametrize("tls", [False, True])
@pytest.mark.parametrize("names", [("HTTPS_PROXY", "HTTP_PROXY"), ("https_proxy", "http_proxy")])
def test_rest_and_data_channel_go_through_the_proxy(proxied, tinyproxy, web, tls, names):
    proxy, aws = proxied(tinyproxy.url, "--sessions", "1", tls=tls, names=names)
    assert works(proxy, web), proxy.log()
    at = aws.endpoint.split("//")[1]
    assert len(tinyproxy.tunnels()) >= 2 and set(tinyproxy.tunnels()) == {at}
    stats = aws.stats()
    assert stats["StartSession"] == 1 and stats["OpenDataChannel"] == 1
    assert tinyproxy.running() and "letmein" not in proxy.log()


def test_a_tls_proxy(proxied, tls_proxy, web):
    proxy, aws = proxied(f"https://{QUOTED}localhost:{tls_proxy.port}", tls=True)
    assert works(proxy, web, 3000000), proxy.log()
    assert set(tls_proxy.tunnels) == {aws.endpoint.split("//")[1]}


def test_a_tls_proxy_before_plain_endpoints(proxied, tls_proxy, web, authority):
    proxy, _ = proxied(f"https://{QUOTED}localhost:{tls_proxy.port}", ca=authority.ca)
    assert works(proxy, web), proxy.log()
    assert len(tls_proxy.tunnels) >= 2


def test_a_tls_proxy_that_nobody_vouches_for(proxied, tls_proxy, web):
    proxy, _ = proxied(f"https://{QUOTED}localhost:{tls_proxy.port}")
    assert not works(proxy, web)
    assert f"proxy localhost:{tls_proxy.port} (HTTP_PROXY): TLS: certificate not accepted" in proxy.log()
    assert tls_proxy.tunnels == []


@pytest.mark.parametrize("password", ["wrong", None])
def test_a_wrong_password_is_said(proxied, tinyproxy, web, password):
    url = f"http://alice:{password}@127.0.0.1:{tinyproxy.port}" if password else f"http://127.0.0.1:{tinyproxy.port}"
    proxy, aws = proxied(url)
    assert not works(proxy, web)
    assert re.search(r"proxy 127\.0\.0\.1:\d+ \(HTTP_PROXY\): CONNECT was refused: HTTP 40[17]", proxy.log())
    assert "wrong" not in proxy.log() and aws.stats()["requests"] == 0


def test_a_proxy_that_is_not_there(proxied, web):
    port = harness.free_port()
    proxy, aws = proxied(f"http://127.0.0.1:{port}")
    assert not works(proxy, web)
    assert f"proxy 127.0.0.1:{port} (HTTP_PROXY)" in proxy.log() and aws.stats()["requests"] == 0


@pytest.mark.parametrize("no_proxy", ["127.0.0.1", "example.com, 127.0.0.0/8", "*"])
def test_no_proxy(proxied, counter, web, no_proxy):
    proxy, _ = proxied(f"http://127.0.0.1:{counter.port}", NO_PROXY=no_proxy)
    assert works(proxy, web), proxy.log()
    assert counter.count == 0


def test_a_url_that_is_none(proxied, web):
    proxy, _ = proxied("ftp://secret:word@127.0.0.1:1")
    assert not works(proxy, web)
    said = str(proxy.audit()) + proxy.log()
    assert "HTTPS_PROXY: only http://, https:// and socks5:// proxies can be used" in said and "word" not in said


def test_another_awsocks_as_the_proxy(awsocks, proxied, web):
    upstream = awsocks("--route-default", "direct", audit=True)
    proxy, aws = proxied(f"http://{upstream.address}", "--sessions", "1")
    assert works(proxy, web), proxy.log()
    # its sessions are still open: those it has logged are the calls
    harness.wait_for(lambda: len([a for a in upstream.audit() if a.get("host") == "127.0.0.1"]) >= 1)
    assert aws.stats()["OpenDataChannel"] == 1


@pytest.mark.parametrize("listen", ["127.0.0.1", "0.0.0.0"])
def test_never_through_ourselves(proxied, web, listen):
    port = harness.free_port()
    options = ["--allow-from", "127.0.0.0/8"] if listen == "0.0.0.0" else []
    proxy, _ = proxied(f"http://127.0.0.1:{port}", *options, listen=f"{listen}:{port}")
    proxy.address = f"127.0.0.1:{port}"
    assert works(proxy, web), proxy.log()
    assert proxy.log().count("which is a listener of this program") == 1


def test_the_data_channel_at_another_host(localaws, awsocks, web):
    """--ssmmessages-endpoint: a forwarder of ours stands for a VPC endpoint."""
    seen = []

    class Forwarder(socketserver.ThreadingTCPServer):
        daemon_threads = allow_reuse_address = True

        def finish_request(self, request, client_address):
            seen.append(client_address)
            host, port = aws.endpoint.split("//")[1].rsplit(":", 1)
            with socket.create_connection((host, int(port))) as far:
                def pump(a, b):
                    try:
                        while data := a.recv(65536):
                            b.sendall(data)
                    except OSError:
                        pass
                    for s in (a, b):
                        try:
                            s.shutdown(socket.SHUT_RDWR)
                        except OSError:
                            pass
                back = threading.Thread(target=pump, args=(far, request), daemon=True)
                back.start()
                pump(request, far)
                back.join()

    aws = localaws("--resolve", "web.internal.example=127.0.0.1", "--require-signed-ws")
    with Forwarder(("127.0.0.1", 0), None) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        proxy = awsocks("--route-default", "proxy", "--sessions", "1", "--ssmmessages-endpoint",
                        f"ws://127.0.0.1:{server.server_address[1]}", aws=aws)
        assert works(proxy, web), proxy.log()
        assert len(seen) == 1
        proxy.stop()
        server.shutdown()


def test_credentials_go_through_it_too(localaws, tinyproxy, role, tmp_path):
    aws = localaws()
    home = tmp_path / "home"
    home.mkdir()
    env = {**clean_environment(home), **role(aws), "HTTP_PROXY": tinyproxy.url}
    r = harness.run([harness.program("awsocks"), "credentials", "--explain"], env=env)
    assert b"assume role" in r.stdout
    assert tinyproxy.tunnels() == [aws.endpoint.split("//")[1]]
