"""UDP ASSOCIATE to what is blocked, to the host, to metadata and to the host's resolver.

Source: https://github.com/anthropic-experimental/sandbox-runtime/issues/88 (DNS as a way out)
"""
import harness


def attempt(t):
    send = t.associate("deny")
    for host in ("203.0.113.66", "blocked.example", "127.0.0.1", "192.168.64.1", "169.254.169.254", "0.0.0.0", "127.2",
                 "::1", "64:ff9b::7f00:1", "192.168.64.3", "255.255.255.255", "224.0.0.251", "localhost"):
        send(host, 7)
        t.audited(host="127.0.0.2" if host == "127.2" else host)
    send("::ffff:127.0.0.1", 7)
    send("203.0.113.10", 7, b"allowed")
    harness.wait_for(lambda: "udp 203.0.113.10:7 b'allowed'" in t.seen(), what="the datagram that may pass")
    t.passes("udp 203.0.113.10:7 b'allowed'")
    # A listener whose rules send nothing direct has no UDP at all.
    t.refused(t.socks5_raw(b"\5\3\0\1" + bytes(6), "aws"), 7)
