"""A guest that calls by vsock, as one does under vfkit on a Mac: the real agent on a real arm64 kernel, behind a
stand-in for vfkit (fake_vfkit.py). The host is the protocol's in Python."""
import contextlib
import glob
import os
import shutil
import socket
import stat
import threading

import pytest

import harness
import netns
import vm_peer
from bridging import echo

HERE = os.path.dirname(os.path.abspath(__file__))
NONCE = bytes(range(32))
PORT, MAC = 5000, "5a:94:ef:61:77:73"
BOOT_S = 240
MIB = 1 << 20
MODULES = ["virtio_ring", "virtio", "virtio_pci_modern_dev", "virtio_pci_legacy_dev", "virtio_pci", "virtio_console",
           "failover", "net_failover", "virtio_net", "vsock", "vmw_vsock_virtio_transport_common",
           "vmw_vsock_virtio_transport"]
AGENT = os.path.join(harness.TREE, "build", "awsocks-agent-aarch64")


def kernel():
    """(kernel, folder of its modules) of arm64, or None."""
    found = sorted(glob.glob(os.path.join(harness.TREE, "build/kernel/aarch64/*/vmlinuz")))
    return (found[-1], os.path.join(os.path.dirname(found[-1]), "modules")) if found else None


def why_not():
    if not netns.available():
        return "no namespaces here"
    if not shutil.which("qemu-system-aarch64"):
        return "no qemu-system-aarch64 (make setup installs it)"
    if not kernel():
        return "no kernel in build/kernel/aarch64 (tests/setup-kernel.sh aarch64 fetches it)"
    return "" if os.path.exists(AGENT) else "no build/awsocks-agent-aarch64 (make build-agent AGENT_ARCH=aarch64)"


# None of the programs in it is ever sanitized.
pytestmark = [pytest.mark.skipif(bool(why_not()), reason=why_not()), pytest.mark.nosan]


def cpio(files):
    """A newc archive of [(name, mode, bytes)]."""
    out = b""
    for number, (name, mode, data) in enumerate(files + [("TRAILER!!!", 0, b"")]):
        fields = (number + 1, mode, 0, 0, 1, 0, len(data), 0, 0, 0, 0, len(name) + 1, 0)
        out += b"070701" + b"".join(b"%08x" % field for field in fields) + name.encode() + b"\0"
        out += b"\0" * (-len(out) % 4) + data
        out += b"\0" * (-len(out) % 4)
    return out


def read(path):
    with open(path, "rb") as f:
        return f.read()


def initrd(settings):
    modules = {os.path.basename(p): p for p in glob.glob(f"{kernel()[1]}/**/*.ko", recursive=True)}
    order = [f"{name}.ko" for name in MODULES if f"{name}.ko" in modules]
    files = [(name, stat.S_IFDIR | 0o755, b"") for name in ("dev", "etc", "proc", "sys", "m")]
    files += [("init", stat.S_IFREG | 0o755, read(AGENT)),
              ("conf", stat.S_IFREG | 0o600, "".join(f"{line}\n" for line in settings).encode()),
              ("m/order", stat.S_IFREG | 0o644, "".join(f"{name}\n" for name in order).encode())]
    return cpio(files + [(f"m/{name}", stat.S_IFREG | 0o644, read(modules[name])) for name in order])


def in_background(function, *args):
    """A stream that is stalled ends with its link, in the midst of it."""
    def run():
        with contextlib.suppress(vm_peer.Broken):
            function(*args)

    threading.Thread(target=run, daemon=True).start()


@pytest.fixture
def world():
    with netns.World() as w:
        yield w


class Site:
    """An echo server outside."""

    def __init__(self, world):
        self.socket = world.net.listener(netns.NET, 7)
        self.place = (netns.NET, 7)
        in_background(self._run)

    def _run(self):
        while True:
            s, _ = self.socket.accept()
            in_background(self._serve, s)

    @staticmethod
    def _serve(s):
        with s, contextlib.suppress(OSError):
            echo(s)


class Guest:
    """vfkit's command line as awsocks writes it, with us listening."""

    def __init__(self, world, folder, processes, late):
        image, path = folder / "initrd", str(folder / "link.sock")
        image.write_bytes(initrd([f"nonce={NONCE.hex()}", "transport=vsock", f"port={PORT}", "net=dhcp"]))
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.bind(path)
        self.socket.listen(8)
        self.socket.settimeout(BOOT_S)
        self.console = folder / "console"
        argv = ["--cpus", "1", "--memory", "128", "--log-level", "error", "--kernel", kernel()[0], "--initrd", image,
                "--kernel-cmdline", "quiet loglevel=4 panic=-1 audit=0 console=hvc0",
                "--device", f"virtio-vsock,port={PORT},socketURL={path},listen",
                "--device", f"virtio-net,nat,mac={MAC}", "--device", "virtio-rng",
                "--device", f"virtio-serial,logFilePath={self.console}"]
        self.vfkit = harness.Process([*world.host.wrap, os.path.join(HERE, "fake_vfkit.py"), *argv], folder, "vfkit",
                                     env={**os.environ, "LATE": str(late)})
        processes.append(self.vfkit)
        self.host = vm_peer.Host(self.socket.accept()[0], NONCE)

    def status(self):
        return self.vfkit.child.wait(BOOT_S)


def test_hello_network_and_bytes_both_ways(world, tmp_path, processes):
    site = Site(world)
    guest = Guest(world, tmp_path, processes, late=5)       # it asks again until the port is open
    hello = guest.host.hello(BOOT_S)
    assert hello["agent"].endswith("aarch64")
    network = guest.host.network(limit_s=BOOT_S)
    assert network["address"] == "10.0.2.15" and network["gateway"] == "10.0.2.2", "what DHCP gave"
    stream = guest.host.open([site.place])
    data = b"".join(harness.pattern(4 * MIB))
    in_background(stream.send, data, BOOT_S)
    assert stream.exactly(len(data)) == data
    stream.eof()
    assert stream.read() == b""
    guest.host.shutdown()
    guest.host.wait_over()
    assert guest.status() == 0, "the guest powers off, and with it ends its vfkit"


def test_a_stalled_stream_does_not_hold_up_another(world, tmp_path, processes):
    site = Site(world)
    guest = Guest(world, tmp_path, processes, late=0)
    guest.host.hello(BOOT_S)
    guest.host.network(limit_s=BOOT_S)
    stalled, other = guest.host.open([site.place]), guest.host.open([site.place])
    stalled.hold = True
    in_background(stalled.send, b"".join(harness.pattern(4 * MIB)), BOOT_S)
    data = b"".join(harness.pattern(MIB))
    in_background(other.send, data, BOOT_S)
    assert other.exactly(len(data)) == data
    # The host is gone: so is the guest.
    guest.host.close()
    assert guest.status() == 0
