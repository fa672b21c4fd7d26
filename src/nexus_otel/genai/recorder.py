"""Operations and results as spans, metrics and log events: the only caller of Tracer, Meter and Logger."""

from __future__ import annotations

import time
import traceback
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.trace import Link, Span, SpanKind, StatusCode, Tracer

from nexus_otel import _version, config, normal, semconv
from nexus_otel._guard import guard
from nexus_otel.genai import attributes as of
from nexus_otel.genai.completion import CompletionHook
from nexus_otel.genai.content import Apart, Content, Redact, beside
from nexus_otel.genai.ending import before_end
from nexus_otel.genai.metrics import Meters
from nexus_otel.genai.operations import (
    AgentRun,
    AgentTotals,
    Conversation,
    Detail,
    DetailResult,
    Failure,
    Inference,
    InferenceResult,
    Message,
    Outcome,
    Retrieval,
    RetrievalResult,
    Retry,
    ToolCall,
    ToolResult,
)
from nexus_otel.genai.own import is_real, own

_DEBUG: Final = 5
_WARN: Final = 13
"""Severity numbers of the log data model."""
_UNKNOWN_TOOL: Final = "unknown_tool"
_TOOL_ERROR: Final = "tool_error"
_READING: Final = guard("reading the parameters of a request")
_DESCRIBING: Final = guard("describing a call")
_CAPTURING: Final = guard("capturing content")
_FINISHING: Final = guard("finishing a span")
_MEASURING: Final = guard("recording metrics")


class Recorder:
    """Records the operations of one instrumentation scope.

    Args:
        scope: The instrumentor's module name.
        tracer_provider: Where spans go; the global provider when not given.
        meter_provider: Where metrics go; the global provider when not given.
        logger_provider: Where log events go; the global provider when not given.
        redact: The user's hook, applied to each captured text.
        settings: Instead of those in force.
    """

    def __init__(  # noqa: PLR0913, PLR0917 - one place where all of it meets
        self,
        scope: str,
        tracer_provider: Any = None,
        meter_provider: Any = None,
        logger_provider: Any = None,
        redact: Redact | None = None,
        settings: config.Settings | None = None,
    ) -> None:
        settings = settings or config.current()
        self._scope = scope
        self._tracer: Tracer = trace.get_tracer(
            scope, _version.__version__, tracer_provider, schema_url=semconv.SCHEMA_URL
        )
        self._meters = Meters(scope, meter_provider, settings)
        self._logger_provider = logger_provider
        self._qualified_errors = settings.semconv == "pkg"
        self._agent_usage = settings.agent_usage
        self.content = Content(settings, redact)
        self._hook = CompletionHook.configured()
        self.hasher = normal.Hasher(config.hash_key())

    @property
    def hands_on(self) -> bool:
        """Whether somebody is given what was said, whatever the sampler says."""
        return self._hook is not None

    @property
    def measures(self) -> bool:
        """Whether a meter takes what is measured."""
        return self._meters.wanted

    def describe_whole(self, span: Span, operation: Inference, result: InferenceResult) -> None:
        """Set on a span that goes on what is known of a model call that was over when it was told."""
        span.set_attributes(of.inference_start(operation) | self._inference_attributes(operation, None, result))
        span.update_name(f"{operation.operation} {operation.model}" if operation.model else operation.operation)

    # -- starting ------------------------------------------------------------------------------------------------------

    def start_inference(self, operation: Inference, parent: Context | None) -> Span:
        """Start the span of a model call under `parent`, the current context when not given."""
        name = f"{operation.operation} {operation.model}" if operation.model else operation.operation
        return self._tracer.start_span(
            name, parent, SpanKind.CLIENT, of.inference_start(operation), record_exception=False
        )

    def describe(self, span: Span, operation: Inference) -> None:
        """Set what is known of a model call before it is made on a span that somebody else started."""
        span.set_attributes(of.inference_start(operation))

    def start_agent(self, run: AgentRun, parent: Context | None, links: list[Link]) -> Span:
        """Start the span of a run of an agent or a workflow."""
        name = f"{run.operation} {run.name}" if run.name else run.operation
        attributes = of.agent_start(run)
        return self._tracer.start_span(name, parent, SpanKind.INTERNAL, attributes, links)

    def start_tool(
        self,
        call: ToolCall,
        parent: Context | None,
        agent: AgentRun | None,
        start_ns: int | None = None,
        **extra: Any,
    ) -> Span:
        """Start the span of a tool's execution, by an agent if it is known; `extra` sets further attributes."""
        attributes = of.tool_start(call, agent)
        if extra:
            attributes |= extra
        name = f"{semconv.EXECUTE_TOOL} {call.name}"
        return self._tracer.start_span(name, parent, SpanKind.INTERNAL, attributes, None, start_ns)

    def start_retrieval(self, operation: Retrieval, parent: Context | None) -> Span:
        """Start the span of a search."""
        name = f"{semconv.RETRIEVAL} {operation.source}" if operation.source else semconv.RETRIEVAL
        return self._tracer.start_span(name, parent, SpanKind.CLIENT, of.retrieval_start(operation))

    def start_detail(self, operation: Detail, parent: Context | None) -> Span:
        """Start the span of a step that is neither a model's nor a tool's."""
        return self._tracer.start_span(operation.name, parent, SpanKind.INTERNAL, operation.attributes)

    def link(self, span: Span, other: Span) -> None:
        """Link a span to one of another instrumentation, which stands elsewhere."""
        span.add_link(other.get_span_context())

    # -- ending --------------------------------------------------------------------------------------------------------

    def end_inference(
        self,
        span: Span,
        operation: Inference,
        conversation: Conversation | None,
        result: InferenceResult | None,
        outcome: Outcome,
    ) -> Mapping[str, Any]:
        """Set everything known of a model call and end its span.

        Returns:
            The content that was captured: redacted and within the limits.
        """
        captured: Mapping[str, Any] = {}
        outcome = self._typed(outcome)
        try:
            if self._hook is not None:
                self._hook.call(span, conversation, result)
            if span.is_recording():
                attributes: dict[str, Any] = {}
                with _DESCRIBING:
                    attributes |= self._inference_attributes(operation, conversation, result)
                with _CAPTURING:
                    if self.content.wanted or self.content.event:
                        captured = self._inference_content(span, attributes, operation, conversation, result)
                with _FINISHING:
                    self._finish(span, attributes, outcome)
        finally:
            before_end(span)
            span.end()
        with _MEASURING:
            if self._meters.wanted:
                self._meters.inference(operation, result, outcome)
        return captured

    def _inference_attributes(
        self, operation: Inference, conversation: Conversation | None, result: InferenceResult | None
    ) -> dict[str, Any]:
        attributes: dict[str, Any] = {}
        with _READING:
            attributes |= operation.request()
        if conversation is not None and not operation.embeds:
            attributes |= of.conversation_facts(conversation)
        if result is not None:
            attributes |= of.inference_end(result)
        return attributes

    def _inference_content(
        self,
        span: Span,
        attributes: dict[str, Any],
        operation: Inference,
        conversation: Conversation | None,
        result: InferenceResult | None,
    ) -> Mapping[str, Any]:
        values = of.conversation_content(conversation) if conversation is not None else {}
        if result is not None and result.output:
            values[semconv.OUTPUT_MESSAGES] = of.output_messages(
                result.output, result.finish_reasons, with_reasons=self.content.finish_in_messages
            )
        captured = self.content.capture(values)
        if (self.content.on_events or self.content.event) and not operation.embeds:
            details = of.inference_start(operation) | attributes
            content = self.content.structured(captured) if self.content.on_events else {}
            self._emit(semconv.DETAILS_EVENT, _DEBUG, span, details | content)
        self._add_content(span, attributes, captured)
        return captured

    def end_tool(self, span: Span, call: ToolCall, result: ToolResult | None, outcome: Outcome) -> None:
        """Set everything known of a tool's execution and end its span."""
        outcome = self._typed(outcome)
        duration_s = None if call.derived else outcome.duration_s
        failed = outcome.failure
        try:
            with _DESCRIBING:
                if span.is_recording():
                    failed = self._tool(span, call, result, outcome)
        finally:
            before_end(span, outcome.end_ns)
            span.end(outcome.end_ns)
        with _MEASURING:
            if self._meters.wanted and duration_s is not None:
                self._meters.tool(call, duration_s, failed)

    def _tool(self, span: Span, call: ToolCall, result: ToolResult | None, outcome: Outcome) -> Failure | None:
        attributes = of.tool_arguments_facts(call, self.hasher)
        failure = outcome.failure
        if result is not None:
            attributes |= of.tool_end(call.name, result, self.hasher)
            if failure is None and (result.is_error or call.known is False):
                failure = _answered_failure(call, result)
        elif failure is not None:
            text = f"{failure.type}: {failure.message or ''}"
            attributes |= of.tool_failure_facts("status", text, self.hasher)
        with _CAPTURING:
            if self.content.wanted:
                answer = result.answer if result is not None else None
                values = {semconv.TOOL_ARGUMENTS: call.arguments, semconv.TOOL_RESULT: answer}
                self._add_content(span, attributes, self.content.capture(of.known(values)))
        self._finish(span, attributes, Outcome(failure, outcome.exception, outcome.stream))
        return failure

    def end_agent(self, span: Span, run: AgentRun, totals: AgentTotals, outcome: Outcome) -> None:
        """Set the totals of a run and end its span at its last activity."""
        outcome = self._typed(outcome)
        try:
            with _DESCRIBING:
                if span.is_recording():
                    attributes = of.agent_end(run, totals, with_usage=self._agent_usage)
                    self._add_content(span, attributes, totals.content)
                    self._finish(span, attributes, outcome)
        finally:
            before_end(span, outcome.end_ns)
            span.end(outcome.end_ns)
        with _MEASURING:
            if self._meters.wanted:
                self._meters.agent(run, totals, outcome)

    def captured(self, span: Span, conversation: Conversation | None, output: Sequence[Message]) -> Mapping[str, Any]:
        """Return the content of what a run was given and answered, redacted and within the limits."""
        values: dict[str, Any] = {}
        with _CAPTURING:
            if span.is_recording() and self.content.wanted:
                values = of.conversation_content(conversation) if conversation is not None else {}
                if output:
                    values[semconv.OUTPUT_MESSAGES] = of.output_messages(output, (), with_reasons=False)
                return self.content.capture(values)
        return {}

    def end_retrieval(self, span: Span, operation: Retrieval, result: RetrievalResult | None, outcome: Outcome) -> None:
        """Set what a search found and end its span."""
        outcome = self._typed(outcome)
        try:
            with _DESCRIBING:
                if span.is_recording():
                    attributes: dict[str, Any] = {}
                    if self.content.wanted:
                        self._add_content(
                            span,
                            attributes,
                            self.content.capture(
                                of.retrieval_content(operation, result, with_texts=not self._qualified_errors)
                            ),
                        )
                    self._finish(span, attributes, outcome)
        finally:
            before_end(span)
            span.end()
        with _MEASURING:
            if self._meters.wanted and outcome.duration_s is not None:
                self._meters.retrieval(of.retrieval_start(operation), outcome.duration_s, outcome.failure)

    def end_detail(self, span: Span, result: DetailResult | None, outcome: Outcome) -> None:
        """Set what came of a step and end its span."""
        outcome = self._typed(outcome)
        try:
            with _DESCRIBING:
                if span.is_recording():
                    attributes: dict[str, Any] = {}
                    if result is not None and result.output is not None and self.content.wanted:
                        self._add_content(span, attributes, self.content.capture({semconv.OUTPUT: result.output}))
                    self._finish(span, attributes, outcome)
        finally:
            before_end(span)
            span.end()

    def retry(self, span: Span, retry: Retry, wait_s: float) -> None:
        """Record that the provider's SDK waited for `wait_s` seconds and tries again, as an event of the model span."""
        span.add_event(semconv.RETRY_EVENT, of.retry(retry, wait_s))

    def _typed(self, outcome: Outcome) -> Outcome:
        """Return the outcome with the error type of the conventions in force: 1.3b0 has the exception's whole name."""
        if not self._qualified_errors or outcome.exception is None or outcome.failure is None:
            return outcome
        return replace(outcome, failure=replace(outcome.failure, type=_qualified(outcome.exception)))

    # -- failures ------------------------------------------------------------------------------------------------------

    def _finish(self, span: Span, attributes: dict[str, Any], outcome: Outcome) -> None:
        """Set the attributes, and how it failed if it did: in one call, status unset on success."""
        if outcome.stream is not None:
            attributes[semconv.STREAM_OUTCOME] = outcome.stream
        if outcome.first_chunk_s is not None:
            attributes[semconv.RESPONSE_FIRST_CHUNK] = outcome.first_chunk_s
        if outcome.failure is None:
            span.set_attributes(attributes)
            return
        attributes |= of.failure(outcome.failure)
        span.set_attributes(attributes)
        self._set_failed(span, attributes, outcome)

    def _set_failed(self, span: Span, attributes: Mapping[str, Any], outcome: Outcome) -> None:
        failure = outcome.failure
        assert failure is not None  # noqa: S101 - for the type checker: the caller's branch
        message = self.content.message(failure.message) if failure.message else None
        aloud = self.content.messages_of_errors
        span.set_status(StatusCode.ERROR, message if aloud else of.fixed_message(attributes))
        event: dict[str, Any] = {}
        if outcome.exception is not None and not self._qualified_errors:
            event = {semconv.EXCEPTION_TYPE: _qualified(outcome.exception)}
            event[semconv.EXCEPTION_STACKTRACE] = _frames(outcome.exception)
            if aloud and message:
                event[semconv.EXCEPTION_MESSAGE] = message
            span.add_event(semconv.EXCEPTION_EVENT, event)
            self._emit(semconv.EXCEPTION_LOG_EVENT, _WARN, span, event)
        if message and not aloud and self.content.to_store:
            spoken = {semconv.EXCEPTION_MESSAGE: message} if event else {}
            self._apart(span).exception.update(spoken)
            self._apart(span).status = message

    # -- content -------------------------------------------------------------------------------------------------------

    def _add_content(self, span: Span, attributes: dict[str, Any], captured: Mapping[str, Any]) -> None:
        """Add content to the span's attributes if it was asked for, else keep it beside it for the local store."""
        if self.content.on_spans:
            attributes |= self.content.structured(captured) if self.content.is_structured else captured
        elif captured and self.content.to_store:
            self._apart(span).attributes.update(captured)

    def _apart(self, span: Span) -> Apart:
        context = span.get_span_context()
        return beside.of(context.trace_id, context.span_id)

    def _emit(self, name: str, severity: int, span: Span, attributes: Mapping[str, Any]) -> None:
        """Emit a log event in the context of a span, where somebody takes log events."""
        from opentelemetry._logs import SeverityNumber, get_logger, get_logger_provider

        provider = self._logger_provider or get_logger_provider()
        if not is_real(provider):
            provider = own.logger_provider
        if provider is None:
            return
        level = SeverityNumber(severity)
        logger = get_logger(self._scope, _version.__version__, provider, semconv.SCHEMA_URL)
        logger.emit(
            log_record(
                logger,
                timestamp=time.time_ns(),
                context=trace.set_span_in_context(span),
                severity_number=level,
                severity_text=level.name,
                event_name=name,
                attributes=dict(attributes),
            )
        )


def log_record(logger: Any, **given: Any) -> Any:
    """Return a log record for `logger`.

    SDKs before 1.39 turn the API's record into one of their own, with a deprecation warning of theirs at each: they are
    given their own.
    """
    from opentelemetry._logs import LogRecord
    from opentelemetry.sdk import _logs as sdk

    older = getattr(sdk, "LogRecord", None)
    if older is None or not hasattr(older, "_from_api_log_record") or not isinstance(logger, sdk.Logger):
        return LogRecord(**given)
    return older(resource=logger.resource, **given)


def _answered_failure(call: ToolCall, result: ToolResult) -> Failure:
    text = of.answer_text(result.answer)
    fallback = _UNKNOWN_TOOL if call.known is False else _TOOL_ERROR
    return Failure(normal.error_name(text) or fallback, text)


def _qualified(error: BaseException) -> str:
    kind = type(error)
    return kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"


def _frames(error: BaseException) -> str:
    """Return where an exception came from as file, line and function: no source line, no value."""
    frames = traceback.extract_tb(error.__traceback__, limit=-32) if error.__traceback__ else []
    return "\n".join(f'  File "{frame.filename}", line {frame.lineno}, in {frame.name}' for frame in frames)
