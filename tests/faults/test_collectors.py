"""Collectors that are dead, hang, refuse or move: the program neither waits nor hears of it, and nothing is lost."""

import socket

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from tests.e2e.kit import LAUNCHER, PYTHON, RUN, World, shape, together
from tests.fakes import telemetry
from tests.fakes.otlp import Receiver

ASK = "import loop; print(loop.ask()); raise SystemExit(3)\n"
TIMED = """
import atexit, os, sys, time
begun = []
def ended():
    with open(os.environ["TOOK"], "w") as file:
        file.write(str(time.monotonic() - begun[0]))
atexit.register(ended)
import loop
print(loop.ask())
begun.append(time.monotonic())
raise SystemExit(3)
"""
"""Registers its handler before ours, so that it runs after ours and measures it."""

BEHAVIOURS = {
    # name: behaviour of the receiver, seconds it asks to wait
    "hanging": ("hang", None),
    "503": ("503", None),
    "503 with a long wait": ("503", 3600),
    "429 with a wait": ("429", 2),
    "301": ("301", None),
    "400": ("400", None),
    "401": ("401", None),
    "closing": ("refuse", None),
}
MARGIN_S = 0.6
"""What an exit may take besides the wait itself: threads on a busy machine."""


def took(world, **env):
    path = world.folder / "took"
    done = world.launch(TIMED, TOOK=str(path), **env)
    return done, float(path.read_text())


class Case:
    """A program whose collector fails, then `nexus-otel flush` with the collector well again."""

    def __init__(self, provider, folder, behaviour, wait_s):
        self.world = World.made(provider, folder)
        with Receiver() as receiver:
            self.there = {"OTEL_EXPORTER_OTLP_ENDPOINT": receiver.url}
            receiver.behaviour, receiver.retry_after = behaviour, wait_s
            self.done, self.seconds = took(self.world, **self.there)
            self.arrived = receiver.spans
            self.tried = {body.data for body in receiver.bodies if body.path == "/v1/traces"}
            receiver.behaviour, receiver.retry_after = "ok", None
            self.flushed = self.world.nexus("flush", **self.there)
            self.spans = receiver.spans
            self.again = self.world.nexus("flush", **self.there)
            self.total = len(receiver.spans)
            self.malformed = receiver.malformed


@pytest.fixture(scope="module")
def cases(provider, tmp_path_factory):
    folder = tmp_path_factory.mktemp("collectors")
    results = together(*(lambda case=case: Case(provider, folder, *case) for case in BEHAVIOURS.values()))
    return dict(zip(BEHAVIOURS, results, strict=True))


@pytest.mark.parametrize("name", BEHAVIOURS)
def test_the_program_ends_as_ever_and_hears_nothing(cases, name):
    done = cases[name].done
    assert (done.code, done.out, done.err) == (3, "done\n", "")


@pytest.mark.parametrize("name", BEHAVIOURS)
def test_the_exit_takes_no_longer_than_allowed(cases, name):
    assert cases[name].seconds < 1 + MARGIN_S


@pytest.mark.parametrize("name", BEHAVIOURS)
def test_a_flush_delivers_all_of_it_once(cases, name):
    case = cases[name]
    assert case.arrived == []
    assert case.malformed == []
    assert (case.flushed.code, case.flushed.err) == (0, "")
    assert shape(case.spans) == RUN
    assert (case.again.code, case.total) == (0, len(RUN))


@pytest.mark.parametrize("name", ["503", "closing"])
def test_what_is_delivered_later_is_exactly_what_was_tried(cases, name):
    case = cases[name]
    tried = {s.span_id: s for data in case.tried for s in telemetry.spans(ExportTraceServiceRequest.FromString(data))}
    assert {span.span_id: span for span in case.spans} == tried


def test_a_dead_collector_costs_little_and_the_run_is_kept(world, receiver):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        dead = f"http://127.0.0.1:{taken.getsockname()[1]}"
        done, seconds = took(world, OTEL_EXPORTER_OTLP_ENDPOINT=dead)
    assert (done.code, done.out, done.err) == (3, "done\n", "")
    assert seconds < 1 + MARGIN_S
    assert shape(world.stored()) == RUN


def test_another_collector_does_not_get_it(world, receiver):
    done = world.launch(ASK, OTEL_EXPORTER_OTLP_ENDPOINT="http://127.0.0.1:9", NEXUS_EXIT_TIMEOUT_S="0.1")
    assert (done.code, done.out, done.err) == (3, "done\n", "")
    flushed = world.nexus("flush", OTEL_EXPORTER_OTLP_ENDPOINT=receiver.url)
    assert flushed.code == 1
    assert "http://127.0.0.1:9" in flushed.err
    assert receiver.bodies == []


def test_the_exit_timeout_is_the_users_choice(provider, tmp_path):
    def one(timeout_s):
        with Receiver() as receiver:
            receiver.behaviour = "hang"
            world = World.made(provider, tmp_path)
            return took(world, OTEL_EXPORTER_OTLP_ENDPOINT=receiver.url, NEXUS_EXIT_TIMEOUT_S=timeout_s)

    (_, none), (_, three) = together(lambda: one("0"), lambda: one("3"))
    assert none < MARGIN_S
    assert 2.5 < three < 3 + MARGIN_S


def test_the_next_process_delivers_what_the_last_one_could_not(worlds):
    first, second = worlds(), worlds()
    with Receiver() as receiver:
        there = {"OTEL_EXPORTER_OTLP_ENDPOINT": receiver.url, "NEXUS_HOME": str(first.home)}
        receiver.behaviour = "503"
        first.launch(ASK, **there)
        receiver.behaviour = "ok"
        second.launch(ASK, **there, NEXUS_EXIT_TIMEOUT_S="5")
        spans = receiver.spans
    assert shape(spans) == sorted(RUN + RUN)
    assert first.stored() == []


def test_a_collector_that_comes_back_during_the_run_gets_all_of_it(worlds):
    world = worlds()
    program = """
    import loop, sys
    print(loop.ask(tool=lambda given: (print("asked", flush=True), sys.stdin.readline())[1]), flush=True)
    sys.stdin.readline()
    """
    with Receiver() as receiver:
        receiver.behaviour = "503"
        path = world.write("agent.py", program)
        with world.start(LAUNCHER, PYTHON, path, OTEL_EXPORTER_OTLP_ENDPOINT=receiver.url) as process:
            assert process.stdout.readline() == "asked\n"
            process.stdin.write("x\n")
            process.stdin.flush()
            assert process.stdout.readline() == "done\n"
            receiver.behaviour = "ok"
            spans = receiver.wait_spans(len(RUN), 20)
            _, err = process.communicate("\n", timeout=20)
    assert err == ""
    assert shape(spans) == RUN
