"""Slow steps: against what they usually take, with the cause; gaps; and what is slow by nature."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nexus_otel import semconv
from nexus_otel.detect import Baselines, covering, examine
from nexus_otel.detect.critical import critical_path, steps_of
from tests.detect.dsl import modes, run, told

KNOWN = pytest.mark.parametrize(
    ("ours", "content"), [(True, True), (True, False), (False, True)], ids=["ours", "facts", "foreign"]
)


def usually(**seconds):
    """Baselines of tools that take so long, more or less."""
    known = Baselines()
    for n in range(20):
        for tool, usual in seconds.items():
            known.add("execute_tool", tool, usual * (0.8 + 0.02 * n), None)
    return known


def models(seconds_a_token=0.02, first=1.0, named="a-model"):
    """Baselines of a model with answers of 10 to 960 tokens."""
    known = Baselines()
    for n in range(20):
        tokens = 10 + 50 * n
        known.add("chat", named, first + seconds_a_token * tokens * (0.9 + 0.01 * n), tokens)
    return known


def spikes(found):
    return [finding for finding in found if finding.mode == "latency_spike"]


# -- tools -------------------------------------------------------------------------------------------------------------


@KNOWN
def test_a_tool_that_takes_much_longer_than_it_does(ours, content):
    one = run(ours=ours, content=content).step("search", {"q": "x"}, "found", seconds=14.0).model("Done.")
    (found,) = one.find(baselines=usually(search=1.0))
    assert (found.mode, found.level, found.data["why"]) == ("latency_spike", "warning", "tool")
    assert found.title == "execute_tool search took 14.0 s, 14.1 times the usual: 1.0 s; cause: the tool"
    assert found.span_id == one.closed[1].span_id


@pytest.mark.parametrize(
    ("usual", "seconds"),
    [(1.0, 3.9), (1.0, 5.5), (0.01, 2.0), (40.0, 44.0), (40.0, 90.0), (0.001, 0.5)],
    ids=["under 4 times", "under 5 s more", "fast tool", "slow by nature", "twice a slow one", "500 times nothing"],
)
def test_what_is_not_slow_for_what_it_is(usual, seconds):
    assert run().step("search", {}, "found", seconds=seconds).find(baselines=usually(search=usual)) == []


def test_a_small_part_of_a_long_run_is_none():
    one = run()
    for n in range(20):
        one.step(f"build_{n}", {}, f"{n}", seconds=25.0)
    one.step("search", {"q": "x"}, "found", seconds=9.0)
    assert spikes(one.find(baselines=usually(search=1.0, **{f"build_{n}": 25.0 for n in range(20)}))) == []


def test_times_that_are_widely_spread_are_usual():
    known = Baselines()
    for n in range(30):
        known.add("execute_tool", "crawl", 2.0 ** (n % 6), None)
    assert run().step("crawl", {}, "x", seconds=30.0).find(baselines=known) == []


def test_no_history_has_hard_limits_only():
    assert run().step("build", {}, "ok", seconds=29.0).find() == []
    (found,) = run().step("build", {}, "ok", seconds=31.0).find()
    assert found.title == "execute_tool build took 31.0 s (no baseline yet); cause: the tool"


def test_a_new_tool_is_compared_with_the_others():
    known = usually(a=0.5, b=0.6)
    (found,) = run().step("new", {}, "x", seconds=12.0).find(baselines=known)
    assert (found.level, "what is usual for execute_tool" in found.title) == ("info", True)
    (found,) = run().step("new", {}, "x", seconds=40.0).find(baselines=known)
    assert found.level == "warning"


@pytest.mark.parametrize("tool", ["sleep", "wait_for", "ask_human", "human_input"])
def test_tools_that_wait_or_ask_a_person(tool):
    assert run().step(tool, {}, "ok", seconds=300.0).find() == []


def test_tools_that_may_be_slow():
    assert run().step("runBuild", {}, "ok", seconds=300.0).find(slow_ok=frozenset({"runbuild"})) == []


def test_a_tool_of_which_nobody_watched_the_execution_is_a_note():
    one = run().step("search", {}, "x", seconds=400.0, **{semconv.DERIVED: True})
    (found,) = one.find(baselines=usually(search=1.0))
    assert (found.level, found.data["why"]) == ("info", "between")
    assert found.title.startswith("400.0 s between two model calls, in which search ran (no baseline yet)")


def test_an_agent_inside_a_tool_takes_its_own_time():
    one = run()
    one.model("", ("ask_expert", {}))
    tool = {semconv.OPERATION: "execute_tool", semconv.TOOL_NAME: "ask_expert"}
    with one.span("execute_tool ask_expert", **tool), one.agent("expert"):
        for n in range(4):
            one.step("look", {"n": n}, f"{n}", seconds=9.0)
    assert spikes(one.find(baselines=usually(look=9.0))) == []


def test_a_slow_tool_is_one_finding_however_often():
    one = run()
    for n in range(5):
        one.step("search", {"n": n}, f"{n}", seconds=12.0)
    (found,) = one.find(baselines=usually(search=1.0))
    assert (found.count, len(found.evidence)) == (5, 5)


def test_a_slow_call_that_failed_is_told_as_the_failure():
    one = run().step("search", {}, "Error: timed out", seconds=40.0, failed_=True).model("No.")
    assert told(one.find()) == ["latency_spike", "tool_error"]


# -- model calls -------------------------------------------------------------------------------------------------------


@KNOWN
def test_a_model_call_that_takes_longer_than_its_answer_explains(ours, content):
    one = run(ours=ours, content=content).model("Yes.", tokens=(100, 60), seconds=45.0)
    (found,) = one.find(baselines=models())
    assert (found.level, found.data["why"]) == ("warning", "model")
    assert "times what such an answer usually takes" in found.title
    assert found.data["usual_s"] == pytest.approx(2.0, abs=0.5)


def test_a_long_answer_takes_long():
    assert run().model("Long.", tokens=(100, 2_500), seconds=55.0).find(baselines=models()) == []
    assert run().model("Long.", tokens=(100, 3_000), seconds=75.0).find() == []


def test_no_history_of_a_model_has_a_hard_limit_only():
    assert run().model("Yes.", tokens=(100, 60), seconds=59.0).find() == []
    (found,) = run().model("Yes.", tokens=(100, 60), seconds=61.0).find()
    assert "no baseline yet" in found.title


def retried(*waits, cause="429"):
    """Retries of the SDK: the tries fail at once, the waits take the time."""
    at, events = 0.1, []
    for attempt, wait in enumerate(waits, 1):
        of = {semconv.RETRY_ATTEMPT: attempt, semconv.RETRY_WAIT: wait, semconv.RETRY_CAUSE: cause}
        events.append((semconv.RETRY_EVENT, at, of))
        at += wait + 0.1
    return events


CAUSES = [
    ({"events": retried(10.0, 15.0)}, "retry_backoff"),
    ({"events": [(semconv.RETRY_EVENT, 40.0, {semconv.RETRY_WAIT: 0.5})]}, "retry_backoff"),
    ({"events": retried(0.5)}, "model"),
    ({semconv.RESPONSE_FIRST_CHUNK: 38.0}, "queue_or_network"),
    ({semconv.RESPONSE_FIRST_CHUNK: 0.5}, "model"),
    ({}, "model"),
]


@pytest.mark.parametrize(("how", "cause"), CAUSES, ids=["waits", "a try timed out", "one wait", "queue", "tokens", "?"])
def test_the_cause(how, cause):
    (found,) = run().model("Yes.", seconds=45.0, **how).find(baselines=models())
    assert found.data["why"] == cause


def test_refusals_that_http_spans_tell():
    one = run(ours=False)
    call = {semconv.OPERATION: "chat", semconv.REQUEST_MODEL: "a-model", semconv.USAGE_OUTPUT: 60}
    with one.span("chat a-model", **call):
        for seconds, status in ((1.0, 429), (30.0, 503), (4.0, 200)):
            with one.span("POST", **{semconv.STATUS_CODE: status}):
                one.wait(seconds)
    (found,) = one.find(baselines=models())
    assert found.data["why"] == "retry_backoff"


# -- gaps and the critical path ----------------------------------------------------------------------------------------


def test_time_of_which_nothing_is_recorded():
    one = run().step("search", {}, "x").wait(14.0).step("search", {"q": "y"}, "y").model("Done.")
    (found,) = one.find()
    assert (found.level, found.title) == ("info", "14.0 s between two steps with nothing recorded")
    assert list(found.evidence) == [one.closed[1].span_id, one.closed[2].span_id]


def test_a_wait_before_each_step_is_no_gap():
    one = run()
    for n in range(6):
        one.step("search", {"q": n}, f"{n}").wait(14.0)
    assert one.model("Done.").find() == []


def test_time_inside_spans_of_others_is_no_gap():
    one = run().step("search", {}, "x")
    with one.span("index"):
        one.wait(30.0)
    assert one.model("Done.").find() == []


def test_tools_at_the_same_time_leave_no_gap():
    one = run().model("", ("a", {}), ("b", {}))
    one.tool("a", {}, "x", seconds=20.0).tool("b", {}, "x", seconds=2.0, at_once=True)
    assert one.model("Done.").find() == []


def test_the_critical_path():
    one = run().model("", ("a", {}), ("b", {}), seconds=2.0)
    one.tool("a", {}, "x", seconds=20.0).tool("b", {}, "x", seconds=3.0, at_once=True)
    one.model("", seconds=4.0).model("Done.", seconds=1.0)
    (found,) = one.find(baselines=usually(a=1.0, b=1.0))
    assert [(step["name"], step["share"]) for step in found.data["critical_path"]] == [
        ("execute_tool a", 0.741), ("chat a-model", 0.148), ("chat a-model", 0.074),
    ]  # fmt: skip
    path = critical_path(steps_of(one.closed))
    assert [step.name for step in path] == ["chat a-model", "execute_tool a", "chat a-model", "chat a-model"]


# -- baselines ---------------------------------------------------------------------------------------------------------


def test_what_is_usual_is_learnt_in_the_process():
    known = Baselines()
    for _ in range(10):
        assert run().step("search", {}, "x", seconds=2.0).find(baselines=known) == []
    (found,) = run().step("search", {}, "x", seconds=20.0).find(baselines=known)
    assert found.data["usual_s"] == 2.0


def test_baselines_are_kept_as_json():
    known = usually(search=1.0)
    again = Baselines(known.as_json())
    assert again.usual("execute_tool", "search", None) == known.usual("execute_tool", "search", None)
    assert again.take_new() == {}


@pytest.mark.parametrize(
    "stored",
    [None, [], 3, "x", {}, {"seconds": []}, {"seconds": {"a": 1, "b": [1, [2], [-1, 0], ["x", 1], [math.nan, 0]]}}],
)
def test_what_is_stored_badly_is_left_out(stored):
    assert Baselines(stored).usual("a", "b", 1) is None


def test_baselines_are_bounded():
    known = Baselines()
    for n in range(3_000):
        known.add("execute_tool", f"tool_{n}", 1.0, None)
    kept = known.as_json()["seconds"]
    assert 120 <= len(kept) <= 200
    assert "execute_tool" in kept
    assert max(len(values) for values in kept.values()) == 64
    assert len(known.take_new()) <= 200


# -- whatever comes ----------------------------------------------------------------------------------------------------


@given(st.lists(st.tuples(st.integers(0, 50), st.integers(0, 50)), max_size=30))
def test_what_children_cover(intervals):
    intervals = sorted(((min(pair), max(pair)) for pair in intervals), key=lambda pair: pair[1])
    covered = []
    for since, until in intervals:
        covering.add(covered, (since * 10**9, until * 10**9, "a", "b"))
    expected = {second for since, until in intervals for second in range(since, until)}
    assert covering.seconds(covered) == len(expected)


def test_many_children_keep_little():
    covered = []
    for n in range(10_000):
        covering.add(covered, (n * 10, n * 10 + 5, "a", "b"))
    assert len(covered) <= 256


@given(st.lists(st.floats(0.001, 4.9), max_size=20))
@settings(max_examples=50, deadline=None)
def test_short_steps_are_never_told(seconds):
    one = run(content=False)
    for n, taken in enumerate(seconds):
        one.step("search", {"q": n}, f"{n}", seconds=taken)
    assert spikes(one.find(baselines=usually(search=0.01))) == []


@given(st.permutations(range(10)))
@settings(max_examples=20, deadline=None)
def test_the_order_of_arrival_does_not_matter(order):
    one = run(content=False)
    for n in range(4):
        one.step("search", {"q": n}, f"{n}", seconds=1.0 if n != 2 else 25.0)
    spans = one.spans()
    known = usually(search=1.0).as_json()
    found = [
        examine(some, baselines=Baselines(known)) for some in (spans, [spans[at] for at in order if at < len(spans)])
    ]
    assert [finding.as_json() for finding in found[0]] == [finding.as_json() for finding in found[1]]
    assert modes(found[0]) == ["latency_spike"]


@pytest.mark.parametrize("value", [None, "long", -4, 10**30, True, [1], float("nan"), float("inf")])
def test_absurd_numbers_never_raise(value):
    one = run()
    for name in (semconv.USAGE_OUTPUT, semconv.RESPONSE_FIRST_CHUNK, semconv.STATUS_CODE):
        one.model(
            "Yes.", seconds=45.0, events=[(semconv.RETRY_EVENT, 1.0, {semconv.RETRY_WAIT: value})], **{name: value}
        )
    assert modes(one.find(baselines=models())) == ["latency_spike"]
