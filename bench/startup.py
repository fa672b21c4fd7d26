"""Cost of starting: CPU time of an interpreter that imports the SDK, with and without us, and with the peers.

    python bench/startup.py [--rounds 15] [--peers]

Each peer is in an environment of its own (needs uv), beside the same imports without it in that environment.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

import compare
from peers import PEERS, module_of

LAUNCHER = str(Path(sys.executable).with_name("nexus-instrument"))
NOTHING, SDK, OTEL = "pass", "import anthropic", "import anthropic, opentelemetry.sdk.trace"
HOOK = "import nexus_otel.auto; "
ACTIVE = (
    OTEL
    + """
from {module} import AnthropicInstrumentor
provider = opentelemetry.sdk.trace.TracerProvider(shutdown_on_exit=False)
AnthropicInstrumentor().instrument(tracer_provider=provider, skip_dep_check=True)
"""
)


def cpu_ms(command: list[str]) -> float:
    """Return the CPU time of a command, in milliseconds."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, check=True, env={**os.environ, "NEXUS_SUMMARY": "never"})
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return (after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime) * 1e3


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--peers", action="store_true", help="each instrumentation, imported and activated")
    options = parser.parse_args()
    cases = _peers() if options.peers else _cases()
    taken: list[list[float]] = [[] for _ in cases]
    for _ in range(options.rounds):
        for figures, (_, command) in zip(taken, cases, strict=True):
            figures.append(cpu_ms(command))
    for figures, (name, _) in zip(taken, cases, strict=True):
        print(f"{name:<32}{min(figures):>8.0f} ms")


def _cases() -> list[tuple[str, list[str]]]:
    return [
        ("python -c pass", [sys.executable, "-c", NOTHING]),
        ("  with nexus_otel.auto", [sys.executable, "-c", HOOK + NOTHING]),
        ("  under nexus-instrument", [LAUNCHER, sys.executable, "-c", NOTHING]),
        ("import anthropic", [sys.executable, "-c", SDK]),
        ("  and the OpenTelemetry SDK", [sys.executable, "-c", OTEL]),
        ("  with nexus_otel.auto", [sys.executable, "-c", HOOK + SDK]),
        ("  under nexus-instrument", [LAUNCHER, sys.executable, "-c", SDK]),
    ]


def _peers() -> list[tuple[str, list[str]]]:
    found = []
    for peer in PEERS:
        python = compare.interpreter(peer)
        found.append((f"{peer}: imports", [python, "-c", OTEL]))
        found.append(("  and it, activated", [python, "-c", ACTIVE.format(module=module_of(peer, "anthropic"))]))
    return found


if __name__ == "__main__":
    main()
