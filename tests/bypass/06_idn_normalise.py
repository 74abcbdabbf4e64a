"""Characters that turn into '/', '@', ':' or '#' when a name is normalised.

Source: CVE-2019-9636 (Python's urlsplit and NFKC; "HostSplit", Black Hat USA 2019)
"""


def attempt(t):
    for odd in ("\uff0f", "\uff20", "\uff1a", "\uff03", "\u2100", "\uff05"):
        t.refused(t.socks5(f"allowed.example{odd}.blocked.example", 80), 1)
