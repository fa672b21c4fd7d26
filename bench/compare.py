"""The peers beside us: each in an environment of its own, taking turns, and one table of ratios.

    python bench/compare.py [--of overhead.py] [--rounds 15] [--turns 3]

Each peer is measured against the floor in its own process, turn by turn, so that a slow phase of the machine does not
fall on one of them alone; the figure is the median over the turns. Needs uv on the path for the environments.
With `--of loop.py --rounds 3` it is what 500 streams on an event loop wait for, as ratios to the calls alone.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
PLACE = ROOT / "build" / "bench"
COMMON = ["anthropic==2.12.0", "opentelemetry-sdk==1.45.2", "opentelemetry-exporter-otlp-proto-http==1.45.2"]
PACKAGES = {
    "nexus": ["-e", str(ROOT)],
    "official": ["opentelemetry-instrumentation-genai-anthropic==1.3b0"],
    "openinference": ["openinference-instrumentation-anthropic==3.1.0"],
    "openllmetry": ["opentelemetry-instrumentation-anthropic==0.62.4"],
}


def environment(name: str, packages: list[str]) -> str:
    """Return the interpreter of an environment with these packages, made if it is not there."""
    python = PLACE / name / "bin" / "python"
    if not python.exists():
        subprocess.run(["uv", "venv", "-q", "-p", sys.executable, str(PLACE / name)], check=True)
        subprocess.run(["uv", "pip", "install", "-q", "--python", str(python), *packages], check=True)
    return str(python)


def interpreter(peer: str) -> str:
    """Return the interpreter of a peer's environment."""
    return environment(peer, [*COMMON, *PACKAGES[peer]])


def told(command: list[str]) -> dict[str, Any]:
    """Return what a benchmark in a process of its own prints as JSON, on its last line."""
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def rows(bench: str, peer: str, rounds: int) -> list[dict[str, Any]]:
    """Return what one turn of a peer measures."""
    found = told([interpreter(peer), str(ROOT / "bench" / bench), "--peer", peer, "--rounds", str(rounds), "--json"])
    rows: list[dict[str, Any]] = found["rows"]
    return rows


def main() -> None:
    """Measure and print a table in Markdown."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--of", choices=["overhead.py", "loop.py"], default="overhead.py")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--turns", type=int, default=3)
    options = parser.parse_args()
    ratios: dict[str, dict[str, list[float]]] = {}
    for peer in PACKAGES:
        interpreter(peer)
    for _ in range(options.turns):
        for peer in PACKAGES:
            for row in rows(options.of, peer, options.rounds):
                if row["ratio"] is not None:
                    ratios.setdefault(row["work"], {}).setdefault(peer, []).append(row["ratio"])
    print(f"| work | {' | '.join(PACKAGES)} |\n|---|{'---|' * len(PACKAGES)}")
    for work, found in ratios.items():
        cells = [f"{statistics.median(found[peer]):.1f}" if peer in found else "" for peer in PACKAGES]
        print(f"| {work} | {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
