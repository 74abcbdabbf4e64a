"""More than one Content-Length, and lengths that are no number to everybody.

Source: CVE-2020-15049 (Squid: a sign or blank in front of Content-Length); RFC 9112, 6.3
"""


def attempt(t):
    head = "POST http://allowed.example/ HTTP/1.1\r\nHost: allowed.example\r\n"
    for field in ("Content-Length: 0\r\nContent-Length: 40", "Content-Length: 0, 40", "Content-Length: +4",
                  "Content-Length: -1", "Content-Length: 0x4", "Content-Length: 4 4", "Content-Length:",
                  "Content-Length: 99999999999999999999", "Content-Length: 4\r\ncontent-length: 4",
                  "Content-Length: \x0b4"):
        t.refused(t.http(f"{head}{field}\r\n\r\nGET "), 400)
