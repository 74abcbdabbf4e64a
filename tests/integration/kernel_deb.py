"""Kernel packages made up: of the right shape (deb(5)), with kernels that only know their version and modules that
only know what they need. Nobody could boot them."""
import gzip
import io
import lzma
import struct
import subprocess
import tarfile

VERSION = "9.9.0-7-cloud-amd64"
MODULES = {
    "drivers/virtio/virtio": "", "drivers/virtio/virtio_ring": "",
    "drivers/virtio/virtio_pci": "virtio_ring,virtio,odd-one",
    "lib/odd-one": "odder", "lib/odder": "",
    "drivers/char/virtio_console": "virtio,virtio_ring",
    "net/core/failover": "", "drivers/net/net_failover": "failover",
    "drivers/net/virtio_net": "virtio_ring,virtio,net_failover", "net/vmw_vsock/vsock": "",
    "net/vmw_vsock/vmw_vsock_virtio_transport_common": "vsock",
    "net/vmw_vsock/vmw_vsock_virtio_transport": "virtio,vmw_vsock_virtio_transport_common,virtio_ring,vsock",
    "drivers/gpu/large": "",
}


def bzimage(version):
    image = bytearray(8192)
    image[0x202:0x206] = b"HdrS"
    struct.pack_into("<H", image, 0x20e, 0x300)
    text = f"{version} (someone@somewhere) #1 SMP".encode()
    image[0x500:0x500 + len(text)] = text
    return bytes(image)


def module(needs, version):
    """An ELF file with the section .modinfo."""
    info = f"license=GPL\0depends={needs}\0vermagic={version} SMP\0".encode()
    names = b"\0.modinfo\0.shstrtab\0"
    at = 64 + len(info) + len(names)
    head = b"\x7fELF\2\1\1" + bytes(9) + struct.pack("<HHIQQQIHHHHHH", 1, 62, 1, 0, 0, at, 0, 64, 0, 0, 64, 3, 2)

    def section(name, offset, size):
        return struct.pack("<IIQQQQIIQQ", name, 1, 0, 0, offset, size, 0, 0, 1, 0)
    return head + info + names + bytes(64) + section(1, 64, len(info)) + section(10, 64 + len(info), len(names))


def zstd(data):
    return subprocess.run(["zstd", "-q", "-c"], input=data, stdout=subprocess.PIPE, check=True).stdout


PACK = {"": lambda b: b, ".xz": lzma.compress, ".gz": gzip.compress, ".zst": zstd}


def kernel_files(version=VERSION):
    return {f"boot/vmlinuz-{version}": bzimage(version), f"boot/config-{version}": b"# none\n"}


def module_files(version=VERSION, pack="", modules=None, builtin="kernel/net/ipv6/ipv6.ko\n", root="lib/modules"):
    modules = MODULES if modules is None else modules
    files = {f"{root}/{version}/kernel/{name}.ko{pack}": PACK[pack](module(needs, version))
             for name, needs in modules.items()}
    files[f"{root}/{version}/modules.order"] = "".join(f"kernel/{name}.ko\n" for name in modules).encode()
    files[f"{root}/{version}/modules.builtin"] = builtin.encode()
    return files


def all_files(version=VERSION):
    return {**kernel_files(version), **module_files(version)}


def archive(files, style=tarfile.GNU_FORMAT):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=style) as tar:
        for name, data in files.items():
            entry = tarfile.TarInfo(f"./{name}")
            entry.size = len(data)
            tar.addfile(entry, io.BytesIO(data))
    return out.getvalue()


def make(path, files, package="linux-image", version="1", arch="amd64", depends="", pack=".xz",
         style=tarfile.GNU_FORMAT):
    """Writes the package; returns its paragraph without what only the file's bytes tell."""
    control = f"Package: {package}\nVersion: {version}\nArchitecture: {arch}\n" \
              "Maintainer: Nobody <nobody@example.com>\n" \
              + (f"Depends: {depends}\n" if depends else "") + "Description: made up\n"
    members = [("debian-binary", b"2.0\n"), ("control.tar.gz", gzip.compress(archive({"control": control.encode()}))),
               (f"data.tar{pack}", PACK[pack](archive(files, style)))]
    with open(path, "wb") as out:
        out.write(b"!<arch>\n")
        for name, data in members:
            out.write(f"{name:<16}{0:<12}{0:<6}{0:<6}{'100644':<8}{len(data):<10}`\n".encode())
            out.write(data + b"\n" * (len(data) & 1))
    return control
