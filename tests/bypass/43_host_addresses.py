"""The host's own addresses, all of them, by their literals.

Source: our own (docs/SECURITY.md)
"""


def attempt(t):
    for host in ("127.0.0.1", "127.8.8.8", "192.168.64.1", "203.0.113.1", "10.9.0.1", "[2001:db8:1::1]", "[::1]"):
        t.refused(t.connect(f"{host}:22", "deny"), 403, "the host guard refuses")
    for broadcast in ("192.168.64.255", "10.9.0.255", "255.255.255.255", "224.0.0.251"):
        t.refused(t.connect(f"{broadcast}:22", "deny"), 403)
    t.refused(t.connect("[ff02::fb]:22", "deny"), 403)
