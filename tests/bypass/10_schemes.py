"""Other schemes than http in a plain request.

Source: CVE-2009-0037 (curl followed file: URLs); RFC 9112, 3.2.2
"""


def attempt(t):
    for url in ("https://blocked.example/", "ftp://blocked.example/", "gopher://127.0.0.1:22/_x", "unix:///run/x.sock",
                "file:///etc/passwd", "file://blocked.example/etc/passwd", "ws://blocked.example/", "dict://127.0.0.1:22/"):
        t.refused(t.get(url), (400, 501))
    t.refused(t.get("/etc/passwd"), 400, "this is a proxy")
