"""A small HTTP server of a test's own, on a free loopback port, for answers that the test makes up.

    class Odd(peer.Http):
        def __init__(self):
            class Handler(peer.Handler):
                def do_GET(self): ...
            self.serve(Handler)         # from here on there is .url
    ...
    odd.stop()
"""
import http.server
import threading


class Handler(http.server.BaseHTTPRequestHandler):
    def log_message(self, *args):
        pass


class Server(http.server.ThreadingHTTPServer):
    request_queue_size = 128        # of 5, those that come together wait a second for their next SYN


class Http:
    def serve(self, handler):
        self.server = Server(("127.0.0.1", 0), handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"
        self.thread = threading.Thread(target=self.server.serve_forever, daemon=True)
        self.thread.start()

    def stop(self):
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()
