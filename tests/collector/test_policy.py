"""What the collector keeps is what a model of the policies in a few lines says, over many made runs."""

from __future__ import annotations

import random

import pytest

from tests.collector.kit import QUICK, Collector, built, soon
from tests.collector.made import Made, Run, agent

SEEDS = (1, 2)
RUNS = 40
SLOW_MS, MANY, TOKENS, COST = 120_000, 60, 200_000, 1.0


def keeps(run: Run) -> bool:
    """Whether the shipped policies keep a run, its share of chance being 0."""
    lasts = max(run.root.lasts_ms, sum(step.lasts_ms for step in run.steps))
    return (
        any("nexus.keep" in span.attributes for span in run.spans)
        or any(span.failed for span in run.spans)
        or lasts > SLOW_MS
        or len(run.spans) >= MANY
        or any(_most(span) >= TOKENS or span.attributes.get("nexus.run.cost", 0) >= COST for span in run.spans)
    )


def _most(span: Made) -> int:
    return max(span.attributes.get(name, 0) for name in ("nexus.usage.input_tokens", "gen_ai.usage.input_tokens"))


def made(chance: random.Random) -> Run:
    """A run near the edges of all policies; each thing that keeps a run is rare, so that about half are kept."""
    count = chance.choice([1, 3, 5, 57, 58, 59] if chance.random() < 0.3 else [1, 2, 4])
    steps = [
        Made(
            chance.choice(["chat m", "execute_tool look"]),
            chance.choice([1, 20, 400]),
            chance.random() < 0.01,
            attributes={
                "gen_ai.usage.input_tokens": chance.choice([10, 199_999] + [200_000] * (chance.random() < 0.02))
            },
        )
        for _ in range(count)
    ]
    attributes = {"nexus.usage.input_tokens": chance.choice([900, 199_999, 199_999, 200_000])}
    if chance.random() < 0.1:
        attributes["nexus.keep"] = chance.choice(["finding: loop", ""])
    if chance.random() < 0.2:
        attributes["nexus.run.cost"] = chance.choice([0.2, 0.999, 1.0, 7])
    lasts = chance.choice([500, 119_999, 120_000, 120_000, 120_001])
    return agent(lasts, *steps, **attributes)


@pytest.fixture(scope="module")
def collector(tmp_path_factory):
    with Collector(built(), tmp_path_factory.mktemp("policy"), dict(QUICK)) as running:
        yield running


@pytest.mark.parametrize("seed", SEEDS)
def test_the_collector_keeps_what_the_model_keeps(collector, seed):
    chance = random.Random(seed)  # noqa: S311 - the same runs each time
    runs = [made(chance) for _ in range(RUNS)]
    for run in runs:
        for request in run.requests(chance.choice([1, 1, 2, 3])):
            assert collector.post(request)
    wanted = {run.trace_id for run in runs if keeps(run)}
    assert 0.2 * RUNS < len(wanted) < 0.8 * RUNS, "the runs test nothing"
    marker = agent(nexus__keep="the last one")
    assert collector.post(marker.request())
    soon(lambda: marker.trace_id in collector.kept())
    assert collector.kept() & {run.trace_id for run in runs} == wanted
