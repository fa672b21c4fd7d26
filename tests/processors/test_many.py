"""Long runs and many of them through the live processor: polling is told in time, and memory stays where it is."""

from __future__ import annotations

import gc
import logging
import tracemalloc

import pytest

from nexus_otel import config
from nexus_otel.config import Settings
from nexus_otel.detect import detection
from tests.kit.fixtures import Kept
from tests.processors.following import START, S, Told, followed

POLLS = 1_535
SPANS = 50_000


@pytest.fixture(autouse=True)
def settings(tmp_path):
    config.use(Settings(home=tmp_path))
    yield
    config.use(None)


def findings(span):
    return [event.attributes["nexus.finding.mode"] for event in span.events if event.name == "nexus.finding"]


@pytest.mark.parametrize("answer", ["pending", '{"status": "running"}', "nothing has changed"])
def test_polls_without_end_are_told_by_the_thirtieth(answer):
    with followed() as (live, provider, ended), Kept("nexus_otel.findings") as kept:
        run = Told(provider)
        told_at = []
        for number in range(1, POLLS + 1):
            run.model(seconds=0.5)
            run.tool("status", '{"job": "7"}', answer)
            run.wait(4)
            told_at += [number] * (len(kept.lines) - len(told_at))
        (found,) = live._detection.found(format(run.root.context.trace_id, "032x"))
        run.end()
    root = ended.get_finished_spans()[-1]
    (at,) = told_at
    assert at <= 30
    assert (found.mode, found.level, found.count) == ("loop", "warning", POLLS)
    assert len(found.evidence) <= 50
    assert root.attributes["nexus.findings"] == ("loop",)
    assert findings(root) == ["loop"]


def test_polls_whose_answer_changes_are_not_told():
    with followed() as (_live, provider, ended), Kept("nexus_otel.findings") as kept:
        run = Told(provider)
        for number in range(POLLS):
            run.model(seconds=0.5)
            run.tool("status", '{"job": "7"}', f"running, {number} of {POLLS}")
            run.wait(4)
        run.end()
    assert kept.lines == []
    assert findings(ended.get_finished_spans()[-1]) == []


class Work:
    """Agents that go on side by side; one of 20 is never ended."""

    def __init__(self, provider, together=20):
        self.provider, self.began = provider, 0
        self.agents = [self.agent() for _ in range(together)]

    def agent(self):
        self.began += 1
        run = Told(self.provider)
        run.now = START + self.began * 60 * S
        return self.began, [0], run

    def make(self, spans):
        """Let them make so many spans."""
        made = 0
        while made < spans:
            for at, (number, step, run) in enumerate(self.agents):
                step[0] += 1
                run.model(100 + step[0])
                kind, same = number % 4, step[0] > 10
                if kind == 3 and step[0] % 5 == 0:
                    run.tool("work", f'{{"n": {step[0]}}}', "Error: no")
                else:
                    given = f'{{"n": {0 if same and kind == 1 else step[0]}}}'
                    run.tool(f"work_{step[0] % 5 if kind != 1 else 0}", given, "x" if kind == 1 else given)
                made += 2
                if step[0] == 25:
                    if number % 20:
                        run.end()
                    self.agents[at] = self.agent()


def test_memory_is_flat_over_many_spans(monkeypatch):
    monkeypatch.setattr(detection, "MAX_RUNS", 40)
    monkeypatch.setattr(logging.getLogger("nexus_otel.findings"), "propagate", False)  # to what keeps every line
    with followed(keep=False) as (live, provider, _ended):
        work = Work(provider)
        work.make(SPANS // 3)
        gc.collect()
        tracemalloc.start()
        work.make(SPANS // 3)
        gc.collect()
        before = tracemalloc.get_traced_memory()[0]
        work.make(SPANS // 3)
        gc.collect()
        after = tracemalloc.get_traced_memory()[0]
        tracemalloc.stop()
        assert live._detection.forgotten > 10
        assert live._detection.skipped == 0
        assert len(live._traces) <= 41
    assert after - before < 400_000, after - before
