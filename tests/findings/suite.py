"""The tests of one framework: `FRAMEWORK` and `runs` are the module's own, `from tests.findings.suite import *` the rest."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

import pytest

from tests.e2e.kit import World, together
from tests.fakes.provider import Provider
from tests.findings.failing import (
    FAILING,
    OFF,
    STEPS,
    STOPPED,
    Framework,
    agree,
    found_afterwards,
    found_live,
    no_values_in_titles,
    ran,
)

__all__ = [
    "runs",
    "stopped",
    "test_it_is_found_as_often_without_content",
    "test_it_is_found_while_it_runs_and_afterwards",
    "test_the_next_model_call_is_not_made",
    "worlds",
]  # fmt: skip


@pytest.fixture(scope="module")
def worlds(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    with Provider() as provider:
        yield lambda: World.made(provider, tmp_path_factory.mktemp("failing"))


@pytest.fixture(scope="module")
def runs(request: pytest.FixtureRequest, worlds: Any) -> Any:
    """Every agent, content kept here and switched off."""
    on: Framework = request.module.FRAMEWORK
    each = [partial(ran, worlds(), on, on.table, **env) for env in ({}, OFF)]
    return [found for _done, found in together(*each)]


@pytest.fixture(scope="module")
def stopped(request: pytest.FixtureRequest, worlds: Any) -> Any:
    """Agents that guards stop: how the program ended, the runs, and how often each asked the model."""
    world, on = worlds(), request.module.FRAMEWORK
    names = [name for name in STOPPED if name in on.table]
    done, found = ran(world, on, names, NEXUS_ON_LOOP="raise", NEXUS_MAX_STEPS=str(STEPS))
    asked = [
        request.key.rpartition(".")[2]
        for request in world.provider.requests
        if request.key.startswith(world.key) and not request.path.endswith("count_tokens")  # CrewAI's own
    ]
    return done, found, {name: asked.count(name) for name in STOPPED}


def case_of(request: pytest.FixtureRequest, name: str) -> Any:
    table = request.module.FRAMEWORK.table
    if name not in table:
        pytest.skip("it cannot be")
    return table[name]


@pytest.mark.parametrize("content", ["kept here", "off"])
@pytest.mark.parametrize("name", FAILING)
def test_it_is_found_while_it_runs_and_afterwards(name, content, runs, request):
    case, outcome = case_of(request, name), runs[content == "off"][name]
    found_afterwards(case, outcome)
    found_live(case, outcome)
    no_values_in_titles(outcome)


@pytest.mark.parametrize("name", FAILING)
def test_it_is_found_as_often_without_content(name, runs, request):
    case_of(request, name)
    agree(runs[0][name], runs[1][name])


@pytest.mark.parametrize(
    ("name", "error", "most"), [("loop", "LoopDetected", 4), ("paging", "StepLimitExceeded", STEPS)]
)
def test_the_next_model_call_is_not_made(name, error, most, stopped, request):
    case_of(request, name)
    done, found, asked = stopped
    (line,) = [line for line in done.out.splitlines() if line.startswith(f"{name} ")]
    assert error in line.split()
    assert asked[name] <= most
    assert found[name].root.attributes["error.type"] in line.split()  # a framework may put its own around it
    assert found[name].root.status == 2
