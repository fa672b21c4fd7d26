"""ClickHouse for the collector's exporter: its engine in this process (chdb), behind as much of its HTTP as that asks for."""

from __future__ import annotations

import json
import struct
import threading
from collections.abc import Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Self
from urllib.parse import parse_qsl, urlsplit

from chdb.session import Session

_BLOCK_INFO = b"\1\0\2\xff\xff\xff\xff\0"
_CODES = {"UInt8": "<B", "UInt32": "<I"}


class Inserted:
    """Takes inserts in the Native format, and answers what the exporter's client asks before.

    Attributes:
        inserts: How many requests brought rows.
    """

    def __init__(self, session: Session, folder: Path) -> None:
        self.inserts = 0
        self._session = session
        self._folder = folder
        self._lock = threading.Lock()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
        self._server.owner = self

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}"

    def answer(self, query: str | None, body: bytes) -> bytes:
        with self._lock:
            if query is not None and query.lstrip().upper().startswith("INSERT"):
                self._insert(query, body)
                return b""
            return self._asked(query or body.decode())

    def _insert(self, query: str, body: bytes) -> None:
        path = self._folder / f"{self.inserts}.native"
        path.write_bytes(body)
        into = query.partition("VALUES")[0].partition("FORMAT")[0]
        self._session.query(f"{into} SELECT * FROM file('{path}', 'Native')")  # noqa: S608 - the exporter's
        self.inserts += 1

    def _asked(self, query: str) -> bytes:
        if "displayName()" in query:
            row = ("chdb", "25.3.1.1", 54_460, "UTC")
            return native([("displayName()", "String"), ("version()", "String"), ("revision()", "UInt32"),
                           ("timezone()", "String")], [row])  # fmt: skip
        if query.strip() == "SELECT 1":
            return native([("1", "UInt8")], [(1,)])
        found = json.loads(str(self._session.query(query, "JSONCompact")))
        return native([(column["name"], "String") for column in found["meta"]], found["data"])


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        query = dict(parse_qsl(urlsplit(self.path).query)).get("query")
        try:
            self._answer(200, self.server.owner.answer(query, self._body()))
        except Exception as error:  # noqa: BLE001 - as the server says it
            self._answer(500, str(error).encode())

    def _body(self) -> bytes:
        if self.headers.get("transfer-encoding") != "chunked":
            return self.rfile.read(int(self.headers.get("content-length", 0)))
        body = b""
        while size := int(self.rfile.readline(), 16):
            body += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return body

    def _answer(self, status: int, data: bytes) -> None:
        self.send_response(status)
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


def native(columns: Sequence[tuple[str, str]], rows: Sequence[Sequence[Any]]) -> bytes:
    """One block of the Native format, as servers send it to clients that name a protocol version."""
    found = _BLOCK_INFO + _number(len(columns)) + _number(len(rows))
    for at, (name, kind) in enumerate(columns):
        found += _text(name) + _text(kind) + b"\0"
        found += b"".join(
            struct.pack(_CODES[kind], row[at]) if kind in _CODES else _text(str(row[at])) for row in rows
        )  # fmt: skip
    return found


def _text(value: str) -> bytes:
    data = value.encode()
    return _number(len(data)) + data


def _number(value: int) -> bytes:
    found = b""
    while value > 0x7F:
        found, value = found + bytes([value & 0x7F | 0x80]), value >> 7
    return found + bytes([value])
