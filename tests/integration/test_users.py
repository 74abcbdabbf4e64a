"""Listeners that ask for a user name and a password: by SOCKS5 and HTTP Basic, as clients give them; who is
wrong, how often, what is remembered and what the audit log says; and awsocks passwd."""
import base64
import contextlib
import hashlib
import json
import os
import pty
import re
import socket
import subprocess

import pytest

import client
import harness
from cli import Cli

PASSWORD = "correct horse / battery:staple"
BODY = b"".join(harness.pattern(1000))


def line_of(name, password=PASSWORD):
    p = subprocess.run([harness.program("awsocks"), "passwd", name], input=password.encode() + b"\n", check=True,
                       stdout=subprocess.PIPE)
    return p.stdout.decode()


def scrypt(password, ln=4, r=8, p=1):
    salt = b"0123456789abcdef"
    key = hashlib.scrypt(password.encode(), salt=salt, n=1 << ln, r=r, p=p, maxmem=1 << 27, dklen=32)

    def text(raw):
        return base64.b64encode(raw).decode().rstrip("=")
    return f"$scrypt$ln={ln},r={r},p={p}${text(salt)}${text(key)}"


@pytest.fixture(scope="module", name="lines")
def two_lines():
    """One hash of the usual price, one that costs nothing."""
    return line_of("alice") + f"- {{ name: 'b\"ob\\', hash: '{scrypt('s')}' }}\n"


CHEAP = f"- {{ name: alice, hash: '{scrypt(PASSWORD)}' }}\n"


@pytest.fixture
def guarded(awsocks, tmp_path, lines):
    """A proxy with users, its file of users, and what starts one more."""
    def start(*options, text=lines, **more):
        path = tmp_path / "users" / "users.yaml"
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
        return awsocks("--users", str(path), "--route-default", "direct", *options, **more), path
    return start


def curl(proxy, url, user=None, *options):
    auth = ["--proxy-user", user] if user else []
    return subprocess.run(["curl", "-sS", "--max-time", "30", "--proxy", proxy, *auth, *options, url], check=False,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE)


WAYS = {"socks5": ("socks5h", ()), "http": ("http", ()), "connect": ("http", ("-p",)),
        "after 407": ("http", ("--proxy-anyauth",))}


@pytest.mark.parametrize("workers", ["1", "2"])
def test_the_right_password_is_let_in_by_every_way(guarded, web, workers):
    p, _ = guarded("--workers", workers)
    for scheme, options in WAYS.values():
        r = curl(p.url(scheme), f"http://127.0.0.1:{web.port}/bytes/1000", f"alice:{PASSWORD}", *options)
        assert (r.returncode, r.stdout) == (0, BODY), r.stderr
    r = curl(p.url("socks5h"), f"http://127.0.0.1:{web.port}/bytes/1000", 'b"ob\\:s')
    assert (r.returncode, r.stdout) == (0, BODY), r.stderr
    [listener] = p.status()["listeners"]
    assert listener["users"] == 2
    assert p.stop() == 0
    done = [line for line in p.audit() if line["action"] == "allow"]
    assert sorted(line["user"] for line in done) == ["alice"] * 4 + ['b"ob\\']      # in the order of their ends
    assert {line["proto"] for line in done} == {"socks5", "http", "connect"}
    assert PASSWORD not in p.log() and PASSWORD not in str(p.audit())


def test_the_wrong_password_is_refused_by_every_way(guarded, counter):
    p, _ = guarded(text=CHEAP)
    url = f"http://127.0.0.1:{counter.port}/"
    for user in ("alice:wrong", "alice:", "mallory:" + PASSWORD, "alice"):
        for scheme, options in (WAYS["socks5"], WAYS["http"]):
            r = curl(p.url(scheme), url, user if ":" in user else None, *options)
            if scheme == "http":
                assert b"407" in curl_status(p, url, user, options), user
            else:
                assert r.returncode == 97, (user, r)
    r = curl(p.url("socks4"), url)
    assert r.returncode == 97 and b"rejected" in r.stderr
    assert counter.count == 0
    p.stop()
    lines = p.audit()
    assert {line["action"] for line in lines} == {"refuse"} and "mallory" not in str(lines)
    errors = {line["error"] for line in lines}
    assert any("wrong user name or password" in e for e in errors)
    assert any("asks for a user name" in e for e in errors) and any("SOCKS4" in e for e in errors)


@pytest.mark.parametrize("program", ["awsocks", "awsocks-bridge"])
def test_connect_says_who_it_is(guarded, awsocks, web, program, tmp_path):
    """By a variable, a file or a pipe, never by its arguments; also where nobody asks."""
    p, _ = guarded(text=CHEAP)
    secret = tmp_path / "user"
    secret.write_text(f"alice:{PASSWORD}\nmore\n")

    def connect(*options, to=p.listener, **env):
        return subprocess.run([harness.program(program), "connect", "--to", f"{to[0]}:{to[1]}", *options, "127.0.0.1",
                               str(web.port)], env={**p.env, **env}, input=b"GET /bytes/1000 HTTP/1.0\r\n\r\n",
                              check=False, stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=harness.LIMIT_S)
    piped = os.pipe()
    os.write(piped[1], f"alice:{PASSWORD}\n".encode())     # and it stays open, as some programs leave it
    open_one = awsocks("--route-default", "direct")
    for r in (connect(AWSOCKS_PROXY_USER=f"alice:{PASSWORD}"), connect("--user-file", str(secret)),
              connect(f"--user-file={secret}", AWSOCKS_PROXY_USER="alice:wrong"),
              connect(AWSOCKS_PROXY_USER=f"alice:{PASSWORD}", to=open_one.listener)):
        assert r.stdout.endswith(BODY) and (r.returncode, r.stderr) == (0, b""), r
    r = subprocess.run([harness.program(program), "connect", "--to", p.address, "--user-file", f"/dev/fd/{piped[0]}",
                        "127.0.0.1", str(web.port)], env=p.env, input=b"GET /bytes/3 HTTP/1.0\r\n\r\n", check=True,
                       pass_fds=[piped[0]], stdout=subprocess.PIPE)
    assert r.stdout.endswith(BODY[:3])
    for end in piped:
        os.close(end)
    for r, status, why in (
            (connect(), 77, "AWSOCKS_PROXY_USER"), (connect(AWSOCKS_PROXY_USER="alice:wrong"), 77, "does not take"),
            (connect(AWSOCKS_PROXY_USER="alice"), 64, "NAME:PASSWORD expected"),
            (connect(AWSOCKS_PROXY_USER="alice:" + "x" * 256), 64, "NAME:PASSWORD expected"),
            (connect(AWSOCKS_PROXY_USER="a" * 9000), 64, "too long"),
            (connect("--user-file", str(tmp_path / "none")), None, "No such file"),
            (connect("--user-file", "/dev/null"), 64, "NAME:PASSWORD expected")):
        assert r.returncode and status in (None, r.returncode) and why in r.stderr.decode() and not r.stdout, r
        assert b"wrong" not in r.stderr.replace(b"many wrong ones", b"") and PASSWORD not in r.stderr.decode()


def curl_status(p, url, user, options):
    r = subprocess.run(["curl", "-sS", "-D", "-", "-o", os.devnull, "--max-time", "30", "--proxy", p.url("http"),
                        *(["--proxy-user", user] if ":" in user else []), *options, url], check=False,
                       stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert b"Basic realm=" in r.stdout or b" 429 " in r.stdout
    return r.stdout.replace(b"429", b"407")


def basic(text=f"alice:{PASSWORD}"):
    return "Proxy-Authorization: Basic " + base64.b64encode(text.encode()).decode() + "\r\n"


def test_every_request_of_a_connection_is_judged_by_itself(guarded, web):
    p, _ = guarded()
    get = f"GET http://127.0.0.1:{web.port}/bytes/3 HTTP/1.1\r\nHost: x\r\n"
    with client.dial(p.listener) as s:
        for _ in range(2):
            s.sendall((get + basic() + "\r\n").encode())
            head = client.read_head(s)
            assert head.startswith(b"HTTP/1.1 200"), head
            assert client.read_exactly(s, 3) == BODY[:3]
        s.sendall((get + "\r\n").encode())
        head = client.read_head(s)
        assert head.startswith(b"HTTP/1.1 407 ") and b'\nProxy-Authenticate: Basic realm="awsocks"' in head


def test_the_password_is_not_passed_on(guarded, processes):
    p, _ = guarded()
    with socket.create_server(("127.0.0.1", 0)) as server, client.dial(p.listener) as s:
        server.settimeout(harness.LIMIT_S)
        s.sendall(f"GET http://127.0.0.1:{server.getsockname()[1]}/ HTTP/1.1\r\nHost: x\r\n{basic()}\r\n".encode())
        far, _ = server.accept()
        with far:
            assert b"uthorization" not in client.read_head(far)


BAD_LOGINS = {
    "no method": (b"\5\1\0", b"\5\xff"),
    "version": (b"\5\1\2" + b"\5\5alice\1x", b"\5\2\1\xff"),
    "empty name": (b"\5\1\2" + b"\1\0\1x", b"\5\2\1\xff"),
    "empty password": (b"\5\1\2" + b"\1\5alice\0", b"\5\2\1\xff"),
    "longest": (b"\5\1\2" + b"\1\xff" + b"a" * 255 + b"\xff" + b"b" * 255, b"\5\2\1\xff"),
    "scheme": (b"CONNECT a:1 HTTP/1.1\r\nProxy-Authorization: Bearer x\r\n\r\n", b"HTTP/1.1 407 "),
    "base64": (b"CONNECT a:1 HTTP/1.1\r\nProxy-Authorization: Basic !!!\r\n\r\n", b"HTTP/1.1 407 "),
    "no colon": (b"CONNECT a:1 HTTP/1.1\r\nProxy-Authorization: Basic YWxpY2U=\r\n\r\n", b"HTTP/1.1 407 "),
    "too long": (b"CONNECT a:1 HTTP/1.1\r\nProxy-Authorization: Basic " + b"YWFh" * 4000 + b"\r\n\r\n",
                 b"HTTP/1.1 407 "),
}


def test_odd_logins_are_refused(guarded):
    p, _ = guarded()
    for name, (sent, want) in BAD_LOGINS.items():
        with client.dial(p.listener) as s:
            s.sendall(sent)
            got = b""
            with contextlib.suppress(ConnectionResetError):
                while piece := s.recv(4096):
                    got += piece
            assert got.startswith(want), (name, got)


def reload(p):
    return subprocess.run([harness.program("awsocks"), "reload"], env=p.env, check=False,
                          stderr=subprocess.PIPE).returncode


def login(s, name, password):
    s.sendall(b"\5\1\2" + bytes([1, len(name)]) + name.encode() + bytes([len(password)]) + password.encode())


def answer(p, name, password):
    with client.dial(p.listener) as s:
        login(s, name, password)
        return client.read_exactly(s, 4)


def test_whoever_is_wrong_too_often_has_to_wait(guarded):
    p, _ = guarded(text=CHEAP)
    guesses = (client_text(p, f"CONNECT 127.0.0.1:1 HTTP/1.1\r\n{basic(f'alice:{i}')}\r\n") for i in range(100))
    assert next(text for text in guesses if not text.startswith("HTTP/1.1 407 ")).startswith("HTTP/1.1 429 ")
    text = client_text(p, f"CONNECT 127.0.0.1:1 HTTP/1.1\r\n{basic()}\r\n")
    assert text.startswith("HTTP/1.1 429 ") and "too many wrong passwords from this address" in text
    assert p.log().count("too many wrong passwords from this address") == 1
    assert reload(p) == 0           # forgets that, too
    assert answer(p, "alice", PASSWORD) == b"\5\2\1\0"


def client_text(p, request):
    with client.dial(p.listener) as s:
        s.sendall(request.encode())
        return client.read_head(s).decode()


def test_many_at_once_with_one_password_are_one_question(guarded):
    p, _ = guarded()
    with contextlib.ExitStack() as stack:
        all_of_them = [stack.enter_context(client.dial(p.listener)) for _ in range(50)]
        for s in all_of_them:
            login(s, "alice", PASSWORD)
        assert {client.read_exactly(s, 4) for s in all_of_them} == {b"\5\2\1\0"}


def test_a_request_sent_ahead_waits_for_the_verdict(guarded, web):
    p, _ = guarded()
    with client.dial(p.listener) as s:
        login(s, "alice", PASSWORD)
        s.sendall(b"\5\1\0\1\x7f\0\0\1" + web.port.to_bytes(2, "big"))
        s.sendall(b"GET /bytes/3 HTTP/1.0\r\n\r\n")
        assert client.read_exactly(s, 4) == b"\5\2\1\0"
        assert client.read_exactly(s, 10)[:2] == b"\5\0"
        assert client.read_head(s).startswith(b"HTTP/1")


def test_reload_takes_the_new_users(guarded, lines):
    p, path = guarded("--workers", "2")
    assert answer(p, "alice", PASSWORD) == b"\5\2\1\0"
    path.write_text(lines.split("\n", 1)[1])
    assert reload(p) == 0            # each worker hears of it by itself
    p.wait_for(lambda: answer(p, "alice", PASSWORD) == b"\5\2\1\xff", what="the end of alice")
    assert answer(p, 'b"ob\\', "s") == b"\5\2\1\0"
    path.write_text("- { name: alice }\n")
    assert reload(p) != 0
    assert answer(p, 'b"ob\\', "s") == b"\5\2\1\0"


def test_users_in_config_and_a_hash_by_others(awsocks, tmp_path, lines):
    """passlib's form of scrypt, made here by Python's; an inline list and a file beside config.yaml."""
    (tmp_path / "more.yaml").write_text(lines)
    config = tmp_path / "config.yaml"
    config.write_text("listeners:\n"
                      f"  - {{ address: '127.0.0.1:0', users: [{{ name: carol, hash: '{scrypt('c', ln=15)}' }}] }}\n"
                      "  - { address: '127.0.0.1:0', name: file, users: more.yaml }\n")
    p = awsocks("--config", str(config), "--route-default", "block", listen=None)
    assert answer(p, "carol", "c") == b"\5\2\1\0"
    assert answer(p, "alice", PASSWORD) == b"\5\2\1\xff"
    host, _, port = p.listeners["file"]["address"].rpartition(":")
    with client.dial((host, int(port))) as s:
        login(s, "alice", PASSWORD)
        assert client.read_exactly(s, 4) == b"\5\2\1\0"


@pytest.mark.parametrize("fence", ["false"] if harness.SANITIZED else ["true", "false"])
def test_reload_takes_the_new_users_of_config(awsocks, tmp_path_factory, fence):
    config = tmp_path_factory.mktemp("config") / "config.yaml"

    def write(*names):
        users = ", ".join(f"{{ name: {n}, hash: '{scrypt(n)}' }}" for n in names)
        config.write_text("listeners:\n  - { address: '127.0.0.1:0', name: open }\n"
                          f"  - {{ address: '127.0.0.1:0', name: a, users: [{users}] }}\n")
    write("alice", "bob")
    p = awsocks("--config", str(config), "--route-default", "block", "--workers", "2", listen=None,
                env={"AWSOCKS_SANDBOX": fence})
    host, _, port = p.listeners["a"]["address"].rpartition(":")

    def enters(name):
        with client.dial((host, int(port))) as s:
            login(s, name, name)
            return client.read_exactly(s, 4) == b"\5\2\1\0"
    assert enters("alice") and not enters("carol")
    write("bob", "carol")
    assert reload(p) == 0
    p.wait_for(lambda: not enters("alice"), what="the end of alice")
    p.wait_for(lambda: enters("carol"), what="carol")
    for text in ("listeners: [{ address: '127.0.0.1:0', name: a }]\n", "", "listeners: [{ x: y }]\n"):
        config.write_text(text)
        r = subprocess.run([harness.program("awsocks"), "reload"], env=p.env, check=False, stderr=subprocess.PIPE)
        assert r.returncode != 0 and (b"needs a restart" in r.stderr or b"'x'" in r.stderr), r
        # Alice's end was seen at one of two workers only.
        p.wait_for(lambda: enters("bob") and not enters("alice"), what="bob without alice")


def test_an_open_listener_with_users_is_allowed(awsocks, tmp_path, lines):
    (tmp_path / "users.yaml").write_text(lines)
    p = awsocks("--route-default", "block", "--users", str(tmp_path / "users.yaml"), listen="0.0.0.0:0")
    assert p.status()["listeners"][0]["users"] == 2
    cli = Cli(tmp_path)
    r = cli("--listen", "0.0.0.0:0", "--route-default", "direct")
    assert r.returncode == 65 and "--users FILE" in r.stderr


@pytest.mark.parametrize("text, why", [
    ("- { name: a, hash: secret }\n", "1:20: hash: a hash begins with $scrypt$"),
    ("- { name: a, hash: '$scrypt$ln=20,r=8,p=1$U29kaXVtQ2hsb3JpZGU$cCO9yzr9c0hGHAbNgf046/2o' }\n",
     "1:20: hash: its parameters ask for too much memory"),
    ("- { name: a }\n", "1:3: a user is { name: alice"),
    ("alice: x\n", "users: a list expected"),
    ("", "users: a list expected"),
])
def test_bad_files_of_users_are_told(tmp_path, text, why):
    path = tmp_path / "users.yaml"
    path.write_text(text)
    cli = Cli(tmp_path)
    for command in (["check"], ["start", "--listen", "127.0.0.1:0"]):
        p = cli(*command, "--users", str(path))
        assert p.returncode == 65 and why in p.stdout + p.stderr, p
    p = cli("check", "--users", str(tmp_path / "none"))
    assert p.returncode == 65 and "No such file" in p.stdout


def typed(*words, name=("alice",)):
    """awsocks passwd on a terminal; all that it showed, and its exit status."""
    pid, fd = pty.fork()
    if pid == 0:
        os.execv(harness.program("awsocks"), ["awsocks", "passwd", *name])
    seen = b""
    for word in words:
        while not seen.endswith(b": "):
            seen += os.read(fd, 4096)
        seen += b"|"
        os.write(fd, word)
    with contextlib.suppress(OSError):
        while piece := os.read(fd, 4096):
            seen += piece
    os.close(fd)
    return seen, os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def test_passwd_on_a_terminal():
    seen, status = typed(b"sx\x7fecret\n", b"secret\n")
    assert status == 0 and b"secret" not in seen
    hashed = re.search(rb'- { name: "alice", hash: "(\S+)" }', seen)[1].decode()
    _, _, cost, salt, key = hashed.split("$")
    assert cost == "ln=14,r=8,p=5"
    made = hashlib.scrypt(b"secret", salt=base64.b64decode(salt + "=="), n=1 << 14, r=8, p=5, maxmem=1 << 26, dklen=32)
    assert made == base64.b64decode(key + "=")
    seen, status = typed(b"secret\n", b"secrets\n")
    assert status == 64 and b"not the same" in seen
    seen, status = typed(b"sec\3")
    assert status == 64 and b"broken off" in seen


@pytest.mark.parametrize("args, text, why", [
    (["a:b"], "x", "without ':'"), (["alice"], "", "1 to 255 bytes"), (["alice"], "x" * 300, "at most 255"),
    (["alice", "secret"], "x", "the password is asked for"),
])
def test_passwd_refuses(args, text, why):
    p = subprocess.run([harness.program("awsocks"), "passwd", *args], input=text.encode(), check=False,
                       stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert p.returncode == 64 and why in p.stderr.decode() and p.stdout == b"" and b"secret" not in p.stderr


def test_allow_uid(awsocks, tmp_path_factory, web):
    folder = tmp_path_factory.mktemp("s")
    (folder / "config.yaml").write_text(json.dumps({"listeners": [
        {"address": f"unix:{folder}/mine.sock", "allow-uid": [os.geteuid()], "guard": "off"},
        {"address": f"unix:{folder}/other.sock", "allow-uid": 65534, "mode": "0666", "name": "other"}]}))
    p = awsocks("--config", str(folder / "config.yaml"), "--route-default", "direct", listen=None)
    url = f"http://127.0.0.1:{web.port}/bytes/1000"
    assert curl(f"socks5h://localhost{folder}/mine.sock", url).stdout == BODY
    assert curl(f"socks5h://localhost{folder}/other.sock", url).returncode != 0
    p.stop()
    [line] = [line for line in p.audit() if line["listener"] == "other"]
    assert line["error"] == "not in allow-uid" and line["uid"] == os.geteuid()
