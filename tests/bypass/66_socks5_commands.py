"""BIND, unknown commands and address types, and versions that change in the middle.

Source: RFC 1928, 4 and 6; our own
"""


def attempt(t):
    t.refused(t.socks5_raw(b"\5\2\0\1\xcb\0\x71\x0a\0\x50"), 7)
    t.refused(t.socks5_raw(b"\5\xf0\0\3\x0fallowed.example\0\x50"), 7)
    t.refused(t.socks5_raw(b"\5\1\0\2\xcb\0\x71\x0a\0\x50"), 8)
    t.refused(t.socks5_raw(b"\4\1\0\x50\xcb\0\x71\x0a\0"), 1)
    assert t.say(b"\5\1\2") == b"\5\xff"
    # SOCKS4 has no BIND here either
    assert t.say(b"\4\2\0\x50\xcb\0\x71\x0a\0")[1:2] == b"\x5b"
