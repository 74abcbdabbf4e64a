"""A redirect of an allowed server to metadata and to a blocked host, followed by a client through the proxy.

Source: https://portswigger.net/web-security/ssrf (filters and open redirection)
"""


def attempt(t):
    for n, to in enumerate(("http://169.254.169.254/latest/", "http://blocked.example/", "http://127.0.0.1:22/")):
        first = t.get(f"http://h{n}.wild.example/redirect?{to}", "deny")
        assert first.code == 302, first
        t.denied(t.get(to, "deny"))
        t.passes(f"dns h{n}.wild.example")
    t.passes("tcp 203.0.113.10:80")
