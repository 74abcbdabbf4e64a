"""What allow-host opens is one destination: not its other ports, nor other names and addresses of the host.

Source: our own; https://github.com/NVIDIA/OpenShell/issues/59 (opening single private destinations)
"""


def attempt(t):
    answer = t.connect("127.0.0.1:8080", "open_host")
    assert answer.code == 200, answer
    t.passes("tcp 127.0.0.1:8080")
    for host in ("127.0.0.1:8081", "127.0.0.1:80", "127.0.0.2:8080", "localhost:8080", "[::1]:8080",
                 "203.0.113.1:8080"):
        t.refused(t.connect(host, "open_host"), 403, "the host guard refuses")
