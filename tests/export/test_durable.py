"""`durable(exporter)`: exporters of the SDK and of anybody, which fail, hang, or die with their process."""

import os
import signal
import subprocess
import sys
import threading
import time

import pytest
from hypothesis import given, settings
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter as GrpcExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter as HttpExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

import nexus_otel
from nexus_otel import config
from nexus_otel.config import SettingError, Settings
from nexus_otel.export import sender as sender_module
from nexus_otel.export.decode import readable
from nexus_otel.export.destinations import destination
from nexus_otel.export.durable import Outlet
from nexus_otel.export.segment import segments
from nexus_otel.export.wire import encode_span
from tests.export.kit import SOURCE
from tests.export.kit import names as arrived
from tests.export.kit import spans as make
from tests.export.test_wire import spans

OK, FAILED = SpanExportResult.SUCCESS, SpanExportResult.FAILURE


class Exporter(SpanExporter):
    """Takes what `takes` says it takes; keeps the names."""

    def __init__(self, takes=lambda span: True):
        self.takes = takes
        self.names = []
        self.asked = 0
        self.is_shut = False

    def export(self, given):
        self.asked += 1
        if not all(self.takes(span) for span in given):
            return FAILED
        self.names += [span.name for span in given]
        return OK

    def shutdown(self):
        self.is_shut = True


@pytest.fixture
def use(home, monkeypatch):
    monkeypatch.setattr(sender_module, "LINGER_S", 0.02)
    config.use(Settings(home=home, exit_timeout_s=1))
    yield lambda **more: config.use(Settings(home=home, **more))
    config.use(None)


@pytest.fixture
def provider(use):
    """Makes providers with durable exporters; they are shut down."""
    made = []

    def make_one(*exporters, **options):
        made.append(TracerProvider(resource=Resource({"service.name": "theirs"}), shutdown_on_exit=False))
        for exporter in exporters:
            made[-1].add_span_processor(nexus_otel.durable(exporter, **options))
        return made[-1]

    yield make_one
    for one in made:
        one.shutdown()


@settings(max_examples=100, deadline=None)
@given(spans)
def test_a_span_comes_back_as_it_was(span):
    (back,) = readable(encode_span(span))
    assert encode_spans([back]) == encode_spans([span])


def test_what_is_no_request_holds_no_span():
    assert readable(b"\xff\xff") == []


def test_an_exporter_gets_every_span_and_the_disk_is_empty(home, provider):
    exporter = Exporter()
    one = provider(exporter)
    make(one.get_tracer("x"), "a", "b")
    assert one.force_flush()
    assert sorted(exporter.names) == ["a", "b"]
    one.shutdown()
    assert exporter.is_shut
    assert segments(home / "spool") == []


def test_what_an_exporter_fails_to_take_is_offered_again(provider, fast):
    exporter = Exporter(lambda _: exporter.asked > 3)
    one = provider(exporter)
    make(one.get_tracer("x"), "a", "b")
    until = time.monotonic() + 10
    while len(exporter.names) < 2 and time.monotonic() < until:
        time.sleep(0.02)
    assert sorted(exporter.names) == ["a", "b"]


def test_an_exporter_that_raises_is_no_failure_of_ours(provider, fast):
    def takes(span):
        if exporter.asked < 3:
            raise RuntimeError("broken")
        return True

    exporter = Exporter(takes)
    one = provider(exporter)
    make(one.get_tracer("x"), "a")
    until = time.monotonic() + 10
    while not exporter.names and time.monotonic() < until:
        time.sleep(0.02)
    assert exporter.names == ["a"]


def test_one_span_that_is_never_taken_stops_no_other(home, provider, fast, caplog):
    exporter = Exporter(lambda span: span.name != "poison")
    one = provider(exporter)
    make(one.get_tracer("x"), "poison", *(str(number) for number in range(20)))
    until = time.monotonic() + 20
    while len(exporter.names) < 20 and time.monotonic() < until:
        time.sleep(0.02)
    assert sorted(exporter.names, key=int) == [str(number) for number in range(20)]
    one.shutdown()
    from nexus_otel.export.read import read_store

    assert [span.name for span in read_store(home).spans] == ["poison"]
    assert any("takes other records but not one" in line for line in caplog.messages)


def test_a_hanging_exporter_costs_the_application_nothing_and_the_exit_a_second(home, provider):
    let_go = threading.Event()
    exporter = Exporter(lambda _: let_go.wait(20))
    one = provider(exporter)
    began = time.monotonic()
    make(one.get_tracer("x"), *map(str, range(200)))
    assert time.monotonic() - began < 1
    time.sleep(0.2)
    began = time.monotonic()
    one.shutdown()
    assert time.monotonic() - began < 1.6
    let_go.set()
    from nexus_otel.export.read import read_store

    assert len(read_store(home).spans) == 200


@pytest.mark.parametrize("protocol", ["http", "grpc"])
@pytest.mark.parametrize("fault", ["503", "hang", "refuse"])
def test_an_official_exporter_loses_nothing_over_two_processes(home, receiver, use, protocol, fault):
    address = receiver.listen_grpc() if protocol == "grpc" else f"{receiver.url}/v1/traces"
    receiver.behaviour = "UNAVAILABLE" if (protocol, fault) == ("grpc", "503") else fault
    module = f"opentelemetry.exporter.otlp.proto.{protocol}.trace_exporter"
    program = f"""
import sys, time, atexit
sys.path[:0] = [{str(SOURCE)!r}]
began = []
atexit.register(lambda: print(time.monotonic() - began[0]))
from {module} import OTLPSpanExporter
from opentelemetry.sdk.trace import TracerProvider
import nexus_otel
provider = TracerProvider()
provider.add_span_processor(nexus_otel.durable(OTLPSpanExporter(endpoint={address!r})))
tracer = provider.get_tracer("x")
for number in range(3):
    tracer.start_span(str(number)).end()
time.sleep(0.1)
began.append(time.monotonic())
"""
    env = {**os.environ, "NEXUS_HOME": str(home)}
    done = subprocess.run([sys.executable, "-c", program], env=env, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert float(done.stdout) < 1.8
    assert receiver.spans == []
    receiver.behaviour = "ok"
    kind = GrpcExporter if protocol == "grpc" else HttpExporter
    one = TracerProvider(shutdown_on_exit=False)
    one.add_span_processor(nexus_otel.durable(kind(endpoint=address)))
    make(one.get_tracer("x"), "last")
    assert one.force_flush(10_000)
    one.shutdown()
    assert arrived(receiver) == ["0", "1", "2", "last"]


@pytest.mark.parametrize("ending", ["os.kill(os.getpid(), 9)", "os._exit(0)", "os.abort()"])
def test_what_a_killed_process_left_is_sent_by_flush_to_the_same_address(home, receiver, environment, ending):
    program = f"""
import os, sys
sys.path[:0] = [{str(SOURCE)!r}]
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.trace import TracerProvider
import nexus_otel
provider = TracerProvider()
provider.add_span_processor(nexus_otel.durable(OTLPSpanExporter(endpoint="{receiver.url}/v1/traces", headers={{"X-Key": "a"}})))
tracer = provider.get_tracer("x")
kept = tracer.start_span("open")
tracer.start_span("done").end()
{ending}
"""
    receiver.behaviour = "503"
    env = {**os.environ, "NEXUS_HOME": str(home)}
    done = subprocess.run([sys.executable, "-c", program], env=env, capture_output=True, text=True, timeout=60)
    assert done.returncode in {-signal.SIGKILL, -signal.SIGABRT, 0}, done.stderr
    receiver.behaviour = "ok"
    environment(OTEL_EXPORTER_OTLP_ENDPOINT=receiver.url, OTEL_EXPORTER_OTLP_HEADERS="x-key=b")
    report = sender_module.flush_store(home, 10)
    assert (report.left, report.foreign) == (0, 0)
    assert arrived(receiver) == ["done", "open"]
    (left,) = (span for span in receiver.spans if span.name == "open")
    assert left.status_message == "process ended before this span did"


@pytest.fixture
def environment(monkeypatch):
    def set_them(**given):
        for name in [name for name in os.environ if name.startswith("OTEL_")]:
            monkeypatch.delenv(name)
        for name, value in given.items():
            monkeypatch.setenv(name, value)

    set_them()
    return set_them


def test_an_exporter_of_otlp_is_known_by_its_address(environment):
    environment(OTEL_EXPORTER_OTLP_ENDPOINT="http://user:secret@collector:4318?key=1")
    assert Outlet.of(HttpExporter()).endpoint == "http://collector:4318"
    environment(OTEL_EXPORTER_OTLP_ENDPOINT="http://collector:4318", OTEL_EXPORTER_OTLP_HEADERS="X-Key=1")
    assert Outlet.of(HttpExporter()).target == destination("traces").target
    environment(
        OTEL_EXPORTER_OTLP_ENDPOINT="http://collector:4317", OTEL_EXPORTER_OTLP_PROTOCOL="grpc",
        OTEL_EXPORTER_OTLP_HEADERS="x-key=1",
    )  # fmt: skip
    assert Outlet.of(GrpcExporter()).target == destination("traces").target


def test_two_exporters_of_a_kind_need_names(provider):
    first = provider(Exporter())
    with pytest.raises(SettingError, match=r"name="):
        nexus_otel.durable(Exporter())
    second = Exporter()
    other = provider(second, name="second")
    make(other.get_tracer("x"), "b")
    assert other.force_flush()
    assert second.names == ["b"]
    first.shutdown()
    provider(Exporter())


def test_a_span_begun_before_a_fork_is_exported_once_and_children_by_their_own(home, receiver):
    program = f"""
import multiprocessing, os, sys, time
sys.path[:0] = [{str(SOURCE)!r}]
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.trace import TracerProvider
import nexus_otel
provider = TracerProvider()
provider.add_span_processor(nexus_otel.durable(OTLPSpanExporter(endpoint="{receiver.url}/v1/traces")))
tracer = provider.get_tracer("x")
def work(number):
    with tracer.start_as_current_span(f"child {{number}}"):
        pass
with tracer.start_as_current_span("parent"):
    children = [multiprocessing.get_context("fork").Process(target=work, args=(n,)) for n in range(3)]
    [child.start() for child in children]
    [child.join() for child in children]
"""
    env = {**os.environ, "NEXUS_HOME": str(home), "NEXUS_EXIT_TIMEOUT_S": "5"}
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", program], env=env, capture_output=True, text=True, timeout=60
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert arrived(receiver) == ["child 0", "child 1", "child 2", "parent"]


def test_importing_it_costs_no_more_than_the_package(home):
    code = (
        "import sys, nexus_otel; print({m.split('.')[0] for m in sys.modules} & {'opentelemetry', 'orjson', 'urllib3'})"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"
