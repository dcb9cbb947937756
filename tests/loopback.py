"""A real HTTP server on loopback that answers each path as told."""

import contextlib
import http.server
import os
import socket
import struct
import threading
from urllib.parse import urlsplit


class Loopback:
    """Serves paths; each answer is used once, the last one for all further requests."""

    def __init__(self):
        self.requests = []  # request targets; absolute urls where it served as a proxy
        self._answers = {}
        self._over = threading.Event()

    def serve(self, path, *answers):
        self._answers[path] = list(answers)

    def answer(self, path):
        answers = self._answers.get(path, [status(404)])
        return answers.pop(0) if len(answers) > 1 else answers[0]

    def count(self, path):
        return sum(urlsplit(target).path == path for target in self.requests)

    def wait(self, seconds):
        """Hang, but not beyond the end of the test."""
        self._over.wait(seconds)

    def __enter__(self):
        self._server = _Server(("127.0.0.1", 0), _Handler)
        self._server.loopback = self
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        serve = self._server.serve_forever
        self._thread = threading.Thread(target=serve, kwargs={"poll_interval": 0.02})
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._over.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class _Server(http.server.ThreadingHTTPServer):
    daemon_threads = False  # so that server_close waits for them

    def handle_error(self, request, client_address):
        """Nothing: clients that leave early are what is tested."""


class _Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        loopback = self.server.loopback
        loopback.requests.append(self.path)
        loopback.answer(urlsplit(self.path).path)(self)

    def log_message(self, *_):
        pass

    def start(self, code, length, **headers):
        self.send_response(code)
        if length is not None:
            self.send_header("Content-Length", str(length))
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()

    def pause(self, seconds):
        self.server.loopback.wait(seconds)


def body(content, *, length=True):
    def answer(handler):
        handler.start(200, len(content) if length else None)
        handler.wfile.write(content)

    return answer


def truncated(content):
    """Promise twice as much as comes."""

    def answer(handler):
        handler.start(200, 2 * len(content))
        handler.wfile.write(content)

    return answer


def cut(content):
    """Reset the connection in the middle."""

    def answer(handler):
        handler.start(200, 2 * len(content))
        handler.wfile.write(content)
        handler.wfile.flush()
        # Without lingering, a close is a reset.
        linger = struct.pack("ii", 1, 0)
        handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        os.close(handler.connection.detach())

    return answer


def status(code):
    return lambda handler: handler.start(code, 0)


def redirect(target):
    return lambda handler: handler.start(302, 0, Location=target)


def hang(content=b"", seconds=30):
    """Fall silent, before the first byte or after some."""

    def answer(handler):
        if content:
            handler.start(200, 2 * len(content))
            handler.wfile.write(content)
            handler.wfile.flush()
        handler.pause(seconds)

    return answer


def slow(content, seconds):
    """Take that long for the whole body."""

    def answer(handler):
        handler.start(200, len(content))
        step = max(1, len(content) // 20)
        for start in range(0, len(content), step):
            handler.wfile.write(content[start : start + step])
            handler.wfile.flush()
            handler.pause(seconds / 20)

    return answer


def endless(handler):
    """Send without end."""
    handler.start(200, None)
    with contextlib.suppress(OSError):
        while True:
            handler.wfile.write(bytes(1 << 16))


def malformed(handler):
    """Promise a length that is no number."""
    handler.start(200, "many")
