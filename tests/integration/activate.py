"""Runs a program with listening sockets, as systemd does: activate.py NAME=ADDRESS... -- PROGRAM ARGS...

ADDRESS: HOST:PORT, a path, "udp", "dual" (all addresses of both families), or from:PATH, what
somebody hands out there. NAME may be empty."""
import os
import socket
import sys

FIRST = 3


def taken_from(path):
    with socket.socket(socket.AF_UNIX) as s:
        s.connect(path)
        return socket.socket(fileno=socket.recv_fds(s, 1, 1)[1][0])


def opened(address):
    if address.startswith("from:"):
        return taken_from(address.removeprefix("from:"))
    if address == "udp":
        s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        s.bind(("127.0.0.1", 0))
        return s
    if address == "dual":
        return socket.create_server(("::", 0), family=socket.AF_INET6, dualstack_ipv6=True)
    if address.startswith("/"):
        s = socket.socket(socket.AF_UNIX)
        s.bind(address)
        s.listen()
        return s
    host, _, port = address.rpartition(":")
    return socket.create_server((host, int(port)))


def main():
    at = sys.argv.index("--")
    pairs = [text.split("=", 1) for text in sys.argv[1:at]]
    sockets = [opened(address) for _, address in pairs]
    high = [os.dup2(s.fileno(), 100 + i) for i, s in enumerate(sockets)]
    for i, fd in enumerate(high):
        os.dup2(fd, FIRST + i)
        os.close(fd)
    os.environ.update(LISTEN_FDS=str(len(pairs)), LISTEN_FDNAMES=":".join(name for name, _ in pairs),
                      LISTEN_PID=os.environ.get("FAKE_LISTEN_PID") or str(os.getpid()))
    os.execv(sys.argv[at + 1], sys.argv[at + 1:])


if __name__ == "__main__":
    main()
