"""The proxy through itself, to another listener that has other rules; allow-host does not open it either.

Source: https://github.com/anthropics/claude-code/issues/87381 (a CONNECT relayed by a second hop was allowed)
"""


def attempt(t):
    for host in ("192.168.64.1:1084", "127.0.0.1:1085", "[::ffff:192.168.64.1]:1081", "0.0.0.0:1085", "localhost:1085"):
        t.refused(t.connect(host, "deny"), 403)
    t.refused(t.connect("192.168.64.1:1081", "open_host"), 403, "a listener of awsocks itself")
    t.refused(t.connect("[::ffff:192.168.64.1]:1084", "open_host"), 403, "a listener of awsocks itself")
    t.denied(t.socks5("127.0.0.1", 1085, "open_host"), t.connect("127.0.0.1:22", "open_host"))
