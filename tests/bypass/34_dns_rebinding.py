"""A name that is public at the first look-up and loopback at the next.

Source: https://github.com/taviso/rbndr; https://crypto.stanford.edu/dns/dns-rebinding.pdf
"""
import harness


def attempt(t):
    def turned():
        answer = t.connect("rebind.example:80", "deny")
        assert answer.code in (200, 403), answer
        return answer.code == 403
    assert not turned()
    harness.wait_for(turned, what="the name to be looked up again")
    t.audited(error="the host guard refuses 127.0.0.1", action="refuse")
    t.passes("dns rebind.example", "tcp 203.0.113.10:80")
