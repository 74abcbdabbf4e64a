"""An allowed name at another port than the rule's.

Source: https://github.com/shpwrck/tactics/issues/315 (an allowlist without ports)
"""


def attempt(t):
    t.denied(t.connect("port.example:22"), t.get("http://port.example/"), t.get("http://port.example:4430/"),
             t.socks5("port.example", 8443), t.socks4(b"\0\0\0\1", 444, b"port.example"))
    t.denied(t.connect("198.51.100.7:443"), t.socks5(b"\1\xc6\x33\x64\x07", 22))
