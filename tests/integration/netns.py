"""Small networks of our own, in namespaces: a CAL VM with its host, and an internet to play.

    with netns.World() as world:
        world.vm.run(["curl", ...])            192.168.64.2, and nothing but its gateway
        world.host.wrap                        what stands before a command to run it there; for awsocks(wrap=...)
        world.net.run(...)                     203.0.113.2 and more: the servers of the outside
        world.host.hosts({"github.com": "203.0.113.2"})

The VM knows no name server, has no other route than to 192.168.64.0/24, and an /etc/hosts of its own. Everything
lives in user, mount and network namespaces of its own and ends with the holders, so nothing meets the machine's network
or another test's. `netns.available()` says whether the system allows it.
"""
import functools
import os
import shutil
import socket
import subprocess
import sys
import tempfile

import harness

VM, GATEWAY = "192.168.64.2", "192.168.64.1"
NET_HOST, NET = "203.0.113.1", "203.0.113.2"
# Opens a listening socket and hands it over: argv is the descriptor to send by, the address, the port.
HAND_OVER = ("import socket, sys; l = socket.create_server((sys.argv[2], int(sys.argv[3])), backlog=128, "
             "family=socket.AF_INET6 if ':' in sys.argv[2] else socket.AF_INET); "
             "socket.send_fds(socket.socket(fileno=int(sys.argv[1])), [b'x'], [l.fileno()])")
HOLD = ["setpriv", "--pdeathsig", "KILL", "sleep", "36000"]


@functools.lru_cache(maxsize=None)
def available():
    """Whether user, mount and network namespaces can be made here."""
    tools = all(shutil.which(t) for t in ("unshare", "nsenter", "ip", "setpriv", "mount"))
    return tools and subprocess.run(["unshare", "-rmn", "ip", "link", "set", "lo", "up"], check=False,
                                    stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL).returncode == 0


class Namespace:
    """A network namespace with mounts of its own, and the process that keeps it."""

    def __init__(self, folder, name, above=None):
        self.name, self.folder = name, str(folder)
        before = list(above.wrap) + ["unshare", "-mn"] if above else ["unshare", "-rmn"]
        self.holder = subprocess.Popen(before + HOLD, stdin=subprocess.DEVNULL, start_new_session=True)
        # nsenter, not exec'd yet, is still where it came from.
        harness.wait_for(self._is_sleep, what=f"the namespace {name}")
        self.wrap = ("nsenter", f"--target={self.holder.pid}", "--user", "--mount", "--net", "--preserve-credentials")
        self.run(["ip", "link", "set", "lo", "up"])
        self.bind("hosts", "127.0.0.1 localhost\n::1 localhost\n")
        self.bind("resolv.conf", "")

    def _is_sleep(self):
        if self.holder.poll() is not None:
            raise harness.Failed(f"the holder of {self.name} ended with {self.holder.returncode}")
        with open(f"/proc/{self.holder.pid}/comm", encoding="ascii") as f:
            return f.read().strip() == "sleep"

    def bind(self, name, text):
        """Its own /etc/NAME, which may be bound again."""
        path = os.path.join(self.folder, f"{self.name}-{name}")
        with open(path, "w", encoding="utf-8") as f:
            f.write(text)
        self.run(["mount", "--bind", path, f"/etc/{name}"])

    def hosts(self, names):
        """{name: address} for its resolver, besides localhost."""
        self.bind("hosts", "127.0.0.1 localhost\n::1 localhost\n" + "".join(f"{a} {n}\n" for n, a in names.items()))

    def run(self, argv, **kwargs):
        """harness.run() in it."""
        return harness.run([*self.wrap, *argv], **kwargs)

    def popen(self, argv, **kwargs):
        """subprocess.Popen() in it; the caller ends it."""
        kwargs.setdefault("stdin", subprocess.DEVNULL)
        return subprocess.Popen([*self.wrap, *(str(a) for a in argv)], **kwargs)

    def listener(self, address, port):
        """A listening socket in it, for a server of this process."""
        ours, theirs = socket.socketpair()
        with ours, theirs:
            self.run([sys.executable, "-c", HAND_OVER, theirs.fileno(), address, port], pass_fds=[theirs.fileno()])
            _, fds, _, _ = socket.recv_fds(ours, 1, 1)
        return socket.socket(fileno=fds[0])

    def address(self, device, address):
        """One more address on a device (or lo)."""
        extra = ["nodad"] if ":" in address else []
        self.run(["ip", "address", "add", address, "dev", device, *extra])

    def close(self):
        self.holder.kill()
        self.holder.wait(10)


class World:
    """host <-- vnet0 --> vm, and host <-- net0 --> net."""

    def __init__(self, folder=None):
        self._own = tempfile.TemporaryDirectory() if folder is None else None
        self.folder = self._own.name if self._own else str(folder)
        self.spaces = []
        try:
            self.host = self._space("host")
            self.vm = self._space("vm", self.host)
            self.net = self._space("net", self.host)
            self._link("vnet0", GATEWAY, self.vm, VM)
            self._link("net0", NET_HOST, self.net, NET)
        except BaseException:
            self.close()
            raise

    def _space(self, name, above=None):
        space = Namespace(self.folder, name, above)
        self.spaces.append(space)
        return space

    def _link(self, device, near, far_space, far):
        self.host.run(["ip", "link", "add", device, "type", "veth", "peer", "name", "eth0", "netns",
                       str(far_space.holder.pid)])
        self.host.address(device, f"{near}/24")
        self.host.run(["ip", "link", "set", device, "up"])
        far_space.address("eth0", f"{far}/24")
        far_space.run(["ip", "link", "set", "eth0", "up"])

    def close(self):
        for space in reversed(self.spaces):
            space.close()
        if self._own:
            self._own.cleanup()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()
