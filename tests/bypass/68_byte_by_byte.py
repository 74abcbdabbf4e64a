"""A blocked request that comes in single bytes.

Source: our own: a decision needs the whole name, however it arrives
"""
import socket

import client


def attempt(t):
    for request in (b"CONNECT x.bad.example:443 HTTP/1.1\r\n\r\n", b"\4\1\0\x50\0\0\0\1me\0x.bad.example\0"):
        s = t.dial("deny")
        s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for byte in request:
            s.sendall(bytes([byte]))
        out = client.read_to_end(s)
        assert b" 403 " in out or out[1:2] == b"\x5b", out
