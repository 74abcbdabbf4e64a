"""Loopback and metadata as one, two, three or four numbers, decimal, octal and hexadecimal.

Source: CVE-2021-28918 (netmask), CVE-2021-29921 (Python ipaddress), CVE-2023-42282 and CVE-2024-29415 (npm ip)
"""


def attempt(t):
    for host in ("127.1", "127.0.1", "0x7f.1", "0x7F000001", "2130706433", "017700000001", "0177.0.0.01", "127.0.0.0x1",
                 "0x7f.0x0.0x0.0x1", "00000177.1", "2852039166", "0xa9fea9fe", "0251.0376.0251.0376",
                 "0", "0.0.0.0", "0x0"):
        t.denied(t.connect(f"{host}:80", "deny"), t.socks5(host, 80, "deny"))
    for host in ("127.0.0.256", "256.0.0.1", "1.2.3.4.5", "127.0.0.1.1", "08.0.0.1", "0x7g.1", "4294967296", "127..1"):
        t.refused(t.connect(f"{host}:80", "deny"), 400)
