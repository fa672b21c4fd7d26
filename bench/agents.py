"""What instrumentation adds to a whole run of an agent, by framework, and the peers beside us.

    python bench/agents.py [--only dspy] [--rounds 20] [--batch 5]

The agent asks its model, calls a tool, and asks again; DSPy's `ReAct` asks a third time, and ends by a tool of its own.
The floor is the spans of that run written by hand, without the run. Each framework has an environment of its own, made
by uv from `requirements/`, and each instrumentation a process in it, where the bare run, the floor and the instrumented
run take turns, as in overhead.py. A cell is what a run costs over the bare one, its spans, and the ratio to the floor.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent))
os.environ.setdefault("OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT", "SPAN_ONLY")

import compare

PINS = {
    "anthropic": "newest.txt", "openai": "openai-newest.txt", "langchain": "langchain-newest.txt",
    "llama_index": "llama_index-newest.txt", "dspy": "dspy-newest.txt", "crewai": "crewai-newest.txt",
}  # fmt: skip
PACKAGES = {
    "anthropic": {"openinference": ("anthropic==3.1.0",), "openllmetry": ("anthropic==0.62.4",)},
    "openai": {"openinference": ("openai==0.1.66",), "openllmetry": ("openai==0.62.4",)},
    "langchain": {"openinference": ("langchain==0.1.80",), "openllmetry": ("langchain==0.62.4",)},
    "llama_index": {"openinference": ("llama-index==4.6.1",), "openllmetry": ("llamaindex==0.62.4",)},
    "dspy": {"openinference": ("dspy==0.1.48",)},
    "crewai": {"openinference": ("crewai==1.1.21", "openai==0.1.66"), "openllmetry": ("crewai==0.62.4",)},
}
"""What the peers have for a framework: their packages, without what all their names begin with."""
BEGINNING = {"openinference": "openinference-instrumentation-", "openllmetry": "opentelemetry-instrumentation-"}
NAMES = {
    "anthropic": "Anthropic SDK, loop", "openai": "OpenAI SDK, loop", "langchain": "LangChain `create_agent`",
    "llama_index": "LlamaIndex `FunctionAgent`", "dspy": "DSPy `ReAct`", "crewai": "CrewAI `Agent.kickoff`",
}  # fmt: skip
CALLS = {"dspy": 3}
"""How many model calls a run has, where it is not two."""
STAY = (("llama_index", "openllmetry"), ("langchain", "openllmetry"), ("openai", "openllmetry"))
"""What makes spans after it was switched off."""
SHOWN = ("nexus", *BEGINNING)


def interpreter(framework: str) -> str:
    """Return the interpreter of a framework's environment, made if it is not there."""
    peers = [BEGINNING[peer] + each for peer, found in PACKAGES[framework].items() for each in found]
    pins = ["-r", str(compare.ROOT / "requirements" / PINS[framework])]
    return compare.environment(f"agents-{framework}", [*pins, *compare.PACKAGES["nexus"], *peers])


def measure(framework: str, peer: str, options: argparse.Namespace) -> dict[str, Any]:
    """Return what a run costs in this process, in microseconds, and how many spans it makes.

    Raises:
        RuntimeError: A run is not as it should be, or the peer cannot be switched off.
    """
    from encoded import Encode, provider
    from overhead import Variant, measured, nothing
    from peers import instrument
    from workloads_agents import AGENTS, ANSWER, by_hand

    exporter = Encode()
    made = provider(exporter=exporter)
    run = AGENTS[framework]()
    flush = Flushed(framework, made)
    on, off = instrument(peer, made, framework)

    def spans() -> int:
        before = exporter.count
        if run() != ANSWER:
            raise RuntimeError("another answer was expected")
        flush()
        return exporter.count - before

    def take(**variants: Variant) -> dict[str, float]:
        taken = measured(variants, options.rounds, options.batch, flush)
        return {name: min(figures) for name, figures in taken.items()}

    floor = by_hand(made.get_tracer("bench"), CALLS.get(framework, 2))
    apart: dict[str, Variant] = {"bare": (run, nothing, nothing), "floor": (floor, nothing, nothing)}
    if (framework, peer) in STAY:
        least = take(**apart)
        on()
        least |= take(ours=(run, nothing, nothing))
        return {**least, "spans": spans()}
    least = take(**apart, ours=(run, on, off))
    if left := spans():
        raise RuntimeError(f"{left} spans after {peer} was switched off")
    on()
    return {**least, "spans": spans()}


class Flushed:
    """Waits for a framework's own events, then for the export."""

    def __init__(self, framework: str, provider: Any) -> None:
        self.provider, self.framework = provider, framework

    def __call__(self) -> None:
        if self.framework == "crewai":
            from crewai.events.event_bus import crewai_event_bus

            crewai_event_bus.flush()
        self.provider.force_flush()


def table_row(framework: str, options: argparse.Namespace) -> str:
    """Return a row of the table: each instrumentation measured in a process of its own."""
    given = ["--rounds", str(options.rounds), "--batch", str(options.batch)]
    found = {}
    for peer in ("nexus", *PACKAGES[framework]):
        found[peer] = compare.told([interpreter(framework), __file__, "--one", framework, peer, *given])
    bare, floor = (min(row[which] for row in found.values()) for which in ("bare", "floor"))
    cells = [NAMES[framework], f"{bare / 1000:.1f} ms", f"{floor:.0f} us, {CALLS.get(framework, 2) + 2}"]
    return f"| {' | '.join([*cells, *(_cell(found.get(peer), floor) for peer in SHOWN)])} |"


def _cell(row: dict[str, Any] | None, floor: float) -> str:
    if row is None or not row["spans"]:
        return "" if row is None else "no spans"
    added = row["ours"] - row["bare"]
    return f"{added:.0f} us, {row['spans']}: {added / floor:.1f}"


def main() -> None:
    """Measure and print a table in Markdown."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=PINS, nargs="+", default=list(PINS))
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--batch", type=int, default=5)
    parser.add_argument("--one", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        print(json.dumps(measure(*options.one, options)))
        return
    print(f"| agent | bare | by hand, spans | {' | '.join(SHOWN)} |")
    print("|---|---|---|" + "---|" * len(SHOWN))
    for framework in options.only:
        print(table_row(framework, options), flush=True)


if __name__ == "__main__":
    main()
