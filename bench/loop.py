"""What 500 concurrent streams on one event loop wait for: each chunk, and everybody else.

    python bench/loop.py [--streams 500] [--rounds 5] [--young] [--json]

Each stream gives 12 chunks in three seconds, then the next takes its place, three times. Measured on the wall clock:
how late a chunk is in the hands of the program, and how late a task that sleeps 5 ms wakes up. Pauses of the garbage
collector are part of it. The variants take turns, round by round; figures are the medians over the rounds of each
round's percentile, ratios those to the calls alone. Content is on, spans are exported every second. With `--young` the
garbage collector makes no full collections: what is left is not their pauses.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import os
import statistics
import sys
import time
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent))
os.environ.setdefault("OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT", "SPAN_ONLY")

import workloads
from overhead import nothing, spooling
from peers import PEERS, instrument

GAP_S = 0.25
CHUNKS = 12
SPREAD_S = 3.0
IN_A_ROW = 3
TICK_S = 0.005
NEVER = 1_000_000
FIGURES = {"chunk p50": (0, 50), "chunk p99": (0, 99), "loop lag p50": (1, 50), "loop lag p99": (1, 99)}
"""Which series, and which percentile of it."""

Reading = Callable[[list[float]], Coroutine[Any, Any, None]]
Variant = tuple[Reading, Callable[[], None], Callable[[], None]]


async def ticking(lags: list[float]) -> None:
    """Put into `lags` how late each wake-up is, in seconds."""
    while True:
        due = time.perf_counter() + TICK_S
        await asyncio.sleep(TICK_S)
        lags.append(time.perf_counter() - due)


async def one_round(reading: Reading, streams: int) -> tuple[list[float], list[float]]:
    """Run the streams, begun one after another; return the lateness of chunks and of wake-ups."""
    late: list[float] = []
    lags: list[float] = []

    async def begun(number: int) -> None:
        await asyncio.sleep(number / streams * SPREAD_S)
        for _stream in range(IN_A_ROW):
            await reading(late)

    clock = asyncio.create_task(ticking(lags))
    await asyncio.gather(*(begun(number) for number in range(streams)))
    clock.cancel()
    return late, lags


def measured(variants: dict[str, Variant], rounds: int, streams: int) -> dict[str, dict[str, float]]:
    """Return milliseconds, by variant and figure."""
    taken: dict[str, dict[str, list[float]]] = {name: {figure: [] for figure in FIGURES} for name in variants}
    for number in range(rounds + 1):
        for name, (reading, before, after) in variants.items():
            before()
            gc.collect()
            series = asyncio.run(one_round(reading, streams))
            after()
            for figure, (which, percentile) in FIGURES.items():
                if number:  # the first round warms up
                    taken[name][figure].append(statistics.quantiles(series[which], n=100)[percentile - 1] * 1e3)
    return {name: {figure: statistics.median(each) for figure, each in by.items()} for name, by in taken.items()}


def variants(peer: str) -> dict[str, Variant]:
    """Return what takes turns: the calls alone, a span written by hand, the peer, and ours through the spool."""
    sdk, asked = workloads.dripping_client(CHUNKS, GAP_S), workloads.request()
    provider = workloads.provider(every_ms=1_000)
    tracer = provider.get_tracer("bench")

    async def bare(late: list[float]) -> None:
        await workloads.read_stream(sdk, asked, late)

    async def by_hand(late: list[float]) -> None:
        await workloads.read_by_hand(sdk, asked, late, tracer)

    found = {
        "bare": (bare, nothing, nothing),
        "by hand": (by_hand, nothing, nothing),
        peer: (bare, *instrument(peer, provider)),
    }
    if peer == "nexus":
        found["through the spool"] = (bare, *instrument(peer, spooling()))
    return found


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--streams", type=int, default=500)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--peer", choices=PEERS, default="nexus", help="which instrumentation; it must be installed")
    parser.add_argument("--young", action="store_true", help="no full collections of the garbage collector")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()

    if options.young:
        gc.set_threshold(*gc.get_threshold()[:2], NEVER)
    found = measured(variants(options.peer), options.rounds, options.streams)
    bare = found["bare"]
    if options.json:
        rows = [
            {"work": f"{figure}{'' if name == options.peer else ', ' + name}", "ratio": round(value / bare[figure], 2)}
            for name, by in found.items()
            if name != "bare"
            for figure, value in by.items()
        ]
        print(json.dumps({"peer": options.peer, "rows": rows}))
        return
    print(f"{'':<20}" + "".join(f"{figure + ' ms':>18}" for figure in FIGURES))
    for name, by in found.items():
        cells = (f"{value:.2f} ({value / bare[figure]:.2f})" for figure, value in by.items())
        print(f"{name:<20}" + "".join(f"{cell:>18}" for cell in cells))


if __name__ == "__main__":
    main()
