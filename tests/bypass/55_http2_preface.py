"""HTTP/2 with prior knowledge, spoken to the proxy.

Source: RFC 9113, 3.4; h2-to-h1 desync in https://portswigger.net/research/http2
"""


def attempt(t):
    t.refused(t.http(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0"), (400, 501, 505))
    t.refused(t.http("GET http://allowed.example/ HTTP/2.0\r\n\r\n"), (400, 501, 505))
    t.refused(t.http("CONNECT allowed.example:443 HTTP/2\r\n\r\n"), (400, 501, 505))
