"""The blocked name with a dot at its end, which is the same name to a resolver; with two it is none.

Source: CVE-2022-30115 and CVE-2022-27779 (curl: a trailing dot got round HSTS and the public suffix list)
"""


def attempt(t):
    t.denied(t.connect("blocked.example.:443", "deny"), t.get("http://blocked.example./", "deny"),
             t.socks5("blocked.example.", 80, "deny"), t.socks4(b"\0\0\0\1", 80, b"x.bad.example.", "deny"))
    t.refused(t.connect("blocked.example..:443", "deny"), 400, "empty label")
    t.refused(t.connect(".blocked.example:443", "deny"), 400, "empty label")
