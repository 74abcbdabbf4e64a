"""Names that lead to metadata services, by an address, an alias, and in IPv6.

Source: https://github.com/onyx-dot-app/onyx/pull/12242 (a sandbox's proxy relayed to link-local addresses)
"""


def attempt(t):
    for name in ("meta.example", "alias.example", "wire.example", "six.example"):
        t.refused(t.get(f"http://{name}/latest/meta-data/", "deny"), 403, "the host guard refuses")
        t.refused(t.socks5(name, 80, "deny"), 2)
        t.passes(f"dns {name}")
