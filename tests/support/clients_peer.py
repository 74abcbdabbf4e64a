#!/usr/bin/python3
"""A peer for the tests of net/http.c and net/ws.c: HTTP and RFC 6455 by hand, so
that it can also do what servers should not.

Usage: clients_peer.py DIR. Makes certificates in DIR (ca.pem, other.pem), listens on
127.0.0.1 and ::1, prints one line "PLAIN_PORT TLS_PORT HAS_IPV6\n" and serves until its standard
input ends. What it does is chosen by the path of the request; a record of what has
been seen is at /seen.
"""
import base64, hashlib, os, socket, ssl, struct, subprocess, sys, threading, time

GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


def openssl(*args):
    subprocess.run(["openssl", *args], check=True, stdout=subprocess.DEVNULL,
                   stderr=subprocess.DEVNULL)


def make_certificates(d):
    for ca in ("ca", "other"):
        openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
                "-keyout", f"{d}/{ca}.key", "-out", f"{d}/{ca}.pem", "-days", "2",
                "-subj", f"/CN=test {ca}")
    with open(f"{d}/ext", "w") as f:
        f.write("subjectAltName=DNS:localhost,IP:::1\n")
    openssl("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout",
            f"{d}/host.key", "-out", f"{d}/host.csr", "-subj", "/CN=localhost")
    openssl("x509", "-req", "-in", f"{d}/host.csr", "-CA", f"{d}/ca.pem", "-CAkey",
            f"{d}/ca.key", "-CAcreateserial", "-out", f"{d}/host.pem", "-days", "2",
            "-extfile", f"{d}/ext")


def recv_exact(c, n):
    out = bytearray()
    while len(out) < n:
        part = c.recv(n - len(out))
        if not part:
            raise EOFError
        out += part
    return bytes(out)


def read_head(c):
    head = bytearray()
    while not head.endswith(b"\r\n\r\n"):
        head += recv_exact(c, 1)
    lines = head.decode("latin-1").split("\r\n")
    method, target, _ = lines[0].split(" ", 2)
    fields = {}
    for line in lines[1:]:
        if line:
            name, value = line.split(":", 1)
            fields[name.lower()] = value.strip()
    return method, target, fields


def reply(c, status, body, extra=""):
    c.sendall(f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\n{extra}\r\n".encode() + body)


def http(c, method, target, fields):
    path = target.split("?")[0]
    body = recv_exact(c, int(fields.get("content-length", 0)))
    if method == "CONNECT":     # as a proxy that finds an echo at the other end
        c.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
        while data := c.recv(65536):
            c.sendall(data)
    elif path == "/echo":
        extra = "X-Method: %s\r\nX-Seen-Type: %s\r\nX-Twice: one\r\nX-Twice:  two \r\nX-Empty:\r\n" % (
            method, fields.get("content-type", "none"))
        reply(c, "200 OK", body, extra)
    elif path == "/interim":
        c.sendall(b"HTTP/1.1 103 Early Hints\r\nX-Early: yes\r\n\r\n")
        reply(c, "200 OK", b"late", "X-Late: yes\r\n")
    elif path == "/chunked":
        c.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n")
    elif path == "/big":
        n = int(target.split("?")[1])
        c.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % n)
        while n > 0:
            c.sendall(b"x" * min(n, 65536))
            n -= 65536
    elif path == "/headers":
        reply(c, "200 OK", "\n".join(f"{k}: {v}" for k, v in fields.items()).encode())
    elif path == "/redirect":
        reply(c, "302 Found", b"", "Location: http://127.0.0.1:9/elsewhere\r\n")
    elif path == "/silent":
        while c.recv(4096):
            pass
    elif path == "/cut":
        c.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nabc")
    elif path == "/garbage":
        c.sendall(b"SSH-2.0-nonsense\r\n\r\n")
    elif path == "/manyheaders":
        reply(c, "200 OK", b"", "".join("X-%d: %s\r\n" % (i, "v" * 1000) for i in range(290)))
    else:
        reply(c, "404 Not Found", target.encode(), "X-Amzn-RequestId: 77\r\n")


class Ws:
    def __init__(self, c):
        self.c = c
        self.buf = b""

    def need(self, n):
        while len(self.buf) < n:
            part = self.c.recv(65536)
            if not part:
                raise EOFError
            self.buf += part

    def take(self, n):
        self.need(n)
        out, self.buf = self.buf[:n], self.buf[n:]
        return out

    def read(self):
        """(fin, opcode, payload); an unmasked frame is an error."""
        a, b = self.take(2)
        n = b & 127
        assert b & 128, "client frame is not masked"
        if n == 126:
            n = struct.unpack(">H", self.take(2))[0]
        elif n == 127:
            n = struct.unpack(">Q", self.take(8))[0]
        key = self.take(4)
        data = self.take(n)
        mask = (key * (n // 4 + 1))[:n]
        data = (int.from_bytes(data, "big") ^ int.from_bytes(mask, "big")).to_bytes(n, "big")
        return a >> 7, a & 15, data

    @staticmethod
    def frame(op, data, fin=1):
        n = len(data)
        head = bytes([fin << 7 | op])
        if n < 126:
            head += bytes([n])
        elif n < 65536:
            head += b"\x7e" + struct.pack(">H", n)
        else:
            head += b"\x7f" + struct.pack(">Q", n)
        return head + data

    def send(self, op, data, fin=1):
        self.c.sendall(self.frame(op, data, fin))

    def until_close(self):
        """Reads to the end; what the client's close frame said, or what came instead."""
        try:
            while True:
                _, op, data = self.read()
                if op == 8:
                    return "close %d" % struct.unpack(">H", data[:2])[0] if data else "close"
        except EOFError:
            return "end"


seen = []


def websocket(c, target, fields):
    path, _, query = target.partition("?")
    if path == "/ws/403":
        reply(c, "403 Forbidden", b"<AccessDeniedException/>", "Connection: close\r\n")
        return
    if path == "/ws/404":
        reply(c, "404 Not Found", b"")
        return
    if path == "/ws/500":
        reply(c, "500 Oops", b"oops", "Connection: keep-alive\r\n")
        c.recv(1)
        return
    if path == "/ws/302":
        reply(c, "302 Found", b"", "Location: http://127.0.0.1:9/elsewhere\r\n")
        return
    if path == "/ws/silent":
        while c.recv(4096):
            pass
        return
    if path == "/ws/hangup":
        return
    accept = base64.b64encode(hashlib.sha1(fields["sec-websocket-key"].encode() + GUID).digest())
    head = (b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Accept: " + accept + b"\r\n\r\n")
    if path == "/ws/badaccept":
        head = head.replace(accept, b"x" * len(accept))
    if path == "/ws/early":  # frames in the segment of the head
        head += Ws.frame(1, b"early") + Ws.frame(2, b"bird")
    c.sendall(head)
    w = Ws(c)
    if path == "/ws/echo":
        while True:
            fin, op, data = w.read()
            if op == 8:
                seen.append("close %d" % struct.unpack(">H", data[:2])[0])
                w.send(8, data)
                return
            if op == 9:
                w.send(10, data)
            elif op in (0, 1, 2):
                w.send(op, data, fin)
    elif path == "/ws/who":
        w.send(1, (target + "\n" + "\n".join(f"{k}: {v}" for k, v in fields.items())).encode())
        seen.append(w.until_close())
    elif path == "/ws/fragments":
        w.send(1, "héllo".encode()[:2], 0)
        w.send(9, b"ping between")
        w.send(0, b"", 0)
        w.send(0, "héllo".encode()[2:], 1)
        w.send(2, b"a" * 100000, 0)
        w.send(0, b"b" * 100000, 1)
        fin, op, data = w.read()
        w.send(1, b"pong %d %s" % (op, data))
        w.until_close()
    elif path == "/ws/bye":
        w.send(2, b"last words")
        w.send(8, struct.pack(">H", 1000) + b"Bye")
        seen.append("bye " + w.until_close())
    elif path == "/ws/code":
        w.send(8, struct.pack(">H", int(query)))
        w.until_close()
    elif path == "/ws/nocode":
        w.send(8, b"")
        w.until_close()
    elif path == "/ws/cut":
        w.send(2, b"half")
    elif path == "/ws/reset":
        c.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    elif path == "/ws/deaf":  # never reads again, never says anything
        threading.Event().wait(600)
    elif path == "/ws/ponger":  # pongs only
        while True:
            _, op, data = w.read()
            if op == 8:
                return
            if op == 9:
                w.send(10, data)
                w.send(1, b"ping " + data)
    elif path == "/ws/count":  # reads N messages once the file is there, answers with a digest of them
        n, size, go = query.split(",")
        n, size = int(n), int(size)
        for _ in range(30000):
            if os.path.exists(go):
                break
            time.sleep(.01)
        h = hashlib.sha256()
        for _ in range(n):
            _, op, data = w.read()
            assert len(data) == size
            h.update(data)
        w.send(1, h.hexdigest().encode())
        w.until_close()
    elif path == "/ws/flood":  # sends N messages, each begins with its number
        n, size = map(int, query.split(","))
        batch = []
        for i in range(n):
            batch.append(w.frame(2, struct.pack(">I", i) + bytes([i & 255]) * (size - 4)))
            if len(batch) == 64:
                c.sendall(b"".join(batch))
                batch = []
        c.sendall(b"".join(batch))
        w.until_close()
    elif path == "/ws/sink":  # bench: takes N bytes of any frames
        left = int(query)
        buf = bytearray(1 << 20)
        while left > 0:
            got = c.recv_into(buf)
            if not got:
                return
            left -= got
        w.send(1, b"done")
        threading.Event().wait(5)
    elif path == "/ws/hose":  # bench: N messages of 1144 bytes
        batch = w.frame(2, b"x" * 1144) * 64
        for _ in range(int(query) // 64):
            c.sendall(batch)
        w.until_close()
    elif path == "/ws/badframe":
        c.sendall(b"\xf3\x02ab")
        seen.append("badframe " + w.until_close())
    elif path == "/ws/masked":
        c.sendall(b"\x81\x82\0\0\0\0ab")
        seen.append("masked " + w.until_close())
    elif path == "/ws/badutf8":
        w.send(1, b"\xff\xfe")
        seen.append("badutf8 " + w.until_close())
    elif path == "/ws/pings":  # N of them at once; says which pong came last
        n = int(query)
        threading.Thread(target=c.sendall, args=(b"".join(w.frame(9, b"%d" % i) for i in range(n)),),
                         daemon=True).start()
        while True:
            _, op, data = w.read()
            if op == 10 and data == b"%d" % (n - 1):
                break
        w.send(1, b"last " + data)
        w.until_close()
    elif path == "/ws/huge":  # a length that nobody can hold
        c.sendall(b"\x82\x7f" + struct.pack(">Q", 1 << 40) + b"x" * 100000)
        try:
            while True:
                c.sendall(b"x" * 65536)
        except OSError:
            pass


def serve(c, tls):
    try:
        if tls:
            c = tls.wrap_socket(c, server_side=True)
        method, target, fields = read_head(c)
        if target == "/seen":
            reply(c, "200 OK", "\n".join(seen).encode())
            return
        seen.append(f"{method} {target}")
        if fields.get("upgrade") == "websocket":
            websocket(c, target, fields)
        else:
            http(c, method, target, fields)
        if not tls and target != "/ws/reset":
            c.shutdown(socket.SHUT_WR)
    except (OSError, EOFError, AssertionError) as e:
        seen.append(f"error {type(e).__name__} {e}")
    finally:
        c.close()


def listen(tls):
    """A port on 127.0.0.1, and whether it is one on ::1 as well."""
    s = socket.create_server(("127.0.0.1", 0), backlog=128)
    port = s.getsockname()[1]
    accept_all(s, tls)
    try:
        accept_all(socket.create_server(("::1", port), family=socket.AF_INET6, backlog=128), tls)
    except OSError:
        return port, False
    return port, True


def accept_all(s, tls):
    def accept():
        while True:
            c, _ = s.accept()
            c.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            threading.Thread(target=serve, args=(c, tls), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()


def main():
    d = sys.argv[1]
    make_certificates(d)
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(f"{d}/host.pem", f"{d}/host.key")
    (plain, plain6), (secure, secure6) = listen(None), listen(tls)
    print(plain, secure, int(plain6 and secure6), flush=True)
    sys.stdin.read()
    os._exit(0)


main()
