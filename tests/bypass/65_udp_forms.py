"""Datagrams with fragments, reserved bytes, addresses as names, and from somebody else's port.

Source: RFC 1928, 7; our own
"""


def attempt(t):
    tcp = t.dial("deny")
    tcp.sendall(b"\5\1\0\5\3\0\1" + bytes(6))
    reply = b""
    while len(reply) < 12:
        reply += tcp.recv(12 - len(reply))
    udp = t.world.vm.datagram("192.168.64.1", int.from_bytes(reply[-2:], "big"))
    t.sockets.append(udp)
    udp.send(b"\0\0\1\1\x7f\0\0\1\0\x07frag")
    udp.send(b"\0\0\0\3\x09127.0.0.1\0\x07x")
    udp.send(b"\0\0\0\3\x0fblocked.example\0\x07x")
    udp.send(b"\0\0\0\3\x0c127.0.0.1\0.x\0\x07x")
    udp.send(b"\0\0\0\1\x7f\0\0")
    udp.send(b"")
    t.audited(host="127.0.0.1", action="refuse")
    t.audited(host="blocked.example", action="block")
