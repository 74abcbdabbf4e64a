"""From a CAL VM nothing of the host is reached but the proxy's port: by the gateway, by the bridge and by the SSH key.

As a program, in the VM: test_cal_guard.py SOCKS_PORT_AT HTTP_PORT_AT CONTROL; tries all, and prints what was answered.
"""
import concurrent.futures
import json
import subprocess
import sys

import pytest

import calvm
import client
import conftest
import harness
import netns

pytestmark = [pytest.mark.skipif(bool(calvm.why_not()), reason=calvm.why_not()), pytest.mark.timeout(600)]
OTHER = "198.51.100.7"          # one more address of the host
SIBLING = "192.168.64.3"        # another VM's
HOST_USER = f"claude@{netns.GATEWAY}"
PORT = 7070                     # where the bait is, on every address
HOST = ("127.0.0.1", "localhost", "::1", "127.1", "0x7f.1", "2130706433", "127.9.9.9", "0.0.0.0", "::", "localhost.",
        "LOCALHOST", "::ffff:127.0.0.1", "64:ff9b::7f00:1", netns.GATEWAY, netns.NET_HOST, OTHER, SIBLING,
        "me.example", "other.example", "169.254.169.254", "169.254.170.2", "fd00:ec2::254",
        "metadata.google.internal")
NAMES = {"me.example": "127.0.0.1", "other.example": OTHER, "metadata.google.internal": "169.254.169.254"}


def http_get(proxy, host, port):
    with client.dial(proxy) as s:
        s.sendall(f"GET http://{host}:{port}/ HTTP/1.1\r\nHost: {host}:{port}\r\nConnection: close\r\n\r\n".encode())
        status = int(client.read_head(s).split()[1])
        raise client.Refused(status, client.read_to_end(s).decode("latin-1")[:200])


def answer(ask, proxy, host, port):
    try:
        with ask(proxy, f"[{host}]" if ":" in host and ask is not client.socks5 else host, port):
            return "connected"
    except client.Refused as e:
        return e.code
    except OSError as e:
        return str(e)


def tries(socks, http, control):
    """What each way of asking answers for each place."""
    socks, http = conftest.listener_of(socks), conftest.listener_of(http)
    places = [(host, port) for host in HOST for port in (PORT, 22, 1080, 11080)] + [(f"unix:{control}", 1)]
    asked = ((client.socks5, socks), (client.http_connect, http), (http_get, http))
    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        todo = {f"{ask.__name__} {host} {port}": pool.submit(answer, ask, proxy, host, port) for host, port in places
                for ask, proxy in asked}
        return {what: done.result() for what, done in todo.items()}


def all_at_once(ask, many):
    with concurrent.futures.ThreadPoolExecutor(6) as pool:
        return list(pool.map(lambda words: ask(*words), many))


def bridge_of_vms(host):
    """The VM's link becomes a port of a bridge, as a real one is: so the host knows that network for its VMs'."""
    if host.run(["ip", "link", "add", "br0", "type", "bridge"], check=False).returncode:
        return False
    for words in (["address", "flush", "dev", "vnet0"], ["link", "set", "vnet0", "master", "br0"],
                  ["address", "add", f"{netns.GATEWAY}/24", "dev", "br0"], ["link", "set", "br0", "up"]):
        host.run(["ip", *words])
    return True


@pytest.fixture
def world(request, tmp_path):
    (tmp_path / "world").mkdir()
    with calvm.CalWorld(tmp_path, conftest.Authority(tmp_path / "authority")) as w:
        w.way = request.param
        w.bridged = bridge_of_vms(w.host)
        w.setup(w.way, "--socks", "off")
        w.host.address("lo", f"{OTHER}/32")
        w.host.address("lo", "169.254.169.254/32")
        w.host.hosts({**{name: netns.NET for name in calvm.SITES}, **NAMES})
        w.bait(PORT)
        w.start()
        w.sh("start_socks")
        yield w


@pytest.mark.parametrize("world", ["gateway", "bridge", "ssh"], indirect=True)
def test_the_host_is_out_of_reach(world):
    at = (f"{netns.GATEWAY}:1080",) * 2 if world.way == "gateway" else ("127.0.0.1:1080", "127.0.0.1:8080")
    control = harness.read_json(world.base / "ready.json")["control"]
    out = world.in_vm([sys.executable, "-B", __file__, *at, control]).stdout
    answers = json.loads(out)
    let_through = {what: code for what, code in answers.items() if code not in (1, 2, 400, 403)}
    if world.way == "ssh" and not world.bridged:    # then nothing tells the host that there are VMs
        let_through = {what: code for what, code in let_through.items() if SIBLING not in what}
    assert not let_through
    assert not world.baited()
    for scheme, place in zip(("socks5h", "http"), at):
        assert world.sh(f"curl -sS --proxy {scheme}://{place} https://github.com") == "github.com says hello\n"


@pytest.mark.parametrize("world", ["ssh"], indirect=True)
def test_the_key_opens_one_port(world):
    control = harness.read_json(world.base / "ready.json")["control"]

    def ssh(*options):
        argv = ["ssh", "-o", "BatchMode=yes", "-o", "ExitOnForwardFailure=yes", *options]
        return world.in_vm(argv, check=False)
    places = [f"[{host}]:{PORT}" for host in ("localhost", "::1", netns.GATEWAY, OTHER, netns.NET, "github.com")]
    for r in all_at_once(ssh, [("-W", place, HOST_USER) for place in
                               (*places, f"127.0.0.1:{PORT}", "127.0.0.1:22", "127.0.0.1:1080")]):
        assert b"administratively prohibited" in r.stderr and not r.stdout, r.args
    listen = [f"{at}:127.0.0.1:22" for at in ("127.0.0.1:1", "127.0.0.1:9999", "0.0.0.0:9999", "0", "1080",
                                              f"{world.host_home}/planted.sock")]
    for r in all_at_once(ssh, [("-N", "-R", at, HOST_USER) for at in (*listen, "0")]):
        assert r.returncode == 255 and b"remote port forwarding failed" in r.stderr, r.args
    assert not (world.host_home / "planted.sock").exists()
    for r in all_at_once(ssh, [(HOST_USER, "id"), ("-tt", HOST_USER), ("-s", HOST_USER, "sftp"),
                               ("-A", HOST_USER, "cat .ssh/authorized_keys")]):
        assert r.stdout == b"", r.args
    # -D and -L to elsewhere: the listener is there in the VM, and every connection is refused.
    for forward in (("-D", "127.0.0.1:7171"), ("-L", f"127.0.0.1:7171:127.0.0.1:{PORT}"),
                    ("-L", f"127.0.0.1:7171:{control}")):
        with subprocess.Popen([*world.vm.user, "ssh", "-N", *forward, HOST_USER], env=world.vm.env,
                              stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as p:
            try:
                harness.wait_for(lambda: world.vm.run(["nc", "-z", "127.0.0.1", "7171"], check=False).returncode == 0)
                get = ["--socks5", "127.0.0.1:7171", f"http://127.0.0.1:{PORT}/"] if forward[0] == "-D" else [
                    "http://127.0.0.1:7171/"]
                assert world.in_vm(["curl", "-sS", "-m", "10", *get], check=False).returncode in (52, 56, 97)
            finally:
                p.kill()        # ssh may look whether it was told to end, and sleep then for good
    assert not world.baited()


if __name__ == "__main__":
    print(json.dumps(tries(*sys.argv[1:])))
