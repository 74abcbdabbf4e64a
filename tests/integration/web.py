"""A web server with known answers, for the far end of a proxy. HTTP/1.1 with
keep-alive, a thread a connection, plain or TLS. It counts what reached it.

    GET  /bytes/N      N bytes of harness.pattern()
    GET  /chunked/N    the same, chunked
    GET  /slow/N/MS    N pieces of 1000 bytes, MS milliseconds apart
    POST /digest       sha256 of the body (PUT too; also chunked)
    ANY  /headers      the request's fields as JSON
    GET  /upgrade      101, then an echo until end of file
    ANY  /git/...      git http-backend over `repositories`
"""
import contextlib
import hashlib
import http.server
import json
import os
import socket
import ssl
import subprocess
import threading
import time
import urllib.parse

import harness


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def log_message(self, *args):
        pass

    def body(self):
        """The request's body in pieces."""
        if "chunked" in self.headers.get("Transfer-Encoding", ""):
            while True:
                size = int(self.rfile.readline().split(b";")[0], 16)
                if size:
                    yield self.rfile.read(size)
                self.rfile.readline()
                if not size:
                    return
        left = int(self.headers.get("Content-Length") or 0)
        while left:
            piece = self.rfile.read(min(left, 1 << 16))
            if not piece:
                raise ConnectionError("the body ended early")
            left -= len(piece)
            yield piece

    def answer(self, body, status=200, content_type="application/octet-stream"):
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def do_GET(self):
        url = urllib.parse.urlsplit(self.path)
        part = url.path.strip("/").split("/")
        self.server.note(self)
        routes = {"bytes": self.send_bytes, "chunked": self.send_chunked, "slow": self.send_slow,
                  "digest": self.send_digest, "headers": self.send_headers, "upgrade": self.send_upgrade,
                  "git": self.send_git}
        route = routes.get(part[0])
        if not route:
            for _ in self.body():
                pass
            self.answer(b"no such page\n", 404)
            return
        route(*part[1:] if part[0] != "git" else [url])

    do_POST = do_PUT = do_HEAD = do_DELETE = do_GET

    def send_bytes(self, size):
        self.send_response(200)
        self.send_header("Content-Length", size)
        self.end_headers()
        if self.command != "HEAD":
            for piece in harness.pattern(int(size)):
                self.wfile.write(piece)

    def chunks(self, pieces):
        self.send_response(200)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for piece in pieces:
            self.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece))
        self.wfile.write(b"0\r\n\r\n")

    def send_chunked(self, size):
        self.chunks(harness.pattern(int(size)))

    def send_slow(self, count, ms):
        def pieces():
            for i in range(int(count)):
                yield bytes([i & 255]) * 1000
                time.sleep(int(ms) / 1000)
        self.chunks(pieces())

    def send_digest(self):
        h = hashlib.sha256()
        for piece in self.body():
            h.update(piece)
        self.answer(h.hexdigest().encode())

    def send_headers(self):
        for _ in self.body():
            pass
        fields = {"line": self.requestline, "fields": self.headers.items()}
        self.answer(json.dumps(fields).encode(), content_type="application/json")

    def send_upgrade(self):
        self.send_response(101)
        self.send_header("Connection", "Upgrade")
        self.send_header("Upgrade", self.headers.get("Upgrade", "echo"))
        self.end_headers()
        while True:
            data = self.rfile.read1(1 << 16)
            if not data:
                break
            self.wfile.write(data)
        self.close_connection = True

    def send_git(self, url):
        """git http-backend is a CGI program: RFC 3875."""
        body = b"".join(self.body())
        env = dict(os.environ, GIT_PROJECT_ROOT=self.server.repositories, GIT_HTTP_EXPORT_ALL="1",
                   PATH_INFO=url.path[len("/git"):], QUERY_STRING=url.query, REQUEST_METHOD=self.command,
                   CONTENT_TYPE=self.headers.get("Content-Type", ""), CONTENT_LENGTH=str(len(body)),
                   HTTP_CONTENT_ENCODING=self.headers.get("Content-Encoding", ""),
                   GIT_PROTOCOL=self.headers.get("Git-Protocol", ""), REMOTE_ADDR="127.0.0.1",
                   GIT_CONFIG_COUNT="1", GIT_CONFIG_KEY_0="safe.directory", GIT_CONFIG_VALUE_0="*")
        r = subprocess.run(["git", "http-backend"], input=body, env=env, stdout=subprocess.PIPE, check=False,
                           timeout=harness.LIMIT_S)
        head, _, out = r.stdout.partition(b"\r\n\r\n")
        fields = [line.split(": ", 1) for line in head.decode().split("\r\n") if ": " in line]
        status = next((int(v.split()[0]) for k, v in fields if k == "Status"), 200)
        self.send_response(status)
        for k, v in fields:
            if k != "Status":
                self.send_header(k, v)
        self.send_header("Content-Length", str(len(out)))
        self.end_headers()
        self.wfile.write(out)


class WebServer(http.server.ThreadingHTTPServer):
    """With `context`, HTTPS. `connections` and `requests` count; `seen` has what came."""

    daemon_threads = True
    request_queue_size = 512

    def __init__(self, address="127.0.0.1", context=None, repositories="/nonexistent", port=0, handler=Handler):
        self.address_family = socket.AF_INET6 if ":" in address else socket.AF_INET
        self.context = context
        self.repositories = str(repositories)
        self.lock = threading.Lock()
        self.connections = self.requests = 0
        self.seen = []
        super().__init__((address, port), handler)
        self.port = self.server_address[1]
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()

    def note(self, handler):
        with self.lock:
            self.requests += 1
            self.seen.append((handler.command, handler.path, handler.headers.get("Host")))

    def get_request(self):
        s, peer = super().get_request()
        with self.lock:
            self.connections += 1
        return s, peer

    def finish_request(self, request, client_address):
        # In the connection's own thread: a slow TLS handshake stops nobody else.
        request.settimeout(harness.LIMIT_S * 4)
        with contextlib.suppress(OSError, ssl.SSLError):
            if self.context:
                request = self.context.wrap_socket(request, server_side=True)
            super().finish_request(request, client_address)

    def handle_error(self, request, client_address):
        pass

    def stop(self):
        self.shutdown()
        self.server_close()


class Counter:
    """A TCP listener that only counts who connects (and closes at once); on a socket that listens already, too."""

    def __init__(self, address="127.0.0.1", port=0, listening=None):
        self.count = 0
        self.socket = listening or socket.create_server((address, port), backlog=64)
        self.port = self.socket.getsockname()[1]
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        with contextlib.suppress(OSError):
            while True:
                s, _ = self.socket.accept()
                self.count += 1
                self.take(s)

    def take(self, s):
        s.close()

    def stop(self):
        with contextlib.suppress(OSError):
            self.socket.shutdown(socket.SHUT_RDWR)
        self.socket.close()
