"""Control bytes, blanks and line ends in a host, which could end a line of the audit log or of a DNS tool.

Source: CVE-2019-9740 and CVE-2019-18348 (Python: CR LF in a host)
"""


def attempt(t):
    for name in ("allowed.example\r\nX: y", "allowed.example\n", "allowed.example\t", "allowed example",
                 "\x1b[2J.example", "allowed.example\x7f", "\x80\x81.example"):
        raw = name.encode("latin-1")
        t.refused(t.socks5_raw(b"\5\1\0\3" + bytes([len(raw)]) + raw + b"\1\xbb"), 1)
        t.refused(t.socks4(b"\0\0\0\1", 443, raw), 91)
    assert all("\x1b" not in str(line) for line in t.audit())
