"""Fields that Connection names, credentials for the proxy, and names that must not be taken off.

Source: https://nathandavison.com/blog/abusing-http-hop-by-hop-request-headers; CVE-2022-1388 (F5 BIG-IP)
"""


def attempt(t):
    t.watch("203.0.113.10:80")
    t.http("POST http://k57.wild.example/ HTTP/1.1\r\nHost: x\r\nProxy-Authorization: Basic c2VjcmV0\r\nX-Hop: y\r\n"
           "Connection: x-hop, proxy-authorization, host, content-length, close\r\nProxy-Connection: keep-alive\r\n"
           "TE: trailers\r\nKeep-Alive: 5\r\nContent-Length: 3\r\n\r\nabc")
    sent = t.sent("203.0.113.10:80")
    for gone in (b"c2VjcmV0", b"X-Hop", b"Proxy-", b"TE:", b"Keep-Alive", b"Connection"):
        assert gone not in sent, sent
    assert b"Host: k57.wild.example\r\n" in sent and b"Content-Length: 3\r\n" in sent
    t.passes("dns k57.wild.example", "tcp 203.0.113.10:80")
