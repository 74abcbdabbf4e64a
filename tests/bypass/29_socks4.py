"""SOCKS4a's marks: 0.0.0.x with names that are addresses, 0.0.0.0 itself, no name, users without end.

Source: https://www.openssh.com/txt/socks4a.protocol; our own
"""


def attempt(t):
    t.denied(t.socks4(b"\0\0\0\1", 80, b"blocked.example", "deny"), t.socks4(b"\0\0\0\xff", 80, b"127.0.0.1", "deny"),
             t.socks4(b"\0\0\0\1", 80, b"localhost", "deny"), t.socks4(b"\0\0\0\0", 80, b"allowed.example"),
             t.socks4(b"\0\0\0\0", 80, listener="deny"), t.socks4(b"\x7f\0\0\1", 80, listener="deny"),
             t.socks4(b"\0\0\1\1", 80, listener="deny"))
    t.refused(t.socks4(b"\0\0\0\1", 80, b""), 91)
    t.refused(t.socks4(b"\0\0\0\1", 80, b"a" * 300), 91)
    t.refused(t.socks4(b"\0\0\0\1", 80, b"allowed.example", user=b"u" * 300), 91)
