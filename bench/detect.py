"""What the detectors cost, a span: `python bench/detect.py`.

CPU time of this process, the least of several repeats. The spans are views as the live processor makes them, of runs
that do new things all the time: with the facts that our instrumentation writes and without content, and as others write
them, with content.
"""

from __future__ import annotations

import argparse
import gc
import time
from collections.abc import Callable
from typing import Any

from nexus_otel.detect.all import detectors
from nexus_otel.detect.detection import Detection
from nexus_otel.detect.model import Detector, SpanView

START = 1_700_000_000_000_000_000
ROOT = {"gen_ai.operation.name": "invoke_agent", "gen_ai.agent.name": "bench"}


def chat(number: int) -> dict[str, Any]:
    return {
        "gen_ai.operation.name": "chat", "gen_ai.provider.name": "anthropic",
        "gen_ai.request.model": "claude-sonnet-4-5", "gen_ai.response.model": "claude-sonnet-4-5",
        "gen_ai.request.max_tokens": 1024,
        "gen_ai.response.finish_reasons": ("tool_call",), "gen_ai.usage.input_tokens": 1_000 + 40 * (number % 64),
        "gen_ai.usage.output_tokens": 60, "nexus.message.count": 2 * (number % 64) + 1,
        "nexus.message.bytes": 900 * (number % 64) + 80,
    }  # fmt: skip


def ours(number: int) -> dict[str, Any]:
    return {
        "gen_ai.operation.name": "execute_tool", "gen_ai.tool.name": f"tool_{number % 5}",
        "gen_ai.tool.call.id": f"call_{number}", "nexus.tool.known": True, "nexus.tool.failed": False,
        "nexus.tool.call.arguments.hash": f"{number:016x}", "nexus.tool.call.result.hash": f"{number * 7:016x}",
        "nexus.tool.answer.form": "other",
    }  # fmt: skip


def others(number: int) -> dict[str, Any]:
    return {
        "gen_ai.operation.name": "execute_tool", "gen_ai.tool.name": f"tool_{number % 5}",
        "gen_ai.tool.call.id": f"call_{number}", "gen_ai.tool.call.arguments": f'{{"city": "Paris", "day": {number}}}',
        "gen_ai.tool.call.result": f"It has {number} degrees in Paris today, and it will rain in the evening.",
    }  # fmt: skip


def run(trace: int, steps: int, tool: Callable[[int], dict[str, Any]]) -> list[tuple[SpanView, bool]]:
    """Return the begins and ends of the spans of one run."""
    trace_id, now = f"{trace:032x}", START + trace * 1_000_000

    def begun(span_id: int, name: str, attributes: dict[str, Any], since: int) -> SpanView:
        parent = "" if not span_id else f"{1:016x}"
        return SpanView(trace_id, f"{span_id + 1:016x}", parent, name, since, 0, attributes)

    def ended(view: SpanView, until: int) -> SpanView:
        return SpanView(
            view.trace_id, view.span_id, view.parent_id, view.name, view.start_ns, until, view.attributes
        )  # fmt: skip

    root = begun(0, "invoke_agent bench", ROOT, now)
    events = [(root, False)]
    for number in range(steps):
        for name, attributes in (("chat claude", chat(number)), ("execute_tool", tool(number + 1_000 * trace))):
            now += 1_000_000_000
            view = begun(len(events), name, attributes, now)
            events += [(view, False), (ended(view, now + 900_000_000), True)]
    return [*events, (ended(root, now + 1_000_000_000), True)]


def cost(asked: list[Detector], runs: list[list[tuple[SpanView, bool]]]) -> float:
    """Return the CPU seconds that all of it takes."""
    detection = Detection(asked)
    for events in runs:
        for view, _ends in events:
            view.facts = None
    begins, ends = detection.begins, detection.ends
    gc.collect()
    gc.disable()
    started = time.process_time()
    for events in runs:
        for view, is_end in events:
            (ends if is_end else begins)(view)
    took = time.process_time() - started
    gc.enable()
    return took


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--runs", type=int, default=100)
    parser.add_argument("--steps", type=int, default=25)
    options = parser.parse_args()
    for label, tool in (("our facts, no content", ours), ("others' content", others)):
        runs = [run(number, options.steps, tool) for number in range(options.runs)]
        spans = sum(is_end for events in runs for _view, is_end in events)
        sets: dict[str, list[Detector]] = {"following the runs": [], **{one.mode: [one] for one in detectors()}}
        sets["all"] = detectors()
        least = dict.fromkeys(sets, float("inf"))
        for _ in range(options.rounds):
            for name, asked in sets.items():
                least[name] = min(least[name], cost(asked, runs))
        print(f"{label}: {spans:,} spans")
        floor = least["following the runs"] / spans * 1e6
        for name, seconds in least.items():
            each = seconds / spans * 1e6
            more = "" if name == "following the runs" else f"  (alone: {each - floor:+.2f})"
            print(f"  {name:20} {each:6.2f} us a span{more}")


if __name__ == "__main__":
    main()
