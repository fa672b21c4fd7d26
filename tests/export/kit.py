"""What the tests of the spool share: a provider with a spool, and programs that end badly."""

from __future__ import annotations

import subprocess
import sys
import time
from importlib.metadata import version
from pathlib import Path

from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider

from nexus_otel.config import Settings
from nexus_otel.export.destinations import Destination
from nexus_otel.export.segment import BEGIN, SPANS, Target, read_records, segments
from nexus_otel.export.spool import Spool, SpoolProcessor

SOURCE = Path(__file__).resolve().parents[2] / "src"


NESTED = tuple(int(part) for part in version("opentelemetry-sdk").split(".")[:2]) >= (1, 45)
"""Whether this SDK surely takes bytes, maps, mixed lists and None as attribute values."""


class To:
    """A destination that is only a target."""

    def __init__(self, endpoint: str = "http://collector:4318/v1/traces", signal: str = "traces"):
        self.target = Target(signal, endpoint, "")


def provider_of(spool: Spool) -> TracerProvider:
    provider = TracerProvider(resource=Resource({"service.name": "agent"}), shutdown_on_exit=False)
    provider.add_span_processor(SpoolProcessor(spool))
    return provider


def opened(home: Path, *destinations, **settings) -> tuple[Spool, TracerProvider]:
    spool = Spool.open(home, destinations, resource={"service.name": "agent"}, settings=Settings(**settings))
    return spool, provider_of(spool)


def kinds(home: Path) -> list[int]:
    return [kind for path in segments(home / "spool") for kind, _payload, _end in read_records(path)]


def count_spans(home: Path) -> tuple[int, int]:
    """How many begin and span records there are."""
    found = kinds(home)
    return found.count(BEGIN), found.count(SPANS)


PRELUDE = f"""
import os, signal, sys, time
sys.path[:0] = [{str(SOURCE)!r}, {str(SOURCE.parent)!r}]
from pathlib import Path
from nexus_otel import _guard
_guard.raise_failures = True
from nexus_otel.export import pace, writer
pace.SLOW_S = 60
from tests.export.kit import To, opened
home = Path(sys.argv[1])
"""


def run(home: Path, program: str, **options) -> subprocess.CompletedProcess:
    """Run a program that has `home`, `opened` and `To`; it may end in any way."""
    return subprocess.run(
        [sys.executable, "-c", PRELUDE + program, str(home)],
        capture_output=True, text=True, timeout=30, check=False, **options,
    )  # fmt: skip


def over_grpc(url, **more):
    return Destination("traces", url, protocol="grpc", **more)


def spans(tracer, *names, **attributes):
    for name in names:
        tracer.start_span(name, attributes=attributes).end()


def names(receiver):
    return sorted(span.name for span in receiver.spans)


SENDING = """
import atexit
from nexus_otel.export.destinations import Destination
from nexus_otel.export.sender import Sender
to = Destination("traces", {url!r}, protocol={protocol!r})
spool, provider = opened(home, to)
sender = Sender(spool, [to])
tracer = provider.get_tracer("x")
tracer.start_span("a").end()
began = time.monotonic()
def leave():
    sender.flush(0.5)
    sender.stop(0)
    print(time.monotonic() - began)
atexit.register(leave)
"""


def flush_in_vain(sender, told, timeout_s=10):
    """Flush until something is told: the answer may take longer than one flush waits."""
    until = time.monotonic() + timeout_s
    while not told and time.monotonic() < until:
        assert not sender.flush(0.05)
