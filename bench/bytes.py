"""How many bytes runs of an agent make: over OTLP with content off and on, and in the local store, each message once.

python bench/bytes.py [--steps 3 8 40 100] [--agents 1000000] [--rate 0.5] [--json]
python bench/bytes.py --cpu
python bench/bytes.py --clickhouse      # in an environment with requirements/chdb-newest.txt

The agent asks the real Anthropic SDK over an in-process transport; its tool reads the help texts of the standard
library, about 3.5 KB at a time. Below the table stands what a fleet makes of it: --agents at once, each with --rate
spans a second. --cpu: what it takes to encode and write a model call of 100 steps, with each message once and whole.
--clickhouse: what the spans of 100 runs take in the table of the collector's exporter.
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
import pydoc
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from nexus_otel.export.segment import SPANS, read_records, segments
from nexus_otel.export.shipment import BODY_BYTES

MODULES = (
    "argparse", "asyncio", "collections", "datetime", "email", "http.client", "json", "logging", "os", "pathlib",
    "random", "re", "socket", "sqlite3", "ssl", "subprocess", "tarfile", "threading", "typing", "unittest",
)  # fmt: skip
SIZE = 3_500
CONTENT = "OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT"
CASES = {"off": {CONTENT: "NO_CONTENT"}, "on": {CONTENT: "SPAN_ONLY"}, "store": {}}
"""Content nowhere, on spans within the limits for OTLP, and in the local store alone."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, nargs="+", default=[3, 8, 40, 100])
    parser.add_argument("--agents", type=int, default=1_000_000)
    parser.add_argument("--rate", type=float, default=0.5, help="spans a second of each agent")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--cpu", action="store_true")
    parser.add_argument("--clickhouse", action="store_true")
    parser.add_argument("--agent", type=int, nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.agent:
        agent(*options.agent)
        return
    if options.clickhouse:
        clickhouse()
        return
    if options.cpu:
        cpu()
        return
    rows = [row(steps) for steps in options.steps]
    if options.json:
        print(json.dumps(rows))
        return
    table(rows)
    print()
    for one in rows:
        fleet(one, options.agents * options.rate)


# -- the agent ---------------------------------------------------------------------------------------------------------


def agent(steps: int, runs: int) -> None:
    """Work for so many steps, the last of which is the answer; each run reads other pages."""
    import anthropic
    import httpx2

    asked = iter(list(range(steps)) * runs)

    def respond(_request: httpx2.Request) -> httpx2.Response:
        return httpx2.Response(200, content=json.dumps(reply(next(asked), steps)).encode())

    http = httpx2.Client(transport=httpx2.MockTransport(respond))
    client = anthropic.Anthropic(api_key="none", http_client=http, open_telemetry=False)
    pages = "\n".join(pydoc.plain(pydoc.render_doc(name)) for name in MODULES)
    for run in range(runs):
        question = f"Read the documentation of the standard library from page {run}."
        messages: list[Any] = [{"role": "user", "content": question}]
        for step in range(steps):
            answer = client.messages.create(**request(messages))
            messages.append({"role": "assistant", "content": answer.content})
            page = pages[(run * steps + step) * SIZE % len(pages) :][:SIZE]
            result = {"type": "tool_result", "tool_use_id": f"toolu_{step:04}", "content": page}
            messages.append({"role": "user", "content": [result]})


def request(messages: list[Any]) -> dict[str, Any]:
    schema = {"type": "object", "properties": {"from": {"type": "integer"}}, "required": ["from"]}
    tool = {"name": "read", "description": "Reads some of the documentation.", "input_schema": schema}
    return {"model": "claude-bench", "max_tokens": 500, "system": "You read.", "messages": messages, "tools": [tool]}


def reply(step: int, steps: int) -> dict[str, Any]:
    content: list[Any] = [{"type": "text", "text": f"Page {step} says how to use the module. I read on."}]
    if step < steps - 1:
        content.append({"type": "tool_use", "id": f"toolu_{step:04}", "name": "read", "input": {"from": step * SIZE}})
    return {
        "id": f"msg_{step}", "type": "message", "role": "assistant", "model": "claude-bench", "content": content,
        "stop_reason": "tool_use" if step < steps - 1 else "end_turn", "stop_sequence": None,
        "usage": {"input_tokens": 900 * (step + 1), "output_tokens": 40},
    }  # fmt: skip


# -- what it makes -----------------------------------------------------------------------------------------------------


def row(steps: int) -> dict[str, Any]:
    """Return the bytes of a run of so many steps."""
    made: dict[str, Any] = {"steps": steps}
    for name, content in CASES.items():
        with tempfile.TemporaryDirectory() as folder:
            paths = run(Path(folder), content, steps)
            requests = [one for path in paths for kind, one, _end in read_records(path) if kind == SPANS]
            made["spans"] = len(requests)
            made[name] = {
                "otlp": sum(map(len, requests)),
                "gzip": sum(len(gzip.compress(body, 6)) for body in bodies(requests)),
                "alone": sum(len(gzip.compress(one, 6)) for one in requests),
                "disk": sum(path.stat().st_size for path in paths),
            }
    return made


def run(home: Path, content: dict[str, str], steps: int, runs: int = 1) -> list[Path]:
    """Run the agent in a process of its own; return its segments."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("OTEL_", "NEXUS_"))}
    env = {**kept, **content, "NEXUS_HOME": str(home), "NEXUS_EXPORT": "local", "NEXUS_SUMMARY": "never"}
    launcher = str(Path(sys.executable).with_name("nexus-instrument"))
    command = [launcher, sys.executable, __file__, "--agent", str(steps), str(runs)]
    subprocess.run(command, env=env, check=True, capture_output=True)
    return segments(home / "spool")


def bodies(requests: list[bytes]) -> Iterator[bytes]:
    """Yield the requests as the sender joins them."""
    waiting: list[bytes] = []
    for one in requests:
        if waiting and sum(map(len, waiting)) + len(one) > BODY_BYTES:
            yield b"".join(waiting)
            waiting = []
        waiting.append(one)
    yield b"".join(waiting)


def table(rows: list[dict[str, Any]]) -> None:
    print("| run | spans | off: OTLP; gzip | on: OTLP; gzip; gzip span by span | local store | each call whole |")
    print("|---|---|---|---|---|---|")
    for one in rows:
        off, on, store = one["off"], one["on"], one["store"]
        sent = "; ".join(short(on[name]) for name in ("otlp", "gzip", "alone"))
        print(
            f"| {one['steps']} steps | {one['spans']} | {short(off['otlp'])}; {short(off['gzip'])} | {sent} "
            f"| {short(store['disk'])} | {short(store['otlp'])} |"
        )


def fleet(one: dict[str, Any], spans_s: float) -> None:
    """Print what so many spans a second come to, if all runs are like this one."""
    print(f"{spans_s:,.0f} spans/s, runs of {one['steps']} steps")
    for name, case, key in (("off", "off", "otlp"), ("on", "on", "otlp"), ("each message once", "store", "disk")):
        each = one[case][key] / one["spans"]
        line = (
            f"  {name:<18}{short(each):>8} a span{short(each * spans_s):>9}/s{short(each * spans_s * 86_400):>9} a day"
        )
        alone = one[case]["alone"] / one["spans"] * spans_s
        print(line + (f", gzip span by span {short(alone)}/s" if key == "otlp" else ""))


def cpu(steps: int = 100, rounds: int = 15) -> None:
    """Print microseconds of CPU for a model call, written whole and each message once, and for a small span."""
    from opentelemetry.sdk.trace import TracerProvider

    from nexus_otel.export import spool

    pages = "\n".join(pydoc.plain(pydoc.render_doc(name)) for name in MODULES)
    answer = {"type": "tool_call_response", "response": pages[:SIZE]}
    histories, messages = [], []
    for step in range(steps):
        messages.append({"role": "user", "parts": [{**answer, "id": f"{step:04}"}]})
        histories.append(json.dumps(messages, separators=(",", ":")))
    made = TracerProvider(shutdown_on_exit=False)
    with tempfile.TemporaryDirectory() as folder:
        made.add_span_processor(spool.SpoolProcessor(spool.Spool.open(Path(folder))))
        tracer, apart = made.get_tracer("bench"), spool.cut
        accented = [history.replace("the", "thé") for history in histories]
        for name, cut, contents in (
            ("whole", lambda *_: None, histories), ("each message once", apart, histories),
            ("whole, not ASCII", lambda *_: None, accented), ("once, not ASCII", apart, accented),
            ("small spans", apart, ["x" * 60] * 1_000),
        ):  # fmt: skip
            spool.cut = cut
            taken = []
            for _round in range(rounds):
                began = time.process_time()
                for content in contents:
                    span = tracer.start_span("chat m", attributes={"n": 1})
                    span.set_attribute("gen_ai.input.messages", content)
                    span.end()
                taken.append((time.process_time() - began) / len(contents) * 1e6)
            print(f"{name:<20}{min(taken):8.0f} us a span")
        made.shutdown()


def clickhouse(runs: int = 100) -> None:
    """Print the bytes a span of runs of 8 and 40 steps takes in the exporter's table, as parts of it are merged."""
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
    from nexus_otel.export.read import requests_json
    from tests.clickhouse.server import ClickHouse, rows_of

    store = ClickHouse()
    for steps in (8, 40):
        for name in ("off", "on"):
            with tempfile.TemporaryDirectory() as folder:
                run(Path(folder), CASES[name], steps, runs)
                rows = list(rows_of(map(json.loads, requests_json(Path(folder)))))
            table = f"{name}{steps}"
            store.table(table, rows)
            store.run(f"OPTIMIZE TABLE otel.{table} FINAL")
            sizes = "sum(data_compressed_bytes), sum(data_uncompressed_bytes), sum(bytes_on_disk)"
            found = store.run(f"SELECT {sizes} FROM system.parts WHERE active AND table = '{table}'")  # noqa: S608
            packed, whole, disk = (int(number) / len(rows) for number in found.split())
            print(
                f"{steps} steps, {runs} runs, content {name}: {short(whole)} a span, {short(packed)} compressed, "
                f"{short(disk)} with indexes"
            )


def short(number: float) -> str:
    for unit in ("B", "KB", "MB", "GB", "TB"):
        if number < 1_000:
            return f"{number:.0f} {unit}" if number >= 100 or unit == "B" else f"{number:.1f} {unit}"
        number /= 1_000
    return f"{number:.1f} PB"


if __name__ == "__main__":
    main()
