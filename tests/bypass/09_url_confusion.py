"""Bytes on which URL parsers disagree about where the host ends.

Source: Claroty Team82 and Snyk, Exploiting URL Parsing Confusion, 2022 (slashes, backslash, fragment)
"""


def attempt(t):
    for url in ("http://allowed.example\\@blocked.example/", "http://allowed.example\\.blocked.example/",
                "http://allowed.example#@blocked.example/", "http://allowed.example#.blocked.example",
                "http:///blocked.example/", "http:/blocked.example/", "http:blocked.example",
                "http://[allowed.example]/", "http://[::1/", "http://::1]:80/", "//blocked.example/",
                "http://allowed.example:80:81/", "http://:80/"):
        t.refused(t.get(url), 400)
