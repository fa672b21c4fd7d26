"""Stored spans are examined in the order of time, whatever the order they come in."""

from __future__ import annotations

from tests.detect.dsl import run


def test_nothing_is_found_in_a_good_run():
    assert run().step("search", {"q": "rome"}, "Rome is a city.").model("Rome is a city.").find() == []
