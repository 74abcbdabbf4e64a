"""An upgrade to HTTP/2 in clear text, whose requests nobody could route one by one.

Source: https://bishopfox.com/blog/h2c-smuggling-request
"""


def attempt(t):
    t.watch("203.0.113.10:80")
    for n, upgrade in enumerate(("h2c", "H2C", "websocket, h2c", "h2c, websocket", "h2", "x\r\nUpgrade: h2c")):
        t.get(f"http://i{n}.wild.example/", headers=f"Upgrade: {upgrade}\r\nHTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA\r\n"
              "Connection: Upgrade, HTTP2-Settings\r\n")
        t.passes(f"dns i{n}.wild.example")
    t.passes("tcp 203.0.113.10:80")
    sent = t.sent("203.0.113.10:80").lower()
    assert sent.count(b"get / ") == 6 and b"upgrade:" not in sent and b"http2-settings" not in sent, sent
