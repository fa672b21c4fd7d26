"""Stored spans are examined in the order of time, whatever the order they come in and whatever they hold."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nexus_otel import semconv
from nexus_otel.detect import SpanView, examine, examining
from nexus_otel.detect.all import detectors
from nexus_otel.detect.detection import Detection
from nexus_otel.detect.model import LEVELS, MODES
from tests.detect.dsl import START_NS, RaisedError, modes, ns, run, takes


def a_loop():
    return run().steps(4, "search", {"q": "x"}, "y").spans()


def an_error():
    return run().step("lookup", {"id": 1}, RaisedError("KeyError", "1")).model("Sorry.").spans()


def told_of(spans):
    return [finding.as_json() for finding in examine(spans)]


def by_trace(findings):
    return sorted((finding["trace_id"], finding["mode"], finding["count"]) for finding in findings)


def test_nothing_is_found_in_a_good_run():
    assert run().step("search", {"q": "rome"}, "Rome is a city.").model("Rome is a city.").find() == []


def test_nothing_is_found_in_nothing():
    assert examine([]) == []


@given(st.randoms(use_true_random=False))
@settings(max_examples=25, deadline=None)
def test_the_order_of_arrival_does_not_matter(shuffled):
    spans = run().steps(3, "search", {"q": "x"}, "y").step("charge", {}, "Error: no").spans()
    expected = told_of(spans)
    shuffled.shuffle(spans)
    assert told_of(spans) == expected
    assert [one["mode"] for one in expected] == ["loop", "tool_error"]


def test_a_run_whose_first_span_is_missing_is_one_run_all_the_same():
    spans = a_loop()[:-1]
    assert {span.parent_id for span in spans} == {f"{1:016x}"}
    assert [one["mode"] for one in told_of(spans)] == ["loop"]


def test_interleaved_runs_are_told_apart():
    spans = [*a_loop(), *an_error(), *run().steps(2, "search", {"q": "x"}, "y").spans()]
    expected = by_trace(told_of(spans))
    random.Random(7).shuffle(spans)  # noqa: S311 - an order
    assert by_trace(told_of(spans)) == expected
    assert [mode for _trace, mode, _count in expected] == ["loop", "tool_error"]


def test_mixed_runs_are_told_apart_in_little_memory(monkeypatch):
    monkeypatch.setattr(examining, "MOST_HELD", 60_000)
    runs = [a_loop() for _ in range(20)]
    assert modes(examine(span for spans in runs for span in spans)) == ["loop"] * 20


def test_a_run_that_has_not_ended():
    spans = a_loop()[:-1]
    assert modes(examine(spans)) == ["loop"]
    spans[-1].end_ns = 0
    assert modes(examine(spans)) == ["loop"]


def test_live_and_stored_agree():
    spans = run().steps(4, "charge", {"n": 1}, RaisedError("RuntimeError", "no")).step("lookup", {}, "Error: x").spans()
    detection = Detection(detectors())
    root = spans[-1]
    detection.begins(SpanView(root.trace_id, root.span_id, "", root.name, root.start_ns, 0, root.attributes))
    live = {}
    for span in spans:
        live |= {(one.mode, one.key): one.as_json() for one in detection.ends(span)}
    stored = told_of(spans)
    assert [one for one in live.values() if one["mode"] != "retry"] == stored


@pytest.mark.parametrize("ours", [True, False])
def test_no_title_holds_a_value(ours):
    tools = {"charge": takes(["order"], order="string")}
    one = run(ours=ours, tools=tools)
    for n in range(4):
        one.step("charge", {"order": "SECRET", "n": n}, RaisedError("ValueError", "SECRET is wrong"))
    one.model("", ("chrage", {"order": "SECRET"})).model("SECRET")
    for n in range(5):
        one.step("search", {"q": f"SECRET words{'x' * n}"}, "No results found for SECRET.")
    found = one.find()
    assert len(found) >= 3
    assert not [finding.title for finding in found if "SECRET" in finding.title]


# -- anything at all ---------------------------------------------------------------------------------------------------

VALUES = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=20), st.binary(max_size=5)),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=8,
)
NAMES = st.sampled_from(
    [value for name, value in vars(semconv).items() if name.isupper() and isinstance(value, str)]
    + [
        "openinference.span.kind", "traceloop.span.kind", "llm.request.type", "input.value", "output.value",
        "llm.output_messages.0.message.tool_calls.0.tool_call.function.name", "llm.tools.0.tool.json_schema",
        "traceloop.entity.input", "traceloop.entity.output", "gen_ai.prompt.0.content",
    ]
)  # fmt: skip
OPERATIONS = st.sampled_from(["chat", "execute_tool", "invoke_agent", "generate_content", "", "TOOL", "LLM"])
SPANS = st.builds(
    SpanView,
    trace_id=st.sampled_from(["a" * 32, "b" * 32, ""]),
    span_id=st.sampled_from([f"{n:016x}" for n in range(6)]),
    parent_id=st.sampled_from(["", *(f"{n:016x}" for n in range(6))]),
    name=st.text(max_size=10),
    start_ns=st.integers(-5, 10**19),
    end_ns=st.integers(-5, 10**19),
    attributes=st.builds(
        lambda values, operation: {"gen_ai.operation.name": operation, **values},
        st.dictionaries(NAMES, VALUES, max_size=8),
        OPERATIONS,
    ),
    failed=st.booleans(),
    message=st.text(max_size=20),
    events=st.lists(
        st.tuples(st.sampled_from(["exception", "x"]), st.integers(), st.dictionaries(NAMES, VALUES, max_size=2)),
        max_size=2,
    ),
)


@given(st.lists(SPANS, max_size=12))
@settings(max_examples=100, deadline=None)
def test_spans_of_anybody_never_raise(spans):
    for finding in examine(spans, broken=lambda mode, error: pytest.fail(f"{mode}: {error!r}")):
        assert finding.mode in MODES
        assert finding.level in LEVELS


def test_what_cannot_be_read_is_skipped_and_said():
    class Broken(dict):
        def get(self, key, default=None):
            if key == semconv.TOOL_FAILED:
                raise RuntimeError(key)
            return super().get(key, default)

    spans = a_loop()
    first = next(span for span in spans if span.tool)
    first.attributes = Broken(first.attributes)
    said = []
    assert modes(examine(spans, broken=lambda mode, _error: said.append(mode))) == ["loop"]
    assert said


# -- bounds ------------------------------------------------------------------------------------------------------------


def test_a_run_of_many_calls_keeps_little():
    detection = Detection(detectors())
    detection.begins(SpanView("a" * 32, "f" * 16, "", "x", START_NS, 0, {semconv.OPERATION: "invoke_agent"}))
    spans = [
        SpanView(
            "a" * 32, f"{n:016x}", "f" * 16, "x", START_NS + ns(n), START_NS + ns(n + 0.5),
            {
                semconv.OPERATION: "execute_tool", semconv.TOOL_NAME: f"tool_{n % 500}",
                semconv.TOOL_ARGUMENTS: f'{{"n": {n}}}', semconv.TOOL_RESULT: f"Error: x{'y' * (n % 90)}",
            },
        )
        for n in range(3_000)
    ]  # fmt: skip
    for span in spans:
        detection.ends(span)
    followed = detection.view("a" * 32)
    assert followed is not None
    assert len(followed.found) <= 600
    assert all(len(finding.evidence) <= 50 for finding in followed.found.values())


def test_what_was_cut_may_be_said_in_any_way():
    for said in (3, "text", None, [], ("gen_ai.output.messages",)):
        one = run(tools={"charge": takes(["n"], n="integer")})
        one.model("", ("chrage", {"n": 1})).step("charge", "{", "Error: no").model("Sorry.")
        for span in one.spans():
            span.attributes = dict(span.attributes) | {semconv.TRUNCATED: said}
        assert examine(one.closed, broken=lambda mode, error: pytest.fail(f"{mode}: {error!r}"))
