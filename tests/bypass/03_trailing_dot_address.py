"""Loopback written with a dot at its end, which some address parsers do not take for an address.

Source: https://github.com/emdash-cms/emdash/pull/740 (127.0.0.1. passed a check of private addresses)
"""


def attempt(t):
    for host in ("127.0.0.1.", "169.254.169.254.", "2130706433."):
        t.denied(t.connect(f"{host}:80", "deny"), t.socks5(host, 80, "deny"))
