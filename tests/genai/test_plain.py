"""Any value as JSON: never an exception, never a hang, never a foreign `repr`, never a byte read that is read once."""

from __future__ import annotations

import datetime as dt
import decimal
import enum
import json
import signal
from collections import UserDict, deque
from collections.abc import Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

from nexus_otel.genai.plain import MAX_ITEMS, OneShotError, is_reread, item, listed, to_json, to_plain


class Late(BaseException):
    """It took too long."""


@contextmanager
def within(seconds):
    """Fail a block that takes longer, by the clock of this process: a busy machine is no finding."""

    def late(*_args):
        raise Late

    before = signal.signal(signal.SIGPROF, late)
    signal.setitimer(signal.ITIMER_PROF, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)


# -- foreign objects ---------------------------------------------------------------------------------------------------


class Raising:
    """Raises whenever anybody looks."""

    def __repr__(self):
        raise RuntimeError("repr")

    def __str__(self):
        raise RuntimeError("str")

    def __iter__(self):
        raise RuntimeError("iter")

    def __eq__(self, other):
        raise RuntimeError("eq")

    def __bool__(self):
        raise RuntimeError("bool")

    __hash__ = None


class BadModel:
    def model_dump(self, **_options):
        raise RuntimeError("dump")


class BadMapping(Mapping):
    def __getitem__(self, key):
        raise RuntimeError("getitem")

    def __iter__(self):
        return iter(["a"])

    def __len__(self):
        return 1


class BadSequence(Sequence):
    def __getitem__(self, index):
        raise RuntimeError("getitem")

    def __len__(self):
        return 3


class BadText(str):
    __slots__ = ()

    def encode(self, *_args):
        raise RuntimeError("encode")

    def isascii(self):
        raise RuntimeError("isascii")


class BadKey:
    def __str__(self):
        raise RuntimeError("str")


class BadDataclass:
    """Looks like a dataclass, and is broken."""

    __dataclass_fields__ = property(lambda self: 1 / 0)


@dataclass
class Point:
    x: int
    y: object = None


class Model(BaseModel):
    name: str
    more: object = None


class Colour(enum.Enum):
    RED = "red"


class Many(Sequence):
    """Has as many items as it says, and counts how many are looked at."""

    def __init__(self, length):
        self.length = length
        self.seen = 0

    def __len__(self):
        return self.length

    def __getitem__(self, index):
        if index >= self.length:
            raise IndexError
        self.seen += 1
        return index


UGLY = {
    "raising": Raising(),
    "bad model": BadModel(),
    "bad mapping": BadMapping(),
    "bad sequence": BadSequence(),
    "bad text": BadText("x"),
    "bad key": {BadKey(): 1},
    "bad dataclass": BadDataclass(),
    "class": Point,
    "module": json,
    "function": within,
    "object": object(),
    "not a number": float("nan"),
    "infinite": float("inf"),
    "huge": 2**70,
    "lone surrogate": "\ud800",
    "surrogate key": {"\ud800": 1},
    "tuple key": {(1, 2): 3},
    "bytes": b"\xff\x00",
    "bytes key": {b"\xff": 1},
    "memory": memoryview(b"abc"),
    "set": {1, 2},
    "deque": deque([1, 2]),
    "user dict": UserDict(a=1),
    "decimal": decimal.Decimal("1.5"),
    "date": dt.datetime(2026, 1, 1, tzinfo=dt.UTC),
    "enum": Colour.RED,
    "dataclass": Point(1, Point(2)),
    "model": Model(name="a", more=Model(name="b")),
    "model of ugly": Model(name="a", more=object()),
    "exception": ValueError("x"),
}


@pytest.mark.parametrize("name", UGLY)
@pytest.mark.parametrize("wrap", [lambda x: x, lambda x: [x], lambda x: {"a": {"b": x}}], ids=["bare", "list", "dict"])
def test_ugly_values_become_json(name, wrap):
    assert json.loads(to_json(wrap(UGLY[name]))) is not Ellipsis


def test_what_has_no_form_is_its_type_s_name():
    assert to_json([object(), Raising()]) == '["<object>","<Raising>"]'


def test_forms_of_what_has_one():
    assert json.loads(to_json({"d": Point(1), "m": Model(name="a"), "b": b"abc", "t": (1, 2)})) == {
        "d": {"x": 1, "y": None}, "m": {"name": "a"}, "b": "<3 bytes>", "t": [1, 2],
    }  # fmt: skip


TAME = [name for name in UGLY if not name.startswith(("bad", "raising"))]
values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(st.characters(exclude_categories=()))
    | st.binary()
    | st.sampled_from([UGLY[name] for name in TAME]),
    lambda inner: (
        st.lists(inner)
        | st.tuples(inner)
        | st.dictionaries(
            st.text(st.characters(exclude_categories=())) | st.integers() | st.none() | st.booleans(), inner
        )
    ),
    max_leaves=20,
)


@given(values)
def test_any_value_becomes_json(value):
    json.loads(to_json(value))


@given(values)
def test_any_value_becomes_plain(value):
    json.dumps(to_plain(value)).encode()


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=10,
)


@given(json_values)
def test_json_stays_as_it_is(value):
    assert json.loads(to_json(value)) == value


# -- bounds ------------------------------------------------------------------------------------------------------------


def knot():
    """A list that holds itself twice: a walk that only counts its depth never comes to an end."""
    value = []
    value += [value, value]
    return value


def ring():
    value = {}
    value["me"] = value
    return value


def deep(levels):
    value = "end"
    for _ in range(levels):
        value = [value]
    return value


@pytest.mark.parametrize(
    "make", [knot, ring, lambda: deep(100), lambda: deep(100_000)], ids=["knot", "ring", "deep", "deeper"]
)
def test_cycles_and_depths_come_to_an_end(make):
    with within(2):
        json.loads(to_json(make()))


def test_a_long_sequence_is_not_read_to_its_end():
    many = Many(1_000_000)
    to_json(many)
    assert many.seen <= MAX_ITEMS + 1


def test_a_long_list_is_cut():
    assert len(to_plain(list(range(MAX_ITEMS * 2)))) == MAX_ITEMS


def test_a_generator_is_left_alone():
    generator = iter([1, 2, 3])
    assert to_json(generator) == '"<list_iterator>"'
    assert next(generator) == 1


def test_a_file_is_left_alone(tmp_path):
    (tmp_path / "x").write_text("content")
    with (tmp_path / "x").open() as file:
        assert "content" not in to_json(file)
        assert file.read() == "content"


# -- what is read once -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "value", ["text", [1], (1,), {"a": 1}, None, 7, Model(name="a"), range(3), {1}, deque([1]), {"a": 1}.keys(), Colour]
)
def test_what_can_be_read_again(value):
    assert is_reread(value)


@pytest.mark.parametrize("value", [iter([1]), (x for x in [1]), map(str, [1]), zip([1], strict=True)])
def test_what_can_be_read_once(value):
    assert not is_reread(value)


def test_a_list_of_a_caller_s():
    assert listed(None) == ()
    given = [1]
    assert listed(given) is given
    assert listed(range(2)) == [0, 1]


def test_an_iterator_of_a_caller_s_is_not_touched():
    generator = iter([1])
    with pytest.raises(OneShotError):
        listed(generator)
    assert next(generator) == 1


# -- fields ------------------------------------------------------------------------------------------------------------


class NotGiven:
    """As the SDKs call it."""


class Omit(NotGiven):
    """As the SDKs call it too."""


@pytest.mark.parametrize("absent", [NotGiven(), Omit()])
def test_sentinels_are_nothing(absent):
    """Problem 23: what was not given never becomes an attribute."""
    assert item({"a": absent}, "a") is None
    assert item(Point(absent), "x") is None


def test_fields_of_both_forms():
    assert item({"x": 1}, "x") == item(Point(1), "x") == 1
    assert item(UserDict(x=1), "x") == 1
    assert item({}, "x") is item(Point(1), "z") is item(None, "x") is None


def test_a_falsy_field_is_not_nothing():
    assert item({"x": 0}, "x") == 0
    assert item({"x": ""}, "x") == ""
