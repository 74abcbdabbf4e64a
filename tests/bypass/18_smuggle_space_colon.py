"""A blank between a field's name and its colon.

Source: CVE-2019-16869 (Netty); CVE-2021-22959 (llhttp); RFC 9112, 5.1
"""


def attempt(t):
    head = "POST http://allowed.example/ HTTP/1.1\r\nHost: allowed.example\r\n"
    for field in ("Content-Length : 4", "Content-Length\t: 4", "Transfer-Encoding : chunked", "Connection : close"):
        t.refused(t.http(f"{head}{field}\r\n\r\nGET "), 400, "header name")
