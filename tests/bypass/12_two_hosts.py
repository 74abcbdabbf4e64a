"""Two Host fields, of which two readers may believe a different one.

Source: https://hostoftroubles.com (Host of Troubles, ACM CCS 2016)
"""


def attempt(t):
    t.refused(t.http("GET http://allowed.example/ HTTP/1.1\r\nHost: allowed.example\r\nHost: blocked.example\r\n\r\n"),
              400, "more than one Host")
    t.refused(t.http("GET http://allowed.example/ HTTP/1.1\r\n Host: blocked.example\r\nHost: allowed.example\r\n\r\n"),
              400)
    t.refused(t.http("GET http://allowed.example/ HTTP/1.1\r\nHost : blocked.example\r\n\r\n"), 400, "header name")
