"""What may be captured of prompts and answers: modes, redaction, blobs, limits, and the place beside the span."""

from __future__ import annotations

import json
from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nexus_otel import _guard, semconv
from nexus_otel.config import SettingError, from_env
from nexus_otel.genai import content as module
from nexus_otel.genai.content import STORE_SPAN_BYTES, Beside, Content, Redaction, beside, fitted, without_blobs
from tests.kit.conventions import message_violations
from tests.kit.fixtures import failures_allowed

INPUT, OUTPUT = semconv.INPUT_MESSAGES, semconv.OUTPUT_MESSAGES
ARGUMENTS, RESULT = semconv.TOOL_ARGUMENTS, semconv.TOOL_RESULT


def content(hook=None, mode="SPAN_ONLY", **environment):
    variable = {"OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT": mode} if mode else {}
    return Content(from_env({**variable, **environment})[0], hook)


def said(*texts):
    return [{"role": "user", "parts": [{"type": "text", "content": text}]} for text in texts]


def texts(captured):
    return [part["content"] for message in json.loads(captured) for part in message["parts"]]


# -- modes -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("mode", "spans", "events", "event"),
    [
        (None, False, False, False),
        ("NO_CONTENT", False, False, False),
        ("SPAN_ONLY", True, False, False),
        ("span_only", True, False, False),
        ("EVENT_ONLY", False, True, True),
        ("SPAN_AND_EVENT", True, True, True),
    ],
)
def test_modes_say_where_content_goes(mode, spans, events, event):
    chosen = content(mode=mode)
    assert (chosen.on_spans, chosen.on_events, chosen.event) == (spans, events, event)
    assert chosen.wanted == (spans or events)


@pytest.mark.parametrize(("value", "event"), [("true", True), ("false", False)])
@pytest.mark.parametrize("mode", ["NO_CONTENT", "SPAN_AND_EVENT"])
def test_the_event_can_be_asked_for_by_itself(mode, value, event):
    assert content(mode=mode, OTEL_INSTRUMENTATION_GENAI_EMIT_EVENT=value).event is event


@pytest.mark.parametrize("mode", ["true", "1", "all", "SPAN"])
def test_any_other_mode_captures_nothing_and_is_told(mode):
    settings, problems = from_env({"OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT": mode})
    assert not Content(settings).wanted
    assert "SPAN_AND_EVENT" in problems[0]


def test_content_goes_beside_the_span_where_there_is_a_local_store(monkeypatch):
    monkeypatch.setattr(beside, "wanted", True)
    assert content(mode=None).to_store
    assert content(mode=None).wanted
    assert not content(mode="NO_CONTENT").wanted
    assert not content(mode="SPAN_ONLY").to_store


@pytest.mark.parametrize(
    ("mode", "variables", "aloud"),
    [
        (None, {}, False),
        ("NO_CONTENT", {}, False),
        ("EVENT_ONLY", {}, False),
        ("SPAN_ONLY", {}, True),
        (None, {"NEXUS_ERROR_MESSAGES": "true"}, True),
    ],
)
def test_messages_of_errors_ride_on_spans_like_content_or_when_asked_for(mode, variables, aloud):
    assert content(mode=mode, **variables).messages_of_errors is aloud


# -- forms -------------------------------------------------------------------------------------------------------------


def test_a_text_of_a_tool_stays_that_text():
    assert content().capture({RESULT: "18 °C", ARGUMENTS: '{"a": 1}'}) == {RESULT: "18 °C", ARGUMENTS: '{"a": 1}'}


def test_an_object_is_json():
    assert content().capture({ARGUMENTS: {"a": [1, None]}}) == {ARGUMENTS: '{"a":[1,null]}'}


def test_structured_content_is_objects():
    found = content().structured({INPUT: said("x"), semconv.TOOL_DEFINITIONS: [{"name": "a"}]})
    assert found == {INPUT: said("x"), semconv.TOOL_DEFINITIONS: [{"name": "a"}]}


def test_nothing_gives_nothing():
    assert content().capture({}) == {}


# -- redaction ---------------------------------------------------------------------------------------------------------

B64 = "A" * 40
SECRETS = [
    "sk-proj-" + "a1B2" * 8,
    "sk-ant-api03-" + "x" * 30,
    "AKIAIOSFODNN7EXAMPLE",
    "ASIAIOSFODNN7EXAMPLE",
    "ghp_" + "a" * 36,
    "ghs_" + "a" * 36,
    "github_pat_" + "a" * 40,
    "xoxb-123456789012-abcdef",
    "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.c2lnbmF0dXJlLXh5",
    "AIza" + "b" * 35,
    "glpat-" + "c" * 20,
    "nxs_" + "d" * 20,
]


@pytest.mark.parametrize("secret", SECRETS)
@pytest.mark.parametrize("around", ["{}", "the key is {}.", "key={}&x=1", "({})", "a {} b {} c", "{}\nnext"])
def test_keys_and_tokens_are_redacted(secret, around):
    found = Redaction().text(around.replace("{}", secret))
    assert secret not in found
    assert "[redacted]" in found


@pytest.mark.parametrize("secret", SECRETS)
@pytest.mark.parametrize("before", ["", " ", "\n", "\t", '"', "'", "=", "键", "\\", "\r\n", "\x00"], ids=repr)
def test_keys_and_tokens_are_redacted_in_captured_messages(secret, before):
    captured = content().capture({INPUT: said(f"use this:{before}{secret}")})[INPUT]
    assert secret not in captured
    assert texts(captured)[0].endswith("[redacted]")


def test_a_bearer_token_is_redacted_and_the_scheme_stays():
    assert Redaction().text("Authorization: Bearer abcdefghijklmnop1234") == "Authorization: Bearer [redacted]"
    assert Redaction().text("authorization: bearer abcdefghijklmnop1234") == "authorization: bearer [redacted]"


KEY = "-----BEGIN RSA PRIVATE KEY-----\nMIIE" + B64 + "\n" + B64 + "\n-----END RSA PRIVATE KEY-----"


def test_a_private_key_is_redacted_with_all_its_lines():
    captured = content().capture({INPUT: said(f"here: {KEY} bye")})[INPUT]
    assert texts(captured) == ["here: [redacted] bye"]


@pytest.mark.parametrize("length", [100, 9_000, 100_000])
def test_a_private_key_without_an_end_is_redacted_and_the_rest_stays_json(length):
    key = "-----BEGIN PRIVATE KEY-----\n" + "A" * length
    captured = content().capture({INPUT: said(key, "and then")})[INPUT]
    assert "A" * 50 not in captured
    assert len(json.loads(captured)) == 2


HARMLESS = [
    "risk-averse and task-oriented people ask-",
    "mask-wearing-in-public-places-is-common",
    "ghost_writer",
    "123-45-6789 and 4111 1111 1111 1111",
    "someone@example.com",
    "550e8400-e29b-41d4-a716-446655440000",
    "bearer of news",
    "PRIVATE KEY",
    "eyJust a word",
    "AKIA is a start",
]


@pytest.mark.parametrize("text", HARMLESS)
def test_addresses_numbers_and_ids_stay(text):
    assert Redaction().text(text) == text


@given(st.text("-_KSJzBb;sgkAIeyoxp nth", max_size=60), st.sampled_from(sorted(module._SECRETS)), st.text(max_size=20))
def test_every_start_of_a_secret_is_found(before, start, after):
    found = module._starts(before + start + after)
    assert start in found


@given(st.text(st.sampled_from("-_KSJzBb;"), min_size=500, max_size=900))
def test_many_anchors_are_no_hindrance(noise):
    assert Redaction().text(noise + " sk-" + "a" * 20) == noise + " [redacted]"


def test_further_patterns_come_from_a_file(tmp_path):
    path = tmp_path / "patterns"
    path.write_text("# customers\nK-\\d{4}\n\nsecret\n")
    assert content(NEXUS_REDACT=str(path)).capture({RESULT: "K-1234 is a secret"}) == {
        RESULT: "[redacted] is a [redacted]"
    }


@pytest.mark.parametrize("text", [None, "(", b"\xff\xfe"], ids=["missing", "no pattern", "no text"])
def test_a_file_of_patterns_that_cannot_be_used_is_an_error_of_the_setting(tmp_path, text):
    path = tmp_path / "patterns"
    if text is not None:
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(SettingError, match="NEXUS_REDACT"):
        content(NEXUS_REDACT=str(path))


def test_a_pattern_of_the_user_s_keeps_the_json_valid(tmp_path):
    path = tmp_path / "patterns"
    path.write_text("secret.*\n")
    captured = content(NEXUS_REDACT=str(path)).capture({INPUT: said("a secret", "b")})[INPUT]
    assert len(json.loads(captured)) == 2


# -- the hook ----------------------------------------------------------------------------------------------------------


def test_the_hook_sees_each_text():
    captured = content(lambda text: text.replace("Rome", "a city")).capture(
        {INPUT: said("Rome", "to Rome"), RESULT: "Rome"}
    )
    assert texts(captured[INPUT]) == ["a city", "to a city"]
    assert captured[RESULT] == "a city"


def test_the_hook_does_not_touch_what_makes_a_message_a_message():
    captured = content(str.upper).capture({INPUT: said("Rome")})[INPUT]
    assert list(message_violations(json.loads(captured))) == []
    assert texts(captured) == ["ROME"]


def test_a_hook_that_fails_lets_nothing_through():
    def fail(text):
        raise ValueError(text)

    with failures_allowed():
        captured = content(fail).capture({INPUT: said("Rome"), RESULT: "Rome"})
        assert sum(_guard.failures.values()) == 2
    assert "Rome" not in str(captured)
    assert json.loads(captured[INPUT]) == "[redacted]"


def test_what_a_hook_gives_is_a_text_and_redacted_like_another():
    captured = content(lambda _text: f"key {SECRETS[0]}").capture({RESULT: "x"})
    assert captured == {RESULT: "key [redacted]"}


def test_the_hook_sees_the_messages_of_errors():
    assert content(lambda text: text.replace("Rome", "?")).message("no Rome") == "no ?"


# -- blobs -------------------------------------------------------------------------------------------------------------


def blob(data, **more):
    return {"type": "blob", "modality": "image", "mime_type": "image/png", "content": data, **more}


def test_a_blob_is_its_size_and_hash():
    data = "QUJD" * 100
    (part,) = without_blobs([blob(data)])
    assert part == blob("", byte_size=300, sha256=sha256(data.encode()).hexdigest())


def test_a_blob_no_longer_than_its_description_stays():
    assert without_blobs([blob("QUJD")]) == [blob("QUJD")]


def test_a_blob_in_the_answer_of_a_tool_is_its_size_and_hash():
    (part,) = without_blobs([{"type": "tool_call_response", "id": "1", "response": [blob("QUJD" * 100)]}])
    assert part["response"][0]["content"] == ""


def test_a_data_url_is_its_size_and_hash():
    found = Redaction().text("see data:image/png;base64," + "QUJD" * 100 + " there")
    assert found.startswith("see data:image/png;sha256=")
    assert found.endswith(",bytes=300 there")


def test_what_is_given_is_not_changed():
    given = [blob("QUJD" * 100)]
    without_blobs(given)
    assert given == [blob("QUJD" * 100)]


# -- limits ------------------------------------------------------------------------------------------------------------

json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**40), 2**40) | st.text(max_size=2_000),
    lambda inner: st.lists(inner, max_size=6) | st.dictionaries(st.text(max_size=100), inner, max_size=4),
    max_leaves=12,
)


@given(json_values, st.integers(64, 20_000))
def test_what_is_fitted_is_json_of_at_most_its_limit(value, limit):
    found = fitted(value, limit)
    json.loads(found)
    assert len(found.encode()) <= limit


@given(st.lists(st.text(max_size=3_000), max_size=12), st.integers(256, 5_000))
def test_captured_messages_are_valid_and_within_the_limit(of, limit):
    captured = content(NEXUS_MAX_ATTRIBUTE_BYTES=str(limit)).capture({INPUT: said(*of)})
    assert isinstance(json.loads(captured[INPUT]), list)
    assert len(captured[INPUT].encode()) <= limit


@given(st.lists(st.text(st.sampled_from("aé漢😀"), min_size=500, max_size=3_000), min_size=2, max_size=6))
def test_the_content_of_a_span_is_within_its_limit_in_bytes(of):
    values = {INPUT: said(*of), OUTPUT: said(*of), semconv.SYSTEM_INSTRUCTIONS: said(*of)[0]["parts"]}
    captured = content(NEXUS_MAX_SPAN_BYTES="4096").capture(values)
    kept = [text for name, text in captured.items() if name != semconv.TRUNCATED]
    assert sum(len(text.encode()) for text in kept) <= 4_096


def test_what_was_cut_is_named():
    captured = content(NEXUS_MAX_ATTRIBUTE_BYTES="512").capture({INPUT: said("x" * 2_000), OUTPUT: said("y")})
    assert captured[semconv.TRUNCATED] == [INPUT]


def test_nothing_is_named_where_nothing_was_cut():
    assert semconv.TRUNCATED not in content().capture({INPUT: said("x" * 10_000)})


def test_long_texts_are_cut_before_messages_are_left_out():
    captured = content(NEXUS_MAX_ATTRIBUTE_BYTES="2048").capture({INPUT: said("a" * 5_000, "b", "c" * 5_000)})
    first, second, third = texts(captured[INPUT])
    assert (first[0], second, third[0]) == ("a", "b", "c")
    assert "more characters" in first


def test_the_first_and_the_last_messages_are_kept():
    captured = content(NEXUS_MAX_ATTRIBUTE_BYTES="512").capture({INPUT: said(*(str(n) for n in range(200)))})
    kept = texts(captured[INPUT])
    assert (kept[0], kept[-1]) == ("0", "199")


def test_the_tool_and_the_answer_come_before_the_history():
    values = {INPUT: said("h" * 5_000), OUTPUT: said("a" * 3_000), ARGUMENTS: {"x": "y" * 500}}
    captured = content(NEXUS_MAX_SPAN_BYTES="4096").capture(values)
    assert json.loads(captured[ARGUMENTS]) == {"x": "y" * 500}
    assert texts(captured[OUTPUT]) == ["a" * 3_000]
    assert INPUT in captured[semconv.TRUNCATED]


def test_where_nothing_is_left_an_attribute_is_left_out_and_named():
    values = {ARGUMENTS: "a" * 600, RESULT: "b" * 600, INPUT: said("c")}
    captured = content(NEXUS_MAX_SPAN_BYTES="1024", NEXUS_MAX_ATTRIBUTE_BYTES="512").capture(values)
    assert INPUT not in captured
    assert captured[semconv.TRUNCATED] == [ARGUMENTS, RESULT, INPUT]


def test_a_long_text_of_a_tool_is_cut_as_a_text():
    captured = content(NEXUS_MAX_ATTRIBUTE_BYTES="256").capture({RESULT: "é" * 1_000})
    assert captured[RESULT].startswith("ééé")
    assert captured[RESULT].endswith("... [cut, 1000 characters]")
    assert len(captured[RESULT].encode()) <= 256


@pytest.mark.parametrize("at", [16_384, 4_096, 1_024, 256, 64])
def test_a_secret_on_the_edge_of_a_cut_is_no_half_secret(at):
    secret = "sk-" + "S3cr3t" * 6
    text = "x" * (at - 12) + " " + secret + "y" * 20_000
    captured = content(NEXUS_MAX_ATTRIBUTE_BYTES="256").capture({INPUT: said(*[text] * 3)})[INPUT]
    assert "S3cr" not in captured


def test_the_local_store_takes_more(monkeypatch):
    monkeypatch.setattr(beside, "wanted", True)
    captured = content(mode=None, NEXUS_MAX_ATTRIBUTE_BYTES="256").capture({INPUT: said("x" * 100_000)})
    assert texts(captured[INPUT]) == ["x" * 100_000]
    assert STORE_SPAN_BYTES == 8 * 1024 * 1024


@given(st.text(st.characters(exclude_categories=())))
def test_any_text_can_be_captured(text):
    captured = content().capture({RESULT: text, INPUT: said(text)})
    captured[RESULT].encode()
    json.loads(captured[INPUT].encode())


def test_an_error_s_message_is_short_and_redacted():
    found = content().message(f"key {SECRETS[0]} " + "x" * 10_000)
    assert SECRETS[0] not in found
    assert len(found) <= 4_096


# -- beside the span ---------------------------------------------------------------------------------------------------


def test_what_is_beside_a_span_is_taken_once():
    table = Beside()
    table.of(1, 2).status = "no Rome"
    assert table.take(1, 2).status == "no Rome"
    assert table.take(1, 2) is None


def test_the_same_span_has_one_place():
    table = Beside()
    assert table.of(1, 2) is table.of(1, 2)
    assert table.of(1, 3) is not table.of(1, 2)


def test_the_table_is_bounded():
    table = Beside()
    for span in range(Beside.MAX_SPANS + 500):
        table.of(1, span)
    assert len(table._apart) == Beside.MAX_SPANS
    assert table.take(1, 0) is None
    assert table.take(1, Beside.MAX_SPANS + 499) is not None
