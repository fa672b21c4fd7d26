"""A run sent to a receiver that is nobody's of ours: rotel takes it apart, puts it together again, and passes it on.

Optional: `uv pip install --group rotel`.
"""

import importlib.util
import socket
import subprocess
import time
from collections import Counter
from pathlib import Path

import pytest

from tests.e2e.kit import EXAMPLE, LAUNCHER, PYTHON, SPAN_ONLY, clean, kind_of
from tests.fakes.provider import demo_script

FOUND = importlib.util.find_spec("rotel")
pytestmark = pytest.mark.skipif(FOUND is None, reason="rotel is not installed (dependency group rotel)")
STEPS = 9
FINDINGS = 1  # the demo's tool that fails


def free_port():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return taken.getsockname()[1]


def listens(port):
    with socket.socket() as asking:
        return asking.connect_ex(("127.0.0.1", port)) == 0


def soon(condition):
    until = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.02)


@pytest.fixture
def rotel(receiver, tmp_path):
    """Runs rotel in front of the receiver; gives the endpoint of each protocol."""
    grpc, http = free_port(), free_port()
    command = [
        Path(FOUND.origin).with_name("rotel-agent"), "start",
        "--otlp-grpc-endpoint", f"127.0.0.1:{grpc}", "--otlp-http-endpoint", f"127.0.0.1:{http}",
        "--exporter", "otlp", "--otlp-exporter-protocol", "http", "--otlp-exporter-endpoint", receiver.url,
        "--pid-file", tmp_path / "pid", "--log-file", tmp_path / "log", "--batch-timeout", "20ms",
    ]  # fmt: skip
    with subprocess.Popen(command, env=clean(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            soon(lambda: listens(grpc) and listens(http))
            yield {"grpc": f"http://127.0.0.1:{grpc}", "http": f"http://127.0.0.1:{http}"}
        finally:
            process.kill()


@pytest.mark.parametrize("protocol", ["http/protobuf", "http/json", "grpc"])
def test_the_example_arrives_as_it_was_stored(world, receiver, rotel, protocol):
    world.load(demo_script(STEPS))
    done = world.run(
        LAUNCHER, PYTHON, EXAMPLE, **SPAN_ONLY,
        NEXUS_EXPORT="local,otlp",
        NEXUS_EXIT_TIMEOUT_S="10",
        OTEL_INSTRUMENTATION_GENAI_EMIT_EVENT="true",
        OTEL_EXPORTER_OTLP_PROTOCOL=protocol,
        # rotel 0.0.1a15 reads no 64-bit count of a metric as text, as JSON has it (opentelemetry-rust issue 2487)
        OTEL_EXPORTER_OTLP_METRICS_PROTOCOL=protocol.replace("json", "protobuf"),
        OTEL_EXPORTER_OTLP_ENDPOINT=rotel[protocol.split("/")[0]],
        OTEL_EXPORTER_OTLP_COMPRESSION="gzip",
    )  # fmt: skip
    assert (done.code, done.err) == (0, "")
    stored = {span.span_id: span for span in world.stored()}
    arrived = receiver.wait_spans(len(stored))
    assert [kind_of(span) for span in arrived].count("chat") == STEPS + 1
    assert {span.span_id: span for span in arrived} == stored
    told = Counter({"gen_ai.client.inference.operation.details": STEPS + 1, "nexus.finding": FINDINGS})
    soon(lambda: Counter(record.name for record in receiver.logs) == told)
    assert {record.span_id for record in receiver.logs} <= set(stored)
    soon(lambda: "gen_ai.client.inference.duration" in {metric.name for metric in receiver.metrics})
    assert receiver.malformed == []
