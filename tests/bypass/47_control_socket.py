"""The control socket and other Unix sockets of the host, by whatever might name a path.

Source: our own (a host's Unix sockets are a way out of many sandboxes)
"""


def attempt(t):
    path = f"{t.world.control}/control.sock"
    for name in (f"unix:{path}", path, f"unix://{path}", f"{path}:0", "./control.sock", "@awsocks", "\0awsocks"):
        t.refused(t.socks5(name[:255], 80, "deny"), 1)
        t.refused(t.http(f"CONNECT {name}:80 HTTP/1.1\r\n\r\n", "deny"), 400)
        t.refused(t.http(f"GET http://{name}/ HTTP/1.1\r\nHost: x\r\n\r\n", "allow"), (400, 403))
    t.refused(t.get(f"http://unix:{path}:/status"), (400, 403))
