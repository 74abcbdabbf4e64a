"""CONNECT to a blocked host on a connection that served an allowed plain request, and bytes sent ahead of its answer.

Source: https://github.com/anthropics/claude-code/issues/89165 (CONNECT was not enforced)
"""


def attempt(t):
    good = "GET http://f22.wild.example/ HTTP/1.1\r\nHost: x\r\n\r\n"
    out = t.say(good + "CONNECT blocked.example:443 HTTP/1.1\r\n\r\n\x16\x03\x01secret").decode("latin-1")
    assert [part[:3] for part in out.split("HTTP/1.1 ")[1:]] == ["200", "403"], out
    t.passes("dns f22.wild.example", "tcp 203.0.113.10:80")
