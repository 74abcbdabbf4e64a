"""Names and labels that are too long: refused, never cut to something that is allowed.

Source: CVE-2024-24806 (libuv cut names at 256 bytes); CVE-2023-38545 (curl: names longer than SOCKS5 can carry)
"""


def attempt(t):
    for name in ("a" * 64 + ".wild.example", "a." * 121 + "wild.example", "a" * 255):
        t.refused(t.socks5(name[:255], 443), 1)
        t.refused(t.connect(f"{name}:443"), 400)
    t.refused(t.connect("a." * 2000 + "wild.example:443"), 400)
    t.refused(t.http("CONNECT " + "a" * 70000 + ".wild.example:443 HTTP/1.1\r\n\r\n"), 431)
    t.refused(t.socks5_raw(b"\5\1\0\3\0\1\xbb"), 1)
