"""Chunk extensions and sizes with line ends of their own: what is behind them must be no request to anybody.

Source: https://w4ke.info/2025/06/18/funky-chunks.html; CVE-2025-22871 (Go: bare LF in chunk lines)
"""

HIDDEN = "GET http://blocked.example/ HTTP/1.1\r\nHost: blocked.example\r\n\r\n"


def attempt(t):
    t.watch("203.0.113.10:80")
    sizes = ("3;x\nyz", "3\n", "3;\n", "3\rx", "0x3", "-3", " 3", "3 ", "FFFFFFFFFFFFFFFF1", "", "3;a=\"\r", "3;\0")
    for n, size in enumerate(sizes):
        head = f"POST http://c{n}.wild.example/ HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
        t.http(f"{head}{size}\r\nabc\r\n0\r\n\r\n{HIDDEN}")
        t.passes(f"dns c{n}.wild.example")
    t.passes("tcp 203.0.113.10:80")
    assert b"blocked" not in t.sent("203.0.113.10:80")
    assert not [line for line in t.audit() if line.get("host") == "blocked.example" and line["action"] == "allow"]
