"""The table of faults in full: spans lost, memory, and what the program waited, while its collector fails.

    python bench/faults.py [--protocol grpc] [--only hang] [--scale 1.0]

Each row is a program of its own under `nexus-instrument`, without the watcher; afterwards the collector is well again
and `nexus-otel flush` runs. Lost is what has not arrived then. `exit` is the time from the program's last line to its
end, `span` the longest that it waited for one span, `MB` its resident memory less that of the same program without us.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tests.faults.table import Fault, Load, Row, bare_mb, in_folder, measured

STEADY = Load(20_000, 1_000)
BEGINS_S = 5.0
ROWS: dict[str, tuple[Load, Fault]] = {
    "burst of 20,000": (Load(20_000), Fault()),
    "250/s": (Load(5_000, 250), Fault()),
    "refuse 10 s": (STEADY, Fault("refuse", BEGINS_S, 10)),
    "refuse 60 s": (Load(20_000, 250), Fault("refuse", BEGINS_S, 60)),
    "hang 10 s": (STEADY, Fault("hang", BEGINS_S, 10)),
    "hang 60 s": (Load(20_000, 250), Fault("hang", BEGINS_S, 60)),
    "503 for 10 s, retry after 3 s": (STEADY, Fault("503", BEGINS_S, 10, retry_after=3)),
    "503 for 30 s, retry after 15 s": (Load(20_000, 500), Fault("503", BEGINS_S, 30, retry_after=15)),
    "429 for 10 s": (STEADY, Fault("429", BEGINS_S, 10)),
    "500 for 10 s": (STEADY, Fault("500", BEGINS_S, 10)),
    "301 for 10 s": (STEADY, Fault("301", BEGINS_S, 10)),
    "acknowledgements lost for 3 s": (STEADY, Fault("lost", BEGINS_S, 3)),
    "slow for 30 s": (Load(20_000, 500), Fault("slow", BEGINS_S, 30)),
    "return, sink hangs": (Load(2_000, 1_000), Fault("hang", 0, 60)),
    "return, sink 503": (Load(2_000, 1_000), Fault("503", 0, 60)),
    "512 x 50 KB": (Load(512, 0, 50_000), Fault()),
    "2,000 x 50 KB at 100/s": (Load(2_000, 100, 50_000), Fault()),
    "512 x 200 KB": (Load(512, 0, 200_000), Fault()),
    "4,000 x 50 KB, sink hangs": (Load(4_000, 0, 50_000), Fault("hang", 0, 120)),
    **{
        f"{ending}, sink 503": (Load(2_000, 1_000, 0, ending), Fault("503", 0, 60))
        for ending in ("sys.exit", "exception", "SIGINT", "SIGTERM", "SIGKILL", "os._exit", "abort", "execv", "asyncio")
    },
    **{
        f"children: {way}": (Load(2_000, 0, 0, way), Fault())
        for way in ("fork + sys.exit", "fork + os._exit", "fork + SIGTERM", "fork", "spawn", "Pool")
    },
}
CHILDREN = ("fork", "spawn", "Pool")
CODES = {"301": "INTERNAL", "429": "RESOURCE_EXHAUSTED", "500": "UNKNOWN", "503": "UNAVAILABLE"}


def line(name: str, row: Row, more_mb: float) -> str:
    return (
        f"{name:32} {row.expected:6} {row.lost:5} {row.duplicates:5} {row.exit_s:7.2f} s {row.worst_ms:8.1f} ms "
        f"{more_mb:6.0f}"
    )


def scaled(load: Load, fault: Fault, protocol: str, scale: float) -> tuple[Row, float]:
    """Return a row with a share of the spans and times, and how many megabytes more it held than bare."""
    fewer = replace(load, count=int(load.count * scale))
    behaviour = CODES.get(fault.behaviour, fault.behaviour) if protocol == "grpc" else fault.behaviour
    shorter = replace(fault, behaviour=behaviour, begins_s=fault.begins_s * scale, lasts_s=fault.lasts_s * scale)
    row = in_folder(lambda folder: measured(fewer, shorter, protocol, folder))
    bare = in_folder(lambda folder: bare_mb(fewer, folder)) if not load.ending.startswith(CHILDREN) else row.resident_mb
    return row, row.resident_mb - bare


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--protocol", choices=("http/protobuf", "grpc"), default="http/protobuf")
    parser.add_argument("--only", default="", help="rows with this in their name")
    parser.add_argument("--scale", type=float, default=1.0, help="share of the spans and of the times")
    given = parser.parse_args()
    print(f"{given.protocol:32} {'spans':>6} {'lost':>5} {'twice':>5} {'exit':>9} {'span':>11} {'MB':>6}")
    for name, (load, fault) in ROWS.items():
        if given.only not in name:
            continue
        row, more_mb = scaled(load, fault, given.protocol, given.scale)
        print(line(name, row, more_mb), flush=True)


if __name__ == "__main__":
    main()
