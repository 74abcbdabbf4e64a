"""A name that only looks like the allowed one: Cyrillic letters; and a rule in Unicode, asked for as its A-label.

Source: CVE-2017-5060 (Chrome: Cyrillic letters shown as Latin ones); RFC 5891
"""


def attempt(t):
    t.denied(t.socks5("\u0430llowed.example", 443), t.connect("xn--llowed-2nf.example:443"))
    t.denied(t.connect("xn--bcher-kva.example:443", "deny"), t.socks5("B\u00dcCHER.example", 443, "deny"))
