"""What the bridge's tests share: the bridge, servers for its other end, and who sees a connection end."""
import os
import re
import socket
import threading

import pytest

import client
import harness


@pytest.fixture
def bridge(tmp_path, processes):
    """bridge("--listen", ..., "--to", ...) -> Process with .listeners, once it listens."""
    started = []

    def start(*options, listen=("127.0.0.1:0",), name="awsocks-bridge"):
        argv = [harness.program(name), "bridge"]
        for address in listen:
            argv += ["--listen", address]
        p = harness.Process([*argv, *options], tmp_path, f"bridge{len(started) or ''}")
        started.append(p)
        processes.append(p)
        found = p.wait_for(lambda: ready(p, len(listen)), what="the bridge")
        p.listeners = [place(address) for address in found]
        p.listener = p.listeners[0]
        return p

    def ready(p, count):
        found = re.findall(r" bridge: (\S+) -> ", p.log())
        return found if len(found) == count else None
    yield start
    for p in started:
        if p.running():
            assert p.stop() == 0, p.log()
        p.check_clean()


def place(address):
    """What client.dial() takes."""
    if address.startswith("unix:"):
        return address.removeprefix("unix:")
    host, _, port = address.rpartition(":")
    return host.strip("[]"), int(port)


def text_of(address):
    return f"unix:{address}" if isinstance(address, str) else f"{address[0]}:{address[1]}"


class Server:
    """Each connection is served by serve(socket) in a thread of its own."""

    def __init__(self, serve, address=("127.0.0.1", 0), backlog=512):
        family = socket.AF_UNIX if isinstance(address, str) else socket.AF_INET
        self.socket = socket.socket(family)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.bind(address)
        self.socket.listen(backlog)
        self.address = self.socket.getsockname()
        self.serve = serve
        self.accepted = 0
        threading.Thread(target=self._run, daemon=True).start()

    def _run(self):
        while True:
            try:
                s, _ = self.socket.accept()
            except OSError:
                return
            self.accepted += 1
            s.settimeout(harness.LIMIT_S)
            threading.Thread(target=self._serve, args=(s,), daemon=True).start()

    def _serve(self, s):
        with s:
            self.serve(s)

    def stop(self):
        # accept() in the other thread holds the socket: only a shutdown ends it.
        self.socket.shutdown(socket.SHUT_RDWR)
        self.socket.close()
        if isinstance(self.address, str):
            os.unlink(self.address)


def echo(s):
    while data := s.recv(1 << 16):
        s.sendall(data)


def assert_closed(s):
    """Ends, as an end or as a reset; what came before is not looked at."""
    try:
        client.read_to_end(s)
    except ConnectionResetError:
        pass


@pytest.fixture
def intranet(localaws, awsocks, repository, web, tmp_path):
    """awsocks at a Unix socket, which reaches http://intranet.example/; start() makes it anew."""
    aws = localaws("--resolve", f"intranet.example=127.0.0.1:{web.port}")
    path = tmp_path / "proxy"
    path.mkdir(mode=0o700)
    web.repository = repository

    def start():
        return awsocks(aws=aws, listen=f"unix:{path}/proxy.sock", audit=False)
    return start
