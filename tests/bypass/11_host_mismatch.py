"""A plain request whose Host field names another site than its target: the server gets the target's.

Source: CVE-2009-0801 (Squid believed the Host field); RFC 9112, 3.2.2
"""


def attempt(t):
    t.watch("203.0.113.10:80")
    out = t.get("http://a11.wild.example/", headers="X-Y: z\r\n")
    assert out.code == 200
    out = t.http("GET http://b11.wild.example/ HTTP/1.1\r\nHost: blocked.example\r\n\r\n")
    assert out.code == 200
    sent = t.sent("203.0.113.10:80")
    assert b"Host: a11.wild.example\r\n" in sent and b"Host: b11.wild.example\r\n" in sent
    assert b"blocked.example" not in sent
    t.passes("dns a11.wild.example", "dns b11.wild.example", "tcp 203.0.113.10:80")
