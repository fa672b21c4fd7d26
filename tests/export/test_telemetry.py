from __future__ import annotations

import pytest
from opentelemetry._logs import LogRecord
from opentelemetry.exporter.otlp.proto.common._log_encoder import encode_logs
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import SimpleLogRecordProcessor
from opentelemetry.sdk.metrics import Counter, MeterProvider
from opentelemetry.sdk.metrics.export import AggregationTemporality, PeriodicExportingMetricReader

from nexus_otel.config import Settings
from nexus_otel.export.destinations import Destination
from nexus_otel.export.segment import LOGS, METRICS, SPANS, read_records
from nexus_otel.export.sender import Sender
from nexus_otel.export.spool import Spool
from nexus_otel.export.telemetry import SpoolLogExporter, SpoolMetricExporter
from tests.export.collector import Collector
from tests.export.kit import kinds, opened, run


def emit_log(spool, name="happened"):
    provider = LoggerProvider(shutdown_on_exit=False)
    provider.add_log_record_processor(SimpleLogRecordProcessor(SpoolLogExporter(spool)))
    provider.get_logger("x").emit(LogRecord(timestamp=1, body="text", event_name=name))


def count(spool):
    provider = MeterProvider([PeriodicExportingMetricReader(SpoolMetricExporter(spool))], shutdown_on_exit=False)
    provider.get_meter("x").create_counter("calls").add(3)
    provider.force_flush()
    provider.shutdown()


def test_the_local_store_takes_logs_and_no_metrics(home):
    spool, _provider = opened(home)
    emit_log(spool)
    count(spool)
    assert kinds(home) == [LOGS]


@pytest.mark.parametrize("body", [None, "", "text", {"a": 1}])
def test_an_event_without_a_body_has_none(home, body):
    spool, _provider = opened(home)
    provider = LoggerProvider(shutdown_on_exit=False)
    provider.add_log_record_processor(SimpleLogRecordProcessor(SpoolLogExporter(spool)))
    provider.get_logger("x").emit(LogRecord(timestamp=1, body=body, event_name="happened"))
    ((_kind, payload, _end),) = read_records(spool.live_segment)
    (record,) = ExportLogsServiceRequest.FromString(payload).resource_logs[0].scope_logs[0].log_records
    assert record.HasField("body") is (body is not None)


def test_every_signal_goes_to_its_destination(home):
    collector = Collector()
    try:
        to = [Destination(signal, f"{collector.endpoint}/v1/{signal}") for signal in ("traces", "logs", "metrics")]
        spool = Spool.open(home, to, settings=Settings())
        sender = Sender(spool, to, Settings())
        emit_log(spool)
        emit_log(spool)
        count(spool)
        assert set(kinds(home)) == {LOGS, METRICS}
        assert SPANS not in kinds(home)
        assert sender.flush(5)
        sender.stop(1)
        assert list((home / "spool").iterdir()) == []
    finally:
        collector.close()
    found = dict(collector.accepted)
    records = [
        record
        for around in found["/v1/logs"].resource_logs
        for scope in around.scope_logs
        for record in scope.log_records
    ]
    assert [record.event_name for record in records] == ["happened", "happened"]
    (metric,) = found["/v1/metrics"].resource_metrics[0].scope_metrics[0].metrics
    assert (metric.name, metric.sum.data_points[0].as_int) == ("calls", 3)


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        ("delta", AggregationTemporality.DELTA),
        ("cumulative", None),
        ("", None),
        ("LowMemory", AggregationTemporality.DELTA),
    ],
)
def test_the_preferred_temporality_is_that_of_the_standard_variable(home, monkeypatch, wanted, expected):
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE", wanted)
    exporter = SpoolMetricExporter(opened(home)[0])
    assert (exporter._preferred_temporality or {}).get(Counter) == expected


def test_the_official_encoder_is_loaded_at_the_first_log_only(home):
    done = run(
        home,
        "from nexus_otel.export.telemetry import SpoolLogExporter\n"
        "SpoolLogExporter(opened(home)[0])\n"
        "print([name for name in sys.modules if 'protobuf' in name or 'otlp' in name])",
    )
    assert done.stdout == "[]\n", done.stderr
    assert encode_logs([]).SerializeToString() == b""
