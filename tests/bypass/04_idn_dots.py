"""The blocked name with dots and letters that IDNA maps to plain ones.

Source: CVE-2022-42916 and CVE-2022-43551 (curl: U+3002 instead of a dot got round HSTS)
"""


def attempt(t):
    for name in ("blocked\u3002example", "blocked\uff0eexample", "\uff42locked.example", "\u24d1locked.example"):
        t.denied(t.socks5(name, 80, "deny"))
        t.denied(t.socks4(b"\0\0\0\1", 80, name.encode(), "deny"))
    # Bytes beyond ASCII are no part of an HTTP target.
    t.refused(t.http("CONNECT blocked\u3002example:443 HTTP/1.1\r\n\r\n".encode(), "deny"), 400)
