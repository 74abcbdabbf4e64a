"""The proxy route with loopback, metadata and host addresses: refused before AWS is even asked for a session.

Source: our own (the instance's metadata service gives away the credentials of its role)
"""


def attempt(t):
    for host in ("127.0.0.1", "127.1", "[::1]", "169.254.169.254", "[fd00:ec2::254]", "0x7f.1", "[::ffff:127.0.0.1]",
                 "[64:ff9b::a9fe:a9fe]", "192.168.64.1", "192.168.64.3", "instance-data", "instance-data.ec2.internal",
                 "metadata.google.internal"):
        t.refused(t.connect(f"{host}:80", "aws"), 403, "the host guard refuses")
        t.refused(t.get(f"http://{host}/latest/", "aws"), 403)
