"""IPv4 behind a translator: NAT64's well-known and local-use prefixes, 6to4, Teredo, ISATAP.

Source: RFC 6052, RFC 8215, RFC 3056, RFC 4380, RFC 5214; https://github.com/RakuenSoftware/aimee/pull/2531
"""


def attempt(t):
    for host in ("64:ff9b::127.0.0.1", "64:ff9b::a9fe:a9fe", "64:ff9b::192.168.64.1", "64:ff9b::203.0.113.1",
                 "64:ff9b:1::7f00:1", "64:ff9b:1:a9fe:a9:fe00::", "2002:7f00:1::1", "2002:a9fe:a9fe::1",
                 "2002:c0a8:4001::", "2001:0:7f00:1::1", "2001:0:c000:201:0:ffff:80ff:fffe",
                 "2001:db8::5efe:127.0.0.1"):
        t.denied(t.connect(f"[{host}]:80", "deny"), t.socks5(host, 80, "deny"))
