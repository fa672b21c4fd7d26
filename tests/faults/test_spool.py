"""The spool under fault: killed at every system call that changes the disk, with any schedule of outages and clocks.

The property: every span that ended is delivered at least once, and can be read here until it is.
"""

import json
import os
import subprocess
import sys
import time

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nexus_otel.config import Settings
from nexus_otel.export import retention, segment, writer
from nexus_otel.export.destinations import Destination
from nexus_otel.export.read import read_store
from nexus_otel.export.segment import read_header, segments
from nexus_otel.export.shipper import Shipper
from nexus_otel.export.spool import Spool
from tests.e2e.kit import COMMAND, RUN, SPAN_ONLY, shape
from tests.export.collector import Collector
from tests.export.kit import PRELUDE, provider_of

DRIVER = (
    PRELUDE
    + """
import json
from nexus_otel.export.destinations import Destination
from nexus_otel.export.sender import Sender
import urllib3, encodings.idna, urllib.request
REAL = {name: getattr(os, name) for name in ("write", "replace", "unlink", "ftruncate")}

def dying(name, case, count):
    def call(*given, **more):
        count[0] += 1
        if count[0] == case["kill_at"]:
            if name == "write":
                REAL["write"](given[0], given[1][: int(len(given[1]) * case["part"])])
            elif case["part"] == 1:
                REAL[name](*given, **more)
            os.kill(os.getpid(), signal.SIGKILL)
        return REAL[name](*given, **more)
    return call

def child(case, told):
    count = [0]
    for name in REAL:
        setattr(os, name, dying(name, case, count))
    writer.ROTATE_BYTES = case.get("rotate", 4 << 20)
    to = Destination("traces", case["url"], timeout_s=0.2)
    spool, provider = opened(Path(case["home"]), to)
    sender = Sender(spool, [to]) if case["send"] else None
    tracer = provider.get_tracer("x")
    for name in case["spans"]:
        tracer.start_span(name).end()
        REAL["write"](told, f"{name}\\n".encode())
    if sender is not None:
        sender.flush(1)
        sender.stop(0.1)

for line in sys.stdin:
    case = json.loads(line)
    read, told = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            child(case, told)
        finally:
            os._exit(0)
    os.close(told)
    with os.fdopen(read) as ended:
        names = ended.read().split()
    _pid, status = os.waitpid(pid, 0)
    print(json.dumps([names, os.WIFSIGNALED(status)]), flush=True)
"""
)


class Driver:
    """Forks processes that record spans and die where they are told to."""

    def __init__(self, home):
        pipes = dict.fromkeys(("stdin", "stdout"), subprocess.PIPE)
        self.process = subprocess.Popen([sys.executable, "-c", DRIVER, str(home)], text=True, **pipes)

    def run(self, home, url, spans, kill_at=0, part=0.0, *, send=False, **more):
        """Return the spans that had ended, and whether the process was killed."""
        case = {"home": str(home), "url": url, "spans": spans, "kill_at": kill_at, "part": part, "send": send, **more}
        self.process.stdin.write(json.dumps(case) + "\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())

    def close(self):
        self.process.communicate(timeout=20)


@pytest.fixture(scope="module")
def driver(tmp_path_factory):
    running = Driver(tmp_path_factory.mktemp("driver"))
    yield running
    running.close()


@pytest.fixture
def collector():
    running = Collector()
    yield running
    running.close()


@pytest.fixture(autouse=True)
def our_own_place(monkeypatch, tmp_path):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))


def here(home):
    return {span.name for span in read_store(home).spans}


def deliver(home, collector):
    collector.script.clear()
    collector.always = 200
    assert Shipper(home, [Destination("traces", collector.url)]).round()


def left(home):
    """The segments that hold anything; one without a header goes after a minute."""
    return [path for path in segments(home / "spool") if read_header(path) is not None]


NAMES = ["a", "b", "c"]


@pytest.mark.parametrize("part", [0, 0.5, 1])
def test_killed_at_every_write_of_the_recorder(driver, collector, tmp_path, part):
    for kill_at in range(1, 40):
        home = tmp_path / str(kill_at)
        ended, killed = driver.run(home, collector.url, NAMES, kill_at, part, rotate=300)
        assert set(ended) <= here(home), kill_at
        deliver(home, collector)
        assert set(ended) <= set(collector.names), kill_at
        assert not left(home), kill_at
        collector.accepted.clear()
        if not killed:
            break
    assert kill_at > 8
    assert not killed


@pytest.mark.parametrize("part", [0, 0.5, 1])
def test_killed_at_every_change_of_the_sender(driver, collector, tmp_path, part):
    twice = 0
    for kill_at in range(1, 60):
        home = tmp_path / str(kill_at)
        ended, killed = driver.run(home, collector.url, NAMES, kill_at, part, send=True, rotate=300)
        assert set(ended) <= here(home) | set(collector.names), kill_at
        deliver(home, collector)
        assert set(ended) <= set(collector.names), kill_at
        assert not left(home), kill_at
        twice += len(collector.names) > len(set(collector.names))
        collector.accepted.clear()
        if not killed:
            break
    assert kill_at > 12
    assert not killed
    assert twice < kill_at / 2  # only where the acknowledgement was not written down yet


behaviours = st.sampled_from([200, 200, 503, 500, 429, 401, 0, (503, {"retry-after": "30"}, b"")])
processes = st.lists(
    st.tuples(
        st.integers(0, 4),  # spans
        st.one_of(st.just(0), st.integers(1, 25)),  # killed at this change of the disk
        st.sampled_from([0, 0.5, 1]),
        st.booleans(),  # whether it sends
        st.lists(behaviours, max_size=4),
    ),
    min_size=1,
    max_size=4,
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(processes)
def test_every_span_that_ended_is_delivered_and_can_be_read_until_then(driver, tmp_path_factory, schedule):
    home = tmp_path_factory.mktemp("schedule")
    collector = Collector()
    ended = set()
    try:
        for number, (count, kill_at, part, sends, answers) in enumerate(schedule):
            collector.script.clear()
            collector.script.extend(answers)
            names = [f"{number}.{n}" for n in range(count)]
            ended |= set(driver.run(home, collector.url, names, kill_at, part, send=sends, rotate=400)[0])
            assert ended <= here(home) | set(collector.names)
        collector.released.set()
        deliver(home, collector)
        assert ended <= set(collector.names)
    finally:
        collector.close()


CLOCKS = {"a day back": -86_400, "ten years on": 10 * 365 * 86_400, "to 1970": None}


@pytest.mark.parametrize("jump", CLOCKS)
def test_a_clock_that_jumps_loses_nothing(home, collector, monkeypatch, jump):
    to = Destination("traces", collector.url)

    def record(*names):
        spool = Spool.open(home, [to], settings=Settings())
        for name in names:
            provider_of(spool).get_tracer("x").start_span(name).end()
        spool.close()

    record("before")
    moved, real_ns, real = CLOCKS[jump], time.time_ns, time.time
    for module in (segment, writer, retention):

        class Clock:
            monotonic = staticmethod(time.monotonic)
            sleep = staticmethod(time.sleep)
            time_ns = staticmethod(lambda: 1_000 if moved is None else real_ns() + moved * 1_000_000_000)
            time = staticmethod(lambda: 0.0 if moved is None else real() + moved)

        monkeypatch.setattr(module, "time", Clock)
    record("after", "later")
    assert here(home) == {"before", "after", "later"}
    monkeypatch.undo()
    record("at last")
    deliver(home, collector)
    assert collector.names == ["after", "at last", "before", "later"]


@pytest.fixture
def home(tmp_path):
    return tmp_path / "home"


def test_two_applications_share_a_home_and_nothing_crosses(worlds, receiver):
    ask = "import loop; print(loop.ask('%s'))\n"
    private, sent = worlds(), worlds()
    there = {"NEXUS_HOME": str(private.home), "OTEL_EXPORTER_OTLP_ENDPOINT": receiver.url}
    receiver.behaviour = "503"
    first = sent.launch(ask % "open question", **there)
    local = private.launch(ask % "private question", **SPAN_ONLY)
    receiver.behaviour = "ok"
    second = sent.run(COMMAND, "flush", **there)
    assert (first.code, local.code, second.code) == (0, 0, 0)
    assert shape(receiver.spans) == RUN
    assert not any(b"private question" in body.data for body in receiver.bodies)
    assert shape(private.stored()) == RUN
    assert b"private question" in private.spool_bytes()
    assert os.listdir(private.home / "spool")  # noqa: PTH208
