"""Many spans through the live processor: `python bench/live.py`.

Agents that work, poll, fail and loop, many at a time, and some that never end; on the SDK's spans, made by hand with
the facts that our instrumentation writes, 20 ms each. Prints the rate, what a span costs with and without the
processor (CPU time), and the process's memory on the way, which must not grow.
"""

from __future__ import annotations

import argparse
import gc
import logging
import tempfile
import time
from pathlib import Path
from typing import Any

from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
from opentelemetry.trace import set_span_in_context

from nexus_otel import config
from nexus_otel.config import Settings
from nexus_otel.processors.live import LiveProcessor, live

MARKS = (1_000, 10_000, 100_000, 500_000, 1_000_000, 2_000_000)
ABANDONED = 50
"""One run of so many is never ended."""
HEARD = [0]
NOW = [1_700_000_000_000_000_000]


def memory_mb() -> float:
    """Return the resident memory of this process."""
    return int(Path("/proc/self/statm").read_text("ascii").split()[1]) * 4096 / 1e6


class Agent:
    """One run, told a span at a time."""

    def __init__(self, tracer: Any, number: int) -> None:
        self.tracer, self.number, self.step = tracer, number, 0
        about = {"gen_ai.operation.name": "invoke_agent", "gen_ai.agent.name": "bench"}
        self.root = tracer.start_span("invoke_agent bench", attributes=about, start_time=NOW[0])
        self.inside = set_span_in_context(self.root)

    def go_on(self) -> int:
        """Make a model call and a tool call; returns how many spans ended."""
        self.step += 1
        chat = {
            "gen_ai.operation.name": "chat", "gen_ai.request.model": "claude-sonnet-4-5",
            "gen_ai.usage.input_tokens": 900 + 30 * self.step, "gen_ai.usage.output_tokens": 40,
            "gen_ai.response.finish_reasons": ("tool_call",), "nexus.message.count": 2 * self.step,
            "nexus.message.bytes": 600 * self.step,
        }  # fmt: skip
        for name, attributes in (("chat claude-sonnet-4-5", chat), ("execute_tool work", self.tool())):
            span = self.tracer.start_span(name, self.inside, attributes=attributes, start_time=NOW[0])
            NOW[0] += 20_000_000
            span.end(NOW[0])
        if self.step < 40:
            return 2
        if self.number % ABANDONED:
            self.root.end(NOW[0])
        return 3

    def tool(self) -> dict[str, Any]:
        kind = self.number % 4
        same = kind in {1, 3} and self.step > 10
        failed = kind == 2 and self.step % 5 == 0
        arguments = 0 if same else self.step
        facts: dict[str, Any] = {
            "gen_ai.operation.name": "execute_tool", "gen_ai.tool.name": f"tool_{arguments % 7}",
            "nexus.tool.call.arguments.hash": f"{arguments:016x}",
            "nexus.tool.call.result.hash": f"{arguments + (self.step if kind == 1 else 0):016x}",
            "nexus.tool.known": True, "nexus.tool.failed": failed,
            "nexus.tool.answer.form": "pending" if kind == 1 and same else "other",
        }  # fmt: skip
        if failed:
            facts |= {"nexus.tool.error.class": "server", "nexus.tool.error.hash": f"{self.step % 3:016x}"}
        return facts


def work(provider: Any, spans: int, together: int, *, said: bool) -> float:
    """Make so many spans in runs that go on side by side; returns the CPU seconds."""
    tracer = provider.get_tracer("somebody")
    agents = [Agent(tracer, number) for number in range(together)]
    made, began, marks = together, 0, [mark for mark in MARKS if mark <= spans]
    started, at = time.process_time(), 0
    while made < spans:
        agent = agents[at]
        made += agent.go_on()
        if agent.step >= 40:
            began += 1
            agents[at] = Agent(tracer, together + began)
        at = (at + 1) % together
        while said and marks and made >= marks[0]:
            gc.collect()
            print(f"  {marks.pop(0):>9,} spans  {memory_mb():7.1f} MB  {time.process_time() - started:7.1f} s")
    return time.process_time() - started


class Nothing(SpanProcessor):
    """Takes spans and does nothing."""


def provider_of(processor: SpanProcessor) -> TracerProvider:
    made = TracerProvider(shutdown_on_exit=False)
    made.add_span_processor(processor)
    return made


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--spans", type=int, default=1_000_000)
    parser.add_argument("--together", type=int, default=50)
    options = parser.parse_args()
    logging.getLogger("nexus_otel.findings").propagate = False
    with tempfile.TemporaryDirectory() as home:
        config.use(Settings(home=Path(home)))
        live().callbacks.append(lambda _finding: HEARD.__setitem__(0, HEARD[0] + 1))
        few = min(options.spans, 50_000)
        bare = min(work(provider_of(Nothing()), few, options.together, said=False) for _ in range(3)) / few
        print(f"{options.spans:,} spans, {options.together} runs at a time, one of {ABANDONED} never ended")
        started = time.monotonic()
        seconds = work(provider_of(LiveProcessor()), options.spans, options.together, said=True)
        each = seconds / options.spans
        print(
            f"{options.spans / (time.monotonic() - started):,.0f} spans a second; CPU a span: {each * 1e6:.1f} us, ",
            end="",
        )
        print(f"the SDK's own {bare * 1e6:.1f} us, the live processor's {(each - bare) * 1e6:.1f} us")
        following = live()._detection
        print(
            f"findings told {HEARD[0]:,}; runs followed {len(live()._traces):,}, given up {following.forgotten:,}, ",
            end="",
        )
        print(f"spans not read {following.skipped:,}")


if __name__ == "__main__":
    main()
