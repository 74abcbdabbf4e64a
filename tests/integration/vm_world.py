"""VM mode's world: awsocks, its VM's way out and the servers of the outside, each in a network namespace of its own.

    with vm_world.World() as world:
        proxy = world.awsocks("--route-default", "vm-direct")       QEMU; driver="process": the agent alone
        client.fetch_digest(world.url(proxy), f"http://{vm_world.SITE}/bytes/1000", tmp_path)
        world.site.peers                  {"203.0.113.7"}: it came out of the VM's NAT

    host   awsocks. Nothing but a loopback device: no way out, no name server, no right to anything
    nat    QEMU, or the agent as a process: 203.0.113.7, a gateway and a name server; its loopback is behind 10.0.2.2
    net    198.51.100.2: a web site and the emulator of AWS under the names of AWS; 198.51.100.53: the name server

awsocks starts its VM by a wrapper that enters `nat`: it may, because the user namespace that `nat` belongs to was made
by awsocks' user. That one is an ordinary user without capabilities, in here and, where the tests are root's, outside.
"""
import contextlib
import functools
import glob
import hashlib
import json
import os
import shutil
import socket
import struct
import subprocess
import sys
import tempfile
import threading

import client
import harness
import internet
import netns
import web
from conftest import INSTANCE, REGION, Awsocks, LocalAws, clean_environment
from witness import encode, record

SITE, NAT, ROUTER = "www.example.com", "203.0.113.7", "203.0.113.1"
NET, DNS = "198.51.100.2", "198.51.100.53"
VPC = "api.internal.example"
DIGEST, ECHO, SOURCE, CLOSED, FATE = 9, 7, 19, 81, 666
DROPPED, UNREACHABLE = "192.0.2.9", "192.0.2.200"       # packets vanish on the way; no way from `nat`
# What the guest has around it: itself, its gateway, its name server, and a neighbour.
AROUND = {"qemu": ("10.0.2.15", "10.0.2.2", "10.0.2.3", "10.0.2.4"), "process": (NAT, ROUTER, DNS, "203.0.113.9")}
BOOT_S = 240 if harness.SANITIZED else 120
NOBODY = 65534
PYTHON = "/usr/bin/python3" if os.access("/usr/bin/python3", os.X_OK) else sys.executable    # that anybody may run
AWS = [f"{service}.{REGION}.amazonaws.com" for service in ("ssm", "ssmmessages", "ec2", "sts", "ec2-instance-connect",
                                                           "portal", "oidc")] + ["sts.amazonaws.com"]
NAMES = {SITE: [NET], "both.qemu.example.com": [NET, "10.0.2.2"], "both.process.example.com": [ROUTER, NET],
         "gateway.qemu.example.com": ["10.0.2.2"], "gateway.process.example.com": [ROUTER],
         "loopback.example.com": ["127.0.0.1"], "host.example.com": [NAT], "metadata.example.com": ["169.254.169.254"],
         "six.example.com": ["2001:db8::7"], "dropped.example.com": [DROPPED], **{name: [NET] for name in AWS}}
# A socket of another namespace: argv is the descriptor to send by, "tcp" or "udp", address and port to listen at.
HAND_OVER = ("import socket, sys; k, a, p = sys.argv[2:]; "
             "s = socket.socket(type=socket.SOCK_DGRAM if k == 'udp' else socket.SOCK_STREAM); "
             "s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1); s.bind((a, int(p))); "
             "k == 'udp' or s.listen(128); "
             "socket.send_fds(socket.socket(fileno=int(sys.argv[1])), [b'x'], [s.fileno()])")


def agent():
    """The agent of this processor; None where it was not built."""
    path = os.path.join(harness.TREE, "build", "awsocks-agent")     # static: never sanitized
    return path if os.path.exists(path) else None


def qemu():
    return shutil.which(f"qemu-system-{os.uname().machine}")


def kernel():
    """(kernel, its modules), where the set-up puts them (tests/setup-kernel.sh); None where it did not."""
    for file in sorted(glob.glob(os.path.join(harness.TREE, "build", "kernel", os.uname().machine, "*", "vmlinuz")),
                       reverse=True):
        folder = os.path.dirname(file)
        beside = os.path.join(folder, "modules")
        return file, beside if os.path.isdir(beside) else folder
    return None


@functools.lru_cache(maxsize=None)
def why_not(driver):
    """Why VM mode cannot be tried here with this driver; "" when it can."""
    if not netns.available():
        return "no namespaces here"
    if not agent():
        return "no build/awsocks-agent (make build-agent)"
    if driver in ("qemu", "vfkit") and not qemu():
        return "no QEMU (make setup installs it)"
    if driver in ("qemu", "vfkit") and not kernel():
        return "no kernel in build/kernel (make setup fetches it)"
    return ""


def user():
    """What stands before a command to run it as somebody who may nothing: of root, nobody."""
    if os.geteuid() != 0:
        return []
    return ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups", "--inh-caps=-all"]


def give_away(path):
    """All of it to user()."""
    if os.geteuid() != 0:
        return
    os.chown(path, NOBODY, NOBODY)
    for folder, folders, files in os.walk(path):
        for name in folders + files:
            os.lchown(os.path.join(folder, name), NOBODY, NOBODY)


class Space(netns.Namespace):
    """A namespace below another one: `outer` stands before commands to run them there."""

    def __init__(self, folder, name, outer, unshare, enter=("user", "mount", "net")):
        self.name, self.folder = name, str(folder)
        self.holder = subprocess.Popen([*outer, "unshare", *unshare, *netns.HOLD], stdin=subprocess.DEVNULL,
                                       start_new_session=True)
        harness.wait_for(self._is_sleep, what=f"the namespace {name}")
        self.enter = ("nsenter", f"--target={self.holder.pid}", *(f"--{kind}" for kind in enter),
                      "--preserve-credentials")
        self.wrap = (*outer, *self.enter)

    def listening(self, kind, address, port):
        """A socket of it, for a server of this process."""
        ours, theirs = socket.socketpair()
        with ours, theirs:
            self.run([PYTHON, "-c", HAND_OVER, theirs.fileno(), kind, address, port],
                     pass_fds=[theirs.fileno()])
            _, fds, _, _ = socket.recv_fds(ours, 1, 1)
        return socket.socket(fileno=fds[0])

    def sockets(self):
        """Its TCP and Unix sockets that listen, as ss shows them."""
        return self.run(["ss", "-Hltn"]).stdout.decode()


class Dns:
    """A name server. `names`: {name: addresses}; a list of lists is given out in turn, None: no answer at all."""

    def __init__(self, listening, names):
        self.socket, self.names, self.asked = listening, dict(names), []
        self.turns = {}
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self):
        with contextlib.suppress(OSError):
            while True:
                data, sender = self.socket.recvfrom(4096)
                if not data:        # stop()
                    return
                answer = self.answer(data)
                if answer:
                    self.socket.sendto(answer, sender)

    def answer(self, data):
        labels, at = [], 12
        while data[at]:
            labels.append(data[at + 1:at + 1 + data[at]].decode("latin-1"))
            at += data[at] + 1
        name, kind = ".".join(labels).lower(), struct.unpack(">H", data[at + 1:at + 3])[0]
        self.asked.append(name)
        known = self.names.get(name, [])
        if known is None:
            return None
        if known and isinstance(known[0], list):
            turn = self.turns[name, kind] = self.turns.get((name, kind), -1) + 1
            known = known[min(turn, len(known) - 1)]
        found = [r for r in (record(b"\xc0\x0c", value, kind) for value in known) if r]
        status = 0x8180 if name in self.names else 0x8183       # NXDOMAIN
        return data[:2] + struct.pack(">HHHHH", status, 1, len(found), 0, 0) + data[12:at + 5] + b"".join(found)

    def stop(self):
        with contextlib.suppress(OSError):
            self.socket.shutdown(socket.SHUT_RDWR)
        self.socket.close()


class Site(internet.Site):
    """A web site that notes who came."""

    def __init__(self, listening, folder, context=None):
        self.peers = set()
        super().__init__(listening, context, folder, {})

    def get_request(self):
        s, peer = super().get_request()
        self.peers.add(peer[0])
        return s, peer


class Listener(web.Counter):
    """A server on a socket of a namespace. It counts who connects; each has a thread, which here closes at once."""

    def __init__(self, listening):
        super().__init__(listening=listening)

    def take(self, s):
        threading.Thread(target=self.serve, args=(s,), daemon=True).start()

    def serve(self, s):
        s.close()


class Digester(Listener):
    """Says what it got (length, digest) when that has ended, and not before."""

    def serve(self, s):
        with s, contextlib.suppress(OSError):
            h, size = hashlib.sha256(), 0
            while piece := s.recv(1 << 16):
                h.update(piece)
                size += len(piece)
            s.sendall(f"{size} {h.hexdigest()}".encode())


class Echo(Listener):
    """Sends back what it gets."""

    def serve(self, s):
        with s, contextlib.suppress(OSError):
            while piece := s.recv(1 << 16):
                s.sendall(piece)


class Source(Listener):
    """Sends without end; .sent counts what went to all."""

    def __init__(self, listening):
        self.sent, self.lock = 0, threading.Lock()
        super().__init__(listening)

    def serve(self, s):
        with s, contextlib.suppress(OSError):
            while True:
                n = s.send(harness.FILLER)      # it may wait: what others have sent by then is not to be lost
                with self.lock:
                    self.sent += n


class Fate(Listener):
    """Whom the agents of World.mortal() call: it tells them how they end."""

    def __init__(self, listening):
        self.callers, self.told = [], []
        super().__init__(listening)

    def take(self, s):
        self.callers.append(s)

    def forget(self):
        """Those that have called: they are told no more."""
        self.told += self.callers
        self.callers.clear()

    def order(self, what):
        """To those that have called since the last order, as soon as there are any: what tests/vm/mortal.c has."""
        harness.wait_for(lambda: self.callers, BOOT_S, "a guest that calls")
        while self.callers:
            self.told.append(self.callers.pop())
            with contextlib.suppress(OSError):
                self.told[-1].sendall(what)

    def stop(self):
        super().stop()
        for s in self.callers + self.told:
            s.close()


class Aws(LocalAws):
    """The emulator in `net`, at the names of AWS and over TLS, as AWS is."""

    def __init__(self, world, folder, *options):        # not LocalAws': another place, and no endpoint to be told
        self.world = world
        ready = os.path.join(folder, "localaws.json")
        harness.Process.__init__(
            self, [*world.net.wrap, world.program("awsocks-localaws"), "--listen", "127.0.0.1:0", "--ready-file",
                   ready, "--tls", "--region", REGION, *options], folder, "localaws", clean_environment(folder))
        self.ready = self.wait_for(lambda: harness.read_json(ready), what="the emulator")
        self.endpoint = self.ready["endpoint"]
        self.open_door()

    def open_door(self):
        self.door = self.world.net.popen([self.world.program("awsocks-bridge"), "bridge", "--listen", f"{NET}:443",
                                          "--to", self.endpoint.removeprefix("https://")],
                                         stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        harness.wait_for(lambda: f"{NET}:443" in self.world.net.sockets(), what="the emulator's door")

    def shut_door(self):
        """All of its connections break, and nobody gets in."""
        self.door.kill()
        self.door.wait(10)

    def env(self):
        out = super().env()
        del out["AWS_ENDPOINT_URL"]
        return out

    def open(self, path, data=None):
        return self.world.net.run(["curl", "-q", "-sS", "--fail", "--cacert", self.ready["ca"],
                                   *(["--data-binary", data.decode()] if data else []), self.endpoint + path]).stdout

    def kill(self):
        super().kill()
        self.shut_door()


class Proxy(Awsocks):
    """awsocks in VM mode, in `host`; .plain and .guarded are its Unix sockets."""

    def __init__(self, world, home, options, env):      # not Awsocks': another place and another program
        self.world, self.home, self.options, self.env = world, home, options, env
        ready = os.path.join(home, "ready", "ready.json")
        harness.Process.__init__(self, [*world.host.wrap, world.program("awsocks"), *options, "--ready-file", ready],
                                 home, "awsocks", env, home)
        self.ready = self.wait_for(lambda: harness.read_json(ready), limit_s=BOOT_S, what="the proxy")
        self.plain, self.guarded = f"{home}/run/plain", f"{home}/run/guarded"
        self.address = next(one["address"] for one in self.ready["listeners"] if one["name"] == "tcp")

    def ctl(self, *argv, check=True):
        """A command of awsocks' at it."""
        return harness.run([*self.world.host.wrap, self.world.program("awsocks"), *argv], env=self.env, check=check,
                           limit_s=BOOT_S)

    def status(self):
        return json.loads(self.ctl("status", "--json").stdout)

    def vm(self):
        """What `awsocks vm status` says."""
        return json.loads(self.ctl("vm", "status", "--json").stdout)


class World:
    def __init__(self):
        self.end = contextlib.ExitStack()
        self.folder = tempfile.mkdtemp(prefix="awsocks-vm-")
        self.end.callback(shutil.rmtree, self.folder, ignore_errors=True)
        os.chmod(self.folder, 0o755)
        self.count, self.tree, self.proxies = 0, harness.TREE, []
        try:
            self._spaces()
            self._servers()
        except BaseException:
            self.close()
            raise

    def _space(self, *args, **kwargs):
        space = Space(self.folder, *args, **kwargs)
        self.end.callback(space.close)
        return space

    def _spaces(self):
        self.root = self._space("host", user(), ["-rmn"])
        self._show_tree()
        self.host = self._space("user", self.root.wrap, ["-U", "--map-user=1000", "--map-group=1000"],
                                enter=["user"])
        self.nat = self._space("nat", self.host.wrap, ["-rmn"])
        self.net = self._space("net", self.root.wrap, ["-mn"], enter=["mount", "net"])
        self.net.run(["ip", "link", "add", "eth0", "type", "veth", "peer", "name", "eth0", "netns",
                      str(self.nat.holder.pid)])
        for space, address in ((self.net, ROUTER), (self.nat, NAT)):
            space.address("eth0", f"{address}/24")
            space.run(["ip", "link", "set", "eth0", "up"])
        for space in (self.root, self.nat, self.net):
            space.run(["ip", "link", "set", "lo", "up"])
            space.bind("hosts", "127.0.0.1 localhost\n::1 localhost\n")
            space.bind("resolv.conf", f"nameserver {DNS}\noptions timeout:2\n" if space is self.nat else "")
        # awsocks' host is QEMU's: this address is its own, too.
        self.root.address("lo", f"{NAT}/32")
        self.nat.run(["ip", "route", "add", "default", "via", ROUTER])
        self.nat.run(["ip", "route", "add", "unreachable", f"{UNREACHABLE}/32"])
        for address in (NET, DNS):
            self.net.address("lo", f"{address}/32")
        self.net.run(["sh", "-c", "echo 1 >/proc/sys/net/ipv4/ip_forward"])
        self.net.run(["ip", "route", "add", "blackhole", f"{DROPPED}/32"])

    def _show_tree(self):
        """Where the tree is in a folder of root's alone, nobody sees it here."""
        if os.geteuid() == 0:
            self.tree = self.new_folder("tree")
            harness.run(["nsenter", f"--target={self.root.holder.pid}", "--mount", "mount", "--bind", harness.TREE,
                         self.tree])

    def seen(self, path):
        """A path of the tree's, as awsocks may name it."""
        return os.path.join(self.tree, os.path.relpath(path, harness.TREE))

    @property
    def guest(self):
        return self.seen(os.path.join(os.path.dirname(os.path.abspath(__file__)), "vm_guest.py"))

    def program(self, name):
        return self.seen(harness.program(name))

    def _keep(self, server):
        self.end.callback(server.stop)
        return server

    def _servers(self):
        self.dns = self._keep(Dns(self.net.listening("udp", DNS, 53), NAMES))
        self.site = self._keep(Site(self.net.listening("tcp", NET, 80), self.folder))
        self.vpc = self._keep(Site(self.net.listening("tcp", "127.0.0.1", 8080), self.folder))
        self.digester = self._keep(Digester(self.net.listening("tcp", NET, DIGEST)))
        self.echo = self._keep(Echo(self.net.listening("tcp", NET, ECHO)))
        self.source = self._keep(Source(self.net.listening("tcp", NET, SOURCE)))
        self.fate = self._keep(Fate(self.net.listening("tcp", NET, FATE)))
        # What 10.0.2.2 leads to, this host, the gateway, the name server: never to be reached.
        self.forbidden = [self._keep(Listener(space.listening("tcp", address, 80)))
                          for space, address in ((self.nat, "0.0.0.0"), (self.root, "0.0.0.0"), (self.net, ROUTER),
                                                 (self.net, DNS), (self.net, "127.0.0.1"))]

    def new_folder(self, name):
        self.count += 1
        path = os.path.join(self.folder, f"{name}{self.count}")
        os.mkdir(path, 0o755)
        give_away(path)
        return path

    def localaws(self, *options):
        """The emulator, which reaches a web site of the VPC as VPC:8080."""
        folder = self.new_folder("localaws")
        aws = Aws(self, folder, "--resolve", f"{VPC}=127.0.0.1", *options)
        self.end.callback(aws.kill)
        return aws

    def script(self, name, text):
        """A program of a test's own; one of the same name is replaced."""
        path = os.path.join(self.folder, name)
        with open(path + ".new", "w", encoding="utf-8") as f:
            f.write(text)
        os.chmod(path + ".new", 0o755)
        os.rename(path + ".new", path)
        return path

    def wrapper(self, program, dies=True, gate=None):
        """A program that is that one, run in `nat` by a user without capabilities. It dies with whoever started it,
        and begins when `gate` is there."""
        self.count += 1
        own = ["unshare", "-U", "--map-user=1000", "--map-group=1000", *(["setpriv", "--pdeathsig", "KILL"] if dies
                                                                         else [])]
        wait = f"while [ ! -e {gate} ]; do sleep 0.05; done\n" if gate else ""
        return self.script(f"nat{self.count}-{os.path.basename(program)}",
                           f"#!/bin/sh\n{wait}exec {' '.join(self.nat.enter)} {' '.join(own)} {program} \"$@\"\n")

    def mortal(self):
        """The agent for QEMU, which ends as .fate says (tests/vm/mortal.c)."""
        path, parts = os.path.join(self.folder, "mortal-agent"), []
        for name in (os.path.join(harness.TREE, "build", "tools", "vm-mortal"), agent()):
            with open(name, "rb") as f:
                parts.append(f.read())
        with open(path, "wb") as f:
            f.write(b"".join(parts) + f"{len(parts[1])} {NET} {FATE}".encode().ljust(64, b"\0"))
        os.chmod(path, 0o755)
        return path

    def vfkit(self):
        """A stand-in for it, in `nat`, whose guest is one of this machine's kind (fake_vfkit.py)."""
        return self.wrapper(self.script(
            f"vfkit-{os.uname().machine}",
            f"#!/bin/sh\nQEMU={qemu()} VSOCKBACK={self.seen(os.path.join(harness.TREE, 'build/tools/vsockback'))} "
            f"exec {PYTHON} -B {os.path.join(os.path.dirname(self.guest), 'fake_vfkit.py')} \"$@\"\n"))

    def garbage(self, kind, turn):
        """An agent that says what vm_guest.py has under that name; the next one is the real one."""
        return self.script(f"garbage-{kind}", f"#!/bin/sh\n[ -e {turn} ] && exec {self.wrapper(self.seen(agent()))} "
                                              f'"$@"\n: >{turn}\nexec {PYTHON} -B {self.guest} {kind} "$@"\n')

    def driver_options(self, driver, program=None):
        if driver == "process":
            return ["--vm-driver", "process", "--vm-agent", program or self.wrapper(self.seen(agent()))]
        boots = ["--vm-kernel", self.seen(kernel()[0]), "--vm-agent", self.seen(agent())]
        if driver == "vfkit":       # it is emulated, which vfkit is not
            return ["--vm-driver", "vfkit", "--vm-program", program or self.vfkit(), "--vm-boot-timeout",
                    f"{BOOT_S}s", *boots]
        # As long as the tests wait for it: a boot that was slow and was begun anew would count as a restart.
        return ["--vm-driver", "qemu", "--vm-accel", "tcg", "--vm-boot-timeout", f"{BOOT_S}s", "--vm-program",
                program or self.wrapper(qemu()), *boots]

    def awsocks(self, *options, driver="qemu", aws=None, program=None, lazy=True, env=None):
        """awsocks at two Unix sockets, `plain` and `guarded`, and 127.0.0.1:0 (of `host`)."""
        home = self.new_folder("awsocks")
        settings = {**clean_environment(home), "AWS_REGION": REGION, **(aws.env() if aws else {}), **(env or {})}
        for name in ("audit", "ready", "settings"):
            os.mkdir(os.path.join(home, name))
        config = os.path.join(home, "settings", "awsocks.yaml")
        with open(config, "w", encoding="utf-8") as f:
            f.write("listeners:\n  - { address: '127.0.0.1:0', name: tcp }\n"
                    f"  - {{ address: 'unix:{home}/run/plain', name: plain, guard: off }}\n"
                    f"  - {{ address: 'unix:{home}/run/guarded', name: guarded }}\n")
        give_away(home)
        argv = ["start", "--mode", "vm", "--config", config, "--audit-log", f"{home}/audit/audit.jsonl", "--grace",
                "200ms", *(["--lazy"] if lazy else ["--no-lazy"]), *self.driver_options(driver, program),
                *(["--instance-id", INSTANCE, "--ssmmessages-endpoint", f"ssmmessages.{REGION}.amazonaws.com"]
                  if aws else []), *options]
        return self._start(home, argv, settings)

    def again(self, proxy):
        """Another one, of the same folders and options."""
        os.unlink(os.path.join(proxy.home, "ready", "ready.json"))
        return self._start(proxy.home, proxy.options, proxy.env)

    def _start(self, *args):
        proxy = Proxy(self, *args)
        self.end.callback(proxy.kill)
        self.proxies.append(proxy)
        return proxy

    def close(self):
        self.end.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


def running(proxy):
    """What `vm status` says once the VM runs: on a busy machine that takes longer than a dial waits."""
    def there():
        told = proxy.vm()
        return told if told["state"] == "running" else None
    return proxy.wait_for(there, BOOT_S, "the VM to run")


def url(listener):
    """What curl takes for a proxy at a Unix socket."""
    return f"socks5h://localhost{listener}"


def fetch(listener, folder, size, host=SITE, port=80):
    """The digest of so many bytes from a web site."""
    return client.fetch_digest(url(listener), f"http://{host}:{port}/bytes/{size}", folder, limit_s=BOOT_S)


def processes(of=""):
    """{pid: command line} of what runs here and has all of these words in it."""
    found = {}
    for pid in filter(str.isdigit, os.listdir("/proc")):
        with contextlib.suppress(OSError), open(f"/proc/{pid}/cmdline", "rb") as f:
            line = f.read().replace(b"\0", b" ").decode("latin-1")
            if of in line and int(pid) != os.getpid():
                found[int(pid)] = line
    return found


def readable(path):
    """For awsocks' user, too."""
    os.chmod(path, 0o644)
    return path
