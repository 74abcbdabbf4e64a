"""A DHCP server that does as it is told: dnsmasq knows no lease below two minutes, and no reason to refuse one.

    dhcp_server.py DEVICE ADDRESS OFFERED LEASE T1 T2 [FAULT]...

Prints a line for each message, `DISCOVER`, `REQUEST new|renew|rebind`, and for each answer. Faults: nak-renewal (a
REQUEST of a bound client is refused), deaf-renewal (it is not answered when it is sent to this server alone),
nak-first (the first REQUEST is refused), deaf-request (none is answered), garbage (noise before each answer).
"""
import socket
import struct
import sys

MAGIC = bytes([99, 130, 83, 99])
DISCOVER, OFFER, REQUEST, ACK, NAK = 1, 2, 3, 5, 6


def options(data):
    out, at = {}, 0
    while at < len(data) and data[at] != 255:
        if data[at] == 0:
            at += 1
            continue
        out[data[at]] = data[at + 2:at + 2 + data[at + 1]]
        at += 2 + data[at + 1]
    return out


class Dhcpd:
    def __init__(self, device, address, offered, lease, t1, t2, *faults):
        self.address, self.offered = socket.inet_aton(address), socket.inet_aton(offered)
        self.times = {51: lease, 58: t1, 59: t2}
        self.faults = set(faults)
        self.sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, device.encode())
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
        # which of our addresses it was sent to: a renewal is unicast, a rebinding is not
        self.sock.setsockopt(socket.IPPROTO_IP, 8, 1)          # IP_PKTINFO
        self.sock.bind(("", 67))

    def answer(self, asked, kind, address):
        print({OFFER: "OFFER", ACK: "ACK", NAK: "NAK"}[kind], flush=True)
        head = struct.pack(">BBBBIHH", 2, 1, 6, 0, *struct.unpack(">I", asked[4:8]), 0, 0x8000)
        head += asked[12:16] + address + self.address + bytes(4) + asked[28:44] + bytes(192)
        out = bytes([53, 1, kind, 54, 4]) + self.address
        if kind != NAK:
            out += b"".join(bytes([k, 4]) + struct.pack(">I", int(v)) for k, v in self.times.items())
            out += bytes([1, 4, 255, 255, 255, 0, 3, 4]) + self.address
        packet = head + MAGIC + out + b"\xff"
        to = ("255.255.255.255", 68)
        if "garbage" in self.faults:
            for noise in (b"", b"\2" * 100, packet[:200], head + MAGIC + bytes([53, 200, 1]), head + MAGIC,
                          packet.replace(asked[4:8], b"\0\0\0\0", 1), b"\2" + bytes(1600)):
                self.sock.sendto(noise, to)
        self.sock.sendto(packet, to)

    def request(self, asked, opts, broadcast):
        bound = asked[12:16] != bytes(4)
        print("REQUEST", "new" if not bound else "rebind" if broadcast else "renew", flush=True)
        if bound and "nak-renewal" in self.faults or not bound and "nak-first" in self.faults:
            self.faults -= {"nak-first", "nak-renewal"}
            self.answer(asked, NAK, bytes(4))
        elif not (bound and not broadcast and "deaf-renewal" in self.faults or "deaf-request" in self.faults):
            self.answer(asked, ACK, asked[12:16] if bound else opts[50])

    def run(self):
        print("ready", flush=True)
        while True:
            asked, extra, _, _ = self.sock.recvmsg(2000, 200)
            opts = options(asked[240:])
            broadcast = any(data[8:12] == b"\xff" * 4 for _, _, data in extra)
            if opts[53] == bytes([DISCOVER]):
                print("DISCOVER", flush=True)
                self.answer(asked, OFFER, self.offered)
            else:
                self.request(asked, opts, broadcast)


if __name__ == "__main__":
    Dhcpd(*sys.argv[1:]).run()
