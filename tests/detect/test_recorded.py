"""Traces that other vendors' instrumentors recorded of agents that fail: the same is found in them."""

from __future__ import annotations

from pathlib import Path

import pytest

from nexus_otel.cli.findings import views
from nexus_otel.detect import Limits, examine
from nexus_otel.export.files import spans_in
from tests.findings.failing import FAILING, LIMIT

FILES = sorted((Path(__file__).parent / "recorded").glob("*.jsonl"))
NAMES = ("good", "tool_error", "retry", "loop", "loop_of_errors", "unknown_tool", "wrong_arguments", "filling",
         "overflow", "polling")  # fmt: skip


@pytest.fixture(scope="module", params=FILES, ids=lambda path: path.stem)
def recorded(request):
    """The spans of each agent in a file, and what is found in them."""
    spans = views(spans_in(request.param, pytest.fail))
    names = {span.trace_id: span.name for span in spans if not span.parent_id}
    limits = Limits({"claude-sonnet-4-5": LIMIT, "gpt-4o-mini": LIMIT})
    every = examine(spans, limits=limits, broken=lambda mode, error: pytest.fail(f"{mode}: {error!r}"))
    return {
        name: ([span for span in spans if span.trace_id == trace], [one for one in every if one.trace_id == trace])
        for trace, name in names.items()
    }


def test_every_vendor_and_sdk_is_there():
    assert [path.stem for path in FILES] == [
        f"{vendor}-{sdk}" for vendor in ("openinference", "openllmetry") for sdk in ("anthropic", "openai")
    ]


@pytest.mark.parametrize("name", NAMES)
def test_the_same_is_found_as_in_spans_of_ours(name, recorded):
    spans, found = recorded[name]
    assert {one.mode: one.level for one in found} == dict(FAILING[name].found)
    assert len(found) == len(FAILING[name].found)
    ids = {span.span_id for span in spans}
    for one in found:
        assert {one.span_id, *one.evidence} <= ids
        assert not [value for value in ("refund", "#1", "ada") if value in one.title]


def test_calls_are_counted(recorded):
    (loop,) = recorded["loop"][1]
    assert (loop.count, loop.data["tools"], loop.data["answer"]) == (6, ["search"], "Refunds: see refunds.")
    (errors,) = [one for one in recorded["loop_of_errors"][1] if one.mode == "loop"]
    assert (errors.count, errors.data["differs"]) == (6, ["order"])
