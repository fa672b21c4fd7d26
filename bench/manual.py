"""What a manual span costs beside the SDK's own with the same attributes: `python bench/manual.py`.

CPU of the whole process, the export's encoding included, as in the other benches. The spans by hand go through a
provider of their own, which nothing of ours watches.
"""

from __future__ import annotations

import argparse
import gc
import itertools
import time
from collections.abc import Callable
from typing import Any

from encoded import provider
from opentelemetry import trace
from opentelemetry.sdk.trace import SpanProcessor, TracerProvider

from nexus_otel import NexusClient
from nexus_otel.client.spans import Handle

OUTPUT = {"input_tokens": 900, "output_tokens": 20, "message_count": 4}
Work = Callable[[Handle, int], Any]
KINDS: dict[str, Work] = {
    "step": lambda run, n: run.start_span("agent-step", {"step": n}).end(output={"ok": 1}),
    "model call": lambda run, n: run.start_span("llm-call", {"model": "claude-bench", "step": n}).end(output=OUTPUT),
    "tool": lambda run, n: run.start_span("tool-call", {"tool": "t", "input": {"q": n}}).end(output={"result": n}),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=60)
    parser.add_argument("--batch", type=int, default=100)
    options = parser.parse_args()
    ours, theirs = provider(), provider()
    trace.set_tracer_provider(ours)
    nexus = NexusClient(agent_id="bench")
    print(f"{'span':12} {'by hand':>9} {'nexus':>9}  ratio")
    for kind, work in KINDS.items():
        attributes, name = recorded(nexus, work, ours)
        floor, cost = measured(
            lambda attributes=attributes, name=name: by_hand(theirs, attributes, name, options.batch),
            lambda work=work: by_nexus(nexus, ours, work, options.batch),
            options.rounds,
        )
        floor, cost = floor / options.batch, cost / options.batch
        print(f"{kind:12} {floor * 1e6:7.1f}us {cost * 1e6:7.1f}us  {cost / floor:5.2f}")


def by_hand(made: TracerProvider, attributes: dict[str, Any], name: str, batch: int) -> None:
    """One run with as many spans, as a person writes them with the SDK."""
    tracer = made.get_tracer("bench")
    with tracer.start_as_current_span("run"):
        for n in range(batch):
            with tracer.start_as_current_span(name) as span:
                span.set_attributes({**attributes, "nexus.step": n})
    made.force_flush()


def by_nexus(nexus: NexusClient, made: TracerProvider, work: Work, batch: int) -> None:
    """One run with as many spans of ours."""
    run = nexus.start_trace(metadata={"user_id": "u"})
    for n in range(batch):
        work(run, n)
    run.end()
    made.force_flush()


def recorded(nexus: NexusClient, work: Work, made: TracerProvider) -> tuple[dict[str, Any], str]:
    """Return the attributes and the name of the span that is made."""
    seen: list[Any] = []

    class Keep(SpanProcessor):
        def on_end(self, span: Any) -> None:
            if not seen:
                seen.append(span)

    made.add_span_processor(Keep())
    with nexus.start_trace() as run:
        work(run, 0)
    return dict(seen[0].attributes), seen[0].name


def measured(first: Callable[[], Any], second: Callable[[], Any], rounds: int) -> tuple[float, float]:
    """Return the least of the CPU seconds that each takes, in turns: what a busy machine adds is left out."""
    times: tuple[list[float], list[float]] = ([], [])
    for _, (work, into) in itertools.product(range(rounds), zip((first, second), times, strict=True)):
        gc.collect()
        started = time.process_time()
        work()
        into.append(time.process_time() - started)
    return min(times[0]), min(times[1])


if __name__ == "__main__":
    main()
