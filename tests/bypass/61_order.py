"""A block rule inside an allowed wildcard: the first rule that fits decides, whatever the name's form.

Source: bw-claude's filter proxy at 8fede2c (two rules that fit were compared by the host, not by their patterns)
"""


def attempt(t):
    for name in ("no.wild.example", "NO.Wild.Example.", "no。wild.example"):
        t.denied(t.socks5(name, 443))
    t.refused(t.connect("no.wild.example:443"), 403, "not this one")
