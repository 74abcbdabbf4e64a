"""Load from programs in C: the client and the target server of `make bench` (tests/bench/socksbench.c)."""
import json
import subprocess

import harness


class Bench:
    """A target server, and clients that go to it through a proxy."""

    def __init__(self, folder, processes):
        self.folder = folder
        for _ in range(20):         # the port must be free at sixteen addresses
            self.port = harness.free_port("127.0.1.1")
            name = f"serve{self.port}"
            self.server = harness.Process([harness.program("tools/socksbench"), "serve", "--port", self.port], folder,
                                          name)
            processes.append(self.server)
            harness.wait_for(lambda: "ready" in self.server.log() or not self.server.running(), what="the server")
            if self.server.running():
                return
        self.server.fail("found no port")

    def start(self, proxy, mode, *args, via="socks5", limit_s=120):
        argv = [harness.program("tools/socksbench"), mode, *args, "--via", f"{via}:{proxy.address}",
                "--port", self.port, "--pids", proxy.pid, "--timeout", limit_s]
        return subprocess.Popen([str(a) for a in argv], stdout=subprocess.PIPE, stderr=subprocess.PIPE)

    def run(self, proxy, mode, *args, via="socks5", limit_s=240):
        with self.start(proxy, mode, *args, via=via, limit_s=limit_s // 2) as child:
            try:
                out, err = child.communicate(timeout=limit_s)
            except subprocess.TimeoutExpired:
                child.kill()
                proxy.fail(f"did not finish {mode}")
        assert out, err
        return json.loads(out)
