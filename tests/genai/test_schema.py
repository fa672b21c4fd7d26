"""Arguments against a tool's schema: rule and path of each violation, never a value, never a fetch."""

from __future__ import annotations

import threading
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nexus_otel import schema as module
from nexus_otel.schema import schema_errors

CITY = {"type": "object", "properties": {"city": {"type": "string"}, "days": {"type": "integer"}}, "required": ["city"]}


def of(**properties):
    return {"type": "object", "properties": properties}


@pytest.mark.parametrize(
    ("schema", "arguments", "errors"),
    [
        (CITY, {"city": "Rome"}, ()),
        (CITY, {"city": "Rome", "days": 2}, ()),
        (CITY, {}, ("required:city",)),
        (CITY, {"city": 7}, ("type:city",)),
        (CITY, {"city": None}, ("type:city",)),
        (CITY, {"city": "Rome", "days": "2"}, ("type:days",)),
        (CITY, {"city": "Rome", "days": True}, ("type:days",)),
        (CITY, {"city": "Rome", "days": 2.0}, ()),
        (CITY, {"city": "Rome", "day": 2}, ("unknown:day",)),
        ({**CITY, "additionalProperties": False}, {"city": "Rome", "day": 2}, ("additionalProperties:day",)),
        ({**CITY, "additionalProperties": True}, {"city": "Rome", "day": 2}, ()),
        (CITY, "Rome", ("type:",)),
        (CITY, None, ("type:",)),
        (of(kind={"enum": ["a", "b"]}), {"kind": "c"}, ("enum:kind",)),
        (of(n={"type": "integer", "minimum": 1}), {"n": 0}, ("minimum:n",)),
        (of(at=of(x={"type": "number"})), {"at": {"x": "secret"}}, ("type:at.x",)),
        (of(all={"type": "array", "items": {"type": "string"}}), {"all": ["a", 1]}, ("type:all.1",)),
        (of(at={**of(x={}), "required": ["x"]}), {"at": {}}, ("required:at.x",)),
        (of(maybe={"type": ["string", "null"]}), {"maybe": None}, ()),
        (of(maybe={"anyOf": [{"type": "string"}, {"type": "null"}]}), {"maybe": 1}, ("anyOf:maybe",)),
        ({"type": "object"}, {"anything": 1}, ()),
        ({"$ref": "#/$defs/a", "$defs": {"a": CITY}}, {}, ("required:city",)),
    ],
    ids=range(22),
)
def test_violations_are_rule_and_path(schema, arguments, errors):
    assert schema_errors(schema, arguments) == errors


def test_no_value_is_in_them():
    schema = of(a={"enum": ["x"]}, b={"const": 1}, c={"type": "integer"})
    found = schema_errors(schema, {"a": "secret", "b": "secret", "c": "secret"})
    assert len(found) == 3
    assert "secret" not in str(found)


@pytest.mark.parametrize("schema", [None, {}, "schema", 7, [], True])
def test_without_a_schema_nothing_is_checked(schema):
    assert schema_errors(schema, {}) is None


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "no such type"},
        {"properties": 7},
        {"type": "object", "properties": {"a": {"type": 5}}},
        {"type": "object", "x": object()},
        {"type": "object", "description": "x" * 70_000},
    ],
    ids=range(5),
)
def test_what_is_no_schema_is_not_checked(schema):
    assert schema_errors(schema, {"a": 1}) is None


def test_large_arguments_are_not_checked():
    assert schema_errors({**CITY, "minProperties": 1}, {"city": "x" * 40_000}) is None


@pytest.mark.parametrize("reference", ["http://127.0.0.1:1/schema", "file:///etc/passwd", "#/nowhere", "other.json"])
def test_a_reference_is_never_fetched(reference, monkeypatch):
    monkeypatch.setattr("urllib.request.urlopen", lambda *_a, **_k: pytest.fail("fetched"))
    assert schema_errors({"$ref": reference}, {"a": 1}) is None


def test_a_foreign_pattern_is_not_run():
    schema = of(a={"type": "string", "pattern": "^(a+)+$"})
    start = time.process_time()
    assert schema_errors(schema, {"a": "a" * 40 + "!"}) == ()
    assert time.process_time() - start < 0.5


def test_properties_that_are_called_like_rules_are_kept():
    schema = {**of(pattern={"type": "string"}, format={"type": "integer"}), "required": ["pattern"]}
    assert set(schema_errors(schema, {"format": "x"})) == {"required:pattern", "type:format"}


def test_a_schema_that_holds_itself_comes_to_an_end():
    tree = {"$defs": {"t": of(child={"$ref": "#/$defs/t"}, n={"type": "integer"})}, "$ref": "#/$defs/t"}
    assert schema_errors(tree, {"child": {"child": {"n": "x"}}}) == ("type:child.child.n",)


def test_at_most_ten_are_told():
    schema = of(**{f"a{n}": {"type": "integer"} for n in range(30)})
    assert len(schema_errors(schema, {f"a{n}": "x" for n in range(30)})) == 10


def test_validators_are_kept_and_bounded(monkeypatch):
    monkeypatch.setattr(module, "_validators", type(module._validators)())
    monkeypatch.setattr(module, "_MAX_VALIDATORS", 5)
    for number in range(20):
        schema_errors(of(a={"type": "integer", "minimum": number}), {"a": "x"})
    assert len(module._validators) <= 5


def test_many_threads_may_ask_at_once(monkeypatch):
    monkeypatch.setattr(module, "_validators", type(module._validators)())
    monkeypatch.setattr(module, "_MAX_VALIDATORS", 3)
    failed = []

    def ask():
        try:
            for number in range(60):
                assert schema_errors(of(a={"type": "integer", "minimum": number % 7}), {"a": "x"}) == ("type:a",)
        except Exception as error:  # noqa: BLE001 - of a thread
            failed.append(error)

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(
    st.dictionaries(st.sampled_from(["type", "properties", "required", "enum", "items", "$ref", "anyOf"]), json_values),
    json_values,
)
def test_no_schema_raises(schema, arguments):
    assert isinstance(schema_errors(schema, arguments), tuple | None)


@given(
    st.dictionaries(
        st.sampled_from(["a", "b", "c"]), st.none() | st.booleans() | st.integers() | st.floats() | st.text()
    )
)
def test_the_short_way_says_what_the_validator_says(arguments):
    schema = {
        "type": "object",
        "properties": {"a": {"type": "integer"}, "b": {"type": "string"}, "c": {"type": "number"}},
        "required": ["a"],
    }
    if module._plainly_valid(schema, arguments):
        assert module._checked(schema, arguments) == ()
