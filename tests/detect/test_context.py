"""Full contexts: levels, pace, overflow errors, silent cuts, the step that added most; and what only looks like it."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nexus_otel import semconv
from nexus_otel.detect import Limits, examine
from nexus_otel.genai.operations import Failure
from tests.detect.dsl import modes, run, told

KNOWN = pytest.mark.parametrize(
    ("ours", "content"), [(True, True), (True, False), (False, True)], ids=["ours", "facts", "foreign"]
)
MODEL = "claude-sonnet-4-5"
LIMIT = 200_000
LONG = "a line of the log that says little\n" * 30


def reading(*tokens, named=MODEL, answer=LONG, **how):
    """A run that reads one page after another; the prompt of each step has so many tokens."""
    one = run(**how)
    for page, count in enumerate(tokens):
        one.model("", ("read_page", {"page": page}), tokens=(count, 20), named=named)
        one.tool("read_page", {"page": page}, f"{page}: {answer}")
    return one


def overflows(found):
    return [finding for finding in found if finding.mode == "context_overflow"]


def refused(text, kind="invalid_request_error", code=None):
    return Failure(kind, text, code)


# -- how full it is ----------------------------------------------------------------------------------------------------


@KNOWN
def test_a_context_that_fills_is_told_once(ours, content):
    (found,) = reading(40_000, 80_000, 120_000, 161_000, 165_000, 182_000, 191_000, ours=ours, content=content).find()
    assert (found.mode, found.level, found.data["limit"]) == ("context_overflow", "warning", LIMIT)
    assert found.title.startswith("the context is 96% full: 191,000 of 200,000 tokens")
    assert found.data["trend"][-1] == 191_000


def test_each_level_is_an_update_of_the_same_finding():
    spans = reading(161_000, 165_000, 181_000, 191_000, 199_500).spans()
    counts = []
    for end in range(2, len(spans) + 1):
        counts += [finding.count for finding in examine(spans[:end])]
    assert counts == sorted(counts)
    assert counts[-1] == 4
    assert examine(spans)[0].data["why"] == "full"


def test_a_large_but_flat_prompt_is_fine():
    assert reading(*(150_000 + n for n in range(12)), answer="ok").find() == []


def test_a_small_prompt_that_hardly_grows_is_fine():
    assert reading(*(20_000 + 30 * n for n in range(12)), answer="ok").find() == []


def test_a_model_that_is_not_known_is_not_guessed():
    assert reading(161_000, 181_000, 199_000, named="our-own-model").find() == []


def test_the_user_says_what_a_model_takes():
    (found,) = reading(5_000, 8_500, named="our-own-model-v2").find(limits=Limits({"our-own-model": 10_000}))
    assert (found.data["limit"], found.data["tokens"]) == (10_000, 8_500)


def test_a_prompt_over_what_a_person_allows_is_told():
    (found,) = reading(5_000, 12_000).find(limits=Limits({MODEL: 10_000}))
    assert found.data["why"] == "full"


def test_a_prompt_that_went_through_shows_that_the_limit_is_higher():
    """Anthropic's beta of a million tokens, for one."""
    assert reading(120_000, 130_000, 400_000, 600_000, 610_000).find() == []


def test_the_answered_model_tells_the_limit_of_a_deployment():
    one = run()
    one.model(
        "", ("t", {}), named="our-deployment", tokens=(110_000, 5), **{semconv.RESPONSE_MODEL: "gpt-4o-2024-08-06"}
    )
    (found,) = one.find()
    assert found.data["limit"] == 128_000


def test_the_framework_tells_the_limit_of_a_model_that_nobody_else_knows():
    window = {semconv.CONTEXT_WINDOW: 10_000}
    (found,) = run().model("", named="our-own-model", tokens=(8_500, 5), **window).find()
    assert found.data["limit"] == 10_000
    (found,) = run().model("", named=MODEL, tokens=(170_000, 5), **window).find()
    assert found.data["limit"] == LIMIT
    assert run().model("", named="our-own-model", tokens=(8_500, 5), **{semconv.CONTEXT_WINDOW: 7}).find() == []


def test_output_that_is_asked_for_is_taken_from_a_shared_window():
    one = run().model("", named="gpt-4o", tokens=(95_000, 5), **{semconv.REQUEST_MAX_TOKENS: 16_000})
    (found,) = one.find()
    assert found.data["limit"] == 112_000
    assert run().model("", named="gpt-4o", tokens=(95_000, 5)).find() == []
    assert run().model("", named="gpt-5", tokens=(195_000, 5), **{semconv.REQUEST_MAX_TOKENS: 100_000}).find() == []


def test_tokens_of_the_cache_count_where_they_were_left_out():
    cached = {semconv.USAGE_CACHE_READ: 170_000}
    (found,) = run(ours=False).model("", named=MODEL, tokens=(3_000, 5), **cached).find()
    assert found.data["tokens"] == 173_000
    assert run().model("", named=MODEL, tokens=(150_000, 5), **{semconv.USAGE_CACHE_READ: 140_000}).find() == []


# -- how soon it is full -----------------------------------------------------------------------------------------------


@KNOWN
def test_a_context_that_is_soon_full(ours, content):
    (found,) = reading(25_000, 50_000, 75_000, 100_000, 125_000, ours=ours, content=content).find()
    assert found.title.startswith("at this pace the context is full in 3 steps: 125,000 of 200,000 tokens now")


def test_one_jump_is_no_pace():
    found = reading(90_000, 90_500, 91_000, 130_000, 130_400, 131_000).find(context_step=0.5)
    assert found == []


def test_prompts_of_a_batch_have_no_pace():
    one = run()
    for tokens in (100_000, 110_000, 125_000, 135_000, 150_000):
        one.messages.clear()
        one.user("classify this").model("done", named=MODEL, tokens=(tokens, 5))
    assert one.find() == []


# -- overflow errors ---------------------------------------------------------------------------------------------------

REFUSALS = [
    ("prompt is too long: 212000 tokens > 200000 maximum", None, 212_000, 200_000),
    (
        "This model's maximum context length is 128000 tokens. However, your messages resulted in 130212 tokens.",
        "context_length_exceeded", 130_212, 128_000,
    ),
    ("Input is too long for requested model.", None, None, None),
    ("the request exceeds the available context size. try increasing the context size", None, None, None),
]  # fmt: skip


@KNOWN
@pytest.mark.parametrize("refusal", REFUSALS, ids=range(len(REFUSALS)))
def test_an_overflow_error(refusal, ours, content):
    text, code, tokens, limit = refusal
    one = reading(50_000, 60_000, named="our-own-model", ours=ours, content=content)
    one.model(error=refused(text, code=code), named="our-own-model")
    (found,) = one.find(failed=True)
    assert (found.mode, found.level, found.data["why"]) == ("context_overflow", "error", "overflow")
    assert (found.data["tokens"], found.data["limit"]) == (tokens, limit)
    assert found.span_id == found.evidence[-1] == one.closed[-2].span_id


def test_an_overflow_after_a_warning_is_one_finding():
    one = reading(150_000, 165_000, 185_000).model(error=refused(REFUSALS[0][0]), named=MODEL)
    (found,) = one.find(failed=True)
    assert (found.level, found.count) == ("error", 3)


def test_a_retry_after_an_overflow_stays_one_finding():
    one = reading(50_000)
    for _ in range(4):
        one.model(error=refused(REFUSALS[0][0]), named=MODEL)
    (found,) = one.find(failed=True)
    assert found.count == 4


def test_an_error_teaches_the_limit():
    limits = Limits()
    one = reading(50_000, named="our-own-model").model(error=refused(REFUSALS[1][0]), named="our-own-model")
    one.find(limits=limits)
    (found,) = reading(50_000, 110_000, named="our-own-model").find(limits=limits)
    assert (found.level, found.data["limit"]) == ("warning", 128_000)


def test_a_finish_reason_says_that_the_window_is_full():
    (found,) = (
        reading(50_000).model("cut", finish="model_context_window_exceeded", named=MODEL, tokens=(199_000, 9)).find()
    )
    assert (found.level, found.data["why"]) == ("error", "overflow")


@pytest.mark.parametrize(
    "text",
    ["rate limit reached: 200000 tokens per minute", "max_tokens: 9000 > 8192, the most output of this model", "no"],
)
def test_other_refusals_are_none(text):
    assert overflows(reading(50_000).model(error=refused(text), named=MODEL).find()) == []


# -- silent cuts -------------------------------------------------------------------------------------------------------


@KNOWN
def test_a_prompt_that_falls_while_messages_are_added(ours, content):
    (found,) = reading(30_000, 60_000, 25_000, 27_000, ours=ours, content=content).find()
    assert found.title == "the prompt fell from 60,000 to 25,000 tokens though no message was taken out"


@KNOWN
def test_a_prompt_that_stays_flat_while_much_is_added(ours, content):
    one = reading(2_000, 3_900, 4_095, 4_096, 4_096, 4_096, 4_096, named="llama-small", ours=ours, content=content)
    (found,) = one.find()
    assert found.title == "3 calls in a row were counted 4,096 tokens though messages were added"


def test_usage_that_is_made_up_is_no_cut():
    assert reading(*[100] * 8).find() == []


def test_compaction_is_no_cut():
    one = run()
    for pages in ((50_000, 70_000, 90_000, 110_000), *[(40_000, 70_000, 100_000, 125_000)] * 3):
        for page, tokens in enumerate(pages):
            one.step("read_page", {"page": page}, f"{page}: {LONG}")
            one.closed[-2].attributes |= {semconv.REQUEST_MODEL: MODEL, semconv.USAGE_INPUT: tokens}
        del one.messages[1:]
        one._measured, one._size = 0, 0
        one.user("Summary of what was done.")
    assert overflows(one.find()) == []


def test_another_conversation_of_the_same_agent_is_no_cut():
    one = run()
    for n in range(6):
        kept = list(one.messages)
        one.step("read_page", {"page": n}, f"{n}: {LONG}")
        one.closed[-2].attributes |= {semconv.REQUEST_MODEL: MODEL, semconv.USAGE_INPUT: 60_000 + 9_000 * n}
        grown, one.messages = one.messages, kept[:1]
        one._measured, one._size = 0, 0
        one.model("a title", named=MODEL, tokens=(200, 5))
        one.messages, one._measured, one._size = grown, 0, 0
    assert overflows(one.find()) == []


def test_reasoning_that_is_dropped_at_a_new_turn_is_no_cut():
    one = reading(30_000, 60_000).model("Done.", named=MODEL, tokens=(64_000, 500))
    assert one.user("And now?").model("Nothing.", named=MODEL, tokens=(22_000, 5)).find() == []


def test_agents_are_looked_at_apart():
    one = run()
    one.step("read_page", {}, LONG)
    one.closed[-2].attributes |= {semconv.REQUEST_MODEL: MODEL, semconv.USAGE_INPUT: 150_000}
    with one.agent("writer"):
        one.step("read_page", {}, LONG)
        one.closed[-2].attributes |= {semconv.REQUEST_MODEL: MODEL, semconv.USAGE_INPUT: 1_500}
    assert overflows(one.find()) == []


# -- the step that added most ------------------------------------------------------------------------------------------


def test_the_tool_that_filled_the_context_is_named():
    one = run().step("search", {"q": "x"}, "short", seconds=0.1)
    one.model("", ("read_file", {"path": "log"}), ("list", {}), named=MODEL, tokens=(20_000, 5))
    one.tool("read_file", {"path": "log"}, LONG * 40).tool("list", {}, "few")
    one.model("ok", named=MODEL, tokens=(170_000, 5))
    (found,) = one.find()
    assert found.title.endswith("; read_file added 150,000 at once")
    assert found.advice == "shorten what read_file gives back"
    assert one.closed[3].span_id in found.evidence


def test_a_great_step_far_from_the_limit_is_worth_a_note():
    (found,) = reading(10_000, 70_000, 71_000).find()
    assert (found.level, found.data["why"]) == ("info", "step")
    assert found.title == "the context is 35% full: 70,000 of 200,000 tokens; read_page added 60,000 at once"


def test_without_content_several_tools_are_named_together():
    one = run(content=False)
    one.model("", ("a", {}), ("b", {}), named=MODEL, tokens=(10_000, 5)).tool("a", {}, "x").tool("b", {}, "y")
    (found,) = one.model("ok", named=MODEL, tokens=(170_000, 5)).find()
    assert found.data["largest"]["tools"] == ["a", "b"]
    assert found.advice is None


# -- whatever comes ----------------------------------------------------------------------------------------------------


@given(st.lists(st.integers(0, 159_999), max_size=12), st.lists(st.booleans(), min_size=12, max_size=12))
@settings(max_examples=60, deadline=None)
def test_below_the_limit_it_is_never_said_to_be_reached(tokens, new):
    one = run(content=False)
    for count, is_new in zip(tokens, new, strict=False):
        if is_new:
            one.messages.clear()
            one._measured, one._size = 0, 0
        one.step("read", {}, LONG)
        one.closed[-2].attributes |= {semconv.REQUEST_MODEL: MODEL, semconv.USAGE_INPUT: count}
    found = overflows(one.find())
    assert len(found) <= 1
    assert all(finding.data["why"] in {"projection", "cut", "step"} for finding in found)


@given(st.lists(st.integers(0, 300_000), min_size=1, max_size=12))
@settings(max_examples=60, deadline=None)
def test_one_conversation_is_one_finding(tokens):
    spans = reading(*tokens, content=False).spans()
    assert len(overflows(examine(spans))) <= 1
    assert overflows(examine(spans[::-1])) == overflows(examine(spans))


@pytest.mark.parametrize("value", [None, "many", -4, 10**30, 2.5, True, [1], float("nan")])
def test_absurd_numbers_never_raise(value):
    names = [semconv.USAGE_INPUT, semconv.MESSAGE_COUNT, semconv.MESSAGE_BYTES, semconv.CONTEXT_LIMIT,
             semconv.USAGE_CACHE_READ, semconv.REQUEST_MAX_TOKENS, semconv.USAGE_OUTPUT]  # fmt: skip
    for name in names:
        one = reading(10_000).model("", named=MODEL, tokens=(20_000, 5), **{name: value})
        one.model(error=refused(REFUSALS[0][0]), named=MODEL, **{name: value})
        assert modes(one.find()) == ["context_overflow"]


def test_nothing_is_told_of_a_good_run():
    assert told(reading(10_000, 14_000, 16_000, 19_000).find()) == []
