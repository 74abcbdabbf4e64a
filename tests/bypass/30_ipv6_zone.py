"""IPv6 addresses with a zone, which name an interface of the host, or hide a name from a rule.

Source: CVE-2025-22870 (Go: the zone was compared with NO_PROXY as a host name)
"""


def attempt(t):
    for host in ("[fe80::1%25net0]", "[fe80::1%net0]", "[::1%25.wild.example]", "[::1%.wild.example]"):
        t.refused(t.connect(f"{host}:80", "deny"), 400)
        t.refused(t.get(f"http://{host}/", "deny"), 400)
    t.refused(t.socks5("fe80::1%net0", 80, "deny"), 1)
    t.denied(t.connect("[fe80::1]:80", "deny"))
