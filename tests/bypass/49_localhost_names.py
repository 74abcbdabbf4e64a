"""Names of the loopback, on both routes. On proxy the instance's own loopback would answer.

Source: RFC 6761, 6.3; /etc/hosts of Debian and Fedora
"""
import socket


def attempt(t):
    own = socket.gethostname().split(".")[0].lower()
    for name in ("localhost", "LOCALHOST", "localhost.", "a.b.localhost", "ip6-localhost", "ip6-loopback",
                 "localhost.localdomain", "localhost6", own, f"{own}.local"):
        t.refused(t.connect(f"{name}:22", "aws"), 403, "the host guard refuses")
        t.denied(t.socks5(name, 80, "aws"))
    for name in ("localhost", "localhost."):
        t.refused(t.connect(f"{name}:22", "deny"), 403, "the host guard refuses")
