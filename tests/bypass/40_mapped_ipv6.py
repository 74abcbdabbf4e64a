"""IPv4 in IPv6: mapped, compatible, translated.

Source: CVE-2024-24790 (Go: mapped addresses were not private); CVE-2024-29415 (npm ip: ::fFFf:127.0.0.1)
"""


def attempt(t):
    for host in ("::ffff:127.0.0.1", "::fFFf:7f00:1", "0:0:0:0:0:ffff:a9fe:a9fe", "::127.0.0.1", "::7f00:1",
                 "::ffff:0:127.0.0.1", "::ffff:192.168.64.1", "::ffff:0.0.0.0", "::", "::1", "0:0::0:1"):
        t.denied(t.connect(f"[{host}]:80", "deny"), t.get(f"http://[{host}]/", "deny"), t.socks5(host, 80, "deny"))
