"""Fields by which other proxies are told where to go: they decide nothing here.

Source: https://portswigger.net/web-security/host-header/exploiting
"""


def attempt(t):
    fields = "".join(f"{name}: allowed.example\r\n" for name in (
        "X-Forwarded-Host", "X-Host", "X-Original-URL", "X-Rewrite-URL", "Forwarded", "X-Forwarded-Server", "Via"))
    t.denied(t.get("http://blocked.example/", headers=fields), t.connect("blocked.example:443", headers=fields))
    t.denied(t.get("http://169.254.169.254/", "deny", headers="X-Forwarded-For: 127.0.0.1\r\n"))
