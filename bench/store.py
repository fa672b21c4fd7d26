"""How fast the local store is listed: writes a large one through the spool, then times the commands on it.

python bench/store.py [--spans 100000] [--rounds 3] [--home FOLDER]
"""

from __future__ import annotations

import argparse
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.trace import Status, StatusCode, set_span_in_context

from nexus_otel.config import Settings
from nexus_otel.export.spool import Spool, SpoolProcessor

STEPS, TOOLS = 8, 16
"""Model and tool calls of a run, which has one span more."""
COMMANDS = (
    ("traces",), ("traces", "--json"), ("traces", "--status", "error"), ("traces", "--agent", "agent 3"),
    ("traces", "--tool", "none"), ("show", "last"), ("show", "last", "--content"),
)  # fmt: skip
WORDS = ("find", "hotels", "in", "Paris", "for", "two", "nights", "the", "cheapest", "near", "a", "station", "please")


def main() -> None:
    """Write a store where there is none, measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--spans", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--home", type=Path, help="kept; used as it is where it holds a store")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        home = options.home or Path(folder)
        if not (home / "spool").exists():
            fill(home, options.spans)
        size = sum(path.stat().st_size for path in (home / "spool").iterdir())
        print(f"{size / 1e6:.0f} MB")
        for command in COMMANDS:
            print(f"{' '.join(command):<32}{seconds(home, command, options.rounds):>8.2f} s")


def seconds(home: Path, command: tuple[str, ...], rounds: int) -> float:
    """Return how long a command takes in a process of its own, the median."""
    taken = []
    for _ in range(rounds):
        began = time.perf_counter()
        subprocess.run(
            [sys.executable, "-m", "nexus_otel.cli.app", *command],
            check=False, stdout=subprocess.DEVNULL, env={**os.environ, "NEXUS_HOME": str(home)},
        )  # fmt: skip
        taken.append(time.perf_counter() - began)
    return statistics.median(taken)


def fill(home: Path, spans: int) -> None:
    """Write runs of agents with what was said in them."""
    chance = random.Random(1)  # noqa: S311 - texts
    settings = Settings(store_max_mb=100_000)
    resource = Resource({"service.name": "bench", "host.name": "bench", "telemetry.distro.name": "nexus-otel"})
    spool = Spool.open(home, (), resource=dict(resource.attributes), settings=settings)
    provider = TracerProvider(resource=resource, shutdown_on_exit=False)
    provider.add_span_processor(SpoolProcessor(spool))
    tracer = provider.get_tracer("nexus_otel.instrumentors.anthropic", "0.1.0")
    for number in range(spans // (1 + STEPS + TOOLS)):
        write_run(tracer, number, chance)
    spool.close()


def write_run(tracer, number: int, chance: random.Random) -> None:
    name = f"agent {number % 7}"
    root = tracer.start_span(
        f"invoke_agent {name}", attributes={"gen_ai.operation.name": "invoke_agent", "gen_ai.agent.name": name}
    )
    around = set_span_in_context(root)
    said = [message("user", {"type": "text", "content": text(chance, 60)})]
    for step in range(STEPS):
        asked = [call(f"{number}-{step}-{place}", chance) for place in range(TOOLS // STEPS)]
        answer = message("assistant", {"type": "text", "content": text(chance, 30)}, *asked)
        span = tracer.start_span("chat model-x", around, attributes=chat(len(said), step))
        span.set_attribute("gen_ai.input.messages", json.dumps(said))
        span.set_attribute("gen_ai.output.messages", json.dumps([answer]))
        span.end()
        said.append(answer)
        for one in asked:
            result = text(chance, 90)
            span = tracer.start_span(f"execute_tool {one['name']}", around, attributes=tool(one))
            span.set_attribute("gen_ai.tool.call.result", result)
            if chance.random() < 0.02:
                span.set_attribute("error.type", "TimeoutError")
                span.set_status(Status(StatusCode.ERROR, "no answer"))
            span.end()
            said.append(message("tool", {"type": "tool_call_response", "id": one["id"], "response": result}))
    if chance.random() < 0.02:
        root.set_status(Status(StatusCode.ERROR, "gave up"))
    root.end()


def text(chance: random.Random, words: int) -> str:
    return " ".join(chance.choices(WORDS, k=words))


def message(role: str, *parts: dict) -> dict:
    return {"role": role, "parts": list(parts)}


def call(call_id: str, chance: random.Random) -> dict:
    name = chance.choice(("search", "book", "read_file"))
    return {"type": "tool_call", "id": call_id, "name": name, "arguments": {"q": text(chance, 8)}}


def chat(messages: int, step: int) -> dict:
    return {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "anthropic",
        "gen_ai.request.model": "model-x",
        "gen_ai.response.model": "model-x-2026",
        "gen_ai.response.id": f"msg_{step}",
        "gen_ai.request.max_tokens": 1024,
        "gen_ai.response.finish_reasons": ("tool_call",),
        "gen_ai.usage.input_tokens": 1200 + 400 * step,
        "gen_ai.usage.output_tokens": 88,
        "server.address": "api.example.com",
        "server.port": 443,
        "nexus.message.count": messages,
        "nexus.message.bytes": 4096,
    }


def tool(one: dict) -> dict:
    return {
        "gen_ai.operation.name": "execute_tool",
        "gen_ai.tool.name": one["name"],
        "gen_ai.tool.call.id": one["id"],
        "gen_ai.tool.type": "function",
        "gen_ai.tool.call.arguments": json.dumps(one["arguments"]),
        "nexus.derived": True,
        "nexus.tool.call.arguments.hash": "0123456789abcdef",
        "nexus.tool.call.result.hash": "0123456789abcdef",
        "nexus.tool.answer.form": "other",
    }


if __name__ == "__main__":
    main()
