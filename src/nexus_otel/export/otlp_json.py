"""Requests in the JSON form of OTLP: ids in lower-case hex, enums as integers, 64-bit integers as strings."""

from __future__ import annotations

from base64 import b64decode
from typing import Any, Final

import orjson

_IDS: Final = frozenset({"traceId", "spanId", "parentSpanId"})
_OTHERS: Final = frozenset({"attributes", "body", "resource", "scope"})
"""What holds no ids of OTLP's own."""


def request_json(signal: str, body: bytes) -> bytes:
    """Return an Export*ServiceRequest as JSON.

    Args:
        signal: traces, logs or metrics.
        body: The request as protobuf; that of several joined is one.
    """
    request = _message(signal).FromString(body)
    return orjson.dumps(message_json(request))


def message_json(message: Any) -> dict[str, Any]:
    """Return a message of OTLP as a value that is its JSON."""
    from google.protobuf.json_format import MessageToDict  # type: ignore[import-untyped,unused-ignore]

    made: dict[str, Any] = MessageToDict(message, use_integers_for_enums=True)
    _hex_ids(made)
    return made


def _hex_ids(value: Any) -> None:
    """Put hex in place of JSON protobuf's base64 wherever there is an id."""
    if isinstance(value, list):
        for one in value:
            _hex_ids(one)
    elif isinstance(value, dict):
        for name, inner in value.items():
            if name in _IDS:
                value[name] = b64decode(inner).hex()
            elif name not in _OTHERS and isinstance(inner, dict | list):
                _hex_ids(inner)


def _message(signal: str) -> Any:
    if signal == "traces":
        from opentelemetry.proto.collector.trace.v1 import trace_service_pb2

        return trace_service_pb2.ExportTraceServiceRequest
    if signal == "logs":
        from opentelemetry.proto.collector.logs.v1 import logs_service_pb2

        return logs_service_pb2.ExportLogsServiceRequest
    from opentelemetry.proto.collector.metrics.v1 import metrics_service_pb2

    return metrics_service_pb2.ExportMetricsServiceRequest
