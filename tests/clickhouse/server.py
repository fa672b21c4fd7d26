"""A ClickHouse for the tests: its engine in this process (chdb), behind the HTTP interface that clickhouse-connect speaks."""

from __future__ import annotations

import gzip
import json
import re
import threading
from collections.abc import Iterable, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self
from urllib.parse import parse_qsl, urlsplit

from chdb import ChdbError
from chdb.session import Session

PASSWORD = "pass/wörd"  # noqa: S105 - of a server in this process
_FORMAT = re.compile(r"\s+FORMAT\s+(\w+)\s*$")

# The exporter's own: contrib v0.165.1, internal/sqltemplates/traces_table.sql.
TABLE = """
CREATE TABLE IF NOT EXISTS otel.{name} (
    Timestamp DateTime64(9) CODEC(Delta, ZSTD(3)),
    TraceId String CODEC(ZSTD(3)),
    SpanId String CODEC(ZSTD(3)),
    ParentSpanId String CODEC(ZSTD(3)),
    TraceState String CODEC(ZSTD(3)),
    SpanName LowCardinality(String) CODEC(ZSTD(3)),
    SpanKind LowCardinality(String) CODEC(ZSTD(3)),
    ServiceName LowCardinality(String) CODEC(ZSTD(3)),
    ResourceAttributes Map(LowCardinality(String), String) CODEC(ZSTD(3)),
    ScopeName String CODEC(ZSTD(3)),
    ScopeVersion String CODEC(ZSTD(3)),
    SpanAttributes Map(LowCardinality(String), String) CODEC(ZSTD(3)),
    Duration UInt64 CODEC(ZSTD(3)),
    StatusCode LowCardinality(String) CODEC(ZSTD(3)),
    StatusMessage String CODEC(ZSTD(3)),
    Events Nested (
        Timestamp DateTime64(9), Name LowCardinality(String), Attributes Map(LowCardinality(String), String)
    ) CODEC(ZSTD(3)),
    Links Nested (
        TraceId String, SpanId String, TraceState String, Attributes Map(LowCardinality(String), String)
    ) CODEC(ZSTD(3)),
    INDEX idx_trace_id TraceId TYPE bloom_filter(0.001) GRANULARITY 1,
    INDEX idx_res_attr_key mapKeys(ResourceAttributes) TYPE bloom_filter(0.01) GRANULARITY 1,
    INDEX idx_res_attr_value mapValues(ResourceAttributes) TYPE bloom_filter(0.01) GRANULARITY 1,
    INDEX idx_span_attr_key mapKeys(SpanAttributes) TYPE bloom_filter(0.01) GRANULARITY 1,
    INDEX idx_span_attr_value mapValues(SpanAttributes) TYPE bloom_filter(0.01) GRANULARITY 1,
    INDEX idx_duration Duration TYPE minmax GRANULARITY 1
) ENGINE = MergeTree
PARTITION BY toDate(Timestamp)
ORDER BY (ServiceName, SpanName, toDateTime(Timestamp))
SETTINGS index_granularity = 8192, ttl_only_drop_parts = 1
"""


class ClickHouse:
    """A database `otel`; whoever has the password may ask.

    Attributes:
        asked: The queries so far.
    """

    def __init__(self) -> None:
        self._session = Session()
        self._lock = threading.Lock()
        self.asked: list[str] = []
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
        self._server.clickhouse = self
        self._session.query("CREATE DATABASE IF NOT EXISTS otel")

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._session.close()

    @property
    def port(self) -> int:
        return self._server.server_port

    def run(self, sql: str, form: str = "TabSeparated", params: Mapping[str, str] | None = None) -> bytes:
        with self._lock:
            return bytes(self._session.query(sql, form, params=dict(params or {})).bytes())

    def table(self, name: str, rows: Iterable[Mapping[str, Any]]) -> None:
        """Make the exporter's table, and put rows into it."""
        self.run(TABLE.format(name=name))
        lines = "\n".join(json.dumps(row) for row in rows)
        self.run(f"INSERT INTO otel.{name} FORMAT JSONEachRow {lines}")


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self._answer(200, b"Ok.\n")

    def do_POST(self) -> None:
        query = dict(parse_qsl(urlsplit(self.path).query, keep_blank_values=True))
        body = self.rfile.read(int(self.headers.get("content-length", 0)))
        if self.headers.get("content-encoding") == "gzip":
            body = gzip.decompress(body)
        sql = query.get("query") or body.decode()
        form = _FORMAT.search(sql)
        clickhouse = self.server.clickhouse
        clickhouse.asked.append(sql)
        if not self._is_let_in():
            self._answer(403, b"Code: 516. DB::Exception: u: Authentication failed. (AUTHENTICATION_FAILED)")
            return
        params = {name.removeprefix("param_"): value for name, value in query.items() if name.startswith("param_")}
        try:
            self._answer(200, clickhouse.run(_FORMAT.sub("", sql), form[1] if form else "TabSeparated", params))
        except (ChdbError, RuntimeError) as error:
            self._answer(404, str(error).encode())

    def _is_let_in(self) -> bool:
        from base64 import b64decode

        given = self.headers.get("authorization", "").removeprefix("Basic ")
        return b64decode(given).decode().partition(":")[2] == PASSWORD

    def _answer(self, status: int, data: bytes) -> None:
        self.send_response(status)
        self.send_header("content-length", str(len(data)))
        if status != 200:
            self.send_header("X-ClickHouse-Exception-Code", "1")
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


# -- spans as the exporter writes them ---------------------------------------------------------------------------------

_KINDS = ("Unspecified", "Internal", "Server", "Client", "Producer", "Consumer")
_STATUS = ("Unset", "Ok", "Error")


def as_text(value: Mapping[str, Any]) -> str:
    """An attribute's value as `pcommon.Value.AsString` gives it."""
    plain = _plain(value)
    if isinstance(plain, str):
        return plain
    if isinstance(plain, float) and plain.is_integer():
        return str(int(plain))
    return json.dumps(plain, separators=(",", ":"), ensure_ascii=False)


def _plain(value: Mapping[str, Any]) -> Any:
    match next(iter(value.items()), ("stringValue", "")):
        case "intValue", number:
            return int(number)
        case "arrayValue", inner:
            return [_plain(one) for one in inner.get("values", [])]
        case "kvlistValue", inner:
            return {one["key"]: _plain(one["value"]) for one in inner.get("values", [])}
        case _, plain:
            return plain


def _map(holder: Mapping[str, Any]) -> dict[str, str]:
    return {one["key"]: as_text(one.get("value", {})) for one in holder.get("attributes", [])}


def _time(nanoseconds: Any) -> str:
    seconds, rest = divmod(int(nanoseconds), 1_000_000_000)
    return f"{seconds}.{rest:09}"


def rows_of(requests: Iterable[Mapping[str, Any]]) -> Iterable[dict[str, Any]]:
    """Each span of OTLP JSON requests as a row."""
    for request in requests:
        for around in request["resourceSpans"]:
            resource = _map(around.get("resource", {}))
            for scoped in around["scopeSpans"]:
                for span in scoped["spans"]:
                    yield _row(span, resource, scoped.get("scope", {}))


def _row(span: Mapping[str, Any], resource: dict[str, str], scope: Mapping[str, Any]) -> dict[str, Any]:
    events, links, status = span.get("events", []), span.get("links", []), span.get("status", {})
    return {
        "Timestamp": _time(span["startTimeUnixNano"]),
        "TraceId": span["traceId"],
        "SpanId": span["spanId"],
        "ParentSpanId": span.get("parentSpanId", ""),
        "TraceState": span.get("traceState", ""),
        "SpanName": span["name"],
        "SpanKind": _KINDS[span.get("kind", 0)],
        "ServiceName": resource.get("service.name", ""),
        "ResourceAttributes": resource,
        "ScopeName": scope.get("name", ""),
        "ScopeVersion": scope.get("version", ""),
        "SpanAttributes": _map(span),
        "Duration": int(span["endTimeUnixNano"]) - int(span["startTimeUnixNano"]),
        "StatusCode": _STATUS[status.get("code", 0)],
        "StatusMessage": status.get("message", ""),
        "Events.Timestamp": [_time(one["timeUnixNano"]) for one in events],
        "Events.Name": [one["name"] for one in events],
        "Events.Attributes": [_map(one) for one in events],
        "Links.TraceId": [one["traceId"] for one in links],
        "Links.SpanId": [one["spanId"] for one in links],
        "Links.TraceState": ["" for _ in links],
        "Links.Attributes": [_map(one) for one in links],
    }
