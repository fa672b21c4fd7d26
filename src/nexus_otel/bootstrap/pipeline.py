"""What takes the spans, metrics and log events of one provider: the spool, the sender, further exporters."""

from __future__ import annotations

import time
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Any

from opentelemetry.sdk.resources import OTELResourceDetector, Resource
from opentelemetry.sdk.trace import SpanProcessor

from nexus_otel import _version, config, semconv
from nexus_otel._guard import guard, note_once
from nexus_otel.bootstrap import revision
from nexus_otel.bootstrap.plan import Plan
from nexus_otel.engine.run import agent_name
from nexus_otel.engine.run_ends import RunEnds, join
from nexus_otel.export.hosted import hosted
from nexus_otel.export.spool import Spool, SpoolProcessor
from nexus_otel.processors.live import LiveProcessor

if TYPE_CHECKING:
    from nexus_otel.export.sender import Sender


class Pipeline:
    """The way of one provider's telemetry.

    Attributes:
        plan: Where it goes.
        resource: What the process is, for a provider of ours.
        processors: What the provider hands its spans to.
        spool: Where records are written; None where nothing is.
        meter_provider: Takes our metrics, if they have a destination.
        logger_provider: Takes our log events, if they are wanted.
    """

    def __init__(self, plan: Plan, provider: Any = None) -> None:
        self.plan = plan
        self.resource = _resource(provider)
        self.run_ends = (join(provider) if provider is not None else None) or RunEnds()
        self.processors: list[SpanProcessor] = [self.run_ends] if provider is None else []
        self.processors += [LiveProcessor(), hosted]
        if plan.account is not None:
            hosted.use(plan.account)
        self.spool: Spool | None = None
        self.sender: Sender | None = None
        self.meter_provider: Any = None
        self.logger_provider: Any = None
        if plan.spools:
            self._open_spool(plan)
        for name in plan.others:
            with guard(f"loading the exporter {name}"):
                self._add_exporter(name)
        if provider is None and self.spool is not None:
            with guard("building the meter and logger providers"):
                self._add_other_signals(self.spool)

    def _open_spool(self, plan: Plan) -> None:
        settings = config.current()
        policy = settings.content or ("local" if not plan.destinations else "NO_CONTENT")
        spool = Spool.open(config.home(), plan.destinations, policy, dict(self.resource.attributes), settings)
        self.spool = spool
        self.processors.append(SpoolProcessor(spool))
        if plan.destinations:
            from nexus_otel.export.sender import Sender

            self.sender = Sender(spool, plan.destinations, settings)

    def _add_exporter(self, name: str) -> None:
        """Add an exporter of `OTEL_TRACES_EXPORTER` that is not ours, by its entry point."""
        from opentelemetry.sdk.trace.export import (
            BatchSpanProcessor,
            ConsoleSpanExporter,
            SimpleSpanProcessor,
        )

        if name == "console":
            self.processors.append(SimpleSpanProcessor(ConsoleSpanExporter()))
            return
        found = next(iter(entry_points(group="opentelemetry_traces_exporter", name=name)), None)
        if found is None:
            note_once(f"exporter {name}", "nexus-otel: OTEL_TRACES_EXPORTER=%r: no such exporter is installed", name)
            return
        self.processors.append(BatchSpanProcessor(found.load()()))

    def _add_other_signals(self, spool: Spool) -> None:
        if self.plan.metrics is not None:
            from opentelemetry.sdk.metrics import MeterProvider
            from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader

            from nexus_otel.export.telemetry import SpoolMetricExporter

            reader = PeriodicExportingMetricReader(SpoolMetricExporter(spool))
            self.meter_provider = MeterProvider([reader], self.resource, shutdown_on_exit=False)
        if config.current().details_event and (self.plan.local or self.plan.logs is not None):
            from opentelemetry.sdk._logs import LoggerProvider
            from opentelemetry.sdk._logs.export import SimpleLogRecordProcessor

            from nexus_otel.export.telemetry import SpoolLogExporter

            self.logger_provider = LoggerProvider(self.resource, shutdown_on_exit=False)
            self.logger_provider.add_log_record_processor(SimpleLogRecordProcessor(SpoolLogExporter(spool)))

    def flush(self, timeout_s: float) -> bool:
        """Write and send what waits, for at most `timeout_s` seconds; whether all of it is delivered."""
        until = time.monotonic() + timeout_s
        if self.meter_provider is not None:
            with guard("collecting metrics"):
                self.meter_provider.force_flush(int(timeout_s * 1_000))
        for processor in self.processors:
            with guard("flushing spans"):
                processor.force_flush(int(max(0.0, until - time.monotonic()) * 1_000))
        return self.sender.flush(max(0.0, until - time.monotonic())) if self.sender is not None else True

    def close(self, timeout_s: float) -> None:
        """Flush, and let go of files and threads."""
        self.flush(timeout_s)
        if self.sender is not None:
            with guard("stopping the sender"):
                self.sender.stop(0)
        for processor in self.processors:
            with guard("closing a span processor"):
                processor.shutdown()


def _resource(provider: Any) -> Resource:
    given = getattr(provider, "resource", None)
    if isinstance(given, Resource):
        return given
    settings = config.current()
    own = {
        "telemetry.distro.name": "nexus-otel",
        "telemetry.distro.version": _version.__version__,
        "service.name": None if settings.service_name or config.resource_service_name() else agent_name(),
        semconv.SERVICE_VERSION: revision.version(),
        semconv.REVISION: revision.commit(),
    }
    told = OTELResourceDetector().detect().attributes  # what a person says holds
    return Resource.create({name: value for name, value in own.items() if value is not None and name not in told})
