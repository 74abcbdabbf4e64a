"""awsocks --mode vm with vfkit, as far as a Linux has it: its command line, the socket that awsocks listens at, and a
real arm64 guest that calls there (fake_vfkit.py)."""
import contextlib
import os
import shutil
import socket

import pytest

import client
import harness
import netns
import vm_peer
from test_vm_vsock import AGENT, BOOT_S, HERE, MIB, Site, in_background, kernel, why_not

pytestmark = pytest.mark.skipif(bool(why_not()), reason=why_not())


@pytest.fixture
def world():
    with netns.World() as w:
        yield w


class Vfkit:
    """A program that awsocks starts as vfkit. Its name tells awsocks what kind of guest it runs."""

    def __init__(self, folder):
        self.said, self.gate = folder / "vfkit.argv", folder / "vfkit.gate"
        self.program = folder / "vfkit-aarch64"
        self.program.write_text(
            f"#!/bin/sh\nARGV='{self.said}' GATE='{self.gate}' LATE=3 QEMU='{shutil.which('qemu-system-aarch64')}' "
            f"exec /usr/bin/python3 -B '{HERE}/fake_vfkit.py' \"$@\"\n")
        self.program.chmod(0o755)

    def options(self):
        return ["--mode", "vm", "--lazy", "--vm-driver", "vfkit", "--vm-program", self.program, "--vm-agent", AGENT,
                "--vm-kernel", kernel()[0], "--vm-modules", kernel()[1], "--vm-boot-timeout", f"{BOOT_S}s",
                "--route-default", "vm-direct"]

    def argv(self):
        return self.said.read_text().splitlines()

    def link(self):
        """The path of the socket that awsocks listens at."""
        words = next(word for word in self.argv() if word.startswith("virtio-vsock,"))
        return dict(word.partition("=")[::2] for word in words.split(","))["socketURL"]


def stranger(path):
    s = socket.socket(socket.AF_UNIX)
    s.settimeout(harness.LIMIT_S)
    s.connect(path)
    return s


def connected(proxy, site):
    """Before it runs a dial may meet its limit."""
    with contextlib.suppress(client.Refused, OSError):
        return client.socks5(proxy.listener, *site.place)
    return None


def assert_dropped(s):
    """With a GOODBYE, and no more."""
    with contextlib.suppress(ConnectionResetError):
        assert client.read_to_end(s)[:1] in (b"", bytes([vm_peer.GOODBYE]))


def test_the_guest_gets_in_and_no_stranger_does(world, awsocks, tmp_path):
    site, vfkit = Site(world), Vfkit(tmp_path)
    proxy = awsocks(*vfkit.options(), listen=f"unix:{tmp_path}/run/proxy.sock", wrap=world.host.wrap)
    proxy.wait_for(vfkit.said.exists, what="vfkit's start")
    # Whoever of this user comes first: one of another boot, one that talks nonsense, one that says nothing.
    other = vm_peer.Guest(stranger(vfkit.link()), bytes(32))
    other.wait_over()
    with stranger(vfkit.link()) as nonsense, stranger(vfkit.link()):
        nonsense.sendall(b"GET / HTTP/1.1\r\nHost: example.com\r\n\r\n")
        assert_dropped(nonsense)
        vfkit.gate.touch()
        with harness.wait_for(lambda: connected(proxy, site), BOOT_S, "the guest") as s:
            data = b"".join(harness.pattern(4 * MIB))
            in_background(s.sendall, data)
            assert client.read_exactly(s, len(data)) == data
    folder = os.path.dirname(vfkit.link())
    assert os.stat(folder).st_mode & 0o077 == 0, "nobody else's"
    assert proxy.stop() == 0, proxy.log()
    assert not os.path.exists(folder), "nothing is left"
    assert {one["route"] for one in proxy.audit()} == {"vm-direct"}
