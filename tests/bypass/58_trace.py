"""TRACE, whose answer shows what arrived: no credentials for the proxy; and to a blocked host like any request.

Source: CERT VU#867593 (cross-site tracing); RFC 9110, 9.3.8
"""


def attempt(t):
    t.denied(t.get("http://blocked.example/", method="TRACE"), t.get("http://blocked.example/", method="PROPFIND"))
    answer = t.get("http://l58.wild.example/", method="TRACE", headers="Proxy-Authorization: Basic c2VjcmV0\r\n")
    assert answer.code == 200 and "c2VjcmV0" not in answer.text
    t.passes("dns l58.wild.example", "tcp 203.0.113.10:80")
