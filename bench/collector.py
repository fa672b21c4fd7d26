"""How much content a second a core of the shipped collector masks, counts and writes: `python bench/collector.py`.

Needs a collector: `make collector`, or `OTELCOL=/path`.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tests.collector.kit import QUICK, Collector, built, soon
from tests.collector.made import Made, agent

SPANS = 100
PROSE = "How warm is it in Paris, Oslo and Atlantis? Please answer in Celsius; the risk-assessment of 2026 says\nso. "
MESSAGES = json.dumps([{"role": "user", "parts": [{"type": "text", "content": PROSE}]}] * 1600)


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        given = {**QUICK, "NEXUS_COLLECTOR_SHARE": "100"}
        with Collector(built(), Path(folder) / "collector", given) as collector:
            before = cpu_s(collector)
            runs = [agent(20, Made(attributes={"gen_ai.input.messages": MESSAGES})) for _ in range(SPANS)]
            for run in runs:
                while not collector.post(run.request()):
                    time.sleep(0.1)
            soon(lambda: len(collector.kept()) == SPANS)
            used = cpu_s(collector) - before
    size = SPANS * len(MESSAGES) / 1e6
    print(f"{size:.0f} MB of content in {SPANS} spans: {used:.1f} s of CPU, {size / used:.0f} MB a second a core")


def cpu_s(collector: Collector) -> float:
    """The CPU time of the collector so far, in seconds; Linux."""
    fields = Path(f"/proc/{collector.pid}/stat").read_text("utf-8").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / 100


if __name__ == "__main__":
    main()
