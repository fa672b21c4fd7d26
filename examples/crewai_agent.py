"""A weather crew on CrewAI (1.9 or later), in four ways: a crew, awaited, an agent by itself, a flow around it.

Without ANTHROPIC_BASE_URL and ANTHROPIC_API_KEY it runs offline, on a scripted provider.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

settings = os.environ
for name, value in {
    "CREWAI_DISABLE_TELEMETRY": "true",
    "CREWAI_TRACING_ENABLED": "false",
    "CREWAI_TESTING": "true",  # no question at the end of a first run
    "CREWAI_STORAGE_DIR": tempfile.gettempdir(),
}.items():
    settings.setdefault(name, value)

from crewai import LLM, Agent, Crew, Task  # noqa: E402 - it reads the variables when it is imported
from crewai.flow.flow import Flow, start  # noqa: E402
from crewai.tools import tool  # noqa: E402

QUESTION = "How warm is it in Paris, Oslo and Atlantis? Please answer in Celsius and in Fahrenheit."
WEATHER = {"Paris": "18 °C, sunny", "Oslo": "-3 °C, snow", "Lima": "22 °C, fog"}


@tool("get_weather")
def get_weather(city: str) -> str:
    """Look up the current weather of a city."""
    if city not in WEATHER:
        raise ValueError(f"No weather station in {city}.")
    return WEATHER[city]


@tool("to_fahrenheit")
def to_fahrenheit(celsius: float) -> str:
    """Convert a temperature from Celsius to Fahrenheit."""
    return f"{celsius * 9 / 5 + 32:.1f} °F"


# --- The crew --------------------------------------------------------------------------------


def forecaster(model: Any) -> Agent:
    """The one agent."""
    return Agent(
        role="Forecaster",
        goal="Answer questions about the weather; never guess a temperature",
        backstory="You have two tools and trust them.",
        tools=[get_weather, to_fahrenheit],
        llm=model,
    )


def crew(model: Any) -> Crew:
    """The agent with one task."""
    agent = forecaster(model)
    task = Task(name="answer", description="{question}", expected_output="A temperature for each city", agent=agent)
    return Crew(name="weather", agents=[agent], tasks=[task])


def forecast(model: Any, question: str) -> Any:
    """The crew in a flow of one step."""

    class Forecast(Flow):  # type: ignore[type-arg]
        @start()
        def ask(self) -> str:
            return str(crew(model).kickoff(inputs={"question": question}).raw)

    return Forecast()


def answer(how: str, model: Any, question: str) -> str:
    """Answer a question in one of the four ways."""
    inputs = {"question": question}
    match how:
        case "async":
            return str(asyncio.run(crew(model).kickoff_async(inputs=inputs)).raw)
        case "agent":
            return str(forecaster(model).kickoff(question).raw)
        case "flow":
            return str(forecast(model, question).kickoff())
    return str(crew(model).kickoff(inputs=inputs).raw)


# --- Offline: no account, no network ---------------------------------------------------------


@contextmanager
def offline_provider(steps: int) -> Iterator[dict[str, Any]]:
    """How to connect to a provider on this machine that follows a script and ignores the question."""
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
    from tests.fakes.provider import Provider, demo_script

    settings.setdefault("ANTHROPIC_API_KEY", "offline")
    with Provider() as provider:
        provider.load(demo_script(steps))
        yield {"base_url": provider.url}


# --- The command -----------------------------------------------------------------------------


def main(arguments: list[str] | None = None) -> None:
    """Print the crew's answer."""
    parser = argparse.ArgumentParser(description="Ask a crew about the weather.")
    parser.add_argument("--how", choices=["crew", "async", "agent", "flow"], default="crew")
    parser.add_argument("--question", default=QUESTION)
    parser.add_argument("--model", default="anthropic/claude-sonnet-4-5")
    parser.add_argument("--steps", type=int, default=4, help="offline: how many replies ask for tools")
    options = parser.parse_args(arguments)

    if settings.get("ANTHROPIC_BASE_URL") or settings.get("ANTHROPIC_API_KEY"):
        model = LLM(model=options.model, base_url=settings.get("ANTHROPIC_BASE_URL"))
        print(answer(options.how, model, options.question))
        return
    with offline_provider(options.steps) as connection:
        print(answer(options.how, LLM(model=options.model, **connection), options.question))


if __name__ == "__main__":
    main()
