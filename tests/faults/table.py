"""One row of the fault table: a program that makes spans while its collector fails, what arrives, and what it cost.

Used by the tests with small numbers and by `bench/faults.py` with those of the table.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.e2e.kit import COMMAND, LAUNCHER, clean
from tests.fakes.otlp import Receiver

WORKLOAD = """
import asyncio, multiprocessing, os, signal, sys, threading, time
from opentelemetry import trace
count, rate, size, ending = int(sys.argv[1]), float(sys.argv[2]), int(sys.argv[3]), sys.argv[4]
tracer = trace.get_tracer("faults")
text = "x" * size
worst = -1.0
first = time.perf_counter()

def resident_mb():
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) / 1024 for line in file if line.startswith("VmHWM"))

def one(name):
    global worst
    begun = time.perf_counter()
    span = tracer.start_span(name)
    if size:
        span.set_attribute("text", text)
    span.end()
    worst = max(worst, time.perf_counter() - begun) if worst >= 0 else 0.0  # the first makes the pipeline

def work(who, number):
    for n in range(number):
        if rate:
            time.sleep(max(0.0, first + n / rate - time.perf_counter()))
        one(f"{who} {n} {os.getpid()}")

def child(who, leave):
    global first
    first = time.perf_counter()
    work(who, count // 4)
    leave()

def said():
    print(worst, resident_mb(), time.monotonic(), flush=True)

def forked(leave):
    for n in range(4):
        if os.fork() == 0:
            child(f"child {n}", leave)
    for n in range(4):
        os.wait()

def processes(method):
    made = [multiprocessing.get_context(method).Process(target=child, args=(f"child {n}", int)) for n in range(4)]
    [one.start() for one in made]
    [one.join() for one in made]

def pool():
    with multiprocessing.get_context("fork").Pool(2) as workers:
        workers.starmap(child, [(f"child {n}", int) for n in range(4)], chunksize=1)
        workers.close()
        workers.join()

def raised():
    raise LookupError("on purpose")

async def awaited(what):
    asyncio.get_running_loop().call_soon(what)
    await asyncio.sleep(9)

def terminate():
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(9)

ENDS = {
    "return": int, "sys.exit": lambda: sys.exit(3), "exception": raised, "SIGINT": lambda: os.kill(os.getpid(), 2),
    "SIGTERM": terminate, "SIGKILL": lambda: os.kill(os.getpid(), 9), "os._exit": lambda: os._exit(3),
    "abort": os.abort, "execv": lambda: os.execv("/bin/true", ["true"]), "asyncio": lambda: asyncio.run(awaited(terminate)),
}
CHILDREN = {
    "fork + sys.exit": lambda: forked(sys.exit), "fork + os._exit": lambda: forked(lambda: os._exit(0)),
    "fork + SIGTERM": lambda: forked(terminate), "fork": lambda: processes("fork"), "spawn": lambda: processes("spawn"),
    "Pool": pool,
}
if __name__ == "__main__":
    if ending in CHILDREN:
        one(f"parent 0 {os.getpid()}")
        CHILDREN[ending]()
        said()
    else:
        work("span", count)
        said()
        ENDS[ending]()
"""


@dataclass(frozen=True)
class Fault:
    """What the collector does: from when on and for how long, in seconds; limits hold throughout.

    One that begins with the program lasts so long from the first request on.
    """

    behaviour: str = "ok"
    begins_s: float = 0.0
    lasts_s: float = 0.0
    retry_after: float | None = None
    limit: int | None = None


@dataclass(frozen=True)
class Load:
    """What the program makes: spans, how many a second (0: as fast as it can), of how many bytes, and how it ends."""

    count: int
    rate: float = 0.0
    size: int = 0
    ending: str = "return"

    @property
    def expected(self) -> int:
        families = {"fork + sys.exit", "fork + os._exit", "fork + SIGTERM", "fork", "spawn", "Pool"}
        return self.count // 4 * 4 + 1 if self.ending in families else self.count


@dataclass(frozen=True)
class Row:
    """What became of it.

    Attributes:
        failed: How many requests met the fault.
        worst_ms: The longest that the program waited for a span.
        resident_mb: The most that it held.
        exit_s: From its last line to its end.
        identities: Under how many resources and ids a span arrived at most.
        flushed: The exit code of `nexus-otel flush`.
    """

    code: int
    said: str
    expected: int
    arrived: int
    duplicates: int
    requests: int
    failed: int
    worst_ms: float
    resident_mb: float
    exit_s: float
    identities: int
    flushed: int

    @property
    def lost(self) -> int:
        return self.expected - self.arrived


def measured(load: Load, fault: Fault, protocol: str, folder: Path, **env: str) -> Row:
    """Run a program against a failing collector, let the collector be well again, flush, and count."""
    with Receiver() as receiver:
        receiver.limit = fault.limit
        address = receiver.listen_grpc(limit=fault.limit) if protocol == "grpc" else receiver.url
        given = {
            **clean(), "NEXUS_HOME": str(folder / "home"), "OTEL_EXPORTER_OTLP_ENDPOINT": address,
            "OTEL_EXPORTER_OTLP_PROTOCOL": protocol, "NEXUS_WATCHER": "off", "OTEL_SERVICE_NAME": "faults", **env,
        }  # fmt: skip
        done, ended = _ran(load, fault, folder, given, receiver)
        receiver.behaviour, receiver.retry_after = "ok", None
        flush = subprocess.run([COMMAND, "flush", "--timeout", "60"], env=given, capture_output=True, text=True)
        names = Counter(span.name for span in receiver.spans)
        sent_as: dict[str, set[str]] = {}
        for span in receiver.spans:
            sent_as.setdefault(span.name, set()).add(repr((sorted(span.resource.items()), span.span_id, span.trace_id)))
        worst, resident, leaving = map(float, done.stdout.split()[-3:])
        return Row(
            done.returncode, done.stderr, load.expected, len(names), sum(names.values()) - len(names),
            len(receiver.bodies), sum(body.behaviour != "ok" for body in receiver.bodies), worst * 1e3, resident, ended - leaving, max(map(len, sent_as.values()), default=0), flush.returncode,
        )  # fmt: skip


def _ran(load: Load, fault: Fault, folder: Path, env: dict[str, str], receiver: Receiver) -> tuple[Any, float]:
    program = folder / "workload.py"
    program.write_text(WORKLOAD)
    arguments = [str(load.count), str(load.rate), str(load.size), load.ending]
    ended = threading.Event()
    failing = threading.Thread(target=_fail, args=(fault, receiver, ended))
    failing.start()
    try:
        done = subprocess.run(
            [LAUNCHER, sys.executable, str(program), *arguments], env=env, capture_output=True, text=True, timeout=300
        )
        return done, time.monotonic()
    finally:
        ended.set()
        failing.join()


def _fail(fault: Fault, receiver: Receiver, ended: threading.Event) -> None:
    ended.wait(fault.begins_s)
    receiver.retry_after, receiver.behaviour = fault.retry_after, fault.behaviour
    while not fault.begins_s and not receiver.bodies and not ended.wait(0.01):
        pass
    ended.wait(fault.lasts_s)
    receiver.retry_after, receiver.behaviour = None, "ok"


def bare_mb(load: Load, folder: Path) -> float:
    """What the same program holds at most without us, in megabytes."""
    program = folder / "workload.py"
    program.write_text(WORKLOAD)
    arguments = [str(load.count), str(load.rate), str(load.size), "return"]
    done = subprocess.run([sys.executable, str(program), *arguments], env=clean(), capture_output=True, text=True)
    return float(done.stdout.split()[-2])


def in_folder(job: Callable[[Path], Row]) -> Row:
    """Do it in a folder of its own that is gone afterwards."""
    with tempfile.TemporaryDirectory() as name:
        return job(Path(name))
