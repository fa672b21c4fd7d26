"""Agents whose context fills or overflows, run as a person runs them: found live, and found afterwards."""

from __future__ import annotations

import json

import pytest

from tests.e2e.kit import LAUNCHER, PYTHON, SPAN_ONLY
from tests.fakes.provider import Failure, Reply, ToolUse, Usage

AGENT = """
    import anthropic
    client = anthropic.Anthropic(max_retries=0)
    tools = [{"name": "read_page", "input_schema": {"type": "object", "properties": {"page": {"type": "integer"}}}}]
    messages = [{"role": "user", "content": "Read the log."}]
    while True:
        reply = client.messages.create(model="claude-sonnet-4-5", max_tokens=100, messages=messages, tools=tools)
        asked = [block for block in reply.content if block.type == "tool_use"]
        if not asked:
            break
        messages += [
            {"role": "assistant", "content": reply.content},
            {"role": "user", "content": [
                {"type": "tool_result", "tool_use_id": block.id, "content": f"page {block.input['page']}: " + "fine " * 400}
                for block in asked
            ]},
        ]
"""
TOO_LONG = Failure(400, "invalid_request_error", "prompt is too long: 212000 tokens > 200000 maximum")


def pages(*tokens):
    return [Reply(tools=[ToolUse("read_page", {"page": n})], usage=Usage(count, 20)) for n, count in enumerate(tokens)]


def found(world, **env):
    """Run the agent; return the findings on its spans, and what is found afterwards."""
    done = world.run(LAUNCHER, PYTHON, world.write("agent.py", AGENT), **env)
    live = [event for span in world.stored() for event in span.events if event.name == "nexus.finding"]
    stored = [json.loads(line) for line in world.nexus("diagnose", "--json", "last", **env).out.splitlines()]
    return done, [event.attributes["nexus.finding.title"] for event in live], stored


@pytest.mark.parametrize("content", [{}, SPAN_ONLY], ids=["local", "content"])
def test_an_overflow_is_one_finding(content, world):
    world.load([*pages(50_000, 90_000, 95_000), TOO_LONG])
    done, live, stored = found(world, **content)
    assert done.code == 1
    title = "the context overflowed: 212,000 tokens; the limit is 200,000; read_page added 117,000 at once"
    assert live == [title]
    assert [(one["mode"], one["level"], one["title"]) for one in stored] == [("context_overflow", "error", title)]


def test_a_context_that_fills_is_told_once(world):
    world.load([*pages(100_000, 161_000), Reply("done", usage=Usage(165_000, 5))])
    done, live, stored = found(world)
    assert done.code == 0
    assert live == ["the context is 80% full: 161,000 of 200,000 tokens; read_page added 61,000 at once"]
    assert [one["level"] for one in stored] == ["warning"]


def test_the_limit_of_a_setting_counts(world):
    world.load([*pages(4_000), Reply("done", usage=Usage(4_700, 5))])
    _done, live, stored = found(world, NEXUS_CONTEXT_LIMITS="claude-sonnet=5000")
    assert live == ["the context is 80% full: 4,000 of 5,000 tokens"]
    assert [one["data"]["limit"] for one in stored] == [5_000]
    assert stored[0]["count"] == 2


def test_a_good_run_has_none(world):
    world.load([*pages(10_000, 20_000, 21_000), Reply("done", usage=Usage(22_000, 5))])
    done, live, stored = found(world)
    assert (done.code, live, stored) == (0, [], [])


def test_how_long_steps_take_is_kept(world):
    for times in (1, 2):
        world.load([*pages(10), Reply("done", usage=Usage(20, 5))])
        found(world)
        kept = json.loads((world.home / "baselines.json").read_text())["seconds"]
        assert len(kept["chat claude-sonnet-4-5"]) == 2 * times


def test_a_broken_history_is_no_matter(world):
    world.home.mkdir(parents=True)
    (world.home / "baselines.json").write_text("{]")
    world.load([*pages(10), Reply("done", usage=Usage(20, 5))])
    done, _live, stored = found(world)
    assert (done.code, "nexus" in done.err, stored) == (0, False, [])
