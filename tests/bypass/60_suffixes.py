"""Names that only end, begin or contain what a wildcard allows.

Source: https://github.com/RakuenSoftware/aimee/pull/2531 (notarchive.ubuntu.com, archive.ubuntu.com.evil.com)
"""


def attempt(t):
    for name in ("evilallowed.example", "allowed.example.evil", "notwild.example", "x.wild.example.evil",
                 "wild.example.x", "x-wild.example", "x.wildexample", "sub.example", "xsub.example",
                 "a.allowed.example", "allowedxexample"):
        t.denied(t.connect(f"{name}:443"), t.get(f"http://{name}/"), t.socks5(name, 80))
