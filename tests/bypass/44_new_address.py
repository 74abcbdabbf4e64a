"""An address that the host has only had since a moment ago.

Source: our own: what is known of interfaces must not be old
"""


def attempt(t):
    host = t.world.net.host
    for n in range(3):
        address = f"198.18.{n}.1"
        assert t.connect(f"{address}:80", "deny").code == 200
        t.passes(f"tcp {address}:80")
        host.address("lo", f"{address}/32")
        t.refused(t.connect(f"{address}:80", "deny"), 403, "this host's own")
        host.run(["ip", "address", "del", f"{address}/32", "dev", "lo"])
        assert t.connect(f"{address}:80", "deny").code == 200
