"""The same telemetry over each protocol of OTLP."""

from __future__ import annotations

import json

import pytest
from google.protobuf.json_format import Parse
from opentelemetry.context import attach, detach
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import SimpleLogRecordProcessor
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
from opentelemetry.trace import Link, SpanKind, Status, StatusCode, set_span_in_context

from nexus_otel import config
from nexus_otel.config import Settings
from nexus_otel.export.answer import rejected_json
from nexus_otel.export.destinations import Destination, destinations
from nexus_otel.export.otlp_json import request_json
from nexus_otel.export.sender import FlushReport, Sender, flush_store
from nexus_otel.export.spool import Spool
from nexus_otel.export.telemetry import SpoolLogExporter, SpoolMetricExporter
from tests.export.kit import SENDING, names, over_grpc, provider_of, run, spans
from tests.fakes.otlp import Receiver

PROTOCOLS = ["http/protobuf", "http/json", "grpc"]


@pytest.fixture
def environment(monkeypatch):
    """Choose endpoint and protocol by the standard variables."""
    for name in [name for name in config.variables() if name.startswith("OTEL_") or name.lower().endswith("_proxy")]:
        monkeypatch.delenv(name)

    def choose(protocol, receiver, **more):
        endpoint = receiver.listen_grpc() if protocol == "grpc" else receiver.url
        for name, value in {"PROTOCOL": protocol, "ENDPOINT": endpoint, **more}.items():
            monkeypatch.setenv(f"OTEL_EXPORTER_OTLP_{name}", value)
        return destinations()

    return choose


def a_run(tracer):
    """Spans with everything that a span may have."""
    with tracer.start_as_current_span("root", kind=SpanKind.CLIENT) as root:
        root.add_event("seen", {"n": 1}, timestamp=5)
        root.set_status(Status(StatusCode.ERROR, "brökén"))
        values = {"s": "é\n", "i": 2**60, "minus": -(2**60), "d": 0.1, "inf": float("inf"), "b": True, "l": ["x", "y"]}
        tracer.start_span("child", links=[Link(root.get_span_context(), {"traceId": "no id"})], attributes=values).end()


# -- all three -------------------------------------------------------------------------------------------


def test_the_same_run_arrives_identically(pipeline):
    with Receiver() as protobuf, Receiver() as as_json, Receiver() as over:
        sender, tracer = pipeline(
            Destination("traces", f"{protobuf.url}/v1/traces"),
            Destination("traces", f"{as_json.url}/v1/traces", protocol="http/json"),
            over_grpc(over.listen_grpc()),
        )
        a_run(tracer)
        assert sender.flush(10)
        child, root = protobuf.spans
        assert as_json.spans == over.spans == [child, root]
        assert over.bodies[0].data == protobuf.bodies[0].data
        assert (root.kind, root.status, root.status_message, root.resource) == (
            3,
            2,
            "brökén",
            {"service.name": "agent"},
        )
        assert (child.parent_id, child.attributes["minus"]) == (root.span_id, -(2**60))
        (body,) = as_json.bodies
        (sent,) = [scope["spans"] for scope in json.loads(body.data)["resourceSpans"][0]["scopeSpans"]][:1]
        assert body.headers["content-type"] == "application/json"
        assert (sent[0]["traceId"], sent[0]["links"][0]["spanId"]) == (child.trace_id, root.span_id)
        assert sent[0]["startTimeUnixNano"] == str(child.start_ns)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_logs_and_metrics_arrive_over_each(home, environment, receiver, protocol):
    to = environment(protocol, receiver)
    spool = Spool.open(home, to, settings=Settings())
    sender = Sender(spool, to, Settings())
    loggers, reader = LoggerProvider(shutdown_on_exit=False), PeriodicExportingMetricReader(SpoolMetricExporter(spool))
    loggers.add_log_record_processor(SimpleLogRecordProcessor(SpoolLogExporter(spool)))
    meters = MeterProvider([reader], shutdown_on_exit=False)
    span = provider_of(spool).get_tracer("x").start_span("a")
    token = attach(set_span_in_context(span))
    loggers.get_logger("maker").emit(
        event_name="happened", body={"traceId": "text"}, attributes={"a": 2**60}, timestamp=9
    )
    meters.get_meter("maker").create_histogram("cost", "s").record(0.5, {"k": "v"})
    detach(token)
    meters.force_flush()
    span.end()
    assert sender.flush(5)
    meters.shutdown()
    sender.stop(2)
    (record,) = receiver.logs
    assert (record.name, record.body, record.attributes) == ("happened", {"traceId": "text"}, {"a": 2**60})
    assert (record.trace_id, record.span_id) == (receiver.spans[0].trace_id, receiver.spans[0].span_id)
    assert [(one.name, one.kind, one.points) for one in receiver.metrics][:1] == [
        ("cost", "histogram", [({"k": "v"}, (1, 0.5))])
    ]
    assert receiver.malformed == []


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("compression", ["none", "gzip", "deflate"])
def test_headers_and_compression(pipeline, environment, receiver, protocol, compression):
    (to, *_others) = environment(protocol, receiver, HEADERS="X-Key=se%20cret", COMPRESSION=compression)
    sender, tracer = pipeline(to)
    spans(tracer, "a", text="x" * 10_000)
    assert sender.flush(5)
    assert receiver.spans[0].attributes == {"text": "x" * 10_000}
    (body,) = receiver.bodies
    assert body.headers["x-key"] == "se cret"
    assert body.headers["user-agent"].startswith("nexus-otel/")


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_partial_success_is_counted_and_its_reason_said(pipeline, environment, receiver, caplog, protocol):
    receiver.behaviour = "partial"
    sender, tracer = pipeline(environment(protocol, receiver)[0])
    spans(tracer, "a", "b", "c")
    assert sender.flush(5)
    assert (sender.rejected, len(receiver.spans)) == (1, 2)
    assert any("1 items" in line and "1 rejected on purpose" in line for line in caplog.messages)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_what_was_left_is_delivered_after_a_restart(home, environment, receiver, protocol):
    (to, *_others) = environment(protocol, receiver)
    done = run(
        home,
        f"""
from nexus_otel.export.destinations import Destination
spool, provider = opened(home, Destination("traces", {to.url!r}, protocol={protocol!r}))
provider.get_tracer("x").start_span("left").end()
os.kill(os.getpid(), 9)
""",
    )
    assert done.returncode == -9
    assert flush_store(home, 5) == FlushReport(sent=1, left=0, foreign=0)
    assert names(receiver) == ["left"]


# -- JSON ------------------------------------------------------------------------------------------------


def test_ids_of_exemplars_are_hex():
    request = ExportMetricsServiceRequest()
    point = request.resource_metrics.add().scope_metrics.add().metrics.add(name="n").sum.data_points.add(as_int=2**40)
    point.exemplars.add(trace_id=b"\xab" * 16, span_id=b"\xcd" * 8, as_double=float("nan"), time_unix_nano=2**60)
    text = request_json("metrics", request.SerializeToString())
    (made,) = json.loads(text)["resourceMetrics"][0]["scopeMetrics"][0]["metrics"][0]["sum"]["dataPoints"]
    (exemplar,) = made["exemplars"]
    assert (exemplar["traceId"], exemplar["spanId"]) == ("ab" * 16, "cd" * 8)
    assert (made["asInt"], exemplar["timeUnixNano"], exemplar["asDouble"]) == (str(2**40), str(2**60), "NaN")
    Parse(text, ExportMetricsServiceRequest())


@pytest.mark.parametrize(
    ("answer", "count"),
    [
        (b'{"partialSuccess":{"rejectedSpans":"3"}}', 3),
        (b'{"partialSuccess":{"rejectedDataPoints":2}}', 2),
        (b'{"partialSuccess":{"errorMessage":"so so"}}', 0),
        (b"{}", 0),
        (b"", 0),
        (b"[]", 0),
        (b'{"partialSuccess":{"rejectedSpans":"many"}}', 0),
    ],
)
def test_partial_success_in_json(answer, count):
    assert rejected_json(answer) == count


# -- the process that sends ------------------------------------------------------------------------------


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_process_that_ends_at_once_has_sent(home, environment, receiver, protocol):
    (to, *_others) = environment(protocol, receiver)
    done = run(home, SENDING.format(url=to.url, protocol=protocol).replace("flush(0.5)", "flush(5)"))
    assert (done.returncode, done.stderr) == (0, "")
    assert names(receiver) == ["a"]


def test_http_does_not_load_grpc(home, receiver):
    program = SENDING.format(url=f"{receiver.url}/v1/traces", protocol="http/json")
    done = run(home, program + "sender.flush(5)\nprint('grpc' in sys.modules)\n")
    assert done.stdout.splitlines()[0] == "False", done.stderr
    assert names(receiver) == ["a"]
