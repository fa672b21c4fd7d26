from datetime import UTC, datetime

import pytest

from nexus_otel.cli.runs import (
    AmbiguousError,
    NothingFoundError,
    has_failed,
    matching,
    runs_of,
    select,
    short_ids,
    since,
)
from tests.cli.samples import AGENT, CHAT, START, TOOL, TRACE, span, span_id, travel, usage

WORKFLOW = {"gen_ai.operation.name": "invoke_workflow", "gen_ai.workflow.name": "crew"}


def two_in_one_trace():
    return [
        span(9, 0, "POST /ask", 0, 9),
        span(1, 9, "invoke_agent travel", 1, 3, AGENT),
        span(2, 1, "chat model-x", 1, 2, CHAT),
        span(3, 9, "invoke_agent travel", 4, 6, AGENT),
        span(4, 3, "invoke_agent helper", 4, 5, AGENT),
    ]


def test_a_run_is_the_agent_and_all_under_it():
    (run,) = runs_of([span(9, 0, "POST /ask", 0, 50), *travel()[1:], span(1, 9, "invoke_agent", 0, 41, AGENT)])
    assert run.id == TRACE
    assert [s.name for s in run.spans][:2] == ["invoke_agent", "chat model-x"]
    assert len(run.spans) == 6


def test_several_runs_of_a_trace_are_named_with_their_span():
    newest, oldest = runs_of(two_in_one_trace())
    assert (newest.id, oldest.id) == (f"{TRACE}:{span_id(3)}", f"{TRACE}:{span_id(1)}")


def test_an_agent_within_an_agent_is_no_run():
    newest, _oldest = runs_of(two_in_one_trace())
    assert [s.name for s in newest.spans] == ["invoke_agent travel", "invoke_agent helper"]


def test_a_workflow_is_a_run():
    spans = [
        span(1, 0, "invoke_workflow crew", 0, 9, WORKFLOW),
        span(2, 1, "invoke_agent a", 0, 5, AGENT),
    ]
    (run,) = runs_of(spans)
    assert run.agent == "crew"


def test_a_plain_model_call_is_a_run():
    (run,) = runs_of([span(1, 0, "chat model-x", 0, 2, {**CHAT, **usage(10, 5)})])
    assert (run.id, run.agent, len(run.steps), run.input_tokens) == (TRACE, "chat model-x", 1, 10)


def test_spans_without_their_parent_are_shown_together():
    (run,) = runs_of([span(2, 1, "chat model-x", 0, 2, CHAT), span(3, 1, "chat model-x", 2, 3, CHAT)])
    assert (len(run.roots), len(run.steps), run.duration_s) == (2, 2, 3.0)


def test_spans_that_are_their_own_ancestors_are_no_run():
    assert runs_of([span(1, 2, "a", 0, 1), span(2, 1, "b", 0, 1)]) == []
    assert len(runs_of([span(1, 1, "a", 0, 1)])) == 1


def test_a_run_is_counted():
    (run,) = runs_of(travel())
    assert (len(run.steps), len(run.tool_calls), len(run.errors)) == (2, 2, 1)
    assert (run.input_tokens, run.output_tokens, run.duration_s) == (3504, 388, 41.2)


def test_a_model_call_within_a_model_call_is_no_step_and_no_usage():
    inner = span(3, 2, "chat model-x", 1, 2, {**CHAT, **usage(10, 5)})
    (run,) = runs_of([span(2, 0, "chat model-x", 0, 3, {**CHAT, **usage(10, 5)}), inner])
    assert (len(run.steps), run.input_tokens) == (1, 10)


def test_usage_on_the_agent_is_not_counted_twice():
    agent = span(1, 0, "invoke_agent travel", 0, 3, {**AGENT, **usage(10, 5)})
    (run,) = runs_of([agent, span(2, 1, "chat model-x", 0, 3, {**CHAT, **usage(10, 5)})])
    assert run.input_tokens == 10


def test_unknown_usage_is_unknown():
    (run,) = runs_of([span(1, 0, "chat model-x", 0, 2, CHAT)])
    assert run.input_tokens is None


def test_totals_of_the_root_stand_in_for_missing_usage():
    (run,) = runs_of([span(1, 0, "invoke_agent travel", 0, 2, {**AGENT, "nexus.usage.input_tokens": 7})])
    assert run.input_tokens == 7


@pytest.mark.parametrize(
    ("more", "status", "died"),
    [
        ({}, "ok", False),
        ({"status": 2}, "error", False),
        ({"status": 2, "died": True}, "error", True),
        ({"end_ns": None, "open": True}, "open", False),
    ],
)
def test_status(more, status, died):
    (run,) = runs_of([span(1, 0, "invoke_agent travel", 0, 2, AGENT, **more)])
    assert (run.status, run.died) == (status, died)


def test_an_open_run_has_lasted_until_its_last_sign_of_life():
    spans = [
        span(1, 0, "invoke_agent travel", 0, None, AGENT, open=True),
        span(2, 1, "chat", 1, 4, CHAT),
    ]
    (run,) = runs_of(spans)
    assert run.duration_s == 4.0


def test_a_tool_that_says_it_failed_has_failed():
    assert has_failed(span(1, 0, "execute_tool x", 0, 1, {**TOOL, "nexus.tool.failed": True}))


def test_the_service_names_an_agent_without_a_name():
    (run,) = runs_of([span(1, 0, "invoke_agent", 0, 2, {"gen_ai.operation.name": "invoke_agent"})])
    assert run.agent == "svc"


# -- what a person means -------------------------------------------------------------------------------


def many():
    return runs_of([span(n, 0, "chat", n, n + 1, CHAT, trace_id=f"{n:08x}" + "0" * 24) for n in range(3)])


def test_last_is_the_newest():
    assert select(many(), "last").id.startswith("00000002")


def test_a_beginning_names_a_run():
    assert select(many(), "00000001").id == "00000001" + "0" * 24


def test_a_beginning_of_several_is_said_with_their_names():
    with pytest.raises(AmbiguousError, match="0000 means 3 runs: 00000002, 00000001, 00000000"):
        select(many(), "0000")


def test_three_characters_are_too_few():
    with pytest.raises(AmbiguousError, match="at least 4"):
        select(many(), "000")


@pytest.mark.parametrize("name", ["ffff", "zzzz", "00000001:ff", "last one"])
def test_no_such_run(name):
    with pytest.raises(NothingFoundError, match=name):
        select(many(), name)


def test_a_run_in_a_trace_of_several_is_named_by_both_beginnings():
    runs = runs_of(two_in_one_trace())
    assert select(runs, f"{TRACE[:8]}:{span_id(3)[:8]}").root.span_id == span_id(3)
    assert len(matching(runs, TRACE)) == 2


def test_short_ids_grow_until_they_tell_runs_apart():
    runs = runs_of([span(1, 0, "chat", n, 1, CHAT, trace_id=f"{'a' * 11}{n}{'0' * 20}") for n in (1, 2)])
    assert set(short_ids(runs).values()) == {"aaaaaaaaaaa1", "aaaaaaaaaaa2"}


def test_since_takes_lengths_of_time_and_dates():
    now = datetime.fromtimestamp(START / 1e9, UTC)
    assert since("2h", now) == START - 7200 * 10**9
    assert since("30m", now) == START - 1800 * 10**9
    assert since("1970-01-01T00:00:10+00:00", now) == 10 * 10**9


@pytest.mark.parametrize("text", ["soon", "2x", "", "2026-13-01", "99999999999999d"])
def test_since_takes_nothing_else(text):
    with pytest.raises(AmbiguousError, match="--since"):
        since(text, datetime.now(UTC))
