"""A public address whose port is closed and loopback in one answer: the second is tried when the first fails.

Source: https://crypto.stanford.edu/dns/dns-rebinding.pdf, 3.2 (multiple A records)
"""


def attempt(t):
    t.refused(t.connect("both.example:81", "deny"), (403, 502))
    t.passes("dns both.example")
