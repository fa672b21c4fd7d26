"""Somebody else's exporter behind our spool: what it fails to export is kept on disk and exported again."""

from __future__ import annotations

import time
import weakref
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any, Final
from urllib.parse import urlsplit, urlunsplit

from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

from nexus_otel import config
from nexus_otel._guard import guard, quietly
from nexus_otel.config import SettingError
from nexus_otel.export.answer import Answer, Outcome
from nexus_otel.export.decode import readable
from nexus_otel.export.segment import Target
from nexus_otel.export.sender import Sender
from nexus_otel.export.spool import Spool, SpoolProcessor
from nexus_otel.export.transport import unobserved

_OWN_HEADERS: Final = frozenset({"user-agent", "content-type", "content-encoding"})
"""Headers that the exporters of the SDK set by themselves."""


def durable(exporter: SpanExporter, name: str | None = None) -> DurableProcessor:
    """Return a span processor that hands spans to `exporter`, and keeps on disk what it has not exported.

    Spans are written to the local store as they begin and end, and exported by a thread; what an exporter fails to
    export, what it hangs on and what a killed process leaves behind is exported later: by this process, or by the next
    one that makes the same exporter durable. At least once, that is: a lost acknowledgement is a second delivery.

    Args:
        exporter: Any exporter of spans.
        name: What the exporter is known by to later processes. When not given its endpoint, which those of OTLP have,
            else its class; two exporters of a process without an endpoint need names.

    Raises:
        SettingError: There is another exporter of the same name in this process.
    """
    outlet = Outlet.of(exporter, name)
    if any(one.outlet.target == outlet.target for one in _live):
        raise SettingError(
            f"durable: {outlet.endpoint} is there already; tell the exporters apart: durable(..., name=...)"
        )
    return DurableProcessor(outlet)


@dataclass(frozen=True, slots=True)
class Outlet:
    """An exporter as a destination.

    Attributes:
        exporter: What takes the spans.
        target: What is known of it on disk.
    """

    exporter: SpanExporter
    target: Target
    signal: str = "traces"

    @classmethod
    def of(cls, exporter: SpanExporter, name: str | None = None) -> Outlet:
        """Return the destination that an exporter is; one of OTLP is that of the environment with the same address."""
        if name is not None:
            return cls(exporter, Target("traces", f"exporter {name}", ""))
        address = quietly(_address, exporter)
        if address is None:
            kind = type(exporter)
            return cls(exporter, Target("traces", f"exporter {kind.__module__}.{kind.__qualname__}", ""))
        names = "\n".join(sorted(set(quietly(_header_names, exporter) or ()) - _OWN_HEADERS))
        return cls(exporter, Target("traces", address, blake2b(names.encode(), digest_size=8).hexdigest()))

    @property
    def endpoint(self) -> str:
        """What it is called in a log line."""
        return self.target.endpoint

    def connect(self) -> ExporterTransport:
        """Return the way to it."""
        return ExporterTransport(self.exporter)


def _address(exporter: Any) -> str | None:
    """Return the address of an OTLP exporter (`_endpoint`, releases 1.37 to 1.45), as `Destination` writes its own."""
    found = getattr(exporter, "_endpoint", None)
    if not isinstance(found, str) or not found:
        return None
    if "://" not in found:  # gRPC's
        return f"{'http' if getattr(exporter, '_credentials', None) is None else 'https'}://{found}"
    parts = urlsplit(found)
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))


def _header_names(exporter: Any) -> set[str]:
    """Return the names of its headers: a mapping over HTTP, in its client since 1.45, pairs over gRPC."""
    client = getattr(exporter, "_client", None)
    headers = getattr(exporter, "_headers", None) or getattr(client, "_headers", None) or ()
    pairs = headers.items() if isinstance(headers, Mapping) else headers
    return {str(name).lower() for name, _value in pairs}


class ExporterTransport:
    """Hands requests to an exporter, which says only whether it took them.

    Attributes:
        is_blind: That it does not say why.
    """

    is_blind = True

    def __init__(self, exporter: SpanExporter) -> None:
        self._exporter = exporter

    def post(self, body: bytes, timeout_s: float) -> Answer:
        """Export the spans of a request. Never raises.

        Args:
            body: The request as protobuf.
            timeout_s: How long it may take. No exporter can be held to that: where there is a limit, because the
                sending thread is gone, nothing is exported.
        """
        if timeout_s != float("inf"):
            return Answer(Outcome.AGAIN, "no time")
        try:
            with unobserved():
                result = self._exporter.export(readable(body))
        except Exception as error:  # noqa: BLE001 - an exporter may do anything
            return Answer(Outcome.AGAIN, type(error).__name__)
        taken = result is SpanExportResult.SUCCESS
        return Answer(Outcome.DELIVERED if taken else Outcome.AGAIN, "the exporter failed")

    def close(self) -> None:
        """Leave the export that is under way: the thread is a daemon."""


class DurableProcessor(SpoolProcessor):
    """Puts spans into a spool of their own, from where they are exported.

    Attributes:
        outlet: The exporter as a destination.
    """

    _is_own = False

    def __init__(self, outlet: Outlet) -> None:
        self.outlet = outlet
        self._settings = config.current()
        content = self._settings.content or "NO_CONTENT"
        spool = Spool.open(config.home(), [outlet], content, settings=self._settings)
        self._sender = Sender(spool, [outlet], self._settings)
        super().__init__(spool)
        _live.add(self)

    def shutdown(self) -> None:
        _live.discard(self)
        with guard("exporting at the end"):
            self._sender.flush()
        with guard("stopping the sender"):
            self._sender.stop(0)
        with guard("shutting an exporter down"):
            self.outlet.exporter.shutdown()

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        """Export what waits; whether all of it was taken in time."""
        until = time.monotonic() + timeout_millis / 1_000
        super().force_flush(timeout_millis)
        with guard("flushing an exporter"):
            return self._sender.flush(max(0.0, until - time.monotonic()))
        return False


_live: weakref.WeakSet[DurableProcessor] = weakref.WeakSet()
