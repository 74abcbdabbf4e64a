"""VM mode, whole: what leaves awsocks leaves by the VM's NAT, as vm_world.py has it, with QEMU (TCG) and with the
agent as a process.
"""
import contextlib
import hashlib
import os
import socket
import threading

import pytest

import client
import harness
import vm_world
from vm_world import CLOSED, DIGEST, ECHO, NAT, NET, SITE, SOURCE, VPC

MIB = 1 << 20
DRIVERS = ["process", pytest.param("qemu", marks=pytest.mark.nosan)]


class Place:
    """A world with an emulator and a proxy in it."""

    def __init__(self, driver):
        self.driver = driver
        self.world = vm_world.World()
        try:
            self.aws = self.world.localaws()
            self.proxy = self.world.awsocks("--route-default", "vm-direct", "--route-proxy", VPC, driver=driver,
                                            aws=self.aws)
            vm_world.running(self.proxy)
        except BaseException:
            self.world.close()
            raise

    def socks(self, host, port, guarded=False):
        # longer than awsocks' own limit, which is LIMIT_S too
        return client.socks5(self.proxy.guarded if guarded else self.proxy.plain, host, port,
                             limit_s=vm_world.BOOT_S)

    def code(self, host, port=80, guarded=False):
        """SOCKS' answer; 0: connected."""
        try:
            self.socks(host, port, guarded).close()
            return 0
        except client.Refused as e:
            return e.code


@pytest.fixture(scope="module", params=DRIVERS)
def place(request):
    if vm_world.why_not(request.param):
        pytest.skip(vm_world.why_not(request.param))
    here = Place(request.param)
    yield here
    try:
        assert here.proxy.stop() == 0, here.proxy.log()
        here.proxy.check_clean()
    finally:
        here.world.close()


def curl(place, proxy, *args):
    """curl in awsocks' namespace, which has no other way out."""
    return place.world.host.run(["curl", "-q", "-sS", "--fail", "--max-time", vm_world.BOOT_S, "--proxy", proxy, *args],
                                limit_s=vm_world.BOOT_S + 10).stdout


def both_ways(place, proxy, url, folder, size):
    """Nothing is lost, doubled or swapped, down or up."""
    down = curl(place, proxy, f"{url}/bytes/{size}")
    assert hashlib.sha256(down).hexdigest() == harness.pattern_digest(size)
    up = vm_world.readable(harness.pattern_file(os.path.join(folder, "up"), size))
    assert curl(place, proxy, "--data-binary", f"@{up}", "-H", "Expect:", f"{url}/digest").decode() == \
        harness.pattern_digest(size)


@pytest.mark.parametrize("size", [8 * MIB, pytest.param(64 * MIB, marks=pytest.mark.long)])
@pytest.mark.parametrize("scheme", ["socks5h", "http"])
def test_curl_over_vm_direct(place, scheme, size):
    """The host has no way to the site, and the site sees the NAT's address."""
    assert place.world.host.run(["ip", "route"]).stdout == b""
    proxy = f"{scheme}://{place.proxy.address}"
    both_ways(place, proxy, f"http://{SITE}", place.world.new_folder("curl"), size)
    assert place.world.site.peers == {NAT} and SITE in place.world.dns.asked


@pytest.mark.parametrize("size", [8 * MIB, pytest.param(64 * MIB, marks=pytest.mark.long)])
def test_curl_over_proxy(place, size):
    """The session, its API and its names, too: AWS is reached from inside the guest."""
    proxy = f"socks5h://{place.proxy.address}"
    both_ways(place, proxy, f"http://{VPC}:8080", place.world.new_folder("curl"), size)
    stats = place.aws.stats()
    assert stats["StartSession"] >= 1 and stats["ws_bytes_out"] > size
    assert {f"ssm.{vm_world.REGION}.amazonaws.com", f"ssmmessages.{vm_world.REGION}.amazonaws.com"} <= \
        set(place.world.dns.asked)
    assert VPC not in place.world.dns.asked


def identity(pid):
    """Real and effective uid, and the capabilities it has."""
    with open(f"/proc/{pid}/status", encoding="ascii") as f:
        fields = dict(line.rstrip("\n").split(":\t", 1) for line in f if ":\t" in line)
    return {*fields["Uid"].split(), *fields["Gid"].split()}, {fields[k] for k in ("CapPrm", "CapEff", "CapAmb")}


def test_nobody_has_any_right(place):
    assert place.code(SITE) == 0
    below = [pid for pid, line in vm_world.processes().items()
             if place.world.folder in line and ("awsocks" in line.split()[0] or "qemu" in line.split()[0])]
    nobody = {str(vm_world.NOBODY)} if os.geteuid() == 0 else {str(os.getuid()), str(os.getgid())}
    emulator = {place.aws.pid, place.aws.door.pid}
    judged = 0
    for pid in set(below) - emulator:
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):     # one that has ended since
            ids, capabilities = identity(pid)
            assert ids == nobody and capabilities == {"0" * 16}, vm_world.processes().get(pid)
            judged += 1
    assert judged >= 2


def test_half_close(place):
    """The server answers when the client's direction has ended, and it does so through the guest."""
    size = 3 * MIB + 17
    with place.socks(NET, DIGEST) as s:
        for piece in harness.pattern(size):
            s.sendall(piece)
        s.shutdown(socket.SHUT_WR)
        assert client.read_to_end(s).decode() == f"{size} {harness.pattern_digest(size)}"


def test_causes_are_told_apart(place):
    """Refused, no such name, no way, nobody answers, no IPv6: each has its own SOCKS reply."""
    wanted = {(NET, CLOSED): {5}, ("nowhere.example.com", 80): {4}, (vm_world.UNREACHABLE, 80): {3, 4},
              (vm_world.DROPPED, 80): {6}, ("2001:db8::7", 80): {3, 4, 8}, ("six.example.com", 80): {3, 4, 8}}
    got = {}

    def ask(to):
        got[to] = place.code(*to)
    asking = [threading.Thread(target=ask, args=(to,)) for to in wanted]
    for t in asking:
        t.start()
    for t in asking:
        t.join(vm_world.BOOT_S)
    assert {to: code for to, code in got.items() if code not in wanted[to]} == {} and len(got) == len(wanted)
    told = {(one["host"], one["port"]): one.get("error") for one in place.proxy.audit()}
    assert all(told[to] for to in wanted)
    # A process on one machine meets the reasons of its kernel, a guest those of the NAT's.
    assert "refused" in told[NET, CLOSED]


@pytest.mark.parametrize("guarded", [False, True], ids=["plain", "guarded"])
def test_the_guard(place, guarded):
    """Nothing of this host, of the guest or beside it is reached, by address or by name."""
    hosts = [*vm_world.AROUND[place.driver], f"gateway.{place.driver}.example.com", "127.0.0.1", "127.1.2.3",
             "loopback.example.com", "localhost", "169.254.169.254", "metadata.example.com", "0.0.0.0", "::1",
             f"::ffff:{vm_world.AROUND[place.driver][1]}", "::ffff:127.0.0.1", "224.0.0.1", "255.255.255.255",
             NAT, "host.example.com"]
    codes = {host: place.code(host, 80, guarded) for host in hosts}
    if codes["localhost"] == 4:         # the guest has no such name
        del codes["localhost"]
    assert {host: code for host, code in codes.items() if code != 2} == {}
    assert not any(one.count for one in place.world.forbidden)
    told = {one["host"]: one.get("error") for one in place.proxy.audit()}
    assert all(told[host] for host in hosts if "::ffff" not in host)       # it is told by its other name


@pytest.mark.parametrize("guarded", [False, True], ids=["plain", "guarded"])
def test_a_name_with_a_good_and_a_bad_address(place, guarded):
    for _ in range(4):
        with place.socks(f"both.{place.driver}.example.com", 80, guarded) as s:
            s.sendall(b"GET /bytes/10 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            assert client.read_head(s).startswith(b"HTTP/1.1 200")
    assert not any(one.count for one in place.world.forbidden)


def test_a_name_that_changes(place):
    """What was judged is what is connected to."""
    name = f"rebind-{place.driver}.example.com"
    place.world.dns.names[name] = [[NET], ["127.0.0.1", vm_world.AROUND[place.driver][1]]]
    codes = [place.code(name) for _ in range(6)]
    assert set(codes) <= {0, 2} and 2 in codes
    assert not any(one.count for one in place.world.forbidden)


def round_trips(s, count):
    for i in range(count):
        s.sendall(bytes([i & 255]) * 100)
        assert client.read_exactly(s, 100) == bytes([i & 255]) * 100


def stalled(place, asked):
    """A stream whose reader does not read, once its sender can send no more."""
    s = place.socks(NET, SOURCE)
    before = [-1]

    def stands():
        now, last = place.world.source.sent, before[0]
        before[0] = now
        return now == last and now > asked
    harness.wait_for(stands, limit_s=vm_world.BOOT_S, what="the source to stall")
    return s


def test_a_stalled_reader_stops_nobody_else(place):
    """Both ways, and more than any window or buffer holds."""
    size = 8 * MIB
    with stalled(place, 0), stalled(place, place.world.source.sent):
        assert vm_world.fetch(place.proxy.plain, place.world.new_folder("stall"), size) == harness.pattern_digest(size)
        with place.socks(NET, DIGEST) as s:
            for piece in harness.pattern(size):
                s.sendall(piece)
            s.shutdown(socket.SHUT_WR)
            assert client.read_to_end(s).decode() == f"{size} {harness.pattern_digest(size)}"
        with place.socks(NET, ECHO) as s:
            round_trips(s, 200)


def test_many_at_once(place):
    """Streams keep apart what is theirs."""
    size, wrong = 300_001, []

    def one(i):
        with place.socks(NET, ECHO) as s:
            data = hashlib.shake_256(bytes([i])).digest(size)
            threading.Thread(target=s.sendall, args=(data,), daemon=True).start()
            if client.read_exactly(s, size) != data:
                wrong.append(i)
            done.append(i)
    done = []
    ts = [threading.Thread(target=one, args=(i,)) for i in range(24)]
    for t in ts:
        t.start()
    for t in ts:
        t.join(vm_world.BOOT_S)
    assert sorted(done) == list(range(24)) and not wrong


def test_what_can_be_seen(place):
    """`awsocks vm status` and `console`."""
    assert place.code(SITE) == 0
    told = place.proxy.vm()
    assert told["state"] == "running", told
    said = place.proxy.ctl("vm", "console").stdout
    assert place.driver == "process" or said is not None
