#!/usr/bin/env python3
"""What VM mode costs: `make bench-vm`.

    make bench-vm                       # three rounds
    make bench-vm ROUNDS=7              # figures to keep

Everything runs in network namespaces of its own (tests/integration/vm_world.py), under TCG unless --accel kvm is given.

  boot     from the spawn of the VMM to the guest's first word: of the bare VM (below), and of awsocks' to its HELLO,
           and until the first dial is answered
  bare     bytes over virtio-serial by a program that does nothing else (tests/bench/vm/bare.c), down (to the host) and
           up, in pieces of a frame's size; the round trip of one byte
  link     the same over the link: a stream of vm/conn.c (tests/bench/vm/host.c) to a source and a sink in the guest
           (tests/bench/vm/guest.c), by the files of the agent that have to do with the link. As many processes as bare
  proxy    that guest through awsocks, from a SOCKS client: listener and relay besides, but no NAT
  nat      through awsocks and the guest's NAT to a server outside, by the agent as it is shipped
  memory   of the VMM, and what the guest has left

The ways take turns within a round. What bare and link do in their first turn does not count: the emulator translates
their code then. The ratio is link to bare within a round, and its median is printed: at least
--least of it (0.8) is asked for. The client of bare, proxy and nat is the same. cpu is what the emulated processor's
thread had of a processor's time for a MiB: it says what the guest does for it whatever else this machine does. Every
figure stands beside the one of the study that VM mode was designed after (another init, another day, an idle
machine): STUDY.
"""
import argparse
import contextlib
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [os.path.join(os.path.dirname(HERE), "integration"), os.path.join(HERE, "vm")]
import client          # noqa: E402
import harness         # noqa: E402
import image           # noqa: E402
import vm_world        # noqa: E402

MIB = 1 << 20
LIMIT_S = 300
STUDY = {("boot", "bare"): "2.1 s (2.0 to 2.4)", ("boot", "hello"): "2.1 s (2.0 to 2.4)",
         ("bare", "down"): "220 to 250 (115 to 251)", ("bare", "up"): "170 to 240 (126 to 302)",
         ("bare", "rtt"): "62 to 123", ("nat", "down"): "65 to 95 (36 to 110)", ("nat", "up"): "25 to 35 (16 to 43)",
         ("nat", "rtt"): "137 to 266", ("memory", "resident"): "186 MB", ("memory", "anonymous"): "163 MB",
         ("memory", "available"): "72 MB"}
PORT = 5000


# ---- the client, and the server outside: 'D' and 'U' with a length, 'E' with a count, as in bare.c

def ask(s, what, n):
    s.sendall(what + n.to_bytes(8, "big"))


def down(s, n):
    """MB/s"""
    buffer, left, begun = bytearray(256 * 1024), n, time.monotonic()
    ask(s, b"D", n)
    while left:
        got = s.recv_into(buffer, min(left, len(buffer)))
        if not got:
            raise ConnectionError(f"{left} bytes are missing")
        left -= got
    return n / (time.monotonic() - begun) / 1e6


def up(s, n):
    piece, begun = bytes(256 * 1024), time.monotonic()
    ask(s, b"U", n)
    for _ in range(n // len(piece)):
        s.sendall(piece)
    if client.read_exactly(s, 1) != b"K":
        raise ConnectionError("no answer")
    return n / (time.monotonic() - begun) / 1e6


def rtt(s, count):
    """Median, in us."""
    took = []
    ask(s, b"E", count)
    for _ in range(count):
        begun = time.monotonic()
        s.sendall(b"x")
        client.read_exactly(s, 1)
        took.append(time.monotonic() - begun)
    return statistics.median(took) * 1e6


class Server(vm_world.Listener):
    def serve(self, s):
        piece = bytes(256 * 1024)
        with s, contextlib.suppress(OSError):
            s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            while True:
                head = client.read_exactly(s, 9)
                what, n = head[:1], int.from_bytes(head[1:], "big")
                while n and what == b"D":
                    n -= s.send(piece[:min(n, len(piece))])
                while n and what == b"U":
                    n -= len(s.recv(min(n, len(piece))))
                for _ in range(n if what == b"E" else 0):
                    s.sendall(client.read_exactly(s, 1))
                if what == b"U":
                    s.sendall(b"K")


def measure(s, a, vcpu_s=None):
    s.settimeout(LIMIT_S)
    with contextlib.suppress(OSError):
        s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    out = {}
    for name, way in (("down", down), ("up", up)):
        before = vcpu_s() if vcpu_s else 0
        out[name] = way(s, a.mib * MIB)
        if vcpu_s:
            out["cpu " + name] = (vcpu_s() - before) * 1000 / a.mib
    out["rtt"] = rtt(s, a.count)
    return out


# ---- the VMs

class Vm:
    """QEMU with one of the benchmark's inits, and the host's end of its port."""

    def __init__(self, folder, init, a, conf=b""):
        kernel, modules = vm_world.kernel()
        initrd = os.path.join(folder, os.path.basename(init) + ".img")
        image.initramfs(initrd, init, modules, conf)
        self.s, far = socket.socketpair()
        self.begun = time.monotonic()
        self.child = subprocess.Popen(image.qemu(kernel, initrd, far.fileno(), a.accel), pass_fds=[far.fileno()],
                                      stdin=subprocess.DEVNULL)
        far.close()

    def vcpu_s(self):
        """Processor time of its vCPU: its busiest thread's."""
        best = 0
        for task in os.listdir(f"/proc/{self.child.pid}/task"):
            with open(f"/proc/{self.child.pid}/task/{task}/schedstat", encoding="ascii") as f:
                best = max(best, int(f.read().split()[0]))
        return best / 1e9

    def close(self):
        self.s.close()
        self.child.wait(20)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


class Bare(Vm):
    def __init__(self, folder, a):
        super().__init__(folder, a.bare, a)
        self.s.settimeout(LIMIT_S)
        if self.s.recv(1) != b"R":
            sys.exit("vm: the bare VM does not come up")
        self.boot_s = time.monotonic() - self.begun

    def measure(self, a):
        return measure(self.s, a, self.vcpu_s)


class Link(Vm):
    """With vm-host at the host's end."""

    def __init__(self, folder, a):
        nonce = os.urandom(32).hex()
        super().__init__(folder, a.guest, a, f"nonce={nonce}\n".encode())
        self.host = subprocess.Popen([a.host, str(self.s.fileno()), nonce, str(a.mib), str(a.count)],
                                     pass_fds=[self.s.fileno()], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.s.close()
        if self._line() != b"ready":
            sys.exit("vm: the link does not come up")

    def _line(self):
        return self.host.stdout.readline().strip()

    def measure(self, a):
        out = {}
        for name in ("down", "up", "rtt"):
            before = self.vcpu_s()
            self.host.stdin.write(name.encode() + b"\n")
            self.host.stdin.flush()
            out[name] = float(self._line())
            if name != "rtt":
                out["cpu " + name] = (self.vcpu_s() - before) * 1000 / a.mib
        return out

    def close(self):
        self.host.stdin.close()
        self.host.wait(20)
        super().close()


@contextlib.contextmanager
def proxy_of(world, a, agent=None):
    """awsocks with its VM running, and how long that took: (proxy, seconds to HELLO, to the first answer)."""
    options = ["--route-default", "vm-direct", "--vm-start", "on-demand", "--vm-accel", a.accel]
    if agent:
        options += ["--vm-agent", world.seen(agent)]
    proxy = world.awsocks(*options)
    try:
        begun = time.monotonic()
        world.connect(proxy, PORT).close()
        first_s = time.monotonic() - begun
        yield proxy, hello_s(proxy), first_s
    finally:
        proxy.stop()


def hello_s(proxy):
    return proxy.vm()["hello_ms"] / 1000


class World(vm_world.World):
    """With the server, on a port that the guest of the benchmark takes for its own."""

    def __init__(self):
        super().__init__()
        self.server = self._keep(Server(self.net.listening("tcp", vm_world.NET, PORT)))

    @staticmethod
    def connect(proxy, port):
        return client.socks5(proxy.plain, vm_world.NET, port)


def memory(proxy):
    """{of the VMM, of the guest: MB}"""
    told = proxy.vm()
    with open(f"/proc/{told['pid']}/status", encoding="ascii") as f:
        fields = dict(line.split(":", 1) for line in f)
    return {"resident": int(fields["VmRSS"].split()[0]) * 1024 / 1e6,
            "anonymous": int(fields["RssAnon"].split()[0]) * 1024 / 1e6,
            "available": told["guest"]["memory_available"] / 1e6}


def round_of(world, folder, a, got):
    def keep(way, figures):
        for name, value in figures.items():
            got.setdefault((way, name), []).append(value)
    with Bare(folder, a) as bare:
        keep("boot", {"bare": bare.boot_s})
        with Link(folder, a) as link:
            for vm in (bare, link):
                vm.measure(a)
            for _ in range(a.turns):
                keep("link", link.measure(a))
                keep("bare", bare.measure(a))
        with proxy_of(world, a, a.guest) as (proxy, _, _), world.connect(proxy, PORT) as s:
            keep("proxy", measure(s, a))
            keep("bare", bare.measure(a))
    with proxy_of(world, a) as (proxy, hello, first):
        keep("boot", {"hello": hello, "first answer": first})
        with world.connect(proxy, PORT) as s:
            keep("nat", measure(s, a))
        keep("memory", memory(proxy))


UNITS = {"boot": "s", "memory": "MB"}


def show(got):
    print("| | | median | least | most | n | the study's |\n|---|---|---|---|---|---|---|")
    for (way, name), values in got.items():
        unit = UNITS.get(way, "us" if name == "rtt" else "ms/MiB" if name.startswith("cpu") else "MB/s")
        digits = 2 if unit == "s" else 1 if unit == "ms/MiB" else 0
        cells = " | ".join(f"{f(values):.{digits}f}" for f in (statistics.median, min, max))
        print(f"| {way} | {name}, {unit} | {cells} | {len(values)} | {STUDY.get((way, name), '')} |")


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("--rounds", type=int, default=3)
    ap.add_argument("--turns", type=int, default=3, help="of link and bare in a round")
    ap.add_argument("--mib", type=int, default=96)
    ap.add_argument("--count", type=int, default=1000, help="round trips")
    ap.add_argument("--accel", default="tcg", choices=["tcg", "kvm"])
    ap.add_argument("--least", type=float, default=0.8, help="of link to bare")
    ap.add_argument("--bare", default="build/tools/vm-bare")
    ap.add_argument("--guest", default="build/tools/vm-guest")
    ap.add_argument("--host", default="build/tools/vm-host")
    a = ap.parse_args()
    a.bare, a.guest, a.host = (os.path.abspath(f) for f in (a.bare, a.guest, a.host))
    if vm_world.why_not("qemu"):
        sys.exit(f"vm: {vm_world.why_not('qemu')}")
    got, ratios = {}, {"down": [], "up": []}
    with World() as world, tempfile.TemporaryDirectory() as folder:
        for rnd in range(a.rounds):
            mine = {}
            round_of(world, folder, a, mine)
            for way, ratio in ratios.items():
                ratio.append(statistics.median(mine["link", way]) / statistics.median(mine["bare", way]))
            for key, values in mine.items():
                got.setdefault(key, []).extend(values)
            print(f"vm: round {rnd} done", file=sys.stderr)
    show(got)
    good = True
    for way, ratio in ratios.items():
        middle = statistics.median(ratio)
        good = good and middle >= a.least
        print(f"\nlink to bare, {way}: {middle:.2f} ({min(ratio):.2f} to {max(ratio):.2f}), wanted: {a.least}")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
