"""Transfer-Encoding written so that one reader sees it and another does not.

Source: https://github.com/narfindustries/http-garden (TE.TE); CVE-2022-32213 and CVE-2022-32215 (llhttp)
"""


def attempt(t):
    head = "POST http://allowed.example/ HTTP/1.1\r\nHost: allowed.example\r\n"
    for field in ("Transfer-Encoding: xchunked", "Transfer-Encoding: chunked, identity",
                  "Transfer-Encoding: x, chunked", "Transfer-Encoding : chunked", "Transfer-Encoding:\x0bchunked",
                  "Transfer-Encoding: \"chunked\"", "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity",
                  "Transfer-Encoding:\r\n chunked", "Transfer-Encoding\r\n: chunked",
                  "X: y\rTransfer-Encoding: chunked", "X: y\nTransfer-Encoding: chunked",
                  "Transfer-Encoding: chunked,", "\x00Transfer-Encoding: chunked"):
        t.refused(t.http(f"{head}{field}\r\n\r\n0\r\n\r\n"), (400, 501))
    t.refused(t.http("POST http://allowed.example/ HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"), 400)
