"""Sockets that others open for awsocks: systemd's protocol by a launcher of ours and by systemd's own tool, what the
service manager is told, and restarts during which clients wait instead of being refused."""
import contextlib
import grp
import json
import os
import shutil
import socket
import stat
import subprocess
import sys
import threading

import pytest

import client
import harness
from cli import Cli
from conftest import listener_of

ACTIVATE = os.path.join(os.path.dirname(__file__), "activate.py")
BODY = b"".join(harness.pattern(1000))


def passed(*pairs):
    return (sys.executable, ACTIVATE, *pairs, "--")


@pytest.fixture
def short(tmp_path_factory):
    folder = tmp_path_factory.mktemp("s")
    yield folder
    shutil.rmtree(folder)


def fetch(proxy, url):
    return client.curl("--proxy", proxy, url, check=False).stdout


def configured(folder, *listeners):
    path = folder / "config.yaml"
    path.write_text(json.dumps({"listeners": listeners}))
    return str(path)


def test_tcp_unix_and_both_families_by_name(awsocks, web, short):
    """Beside listeners of our own. What is passed is guarded unless it is said otherwise."""
    config = configured(short, {"address": "systemd:tcp", "guard": "off", "max-connections": 7},
                        {"address": "fd:box", "name": "box", "guard": "off"},
                        {"address": "systemd:all", "name": "all", "allow-from": ["127.0.0.0/8"]},
                        {"address": "127.0.0.1:0", "name": "own"})
    for workers in ("1", "2"):
        p = awsocks("--config", config, "--route-default", "direct", "--workers", workers, listen=None,
                    wrap=passed("tcp=127.0.0.1:0", f"box={short}/box{workers}.sock", "all=dual"))
        told = {one["name"]: one for one in p.status()["listeners"]}
        assert [told[n].get("activated") for n in ("default", "box", "all", "own")] == [True, True, True, None]
        assert told["default"]["max_connections"] == 7 and told["all"]["guarded"] and not told["own"]["guarded"]
        url = f"http://127.0.0.1:{web.port}/bytes/1000"
        for proxy in (f"socks5h://{told['default']['address']}", f"socks5h://localhost{short}/box{workers}.sock",
                      f"socks5h://{told['own']['address']}"):
            assert fetch(proxy, url) == BODY
        assert b"host guard" in fetch(f"http://127.0.0.1:{told['all']['port']}", url)      # let in, by its IPv4 address
        assert fetch(f"http://[::1]:{told['all']['port']}", url) == b""
        assert p.stop() == 0
        assert os.path.exists(f"{short}/box{workers}.sock")      # it is not ours to remove
        assert not os.path.exists(f"/proc/{p.pid}")
    assert any(line["listener"] == "box" and line["uid"] == os.geteuid() for line in p.audit())


def test_the_command_line_and_what_children_see(awsocks, web, tmp_path):
    """A socket without a name by its number; programs that awsocks starts see neither it nor the variables."""
    told = tmp_path / "told"
    (tmp_path / "aws").write_text("[default]\nregion = eu-central-1\ncredential_process = sh -c '(env; ls -l "
                                  f"/proc/self/fd) >{told}.new; mv {told}.new {told}; false'\n")
    p = awsocks("--route-default", "direct", "--route-proxy", "x.example", "--instance-id", "i-0123456789abcdef0",
                listen="fd:3", wrap=passed("=127.0.0.1:0"), env={"AWS_CONFIG_FILE": str(tmp_path / "aws")})
    fetch(p.url("http"), "http://x.example/")
    seen = harness.wait_for(lambda: told.exists() and told.read_text(), what="credential_process")
    inode = os.readlink(f"/proc/{p.pid}/fd/3") if os.path.exists(f"/proc/{p.pid}/fd/3") else "socket:[none]"
    assert "LISTEN_" not in seen and "NOTIFY_SOCKET" not in seen and inode not in seen


@pytest.mark.parametrize("address, pairs, pid, why", [
    ("systemd:x", [], "", "no such socket was passed: there is none"),
    ("systemd:x", ["tcp=127.0.0.1:0"], "", "there is tcp"),
    ("systemd:tcp", ["tcp=127.0.0.1:0"], "1", "is LISTEN_PID this process"),
    ("systemd:tcp", ["tcp=127.0.0.1:0", "tcp=127.0.0.1:0"], "", "several sockets of that name"),
    ("fd:udp", ["udp=udp"], "", "no listening stream socket"),
    ("systemd:all", ["all=dual"], "", "open to others"),
    ("launchd:x", [], "", "macOS"),
])
def test_what_cannot_be_is_told(tmp_path, address, pairs, pid, why):
    cli = Cli(tmp_path)
    p = subprocess.run([*passed(*pairs), harness.program("awsocks"), "--listen", address, "--route-default", "direct"],
                       env={**cli.env, "FAKE_LISTEN_PID": pid}, check=False, stderr=subprocess.PIPE,
                       timeout=harness.LIMIT_S)
    assert p.returncode == 65 and why in p.stderr.decode(), p


def test_a_socket_that_nobody_takes_is_told(awsocks):
    p = awsocks("--route-default", "direct", wrap=passed("spare=127.0.0.1:0"))
    assert 'address: "systemd:spare"' in p.log()


class Manager:
    """The service manager's end of NOTIFY_SOCKET."""

    def __init__(self, name):
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(name)
        self.socket.settimeout(harness.LIMIT_S)

    def next(self):
        return dict(line.split("=", 1) for line in self.socket.recv(4096).decode().split("\n"))


@pytest.mark.parametrize("abstract", [False, True])
def test_the_service_manager_is_told(awsocks, short, abstract):
    name = f"@awsocks-test-{os.getpid()}" if abstract else f"{short}/notify"
    manager = Manager("\0" + name[1:] if abstract else name)
    with contextlib.closing(manager.socket):
        p = awsocks("--route-default", "direct", env={"NOTIFY_SOCKET": name})
        assert manager.next()["READY"] == "1"
        harness.run([harness.program("awsocks"), "reload"], env=p.env)
        again = manager.next()
        assert again["RELOADING"] == "1" and int(again["MONOTONIC_USEC"]) > 0 and manager.next()["READY"] == "1"
        assert p.stop() == 0
        assert manager.next()["STOPPING"] == "1"


@pytest.mark.skipif(not shutil.which("systemd-socket-activate"), reason="needs systemd-socket-activate")
def test_systemds_own_tool(tmp_path, processes, web, short):
    """It starts the program at the first connection, which is served, and starts it again after its end."""
    port, path = harness.free_port(), f"{short}/a.sock"
    env = Cli(tmp_path).env
    config = configured(tmp_path, {"address": "systemd:tcp", "guard": "off"},
                        {"address": "systemd:box", "name": "box", "guard": "off"})
    variables = [text for k in env if k.startswith(("XDG_", "HOME", "ASAN", "UBSAN", "AWSOCKS")) for text in ("-E", k)]
    p = harness.Process([shutil.which("systemd-socket-activate"), "-l", f"127.0.0.1:{port}", "-l", path,
                         "--fdname=tcp:box", *variables, harness.program("awsocks"), "--config", config,
                         "--route-default", "direct", "--pid-file", f"{short}/pid"], tmp_path, "activate", env)
    processes.append(p)
    p.wait_for(lambda: f"Listening on {path} as 4." in p.log(), what="the sockets")     # the path is there before
    url = f"http://127.0.0.1:{web.port}/bytes/1000"
    assert fetch(f"socks5h://localhost{path}", url) == BODY, p.log()
    assert fetch(f"socks5h://127.0.0.1:{port}", url) == BODY


def hand_out(server, held, times):
    for _ in range(times):
        s, _ = server.accept()
        with s:
            socket.send_fds(s, [b"x"], [held.fileno()])


def test_a_connection_waits_while_awsocks_restarts(awsocks, short):
    """The socket lives elsewhere, as in systemd: here in this process, from which the launcher takes it."""
    with socket.create_server(("127.0.0.1", 0)) as held, socket.socket(socket.AF_UNIX) as server:
        server.bind(f"{short}/out")
        server.listen()
        threading.Thread(target=hand_out, args=(server, held, 2), daemon=True).start()
        wrap = passed(f"t=from:{short}/out")
        for _ in range(2):
            with client.dial(held.getsockname()) as s:              # nobody serves yet
                s.sendall(b"\5\1\0")
                p = awsocks("--route-default", "direct", listen="systemd:t", wrap=wrap)
                assert client.read_exactly(s, 2) == b"\5\0"
            assert p.stop() == 0


def group_of_ours():
    """One that we may give files to, and not the one that they get by themselves."""
    others = [g for g in os.getgroups() if g != os.getegid()]
    if os.geteuid() == 0:
        return next(g.gr_name for g in grp.getgrall() if g.gr_gid != os.getegid())
    return str(others[0]) if others else None


@pytest.mark.skipif(not group_of_ours(), reason="needs a second group")
def test_the_group_of_a_unix_socket(awsocks, short, web):
    name = group_of_ours()
    gid = int(name) if name.isdigit() else grp.getgrnam(name).gr_gid
    path = short / "made" / "p.sock"
    config = configured(short, {"address": f"unix:{path}", "group": name, "guard": "off"})
    p = awsocks("--config", config, "--route-default", "direct", listen=None)
    at, above = os.stat(path), os.stat(path.parent)
    assert (at.st_gid, stat.S_IMODE(at.st_mode)) == (gid, 0o660)
    assert (above.st_gid, stat.S_IMODE(above.st_mode)) == (gid, 0o2710)
    assert fetch(f"socks5h://localhost{path}", f"http://127.0.0.1:{web.port}/bytes/1000") == BODY
    p.stop()
    os.chmod(path.parent, 0o700)
    cli = Cli(short)
    r = cli("start", "--config", config)
    assert r.returncode == 65 and "chmod 2710" in r.stderr
    for group, why in (("no-such-group-here", "none of that name"),):
        r = cli("start", "--config", configured(short, {"address": f"unix:{path}", "group": group}))
        assert r.returncode == 65 and why in r.stderr
    r = cli("check", "--config", configured(short, {"address": "127.0.0.1:1", "group": "x"}))
    assert r.returncode == 65 and "only a unix: socket" in r.stdout


def test_unix_paths_that_cannot_be(tmp_path, awsocks, short):
    cli = Cli(tmp_path)
    r = cli("--listen", f"unix:{short}/{'x' * 120}", "--route-default", "direct")
    assert r.returncode != 0 and "bytes long; the system takes 107" in r.stderr
    p = awsocks("--route-default", "block", listen=f"unix:{short}/live.sock")
    r = cli("--listen", f"unix:{short}/live.sock", "--route-default", "direct")
    assert r.returncode != 0 and "another process listens there" in r.stderr
    p.signal(9)
    harness.wait_for(lambda: not p.running(), what="the end")
    assert os.path.exists(f"{short}/live.sock")                     # stale
    again = awsocks("--route-default", "block", listen=f"unix:{short}/live.sock")
    client.dial(listener_of(again.address)).close()


def test_of_two_that_start_at_once_one_gets_the_path(tmp_path, short):
    with socket.socket(socket.AF_UNIX) as stale:
        stale.bind(f"{short}/p.sock")
    cli = Cli(tmp_path)
    argv = [harness.program("awsocks"), "--listen", f"unix:{short}/p.sock", "--route-default", "block", "--control",
            "", "--grace", "0s"]
    started = [subprocess.Popen([*argv[:-3], f"{short}/c{i}", *argv[-2:]], env=cli.env, stderr=subprocess.PIPE)
               for i in range(4)]
    try:
        harness.wait_for(lambda: sum(p.poll() is not None for p in started) == 3, what="three of four to give up")
        [left] = [p for p in started if p.poll() is None]

        def dialled():      # the others gave up as soon as it was at work; it may not listen yet
            with contextlib.suppress(ConnectionRefusedError, FileNotFoundError):
                return client.dial(f"{short}/p.sock")
            return None
        with harness.wait_for(dialled, what="the one to listen") as s:
            s.sendall(b"\5\1\0")
            assert client.read_exactly(s, 2) == b"\5\0"
        assert left.poll() is None
    finally:
        for p in started:
            p.terminate()
            p.wait(harness.LIMIT_S)
            p.stderr.close()
