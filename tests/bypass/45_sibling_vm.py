"""Another VM on the same network, and one on another bridge of the host.

Source: our own (VMs of one host are isolated from each other, and the host must not lead round that)
"""


def attempt(t):
    for host in ("192.168.64.3", "192.168.64.77", "10.9.0.5", "sibling.example", "bridge.example"):
        t.refused(t.get(f"http://{host}/", "deny"), 403, "a neighbouring VM's")
    t.passes("dns sibling.example", "dns bridge.example")
