"""The host's awsocks ends (or is killed) and comes back under running clients: from the moment it serves again each new
connection works, from a VM through the gateway listener or a bridge, and from a sandbox that has only the socket's
directory."""
import os
import shutil
import signal
import subprocess
import sys
import time

import pytest

import conftest
import harness
import netns

# Asks again and again, and writes what came of each: when it began, and whether the page came.
CLIENT = r'''
import socket, sys, time
at, host, port = sys.argv[1:4]
kind, at = (socket.AF_UNIX, at) if at.startswith("/") else (socket.AF_INET, tuple(at.rsplit(":", 1)))
if kind == socket.AF_INET:
    at = (at[0], int(at[1]))
while True:
    begun, got = time.monotonic(), b""
    try:
        with socket.socket(kind) as s:
            s.settimeout(10)
            s.connect(at)
            s.sendall(f"GET http://{host}:{port}/bytes/5 HTTP/1.1\r\nHost: {host}:{port}\r\nConnection: close\r\n\r\n"
                      .encode())
            while piece := s.recv(4096):
                got += piece
    except OSError as e:
        got = repr(e).encode()
    print(begun, int(got.startswith(b"HTTP/1.1 200 ")), got[:60], flush=True)
    time.sleep(0.02)
'''


class Host:
    """The awsocks of the host, which may be started again."""

    def __init__(self, folder, processes, options, wrap=()):
        self.folder, self.processes, self.wrap = folder, processes, wrap
        self.options = ["start", "--route-default", "direct", "--grace", "100ms", *options]
        self.env = conftest.clean_environment(folder)
        self.start()

    def start(self):
        self.now = conftest.Awsocks(self.folder, self.options, self.env, self.wrap)
        self.processes.append(self.now)

    def end(self, how):
        if how == signal.SIGKILL:
            os.kill(self.now.pid, how)
            self.now.child.wait(harness.LIMIT_S)
            self.now.kill()
        else:
            assert self.now.stop() == 0


def restarts(host, log, times, waits=False):
    """Ends and starts it, several times, under a client that writes to `log`: what it began since then works. waits:
    what it began before that too, once the old one was gone."""
    def attempts():
        whole = log.read_text().rpartition("\n")[0]      # one that crosses a page is seen half written
        lines = [line.split(maxsplit=2) for line in whole.splitlines()]
        return [(float(at), ok == "1", what) for at, ok, what in lines]

    def wait_for(condition, what):
        harness.wait_for(lambda: condition(attempts()), what=what)
    wait_for(lambda all: sum(ok for _, ok, _ in all) > 3, "the client")
    for how in (signal.SIGTERM, signal.SIGKILL)[:times]:
        host.end(how)
        gone, ended = time.monotonic(), len(attempts())
        if not waits:
            wait_for(lambda all: any(not ok for _, ok, _ in all[ended:]), "the client to miss it")
        host.start()
        back = time.monotonic()
        wait_for(lambda all: sum(at > back for at, _, _ in all) >= 5, "its next attempts")
        assert all(ok for at, ok, _ in attempts() if at > (gone if waits else back)), attempts()[ended:]


@pytest.fixture
def client_of(processes, tmp_path):
    """Starts CLIENT; its log."""
    def start(popen, *args):
        script, log = tmp_path / "client.py", tmp_path / "client.log"
        script.write_text(CLIENT)
        with open(log, "wb") as out:
            p = popen([sys.executable, str(script), *args], out)
        processes.append(p)
        return log
    return start


@pytest.fixture
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("r")
    yield folder
    shutil.rmtree(folder)


@pytest.mark.skipif(not netns.available(), reason="needs network namespaces and iproute2")
@pytest.mark.parametrize("way", ["gateway", "bridge"])
def test_a_vm_behind_the_gateway(folder, processes, client_of, way):
    with netns.World() as world:
        script = f"import sys, time; sys.path.insert(0, {os.path.dirname(__file__)!r}); import web\n" \
                 f"print(web.WebServer({netns.NET!r}).port, flush=True)\ntime.sleep(3600)\n"
        server = world.net.popen([sys.executable, "-c", script], stdout=subprocess.PIPE)
        processes.append(server)
        port = int(server.stdout.readline())
        server.stdout.close()
        host = Host(folder, processes, ["--listen", f"{netns.GATEWAY}:1080", "--allow-from", f"{netns.VM}/32"],
                    world.host.wrap)
        at = f"{netns.GATEWAY}:1080"
        if way == "bridge":
            at, to = "127.0.0.1:1080", at
            processes.append(world.vm.popen([harness.program("awsocks"), "bridge", "--listen", at, "--to", to]))
            harness.wait_for(lambda: world.vm.run(["sh", "-c", "ss -ltn | grep -q 127.0.0.1:1080"], check=False)
                             .returncode == 0, what="the bridge")
        log = client_of(lambda argv, out: world.vm.popen(argv, stdout=out), at, netns.NET, str(port))
        restarts(host, log, 2, waits=way == "bridge")


@pytest.mark.skipif(not shutil.which("bwrap"), reason="needs bubblewrap")
def test_a_sandbox_that_has_the_sockets_directory(folder, processes, client_of, web):
    """The directory is bound, not the socket: so the sandbox sees the new one."""
    run = folder / "run"
    run.mkdir(mode=0o700)
    config = folder / "config.yaml"
    config.write_text(f'listeners: [{{ address: "unix:{run}/proxy.sock", name: box, guard: off }}]\n')
    if subprocess.run(["bwrap", "--ro-bind", "/", "/", "--unshare-net", "true"], check=False,
                      stderr=subprocess.DEVNULL).returncode:
        pytest.skip("bubblewrap does not work here")
    host = Host(folder, processes, ["--config", str(config)])
    box = ["bwrap", "--ro-bind", "/", "/", "--dev", "/dev", "--proc", "/proc", "--tmpfs", "/run", "--bind", str(run),
           "/run/box", "--unshare-net", "--die-with-parent"]
    log = client_of(lambda argv, out: subprocess.Popen([*box, *argv], stdin=subprocess.DEVNULL, stdout=out),
                    "/run/box/proxy.sock", "127.0.0.1", str(web.port))
    restarts(host, log, 2)
