"""An OTLP backend, over HTTP and gRPC, that keeps what it receives, and fails on demand."""

from __future__ import annotations

import gzip
import threading
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

from google.protobuf.message import DecodeError, Message
from opentelemetry.proto.collector.logs.v1 import logs_service_pb2 as logs_service
from opentelemetry.proto.collector.metrics.v1 import metrics_service_pb2 as metrics_service
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2 as trace_service

from . import telemetry
from .server import Handler, LocalServer
from .telemetry import Event, Link, LogRecord, Metric, Span, spans_of_json

if TYPE_CHECKING:
    from .otlp_grpc import GrpcServer

__all__ = ["SIGNALS", "Body", "Event", "Link", "LogRecord", "Metric", "Receiver", "Span", "spans_of_json"]


@dataclass(frozen=True, slots=True)
class Body:
    """One request as it arrived: headers by lower-case name, data decompressed; over gRPC the path is the method."""

    path: str
    headers: dict[str, str]
    data: bytes
    behaviour: str


@dataclass(frozen=True, slots=True)
class _Signal:
    """How requests of one path are read and answered."""

    request: type[Message]
    response: type[Message]
    read: Callable[[Any], Any]
    rejected: str

    def answer(self, rejected: int) -> Any:
        """The response that says how many items were not taken."""
        made: Any = self.response()
        if rejected:
            setattr(made.partial_success, self.rejected, rejected)
            made.partial_success.error_message = f"{rejected} rejected on purpose"
        return made


SIGNALS = {
    "/v1/traces": _Signal(
        trace_service.ExportTraceServiceRequest,
        trace_service.ExportTraceServiceResponse,
        telemetry.spans,
        "rejected_spans",
    ),
    "/v1/logs": _Signal(
        logs_service.ExportLogsServiceRequest,
        logs_service.ExportLogsServiceResponse,
        telemetry.logs,
        "rejected_log_records",
    ),
    "/v1/metrics": _Signal(
        metrics_service.ExportMetricsServiceRequest,
        metrics_service.ExportMetricsServiceResponse,
        telemetry.metrics,
        "rejected_data_points",
    ),
}


KEEPS = ("ok", "partial", "slow", "lost")
"""The behaviours that keep a request."""


def kept_of(behaviour: str, items: list[Any]) -> list[Any]:
    """What of a request is kept."""
    return items[1:] if behaviour == "partial" else items if behaviour in KEEPS else []


class Receiver:
    """Accepts traces, logs and metrics as protobuf or JSON; safe for many clients at once.

    Attributes:
        retry_after: Seconds to name in the `Retry-After` header of error answers, over gRPC in a RetryInfo.
        delay_s: How long a `slow` answer takes, in seconds.
        limit: The largest request that is taken over HTTP, in bytes after decompression; a larger one is a 413.
    """

    def __init__(self) -> None:
        self.retry_after: float | None = None
        self.delay_s = 1.0
        self.limit: int | None = None
        self._behaviour = "ok"
        self._changed = threading.Condition()
        self._items: list[Span | LogRecord | Metric] = []
        self._bodies: list[Body] = []
        self._malformed: list[str] = []
        self._server = LocalServer(_Intake, self)
        self._grpc: GrpcServer | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Stop serving; requests that hang are closed."""
        self._server.stop()
        if self._grpc is not None:
            self._grpc.stop()

    def listen_grpc(self, credentials: Any = None, limit: int | None = None) -> str:
        """Serve gRPC too, over TLS if `credentials` are given, and take no request above `limit` bytes.

        Returns:
            The endpoint.
        """
        from .otlp_grpc import GrpcServer

        self._grpc = GrpcServer(self, credentials, limit)
        return self._grpc.url

    @property
    def url(self) -> str:
        """The base endpoint, as in `OTEL_EXPORTER_OTLP_ENDPOINT`."""
        return self._server.url

    @property
    def behaviour(self) -> str:
        """What happens to the next request.

        `ok` keeps it; `partial` keeps all but its first item and says so; `refuse` closes the connection;
        `slow` keeps it and answers late; `lost` keeps it and answers nothing: the acknowledgement is lost;
        `hang` waits until the behaviour changes, then closes; a number answers that status, the name of one of
        gRPC's codes answers that one. Over gRPC what is neither is UNAVAILABLE, over HTTP it is 500.
        """
        return self._behaviour

    @behaviour.setter
    def behaviour(self, value: str) -> None:
        if value not in {*KEEPS, "refuse", "hang"} and not value.isdigit() and not value.isupper():
            raise ValueError(f"behaviour: {value!r} is neither {', '.join(KEEPS)}, refuse, hang nor a status")
        self._behaviour = value

    @property
    def spans(self) -> list[Span]:
        """The spans kept, in order of arrival."""
        return self._kept(Span)

    @property
    def logs(self) -> list[LogRecord]:
        """The log records kept, in order of arrival."""
        return self._kept(LogRecord)

    @property
    def metrics(self) -> list[Metric]:
        """The metrics kept, one for each export."""
        return self._kept(Metric)

    @property
    def bodies(self) -> list[Body]:
        """Every request that could be read, kept or not."""
        with self._changed:
            return list(self._bodies)

    @property
    def malformed(self) -> list[str]:
        """Why requests could not be read; they were answered 400."""
        with self._changed:
            return list(self._malformed)

    def clear(self) -> None:
        """Forget everything received."""
        with self._changed:
            self._items.clear()
            self._bodies.clear()
            self._malformed.clear()

    def wait_spans(self, count: int, timeout_s: float = 10) -> list[Span]:
        """Wait until `count` spans are kept.

        Raises:
            TimeoutError: Fewer arrived in time; the message names them.
        """
        with self._changed:
            self._changed.wait_for(lambda: len(self.spans) >= count, timeout_s)
        found = self.spans
        if len(found) < count:
            names = [span.name for span in found]
            raise TimeoutError(f"{len(found)} of {count} spans after {timeout_s} s: {names}")
        return found

    def record(self, body: Body, items: list[Any]) -> None:
        """Keep a request and what of it was accepted."""
        with self._changed:
            self._bodies.append(body)
            self._items += items
            self._changed.notify_all()

    def record_malformed(self, reason: str) -> None:
        """Keep why a request could not be read."""
        with self._changed:
            self._malformed.append(reason)

    def _kept(self, kind: type[Any]) -> list[Any]:
        with self._changed:
            return [item for item in self._items if isinstance(item, kind)]


class _Intake(Handler):
    """Reads export requests and does with them as the receiver's behaviour says."""

    def do_GET(self) -> None:  # noqa: N802 - the name http.server calls
        self.answer(200, b"<p>Nothing is received here.</p>", {"content-type": "text/html"})

    def do_POST(self) -> None:  # noqa: N802 - the name http.server calls
        raw = self.read_body()
        signal = SIGNALS.get(self.path)
        if signal is None:
            self.answer(404, b"", {})
            return
        headers = {name.lower(): value for name, value in self.headers.items()}
        try:
            data = _decompressed(raw, headers.get("content-encoding", "identity"))
            items = list(signal.read(_request(data, headers, signal)))
        except (ValueError, DecodeError, zlib.error, OSError, EOFError) as error:
            self.server.owner.record_malformed(f"{self.path}: {error}")
            self.answer(400, str(error).encode(), {"content-type": "text/plain"})
            return
        self._react(Body(self.path, headers, data, self.server.owner.behaviour), items, signal)

    def _react(self, body: Body, items: list[Any], signal: _Signal) -> None:
        receiver = self.server.owner
        if receiver.limit is not None and len(body.data) > receiver.limit:
            self.answer(413, b"too large on purpose", {"content-type": "text/plain"})
            return
        kept = kept_of(body.behaviour, items)
        receiver.record(body, kept)
        match body.behaviour:
            case "lost":
                self.hang_up()
            case "ok" | "partial" | "slow":
                if body.behaviour == "slow":
                    self.server.closing.wait(receiver.delay_s)
                self._accept(body, len(items) - len(kept), signal)
            case "refuse":
                self.hang_up()
            case "hang":
                while receiver.behaviour == "hang" and not self.server.closing.wait(0.01):
                    pass
                self.hang_up()
            case status:
                self._fail(int(status) if status.isdigit() else 500)

    def _accept(self, body: Body, rejected: int, signal: _Signal) -> None:
        answer = signal.answer(rejected)
        kind = body.headers.get("content-type", "")
        content = telemetry.to_json(answer) if "json" in kind else answer.SerializeToString()
        self.answer(200, content, {"content-type": kind})

    def _fail(self, status: int) -> None:
        headers = {"content-type": "text/plain"}
        if status in {301, 302, 307, 308}:
            headers["location"] = f"{self.server.owner.url}/moved"
        if self.server.owner.retry_after is not None:
            headers["retry-after"] = f"{self.server.owner.retry_after:g}"
        self.answer(status, b"failing on purpose", headers)


def _request(data: bytes, headers: dict[str, str], signal: _Signal) -> Message:
    kind = headers.get("content-type", "")
    if kind.startswith("application/json"):
        return telemetry.from_json(data, signal.request)
    if kind.startswith("application/x-protobuf"):
        return signal.request.FromString(data)
    raise ValueError(f"content type {kind!r} is not OTLP")


def _decompressed(raw: bytes, encoding: str) -> bytes:
    match encoding:
        case "gzip":
            return gzip.decompress(raw)
        case "deflate":
            return zlib.decompress(raw)
        case "identity" | "none":
            return raw
        case _:
            raise ValueError(f"content encoding {encoding!r} is unknown")
