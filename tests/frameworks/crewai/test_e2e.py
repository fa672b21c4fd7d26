"""Programs on CrewAI as a person runs them, and what they left behind. Importing CrewAI takes seconds: there are few."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.e2e.kit import ERROR, LAUNCHER, PYTHON, World, shape
from tests.fakes.provider import Provider, demo_script
from tests.frameworks.crewai.crewai_cases import NATIVE

EXAMPLE = Path(__file__).resolve().parents[3] / "examples" / "crewai_agent.py"
AGENT = "invoke_agent Forecaster"
TREE = sorted(
    [
        " > invoke_workflow weather",
        f"invoke_workflow weather > {AGENT}",
        *[f"{AGENT} > chat claude-sonnet-4-5"] * 5,
        *[f"{AGENT} > execute_tool get_weather"] * 3,
        *[f"{AGENT} > execute_tool to_fahrenheit"] * 2,
    ]
)
TELEMETRY = """
    import os

    os.environ |= {"CREWAI_DISABLE_TELEMETRY": "false", "CREWAI_TESTING": "true", "CREWAI_TRACING_ENABLED": "false"}
    from opentelemetry import trace

    early = trace.get_tracer("application")
    import crewai
    from crewai.telemetry.telemetry import Telemetry

    theirs = Telemetry()
    theirs.set_tracer()
    for tracer in (early, trace.get_tracer("application")):
        with tracer.start_as_current_span("mine"):
            pass
    print(theirs.ready, trace.get_tracer_provider() is theirs.provider)
    theirs.provider.shutdown = lambda: None  # it would send what it has
"""


@pytest.fixture
def world(provider: Provider, tmp_path: Path) -> World:
    return World.made(provider, tmp_path, demo_script(4))


@pytest.mark.skipif(not NATIVE, reason="the model asks for tools in its provider's own form")
def test_the_example_is_one_tree_and_says_what_it_says_without_us(world: World, provider: Provider) -> None:
    done = world.run(LAUNCHER, PYTHON, EXAMPLE, NEXUS_SUMMARY="never", CREWAI_STORAGE_DIR=str(world.folder))
    assert done.code == 0, done.err
    assert done.out.startswith("Paris has 18 °C and sun")
    spans = world.stored()
    assert shape(spans) == TREE
    failed = [span.name for span in spans if span.status == ERROR]
    assert failed == ["execute_tool get_weather"]
    chats = [span.attributes for span in spans if span.name.startswith("chat")]
    used = [sum(chat[f"gen_ai.usage.{way}_tokens"] for chat in chats) for way in ("input", "output")]
    assert tuple(used) == provider.usage_sent(world.key)


def test_its_telemetry_s_provider_is_not_the_application_s(world: World) -> None:
    done = world.launch(TELEMETRY, NEXUS_SUMMARY="never", CREWAI_STORAGE_DIR=str(world.folder))
    assert done.out.strip().splitlines()[-1] == "True False", done.err
    assert [span.name for span in world.stored()] == ["mine", "mine"]
