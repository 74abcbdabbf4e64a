"""Lines that end in LF or CR alone.

Source: CVE-2023-30589 (llhttp took CR for an end of line); CVE-2022-32214
"""


def attempt(t):
    for text in ("GET http://allowed.example/ HTTP/1.1\nHost: allowed.example\n\n",
                 "GET http://allowed.example/ HTTP/1.1\r\nHost: allowed.example\n\r\n",
                 "GET http://allowed.example/ HTTP/1.1\r\nX: y\rHost: allowed.example\r\n\r\n",
                 "GET http://allowed.example/ HTTP/1.1\r\nX: y\n\nGET http://blocked.example/ HTTP/1.1\r\n\r\n",
                 "CONNECT allowed.example:443 HTTP/1.1\n\n"):
        t.refused(t.http(text), 400)
