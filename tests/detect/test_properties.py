"""What holds for every run: the counters of cycles are exact, and what brings something new is no loop."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from nexus_otel.detect.facts import ToolFacts
from nexus_otel.detect.model import SpanView
from nexus_otel.detect.repeating import Call, Window
from nexus_otel.detect.thresholds import Thresholds
from tests.detect.dsl import run

LIMITS = Thresholds()


def calls(letters):
    for n, letter in enumerate(letters):
        span = SpanView("a" * 32, f"{n:016x}", "", "", n, n, {})
        yield Call(ToolFacts(letter, letter, letter), span, letter, n, 0, 0)


def naive(letters):
    """The shortest period of which the end of the text is three full repeats of more than one letter."""
    for period in range(2, LIMITS.longest_cycle + 1):
        tail = letters[-3 * period :]
        if len(tail) == 3 * period and tail == tail[:period] * 3 and len(set(tail)) > 1:
            return period
    return None


@given(st.text(alphabet="abc", min_size=1, max_size=60))
@settings(max_examples=300)
def test_cycles_are_counted_exactly(letters):
    window = Window(0)
    for n, call in enumerate(calls(letters), 1):
        window.add(call, LIMITS)
        assert window.cycle(LIMITS) == naive(letters[:n])


@given(st.text(alphabet="abcd", min_size=1, max_size=4), st.integers(3, 20))
def test_a_cycle_is_still_one_after_more_calls_than_are_kept(letters, repeats):
    window = Window(0)
    for call in calls(letters * repeats * 5):
        window.add(call, LIMITS)
    assert len(window.tail) <= 64
    assert sum(window.there.values()) == len(window.tail)
    assert window.cycle(LIMITS) == naive(letters * 12)


@given(st.lists(st.tuples(st.sampled_from(["search", "read", "edit"]), st.integers(0, 2)), max_size=25), st.booleans())
@settings(max_examples=40)
def test_answers_that_are_ever_new_are_no_loop(steps, content):
    one = run(content=content)
    for n, (tool, given_) in enumerate(steps):
        one.step(tool, {"q": given_}, f"answer number {n}")
    assert one.find() == []


@given(st.recursive(st.text(max_size=30) | st.integers() | st.none(), lambda inner: st.dictionaries(st.text(), inner)))
@settings(max_examples=60)
def test_any_arguments_and_answers_repeat_as_themselves(value):
    one = run(ours=False).steps(3, "search", {"value": value}, "a page")
    assert [finding.mode for finding in one.find()] == ["loop"]
