"""HTTP/0.9, and request lines with too few or too many parts.

Source: https://portswigger.net/research/http-desync-attacks-request-smuggling-reborn; RFC 9112, 3
"""


def attempt(t):
    for line in ("GET http://blocked.example/", "GET http://allowed.example/", "CONNECT blocked.example:443",
                 "GET  http://blocked.example/ HTTP/1.1", "GET http://allowed.example/ http://blocked.example/ HTTP/1.1",
                 "GET http://allowed.example/ HTTP/1.1 ", " GET http://allowed.example/ HTTP/1.1", "GET",
                 "GET http://allowed.example/ HTTP/1.9", "GET http://allowed.example/\tHTTP/1.1",
                 "G@T http://allowed.example/ HTTP/1.1", "GET http://allowed.example/ HTTP/01.1"):
        t.refused(t.http(f"{line}\r\n\r\n"), (400, 501))
