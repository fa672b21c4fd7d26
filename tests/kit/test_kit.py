"""The kit itself: instrumentors that are wrong in one way each, which it has to notice."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF
from opentelemetry.trace import SpanKind, Status, StatusCode

from nexus_otel._version import __version__
from nexus_otel.engine.driver import ModelStep
from nexus_otel.engine.instrumentor import Instrumentor
from nexus_otel.engine.steps import Step
from nexus_otel.engine.target import Call, Target
from nexus_otel.genai.content import takes_structure
from nexus_otel.genai.operations import Failure
from nexus_otel.semconv import SCHEMA_URL
from tests.fakes.provider import Provider
from tests.instrumentors.anthropic_cases import CALLS, FAILURES, LIBRARY, LOOPS
from tests.kit.cases import CANARY, Case, Lines, marked
from tests.kit.conventions import message_violations, violations
from tests.kit.fixtures import failures_allowed
from tests.kit.recording import Recording, instrumented
from tests.kit.suite import Conformance

CREATE, STREAM, LOOP, REFUSED, ITERATORS = (
    next(case for case in (*CALLS, *LOOPS, *FAILURES) if case.id == name)
    for name in ("create", "stream", "loop", "refused", "iterators")
)


def suite(change: Callable[[Target], Target], *cases: Case) -> Conformance:
    """Return the suite on an instrumentor whose targets were changed."""
    subject = LIBRARY.instrumentor
    names = {"targets": tuple(map(change, subject.targets)), "__module__": subject.__module__}
    wrong: type[Instrumentor] = type("Wrong", (subject,), names)
    attributes = {"library": replace(LIBRARY, instrumentor=wrong), "cases": cases}
    made: Conformance = type("Suite", (Conformance,), attributes)()
    return made


@pytest.mark.parametrize(
    ("version", "there"), [("0.9", False), ("1.0", True), ("1.9", True), ("1.10.0", False), ("2", False)]
)
def test_a_case_is_run_on_the_versions_that_have_it(version: str, there: bool) -> None:
    lines = Lines(since={"case": "1.0"}, until={"case": "1.10"})
    assert lines.there("case", version) is there
    assert (lines.marks("case", "test", version) == []) is there
    assert lines.there("another", version)


# -- instrumentors that are wrong --------------------------------------------------------------------------------------


def leaking(target: Target) -> Target:
    """Copies what was said to an attribute that is no content."""
    return _of_response(target, attributes={"gen_ai.response.model": CANARY})


def with_nothing(target: Target) -> Target:
    """Sets an attribute to None."""
    return _of_response(target, attributes={"gen_ai.request.seed": None})


def with_wrong_type(target: Target) -> Target:
    """Sets a number as a text."""
    return _of_response(target, attributes={"gen_ai.request.seed": "7"})


def with_foreign_name(target: Target) -> Target:
    """Sets an attribute that the conventions have left."""
    return _of_response(target, attributes={"gen_ai.system": "anthropic"})


def without_output(target: Target) -> Target:
    """Forgets what the model said."""
    return _of_response(target, output=())


def exchanging(target: Target) -> Target:
    """Gives the caller something else."""

    def settle(step: Step, value: Any) -> str:
        step.done(value)
        return str(value)

    return replace(target, settle=settle)


def never_ending(target: Target) -> Target:
    """Forgets to end the span."""
    return replace(target, settle=lambda _step, value: value)


def consuming(target: Target) -> Target:
    """Reads what can be read once before the library does."""

    def request(call: Call) -> Any:
        for value in call.kwargs.values():
            if hasattr(value, "__next__"):
                list(value)
        return target.request(call)

    return replace(target, request=request)


def blaming(target: Target) -> Target:
    """Names a failure by the class of the exception."""
    return replace(target, failure=lambda error: Failure(type(error).__name__))


def changing(target: Target) -> Target:
    """Adds to the exception of the library."""

    def failure(error: BaseException) -> Failure:
        error.add_note("seen")
        return target.failure(error)

    return replace(target, failure=failure)


def _of_response(target: Target, **changes: Any) -> Target:
    read = target.response
    if read is None:
        return target

    def response(value: Any) -> Any:
        result = read(value)
        return replace(result, **changes) if hasattr(result, "usage") else result  # type: ignore[type-var]

    return replace(target, response=response)


# -- and who notices ---------------------------------------------------------------------------------------------------


def test_the_kit_passes_what_is_right(provider: Provider) -> None:
    right = suite(lambda target: target, CREATE)
    right.test_the_spans_are_those_expected(CREATE, provider)
    right.test_the_caller_notices_nothing(CREATE, "NO_CONTENT", provider)


CHANGES = [with_wrong_type, with_foreign_name]
if takes_structure():  # an SDK before 1.45 refuses it by itself, with a warning of its own
    CHANGES.append(with_nothing)


@pytest.mark.parametrize("change", [leaking, *CHANGES])
def test_wrong_attributes_are_noticed(change: Callable[[Target], Target], provider: Provider) -> None:
    with pytest.raises(AssertionError):
        suite(change, CREATE).test_the_spans_are_those_expected(CREATE, provider)


@pytest.mark.parametrize("change", CHANGES)
def test_attributes_against_the_conventions_are_noticed(change: Callable[[Target], Target], provider: Provider) -> None:
    with pytest.raises(AssertionError):
        suite(change, CREATE).test_the_spans_follow_the_conventions(CREATE, provider)


def test_a_leak_is_noticed(provider: Provider) -> None:
    with pytest.raises(AssertionError):
        suite(leaking, CREATE).test_nothing_that_was_said_is_recorded_unasked(CREATE, provider)


def test_missing_content_is_noticed(provider: Provider) -> None:
    with pytest.raises(AssertionError):
        suite(without_output, CREATE).test_content_is_recorded_when_asked_for(CREATE, "SPAN_ONLY", provider)


def test_an_exchanged_value_is_noticed(provider: Provider) -> None:
    with pytest.raises(AssertionError):
        suite(exchanging, CREATE).test_the_caller_notices_nothing(CREATE, "NO_CONTENT", provider)


def test_a_changed_exception_is_noticed(provider: Provider) -> None:
    with pytest.raises(AssertionError):
        suite(changing, REFUSED).test_the_caller_notices_nothing(REFUSED, "NO_CONTENT", provider)


def test_a_consumed_argument_is_noticed(provider: Provider) -> None:
    with pytest.raises(AssertionError):
        suite(consuming, ITERATORS).test_the_caller_notices_nothing(ITERATORS, "NO_CONTENT", provider)


def test_a_span_that_never_ends_is_noticed(provider: Provider) -> None:
    with pytest.raises(AssertionError):
        suite(never_ending, CREATE).test_the_caller_notices_nothing(CREATE, "NO_CONTENT", provider)


def test_a_wrong_error_type_is_noticed(provider: Provider) -> None:
    with pytest.raises(AssertionError):
        suite(blaming, REFUSED).test_the_spans_are_those_expected(REFUSED, provider)


def test_reading_for_nobody_is_noticed(provider: Provider, monkeypatch: pytest.MonkeyPatch) -> None:
    begin = ModelStep.begin

    def eager(step: ModelStep, here: Any, around: Any) -> Any:
        step.operation.conversation()
        return begin(step, here, around)

    monkeypatch.setattr(ModelStep, "begin", eager)
    with pytest.raises(AssertionError):
        suite(lambda target: target, CREATE).test_an_unsampled_call_is_not_read(CREATE, provider)


def test_a_failure_that_reaches_the_caller_is_noticed(provider: Provider, monkeypatch: pytest.MonkeyPatch) -> None:
    def escape(_step: Step, *_args: object, **_kwargs: object) -> None:
        raise RuntimeError("ours")

    monkeypatch.setattr(Step, "settle", escape)
    with pytest.raises(AssertionError):
        suite(lambda target: target, CREATE).test_a_failure_of_ours_changes_nothing("response", provider)


def test_a_missing_span_is_noticed(provider: Provider) -> None:
    fewer = replace(LOOP, spans=LOOP.spans[1:])
    with pytest.raises(AssertionError):
        suite(lambda target: target, fewer).test_the_spans_are_those_expected(fewer, provider)


def test_a_known_gap_is_expected_to_fail_and_only_there() -> None:
    gap = replace(CREATE, gaps={"test_the_caller_notices_nothing": "not yet"})
    (there,) = marked(LIBRARY, [gap], "test_the_caller_notices_nothing")
    assert [mark.kwargs for mark in there.marks] == [{"reason": "not yet", "strict": True}]
    (elsewhere,) = marked(LIBRARY, [gap], "test_the_spans_are_those_expected")
    assert not elsewhere.marks


# -- the conventions ---------------------------------------------------------------------------------------------------

GOOD: dict[str, Any] = {
    "gen_ai.operation.name": "chat",
    "gen_ai.provider.name": "anthropic",
    "gen_ai.request.model": "m",
}


def checked(attributes: dict[str, Any], name: str = "chat m", kind: SpanKind = SpanKind.CLIENT) -> list[str]:
    seen = Recording()
    tracer = seen.tracer_provider.get_tracer("nexus_otel.instrumentors.x", __version__, SCHEMA_URL)
    with tracer.start_as_current_span(name, kind=kind, attributes=attributes, set_status_on_exception=False) as span:
        if "error.type" in attributes:
            span.set_status(Status(StatusCode.ERROR))
    return violations(seen.one())


def test_a_good_span_has_no_violations() -> None:
    assert checked(GOOD) == []


BAD: dict[str, tuple[dict[str, Any], str]] = {
    "no operation": ({"gen_ai.operation.name": "messages"}, "no such operation"),
    "no provider": ({"gen_ai.provider.name": None}, "is required"),
    "no int": ({"gen_ai.usage.input_tokens": 1.0}, "should be int"),
    "bool as int": ({"gen_ai.usage.input_tokens": True}, "should be int"),
    "int as double": ({"gen_ai.request.temperature": 1}, "should be double"),
    "text as list": ({"gen_ai.response.finish_reasons": "stop"}, "should be string[]"),
    "old name": ({"gen_ai.usage.total_tokens": 1}, "does not belong"),
    "of a tool": ({"gen_ai.tool.name": "x"}, "does not belong"),
    "not in our table": ({"nexus.secret": "x"}, "does not belong"),
    "of a run": ({"nexus.run.steps": 1}, "does not belong"),
    "port alone": ({"server.port": 1}, "a port without an address"),
    "not streamed": ({"gen_ai.request.stream": False}, "only when true"),
    "chunk alone": ({"gen_ai.response.time_to_first_chunk": 0.1}, "a first chunk without"),
    "cache": ({"gen_ai.usage.cache_read.input_tokens": 5, "gen_ai.usage.input_tokens": 3}, "do not include"),
    "reason": ({"gen_ai.response.finish_reasons": ("end_turn",)}, "not normalised"),
    "no json": ({"gen_ai.input.messages": "[{"}, "is no JSON"),
    "no parts": ({"gen_ai.input.messages": '[{"role": "user"}]'}, "parts should be a list"),
    "no text": ({"gen_ai.input.messages": '[{"role": "user", "parts": [{"type": "text"}]}]'}, "should be str"),
    "instructions": ({"gen_ai.system_instructions": '[{"type": "blob"}]'}, "text parts only"),
    "tools": ({"gen_ai.tool.definitions": '[{"name": "x"}]'}, "needs a type and a name"),
}


@pytest.mark.parametrize("name", BAD)
def test_violations_are_found(name: str) -> None:
    more, problem = BAD[name]
    attributes = {key: value for key, value in {**GOOD, **more}.items() if value is not None}
    assert any(problem in found for found in checked(attributes))


def test_a_wrong_name_and_a_wrong_kind_are_found() -> None:
    assert len(checked(GOOD, "anthropic.chat", SpanKind.SERVER)) == 2


def test_an_error_type_without_a_status_is_found() -> None:
    seen = Recording()
    tracer = seen.tracer_provider.get_tracer("nexus_otel.instrumentors.x", __version__, SCHEMA_URL)
    attributes = {**GOOD, "error.type": "x"}
    tracer.start_span("chat m", kind=SpanKind.CLIENT, attributes=attributes).end()
    assert any("the status is UNSET" in found for found in violations(seen.one()))


def test_a_status_ok_is_found() -> None:
    seen = Recording()
    tracer = seen.tracer_provider.get_tracer("nexus_otel.instrumentors.x", __version__, SCHEMA_URL)
    with tracer.start_as_current_span("chat m", kind=SpanKind.CLIENT, attributes=GOOD) as span:
        span.set_status(StatusCode.OK)
        span.add_event("gen_ai.choice")
    assert len(violations(seen.one())) == 2


def test_messages_of_the_conventions_are_fine() -> None:
    parts = [
        {"type": "text", "content": "x"},
        {"type": "tool_call", "id": "1", "name": "t", "arguments": {}},
        {"type": "tool_call_response", "id": "1", "response": "x"},
        {"type": "anything", "else": 1},
    ]
    assert list(message_violations(json.loads(json.dumps([{"role": "user", "parts": parts}])))) == []


# -- recording ---------------------------------------------------------------------------------------------------------


def test_everything_is_searched_for_what_must_not_be_there() -> None:
    seen = Recording()
    with seen.tracer.start_as_current_span("a", attributes={"a": ("x", CANARY)}):
        pass
    assert CANARY in seen.text()
    seen.clear()
    seen.meter_provider.get_meter("m").create_counter("c").add(1, {"a": CANARY})
    assert CANARY in seen.text()


def test_a_tree_is_text() -> None:
    seen = Recording()
    with seen.tracer.start_as_current_span("a"), seen.tracer.start_as_current_span("b"):
        seen.tracer.start_span("c").end()
    seen.tracer.start_span("d").end()
    assert seen.tree() == "a\n  b\n    c\nd"


def test_a_span_that_is_open_at_the_end_is_noticed() -> None:
    with pytest.raises(AssertionError), instrumented() as seen:
        seen.tracer.start_span("open")


def test_an_unsampled_recording_is_empty() -> None:
    with failures_allowed(), instrumented(sampler=ALWAYS_OFF) as seen, seen.tracer.start_as_current_span("a"):
        pass
    assert (seen.spans, seen.open) == ([], {})
