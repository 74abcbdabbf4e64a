"""Addresses that are the host's by a local route (AnyIP, a network at its loopback), which no interface has.

Source: our own: ip-route(8), type local; Linux takes the whole network of an address of its loopback for its own
"""


def attempt(t):
    host = t.world.net.host
    host.run(["ip", "route", "add", "local", "198.18.64.0/24", "dev", "lo"])
    host.run(["ip", "-6", "route", "add", "local", "2001:db8:64::/64", "dev", "lo"])
    host.address("lo", "198.18.65.1/24")
    for address in ("198.18.64.7", "198.18.65.7", "[::ffff:198.18.64.9]", "[64:ff9b::198.18.65.9]",
                    "[2001:db8:64::7]"):
        t.refused(t.connect(f"{address}:80", "deny"), 403, "this host's own")
    host.run(["ip", "address", "del", "198.18.65.1/24", "dev", "lo"])
    host.run(["ip", "-6", "route", "del", "local", "2001:db8:64::/64", "dev", "lo"])
    host.run(["ip", "route", "del", "local", "198.18.64.0/24", "dev", "lo"])
