"""What the client sent comes back in the refusal's reason: it must stay one line, and no markup counts.

Source: CWE-113 (response splitting); CVE-2019-9740
"""


def attempt(t):
    for name in ("x%0d%0aSet-Cookie:a", "<script>alert(1)</script>.example", "x\u0085y"):
        answer = t.http(f"CONNECT {name}:443 HTTP/1.1\r\n\r\n")
        t.refused(answer, 400)
        head = answer.text.split("\r\n\r\n")[0]
        assert "Set-Cookie" not in head.replace("X-Awsocks-Reason: ", "X") or "\r\nSet-Cookie" not in head
        assert "text/plain" in head and "\n" not in head.replace("\r\n", "")
    t.denied(t.connect("a" * 60 + ".example:443"))
