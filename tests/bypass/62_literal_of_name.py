"""The address of a blocked or allowed name instead of the name: with default: block an address needs a rule of its own.

Source: bw-claude's filter proxy at 8fede2c (address ranges were read, and never looked at)
"""


def attempt(t):
    t.denied(t.connect("203.0.113.9:443"), t.connect("203.0.113.10:443"), t.socks5(b"\1\xcb\0\x71\x0a", 443),
             t.get("http://203.0.113.10/"), t.get("http://[::ffff:203.0.113.10]/"), t.connect("3405803786:443"))
    t.denied(t.connect("203.0.113.66:443", "deny"), t.connect("[2001:db8::66]:443", "deny"))
