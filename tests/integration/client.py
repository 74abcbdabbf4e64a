"""Proxy clients: curl, and raw sockets for what curl does not do."""
import hashlib
import os
import socket

import harness


def curl(*args, limit_s=harness.LIMIT_S, check=True, env=None):
    """curl without the caller's proxy variables and ~/.curlrc; bytes in .stdout."""
    clean = {k: v for k, v in os.environ.items() if "proxy" not in k.lower()}
    clean.update(env or {})
    return harness.run(["curl", "-q", "-sS", "--max-time", limit_s, *args], limit_s=limit_s + 10, check=check,
                       env=clean)


def fetch_digest(proxy, url, folder, *args, limit_s=harness.LIMIT_S):
    """Digest of what curl gets from url through proxy ("" for none)."""
    path = os.path.join(str(folder), "fetched")
    curl("--fail", "--proxy", proxy, "-o", path, *args, url, limit_s=limit_s)
    if not os.path.exists(path):        # curl makes no file for an empty body
        return hashlib.sha256(b"").hexdigest()
    digest = harness.file_digest(path)
    os.unlink(path)
    return digest


class Refused(Exception):
    """The proxy said no; .code is its answer (SOCKS reply or HTTP status)."""

    def __init__(self, code, text=""):
        super().__init__(f"refused with {code} {text}")
        self.code = code


def read_exactly(s, n):
    out = bytearray()                   # bytes would be copied whole with each piece
    while len(out) < n:
        piece = s.recv(min(n - len(out), 1 << 20))
        if not piece:
            raise ConnectionError(f"closed after {len(out)} of {n} bytes")
        out += piece
    return bytes(out)


def read_to_end(s):
    out = []
    while True:
        piece = s.recv(1 << 16)
        if not piece:
            return b"".join(out)
        out.append(piece)


def read_head(s):
    """Up to and with the empty line, byte by byte so that nothing after it is lost."""
    out = b""
    while not out.endswith(b"\r\n\r\n"):
        piece = s.recv(1)
        if not piece:
            raise ConnectionError(f"closed after {out!r}")
        out += piece
    return out


def dial(address, limit_s=harness.LIMIT_S):
    """address: (host, port) or a Unix socket's path."""
    if isinstance(address, str):
        s = socket.socket(socket.AF_UNIX)
        s.settimeout(limit_s)
        s.connect(address)
        return s
    return socket.create_connection(address, limit_s)


def socks5_address(host):
    for family, kind in ((socket.AF_INET, b"\1"), (socket.AF_INET6, b"\4")):
        try:
            return kind + socket.inet_pton(family, host)
        except OSError:
            pass
    name = host.encode("idna") if not host.isascii() else host.encode()
    return b"\3" + bytes([len(name)]) + name


def socks5(proxy, host, port, early=b"", limit_s=harness.LIMIT_S):
    """A socket to host:port through a SOCKS5 proxy (RFC 1928); `early` goes with the request."""
    s = dial(proxy, limit_s)
    s.sendall(b"\5\1\0")
    if read_exactly(s, 2) != b"\5\0":
        raise Refused("method")
    s.sendall(b"\5\1\0" + socks5_address(host) + port.to_bytes(2, "big") + early)
    head = read_exactly(s, 4)
    size = {1: 4, 4: 16}.get(head[3]) or read_exactly(s, 1)[0]
    read_exactly(s, size + 2)
    if head[1]:
        s.close()
        raise Refused(head[1])
    return s


def socks4a(proxy, host, port):
    s = dial(proxy)
    s.sendall(b"\4\1" + port.to_bytes(2, "big") + b"\0\0\0\1me\0" + host.encode() + b"\0")
    answer = read_exactly(s, 8)
    if answer[1] != 90:
        s.close()
        raise Refused(answer[1])
    return s


def http_connect(proxy, host, port):
    s = dial(proxy)
    s.sendall(f"CONNECT {host}:{port} HTTP/1.1\r\nHost: {host}:{port}\r\n\r\n".encode())
    head = read_head(s).decode("latin-1")
    status = int(head.split()[1])
    if status != 200:
        raise Refused(status, read_to_end(s).decode("latin-1"))
    return s
