"""awsocks-bridge where nothing else is: an empty root, a sandbox without network, no /dev, no loopback."""
import os
import re
import shutil
import socket
import struct
import subprocess

import pytest

import client
import harness
import netns
from bridging import Server, bridge, echo, intranet, text_of     # noqa: F401

namespaces = pytest.mark.skipif(not netns.available(), reason="no namespaces here")
static = pytest.mark.skipif(harness.SANITIZED, reason="sanitizers have no static programs")
MIB = 1 << 20


def segments(path):
    """The types of an ELF program's segments."""
    with open(path, "rb") as f:
        head = f.read(64)
        assert head[:5] == b"\x7fELF\x02"
        offset, size, count = struct.unpack_from("<Q", head, 32)[0], *struct.unpack_from("<HH", head, 54)
        f.seek(offset)
        return {struct.unpack_from("<I", f.read(size))[0] for _ in range(count)}


@static
def test_one_small_file():
    """Neither an interpreter (3) nor anything to link at run time (2), and less than 1 MiB."""
    path = harness.program("awsocks-bridge")
    assert os.path.getsize(path) < MIB
    assert not {2, 3} & segments(path)
    r = harness.run([path, "version"], env={})
    assert re.fullmatch(rb"awsocks-bridge [\d.]+\n", r.stdout)


@static
def test_env_is_that_of_awsocks(tmp_path):
    """The same text for the same proxy, but for the program that Git's ssh is told."""
    env = {"HOME": str(tmp_path), "PATH": os.environ["PATH"], "JAVA_TOOL_OPTIONS": "-ea", "SHELL": "/bin/bash"}

    def text(name, *options):
        out = harness.run([harness.program(name), "env", *options], env=env).stdout.decode()
        return re.sub(r"[^' =]*/awsocks(-bridge)?(?=\\? connect)", "@", out)
    for options in (["--to", "127.0.0.1:9"], ["--to=[::1]:9", "--shell", "json", "--all"], ["--unset"],
                    ["--to", "192.0.2.1:9", "--shell=fish", "--all-proxy", "socks5h", "--no-ssh"],
                    ["--to", "unix:/run/x.sock", "--shell", "csh"]):
        assert text("awsocks-bridge", *options) == text("awsocks", *options)
    r = harness.run([harness.program("awsocks-bridge"), "env", "--all-proxy", "ftp"], env=env, check=False)
    assert r.returncode == 64 and b"http, socks5h or none" in r.stderr


def test_usage():
    tool = harness.program("awsocks-bridge")
    assert b"usage: awsocks-bridge bridge" in harness.run([tool]).stdout
    assert b"--max-waiting" in harness.run([tool, "bridge", "--help"]).stdout
    for words in (["nonsense"], ["connect"], ["connect", "h"], ["connect", "h", "0"], ["connect", "", "80"],
                  ["connect", "--to", "x", "h", "80"], ["connect", "h", "80", "81"], ["env", "--nonsense"]):
        r = harness.run([tool, *words], env={}, check=False)
        assert r.returncode == 64, words
        assert r.stderr.startswith(b"awsocks: ") and r.stderr.count(b"\n") == 1


REQUEST = b"GET /bytes/100000 HTTP/1.0\r\n\r\n"


@pytest.fixture
def empty_root(tmp_path):
    """A directory with awsocks-bridge and nothing else, and /s, which is to be the proxy's directory."""
    root = tmp_path / "root"
    (root / "s").mkdir(parents=True)
    shutil.copy(harness.program("awsocks-bridge"), root / "b")
    return root


@static
@namespaces
def test_in_an_empty_root(bridge, intranet, empty_root):
    """chroot: no /dev, /proc, /etc, library or shell. bridge, its command and connect."""
    proxy = intranet()
    # what a directory bind would be: awsocks' socket, by a bridge that is outside
    bridge("--to", proxy.address, listen=(f"unix:{empty_root}/s/proxy.sock",))
    chroot = shutil.which("chroot", path=os.environ["PATH"] + ":/usr/sbin")
    r = harness.run(["unshare", "-r", chroot, empty_root, "/b", "bridge", "--listen", "127.0.0.1:0", "--listen",
                     "unix:/near.sock", "--to", "unix:/s/proxy.sock", "--env", "--", "/b", "connect",
                     "intranet.example", "80"], input=REQUEST, env={})
    assert r.stdout.endswith(b"".join(harness.pattern(100000)))
    assert r.stderr == b""
    assert os.listdir(empty_root / "s") == ["proxy.sock"] and not os.path.exists(empty_root / "near.sock")


@static
@namespaces
def test_with_closed_descriptors_in_an_empty_root(empty_root, tmp_path):
    """No /dev/null to fill them with: no socket gets their numbers, and no log line a socket."""
    server = Server(echo, str(empty_root / "s" / "far"))
    script = 'exec unshare -r chroot "$1" /b bridge --listen unix:/near --to unix:/s/far --log-level debug <&- >&- 2>&-'
    with subprocess.Popen(["sh", "-c", script, "sh", str(empty_root)], start_new_session=True) as p:
        try:
            harness.wait_for(lambda: os.path.exists(empty_root / "near"), what="the listener")
            with harness_dial(str(empty_root / "near")) as s:
                s.sendall(b"hello")
                s.shutdown(socket.SHUT_WR)
                assert client.read_to_end(s) == b"hello"
        finally:
            p.terminate()
            assert p.wait(harness.LIMIT_S) == 0
    server.stop()


def harness_dial(path):
    """The path is there before the socket listens."""
    def dial():
        try:
            return client.dial(path)
        except ConnectionRefusedError:
            return None
    return harness.wait_for(dial, what=f"someone at {path}")


bubblewrap = pytest.mark.skipif(not shutil.which("bwrap") or not netns.available(), reason="no bubblewrap here")


def sandbox(proxy_folder, *more):
    """No network, and of all files the program and the socket's directory."""
    return ["bwrap", "--unshare-all", "--die-with-parent", "--ro-bind", harness.program("awsocks-bridge"), "/b",
            "--ro-bind", str(proxy_folder), "/s", *map(str, more), "--"]


@static
@bubblewrap
def test_in_a_sandbox_without_network(intranet, tmp_path):
    proxy = intranet()
    folder = os.path.dirname(proxy.listener)
    r = harness.run([*sandbox(folder), "/b", "bridge", "--to", "unix:/s/proxy.sock", "--env", "--", "/b", "connect",
                     "intranet.example", "80"], input=REQUEST, env={})
    assert r.stdout.endswith(b"".join(harness.pattern(100000)))
    assert r.stderr == b""
    # there is no other way out
    r = harness.run([*sandbox(folder), "/b", "connect", "--to", "192.0.2.1:1", "x", "80"], env={}, check=False)
    assert r.returncode == 69 and b"Network unreachable" in r.stderr.replace(b"Network is", b"Network")


@static
@bubblewrap
def test_awsocks_restarts_outside_of_the_sandbox(intranet, tmp_path, processes):
    """The sandbox has the directory, so the new socket is there too, and the bridge inside goes on."""
    proxy = intranet()
    out = tmp_path / "out"
    out.mkdir()
    p = harness.Process([*sandbox(os.path.dirname(proxy.listener), "--bind", out, "/o"), "/b", "bridge", "--listen",
                         "unix:/o/near", "--to", "unix:/s/proxy.sock"], tmp_path, "sandbox")
    processes.append(p)
    p.wait_for(lambda: " -> " in p.log(), what="the bridge")

    def fetch():
        return client.fetch_digest(f"socks5h://localhost{out}/near", "http://intranet.example/bytes/1000", tmp_path)
    assert fetch() == harness.pattern_digest(1000)
    assert proxy.stop() == 0
    with client.dial(str(out / "near")) as held:
        p.wait_for(lambda: "connections wait for it" in p.log(), what="the outage")
        intranet()
        held.sendall(b"\5\1\0")
        assert client.read_exactly(held, 2) == b"\5\0"
    assert fetch() == harness.pattern_digest(1000)
    p.wait_for(lambda: "answers again" in p.log(), what="the return in the log")


@static
@bubblewrap
def test_a_command_in_the_sandbox(intranet, tmp_path):
    """curl and git with nothing but the variables, in a sandbox with the system's programs and no network."""
    proxy = intranet()
    folder = os.path.dirname(proxy.listener)
    work = tmp_path / "sandboxed"
    work.mkdir()
    script = "curl -fsS -o curled http://intranet.example/bytes/100000 && " \
             "git clone -q http://intranet.example/git/project.git cloned && git -C cloned fsck"
    harness.run(["bwrap", "--unshare-all", "--die-with-parent", "--ro-bind", "/", "/", "--tmpfs", "/tmp", "--dev",
                 "/dev", "--proc", "/proc", "--ro-bind", folder, "/tmp/s", "--bind", work, "/tmp/w", "--ro-bind",
                 harness.program("awsocks-bridge"), "/tmp/b", "--chdir", "/tmp/w", "--", "/tmp/b", "bridge", "--to",
                 "unix:/tmp/s/proxy.sock", "--env", "--", "sh", "-c", script],
                env={"PATH": os.environ["PATH"], "HOME": "/tmp/w", "GIT_CONFIG_NOSYSTEM": "1"})
    assert harness.file_digest(work / "curled") == harness.pattern_digest(100000)


@namespaces
def test_loopback_is_brought_up(tmp_path):
    """As root of a new network namespace; without that right it says what is wrong and what to do."""
    server = Server(echo, str(tmp_path / "far"))
    ask = ["/usr/bin/env", "python3", "-c", "import os,socket\nh,p=os.environ['AWSOCKS'].split(':')\n"
           "s=socket.create_connection((h,int(p)))\ns.sendall(b'hello')\ns.shutdown(1)\nprint(s.recv(9))"]
    argv = [harness.program("awsocks-bridge"), "bridge", "--listen", "127.0.0.1:0", "--to", text_of(server.address),
            "--env", "--"]
    assert harness.run(["unshare", "-rn", *argv, *ask]).stdout == b"b'hello'\n"
    r = harness.run(["unshare", "-rn", "setpriv", "--bounding-set", "-net_admin", "--inh-caps", "-net_admin", *argv,
                     *ask], check=False)
    assert r.returncode == 74
    assert b"the loopback interface is down in this network namespace" in r.stderr
    # a Unix listener needs none
    argv[argv.index("127.0.0.1:0")] = f"unix:{tmp_path}/near"
    harness.run(["unshare", "-rn", "setpriv", "--bounding-set", "-net_admin", "--inh-caps", "-net_admin", *argv,
                 "true"])
    server.stop()


@namespaces
def test_as_the_first_process_of_a_pid_namespace(tmp_path):
    """It takes in the children that others leave: they end, and are gone. And it ends as its command does."""
    script = f"(sleep 0.05 & echo $! >{tmp_path}/left); read left <{tmp_path}/left; n=0; " \
             "while [ -e /proc/$left ] && [ $n -lt 300 ]; do sleep 0.05; n=$((n + 1)); done; " \
             "[ ! -e /proc/$left ] && echo gone; exit 3"
    r = harness.run(["unshare", "-rpf", "--mount-proc", harness.program("awsocks-bridge"), "bridge", "--listen",
                     "127.0.0.1:0", "--to", f"unix:{tmp_path}/none", "--", "sh", "-c", script], check=False)
    assert r.stdout == b"gone\n"
    assert r.returncode == 3


def connect(listener, *args, data=b"", env=None, name="awsocks-bridge"):
    return harness.run([harness.program(name), "connect", *args], input=data, check=False,
                       env=env if env is not None else {"AWSOCKS": listener})


@pytest.mark.parametrize("name", ["awsocks-bridge", "awsocks"])
def test_connect(awsocks, web, name):
    """Through the listener that --to or AWSOCKS names, in the forms that both may have."""
    proxy = awsocks("--route-default", "direct", "--route-block", "closed.example")
    for listener in (proxy.address, proxy.url("http"), proxy.url("socks5h")):
        r = connect(listener, "127.0.0.1", web.port, data=REQUEST, name=name)
        assert r.returncode == 0 and r.stdout.endswith(b"".join(harness.pattern(100000)))
        r = connect("", "--to", listener, "127.0.0.1", web.port, data=REQUEST, name=name)
        assert r.returncode == 0 and r.stdout.endswith(b"".join(harness.pattern(100000)))
    r = connect(proxy.address, "closed.example", "80", name=name)
    assert r.returncode == 77
    assert r.stderr == b"awsocks: closed.example:80: refused by a rule (awsocks route shows which)\n"
    r = connect(proxy.address, "127.0.0.1", harness.free_port(), name=name)
    assert r.returncode == 69 and r.stderr.endswith(b": connection refused\n")
    r = connect(f"127.0.0.1:{harness.free_port()}", "x.example", "80", name=name)
    assert r.returncode == 69 and b"the awsocks listener 127.0.0.1:" in r.stderr


@pytest.mark.parametrize("name", ["awsocks-bridge", "awsocks"])
def test_connect_moves_bulk_and_half_closes(awsocks, tmp_path, name):
    size = 32 * MIB
    with open(harness.pattern_file(tmp_path / "sent", size), "rb") as sent, open(tmp_path / "got", "wb") as got:
        proxy = awsocks("--route-default", "direct")

        def serve(s):
            for piece in read_all(s):
                s.sendall(piece)
        server = Server(serve)
        subprocess.run([harness.program(name), "connect", *map(str, server.address)], stdin=sent, stdout=got,
                       env={"AWSOCKS": proxy.address}, check=True, timeout=harness.LIMIT_S)
    assert harness.file_digest(tmp_path / "got") == harness.pattern_digest(size)
    server.stop()


def read_all(s):
    """All of it first: the answer begins after the end of the question."""
    pieces = []
    while piece := s.recv(1 << 20):
        pieces.append(piece)
    return pieces


def test_connect_ends_with_its_reader(awsocks):
    """Standard output is closed by who reads it: nobody is left to connect for."""
    def serve(s):
        while True:
            s.sendall(bytes(1 << 16))
    server = Server(lambda s: serve_until_broken(s, serve))
    proxy = awsocks("--route-default", "direct")
    with subprocess.Popen([harness.program("awsocks-bridge"), "connect", *map(str, server.address)],
                          stdin=subprocess.PIPE, stdout=subprocess.PIPE, env={"AWSOCKS": proxy.address}) as p:
        assert p.stdout.read(10) == bytes(10)
        p.stdout.close()
        assert p.wait(harness.LIMIT_S) == 0
    server.stop()


def serve_until_broken(s, serve):
    try:
        serve(s)
    except OSError:
        pass


def test_ssh_by_proxy_command(awsocks, sshd, tmp_path):
    """OpenSSH with awsocks-bridge as its ProxyCommand, both directions and the end."""
    proxy = awsocks("--route-default", "direct")
    argv = sshd.client("-o", f"ProxyCommand={harness.program('awsocks-bridge')} connect %h %p")
    r = harness.run([*argv, "127.0.0.1", "sha256sum; exit 3"], input=b"".join(harness.pattern(MIB)), check=False,
                    env=dict(os.environ, AWSOCKS=proxy.address))
    assert r.returncode == 3
    assert r.stdout.split()[0].decode() == harness.pattern_digest(MIB)


def test_a_listener_that_is_none(tmp_path):
    """It speaks something else, or asks for a password, or says nothing and goes."""
    for says, text in ((b"HTTP/1.1 400 No\r\n\r\n", b"does not speak SOCKS5"), (b"\5\xff", b"asks for a user"),
                       (b"", b"the proxy closed the connection")):
        server = Server(lambda s, says=says: (s.recv(99), s.sendall(says)))
        r = connect(text_of(server.address), "x.example", "80")
        assert r.returncode != 0 and text in r.stderr
        server.stop()
