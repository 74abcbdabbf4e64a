"""CONNECT and SOCKS to one name, TLS to another behind the same address (domain fronting), in pieces and records too.

Source: https://github.com/github/gh-aw-firewall/pull/8878 (SNI against domain fronting)
"""
import ssl

import harness


def hello(name, piece=0):
    out = ssl.MemoryBIO()
    context = ssl.create_default_context()
    context.check_hostname = False
    tls = context.wrap_bio(ssl.MemoryBIO(), out, server_hostname=name)
    try:
        tls.do_handshake()
    except ssl.SSLWantReadError:
        pass
    data = out.read()
    if not piece:
        return data
    body = data[5:]
    return b"".join(data[:3] + len(body[i:i + piece]).to_bytes(2, "big") + body[i:i + piece]
                    for i in range(0, len(body), piece))


def attempt(t):
    t.watch("203.0.113.10:443")
    for n, data in enumerate((hello("blocked.example"), hello("blocked.example", 11), hello(None), b"SSH-2.0-x\r\n",
                              b"GET / HTTP/1.1\r\nHost: blocked.example\r\n\r\n", hello("g32.wild.example.evil"))):
        s = t.tunnel("g32.wild.example", 443, "sni")
        s.sendall(data)
        try:
            assert s.recv(1) == b"", n
        except ConnectionResetError:
            pass
    assert t.sent("203.0.113.10:443") == b""
    t.audited(error="check-sni: the TLS hello names blocked.example, not g32.wild.example", action="refuse")
    t.audited(error="check-sni: not TLS", action="refuse")
    for good in (hello("g32.wild.example"), hello("G32.Wild.example", 7)):
        s = t.tunnel("g32.wild.example.", 443, "sni")
        s.sendall(good)
        s.close()
        harness.wait_for(lambda g=good: t.sent("203.0.113.10:443").endswith(g), what="the hello that fits")
    t.passes("dns g32.wild.example", "tcp 203.0.113.10:443")
