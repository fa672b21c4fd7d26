"""The tracer provider: the application's if there is one, else ours, made when the first span is wanted.

Until then a stand-in is the global provider. It is set without the API's own "set once", so that an application that
sets its provider later does so without a warning, and wins: tracers already given out follow it, and our processors
join it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from opentelemetry import trace

from nexus_otel import config
from nexus_otel._environ import variables
from nexus_otel._guard import guard, new_lock, note_once, report
from nexus_otel.config import SettingError
from nexus_otel.engine.seen import Seen
from nexus_otel.genai.own import own

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider

    from nexus_otel.bootstrap.plan import Plan

_PROVIDER_VARIABLE: Final = "OTEL_PYTHON_TRACER_PROVIDER"


_NOTHING: Final = trace.NoOpTracerProvider()
_OURS: Final = "nexus_otel."
"""How the names of our instrumentation scopes begin."""


class FollowingTracer(trace.ProxyTracer):
    """A tracer of whichever provider is the global one now."""

    def __init__(self, stand_in: StandInProvider, *names: Any, **more: Any) -> None:
        super().__init__(*names, **more)
        self._stand_in = stand_in
        self._names, self._more = names, more
        self._is_ours = bool(names) and str(names[0]).startswith(_OURS)
        self._followed: Any = None
        self._current: Any = None

    @property
    def _tracer(self) -> trace.Tracer:
        provider = self._stand_in.effective(ours=self._is_ours)
        if provider is not self._followed:
            self._current = provider.get_tracer(*self._names, **self._more)
            self._followed = provider
        tracer: trace.Tracer = self._current
        return tracer


class StandInProvider(trace.ProxyTracerProvider):
    """The global provider while nobody has set one."""

    def __init__(self, *, launched: bool) -> None:
        self._launched = launched
        self._lock = new_lock()
        self._own: TracerProvider | None = None
        self._joined = Seen()
        self._last: Any = None

    def get_tracer(self, *names: Any, **more: Any) -> trace.Tracer:
        """Return a tracer that follows the global provider."""
        return FollowingTracer(self, *names, **more)

    def effective(self, *, ours: bool = False) -> Any:
        """Return the provider that makes the spans now: the application's, else ours, built here.

        Args:
            ours: Whether for spans of ours: what began before everything was taken off is recorded to its end.
        """
        provider = trace._TRACER_PROVIDER
        if provider is self:
            return self._own or self._build()
        if provider is None:  # taken off
            return self._own if ours and self._own is not None else _NOTHING
        if provider is not self._last:
            self.join(provider)
            self._last = provider
        return provider

    def _build(self) -> TracerProvider:
        with self._lock:
            if self._own is None:
                self._own = self._built()
            return self._own

    def _built(self) -> TracerProvider:
        from opentelemetry.sdk.trace import TracerProvider

        from nexus_otel.bootstrap import leaving
        from nexus_otel.bootstrap.pipeline import Pipeline
        from nexus_otel.bootstrap.plan import Plan, own_plan

        plan = Plan(local=True)
        try:
            plan = own_plan(config.current())
        except SettingError as error:
            note_once("destinations", "nexus-otel: %s; spans stay in the local store", error)
        except Exception as error:  # noqa: BLE001 - ours
            report("reading where spans go", error)
        pipeline = Pipeline(plan)
        provider = TracerProvider(resource=pipeline.resource, shutdown_on_exit=False)
        for processor in pipeline.processors:
            provider.add_span_processor(processor)
        own.meter_provider = pipeline.meter_provider
        own.logger_provider = pipeline.logger_provider
        leaving.at_exit(pipeline)
        return provider

    def join(self, provider: Any) -> None:
        """Add our processors to a provider of somebody else, once."""
        with self._lock, guard("joining the application's tracer provider"):
            if not self._joined.first(provider):
                return
            own.traces = False
            own.meter_provider = own.logger_provider = None
            from nexus_otel.bootstrap import leaving
            from nexus_otel.bootstrap.pipeline import Pipeline
            from nexus_otel.bootstrap.plan import Plan, guest_plan

            plan = guest_plan(config.current(), launched=self._launched)
            takes_processors = hasattr(provider, "add_span_processor")
            if not takes_processors:
                _tell(provider, plan)
                plan = Plan()
            pipeline = Pipeline(plan, provider)
            for processor in pipeline.processors if takes_processors else ():
                provider.add_span_processor(processor)
            leaving.at_exit(pipeline)


def _tell(provider: Any, plan: Plan) -> None:
    """Say what is not done for a provider that takes no processors; its own exporters have every span all the same."""
    left = " nor ".join(
        text for text, wanted in (("in the local store", plan.local), ("sent by us", plan.traces is not None)) if wanted
    )
    if left:
        kind = type(provider).__name__
        note_once("provider", "nexus-otel: %s takes no span processors: its spans are not %s", kind, left)


_stand_in: StandInProvider | None = None


def install(*, launched: bool) -> None:
    """Stand in for the global provider, or join it if there is one.

    Args:
        launched: Whether `nexus-instrument` or `nexus_otel.auto` started this.
    """
    global _stand_in  # noqa: PLW0603 - one process, one global provider
    if _stand_in is None:
        _stand_in = StandInProvider(launched=launched)
    if trace._TRACER_PROVIDER is None:
        if not variables().get(_PROVIDER_VARIABLE):
            trace._TRACER_PROVIDER = _stand_in
            own.traces = True
    elif trace._TRACER_PROVIDER is not _stand_in:
        _stand_in.join(trace._TRACER_PROVIDER)


def remove() -> None:
    """Stand in no more: what asks for the global provider is given the API's own again."""
    if _stand_in is not None and trace._TRACER_PROVIDER is _stand_in:
        trace._TRACER_PROVIDER = None
        own.traces = False
