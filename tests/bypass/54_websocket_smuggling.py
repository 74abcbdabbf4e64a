"""An upgrade to websocket that the server does not take: what follows are requests to us, not bytes for the server.

Source: https://github.com/0ang3el/websocket-smuggle
"""


def attempt(t):
    t.watch("203.0.113.10:80")
    out = t.say("GET http://j54.wild.example/ HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: upgrade\r\n"
                "Sec-WebSocket-Version: 1\r\n\r\n"
                "GET http://blocked.example/internal HTTP/1.1\r\nHost: j54.wild.example\r\n\r\n").decode("latin-1")
    assert [part[:3] for part in out.split("HTTP/1.1 ")[1:]] == ["200", "403"], out
    sent = t.sent("203.0.113.10:80")
    assert b"Upgrade: websocket" in sent and b"internal" not in sent
    t.passes("dns j54.wild.example", "tcp 203.0.113.10:80")
