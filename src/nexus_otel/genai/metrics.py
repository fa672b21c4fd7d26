"""Metrics of the conventions, written only where a meter provider is there to take them."""

from __future__ import annotations

from typing import Any

from opentelemetry import metrics
from opentelemetry.metrics import _internal as api

from nexus_otel import _version, semconv
from nexus_otel._environ import variables
from nexus_otel.config import Settings
from nexus_otel.genai.attributes import known
from nexus_otel.genai.operations import (
    AgentRun,
    AgentTotals,
    Failure,
    Inference,
    InferenceResult,
    Outcome,
    ToolCall,
    Usage,
)
from nexus_otel.genai.own import is_real, own


class Meters:
    """The instruments of one instrumentation scope, made when a real meter provider is first seen."""

    def __init__(self, scope: str, provider: Any, settings: Settings) -> None:
        self._scope = scope
        self._given = provider
        # the API's getter looks into the environment at each call, and this is asked at each call
        self._named = bool(variables().get("OTEL_PYTHON_METER_PROVIDER")) or not hasattr(api, "_METER_PROVIDER")
        self._older_names = settings.semconv == "pkg"
        self._table = semconv.PKG_METRICS if self._older_names else semconv.MAIN_METRICS
        self._instruments: dict[str, Any] = {}
        self._provider: Any = None

    @property
    def wanted(self) -> bool:
        """Whether a real meter provider is there: the API's own records nothing."""
        provider = self._given
        if provider is None and (self._named or api._METER_PROVIDER is not None):
            provider = metrics.get_meter_provider()
        if provider is None or not is_real(provider):
            provider = own.meter_provider
        if provider is not self._provider:
            self._provider = provider
            self._instruments = {}
        return provider is not None

    def _record(self, key: str, value: float, attributes: dict[str, Any]) -> None:
        if key not in self._table:
            return
        instrument = self._instruments.get(key) or self._made(key)
        if self._table[key].buckets is None:
            instrument.add(value, attributes)
        else:
            instrument.record(value, attributes)

    def _made(self, key: str) -> Any:
        row = self._table[key]
        meter = self._provider.get_meter(self._scope, _version.__version__, semconv.SCHEMA_URL)
        if row.buckets is None:
            made = meter.create_counter(row.name, row.unit, row.meaning)
        else:
            made = meter.create_histogram(
                row.name, row.unit, row.meaning, explicit_bucket_boundaries_advisory=list(row.buckets)
            )
        self._instruments[key] = made
        return made

    def inference(self, operation: Inference, result: InferenceResult | None, outcome: Outcome) -> None:
        """Record one model call: duration, first chunk, gaps between chunks, tokens."""
        common = known(
            {
                semconv.OPERATION: operation.operation,
                semconv.PROVIDER: operation.provider,
                semconv.REQUEST_MODEL: operation.model,
                semconv.RESPONSE_MODEL: result.model if result else None,
                semconv.SERVER_ADDRESS: operation.address,
                semconv.SERVER_PORT: operation.port,
            }
        )
        if self._older_names and result is not None:
            common |= {name: said for name, said in result.attributes.items() if name in semconv.OF_OPENAI_ANSWERS}
        other = operation.embeds and not self._older_names
        if outcome.duration_s is not None:
            self._record("other" if other else "duration", outcome.duration_s, common | _error(outcome.failure))
        if outcome.first_chunk_s is not None:
            self._record("first_chunk", outcome.first_chunk_s, common)
        for gap in outcome.chunk_gaps_s:
            self._record("chunk", gap, common)
        if not other:
            self._tokens(result.usage if result else Usage(), common)

    def _tokens(self, used: Usage, common: dict[str, Any]) -> None:
        if self._older_names:
            for kind, count in (("input", used.input_tokens), ("output", used.output_tokens)):
                if count is not None:
                    self._record("tokens", count, {**common, semconv.TOKEN_TYPE: kind})
            return
        counted = {**common, semconv.TOKEN_MODALITY: "text"}
        for key, count in (
            ("input", used.input_tokens),
            ("output", used.output_tokens),
            ("cache_read", used.cache_read_tokens),
            ("cache_write", used.cache_write_tokens),
            ("reasoning", used.reasoning_tokens),
        ):
            if count is not None:
                self._record(key, count, counted)
        if used.input_tokens is not None:
            self._record("input_per_call", used.input_tokens, common)
        if used.output_tokens is not None:
            self._record("output_per_call", used.output_tokens, common)

    def tool(self, call: ToolCall, duration_s: float, failure: Failure | None) -> None:
        """Record the duration of one tool's execution."""
        attributes = {semconv.OPERATION: semconv.EXECUTE_TOOL, semconv.TOOL_NAME: call.name}
        attributes |= {semconv.TOOL_TYPE: call.kind} | _error(failure)
        self._record("tool", duration_s, attributes)

    def retrieval(self, attributes: dict[str, Any], duration_s: float, failure: Failure | None) -> None:
        """Record the duration of one search, with what is known of it when it starts."""
        self._record("other", duration_s, attributes | _error(failure))

    def agent(self, run: AgentRun, totals: AgentTotals, outcome: Outcome) -> None:
        """Record one run: duration, and of an agent's its model calls and tool calls."""
        named = semconv.WORKFLOW_NAME if run.workflow else semconv.AGENT_NAME
        attributes = known({semconv.OPERATION: run.operation, named: run.name})
        if outcome.duration_s is not None:
            key = "workflow" if run.workflow else "agent"
            self._record(key, outcome.duration_s, attributes | _error(outcome.failure))
        if not run.workflow:
            self._record("agent_calls", totals.steps, attributes)
            self._record("agent_tools", totals.tool_calls, attributes)


def _error(failure: Failure | None) -> dict[str, Any]:
    return {} if failure is None else {semconv.ERROR_TYPE: failure.type}
