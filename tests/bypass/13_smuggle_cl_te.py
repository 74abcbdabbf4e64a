"""Content-Length and Transfer-Encoding in one request: CL.TE and TE.CL.

Source: https://portswigger.net/research/http-desync-attacks-request-smuggling-reborn; RFC 9112, 6.1
"""

HIDDEN = "GET http://blocked.example/ HTTP/1.1\r\nHost: blocked.example\r\n\r\n"


def attempt(t):
    head = "POST http://allowed.example/ HTTP/1.1\r\nHost: allowed.example\r\n"
    t.refused(t.http(f"{head}Content-Length: {len(HIDDEN) + 5}\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n{HIDDEN}"),
              400, "both")
    t.refused(t.http(f"{head}Transfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n5c\r\n{HIDDEN}\r\n0\r\n\r\n"), 400)
