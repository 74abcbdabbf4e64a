"""Framing and Host in a chunked body's trailers, and a request hidden behind a body that lies about its end.

Source: CVE-2023-46846 (Squid: smuggling by chunked bodies); RFC 9110, 6.5.1
"""

HIDDEN = "GET http://blocked.example/ HTTP/1.1\r\nHost: blocked.example\r\n\r\n"


def attempt(t):
    head = "POST http://d20.wild.example/ HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
    out = t.say(f"{head}0\r\nContent-Length: 500\r\nHost: blocked.example\r\n\r\n{HIDDEN}").decode("latin-1")
    # Two requests to us: one is answered from far, the other by the rules.
    assert out.startswith("HTTP/1.1 200 ") and "HTTP/1.1 403 " in out and "blocked by the default" in out, out
    t.passes("dns d20.wild.example", "tcp 203.0.113.10:80")
