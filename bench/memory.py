"""Whether memory stays flat: what a process holds after 1,000 and after 10,000 runs, with the local store.

    python bench/memory.py [--runs 10000]

A run is two model calls and a tool, each tenth fails. Resident memory (Linux), in processes of their own; the calls
alone beside it, for the SDK and the allocator grow too.
"""

from __future__ import annotations

import argparse
import gc
import itertools
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

CONTENT = "OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT"
CASES = {"calls alone": None, "content off": "NO_CONTENT", "content on": "SPAN_ONLY"}
EARLY = 1_000
FAILING = 10
"""One run in so many fails."""


def resident_mb() -> float:
    """Return what this process holds, in MB."""
    gc.collect()
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6


def agent() -> Callable[[int], None]:
    """Return what makes one run."""
    import httpx2
    import workloads

    ids = itertools.count()

    def reply(request: Any) -> Any:
        number = next(ids)
        if b"fail" in request.content:
            return httpx2.Response(500, json={"type": "error", "error": {"type": "api_error", "message": "no"}})
        asks = b"tool_result" not in request.content
        use = {"type": "tool_use", "id": f"toolu_{number}", "name": "lookup", "input": {"word": "x" * 500}}
        content = [use] if asks else workloads.ANSWER["content"]
        reason = "tool_use" if asks else "end_turn"
        answer = {**workloads.ANSWER, "id": f"msg_{number}", "content": content, "stop_reason": reason}
        return httpx2.Response(200, json=answer)

    http = httpx2.Client(transport=httpx2.MockTransport(reply))
    sdk = workloads.anthropic.Anthropic(api_key="none", http_client=http, max_retries=0, open_telemetry=False)

    def one(number: int) -> None:
        asked = workloads.request(size=500, messages=1, tools=True)
        asked["messages"][0]["content"] += f" {number}"
        first = sdk.messages.create(**asked)
        text = "fail" if number % FAILING == 0 else "found " * 100
        result = {"type": "tool_result", "tool_use_id": first.content[0].id, "content": text}
        asked["messages"] += [{"role": "assistant", "content": first.content}, {"role": "user", "content": [result]}]
        with suppress(workloads.anthropic.APIStatusError):
            sdk.messages.create(**asked)

    return one


def child(runs: int) -> None:
    """Make the runs and print what is held on the way."""
    one = agent()
    held = {}
    for number in range(1, runs + 1):
        one(number)
        if number in {EARLY, runs}:
            held[number] = resident_mb()
    print(json.dumps(held))


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=10_000)
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        child(options.runs)
        return
    print(f"{'':<14}{f'{EARLY} runs, MB':>16}{f'{options.runs} runs, MB':>18}")
    for name, content in CASES.items():
        with tempfile.TemporaryDirectory() as home:
            launcher = [str(Path(sys.executable).with_name("nexus-instrument"))] if content else []
            command = [*launcher, sys.executable, __file__, "--child", "--runs", str(options.runs)]
            env = {**os.environ, "NEXUS_HOME": home, "NEXUS_SUMMARY": "never", CONTENT: content or ""}
            done = subprocess.run(command, check=True, capture_output=True, text=True, env=env)
        early, late = json.loads(done.stdout).values()
        print(f"{name:<14}{early:>16.1f}{late:>18.1f}", flush=True)


if __name__ == "__main__":
    main()
