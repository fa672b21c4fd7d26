"""Cost per model call, chunk, sampled-out call and 50 KB prompt: as a ratio to a span written by hand.

    python bench/overhead.py [--sdk openai] [--rounds 15] [--json]

CPU time of the whole process. The variants take turns, batch by batch, so that a slow phase of the machine meets all of
them alike; each figure is the least of its rounds less the least of the bare ones: what other work adds is
left out. Content is on.
"""

from __future__ import annotations

import argparse
import gc
import importlib
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent))
os.environ.setdefault("OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT", "SPAN_ONLY")

from peers import PEERS, SDKS, instrument

Variant = tuple[Callable[[], Any], Callable[[], None], Callable[[], None]]


def measured(variants: dict[str, Variant], rounds: int, batch: int, flush: Callable[[], Any]) -> dict[str, list[float]]:
    """Return microseconds of CPU per operation, one figure a round, by variant; export is flushed inside the batch."""
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
            flush()
            spent = (time.process_time() - started) / batch * 1e6
            after()
            if number:  # the first round warms up
                taken[name].append(spent)
    return taken


def nothing() -> None:
    """Do nothing before or after a batch."""


@dataclass(frozen=True)
class Work:
    """One kind of work: the call alone, and inside a span written by hand; `per` operations at once."""

    name: str
    bare: Callable[[], Any]
    floor: Callable[[], Any]
    provider: Any
    batch: int
    per: int = 1
    flushed: Any = None
    sdk: str = "anthropic"

    def row(self, peer: str, rounds: int) -> dict[str, Any]:
        """Return what an operation costs over the bare one, by hand and by `peer`."""
        on, off = instrument(peer, self.provider, self.sdk)
        variants = {
            "bare": (self.bare, nothing, nothing),
            "floor": (self.floor, nothing, nothing),
            "ours": (self.bare, on, off),
        }
        taken = measured(variants, rounds, self.batch, (self.flushed or self.provider).force_flush)
        floor, ours = ((min(taken[which]) - min(taken["bare"])) / self.per for which in ("floor", "ours"))
        ratio = round(ours / floor, 2) if floor > 0 else None
        return {"work": self.name, "floor_us": round(floor, 2), "ours_us": round(ours, 2), "ratio": ratio}


def spooling() -> Any:
    """Return a provider as we make it: spans are encoded and written to disk as they begin and end."""
    from opentelemetry.sdk.trace import TracerProvider

    from nexus_otel.export.spool import Spool, SpoolProcessor

    made = TracerProvider(shutdown_on_exit=False)
    made.add_span_processor(SpoolProcessor(Spool.open(Path(tempfile.mkdtemp()))))
    return made


def works(batch: int, peer: str, of: str) -> list[Work]:
    """Return what is measured of an SDK."""
    workloads = importlib.import_module(SDKS[of])
    sdk = workloads.client()
    on, off = workloads.provider(), workloads.provider(sampled=False)
    tracer, silent = on.get_tracer("bench"), off.get_tracer("bench")
    short, long = workloads.request(), workloads.request(size=10_000, messages=5)
    agent = workloads.request(tools=True)
    call, large = workloads.one_call(sdk, short), workloads.one_call(sdk, long)
    offered, stream = workloads.one_call(sdk, agent), workloads.one_stream(sdk, short)
    streamed = workloads.streamed_by_hand(sdk, short, tracer)
    fewer = max(10, batch // 10)
    every = [
        Work("model call", call, workloads.by_hand(call, short, tracer), on, batch),
        *(
            [Work("through the spool", call, workloads.by_hand(call, short, tracer), spooling(), batch, flushed=on)]
            if peer == "nexus"
            else []
        ),
        Work("50 KB prompt", large, workloads.by_hand(large, long, tracer), on, batch),
        Work("sampled out", call, workloads.by_hand(call, short, silent), off, batch),
        Work("run of one call", offered, workloads.by_hand(offered, agent, tracer), on, batch),
        Work("chunk of a stream", stream, streamed, on, fewer, per=workloads.CHUNKS),
    ]
    return [replace(work, sdk=of) for work in every]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--batch", type=int, default=100)
    parser.add_argument("--peer", choices=PEERS, default="nexus", help="which instrumentation; it must be installed")
    parser.add_argument("--sdk", choices=SDKS, default="anthropic", help="peers are measured on Anthropic's only")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()

    rows = [work.row(options.peer, options.rounds) for work in works(options.batch, options.peer, options.sdk)]
    if options.json:
        print(json.dumps({"peer": options.peer, "rows": rows}))
        return
    print(f"{'work':<20}{'floor us':>10}{options.peer + ' us':>14}{'ratio':>8}")
    for one in rows:
        print(f"{one['work']:<20}{one['floor_us']:>10}{one['ours_us']:>14}{one['ratio'] or '-':>8}")


if __name__ == "__main__":
    main()
