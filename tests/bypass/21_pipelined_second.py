"""A second request to a blocked host on a connection that has served an allowed one, pipelined and not.

Source: https://github.com/anthropics/claude-code/issues/40213 (plain HTTP was not filtered)
"""


def attempt(t):
    t.watch("203.0.113.10:80")
    good = "GET http://e21.wild.example/one HTTP/1.1\r\nHost: x\r\n\r\n"
    bad = "GET http://blocked.example/ HTTP/1.1\r\nHost: e21.wild.example\r\n\r\n"
    out = t.say(good + bad + good).decode("latin-1")
    assert [part[:3] for part in out.split("HTTP/1.1 ")[1:]] == ["200", "403", "200"], out
    assert b"blocked" not in t.sent("203.0.113.10:80")
    t.passes("dns e21.wild.example", "tcp 203.0.113.10:80")
