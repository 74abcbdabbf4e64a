"""Percent-encoding in a host, once and twice.

Source: https://github.com/NVIDIA/OpenShell/issues/1498 (encoded variants of a host name)
"""


def attempt(t):
    for host in ("blocked%2eexample", "%62locked.example", "allowed.example%00.blocked.example", "127%2e0.0.1",
                 "allowed.example%2f@blocked.example", "blocked%252eexample", "allowed.example%23.evil"):
        t.refused(t.connect(f"{host}:443", "deny"), 400)
        t.refused(t.get(f"http://{host}/", "deny"), 400)
        t.refused(t.socks5(host, 443, "deny"), 1)
