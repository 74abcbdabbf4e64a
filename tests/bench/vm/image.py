"""An initramfs for the benchmark's own init, and the command line that boots it. Nothing of awsocks is used, so that
the yardstick is none of ours.
"""
import glob
import os

MODULES = ["virtio_ring", "virtio", "virtio_pci_modern_dev", "virtio_pci_legacy_dev", "virtio_pci", "virtio_console"]
WORDS = "quiet loglevel=1 panic=-1 cryptomgr.notests=1 audit=0"


def entry(number, name, mode, data=b""):
    """One file of a cpio archive of the kind that kernels read (newc)."""
    name = name.encode() + b"\0"
    head = "070701" + "".join(f"{v:08x}" for v in (number, mode, 0, 0, 1, 0, len(data), 0, 0, 0, 0, len(name), 0))
    out = head.encode() + name
    out += b"\0" * (-len(out) % 4) + data
    return out + b"\0" * (-len(out) % 4)


def initramfs(path, init, modules, conf=b""):
    """Writes it: init, the modules in their order, and /conf."""
    found = {os.path.basename(f)[:-3]: f for f in glob.glob(os.path.join(modules, "**", "*.ko"), recursive=True)}
    files = [("dev", 0o040755, b""), ("m", 0o040755, b"")]
    for name in MODULES:
        with open(found[name], "rb") as f:
            files.append((f"m/{name}.ko", 0o100644, f.read()))
    files.append(("m/order", 0o100644, "".join(f"{name}.ko\n" for name in MODULES).encode()))
    files.append(("conf", 0o100644, conf))
    with open(init, "rb") as f:
        files.append(("init", 0o100755, f.read()))
    with open(path, "wb") as to:
        for i, (name, mode, data) in enumerate(files):
            to.write(entry(i + 1, name, mode, data))
        to.write(entry(0, "TRAILER!!!", 0))


def qemu(kernel_file, initrd, fd, accel="tcg"):
    cpu = "max,-erms,-fsrm" if accel == "tcg" else "host"
    return ["qemu-system-x86_64", "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot",
            "-M", "q35,usb=off,vmport=off,hpet=off,sata=off,smbus=off", "-accel", accel, "-cpu", cpu, "-m", "128",
            "-smp", "1", "-kernel", kernel_file, "-initrd", initrd, "-append", WORDS,
            "-device", "virtio-serial-pci,max_ports=2", "-chardev", f"socket,id=c0,fd={fd}",
            "-device", "virtserialport,chardev=c0,name=awsocks.0",
            "-sandbox", "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny"]
