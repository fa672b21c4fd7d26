"""The example agent, run as a person runs it: under the launcher, kept here and sent to a collector."""

from __future__ import annotations

import importlib.metadata
from pathlib import Path

from nexus_otel.engine.target import release
from tests.e2e.kit import LAUNCHER, PYTHON, World, shape
from tests.fakes.otlp import Receiver

EXAMPLE = Path(__file__).parents[3] / "examples" / "dspy_agent.py"
AGENT = "invoke_agent AnswerAboutWeather"
OWN_ENGINE = release(importlib.metadata.version("dspy")) >= (3, 4)
SHAPE = [f" > {AGENT}", *[f"{AGENT} > chat offline"] * 4, *[f"{AGENT} > execute_tool get_weather"] * 2]


def test_the_example_is_one_tree_here_and_at_a_collector(provider, tmp_path):
    bare, world = World.made(provider, tmp_path), World.made(provider, tmp_path)
    program = [PYTHON, EXAMPLE, "--how", "stream"]
    offline = dict.fromkeys(("OPENAI_API_KEY", "OPENAI_BASE_URL", "PYTHONPATH"), "")
    plain = bare.run(*program, **offline)
    with Receiver() as receiver:
        to = {"OTEL_EXPORTER_OTLP_ENDPOINT": receiver.url, "NEXUS_EXPORT": "local,otlp"}
        done = world.run(LAUNCHER, *program, **offline, **to)
        received = receiver.spans
    assert (plain.code, plain.out) == (0, "Paris has 18 °C.\n")
    assert (done.code, done.out) == (plain.code, plain.out)
    for spans in (world.stored(), received):
        assert shape(spans) == SHAPE
        assert len({span.trace_id for span in spans}) == 1
        assert {span.scope for span in spans} == {"nexus_otel.instrumentors.dspy"}
        root = next(span for span in spans if span.name == AGENT)
        # before 3.4 LiteLLM estimates the tokens of streams: an estimate is not recorded
        assert root.attributes.get("nexus.usage.input_tokens") == (400 if OWN_ENGINE else None)
