"""A NUL in a SOCKS name: the rules would see an allowed suffix, a C library only what is before it.

Source: https://github.com/NVIDIA/OpenShell/issues/1498 (which tells of the NUL byte in Claude Code's SOCKS5 proxy)
"""


def attempt(t):
    for name in ("blocked.example\0.wild.example", "127.0.0.1\0.wild.example", "\0allowed.example",
                 "allowed.example\0"):
        t.refused(t.socks5(name, 443), 1)
        t.refused(t.http(f"CONNECT {name}:443 HTTP/1.1\r\n\r\n"), 400)
        t.refused(t.get(f"http://{name}/"), 400)
