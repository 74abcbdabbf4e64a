"""Names that lead to this host: loopback, its gateway address, its address outside, every address.

Source: https://github.com/shpwrck/tactics/issues/315 (a name that resolves to loopback)
"""


def attempt(t):
    for name in ("loop.example", "gateway.example", "outside.example", "any.example"):
        t.refused(t.connect(f"{name}:22", "deny"), 403, "the host guard refuses")
        t.denied(t.socks5(name, 80, "deny"))
        t.passes(f"dns {name}")
