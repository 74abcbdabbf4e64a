"""SOCKS5's name type with an address in it, in many notations: the rules for addresses decide.

Source: RFC 1928, 5; https://github.com/RakuenSoftware/aimee/pull/2531 (an IP as DOMAINNAME)
"""


def attempt(t):
    for name in ("203.0.113.66", "203.0.28994", "0xcb.0.0x71.0x42", "3405803842", "0313.0.0161.0102",
                 "[::ffff:203.0.113.66]", "::ffff:203.0.113.66", "::ffff:cb00:7142", "2001:DB8:0::66",
                 "[2001:db8::0.0.0.102]"):
        t.denied(t.socks5(name, 80, "deny"))
    t.denied(t.socks5(b"\1\xcb\0\x71\x42", 80, "deny"), t.socks4(b"\xcb\0\x71\x42", 80, listener="deny"))
