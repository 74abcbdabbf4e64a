"""0.0.0.0 and ::, which are this host to connect(2).

Source: https://www.oligo.security/blog/0-0-0-0-day-exploiting-localhost-apis-from-the-browser
"""


def attempt(t):
    for listener in ("deny", "aws", "open_host"):
        t.denied(t.connect("0.0.0.0:22", listener), t.connect("[::]:22", listener), t.get("http://0/", listener),
                 t.socks5(b"\1\0\0\0\0", 22, listener), t.socks5(b"\4" + bytes(16), 22, listener),
                 t.connect("0.1.2.3:22", listener))
