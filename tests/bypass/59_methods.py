"""Methods that are almost CONNECT, and CONNECT with a body or a path.

Source: RFC 9110, 9.1 (methods compare by case); RFC 9112, 3.2.3
"""


def attempt(t):
    for method in ("connect", "Connect", "CONNECT1"):
        t.refused(t.http(f"{method} blocked.example:443 HTTP/1.1\r\n\r\n"), 400)
    for target in ("blocked.example:443/", "http://blocked.example:443", "allowed.example:443?x", "*", "/"):
        t.refused(t.connect(target), 400)
    t.refused(t.connect("allowed.example:443", headers="Content-Length: 4\r\n"), 400)
    t.refused(t.connect("allowed.example:443", headers="Transfer-Encoding: chunked\r\n"), 400)
