"""The OTLP receiver, driven by the exporters of OpenTelemetry."""

from __future__ import annotations

import gzip
import http.client
import json
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.http import Compression
from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import SimpleLogRecordProcessor
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor, SpanExportResult
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from tests.fakes.otlp import Event, Link, Receiver, spans_of_json


@pytest.fixture
def receiver():
    with Receiver() as running:
        yield running


def exporter(receiver, **options):
    return OTLPSpanExporter(endpoint=f"{receiver.url}/v1/traces", timeout=0.3, **options)


def finished_spans():
    """A root with an event and an error, and a child linked to it."""
    memory = InMemorySpanExporter()
    tracers = TracerProvider(resource=Resource({"service.name": "shop"}), shutdown_on_exit=False)
    tracers.add_span_processor(SimpleSpanProcessor(memory))
    tracer = tracers.get_tracer("maker", "1.2")
    with tracer.start_as_current_span("root", kind=trace.SpanKind.CLIENT) as root:
        root.add_event("seen", {"n": 1}, timestamp=5)
        root.set_status(trace.StatusCode.ERROR, "broken")
        links = [trace.Link(root.get_span_context(), {"why": "test"})]
        values = {"s": "é", "i": 2**40, "d": 0.5, "b": True, "list": ["x", "y"]}
        tracer.start_span("child", links=links, attributes=values).end()
    return memory.get_finished_spans()


@pytest.mark.parametrize("compression", list(Compression))
def test_spans_arrive_as_they_were(receiver, compression):
    sent = finished_spans()
    assert exporter(receiver, compression=compression).export(sent) is SpanExportResult.SUCCESS
    child, root = receiver.wait_spans(2)
    assert (root.name, root.kind, root.status, root.status_message) == ("root", 3, 2, "broken")
    assert (root.parent_id, child.parent_id) == ("", root.span_id)
    assert root.trace_id == child.trace_id == f"{sent[0].context.trace_id:032x}"
    assert (root.start_ns, root.end_ns) == (sent[1].start_time, sent[1].end_time)
    assert root.events == [Event("seen", 5, {"n": 1})]
    assert child.links == [Link(root.trace_id, root.span_id, {"why": "test"})]
    assert child.attributes == {"s": "é", "i": 2**40, "d": 0.5, "b": True, "list": ["x", "y"]}
    assert (root.scope, root.scope_version, root.resource["service.name"]) == ("maker", "1.2", "shop")


def test_log_records_arrive(receiver):
    loggers = LoggerProvider(shutdown_on_exit=False)
    loggers.add_log_record_processor(SimpleLogRecordProcessor(OTLPLogExporter(endpoint=f"{receiver.url}/v1/logs")))
    loggers.get_logger("maker").emit(
        event_name="happened", body={"text": "hi", "parts": [1, None]}, attributes={"a": 1}, timestamp=9
    )
    loggers.shutdown()
    (record,) = receiver.logs
    assert (record.name, record.scope, record.time_ns) == ("happened", "maker", 9)
    assert (record.body, record.attributes) == ({"text": "hi", "parts": [1, None]}, {"a": 1})


def test_metrics_arrive(receiver):
    reader = PeriodicExportingMetricReader(OTLPMetricExporter(endpoint=f"{receiver.url}/v1/metrics"))
    meters = MeterProvider([reader], shutdown_on_exit=False)
    meter = meters.get_meter("maker")
    meter.create_counter("calls", "{call}").add(3, {"k": "v"})
    meter.create_histogram("cost", "s").record(0.5)
    meters.shutdown()
    found = {metric.name: (metric.kind, metric.unit, metric.points) for metric in receiver.metrics}
    assert found["calls"] == ("sum", "{call}", [({"k": "v"}, 3)])
    assert found["cost"] == ("histogram", "s", [({}, (1, 0.5))])


@pytest.mark.parametrize("behaviour", ["refuse", "hang", "503", "429", "500"])
def test_a_fault_loses_the_spans(receiver, behaviour):
    receiver.behaviour = behaviour
    assert exporter(receiver).export(finished_spans()) is SpanExportResult.FAILURE
    assert receiver.spans == []
    assert {body.behaviour for body in receiver.bodies} == {behaviour}
    receiver.behaviour = "ok"
    assert exporter(receiver).export(finished_spans()) is SpanExportResult.SUCCESS
    assert len(receiver.spans) == 2


def post(receiver, body, path="/v1/traces", **headers):
    """Send a request as no exporter would; gives status, headers and body of the answer."""
    connection = http.client.HTTPConnection(receiver.url.removeprefix("http://"))
    given = {name.replace("_", "-"): value for name, value in headers.items()}
    connection.request("POST", path, body, {"content-type": "application/json", **given})
    response = connection.getresponse()
    answer = response.status, dict(response.getheaders()), response.read()
    connection.close()
    return answer


LINE = json.dumps(
    {
        "resourceSpans": [
            {
                "resource": {"attributes": [{"key": "r", "value": {"stringValue": "x"}}]},
                "scopeSpans": [
                    {
                        "scope": {"name": "maker"},
                        "spans": [
                            {
                                "traceId": "0af7651916cd43dd8448eb211c80319c",
                                "spanId": f"00f067aa0ba902b{number}",
                                "name": f"span {number}",
                                "kind": 3,
                                "startTimeUnixNano": "1544712660000000000",
                                "endTimeUnixNano": "1544712661000000000",
                                "attributes": [{"key": "n_tokens", "value": {"intValue": "12"}}],
                                "status": {"code": 1},
                            }
                            for number in range(2)
                        ],
                    }
                ],
            }
        ]
    }
)


def test_json_lines_are_spans():
    spans = spans_of_json([LINE, "\n", LINE])
    assert [span.name for span in spans] == ["span 0", "span 1"] * 2
    assert (spans[0].trace_id, spans[0].span_id) == (
        "0af7651916cd43dd8448eb211c80319c",
        "00f067aa0ba902b0",
    )
    assert (spans[0].parent_id, spans[0].kind, spans[0].status) == ("", 3, 1)
    assert (spans[0].start_ns, spans[0].attributes) == (1544712660000000000, {"n_tokens": 12})
    assert (spans[0].scope, spans[0].resource) == ("maker", {"r": "x"})


@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        ("traceId", "trace_id"),
        ("0af7651916cd43dd8448eb211c80319c", "CvdlGRbNQ92ESOshHIAxnA=="),
        ("00f067aa0ba902b1", "00f067aa"),
        ('"kind"', '"sort"'),
        ("}", ""),
    ],
)
def test_json_that_is_not_otlp_is_refused(receiver, right, wrong):
    with pytest.raises(ValueError, match=r"."):
        spans_of_json(LINE.replace(right, wrong))
    assert post(receiver, LINE.replace(right, wrong))[0] == 400
    assert len(receiver.malformed) == 1
    assert receiver.spans == receiver.bodies == []


def test_json_arrives_like_protobuf(receiver):
    status, _, body = post(receiver, gzip.compress(LINE.encode()), content_encoding="gzip")
    assert (status, body) == (200, b"{}")
    assert receiver.spans == spans_of_json(LINE)
    assert receiver.bodies[0].data == LINE.encode()


def test_partial_success_keeps_all_but_the_first(receiver):
    receiver.behaviour = "partial"
    _, _, body = post(receiver, LINE)
    assert json.loads(body)["partialSuccess"]["rejectedSpans"] == "1"
    assert [span.name for span in receiver.spans] == ["span 1"]


def test_error_answers_say_when_and_where(receiver):
    receiver.behaviour, receiver.retry_after = "429", 7
    assert post(receiver, LINE)[1]["retry-after"] == "7"
    receiver.behaviour = "301"
    status, headers, _ = post(receiver, LINE)
    assert (status, headers["location"]) == (301, f"{receiver.url}/moved")


def test_an_unknown_behaviour_is_refused(receiver):
    with pytest.raises(ValueError, match="sulk"):
        receiver.behaviour = "sulk"


def test_waiting_ends_with_the_names_that_came(receiver):
    post(receiver, LINE)
    with pytest.raises(TimeoutError, match=r"2 of 3 spans.*'span 0', 'span 1'"):
        receiver.wait_spans(3, timeout_s=0.05)


def test_closing_ends_what_hangs():
    began = time.monotonic()
    with ThreadPoolExecutor() as pool, Receiver() as receiver:
        receiver.behaviour = "hang"
        answer = pool.submit(post, receiver, LINE)
        while not receiver.bodies:
            time.sleep(0.005)
        receiver.close()
        with pytest.raises(http.client.RemoteDisconnected):
            answer.result(5)
    assert time.monotonic() - began < 5
