"""What a manual span costs beside the SDK's own with the same attributes: `python bench/manual.py`."""

from __future__ import annotations

import argparse
import gc
import statistics
import time
from collections.abc import Callable
from typing import Any

from opentelemetry import trace
from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
from workloads import provider

from nexus_otel import NexusClient

OUTPUT = {"input_tokens": 900, "output_tokens": 20, "message_count": 4}


def by_hand(tracer: trace.Tracer, attributes: dict[str, Any], name: str) -> None:
    with tracer.start_as_current_span(name) as span:
        span.set_attributes(attributes)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--batch", type=int, default=300)
    options = parser.parse_args()
    made: TracerProvider = provider()
    trace.set_tracer_provider(made)
    nexus = NexusClient(agent_id="bench")
    tracer = made.get_tracer("bench")
    run = nexus.start_trace(metadata={"user_id": "u"})
    kinds: dict[str, Callable[[], Any]] = {
        "step": lambda: run.start_span("agent-step", {"step": 1}).end(output={"ok": 1}),
        "model call": lambda: run.start_span("llm-call", {"model": "claude-bench"}).end(output=OUTPUT),
        "tool": lambda: run.start_span("tool-call", {"tool": "t", "input": {"q": 1}}).end(output={"result": "r"}),
    }
    print(f"{'span':12} {'by hand':>9} {'nexus':>9}  ratio")
    for kind, ours in kinds.items():
        attributes, name = recorded(ours, made)
        hand = lambda attributes=attributes, name=name: by_hand(tracer, attributes, name)  # noqa: E731
        floor, cost = measured(hand, ours, options.rounds, options.batch)
        print(f"{kind:12} {floor * 1e6:7.1f}us {cost * 1e6:7.1f}us  {cost / floor:5.2f}")
    run.end()


def recorded(ours: Callable[[], Any], made: TracerProvider) -> tuple[dict[str, Any], str]:
    """Return the attributes and the name of the span that is made."""
    seen: list[Any] = []

    class Keep(SpanProcessor):
        def on_end(self, span: Any) -> None:
            seen.append(span)

    made.add_span_processor(Keep())
    ours()
    return dict(seen[-1].attributes), seen[-1].name


def measured(first: Callable[[], Any], second: Callable[[], Any], rounds: int, batch: int) -> tuple[float, float]:
    """Return the middle of the CPU seconds that each takes, a turn each in every round."""
    times: tuple[list[float], list[float]] = ([], [])
    gc.collect()
    for _ in range(rounds):
        for work, into in zip((first, second), times, strict=True):
            started = time.process_time()
            for _ in range(batch):
                work()
            into.append((time.process_time() - started) / batch)
    return statistics.median(times[0]), statistics.median(times[1])


if __name__ == "__main__":
    main()
