"""The stand-in for vfkit refuses what vfkit refuses: otherwise a test that passes with it would say nothing."""

import pathlib
import subprocess

import pytest

FAKE = pathlib.Path(__file__).with_name("fake_vfkit.py")
GOOD = {"--cpus": "1", "--memory": "128", "--log-level": "error", "--kernel": "KERNEL", "--initrd": "INITRD",
        "--kernel-cmdline": "quiet"}
DEVICES = ["virtio-vsock,port=5000,socketURL=/tmp/x/link.sock,listen", "virtio-net,nat,mac=5a:94:ef:00:00:01",
           "virtio-rng", "virtio-serial,logFilePath=/tmp/x/console"]


@pytest.fixture
def call(tmp_path):
    image = tmp_path / "Image"
    image.write_bytes(bytes(0x38) + b"ARMd" + bytes(64))
    packed = tmp_path / "packed"
    packed.write_bytes(b"\x1f\x8b" + bytes(100))
    initrd = tmp_path / "initrd"
    initrd.write_bytes(b"070701")
    paths = {"KERNEL": str(image), "INITRD": str(initrd), "PACKED": str(packed)}
    # Stands for QEMU and for the device: says what it was called with.
    program = tmp_path / "program"
    program.write_text('#!/bin/sh\nprintf "%s\\n" "$@"\n')
    program.chmod(0o755)

    def run(options, devices):
        argv = [str(FAKE)]
        for name, value in options.items():
            argv += [name, paths.get(value, value)]
        for device in devices:
            argv += ["--device", device]
        env = {"PATH": "/usr/bin:/bin", "QEMU": str(program), "VSOCKBACK": str(program)}
        return subprocess.run(argv, env=env, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60)

    return run


def test_what_awsocks_says_is_taken(call):
    done = call(GOOD, DEVICES)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert "virtio-net-pci,netdev=n,mac=5a:94:ef:00:00:01,romfile=" in lines
    assert lines[lines.index("-append") + 1] == "quiet"
    assert "/tmp/x/link.sock" in lines and "5000" in lines


@pytest.mark.parametrize("changed, says", [
    ({"--kernel": "PACKED"}, "kernel must be uncompressed"),
    ({"--memory": "128M"}, "memory"),
    ({"--cpus": "one"}, "cpus"),
    ({"--mem": "128"}, "unknown flag: --mem"),
    ({"--initrd": None}, "missing"),
    ({"--kernel": "/nowhere/Image"}, "/nowhere/Image"),
])
def test_options_that_it_refuses(call, changed, says):
    options = {name: value for name, value in {**GOOD, **changed}.items() if value is not None}
    done = call(options, DEVICES)
    assert done.returncode == 1 and says in done.stderr


@pytest.mark.parametrize("device, says", [
    ("virtio-vsock,port=5000,socketUrl=/tmp/x,listen", "Unknown option for virtio-vsock devices: socketUrl"),
    ("virtio-vsock,port=,socketURL=/tmp/x,listen", "port"),
    ("virtio-vsock,port=5000,socketURL=/tmp/a,b,listen", "Unknown option for virtio-vsock devices: b"),
    ("virtio-vsock,port=5000,socketURL=/tmp/a?b,listen", "socketURL"),
    ("virtio-vsock,port=5000,socketURL=/tmp/" + 100 * "x" + ",listen", "too long"),
    ("virtio-net,mac=5a:94:ef:00:00:01", "must be set"),
    ("virtio-net,nat=1,mac=5a:94:ef:00:00:01", "Unexpected value"),
    ("virtio-net,nat,mac=5a:94:ef", "invalid MAC"),
    ("virtio-rng,src=x", "Unknown option for virtio-rng"),
    ("virtio-serial", "must be set"),
    ("virtio-console", "unknown device type: virtio-console"),
])
def test_devices_that_it_refuses(call, device, says):
    kind = device.split(",")[0]
    done = call(GOOD, [d for d in DEVICES if d.split(",")[0] != kind] + [device])
    assert done.returncode == 1 and says in done.stderr
