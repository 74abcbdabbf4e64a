"""A folded header line, and lines that are none.

Source: RFC 9112, 5.2; CVE-2023-25725 (HAProxy: an empty field name ended the head for it alone)
"""


def attempt(t):
    head = "GET http://allowed.example/ HTTP/1.1\r\nHost: allowed.example\r\n"
    for line in ("X: y\r\n folded", "X: y\r\n\tTransfer-Encoding: chunked", ": empty", "no colon", " X: y", "\tX: y",
                 "X y: z", "X: y\x00z", "X: y\x7f"):
        t.refused(t.http(f"{head}{line}\r\n\r\n"), 400)
