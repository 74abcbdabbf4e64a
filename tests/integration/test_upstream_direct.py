"""--upstream-proxy: the route direct through a proxy in front of this host. Real peers: tinyproxy, microsocks,
another awsocks with users; and small ones here for what those do not do."""
import contextlib
import http.client
import shutil
import socket
import socketserver
import threading

import pytest

import client
import harness
from cli import Cli
from conftest import clean_environment
from test_upstream_proxy import PASSWORD, QUOTED, USER, TlsProxy, tinyproxy  # noqa: F401
from test_users import line_of

BODY = b"".join(harness.pattern(1000))


@pytest.fixture
def via(awsocks):
    """awsocks with that upstream proxy; the URL by the environment, since it may have a password."""
    def start(url, *options, env=None, **more):
        return awsocks("--route-default", "direct", *options,
                       env={"AWSOCKS_UPSTREAM_PROXY": url, **(env or {})}, **more)
    return start


def fetch(p, url, scheme="socks5h"):
    return client.curl("--proxy", p.url(scheme), url, check=False)


def works(p, web, host="127.0.0.1"):
    return [fetch(p, f"http://{host}:{web.port}/bytes/1000", scheme).stdout == BODY for scheme in ("socks5h", "http")]


def test_http_connect_with_basic(via, tinyproxy, web):  # noqa: F811
    p = via(tinyproxy.url)
    assert works(p, web) == [True, True], p.log()
    assert works(p, web, "localhost") == [True, True]
    assert sorted(set(tinyproxy.tunnels())) == [f"127.0.0.1:{web.port}", f"localhost:{web.port}"]
    assert p.status()["upstream_proxy"] == f"127.0.0.1:{tinyproxy.port}"
    p.stop()
    assert {line["address"] for line in p.audit()} == {f"127.0.0.1:{tinyproxy.port}"}
    assert "letmein" not in p.log() + str(p.audit())


def test_a_wrong_password_is_told(via, tinyproxy, web):  # noqa: F811
    p = via(tinyproxy.url.replace("letmein", "secret7"))
    r = fetch(p, f"http://127.0.0.1:{web.port}/", "http")
    assert b"upstream-proxy" in r.stdout and b"HTTP 40" in r.stdout and b"secret7" not in r.stdout
    assert fetch(p, f"http://127.0.0.1:{web.port}/").returncode == 97


@pytest.fixture
def microsocks(tmp_path, processes):
    if not shutil.which("microsocks"):
        pytest.skip("no microsocks here (make setup installs it)")
    port = harness.free_port()
    p = harness.Process([shutil.which("microsocks"), "-i", "127.0.0.1", "-p", str(port), "-u", "bob", "-P", "word"],
                        tmp_path, "microsocks", clean_environment(tmp_path))
    processes.append(p)

    def answers():
        with socket.socket() as s:
            return s.connect_ex(("127.0.0.1", port)) == 0
    p.wait_for(answers, what="microsocks")
    p.port = port
    return p


def test_socks5_with_a_password(via, microsocks, web):
    p = via(f"socks5://bob:word@127.0.0.1:{microsocks.port}")
    assert works(p, web) == [True, True], p.log()
    assert works(p, web, "localhost") == [True, True]
    wrong = via(f"socks5h://bob:wrong@127.0.0.1:{microsocks.port}")
    with pytest.raises(client.Refused) as e:
        client.socks5(wrong.listener, "127.0.0.1", web.port)
    assert e.value.code == 2


def test_another_awsocks_with_users(via, awsocks, web, tmp_path):
    (tmp_path / "users.yaml").write_text(line_of("alice", "pass word"))
    far = awsocks("--users", str(tmp_path / "users.yaml"), "--route-direct", "localhost", "--route-default", "block")
    for scheme in ("socks5h", "http"):
        p = via(f"{scheme}://alice:pass%20word@{far.address}")
        assert works(p, web, "localhost") == [True, True], p.log()
        with pytest.raises(client.Refused) as e:
            client.socks5(p.listener, "127.0.0.1", web.port)
        assert e.value.code == 2                                    # blocked there, and told so here
        with pytest.raises(client.Refused) as e:
            client.socks5(p.listener, "localhost", harness.free_port())
        assert e.value.code == (5 if scheme == "socks5h" else 4)    # 502 says less
    far.stop()
    assert {line.get("user") for line in far.audit() if "host" in line} == {"alice"}


def test_tls_to_the_proxy(via, authority, web):
    proxy = TlsProxy(authority.context("localhost"))
    try:
        p = via(f"https://{QUOTED}localhost:{proxy.port}", env={"SSL_CERT_FILE": str(authority.ca)})
        r = fetch(p, f"http://127.0.0.1:{web.port}/bytes/1000", "http")
        assert r.stdout == BODY, (r, p.log(), USER, PASSWORD)
        assert proxy.tunnels == [f"127.0.0.1:{web.port}"]
    finally:
        proxy.shutdown()
        proxy.server_close()


class Scripted(socketserver.ThreadingTCPServer):
    """Says what it is told to say, each time after it has heard something."""
    allow_reuse_address = daemon_threads = True

    def __init__(self, *says):
        self.says, self.heard = says, []
        super().__init__(("127.0.0.1", 0), None)
        self.port = self.server_address[1]
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def finish_request(self, request, client_address):
        request.settimeout(harness.LIMIT_S)
        with contextlib.suppress(OSError):
            for text in self.says:
                self.heard.append(request.recv(65536))
                request.sendall(text)
            while request.recv(65536):
                pass


@pytest.fixture
def scripted():
    servers = []

    def start(*says):
        servers.append(Scripted(*says))
        return servers[-1]
    yield start
    for s in servers:
        s.shutdown()
        s.server_close()


OPEN = b"\5\0\0\1\0\0\0\0\0\0"


@pytest.mark.parametrize("scheme, says", [
    ("http", [b"HTTP/1.1 200 OK\r\nX: y\r\n\r\n220 hello\r\n"]),
    ("http", [b"HTTP/1.1 100 Go on\r\n\r\nHTTP/1.1 200 OK\r\n\r\n220 hello\r\n"]),
    ("socks5", [b"\5\0", OPEN + b"220 hello\r\n"]),
    ("socks5", [b"\5\0", b"\5\0\0\3\4abcd\0\0" + b"220 hello\r\n"]),
])
def test_a_server_that_speaks_first(via, scripted, scheme, says):
    server = scripted(*says)
    p = via(f"{scheme}://127.0.0.1:{server.port}")
    with client.socks5(p.listener, "mail.example", 25) as s:
        assert client.read_exactly(s, 11) == b"220 hello\r\n"
    assert b"mail.example" in server.heard[-1]      # by name: it was not resolved here


@pytest.mark.parametrize("scheme, says, socks, http_status", [
    ("socks5", [b"\5\0", b"\5\1\0\1\0\0\0\0\0\0"], 5, 502), ("socks5", [b"\5\0", b"\5\2\0\1\0\0\0\0\0\0"], 2, 403),
    ("socks5", [b"\5\0", b"\5\4\0\1\0\0\0\0\0\0"], 4, 502), ("socks5", [b"\5\0", b"\5\6\0\1\0\0\0\0\0\0"], 6, 504),
    ("socks5", [b"\5\xff"], 2, 403), ("socks5", [b"HTTP/1.1 400 x\r\n\r\n"], 1, 400), ("socks5", [b""], 1, 502),
    ("http", [b"HTTP/1.1 403 Filtered\r\n\r\n"], 2, 403), ("http", [b"HTTP/1.1 504 Late\r\n\r\n"], 6, 504),
    ("http", [b"SSH-2.0-x\r\n"], 1, 400),
])
def test_what_the_proxy_answers_is_passed_on(via, scripted, scheme, says, socks, http_status):
    p = via(f"{scheme}://127.0.0.1:{scripted(*says).port}", "--connect-timeout", "2s" if says == [b""] else "30s")
    with pytest.raises(client.Refused) as e:
        client.socks5(p.listener, "x.example", 443)
    if says == [b""]:
        assert e.value.code == 6                    # it said nothing, for as long as we had
        return
    assert e.value.code == socks
    far = http.client.HTTPConnection(*p.listener)
    far.request("CONNECT", "x.example:443")
    got = far.getresponse()
    assert got.status == http_status and "upstream-proxy" in got.getheader("X-Awsocks-Reason")


def test_exceptions(via, counter, web):
    for options in (["--no-proxy", "127.0.0.0/8", "--no-proxy", "x.example"], ["--no-proxy", "*"]):
        p = via(f"http://127.0.0.1:{counter.port}", *options)
        assert works(p, web) == [True, True]
    assert counter.count == 0


def test_from_the_environment_when_asked(awsocks, scripted, counter, web):
    env = {"ALL_PROXY": f"http://127.0.0.1:{counter.port}", "NO_PROXY": "127.0.0.1"}
    p = awsocks("--route-default", "direct", env=env)
    assert works(p, web) == [True, True] and "upstream_proxy" not in p.status()
    p = awsocks("--route-default", "direct", "--upstream-proxy", "env", env=env)
    assert works(p, web) == [True, True] and p.status()["upstream_proxy"] == f"127.0.0.1:{counter.port}"
    fetch(p, "http://127.0.0.2:9/")
    assert counter.count == 1


def guarded(folder, url):
    path = folder / "config.yaml"
    path.write_text(f"defaults: {{ upstream-proxy: '{url}' }}\n"
                    "listeners: [{ address: '127.0.0.1:0', guard: on }]\n")
    return str(path)


def test_a_guarded_listeners_names_are_resolved_here(awsocks, scripted, tmp_path):
    """The proxy could resolve a name to an address of this host: it gets what was judged, or nothing."""
    server = scripted(b"\5\0", OPEN)
    p = awsocks("--config", guarded(tmp_path, f"socks5://127.0.0.1:{server.port}"), "--route-default", "direct",
                listen=None)
    for host in ("127.0.0.1", "localhost", "169.254.169.254", "nosuch.invalid"):
        with pytest.raises(client.Refused) as e:
            client.socks5(p.listener, host, 80)
        assert e.value.code == (4 if host == "nosuch.invalid" else 2), host
    assert server.heard == []
    client.socks5(p.listener, "203.0.113.9", 80).close()
    assert server.heard[-1][:8] == b"\5\1\0\1" + bytes([203, 0, 113, 9])
    p.stop()
    assert any("resolved here before the upstream proxy" in line.get("error", "") for line in p.audit())


def test_a_proxy_that_is_ourselves_is_refused(awsocks):
    port = harness.free_port()
    p = awsocks("--route-default", "direct", "--upstream-proxy", f"http://127.0.0.1:{port}",
                listen=f"127.0.0.1:{port}")
    with pytest.raises(client.Refused):
        client.socks5(p.listener, "x.example", 80)
    p.stop()
    [line] = p.audit()
    assert "listener" in line["error"]


def test_udp_does_not_pass_it_by(via, counter):
    p = via(f"http://127.0.0.1:{counter.port}")
    with client.dial(p.listener) as s:
        s.sendall(b"\5\1\0" + b"\5\3\0\1" + bytes(6))
        assert client.read_exactly(s, 4) == b"\5\0\5\7"


def test_route_shows_it(tmp_path):
    cli = Cli(tmp_path)
    cli.config("defaults:\n  upstream-proxy: socks5://u:word@proxy.example\n  no-proxy: [corp.example]\n"
               "  route-default: direct\n")
    out = cli.ok("route", "a.example")
    assert "through      proxy.example:1080, the upstream proxy" in out and "by  the upstream proxy" in out
    assert "word" not in out
    assert "through" not in cli.ok("route", "x.corp.example")
    assert '"upstream_proxy":"proxy.example:1080"' in cli.ok("route", "a.example", "--json")


@pytest.mark.parametrize("url, status, why", [
    ("http://u:word@p:1", 64, "others on this host can read a password"),
    ("socks5://u:word@p:1", 64, "AWSOCKS_UPSTREAM_PROXY"),
    ("ftp://p", 65, "--upstream-proxy: upstream-proxy: only http://"),
    ("http://p/x", 65, "HOST[:PORT] expected"),
])
def test_urls_that_are_refused(tmp_path, url, status, why):
    p = Cli(tmp_path)("start", "--upstream-proxy", url, "--listen", "127.0.0.1:0")
    assert p.returncode == status and why in p.stderr and "word@" not in p.stderr
