"""A disk that makes the program wait: written to on a thread for a while; a busy processor is no such disk."""

from __future__ import annotations

import os
import threading
import time

import pytest

from nexus_otel import _guard
from nexus_otel.export import pace, writer
from nexus_otel.export.read import read_store
from tests.export.kit import opened, run

WAIT_S = 0.08
counted = pytest.mark.skipif(pace._THREAD is None, reason="this system does not count the sleeps of a thread")


@pytest.fixture
def disk(monkeypatch):
    """A disk whose writes do something first; `before` is None while it is fast."""

    class Disk:
        def __init__(self):
            self.before = None
            self.threads = []

    def write(descriptor, data):
        if disk.before is not None:
            disk.before()
        disk.threads.append(threading.get_ident())
        return real(descriptor, data)

    disk, real = Disk(), os.write
    monkeypatch.setattr(pace, "SLOW_S", 0.05)
    monkeypatch.setattr(writer.os, "write", write)
    return disk


@pytest.fixture
def traced(home):
    """A spool and what records one span in it; the segment is open already."""
    spool, provider = opened(home)
    tracer = provider.get_tracer("x")
    tracer.start_span("first").end()
    return spool, lambda name: tracer.start_span(name).end()


def names(home):
    return sorted(span.name for span in read_store(home).spans)


def test_a_slow_disk_is_written_to_by_a_thread(home, disk, traced):
    spool, record = traced
    disk.before = lambda: time.sleep(WAIT_S)
    disk.threads.clear()
    record("second")
    assert disk.threads.count(threading.get_ident()) == 1  # the begin; the end is left to the thread
    disk.before = None
    assert _guard.failures["writing to a slow disk"] == 1
    disk.threads.clear()
    record("third")
    assert threading.get_ident() not in disk.threads
    spool.flush()
    assert names(home) == ["first", "second", "third"]


def test_a_disk_that_has_kept_up_for_a_while_is_trusted_again(home, disk, traced, monkeypatch):
    spool, record = traced
    monkeypatch.setattr(pace, "TRUST_S", 0.2)
    until_trusted = []
    for round_ in range(2):
        disk.before = lambda: time.sleep(WAIT_S)
        record(f"slow {round_}")
        disk.before = None
        began = time.monotonic()
        while spool._pace.is_behind:
            assert time.monotonic() - began < 10
            record("then")
            spool.flush()
        until_trusted.append(time.monotonic() - began)
        disk.threads.clear()
        record("trusted")
        assert disk.threads == [threading.get_ident()] * 2
    assert until_trusted[0] > 0.1
    assert until_trusted[1] > 0.7  # four times as long
    assert (_guard.failures["writing to a slow disk"], spool._pace.slow) == (2, 2)
    assert names(home).count("trusted") == 2


def test_a_disk_is_not_trusted_for_having_had_nothing_to_do(disk, traced, monkeypatch):
    spool, record = traced
    monkeypatch.setattr(pace, "TRUST_S", 0.01)
    disk.before = lambda: time.sleep(WAIT_S)
    record("slow")
    disk.before = None
    time.sleep(0.1)
    record("once")
    spool.flush()
    assert spool._pace.is_behind


def least_wait(before, tmp_path, tries=5):
    """The least of some tries: a machine that has no processor left may add to any of them."""
    found = []
    with (tmp_path / "file").open("wb", buffering=0) as file:
        for _ in range(tries):
            begun = pace.now()
            before()
            file.write(b"x" * 1_000)
            wall_s = time.monotonic() - begun[0]
            assert wall_s > pace.SLOW_S
            found.append(pace._waited(wall_s, begun[1]))
    return min(found)


def test_a_sleeping_write_waits_for_the_disk(disk, tmp_path):
    assert least_wait(lambda: time.sleep(WAIT_S), tmp_path) >= WAIT_S - 0.01


@counted
def test_a_write_that_waits_for_the_interpreter_does_not(disk, tmp_path):
    def somebody_computes():
        begun = threading.Event()
        # a sum in C does not give the lock away before it is done
        threading.Thread(target=lambda: (begun.set(), sum(range(30_000_000))), daemon=True).start()
        begun.wait(5)

    assert least_wait(somebody_computes, tmp_path) == 0


@counted
def test_a_write_without_a_processor_does_not(home):
    done = run(
        home,
        """
pace.SLOW_S, real = 0.05, os.write
_spool, provider = opened(home)
provider.get_tracer("x").start_span("first").end()
def write(descriptor, data):
    until = time.monotonic() + 0.08
    while time.monotonic() < until:  # as good as waiting for one: nothing sleeps
        pass
    return real(descriptor, data)
writer.os.write = write
provider.get_tracer("x").start_span("second").end()
print(_guard.failures["writing to a slow disk"], _spool._thread)
""",
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "0 None\n", "")


def test_a_hanging_write_of_one_thread_stops_no_other(home, disk, traced):
    spool, record = traced
    hangs, released = threading.Event(), threading.Event()

    def hang():
        hangs.set()
        released.wait(20)

    disk.before = hang
    one = threading.Thread(target=record, args=("hanging",), daemon=True)
    one.start()
    assert hangs.wait(5)
    began = time.monotonic()
    for number in range(100):
        record(str(number))
    took = time.monotonic() - began
    released.set()
    disk.before = None
    one.join(5)
    spool.flush()
    assert took < 2  # 200 records: one waits 50 ms, the others not at all
    assert names(home) == sorted(["first", "hanging", *map(str, range(100))])


def test_a_process_ends_while_its_disk_hangs(home):
    done = run(
        home,
        """
import threading
spool, provider = opened(home, durability="batch")
tracer = provider.get_tracer("x")
tracer.start_span("on disk").end()
spool.flush()
hangs = threading.Event()
def write(descriptor, data):
    hangs.set()
    time.sleep(60)
writer.os.write = write
tracer.start_span("hanging").end()
hangs.wait(5)
began = time.monotonic()
provider.shutdown()
print(time.monotonic() - began < 3, _guard.failures["waiting for a disk that hangs"])
""",
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "True 1\n", "")
    assert names(home) == ["on disk"]
