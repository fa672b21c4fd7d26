"""How findings are told while a run goes on: events, the root, the log, records, a counter, callbacks."""

from __future__ import annotations

import logging
import threading
from collections import Counter

import pytest
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import InMemoryLogRecordExporter, SimpleLogRecordProcessor
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader

import nexus_otel
from nexus_otel import _guard, config
from nexus_otel.config import Settings
from nexus_otel.genai.own import own
from nexus_otel.processors import telling
from tests.kit.fixtures import Kept, failures_allowed
from tests.processors.following import Told, followed


@pytest.fixture(autouse=True)
def settings(tmp_path):
    config.use(Settings(home=tmp_path, context_limits=(("m", 10_000),)))
    yield
    config.use(None)


@pytest.fixture
def outside(monkeypatch):
    """What is told outside of the trace: log records, the counter."""
    records, reader = InMemoryLogRecordExporter(), InMemoryMetricReader()
    logs = LoggerProvider(shutdown_on_exit=False)
    logs.add_log_record_processor(SimpleLogRecordProcessor(records))
    meters = MeterProvider([reader], shutdown_on_exit=False)
    monkeypatch.setattr(own, "logger_provider", logs)
    monkeypatch.setattr(own, "meter_provider", meters)
    yield Outside(records, reader)
    meters.shutdown()
    logs.shutdown()


class Outside:
    def __init__(self, records, reader):
        self._records, self._reader = records, reader

    @property
    def records(self):
        found = [one.log_record for one in self._records.get_finished_logs()]
        return [(one.attributes["nexus.finding.mode"], one.severity_text) for one in found]

    @property
    def titles(self):
        return [one.log_record.body for one in self._records.get_finished_logs()]

    @property
    def counted(self):
        data = self._reader.get_metrics_data()
        metrics = [m for r in data.resource_metrics for s in r.scope_metrics for m in s.metrics] if data else []
        points = [point for metric in metrics if metric.name == "nexus.findings" for point in metric.data.data_points]
        return Counter(
            {(p.attributes["nexus.finding.mode"], p.attributes["nexus.finding.level"]): p.value for p in points}
        )


def events_of(ended):
    spans = ended.get_finished_spans()
    return [
        (span.name, event.attributes["nexus.finding.mode"], event.attributes["nexus.finding.level"])
        for span in spans
        for event in span.events
        if event.name == "nexus.finding"
    ]


@pytest.fixture
def lines():
    with Kept("nexus_otel.findings", logging.INFO) as kept:
        yield kept


def test_a_failure_that_is_got_over_is_one_record_when_the_trace_ends(outside, lines):
    with followed() as (_live, provider, ended):
        run = Told(provider)
        run.tool("charge", '{"n": 1}', "Error: no")
        assert outside.records == []
        run.tool("charge", '{"n": 2}', "done")
        assert outside.records == []
        run.end()
    assert outside.records == [("tool_error", "INFO")]
    assert outside.counted == {("tool_error", "info"): 1}
    assert lines.lines == []
    assert events_of(ended) == [("invoke_agent helper", "tool_error", "info")]
    root = ended.get_finished_spans()[-1]
    assert (root.attributes["nexus.findings"], "nexus.keep" in root.attributes) == (("tool_error",), False)


def test_a_failure_that_repeats_is_one_record_of_a_warning(outside, lines):
    with followed() as (_live, provider, ended):
        run = Told(provider)
        for number in range(2):
            run.tool("charge", f'{{"n": {number}}}', "Error: no")
        assert outside.records == [("tool_error", "WARN")]
        run.end()
    assert outside.records == [("tool_error", "WARN")]
    assert outside.counted == {("tool_error", "warning"): 1}
    assert len(lines.lines) == 1
    assert "tool_error: charge failed twice" in lines.lines[0]
    assert [level for _span, _mode, level in events_of(ended)] == ["info", "warning"]
    assert ended.get_finished_spans()[-1].attributes["nexus.keep"] == "finding: tool_error"


def test_a_context_that_fills_is_a_line_for_each_level_and_one_event(outside, lines):
    with followed() as (_live, provider, ended):
        run = Told(provider)
        for tokens in (1_000, 8_100, 8_300, 9_100, 9_600, 9_700):
            run.model(tokens)
        run.end()
    assert ["80%" in lines.lines[0], len(lines.lines)] == [False, 3], lines.lines
    assert [line.partition(" full")[0].rpartition(" ")[2] for line in lines.lines] == ["81%", "91%", "96%"]
    assert outside.records == [("context_overflow", "WARN")]
    assert outside.counted == {("context_overflow", "warning"): 1}
    assert events_of(ended) == [("invoke_agent helper", "context_overflow", "warning")]


def test_an_overflow_after_a_warning_is_a_second_record(outside, lines):
    with followed() as (_live, provider, ended):
        run = Told(provider)
        run.model(8_200)
        run.model(0, **{"error.type": "invalid_request_error", "nexus.error.class": "context_overflow"})
        run.end()
    assert outside.records == [("context_overflow", "WARN"), ("context_overflow", "ERROR")]
    assert [line.split(": ")[2].split(" ")[1] for line in lines.lines] == ["context", "context"]
    assert ["overflowed" in line for line in lines.lines] == [False, True]
    assert [level for _span, _mode, level in events_of(ended)] == ["warning", "error"]


def test_the_counter_has_mode_level_agent_and_version(outside):
    with followed() as (_live, provider, _ended):
        run = Told(provider)
        for _ in range(3):
            run.tool("search", "{}", "the same")
        run.end()
    data = outside._reader.get_metrics_data()
    (point,) = [
        point
        for r in data.resource_metrics
        for s in r.scope_metrics
        for m in s.metrics
        if m.name == "nexus.findings"
        for point in m.data.data_points
    ]
    assert dict(point.attributes) == {
        "nexus.finding.mode": "loop",
        "nexus.finding.level": "warning",
        "gen_ai.agent.name": "helper",
        "gen_ai.agent.version": "1.2",
    }


def test_titles_outside_hold_no_values(outside, lines):
    with followed() as (_live, provider, _ended):
        run = Told(provider)
        for number in range(4):
            run.tool("charge", f'{{"order": "SECRET{number}"}}', "Error: SECRET is unknown")
        run.end()
    assert outside.titles
    assert not [text for text in [*outside.titles, *lines.lines] if "SECRET" in text]


# -- callbacks ---------------------------------------------------------------------------------------------------------


def test_callbacks_are_called_on_a_thread_of_their_own_with_the_finding():
    heard, done = [], threading.Event()

    def callback(finding):
        heard.append((threading.current_thread().name, finding.mode, finding.level, finding.title, finding.evidence))
        done.set()

    with followed() as (live, provider, _ended):
        nexus_otel.on_finding(callback)
        assert live.callbacks == [callback]
        run = Told(provider)
        for _ in range(3):
            run.tool("search", "{}", "the same")
        assert done.wait(5)
        run.end()
    ((thread, mode, level, title, evidence),) = heard
    assert (thread, mode, level) == ("nexus-otel-findings", "loop", "warning")
    assert title == "search was called 3 times in a row with the same input and gave the same answer"
    assert len(evidence) == 3


def test_a_callback_that_raises_is_said_and_the_next_one_is_called():
    done = threading.Event()

    def broken(_finding):
        raise RuntimeError

    with failures_allowed(), followed() as (live, provider, _ended):
        live.callbacks += [broken, lambda _finding: done.set()]
        run = Told(provider)
        for _ in range(3):
            run.tool("search", "{}", "the same")
        run.end()
        assert done.wait(5)
        assert _guard.failures["calling a callback of on_finding"] == 1


def test_a_slow_callback_holds_nobody_up_and_what_is_not_told_is_counted(monkeypatch):
    go_on, begun = threading.Event(), threading.Event()

    def slow(_finding):
        begun.set()
        go_on.wait(10)

    monkeypatch.setattr(telling, "_waiting", telling.queue.Queue(2))
    monkeypatch.setattr(telling, "_thread", None)
    with failures_allowed(), followed() as (live, provider, _ended):
        live.callbacks.append(slow)
        for _ in range(6):
            run = Told(provider)
            for _ in range(3):
                run.tool("search", "{}", "the same")
            run.end()
        assert begun.wait(5)
        assert _guard.failures["callbacks"] >= 3
        go_on.set()


def test_a_finding_before_its_callback_is_one_more_callback_later():
    with followed() as (live, provider, _ended):
        run = Told(provider)
        for _ in range(3):
            run.tool("search", "{}", "the same")
        heard, done = [], threading.Event()
        live.callbacks.append(lambda finding: (heard.append(finding.mode), done.set()))
        for number in range(2):
            run.tool("charge", f'{{"n": {number}}}', "Error: no")
        assert done.wait(5)
        run.end()
    assert heard == ["tool_error"]
