"""Bytes sent ahead of the answer (as optimistic clients do) to what is then refused.

Source: our own (optimistic data, as Tor Browser sends it)
"""


def attempt(t):
    request = b"\5\1\0\3\x0fblocked.example\0\x50"
    out = t.say(b"\5\1\0" + request + b"GET /secret HTTP/1.1\r\n\r\n", "deny")
    assert out[3:4] == b"\2", out
    t.refused(t.http("CONNECT blocked.example:80 HTTP/1.1\r\n\r\nGET /secret HTTP/1.1\r\n\r\n", "deny"), 403)
    out = t.say(b"\4\1\0\x50\0\0\0\1me\0blocked.example\0GET /secret HTTP/1.1\r\n\r\n", "deny")
    assert out[1:2] == b"\x5b"
