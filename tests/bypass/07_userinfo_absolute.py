"""The allowed name as user information in front of another host.

Source: Orange Tsai, A New Era of SSRF, Black Hat USA 2017; CVE-2018-3774 (url-parse)
"""


def attempt(t):
    for url in ("http://allowed.example@blocked.example/", "http://allowed.example:80@blocked.example:80/",
                "http://u:p@allowed.example@blocked.example/", "http://@allowed.example/"):
        t.refused(t.get(url), 400, "user information")
