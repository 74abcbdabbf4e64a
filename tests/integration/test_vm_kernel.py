"""`awsocks vm fetch-kernel`: packages from a file, from apt (a repository of the test's own on this disk, never the
system's), and what is said when it does not work. Nothing is downloaded."""
import hashlib
import os
import shutil
import subprocess
import tarfile

import cli as cli_module
import conftest
import kernel_deb
import pytest

VERSION = kernel_deb.VERSION
NEEDS_APT = pytest.mark.skipif(not shutil.which("apt-get"), reason="no apt-get")
NEEDS_ZSTD = pytest.mark.skipif(not shutil.which("zstd"), reason="no zstd")


def sha256(path):
    with open(path, "rb") as f:
        return hashlib.sha256(f.read()).hexdigest()


class World:
    """A package, a place to put it, and a PATH of chosen programs."""

    def __init__(self, folder):
        self.folder = folder
        self.to = folder / "kernels"
        self.cli = cli_module.Cli(folder)
        self.deb = folder / "linux-image.deb"
        self.programs = None

    def package(self, files=None, **how):
        kernel_deb.make(self.deb, kernel_deb.all_files() if files is None else files, **how)
        return self.deb

    def only(self, *names):
        """From now on PATH has these programs and no others."""
        self.programs = self.folder / "bin"
        shutil.rmtree(self.programs, ignore_errors=True)
        self.programs.mkdir()
        for name in names:
            (self.programs / name).symlink_to(shutil.which(name))

    def script(self, name, text):
        path = self.programs / name
        path.write_text(f"#!{shutil.which('sh')}\n{text}")
        path.chmod(0o755)

    def fetch(self, *args, env=None):
        env = dict(env or {})
        if self.programs:
            env["PATH"] = str(self.programs)
        return self.cli("vm", "fetch-kernel", "--arch", "x86_64", "--to", str(self.to), *args, env=env)

    def fetch_deb(self, *args, digest=None):
        return self.fetch("--deb", str(self.deb), "--sha256", digest or sha256(self.deb), *args)

    def place(self, version=VERSION):
        return self.to / "x86_64" / version

    def left(self):
        """What is in <to>/x86_64."""
        return sorted(os.listdir(self.to / "x86_64"))

    def expect(self, pack=""):
        place = self.place()
        assert (place / "vmlinuz").read_bytes() == kernel_deb.bzimage(VERSION)
        for name, needs in kernel_deb.MODULES.items():
            there = place / "modules" / "kernel" / f"{name}.ko{pack}"
            assert there.exists() == (name != "drivers/gpu/large"), name
            if there.exists() and not pack:
                assert there.read_bytes() == kernel_deb.module(needs, VERSION)
        assert self.left() == [".lock", VERSION]


@pytest.fixture
def world(tmp_path):
    return World(tmp_path)


def fails(p, status, *words):
    assert (p.returncode, p.stdout) == (status, ""), p
    for word in words:
        assert word in p.stderr, p.stderr
    assert p.stderr.splitlines()[-1].startswith("awsocks: vm fetch-kernel: ")


# ---- from a file ----

def test_a_package_is_unpacked_once(world):
    world.package()
    p = world.fetch_deb()
    assert (p.returncode, p.stdout) == (0, f"kernel {VERSION}: {world.place()}\n"), p
    world.expect()
    assert (world.place() / "source").read_text() == f"sha256 {sha256(world.deb)}\nlinux-image.deb\n"
    made = [world.to, *world.to.rglob("*")]
    assert all(p.stat().st_mode & 0o777 == (0o755 if p.is_dir() else 0o644) for p in made if p.name != ".lock"), made
    before = os.stat(world.place()).st_ino
    p = world.fetch_deb()
    assert (p.returncode, p.stdout, p.stderr) == (0, f"already there: {VERSION}: {world.place()}\n", "")
    assert os.stat(world.place()).st_ino == before
    assert world.fetch_deb("--force").stdout.startswith("kernel ")
    assert os.stat(world.place()).st_ino != before
    world.expect()


def test_a_newer_package_of_the_same_version_takes_its_place(world):
    world.package()
    assert world.fetch_deb().returncode == 0
    world.package(version="2")
    assert world.fetch_deb().stdout.startswith("kernel ")
    assert sha256(world.deb) in (world.place() / "source").read_text()
    world.expect()


@pytest.mark.parametrize("pack", ["", ".gz", ".xz", pytest.param(".zst", marks=NEEDS_ZSTD)])
@pytest.mark.parametrize("tool", ["dpkg-deb", "hand"])
def test_packages_of_all_kinds(world, pack, tool):
    if tool == "hand":
        world.only("xz", "gzip", "cat", *(["zstd"] if pack == ".zst" else []))
    elif not shutil.which("dpkg-deb"):
        pytest.skip("no dpkg-deb")
    world.package(pack=pack, style=tarfile.USTAR_FORMAT if pack == ".gz" else tarfile.GNU_FORMAT)
    p = world.fetch_deb()
    assert p.returncode == 0, p
    world.expect()


@pytest.mark.parametrize("pack", [".xz", ".gz", pytest.param(".zst", marks=NEEDS_ZSTD)])
def test_packed_modules(world, pack):
    world.package({**kernel_deb.kernel_files(), **kernel_deb.module_files(pack=pack, root="usr/lib/modules")})
    p = world.fetch_deb()
    assert p.returncode == 0, p
    world.expect(pack)


def test_long_names(world):
    long = "x/" * 80
    modules = {(long + name if "gpu" not in name else name): needs for name, needs in kernel_deb.MODULES.items()}
    world.package({**kernel_deb.kernel_files(), **kernel_deb.module_files(modules=modules)})
    p = world.fetch_deb()
    assert p.returncode == 0, p
    assert (world.place() / "modules/kernel" / f"{long}net/core/failover.ko").exists()


def test_a_wrong_digest_is_refused(world):
    world.package()
    fails(world.fetch_deb(digest="0" * 64), 77, "is not what it should be", sha256(world.deb))
    assert world.left() == [".lock"]


@pytest.mark.parametrize("args,word", [
    (["--deb", "x.deb"], "--sha256 is needed too"), (["--deb", "x.deb", "--sha256", "12"], "64 hexadecimal digits"),
    (["--sha256", "0" * 64], "--sha256 goes with --deb"), (["--source", "pypi"], "apt or debian expected"),
    (["--arch", "riscv64"], "x86_64 or aarch64 expected"), (["x"], "unknown argument")])
def test_wrong_usage(world, args, word):
    fails(world.fetch(*args), 64, word)


def test_no_such_file(world):
    fails(world.fetch_deb(digest="0" * 64), 74, "linux-image.deb: No such file")


def broken(name):
    files = kernel_deb.all_files()
    if name == "no kernel":
        return kernel_deb.module_files()
    if name == "no lists":
        return kernel_deb.kernel_files()
    if name == "other kernel":
        return {**kernel_deb.kernel_files("8.8"), **kernel_deb.module_files()}
    if name == "no module":
        del files[f"lib/modules/{VERSION}/kernel/lib/odder.ko"]
    if name == "no x86":
        files[f"boot/vmlinuz-{VERSION}"] = b"\0" * 0x38 + b"ARM\x64" + b"\0" * 1024
    if name == "escape":
        return {"boot/vmlinuz-../../x": b"1", f"lib/modules/{VERSION}/../../../../../modules.order": b"2"}
    return files


@pytest.mark.parametrize("name,word", [
    ("no kernel", "there is no kernel in it"), ("no lists", "neither modules.dep nor modules.order"),
    ("other kernel", f"modules of {VERSION} do not fit the kernel, which is 8.8"),
    ("no module", "kernel module odder is listed, but its file is not in"),
    ("no x86", "is not a kernel for x86_64"), ("escape", "there is no kernel in it")])
def test_what_is_wrong_with_a_package_is_said(world, name, word):
    world.package(broken(name))
    fails(world.fetch_deb(), 65, word)
    assert world.left() == [".lock"]


@pytest.mark.parametrize("tool", ["dpkg-deb", "hand"])
def test_a_damaged_package(world, tool):
    world.package()
    whole = world.deb.read_bytes()
    if tool == "hand":
        world.only("xz", "gzip")
    for data in (b"", b"no package", whole[:len(whole) // 2], whole[:-300] + b"\0" * 300):
        world.deb.write_bytes(data)
        p = world.fetch_deb()
        assert p.returncode in (65, 74, 76) and p.stderr.startswith("awsocks: "), p
        assert world.left() == [".lock"]


def test_the_unpacker_is_missing(world):
    world.package()
    world.only("gzip")
    fails(world.fetch_deb(), 65, "the program xz is needed (or bsdtar, or dpkg-deb)")


def test_a_full_disk(world, tmp_path):
    big = kernel_deb.all_files()
    big[f"boot/vmlinuz-{VERSION}"] = kernel_deb.bzimage(VERSION) + bytes(8 << 20)
    world.package(big)
    mount = tmp_path / "small"
    mount.mkdir()
    script = f"mount -t tmpfs -o size=4m none {mount} && exec \"$@\""
    unshare = ["unshare", "-rm", "sh", "-c", script, "sh"]
    if subprocess.run([*unshare, "true"], check=False, capture_output=True).returncode:
        pytest.skip("no mount namespace here")
    p = subprocess.run([*unshare, cli_module.harness.program("awsocks"), "vm", "fetch-kernel", "--arch", "x86_64",
                        "--to", str(mount), "--deb", str(world.deb), "--sha256", sha256(world.deb)], env=world.cli.env,
                       capture_output=True, text=True, timeout=60, check=False)
    fails(p, 74, "vmlinuz: No space left on device")


def test_what_an_interrupted_one_left_is_removed(world):
    world.package()
    (world.to / "x86_64" / ".fetch-abcdef" / "new").mkdir(parents=True)
    assert world.fetch_deb().returncode == 0
    world.expect()


def test_it_goes_into_the_state_directory(world):
    world.package()
    env = conftest.clean_environment(world.folder)
    p = world.cli("vm", "fetch-kernel", "--arch=amd64", "--deb", str(world.deb), "--sha256", sha256(world.deb))
    assert p.returncode == 0, p
    place = p.stdout.strip().split(": ")[1]
    assert place.endswith(f"/awsocks/kernel/x86_64/{VERSION}") and os.path.isdir(place)
    assert place.startswith(env.get("XDG_STATE_HOME") or env["HOME"])


# ---- from apt ----

class Repository:
    """A package archive on this disk, and an apt that knows it and nothing else."""

    def __init__(self, folder, trusted=True):
        self.folder = folder / "archive"
        self.folder.mkdir()
        self.state = folder / "apt"
        for name in ("lists/partial", "cache/archives/partial"):
            (self.state / name).mkdir(parents=True)
        (self.state / "status").touch()
        (self.state / "sources.list").write_text(f"deb {'[trusted=yes] ' if trusted else ''}file:{self.folder} ./\n")
        (self.state / "apt.conf").write_text(
            f'Dir::Etc::sourcelist "{self.state}/sources.list";\nDir::Etc::sourceparts "-";\n'
            f'Dir::State "{self.state}";\n'
            f'Dir::State::lists "{self.state}/lists";\nDir::State::status "{self.state}/status";\n'
            f'Dir::Cache "{self.state}/cache";\nDir::Log "{self.state}";\nAcquire::Languages "none";\n'
            'APT::Architecture "amd64";\nAPT::Architectures { "amd64"; };\n')
        self.env = {"APT_CONFIG": str(self.state / "apt.conf")}
        self.paragraphs = []

    def add(self, package, files, version="1", depends="", arch="amd64", damage=False):
        path = self.folder / f"{package}_{version}_{arch}.deb"
        control = kernel_deb.make(path, files, package, version, arch, depends)
        self.paragraphs.append(f"{control}Filename: ./{path.name}\nSize: {path.stat().st_size}\n"
                               f"SHA256: {sha256(path)}\n")
        if damage:
            data = bytearray(path.read_bytes())
            data[-5] ^= 1
            path.write_bytes(data)
        (self.folder / "Packages").write_text("\n".join(self.paragraphs))

    def add_cloud(self, **how):
        name = f"linux-image-{VERSION}"
        self.add("linux-image-cloud-amd64", {}, depends=f"{name} (= 1)")
        self.add(name, kernel_deb.all_files(), depends="kmod, linux-base (>= 4.3~)",
                 **how)

    def update(self):
        subprocess.run(["apt-get", "update", "-q"], env={**os.environ, **self.env}, check=True, capture_output=True,
                       timeout=60)


@NEEDS_APT
@pytest.mark.parametrize("lists", ["the system's", "its own"])
def test_from_apt(world, tmp_path, lists):
    repository = Repository(tmp_path)
    repository.add_cloud()
    if lists == "the system's":
        repository.update()
    p = world.fetch(env=repository.env)
    assert p.returncode == 0, p
    assert ("reading the package lists" in p.stderr) == (lists == "its own")
    world.expect()
    note = (world.place() / "source").read_text().splitlines()
    assert note[1] == f"linux-image-{VERSION} 1 (apt)"
    p = world.fetch(env=repository.env)
    assert p.returncode == 0 and p.stdout.startswith("already there: "), p


@NEEDS_APT
def test_a_kernel_whose_modules_are_a_package_of_their_own(world, tmp_path):
    repository = Repository(tmp_path)
    version = "9.9.0-7-generic"
    repository.add("linux-image-virtual", {}, depends=f"linux-image-{version} (= 1), linux-base")
    repository.add(f"linux-image-{version}", kernel_deb.kernel_files(version), depends=f"kmod, linux-modules-{version}")
    repository.add(f"linux-modules-{version}", kernel_deb.module_files(version, ".xz"))
    p = world.fetch("--source", "apt", env=repository.env)
    assert p.returncode == 0, p
    assert (world.place(version) / "modules/kernel/lib/odder.ko.xz").exists()
    assert world.left() == [".lock", version]


@NEEDS_APT
def test_an_archive_without_signature_is_refused(world, tmp_path):
    repository = Repository(tmp_path, trusted=False)
    repository.add_cloud()
    p = world.fetch("--source", "apt", env=repository.env)
    fails(p, 74, "apt-get failed")
    assert world.left() == [".lock"]


@NEEDS_APT
def test_a_package_that_is_not_what_the_archive_says_is_refused(world, tmp_path):
    repository = Repository(tmp_path)
    repository.add_cloud(damage=True)
    p = world.fetch("--source", "apt", env=repository.env)
    fails(p, 74, "apt-get failed")
    assert world.left() == [".lock"]


@NEEDS_APT
def test_apt_knows_no_kernel(world, tmp_path):
    repository = Repository(tmp_path)
    repository.add("hello", {"usr/bin/hello": b""})
    fails(world.fetch("--source", "apt", env=repository.env), 65, "apt knows no kernel image for amd64")


# ---- from Debian's archive ----

def test_without_apt_and_without_curl(world):
    world.only("xz")
    p = world.fetch()
    fails(p, 69, "not from apt: there is no program apt-cache here", "there is no program curl here")


def test_no_network(world):
    world.only("xz")
    world.script("curl", "echo 'curl: (6) Could not resolve host: deb.debian.org' >&2; exit 6\n")
    p = world.fetch("--source", "debian")
    fails(p, 74, "https://snapshot.debian.org", "curl: (6) Could not resolve host")
    assert world.left() == [".lock"]


def test_what_is_downloaded_must_have_the_known_digest(world):
    world.only("xz")
    world.package()
    world.script("curl", "while [ \"$1\" != --output ]; do shift; done\n"
                 "case $4 in https://*) ;; *) exit 3;; esac\n"
                 f"while read -r line; do echo x; done <{world.deb} >\"$2\"\n")
    fails(world.fetch("--source", "debian"), 77, "is not what it should be")
    assert world.left() == [".lock"]
