"""Normalised values and hashes, as test vectors; the forms in which tools and providers say that they failed."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nexus_otel import normal
from nexus_otel.normal import (
    Hasher,
    answer_form,
    context_overflow,
    error_class,
    error_name,
    masked_error,
    normalise,
    register_error_form,
    tool_failure,
)

# -- N(a) --------------------------------------------------------------------------------------------------------------

VECTORS = [
    ({"b": 1, "a": 2}, '{"a":2,"b":1}'),
    ('{"b": 1, "a": 2}', '{"a":2,"b":1}'),
    (' {"b": 1,\n "a": 2} ', '{"a":2,"b":1}'),
    (json.dumps(json.dumps({"a": 1})), '{"a":1}'),
    ({"q": "  Paris \n France "}, '{"q":"paris france"}'),
    ({"n": 1.0}, '{"n":1}'),
    ({"n": 1.5}, '{"n":1.5}'),
    ({"ok": True}, '{"ok":true}'),
    ([1, (2, 3)], "[1,[2,3]]"),
    ("plain Text", '"plain text"'),
    (None, "null"),
    ({"request_id": "x", "city": "Rome"}, '{"city":"rome"}'),
    ({"trace-id": 1, "nonce": 2, "client_nonce": 3, "timestamp": 4, "ts": 5, "elapsed_ms": 6}, "{}"),
    ({"id": 7, "order_id": 8}, '{"id":7,"order_id":8}'),
    ({"at": "2026-01-02T03:04:05Z"}, '{"at":"#"}'),
    ({"u": "job 123e4567-e89b-12d3-a456-426614174000 done"}, '{"u":"job # done"}'),
    ({"h": "0123456789abcdef01234567"}, '{"h":"#"}'),
    ({"t": "since 1760000000"}, '{"t":"since #"}'),
    ({"n": "page 17"}, '{"n":"page 17"}'),
    ("Ünïcode", '"ünïcode"'),
    ("[not json", '"[not json"'),
    (b"bytes", '"bytes"'),
]


@pytest.mark.parametrize(("value", "text"), VECTORS, ids=range(len(VECTORS)))
def test_vectors_of_normalisation(value, text):
    assert normalise(value) == text


def test_one_and_true_are_not_the_same():
    assert normalise({"a": 1}) != normalise({"a": True})


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**6), 10**6) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=10,
)


@given(st.dictionaries(st.text(), json_values))
def test_the_order_of_keys_and_the_form_do_not_matter(value):
    turned = dict(reversed(list(value.items())))
    assert normalise(turned) == normalise(value)
    assert normalise(json.dumps(value, indent=3)) == normalise(value)


@given(st.binary() | st.floats() | st.text(st.characters(exclude_categories=())) | json_values | st.sets(st.integers()))
def test_any_value_can_be_normalised(value):
    json.loads(normalise(value))


class Many(Sequence):
    """Has as many items as it says, and counts how many are looked at."""

    seen = 0

    def __len__(self):
        return 1_000_000

    def __getitem__(self, index):
        if index >= len(self):
            raise IndexError
        self.seen += 1
        return index


def test_a_long_sequence_is_not_read_to_its_end():
    many = Many()
    normalise(many)
    assert many.seen < 100_000


def knot():
    value = []
    value += [value, value]
    return value


@pytest.mark.parametrize("value", ["[" * 100_000, '{"a":' * 100_000, "9" * 100_000], ids=["lists", "dicts", "digits"])
def test_deep_text_is_no_error(value):
    assert normalise(value)
    assert answer_form(value)


def test_a_knot_comes_to_an_end():
    from tests.genai.test_plain import within

    with within(2):
        assert normalise(knot())


# -- hashes ------------------------------------------------------------------------------------------------------------


def test_hashes_are_sixteen_hex_digits():
    found = Hasher(b"key").arguments("find", {"bird": "wren"})
    assert len(found) == 16
    assert int(found, 16) >= 0


def test_vectors_of_hashes():
    hasher = Hasher(b"key")
    assert hasher.text("a", "b") == "d90f7747a0ec28b6"
    assert hasher.arguments("find", {"bird": "wren"}) == "c6f2b9541f02d7d9"
    assert hasher.result("find", "in the cage") == "c07f37935171dfd4"
    assert hasher.result("find", "x" * 2_000 + "tail") == "14f85b89da2f9628"


def test_hashes_are_the_same_in_every_process():
    code = "from nexus_otel.normal import Hasher; print(Hasher(b'key').arguments('find', {'a': [1, {'b': None}]}))"
    done = [
        subprocess.run(
            [sys.executable, "-c", code], env={"PYTHONHASHSEED": seed}, capture_output=True, text=True, check=True
        ).stdout
        for seed in ("1", "2")
    ]
    assert done[0] == done[1]
    assert done[0].strip() == Hasher(b"key").arguments("find", {"a": [1, {"b": None}]})


def test_equal_values_have_equal_hashes():
    hasher = Hasher(b"key")
    assert hasher.arguments("t", {"a": 1, "b": "X"}) == hasher.arguments("t", '{"b": "x", "a": 1.0}')


def test_the_tool_and_the_key_are_part_of_the_hash():
    assert len({Hasher(key).arguments(tool, {}) for key in (b"1", b"2") for tool in ("a", "b")}) == 4


def test_without_a_key_each_hasher_has_its_own():
    assert Hasher().text("a") != Hasher().text("a")


def test_a_long_key_is_cut_to_what_the_hash_takes():
    assert Hasher(b"k" * 100).text("a") == Hasher(b"k" * 64).text("a")


@pytest.mark.parametrize(
    "make", [lambda rest: "x" * 2_000 + rest, lambda rest: {"a": "x" * 2_000 + rest}], ids=["text", "object"]
)
def test_equal_heads_are_not_equal_answers(make):
    hasher = Hasher(b"key")
    hashes = {hasher.result("t", make(rest)) for rest in ("", "a", "b", "ab", "y" * 50_000, "y" * 50_001)}
    assert len(hashes) == 6


def test_texts_are_hashed_apart_from_their_neighbours():
    assert Hasher(b"key").text("ab", "c") != Hasher(b"key").text("a", "bc")


def test_a_lone_surrogate_can_be_hashed():
    assert Hasher(b"key").result("t", "\ud800" * 3_000)


# -- tools that failed -------------------------------------------------------------------------------------------------

FAILED = [
    ({"isError": True, "content": []}, "field"),
    ({"is_error": True}, "field"),
    ({"error": "no such city"}, "field"),
    ({"errors": ["a"]}, "field"),
    ({"exception": {"type": "X"}}, "field"),
    ({"success": False}, "field"),
    ({"ok": False, "data": 1}, "field"),
    ({"status": "error"}, "field"),
    ({"status": "FAILED"}, "field"),
    ({"status": 404}, "field"),
    ({"status_code": 503}, "field"),
    ('{"error": "x"}', "field"),
    ("Error: no such city", "text"),
    ("error - failed", "text"),
    ("Traceback (most recent call last):\n  File", "text"),
    ("ValueError: invalid literal", "text"),
    ("requests.exceptions.ConnectionError: refused", "text"),
    ("<tool_use_error>No such file</tool_use_error>", "text"),
    ("[error] it broke", "text"),
    ("HTTP 404 Not Found", "text"),
    ("HTTP/1.1 500 Internal Server Error", "text"),
    ("500 Internal Server Error", "text"),
    ("Exit code 1", "text"),
    ("exited with code 127", "text"),
    ("Permission denied", "text"),
    ("Timed out after 30 s", "text"),
    ("Connection refused", "text"),
    ("No such file or directory", "text"),
    ("Failed to open", "text"),
    ("Unknown tool: fly", "text"),
    ("Fehler: nicht gefunden", "text"),
    ("Ошибка: нет", "text"),
    ("错误: 没有", "text"),
]
WENT_WELL = [
    {"error": None},
    {"error": ""},
    {"error": False},
    {"errors": []},
    {"errors": 0},
    {"errors": {}},
    {"success": True},
    {"ok": True},
    {"status": "ok"},
    {"status": 200},
    {"status": True},
    {"status": "pending"},
    {"isError": False, "text": "Error: quoted"},
    '{"error": null, "data": 1}',
    "0 errors, 0 warnings",
    "No errors found",
    "no error",
    "2026-01-01 ERROR something in a log line",
    "def error(): pass",
    "errors = []",
    "Exit code 0",
    "exit code: 0",
    "error-free build",
    "HTTP 200 OK",
    "It is sunny.",
    "",
    None,
    [],
    7,
    ["Error: in a list"],
]


@pytest.mark.parametrize(("answer", "how"), FAILED, ids=range(len(FAILED)))
def test_answers_that_say_they_failed(answer, how):
    found = tool_failure("t", answer)
    assert found is not None
    assert found.how == how
    assert found.matched


@pytest.mark.parametrize("answer", WENT_WELL, ids=range(len(WENT_WELL)))
def test_answers_that_look_like_it(answer):
    assert tool_failure("t", answer) is None


def test_a_form_of_the_user_s_own(monkeypatch):
    monkeypatch.setattr(normal, "_forms", {})
    register_error_form("db", lambda answer: answer == "nil")
    register_error_form("*", lambda answer: answer == "boom")
    assert [bool(tool_failure(tool, "nil")) for tool in ("db", "other")] == [True, False]
    assert tool_failure("other", "boom").how == "field"


def test_a_form_of_the_user_s_that_fails_is_passed_over(monkeypatch):
    monkeypatch.setattr(normal, "_forms", {})
    register_error_form("db", lambda answer: answer["no such key"])
    assert tool_failure("db", "fine") is None
    assert tool_failure("db", "Error: no") is not None


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("ValueError: x", "ValueError"),
        ("KeyError('x')", "KeyError"),
        ("my.module.CityNotFound: Rome", "my.module.CityNotFound"),
        ("openai.RateLimitError: slow", "openai.RateLimitError"),
        ("GraphInterrupt: wait", "GraphInterrupt"),
        ("it failed: ValueError: x", None),
        ("Note: nothing", None),
        ("", None),
    ],
)
def test_the_name_of_an_error_leads_its_text(text, name):
    assert error_name(text) == name


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("429 Too Many Requests", "rate_limit"),
        ("rate limit exceeded", "rate_limit"),
        ("Request timed out", "timeout"),
        ("504 Gateway Timeout", "timeout"),
        ("401 Unauthorized", "auth"),
        ("permission denied", "auth"),
        ("404 not found", "not_found"),
        ("no such file", "not_found"),
        ("city doesn't exist", "not_found"),
        ("TypeError: unexpected keyword argument 'x'", "bad_arguments"),
        ("1 validation error for City", "bad_arguments"),
        ("503 service unavailable", "server"),
        ("connection refused", "server"),
        ("the bird has flown", "other"),
    ],
)
def test_classes_of_errors(text, kind):
    assert error_class(text) == kind


def test_equal_errors_are_equal_whatever_their_values():
    assert masked_error("No city 'Rome' at line 17") == masked_error("no city  'Oslo' at line 4")
    assert masked_error("No city") != masked_error("No country")


@pytest.mark.parametrize(
    ("answer", "form"),
    [
        (None, "empty"), ("", "empty"), ("  ", "empty"), ([], "empty"), ({}, "empty"), ("[]", "empty"),
        ("pending", "pending"), ({"status": "running"}, "pending"), ("job is queued", "pending"),
        ("50% complete", "pending"), ({"state": "in_progress"}, "pending"),
        ("failed", "terminal"), ({"status": "completed"}, "terminal"), ("not found", "terminal"),
        ("18 degrees", "other"), ({"temperature": 18}, "other"), ("running " + "x" * 500, "other"), (7, "other"),
    ],
    ids=range(18),
)  # fmt: skip
def test_forms_of_answers(answer, form):
    assert answer_form(answer) == form


# -- overflows ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "tokens", "limit"),
    [
        ("prompt is too long: 212000 tokens > 200000 maximum", 212_000, 200_000),
        ("prompt is too long: 1,212,000 tokens > 1,000,000 maximum", 1_212_000, 1_000_000),
        (
            "This model's maximum context length is 8192 tokens. However, your messages resulted in 10001 tokens.",
            10_001,
            8_192,
        ),
        (
            "This model's maximum context length is 128000 tokens, however you requested 130000 tokens",
            130_000,
            128_000,
        ),
        ("Input is too long for requested model.", None, None),
        ("the request exceeds the available context size", None, None),
    ],
)
def test_overflows_with_their_numbers(text, tokens, limit):
    found = context_overflow(text)
    assert (found.tokens, found.limit) == (tokens, limit)


def test_the_code_alone_says_it():
    assert context_overflow("no", "context_length_exceeded") is not None


@pytest.mark.parametrize("text", ["", "max_tokens must be at most 4096", "rate limit exceeded", "Your prompt is fine"])
def test_what_is_no_overflow(text):
    assert context_overflow(text) is None


# -- time --------------------------------------------------------------------------------------------------------------

HOSTILE = [
    "'" * 100_000,
    "0x" * 50_000,
    "A" * 100_000 + ":",
    "a.b." * 30_000,
    " \n" * 50_000,
    "1" * 100_000,
    "-" * 100_000,
]


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_every_text_rule_is_fast_on_hostile_text(text):
    start = time.process_time()
    for rule in (masked_error, error_class, error_name, answer_form, context_overflow, normalise):
        rule(text)
    tool_failure("t", text)
    Hasher(b"key").result("t", text)
    assert time.process_time() - start < 0.5
