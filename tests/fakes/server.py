"""An HTTP/1.1 server on a free local port, and what the handlers of the fakes share."""

from __future__ import annotations

import contextlib
import socket
import sys
import threading
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class LocalServer(ThreadingHTTPServer):
    """Serves each connection in a thread of its own, and ends them all when stopped."""

    request_queue_size = 128

    def __init__(self, handler: type[BaseHTTPRequestHandler], owner: Any) -> None:
        super().__init__(("127.0.0.1", 0), handler)
        self.owner = owner
        self.closing = threading.Event()
        self._connections: list[tuple[socket.socket, threading.Thread]] = []
        self._loop = threading.Thread(target=self.serve_forever, args=(0.01,), daemon=True)
        self._loop.start()

    @property
    def url(self) -> str:
        """The base address, without a final slash."""
        return f"http://127.0.0.1:{self.server_port}"

    def process_request(self, request: Any, client_address: Any) -> None:
        arguments = (request, client_address)
        thread = threading.Thread(target=self.process_request_thread, args=arguments, daemon=True)
        self._connections = [(s, t) for s, t in self._connections if t.is_alive()]
        self._connections.append((request, thread))
        thread.start()

    def handle_error(self, request: Any, client_address: Any) -> None:
        if not isinstance(sys.exc_info()[1], ConnectionError):  # a client may leave whenever it likes
            super().handle_error(request, client_address)

    def stop(self) -> None:
        """Close the port and every connection, and wait for their threads."""
        self.closing.set()
        self.shutdown()
        self._loop.join()
        for connection, _ in self._connections:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        for _, thread in self._connections:
            thread.join()
        self.server_close()


class Handler(BaseHTTPRequestHandler):
    """Reads whole bodies, answers whole bodies, and can hang up."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1
    server: LocalServer

    def log_message(self, *_: Any) -> None:
        """Say nothing: the requests are recorded."""

    def read_body(self) -> bytes:
        """The body as sent; empty if the request gives no length."""
        return self.rfile.read(int(self.headers.get("content-length", 0)))

    def answer(self, status: int, body: bytes, headers: Mapping[str, str]) -> None:
        """Send a whole answer and keep the connection."""
        self.send_head(status, {**headers, "content-length": str(len(body))})
        self.wfile.write(body)

    def send_head(self, status: int, headers: Mapping[str, str]) -> None:
        """Send the status line and the headers."""
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()

    def hang_up(self) -> None:
        """Close the connection after this request, whatever was or was not sent."""
        self.close_connection = True
