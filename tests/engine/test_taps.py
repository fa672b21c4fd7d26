"""Arguments that can be read only once: the library reads them as it would, and our readers see what it read."""

from __future__ import annotations

import enum
import io
from collections import deque

import pytest

from nexus_otel.engine.taps import tap, tap_call
from nexus_otel.engine.target import Call


def counted(seen, values):
    for value in values:
        seen.append(value)
        yield value


class Array:
    """Iterable, and no sequence: as arrays and tables are."""

    def __iter__(self):
        return iter([1, 2])

    def __len__(self):
        return 2


class Colour(enum.Enum):
    RED = "red"


AGAIN = [
    "x", 7, None, b"x", [1, [2]], (1,), {"a": [1]}, range(3), {1, 2}, frozenset({1}), deque([1]), {"a": 1}.items(),
    Array(), Colour, Colour.RED, object(),
]  # fmt: skip


@pytest.mark.parametrize("value", AGAIN, ids=range(len(AGAIN)))
def test_what_can_be_read_again_is_the_very_object(value):
    theirs, ours = tap(value)
    assert theirs is ours is value


def test_what_the_library_reads_is_what_we_see():
    theirs, ours = tap(iter([1, 2, 3]))
    assert list(theirs) == [1, 2, 3]
    assert ours == [1, 2, 3]


def test_nothing_is_read_before_the_library_reads_it():
    read = []
    theirs, ours = tap(counted(read, [1, 2, 3]))
    assert (read, ours) == ([], [])
    assert next(iter(theirs)) == 1
    assert (read, ours) == ([1], [1])


def test_what_the_library_does_not_read_is_not_read():
    read = []
    tap(counted(read, [1]))
    assert read == []


def test_iterators_inside_of_what_can_be_read_again():
    given = {"messages": [{"content": iter(["a", "b"])}, {"content": "c"}], "n": 1}
    theirs, ours = tap(given)
    assert [list(message["content"]) for message in theirs["messages"]] == [["a", "b"], ["c"]]
    assert ours == {"messages": [{"content": ["a", "b"]}, {"content": "c"}], "n": 1}
    assert theirs["messages"][1] is given["messages"][1]


def test_iterators_inside_of_iterators():
    theirs, ours = tap(iter([{"content": iter(["a"])}, {"content": "b"}]))
    assert [list(message["content"]) for message in theirs] == [["a"], ["b"]]
    assert ours == [{"content": ["a"]}, {"content": "b"}]


def test_files_are_left_to_the_library():
    file = io.StringIO("a\nb\n")
    theirs, ours = tap({"file": file})
    assert theirs["file"] is ours["file"] is file
    assert file.read() == "a\nb\n"


def test_what_an_iterator_raises_is_raised():
    def failing():
        yield 1
        raise LookupError

    theirs, ours = tap(failing())
    with pytest.raises(LookupError):
        list(theirs)
    assert ours == [1]


def test_depth_has_a_bound():
    value = iter(["end"])
    for _ in range(50):
        value = [value]
    assert tap(value)[0] is value


def test_a_call_without_iterators_is_as_it_was():
    given = {"messages": [1]}
    call = Call(None, None, (), given)
    assert tap_call(call) is given
    assert not call.tapped


def test_a_call_with_iterators_knows_that_its_arguments_fill_later():
    call = Call(None, None, (), {"messages": iter([1]), "model": "m"})
    theirs = tap_call(call)
    assert call.tapped
    assert call.kwargs == {"messages": [], "model": "m"}
    assert (list(theirs["messages"]), theirs["model"]) == ([1], "m")
    assert call.kwargs["messages"] == [1]
