"""Ports that are no port, or another one to a careless reader.

Source: Orange Tsai, A New Era of SSRF, Black Hat USA 2017 (ports of URLs)
"""


def attempt(t):
    for port in ("65979", "4294967739", "443:22", "443@22", "+443", "-1", "443.", "0x1bb", "443/", "443?", " 443", "",
                 "0", "٤٤٣"):
        t.refused(t.http(f"CONNECT port.example:{port} HTTP/1.1\r\n\r\n".encode()), 400)
    t.refused(t.connect("port.example"), 400, "port is missing")
    t.refused(t.socks5("port.example", 0), (1, 2))
    t.refused(t.http("GET http://port.example:65616/ HTTP/1.1\r\n\r\n"), 400)
