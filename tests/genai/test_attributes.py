"""Operations and results as attributes, what makes two histories the same, and what a recorder never emits."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nexus_otel import semconv
from nexus_otel.genai import attributes as of
from nexus_otel.genai.measure import fingerprints, message_bytes, text_bytes
from nexus_otel.genai.operations import (
    AgentRun,
    AgentTotals,
    Conversation,
    Failure,
    Inference,
    InferenceResult,
    Message,
    Retry,
    ToolCall,
    ToolResult,
    Usage,
    answered_calls,
)
from nexus_otel.normal import Hasher

HASHER = Hasher(b"key")


def text(*texts, role="user"):
    return Message(role, [{"type": "text", "content": t} for t in texts])


def answer(id_, response="2", **more):
    return {"type": "tool_call_response", "id": id_, "response": response, **more}


# -- nothing is never an attribute -------------------------------------------------------------------------------------

NOTHING = [
    of.inference_start(Inference("p", None, dict, Conversation)),
    of.inference_end(InferenceResult()),
    of.usage(Usage()),
    of.tool_start(ToolCall("t"), None),
    of.tool_end("t", ToolResult(None), HASHER),
    of.agent_start(AgentRun(None)),
    of.agent_end(AgentRun(None), AgentTotals(), with_usage=True),
    of.retry(Retry(1, "x"), 0.5),
    of.failure(Failure("x")),
]


@pytest.mark.parametrize("attributes", NOTHING, ids=range(len(NOTHING)))
def test_no_attribute_is_none(attributes):
    assert None not in attributes.values()


def test_known_nothing_is_kept():
    assert of.usage(Usage(0, 0)) == {"gen_ai.usage.input_tokens": 0, "gen_ai.usage.output_tokens": 0}


# -- model calls -------------------------------------------------------------------------------------------------------


def test_what_a_sampler_may_decide_on_is_there_at_the_start():
    operation = Inference("anthropic", "m", dict, Conversation, address="host", port=443, stream=True)
    assert of.inference_start(operation) == {
        "gen_ai.operation.name": "chat", "gen_ai.provider.name": "anthropic", "gen_ai.request.model": "m",
        "server.address": "host", "server.port": 443, "gen_ai.request.stream": True,
    }  # fmt: skip


def test_that_nothing_is_streamed_is_not_said():
    assert "gen_ai.request.stream" not in of.inference_start(Inference("p", "m", dict, Conversation))


def test_the_facts_of_a_request_are_its_count_and_bytes():
    messages = [text("ä", "b"), Message("tool", [answer("1", {"n": 12, "x": [True]})])]
    assert of.conversation_facts(Conversation(messages)) == {"nexus.message.count": 2, "nexus.message.bytes": 11}


def test_a_history_that_was_not_read_has_no_facts():
    assert of.conversation_facts(Conversation(None)) == {}


def test_content_is_left_out_where_there_is_none():
    assert of.conversation_content(Conversation()) == {}


def test_content_of_a_request():
    conversation = Conversation([text("x")], system=[{"type": "text", "content": "s"}], tools=[{"name": "t"}])
    assert set(of.conversation_content(conversation)) == {
        semconv.INPUT_MESSAGES, semconv.SYSTEM_INSTRUCTIONS, semconv.TOOL_DEFINITIONS,
    }  # fmt: skip


def test_finish_reasons_in_messages_only_where_asked_for():
    out = [text("a", role="assistant"), text("b", role="assistant")]
    assert of.output_messages(out, ("stop",), with_reasons=True)[0]["finish_reason"] == "stop"
    assert all("finish_reason" not in m for m in of.output_messages(out, ("stop",), with_reasons=False))


def test_a_missing_finish_reason_is_null_as_in_the_release():
    (message,) = of.output_messages([text("a", role="assistant")], (), with_reasons=True)
    assert message["finish_reason"] is None


@pytest.mark.parametrize(
    ("failed", "attributes"),
    [
        (Failure("rate_limit_error"), {"error.type": "rate_limit_error"}),
        (Failure("x", code="x"), {"error.type": "x"}),
        (Failure("x", code="y"), {"error.type": "x", "nexus.error.code": "y"}),
        (
            Failure("x", "prompt is too long: 7 tokens > 5 maximum"),
            {
                "error.type": "x", "nexus.error.class": "context_overflow",
                "nexus.context.tokens": 7, "nexus.context.limit": 5,
            },
        ),
        (Failure("x", "input is too long"), {"error.type": "x", "nexus.error.class": "context_overflow"}),
    ],
    ids=range(5),
)  # fmt: skip
def test_what_a_failure_says_without_its_words(failed, attributes):
    assert of.failure(failed) == attributes


@pytest.mark.parametrize(
    ("attributes", "message"),
    [
        ({}, None),
        ({semconv.ERROR_CLASS: "context_overflow"}, "context length exceeded"),
        ({semconv.ERROR_CLASS: "context_overflow", semconv.CONTEXT_LIMIT: 5}, "context length: more > 5"),
        (
            {semconv.ERROR_CLASS: "context_overflow", semconv.CONTEXT_LIMIT: 5, semconv.CONTEXT_TOKENS: 7},
            "context length: 7 > 5",
        ),
    ],
)
def test_our_own_words_for_a_failure(attributes, message):
    assert of.fixed_message(attributes) == message


# -- tools -------------------------------------------------------------------------------------------------------------


def test_facts_of_arguments():
    schema = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}
    facts = of.tool_arguments_facts(ToolCall("t", {"n": "x"}, schema=schema, known=True), HASHER)
    assert facts["nexus.tool.known"] is True
    assert facts["nexus.tool.schema_errors"] == ["type:n"]


def test_arguments_that_cannot_be_checked_are_no_error():
    facts = of.tool_arguments_facts(ToolCall("t", {"n": 1}, schema={"$ref": "http://x"}), HASHER)
    assert set(facts) == {"nexus.tool.call.arguments.hash"}


def test_arguments_as_text_are_read_as_the_object():
    """Problem 9: a model's arguments come as text in some libraries; the facts are those of the object."""
    schema = {"type": "object", "properties": {"n": {"type": "integer"}}}
    as_text = of.tool_arguments_facts(ToolCall("t", '{"n": 1}', schema=schema), HASHER)
    assert as_text == of.tool_arguments_facts(ToolCall("t", {"n": 1}, schema=schema), HASHER)


def test_facts_of_an_answer():
    assert of.tool_end("t", ToolResult("18 degrees"), HASHER) == {
        "nexus.tool.call.result.hash": HASHER.result("t", "18 degrees"),
        "nexus.tool.answer.form": "other",
        "nexus.tool.failed": False,
    }


@pytest.mark.parametrize(
    ("result", "how", "kind"),
    [
        (ToolResult("no such city", is_error=True), "status", "not_found"),
        (ToolResult({"error": "rate limit"}), "field", "rate_limit"),
        (ToolResult("ValueError: x"), "text", "bad_arguments"),
        (ToolResult([{"type": "text", "content": "Error: timed out"}]), "text", "timeout"),
    ],
)
def test_facts_of_a_failed_answer(result, how, kind):
    facts = of.tool_end("t", result, HASHER)
    assert (facts["nexus.tool.failed"], facts["nexus.tool.failed.how"], facts["nexus.tool.error.class"]) == (
        True,
        how,
        kind,
    )
    assert len(facts["nexus.tool.error.hash"]) == 16


def test_equal_errors_have_equal_hashes():
    first, second = (of.tool_end("t", ToolResult(f"Error: no city '{name}'"), HASHER) for name in ("Rome", "Oslo"))
    assert first["nexus.tool.error.hash"] == second["nexus.tool.error.hash"]


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ("text", "text"),
        ([{"type": "text", "content": "a"}, {"type": "text", "content": "b"}], "a b"),
        ({"b": 1, "a": 2}, '{"a":2,"b":1}'),
        ([1, 2], "[1,2]"),
    ],
    ids=range(4),
)
def test_an_answer_in_words(given, words):
    assert of.answer_text(given) == words


# -- runs --------------------------------------------------------------------------------------------------------------


def test_totals_of_a_run():
    totals = AgentTotals(steps=2, tool_calls=1, finish_reasons=("stop",), closed_by="idle")
    totals.add(Usage(10, 5))
    totals.add(Usage(None, 1))
    assert of.agent_end(AgentRun(None), totals, with_usage=False) == {
        "nexus.usage.input_tokens": 10, "nexus.usage.output_tokens": 6, "gen_ai.response.finish_reasons": ("stop",),
        "nexus.run.closed_by": "idle", "nexus.run.steps": 2, "nexus.run.tool_calls": 1,
    }  # fmt: skip


def test_totals_that_nobody_counted_are_unknown():
    totals = AgentTotals()
    totals.add(Usage())
    assert "nexus.usage.input_tokens" not in of.agent_end(AgentRun(None), totals, with_usage=True)


def test_answers_are_those_after_the_last_message_of_the_model():
    old, new = answer("1"), answer("2")
    history = [text("x"), text("y", role="assistant"), Message("user", [old]), text("z", role="assistant")]
    assert answered_calls(history) == []
    assert answered_calls([*history, Message("user", [new]), text("and")]) == [new]
    assert answered_calls(history[:3]) == [old]


def test_answers_keep_their_order():
    history = [Message("tool", [answer("1"), answer("2")]), Message("tool", [answer("3")])]
    assert [part["id"] for part in answered_calls(history)] == ["1", "2", "3"]


# -- histories ---------------------------------------------------------------------------------------------------------

parts = st.one_of(
    st.builds(lambda t: {"type": "text", "content": t}, st.text()),
    st.builds(lambda i, n: {"type": "tool_call", "id": i, "name": n, "arguments": {}}, st.text(), st.text()),
    st.builds(answer, st.text(), st.text() | st.lists(st.text()) | st.dictionaries(st.text(), st.integers())),
)
messages = st.lists(st.builds(Message, st.sampled_from(["user", "assistant"]), st.lists(parts, max_size=3)), max_size=6)


@given(messages, messages)
def test_a_history_that_goes_on_begins_with_the_same_fingerprints(before, after):
    assert fingerprints([*before, *after])[: len(before)] == fingerprints(before)


@given(messages)
def test_there_is_a_fingerprint_for_each_message(history):
    assert len(fingerprints(history)) == len(history)


@pytest.mark.parametrize(
    "other",
    [
        [text("b")],
        [text("a", role="assistant")],
        [text("a", "a")],
        [Message("user", [answer("1")])],
        [Message("user", [answer("2", "3")])],
        [Message("user", [answer("2", ["a"])])],
        [Message("user", [{"type": "tool_call", "id": "1", "name": "t"}])],
        [],
    ],
    ids=range(8),
)
def test_other_histories_have_other_fingerprints(other):
    history = [text("a")]
    assert fingerprints([*history, text("z")])[-1] != fingerprints([*other, text("z")])[-1]


def test_answers_to_different_calls_are_different_histories():
    one, two = ([Message("user", [answer(id_)])] for id_ in ("1", "2"))
    assert fingerprints(one) != fingerprints(two)


def test_calls_of_different_ids_are_different_histories():
    call = {"type": "tool_call", "name": "t", "arguments": {}}
    one, two = ([Message("assistant", [{**call, "id": id_}])] for id_ in ("1", "2"))
    assert fingerprints(one) != fingerprints(two)


def test_content_that_cannot_be_hashed_is_no_error():
    assert (
        len(
            fingerprints([Message("user", [answer("1", [{"a": {1, 2}}, object()]), {"type": "text", "content": None}])])
        )
        == 1
    )


@given(st.text(st.characters(exclude_categories=())))
def test_bytes_are_those_of_utf8(given_text):
    assert text_bytes(given_text) == len(given_text.encode("utf-8", "surrogatepass"))


def test_ids_names_and_types_are_not_counted():
    call = {"type": "tool_call", "id": "x" * 100, "name": "y" * 100, "arguments": {"ab": "cde"}}
    assert message_bytes([Message("assistant", [call])]) == 5


def test_content_that_holds_itself_can_be_measured():
    ring = {}
    ring["me"] = ring
    assert message_bytes([Message("user", [answer("1", ring)])]) >= 0


# -- names -------------------------------------------------------------------------------------------------------------


def test_every_name_of_ours_is_in_the_table():
    ours = {value for name, value in vars(semconv).items() if name.isupper() and str(value).startswith("nexus.")}
    assert ours - set(semconv.OWN) == set()


def test_every_name_of_ours_has_a_type_and_a_meaning():
    kinds = {own.kind for own in semconv.OWN.values()}
    assert kinds <= {"bool", "int", "double", "string", "string[]", "event"}
    assert all(own.meaning for own in semconv.OWN.values())


def test_no_name_is_one_that_must_not_be_emitted():
    from tests.kit.conventions import _FORBIDDEN

    names = {v for n, v in vars(semconv).items() if isinstance(v, str) and n.isupper() and n != "TOKEN_TYPE"}
    assert [name for name in names if _FORBIDDEN.match(name)] == []


def test_the_metrics_are_those_of_the_conventions():
    names = {metric.name for metric in semconv.MAIN_METRICS.values()}
    assert "gen_ai.client.token.usage" not in names
    assert {m.name for m in semconv.PKG_METRICS.values()} >= {
        "gen_ai.client.operation.duration", "gen_ai.client.token.usage",
    }  # fmt: skip


def test_the_buckets_are_those_of_the_conventions():
    assert (
        pytest.approx([0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92])
        == semconv.SECONDS
    )
    assert tuple(4.0**n for n in range(14)) == semconv.TOKENS
