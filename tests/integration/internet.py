"""The servers that the clients of test_clients_vm.py want: a web site, Git by https and ssh, registries of npm, pip, Go
and cargo, an apt repository, AWS STS. They are this process's, on sockets of a namespace (netns.Namespace.listener).

    with internet.Internet(folder, world.net) as net:
        net.names          what a resolver has to know: {name: address}
        net.ca             the file of the authority that signed the servers
"""
import base64
import contextlib
import getpass
import gzip
import hashlib
import http.server
import io
import json
import os
import shutil
import subprocess
import tarfile
import threading
import zipfile

import harness
import netns
import web
from conftest import SSHD_CONFIG, Authority, Repository

HELLO = b"hello from the internet"
SITE = "www.example.com"
NAMES = (SITE, "git.example.com", "npm.example.com", "pypi.example.com", "deb.example.com", "go.example.com",
         "cargo.example.com", "sts.example.com")
GIT_PATH = "/git/project.git"
STS_ANSWER = (b'<GetCallerIdentityResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><GetCallerIdentityResult>'
              b"<Arn>arn:aws:iam::123456789012:user/hello</Arn><UserId>A</UserId><Account>123456789012</Account>"
              b"</GetCallerIdentityResult></GetCallerIdentityResponse>")


def tar_gz(files):
    out = io.BytesIO()
    with gzip.GzipFile(fileobj=out, mode="wb", mtime=0) as zipped, tarfile.open(fileobj=zipped, mode="w") as tar:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size, info.mode = len(data), 0o644
            tar.addfile(info, io.BytesIO(data))
    return out.getvalue()


def zip_of(files):
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as z:
        for name, data in files.items():
            z.writestr(name, data)
    return out.getvalue()


def npm_pages():
    """The package `hello` 1.0.0, as registry.npmjs.org has packages."""
    manifest = {"name": "hello", "version": "1.0.0", "description": HELLO.decode()}
    tarball = tar_gz({"package/package.json": json.dumps(manifest).encode()})
    integrity = "sha512-" + base64.b64encode(hashlib.sha512(tarball).digest()).decode()

    def document(scheme):
        dist = {"tarball": f"{scheme}://npm.example.com/npm/hello/-/hello-1.0.0.tgz", "integrity": integrity,
                "shasum": hashlib.sha1(tarball).hexdigest()}
        return json.dumps({"name": "hello", "dist-tags": {"latest": "1.0.0"},
                           "versions": {"1.0.0": {**manifest, "dist": dist}}}).encode()
    return {"/npm/hello": document, "/npm/hello/-/hello-1.0.0.tgz": tarball}


def pip_pages():
    """hello 1.0 as a wheel, by the simple API (PEP 503)."""
    info = "hello-1.0.dist-info"
    wheel = zip_of({"hello.py": b"", f"{info}/METADATA": b"Metadata-Version: 2.1\nName: hello\nVersion: 1.0\n",
                    f"{info}/WHEEL": b"Wheel-Version: 1.0\nGenerator: t\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
                    f"{info}/RECORD": f"hello.py,,\n{info}/METADATA,,\n{info}/WHEEL,,\n{info}/RECORD,,\n".encode()})
    name = "hello-1.0-py3-none-any.whl"
    return {"/simple/hello/": f'<a href="/wheels/{name}">{name}</a>'.encode(), f"/wheels/{name}": wheel}


def apt_pages():
    """A flat repository."""
    packages = (b"Package: hello\nVersion: 1.0\nArchitecture: all\nMaintainer: t <t@example.com>\nFilename: hello.deb\n"
                b"Size: 1\nSHA256: 0000000000000000000000000000000000000000000000000000000000000000\n"
                b"Description: hello\n")
    digest = hashlib.sha256(packages).hexdigest()
    release = f"Origin: t\nLabel: t\nDate: Thu, 01 Jan 2026 00:00:00 UTC\nSHA256:\n {digest} {len(packages)} Packages\n"
    return {"/apt/./Release": release.encode(), "/apt/./Packages": packages}


def go_pages():
    module = b"module example.com/hello\n"
    return {"/go/example.com/hello/@v/v1.0.0.info": b'{"Version":"v1.0.0","Time":"2026-01-01T00:00:00Z"}',
            "/go/example.com/hello/@v/v1.0.0.mod": module,
            "/go/example.com/hello/@v/v1.0.0.zip": zip_of({"example.com/hello@v1.0.0/go.mod": module})}


def cargo_pages():
    """A sparse registry with one crate in it."""
    crate = tar_gz({"hello-1.0.0/Cargo.toml": b'[package]\nname = "hello"\nversion = "1.0.0"\n',
                    "hello-1.0.0/src/lib.rs": b""})
    entry = {"name": "hello", "vers": "1.0.0", "deps": [], "features": {}, "yanked": False,
             "cksum": hashlib.sha256(crate).hexdigest()}
    return {"/cargo/config.json": lambda scheme: json.dumps({"dl": f"{scheme}://cargo.example.com/crates"}).encode(),
            "/cargo/he/ll/hello": json.dumps(entry).encode() + b"\n", "/crates/hello/1.0.0/download": crate}


class Pages(web.Handler):
    """web.py's, and the registries."""

    def do_GET(self):
        page = self.server.pages.get(self.path.split("?")[0])
        if page is None:
            web.Handler.do_GET(self)
            return
        for _ in self.body():
            pass
        self.server.note(self)
        if callable(page):
            page = page("https" if self.server.context else "http")
        kind = "text/html" if self.path.startswith(("/simple/", "/page")) else "application/json"
        self.answer(page, content_type=kind)

    do_POST = do_HEAD = do_GET


class Site(web.WebServer):
    """A web server on a socket that is there already."""

    def __init__(self, listening, context, repositories, pages):
        self.context, self.repositories, self.pages = context, str(repositories), pages
        self.lock = threading.Lock()
        self.connections = self.requests = 0
        self.seen = []
        http.server.ThreadingHTTPServer.__init__(self, listening.getsockname(), Pages, bind_and_activate=False)
        self.socket.close()
        self.socket = listening
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()


class SshServer:
    """OpenSSH's sshd, one for each connection, as inetd runs it: it needs users that a namespace has not."""

    def __init__(self, folder, listening):
        self.folder, self.listening = folder, listening
        folder.mkdir(mode=0o700)
        for name in ("host_key", "client_key"):
            harness.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", folder / name])
        if os.geteuid() == 0:
            os.makedirs("/run/sshd", mode=0o755, exist_ok=True)
        (folder / "sshd_config").write_text(SSHD_CONFIG.format(port=22, folder=folder))
        self.user = getpass.getuser()
        self.command = [shutil.which("sshd", path="/usr/sbin:/usr/bin:/sbin"), "-i", "-e", "-f", folder / "sshd_config"]
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self):
        with contextlib.suppress(OSError):
            while True:
                s, _ = self.listening.accept()
                with s, open(self.folder / "log", "ab") as log:
                    # Reaped by subprocess when the next one is made; each ends with its connection.
                    subprocess.Popen(self.command, stdin=s, stdout=s, stderr=log)

    def client(self):
        """A command line of ssh with the key for it."""
        return (f"ssh -F none -i {self.folder}/client_key -o BatchMode=yes -o IdentitiesOnly=yes "
                f"-o StrictHostKeyChecking=accept-new -o UserKnownHostsFile={self.folder}/known_hosts")

    def stop(self):
        self.listening.close()


class Internet:
    """All of it in a namespace, at 203.0.113.2."""

    def __init__(self, folder, space):
        self.folder = folder
        folder.mkdir()
        self.names = {name: netns.NET for name in NAMES}
        authority = Authority(folder / "authority")
        self.ca = authority.ca
        self.context = authority.context(*NAMES, f"IP:{netns.NET}")
        self.spki = self._spki(folder / "authority" / "server.pem")
        (folder / "git").mkdir()
        self.repository = Repository(folder / "git")
        pages = {"/hello": HELLO + b"\n", "/page": b"<p>" + HELLO + b"</p>", "/": STS_ANSWER, **npm_pages(),
                 **pip_pages(), **apt_pages(), **go_pages(), **cargo_pages()}
        bare = folder / "git" / "repositories"
        self.sites = [Site(space.listener(netns.NET, 80), None, bare, pages),
                      Site(space.listener(netns.NET, 443), self.context, bare, pages)]
        self.ssh = None
        if shutil.which("sshd", path="/usr/sbin:/usr/bin:/sbin"):
            self.ssh = SshServer(folder / "sshd", space.listener(netns.NET, 22))

    @staticmethod
    def _spki(certificate):
        """What Chromium's --ignore-certificate-errors-spki-list takes."""
        public = harness.run(["openssl", "x509", "-in", certificate, "-noout", "-pubkey"]).stdout
        der = harness.run(["openssl", "pkey", "-pubin", "-outform", "der"], input=public).stdout
        return base64.b64encode(hashlib.sha256(der).digest()).decode()

    def stop(self):
        for site in self.sites:
            site.stop()
        if self.ssh:
            self.ssh.stop()
