#!/usr/bin/env python3
"""A stand-in for vfkit, for tests: its command line, its refusals, and a guest that really boots.

What Virtualization.framework does there is done here by QEMU (TCG; arm64, or x86-64 as on an Intel Mac: QEMU's name
tells) with build/tools/vsockback as its vsock device: the guest connects to (CID 2, PORT), and the program that
listens at socketURL gets that connection. It is as exact as vfkit where awsocks can notice: options are refused with
vfkit's exit status, an arm64 kernel must be a raw Image, the port opens after the guest runs (so that its first
connects fail), and there is no network but NAT by DHCP.

Settings of the stand-in itself come by environment (of the script that calls it, where awsocks is to): VSOCKBACK, QEMU,
LATE (how many connects find the port closed), ARGV (a file for the words it was called with), GATE (a file that it
waits for, then).
"""

import ctypes
import os
import pathlib
import re
import signal
import socket
import subprocess
import sys
import threading
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
GUEST_CID = 3
SUN_PATH_MAX = 104  # of macOS, with its NUL
FORCE_STOP_S = 5
GATE_S = 60
SINGLE = {"--cpus": "-c", "--memory": "-m", "--kernel": "-k", "--initrd": "-i", "--kernel-cmdline": "-C",
          "--log-level": None, "--pidfile": None, "--restful-uri": None, "--timesync": "-t", "--bootloader": "-b"}


class Refused(Exception):
    """What vfkit would not do either."""


def settings():
    found = {"VSOCKBACK": str(ROOT / "build/tools/vsockback"), "QEMU": "qemu-system-aarch64", "LATE": "2"}
    found.update((key, os.environ[key]) for key in ("VSOCKBACK", "QEMU", "LATE", "ARGV", "GATE") if key in os.environ)
    return found


def write_whole(path, text):
    """Whoever sees the file sees all of it."""
    new = pathlib.Path(f"{path}.new")
    new.write_text(text)
    new.rename(path)


def wait_for_file(path):
    for _ in range(GATE_S * 50):
        if os.path.exists(path):
            return
        time.sleep(0.02)
    raise Refused(f"nobody made {path}")


def words(argv):
    """Options as cobra reads them: --name value, --name=value."""
    long_of = {short: name for name, short in SINGLE.items() if short} | {"-d": "--device"}
    one, devices = {}, []
    rest = list(argv)
    while rest:
        name, equals, value = rest.pop(0).partition("=")
        name = long_of.get(name, name)
        if name not in SINGLE and name != "--device":
            raise Refused(f"unknown flag: {name}" if name.startswith("-") else f"unknown command {name!r}")
        if not equals:
            if not rest:
                raise Refused(f"flag needs an argument: {name}")
            value = rest.pop(0)
        if name == "--device":
            devices.append(value)
        else:
            one[name] = value
    return one, devices


def number(text, what):
    if not re.fullmatch(r"[0-9]+", text):
        raise Refused(f"{what}: {text!r} is no number")
    return int(text)


def pairs(device, known, flags=()):
    kind, *rest = device.split(",")
    found = {}
    for word in filter(None, rest):
        key, equals, value = word.partition("=")
        if key not in known and key not in flags:
            raise Refused(f"Unknown option for {kind} devices: {key}")
        if key in flags and equals and value:
            raise Refused(f"Unexpected value for {kind} '{key}' option: {value}")
        found[key] = value
    return found


def read_vsock(device):
    found = pairs(device, ("port", "socketURL"), ("listen", "connect"))
    path = found.get("socketURL", "")
    if "connect" in found:
        raise Refused("the stand-in has no 'connect'")
    if not path.startswith("/") or re.search(r"[%?#]", path):
        raise Refused(f"socketURL is read as the path of a URL: {path!r}")
    if len(os.fsencode(path)) >= SUN_PATH_MAX:
        raise Refused(f"{path}: too long for a Unix socket of macOS")
    return number(found.get("port", ""), "port"), path


def read_net(device):
    found = pairs(device, ("mac", "fd", "unixSocketPath"), ("nat",))
    if "nat" not in found:
        raise Refused("One of 'nat' or 'fd' or 'unixSocketPath' must be set")
    mac = found.get("mac", "")
    if not re.fullmatch(r"(?:[0-9a-fA-F]{2}:){5}[0-9a-fA-F]{2}", mac):
        raise Refused(f"address {mac}: invalid MAC address")
    return mac


def read_serial(device):
    found = pairs(device, ("logFilePath",), ("stdio",))
    if ("stdio" in found) == ("logFilePath" in found):
        raise Refused("One of 'logFilePath' or 'stdio' must be set")
    if "stdio" in found:
        raise Refused("the stand-in has no 'stdio': vfkit wants a terminal there")
    return found["logFilePath"]


def quoted(path):
    return str(path).replace(",", ",,")


def device_words(devices):
    """QEMU's words for all devices, and (port, path) of the vsock."""
    made, vsock = [], None
    for device in devices:
        kind = device.split(",")[0]
        if kind == "virtio-vsock":
            vsock = read_vsock(device)
        elif kind == "virtio-net":
            made += ["-netdev", "user,id=n", "-device", f"virtio-net-pci,netdev=n,mac={read_net(device)},romfile="]
        elif kind == "virtio-rng":
            pairs(device, ())
            made += ["-device", "virtio-rng-pci"]
        elif kind == "virtio-serial":
            made += ["-chardev", f"file,id=con,path={quoted(read_serial(device))}", "-device", "virtio-serial-pci",
                     "-device", "virtconsole,chardev=con"]
        else:
            raise Refused(f"unknown device type: {kind}")
    if not vsock:
        raise Refused("the stand-in needs a virtio-vsock")
    return made, vsock


def is_x86(program):
    return program.endswith("-x86_64")


def machine_words(program):
    if is_x86(program):
        return ["-M", "q35,memory-backend=mem", "-accel", "tcg", "-cpu", "max,-erms,-fsrm"]
    return ["-M", "virt,gic-version=3,memory-backend=mem", "-accel", "tcg", "-cpu", "cortex-a72"]


def check_kernel(path):
    """Of arm64."""
    with open(path, "rb") as file:
        head = file.read(2048)
    if head[0x38:0x3C] != b"ARMd":
        raise Refused(f"kernel must be uncompressed, {path} is a compressed file")


def boot_words(one, x86):
    needed = [name for name in ("--kernel", "--initrd", "--kernel-cmdline") if name not in one]
    if "--bootloader" in one or needed:
        raise Refused(f"the stand-in boots by --kernel, --initrd and --kernel-cmdline: {needed} missing")
    if not x86:
        check_kernel(one["--kernel"])
    return ["-kernel", one["--kernel"], "-initrd", one["--initrd"], "-append", one["--kernel-cmdline"]]


def qemu_words(program, one, devices, fd):
    made, vsock = device_words(devices)
    memory = number(one.get("--memory", "512"), "memory")
    cpus = number(one.get("--cpus", "1"), "cpus")
    argv = [program, "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot",
            *machine_words(program), "-object", f"memory-backend-memfd,id=mem,size={memory}M,share=on",
            "-m", str(memory), "-smp", str(cpus), "-chardev", f"socket,id=v,fd={fd}",
            "-device", "vhost-user-vsock-pci,chardev=v"]
    return argv + made + boot_words(one, is_x86(program)), vsock


def die_with_us():
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG


def start(argv, **how):
    return subprocess.Popen(argv, stdin=subprocess.DEVNULL, preexec_fn=die_with_us, **how)


def run(one, devices, setting):
    ours, theirs = socket.socketpair()
    argv, (port, path) = qemu_words(setting["QEMU"], one, devices, theirs.fileno())
    device = start([setting["VSOCKBACK"], str(ours.fileno()), str(GUEST_CID), str(port), path, setting["LATE"]],
                   pass_fds=[ours.fileno()])
    guest = start(argv, pass_fds=[theirs.fileno()])
    ours.close()
    theirs.close()
    # It asks the guest to stop, which takes no notice without a power button, and then does it by force.
    signal.signal(signal.SIGTERM, lambda *_: threading.Timer(FORCE_STOP_S, guest.kill).start())
    status = guest.wait()
    device.wait()
    return 1 if status > 0 or device.returncode else 0


def main():
    setting = settings()
    try:
        if "ARGV" in setting:
            write_whole(setting["ARGV"], "\n".join(sys.argv[1:]) + "\n")
        if "GATE" in setting:
            wait_for_file(setting["GATE"])
        one, devices = words(sys.argv[1:])
        return run(one, devices, setting)
    except (Refused, OSError) as e:
        print(f"Error: {e}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    # At once: a timer that still waits to stop a guest that has stopped is of no use.
    status = main()
    sys.stderr.flush()
    os._exit(status)
