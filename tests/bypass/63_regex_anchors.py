"""A regular expression is the whole name's, not a part's; and lines do not end it.

Source: CWE-777 (regular expression without anchors)
"""


def attempt(t):
    for name in ("xbuild1.example", "build1.example.evil", "build.example", "build1xexample.evil", "a.build1.example"):
        t.denied(t.connect(f"{name}:443"))
    t.refused(t.socks5("evil\nbuild1.example", 443), 1)
    t.denied(t.connect("EVIL1.example:443", "deny"))
