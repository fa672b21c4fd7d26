"""A collector that answers as it is told, on loopback."""

from __future__ import annotations

import gzip
import threading
import time
import zlib
from collections import deque
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

REQUESTS = {
    "/v1/traces": ExportTraceServiceRequest,
    "/v1/logs": ExportLogsServiceRequest,
    "/v1/metrics": ExportMetricsServiceRequest,
}


class Collector:
    """Answers 200, or what is next in `script`: a status, or (status, headers, body), or a function of the body.

    A status of 0 is a hanging connection.
    """

    def __init__(self):
        self.script = deque()
        self.always = 200
        self.requests = []
        self.accepted = []
        self.times = []
        self.clients = set()
        self.released = threading.Event()
        collector = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                collector.answer(self)

            def log_message(self, *_args):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.server.block_on_close = False
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True)
        self.thread.start()
        self.endpoint = f"http://127.0.0.1:{self.server.server_port}"
        self.url = f"{self.endpoint}/v1/traces"

    def answer(self, handler):
        body = handler.rfile.read(int(handler.headers["content-length"]))
        plain = {"gzip": gzip.decompress, "deflate": zlib.decompress}.get(
            handler.headers.get("content-encoding"), bytes
        )(body)
        self.requests.append((handler.path, dict(handler.headers.items()), body))
        self.clients.add(handler.client_address)
        self.times.append(time.monotonic())
        answer = self.script.popleft() if self.script else self.always
        answer = answer(plain) if callable(answer) else answer
        status, headers, text = answer if isinstance(answer, tuple) else (answer, {}, b"")
        if status == 0:
            self.released.wait(20)
            return
        if 200 <= status < 300:
            self.accepted.append((self.path(handler), REQUESTS[self.path(handler)].FromString(plain)))
        handler.send_response(status)
        for name, value in headers.items():
            handler.send_header(name, value)
        handler.send_header("content-length", str(len(text)))
        handler.end_headers()
        handler.wfile.write(text)

    @staticmethod
    def path(handler):
        return urlsplit(handler.path).path

    @property
    def spans(self):
        return [
            span
            for path, request in self.accepted
            if path == "/v1/traces"
            for around in request.resource_spans
            for scope in around.scope_spans
            for span in scope.spans
        ]

    @property
    def names(self):
        return sorted(span.name for span in self.spans)

    def wait_for(self, count, timeout=10):
        until = time.monotonic() + timeout
        while len(self.spans) < count:
            assert time.monotonic() < until, f"{len(self.spans)} of {count} spans arrived"
            time.sleep(0.01)

    def close(self):
        self.released.set()
        self.server.shutdown()
        self.server.server_close()
        self.thread.join(5)
