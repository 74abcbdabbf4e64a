"""The blocked name in other letters.

Source: RFC 4343 (names compare without case); NVIDIA/OpenShell#1498 (hostname parser differentials)
"""


def attempt(t):
    for name in ("BLOCKED.EXAMPLE", "bLoCkEd.eXaMpLe", "x.BAD.example"):
        t.denied(t.connect(f"{name}:443", "deny"), t.get(f"http://{name}/", "deny"), t.socks5(name, 80, "deny"))
