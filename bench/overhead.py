"""Cost per model call, chunk, sampled-out call and 50 KB prompt: as a ratio to a span written by hand.

    python bench/overhead.py [--rounds 15] [--json]

CPU time of the whole process. The variants take turns, batch by batch, so that a slow phase of the machine meets all of
them alike; each figure is the median over the rounds. Content is on.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent))
os.environ.setdefault("OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT", "SPAN_ONLY")

import workloads
from peers import PEERS, instrument

Variant = tuple[Callable[[], Any], Callable[[], None], Callable[[], None]]


def measured(variants: dict[str, Variant], rounds: int, batch: int) -> dict[str, list[float]]:
    """Return microseconds of CPU per operation, one figure a round, by variant."""
    taken: dict[str, list[float]] = {name: [] for name in variants}
    for number in range(rounds + 1):
        for name, (operation, before, after) in variants.items():
            before()
            for _ in range(3):
                operation()
            gc.collect()
            started = time.process_time()
            for _ in range(batch):
                operation()
            spent = (time.process_time() - started) / batch * 1e6
            after()
            if number:  # the first round warms up
                taken[name].append(spent)
    return taken


def nothing() -> None:
    """Do nothing before or after a batch."""


def row(
    name: str, bare: Any, floor: Any, peer: str, provider: Any, options: argparse.Namespace, per: int = 1
) -> dict[str, Any]:
    """Measure one kind of work."""
    on, off = instrument(peer, provider)
    variants = {"bare": (bare, nothing, nothing), "floor": (floor, nothing, nothing), "ours": (bare, on, off)}
    taken = measured(variants, options.rounds, options.batch)
    over = {
        which: statistics.median(a - b for a, b in zip(taken[which], taken["bare"], strict=True)) / per
        for which in ("floor", "ours")
    }
    return {"work": name, "floor_us": round(over["floor"], 2), "ours_us": round(over["ours"], 2),
            "ratio": round(over["ours"] / over["floor"], 2) if over["floor"] > 0 else None}  # fmt: skip


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--batch", type=int, default=100)
    parser.add_argument("--peer", choices=PEERS, default="nexus", help="which instrumentation; it must be installed")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()

    sdk = workloads.client()
    on, off = workloads.provider(), workloads.provider(sampled=False)
    tracer, silent = on.get_tracer("bench"), off.get_tracer("bench")
    short, long = workloads.request(), workloads.request(size=10_000, messages=5)
    call, large, stream = (
        workloads.one_call(sdk, short),
        workloads.one_call(sdk, long),
        workloads.one_stream(sdk, short),
    )
    rows = [
        row("model call", call, workloads.by_hand(call, short, tracer), options.peer, on, options),
        row("50 KB prompt", large, workloads.by_hand(large, long, tracer), options.peer, on, options),
        row("sampled out", call, workloads.by_hand(call, short, silent), options.peer, off, options),
    ]
    agent = workloads.request(tools=True)
    offered = workloads.one_call(sdk, agent)
    rows.append(row("run of one call", offered, workloads.by_hand(offered, agent, tracer), options.peer, on, options))
    options.batch = max(10, options.batch // 10)
    streamed = workloads.streamed_by_hand(sdk, short, tracer)
    rows.append(row("chunk of a stream", stream, streamed, options.peer, on, options, per=workloads.CHUNKS))
    if options.json:
        print(json.dumps({"peer": options.peer, "rows": rows}))
        return
    print(f"{'work':<20}{'floor us':>10}{options.peer + ' us':>14}{'ratio':>8}")
    for one in rows:
        print(f"{one['work']:<20}{one['floor_us']:>10}{one['ours_us']:>14}{one['ratio'] or '-':>8}")


if __name__ == "__main__":
    main()
