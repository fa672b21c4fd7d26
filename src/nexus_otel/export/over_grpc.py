"""One request over gRPC, and what the answer means. Imports grpc when the first request is sent."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from nexus_otel import _version
from nexus_otel._environ import set_variable, unset_variable, variables
from nexus_otel.export.answer import Answer, Outcome, fields, first, reason, rejected
from nexus_otel.export.destinations import Destination

_METHOD: Final = "/opentelemetry.proto.collector.{}.v1.{}Service/Export"
_METHODS: Final = {
    "traces": _METHOD.format("trace", "Trace"),
    "logs": _METHOD.format("logs", "Logs"),
    "metrics": _METHOD.format("metrics", "Metrics"),
}
_COMPRESSIONS: Final = {"none": "NoCompression", "gzip": "Gzip", "deflate": "Deflate"}
_AGAIN: Final = frozenset({"CANCELLED", "DEADLINE_EXCEEDED", "ABORTED", "OUT_OF_RANGE", "UNAVAILABLE", "DATA_LOSS"})
_EXHAUSTED: Final = "RESOURCE_EXHAUSTED"
_SURELY_TAKEN: Final = 64 * 1024
"""A request up to this size was not refused for its size, unless the answer says so."""
_DETAILS: Final = "grpc-status-details-bin"
_RETRY_INFO: Final = b"google.rpc.RetryInfo"
_VERBOSITY: Final = "GRPC_VERBOSITY"


class GrpcClient:
    """Speaks gRPC with one destination.

    The channel belongs to the process and thread that send: a forked child has a HelpedClient. It is closed
    when a request is to be sent again, for a channel that could not connect waits longer and longer before it tries.
    """

    def __init__(self, destination: Destination) -> None:
        self._destination = destination
        self._metadata = [_pair(name, value) for name, value in destination.headers.items()]
        self._grpc = _quiet_grpc()
        _used_in.add(os.getpid())
        self._channel: Any = None

    def send(self, body: bytes, timeout_s: float) -> Answer:
        try:
            channel = self._channel = self._channel or _channel(self._grpc, self._destination)
            answer = self._call(channel, body, timeout_s)
        except self._grpc.RpcError as error:
            answered = _failed(error.code().name, error.details() or "", error.trailing_metadata() or (), len(body))
            if answered.outcome is Outcome.AGAIN:
                self.close()
            return answered
        except (OSError, ValueError) as error:  # a certificate that is none; closed by the exit
            self.close()
            return Answer(Outcome.AGAIN, type(error).__name__)
        return Answer(Outcome.DELIVERED, "OK", rejected=rejected(answer), reason=reason(answer))

    def close(self) -> None:
        channel, self._channel = self._channel, None
        if channel is not None:
            channel.close()

    def _call(self, channel: Any, body: bytes, timeout_s: float) -> bytes:
        method = channel.unary_unary(_METHODS[self._destination.signal])  # without serialisers: bytes as they are
        compression = getattr(self._grpc.Compression, _COMPRESSIONS[self._destination.compression])
        limit = max(0.01, timeout_s)
        answer: bytes = method(body, timeout=limit, metadata=self._metadata or None, compression=compression)
        return answer


_used_in: set[int] = set()


def is_inherited() -> bool:
    """Whether a process that this one was forked from has used gRPC here."""
    return bool(_used_in - {os.getpid()})


def _pair(name: str, value: str) -> tuple[str, str | bytes]:
    return (name.lower(), value.encode() if name.lower().endswith("-bin") else value)


def _quiet_grpc() -> Any:
    """Return grpc, which does not write on stderr if we are the first to load it and nobody asked it to."""
    if "grpc" in sys.modules or _VERBOSITY in variables():
        import grpc

        return grpc
    set_variable(_VERBOSITY, "NONE")
    try:
        import grpc

        grpc.insecure_channel("127.0.0.1:9").close()  # the variable is read at the first use, and never again
    finally:
        unset_variable(_VERBOSITY)
    return grpc


def _channel(grpc: Any, destination: Destination) -> Any:
    parts = urlsplit(destination.url)
    options = [
        ("grpc.primary_user_agent", f"nexus-otel/{_version.__version__}"),
        ("grpc.use_local_subchannel_pool", 1),  # a new channel tries at once, whatever became of the last
        ("grpc.service_config_disable_resolution", 1),
        ("grpc.enable_retries", 0),
    ]
    if parts.scheme == "http":
        return grpc.insecure_channel(parts.netloc, options=options)
    files = (destination.certificate, destination.client_key, destination.client_certificate)
    credentials = grpc.ssl_channel_credentials(*(Path(file).read_bytes() if file else None for file in files))
    return grpc.secure_channel(parts.netloc, credentials, options=options)


# -- the answer ----------------------------------------------------------------------------------------------


def _failed(code: str, details: str, trailer: Sequence[tuple[str, Any]], size: int) -> Answer:
    """Return what a status means for a request of `size` bytes."""
    wait = _wait(trailer)
    if code in {_EXHAUSTED, "OUT_OF_RANGE"} and wait is None and _speaks_of_size(details):
        return Answer(Outcome.TOO_LARGE, code)
    if code in _AGAIN or (code == _EXHAUSTED and wait is not None):
        return Answer(Outcome.AGAIN, code, wait)
    if code == _EXHAUSTED and size > _SURELY_TAKEN:
        return Answer(Outcome.TOO_LARGE, code)
    return Answer(Outcome.REFUSED, code, wait)


def _speaks_of_size(details: str) -> bool:
    """Whether a message is one of those that gRPC's implementations have for a request above their limit."""
    text = details.lower()
    return "message" in text and any(words in text for words in ("larger than", "too large", "exceeds maximum"))


def _wait(trailer: Sequence[tuple[str, Any]]) -> float | None:
    """Return the seconds of the RetryInfo in a google.rpc.Status; None where there is none."""
    status = next((value for name, value in trailer if name == _DETAILS and isinstance(value, bytes)), b"")
    try:
        found = [value for number, value in fields(status) if number == 3 and isinstance(value, bytes)]  # noqa: PLR2004 - details
    except (IndexError, ValueError):
        return None
    for detail in found:
        if first(detail, 1, b"").endswith(_RETRY_INFO):
            delay = first(first(detail, 2, b""), 1, b"")
            seconds: float = first(delay, 1, 0) + first(delay, 2, 0) / 1e9
            return seconds if seconds < 1 << 62 else 0.0  # a negative one
    return None
