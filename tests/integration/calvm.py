"""A CAL VM, its host and the internet of CAL's documents, in namespaces (netns.py).

    with calvm.CalWorld(tmp_path, authority) as world:
        world.setup("bridge")                 awsocks cal setup on the host, its script in the VM
        world.start()                         awsocks on the host
        world.sh("socks_status")              in the VM's interactive zsh; shell="bash" for bash
        world.ssh("ls")                       from the host to the VM, as ssh admin@VM

The host's user is claude, the VM's is admin (both have no rights at all outside their home). github.com and others are
servers at 203.0.113.2 with certificates that the VM trusts; the VM has no way to them but the host's awsocks.
As a program it is these servers: calvm.py FOLDER ADDRESS; or a listener that writes down who comes: calvm.py FOLDER ""
PORT.
"""
import base64
import functools
import hashlib
import io
import json
import os
import shutil
import socket
import ssl
import subprocess
import sys
import tarfile
import threading

import harness
import netns
import web

SITES = ("github.com", "api.github.com", "www.google.com", "registry.npmjs.org")
SSHD = shutil.which("sshd", path="/usr/sbin:/usr/bin:/sbin")
SSHD_CONFIG = """
ListenAddress {address}:22
HostKey {folder}/host_key
AuthorizedKeysFile {keys}
PidFile none
UsePAM no
StrictModes no
PasswordAuthentication no
KbdInteractiveAuthentication no
AllowStreamLocalForwarding no
"""
STATUS = """SOCKS Tunnel Status:
  Mode: {mode}
  SOCKS port: {socks}
  HTTP proxy port: {http}
  Host: claude@192.168.64.1

  Status: ✓ Running ({pid})
  Connectivity: ✓ Working

  HTTP Bridge: ✓ Running ({http_pid})
"""
LOW_PORTS = "echo 22 >/proc/sys/net/ipv4/ip_unprivileged_port_start"


@functools.lru_cache(maxsize=None)
def why_not():
    """Why there can be no such world here; "" when there can."""
    if not netns.available():
        return "no namespaces here"
    missing = [t for t in ("zsh", "bash", "dash", "curl", "git", "ssh", "lsof", "nc", "ps") if not shutil.which(t)]
    if missing or not SSHD:
        return f"without {' '.join(missing) or 'sshd'}"
    # Port 22 for a user without rights, and user namespaces in a user namespace.
    may = subprocess.run(["unshare", "-rmn", "sh", "-c", f"{LOW_PORTS} && unshare -U --map-user=1000 true"],
                         check=False, capture_output=True).returncode == 0
    return "" if may else "no second user namespace, or no low ports in one"


class CalWorld(netns.World):
    def __init__(self, folder, authority):
        super().__init__(folder / "world")
        self.base, self.authority, self.children, self.proxy = folder, authority, [], None
        try:
            self.vm_home, self.host_home = self._home("vm-home"), self._home("host-home")
            self._users()
            self._internet()
        except BaseException:
            self.close()
            raise

    def _home(self, name):
        path = self.base / name
        path.mkdir(mode=0o700)
        return path

    def _users(self):
        for space, name, home, shell in ((self.vm, "admin", self.vm_home, "/bin/zsh"),
                                         (self.host, "claude", self.host_home, "/bin/bash")):
            space.bind("passwd", f"root:x:0:0:root:{home}:/bin/sh\n{name}:x:1000:1000::{home}:{shell}\n")
            space.user = self._user(space, home)
            space.env = {"HOME": str(home), "USER": name, "LOGNAME": name, "LANG": "C.UTF-8", "TERM": "dumb",
                         "PATH": "/usr/local/bin:/usr/bin:/bin"}
        run = self.base / "run"
        run.mkdir(mode=0o700)
        self.host.env["XDG_RUNTIME_DIR"] = str(run)
        bundle = self.base / "bundle.pem"
        shutil.copy(self.authority.ca, bundle)
        self.vm.run(["mount", "--bind", bundle, "/etc/ssl/certs/ca-certificates.crt"])

    def _user(self, space, home):
        """What stands before a command to run it as uid 1000 there: a user namespace in the namespace."""
        child = self._keep(space.popen(["unshare", "-U", "--map-user=1000", "--map-group=1000", *netns.HOLD]))

        def is_sleep():
            with open(f"/proc/{child.pid}/comm", encoding="ascii") as f:
                return f.read().strip() == "sleep"
        harness.wait_for(is_sleep, what="the user's namespace")
        return ("nsenter", f"--target={child.pid}", "--user", "--mount", "--net", "--preserve-credentials",
                f"--wd={home}")

    def _internet(self):
        self.host.hosts({name: netns.NET for name in SITES})
        self.authority.context(*SITES)
        self.internet(self.net)

    def internet(self, space):
        """The servers, in a space that has their address."""
        log = open(self.base / "internet.log", "wb")
        self._keep(space.popen([sys.executable, "-B", __file__, self.base, netns.NET], stdout=log, stderr=log,
                                  env={**os.environ, "HOME": str(self.base)}))
        harness.wait_for(lambda: os.path.exists(self.base / "internet.ready"), what="the internet")

    def _keep(self, child):
        self.children.append(child)
        return child

    # ---- the host ----

    def cal(self, *args, check=True, env=None, **kwargs):
        """awsocks cal ... as the host's user."""
        return harness.run([*self.host.user, harness.program("awsocks"), "cal", *args], check=check,
                           env={**self.host.env, **(env or {})}, **kwargs)

    def host_sh(self, command):
        """What a command of the host's user prints."""
        return harness.run([*self.host.user, "sh", "-c", command], env=self.host.env).stdout.decode()

    def start(self, *options):
        """The host's awsocks; it says `direct` unless told otherwise."""
        ready = self.base / "ready.json"
        ready.unlink(missing_ok=True)
        env = {**self.host.env, "AWS_EC2_METADATA_DISABLED": "true", "AWS_REGION": "eu-central-1"}
        if harness.SANITIZED:
            env["AWSOCKS_SANDBOX"] = "false"
        self.proxy = harness.Process([*self.host.user, harness.program("awsocks"), "--route-default", "direct",
                                      "--ready-file", ready, *options], self.base, "awsocks", env)
        self.proxy.wait_for(lambda: harness.read_json(ready), what="the proxy")

    def sshd(self, space, keys, folder):
        """sshd on port 22 of a space, as its user; only keys of that file log in."""
        address = netns.GATEWAY if space is self.host else netns.VM
        folder.mkdir()
        harness.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", folder / "host_key"])
        (folder / "config").write_text(SSHD_CONFIG.format(address=address, folder=folder, keys=keys))
        space.run(["sh", "-c", LOW_PORTS])
        log = open(folder / "log", "wb")
        self._keep(subprocess.Popen([*space.user, SSHD, "-D", "-e", "-f", folder / "config"], stdout=log, stderr=log,
                                    stdin=subprocess.DEVNULL, env=space.env))
        harness.wait_for(lambda: b"Server listening" in (folder / "log").read_bytes(), what="sshd")

    def bait(self, port):
        """A listener on every address of the host; baited() tells whether anybody came."""
        self._keep(self.host.popen([sys.executable, "-B", __file__, self.base, "", port]))
        harness.wait_for(lambda: os.path.exists(self.base / "bait"), what="the bait")

    def baited(self):
        return (self.base / "bait").read_bytes()

    # ---- the VM ----

    def setup(self, way, *options, env=None):
        """Both halves, as the documents say; with ssh the host's sshd runs then."""
        if way == "ssh":
            if not (self.base / "sshd").exists():
                self.sshd(self.host, self.host_home / ".ssh/authorized_keys", self.base / "sshd")
            options = (*options, "--host-key", self.base / "sshd/host_key.pub")
        script = self.cal("setup", "--vm", "work", "--way", way, "--print", *options, env=env).stdout
        key = self.in_vm(["sh", "-s"], input=script).stdout
        if way == "ssh":
            self.cal("setup", "--vm", "work", "--key", "-", input=key, env=env)
        return script

    def in_vm(self, argv, check=True, env=None, **kwargs):
        """With time for a shell, what its profile starts, and several runs of npm on a busy machine."""
        kwargs.setdefault("limit_s", 150)
        return harness.run([*self.vm.user, *argv], check=check, env={**self.vm.env, **(env or {})}, **kwargs)

    def sh(self, command, shell="zsh", check=True, env=None):
        """What a command prints in an interactive shell of the VM's user."""
        r = self.in_vm([shell, "-ic", command], check=check, env=env)
        return r.stdout.decode()

    def ssh(self, command, check=True):
        """From the host, as `ssh admin@$(tart ip work) COMMAND`."""
        if not (self.base / "vm-sshd").exists():
            key = self.base / "vm_key"
            harness.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key])
            self.sshd(self.vm, f"{key}.pub", self.base / "vm-sshd")
        return harness.run([*self.host.user, "ssh", "-F", "none", "-i", self.base / "vm_key", "-o", "BatchMode=yes",
                            "-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null", "-o",
                            "LogLevel=ERROR", f"admin@{netns.VM}", command], check=check, env=self.host.env)

    @staticmethod
    def alive(pid):
        """A process, and no zombie that nobody waits for."""
        try:
            with open(f"/proc/{pid}/stat", encoding="ascii") as f:
                return f.read().rpartition(")")[2].split()[0] != "Z"
        except FileNotFoundError:
            return False

    def pid(self, name):
        """Of ~/.cal-NAME.pid, while that process is there."""
        text = (self.vm_home / f".cal-{name}.pid").read_text().strip()
        assert self.alive(text), text
        return f"PID: {text}"

    def close(self):
        for name in ("socks", "http-proxy"):
            path = self.base / "vm-home" / f".cal-{name}.pid"
            if path.exists() and path.read_text().strip().isdigit():
                subprocess.run(["kill", path.read_text().strip()], check=False, stderr=subprocess.DEVNULL)
        if self.proxy:
            status = self.proxy.stop()
            assert status == 0, f"ended with {status}\n{self.proxy.log()}"
            self.proxy.check_clean()
            self.proxy = None
        for child in reversed(self.children):
            child.terminate()
            child.wait(10)
        self.children = []
        super().close()


# ---- the internet ----


def package():
    """An npm package, as a tarball."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as tar:
        text = json.dumps({"name": "tiny", "version": "1.0.0"}).encode()
        info = tarfile.TarInfo("package/package.json")
        info.size = len(text)
        tar.addfile(info, io.BytesIO(text))
    return out.getvalue()


class Handler(web.Handler):
    """A page for every path; /user/repo.git is git's, /tiny npm's."""

    def do_GET(self):
        path = self.path.split("?")[0]
        if path.startswith("/user/repo.git"):
            self.path = "/git" + self.path[len("/user"):]
            super().do_GET()
        elif path == "/tiny":
            tar = self.server.tar
            dist = {"tarball": "https://registry.npmjs.org/tiny/-/tiny-1.0.0.tgz",
                    "integrity": "sha512-" + base64.b64encode(hashlib.sha512(tar).digest()).decode()}
            self.answer(json.dumps({"name": "tiny", "dist-tags": {"latest": "1.0.0"}, "versions": {
                "1.0.0": {"name": "tiny", "version": "1.0.0", "dist": dist}}}).encode(),
                        content_type="application/json")
        elif path.endswith(".tgz"):
            self.answer(self.server.tar)
        else:
            for _ in self.body():
                pass
            self.answer(f"{self.headers.get('Host')} says hello\n".encode(), content_type="text/plain")

    do_POST = do_PUT = do_HEAD = do_GET


def main(folder, address):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(f"{folder}/authority/server.pem", f"{folder}/authority/server.key")
    for port, tls in ((443, context), (80, None)):
        server = web.WebServer(address, tls, f"{folder}/repositories", port, Handler)
        server.tar = package()
    with open(f"{folder}/internet.ready", "w", encoding="ascii"):
        pass
    threading.Event().wait()


def bait(folder, port):
    with socket.create_server(("::", int(port)), family=socket.AF_INET6, dualstack_ipv6=True) as listener, \
            open(f"{folder}/bait", "ab", buffering=0) as out:
        while True:
            peer, address = listener.accept()
            out.write(f"{address}\n".encode())
            peer.close()


if __name__ == "__main__":
    if sys.argv[2]:
        main(*sys.argv[1:])
    else:
        bait(sys.argv[1], sys.argv[3])
