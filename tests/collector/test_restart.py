"""Nothing is lost by a restart: what the collector took is delivered after it, what it did not take is sent again."""

from __future__ import annotations

import itertools
import threading
import time

import pytest

from tests.collector.kit import QUICK, Collector, built, soon
from tests.collector.made import Made, agent
from tests.e2e.kit import EXAMPLE, LAUNCHER, PYTHON
from tests.fakes.provider import demo_script


@pytest.fixture
def make(tmp_path, receiver):
    """Makes a collector whose only output is the backend."""
    running = []

    def make(more="", **environment):
        given = {
            **QUICK, "NEXUS_COLLECTOR_BACKEND": receiver.url, "NEXUS_COLLECTOR_TRACES": "[otlp_http]", **environment
        }  # fmt: skip
        running.append(Collector(built(), tmp_path / "collector", given, more=more))
        return running[0].start()

    yield make
    for one in running:
        one.kill()


def traces(receiver):
    return {span.trace_id for span in receiver.spans}


def end(collector, how):
    {"SIGTERM": collector.stop, "SIGKILL": collector.kill}[how]()


@pytest.mark.parametrize("how", ["SIGTERM", "SIGKILL"])
def test_what_was_decided_is_delivered_after_a_restart(make, receiver, how):
    receiver.behaviour = "503"
    collector = make()
    runs = [agent(nexus__keep="finding: loop") for _ in range(20)]
    for run in runs:
        assert collector.post(run.request())
    soon(lambda: {run.trace_id for run in runs} <= tried(receiver))
    end(collector, how)
    assert not receiver.spans
    receiver.behaviour = "ok"
    collector.start()
    soon(lambda: {run.trace_id for run in runs} <= traces(receiver))


def tried(receiver):
    """The trace ids of all requests, those refused included."""
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

    from tests.fakes import telemetry

    bodies = [body for body in receiver.bodies if body.path == "/v1/traces"]
    return {
        span.trace_id for body in bodies for span in telemetry.spans(ExportTraceServiceRequest.FromString(body.data))
    }  # fmt: skip


def test_sigterm_decides_what_waits_and_delivers_it_after_the_restart(make, receiver):
    receiver.behaviour = "503"
    collector = make(NEXUS_COLLECTOR_WAIT="10m", NEXUS_COLLECTOR_WAIT_AFTER_ROOT="10m")
    flagged, plain = agent(nexus__keep="error"), agent()
    for run in (flagged, plain):
        assert collector.post(run.request())
    collector.stop()
    receiver.behaviour = "ok"
    collector.start()
    soon(lambda: flagged.trace_id in traces(receiver))
    assert plain.trace_id not in traces(receiver)


@pytest.mark.parametrize("how", ["SIGTERM", "SIGKILL"])
def test_without_sampling_all_that_was_taken_is_delivered(make, receiver, how):
    receiver.behaviour = "503"
    collector = make(NEXUS_COLLECTOR_SAMPLING="[]")
    taken, stop = [], threading.Event()

    def send():
        while not stop.is_set():
            run = agent(20, Made(attributes={"big": "x" * 2_000}))
            if not collector.post(run.request()):
                return
            taken.append(run.trace_id)

    senders = [threading.Thread(target=send) for _ in range(3)]
    for one in senders:
        one.start()
    time.sleep(0.7)
    end(collector, how)
    stop.set()
    for one in senders:
        one.join()
    assert len(taken) > 20
    receiver.behaviour = "ok"
    collector.start()
    soon(lambda: set(taken) <= traces(receiver))


def test_a_full_queue_takes_no_more_and_loses_nothing(make, receiver):
    receiver.behaviour = "503"
    small = "queue_size: 40000, batch: {min_size: 2000, max_size: 10000}"
    collector = make(f"exporters: {{otlp_http: {{sending_queue: {{{small}}}}}}}", NEXUS_COLLECTOR_SAMPLING="[]")
    runs = [agent(20, Made(attributes={"big": "x" * 2_000})) for _ in range(60)]
    taken = list(itertools.takewhile(lambda run: collector.post(run.request(), timeout_s=2), runs))
    assert 5 < len(taken) < len(runs)
    receiver.behaviour = "ok"
    left = [run for run in runs if run not in taken]
    assert all(collector.post(run.request()) for run in left)
    soon(lambda: {run.trace_id for run in runs} <= traces(receiver))


def test_above_its_memory_it_says_later_and_loses_nothing(make, receiver):
    waits = {"NEXUS_COLLECTOR_WAIT": "8s", "NEXUS_COLLECTOR_WAIT_AFTER_ROOT": "8s"}
    collector = make(NEXUS_COLLECTOR_MEMORY_MIB="40", **waits)
    runs = [agent(20, Made(attributes={"big": "x" * 250_000}), nexus__keep="error") for _ in range(300)]
    refused = [run for run in runs if not collector.post(run.request())]
    assert 0 < len(refused) < len(runs)
    for run in refused:
        soon(lambda run=run: collector.post(run.request()))
    soon(lambda: {run.trace_id for run in runs} <= traces(receiver))


def test_what_was_not_taken_comes_from_the_spool(make, receiver, world):
    collector = make(NEXUS_COLLECTOR_SAMPLING="[]")

    def run_agent():
        world.load(demo_script())
        done = world.run(
            LAUNCHER, PYTHON, EXAMPLE, OTEL_EXPORTER_OTLP_ENDPOINT=collector.url, NEXUS_EXPORT="local,otlp"
        )  # fmt: skip
        assert done.code == 0, done.err

    run_agent()
    collector.kill()
    run_agent()
    collector.start()
    done = world.nexus("flush", OTEL_EXPORTER_OTLP_ENDPOINT=collector.url, NEXUS_EXPORT="local,otlp")
    assert done.code == 0, done.err
    stored = {span.span_id for span in world.stored()}
    assert len(stored) > 10
    soon(lambda: stored <= {span.span_id for span in receiver.spans})
