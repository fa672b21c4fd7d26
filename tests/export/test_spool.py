from __future__ import annotations

import errno
import gc
import os
import shutil
import stat
import subprocess
import sys
import threading
import time

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF

from nexus_otel import _guard
from nexus_otel.export import places, retention, writer
from nexus_otel.export.read import read_store
from nexus_otel.export.segment import BEGIN, NOTE, SPANS, is_locked, read_header, read_records, segments
from nexus_otel.export.spool import Spool, SpoolProcessor
from nexus_otel.genai.content import beside
from tests.export.kit import PRELUDE, To, count_spans, kinds, opened, run


@pytest.fixture
def fails(monkeypatch):
    """Make every write of the spool fail with an error code; 0 for none."""
    state = {"code": 0, "after": 0}
    real = os.write

    def write(descriptor, data):
        if state["code"] and state["after"] <= 0:
            raise OSError(state["code"], os.strerror(state["code"]))
        state["after"] -= 1
        if state["code"] and state["after"] == 0:
            return real(descriptor, bytes(data)[: len(data) // 2])
        return real(descriptor, data)

    monkeypatch.setattr(writer.os, "write", write)
    return state


def names(home):
    return sorted(span.name for span in read_store(home).spans)


# -- records ---------------------------------------------------------------------------------------------


def test_nothing_is_touched_before_the_first_span(home):
    opened(home)
    assert not home.exists()


def test_a_span_is_on_disk_when_it_begins_and_when_it_ends(home):
    _spool, provider = opened(home)
    span = provider.get_tracer("x").start_span("chat")
    assert kinds(home) == [BEGIN]
    span.end()
    assert kinds(home) == [BEGIN, SPANS]


def test_files_and_folders_are_private(home):
    old = os.umask(0)
    try:
        opened(home)[1].get_tracer("x").start_span("chat").end()
    finally:
        os.umask(old)
    (segment,) = segments(home / "spool")
    modes = [stat.S_IMODE(path.stat().st_mode) for path in (home.parent, home, home / "spool", segment)]
    assert modes == [0o700, 0o700, 0o700, 0o600]


def test_an_open_folder_is_closed_to_others(home):
    (home / "spool").mkdir(parents=True)
    (home / "spool").chmod(0o755)
    opened(home)[1].get_tracer("x").start_span("chat").end()
    assert stat.S_IMODE((home / "spool").stat().st_mode) == 0o700


def test_the_header_says_whose_and_where_to(home):
    spool, provider = opened(home, To("http://c:4318/v1/traces"), export=("local", "otlp"))
    provider.get_tracer("x").start_span("chat").end()
    header = read_header(spool.live_segment)
    assert header.owner.pid == os.getpid()
    assert [target.endpoint for target in header.targets] == ["http://c:4318/v1/traces"]
    assert (header.keep, header.content, header.resource) == (True, "local", {"service.name": "agent"})


def test_the_segment_is_locked_until_it_is_closed(home):
    spool, provider = opened(home)
    provider.get_tracer("x").start_span("chat").end()
    (segment,) = segments(home / "spool")
    assert is_locked(segment)
    spool.close()
    assert not is_locked(segment)


def test_unsampled_spans_are_not_written(home):
    provider = TracerProvider(sampler=ALWAYS_OFF, shutdown_on_exit=False)
    provider.add_span_processor(SpoolProcessor(Spool.open(home)))
    provider.get_tracer("x").start_span("chat").end()
    assert not home.exists()


def test_the_hot_path_loads_neither_protobuf_nor_an_exporter(home):
    done = run(
        home,
        "import nexus_otel.export.sender, nexus_otel.export.telemetry\n"
        "opened(home)[1].get_tracer('x').start_span('chat').end()\n"
        "print([name for name in sys.modules if 'protobuf' in name or 'otlp' in name or name == 'urllib3'])",
    )
    assert (done.stdout, done.stderr) == ("[]\n", "")


# -- content ---------------------------------------------------------------------------------------------


def test_content_beside_a_span_goes_into_a_store_that_nobody_ships(home):
    _spool, provider = opened(home)
    assert beside.wanted
    span = provider.get_tracer("x").start_span("chat")
    beside.of(span.context.trace_id, span.context.span_id).attributes["gen_ai.input.messages"] = "secret"
    span.end()
    (stored,) = read_store(home).spans
    assert stored.attributes == {"gen_ai.input.messages": "secret"}
    provider.shutdown()
    assert not beside.wanted


@pytest.mark.parametrize("export", [("otlp",), ("local", "otlp")])
def test_content_beside_a_span_is_dropped_where_there_is_a_destination(home, export):
    spool, provider = opened(home, To(), export=export)
    assert not beside.wanted
    span = provider.get_tracer("x").start_span("chat")
    key = (span.context.trace_id, span.context.span_id)
    beside.of(*key).attributes["gen_ai.input.messages"] = "secret"
    span.end()
    assert b"secret" not in spool.live_segment.read_bytes()
    assert beside.take(*key) is None


# -- many writers ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("durability", ["sync", "batch"])
def test_eight_threads_lose_nothing(home, durability, monkeypatch):
    monkeypatch.setattr(writer, "ROTATE_BYTES", 20_000)
    spool, provider = opened(home, durability=durability)
    tracer = provider.get_tracer("x")

    def work():
        for number in range(100):
            with tracer.start_as_current_span(f"{threading.get_ident()}-{number}"):
                pass

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    spool.flush()
    store = read_store(home)
    assert (len(store.spans), store.skipped) == (800, 0)
    assert not any(span.open or span.died for span in store.spans)
    assert len(store.files) > 1


def test_two_processes_share_a_home(home):
    program = "for n in range(200): opened_tracer.start_span(str(n)).end()"
    source = PRELUDE + "opened_tracer = opened(home)[1].get_tracer('x')\n" + program
    several = [subprocess.Popen([sys.executable, "-c", source, str(home)]) for _ in range(2)]
    assert [process.wait(20) for process in several] == [0, 0]
    store = read_store(home)
    assert (len(store.spans), len(store.files), store.skipped) == (400, 2, 0)


def test_a_forked_child_writes_a_segment_of_its_own(home):
    done = run(
        home,
        """
spool, provider = opened(home)
tracer = provider.get_tracer("x")
with tracer.start_as_current_span("parent") as parent:
    child = os.fork()
    if child == 0:
        with tracer.start_as_current_span("child"):
            pass
        parent.end()
        os._exit(0)
    os.waitpid(child, 0)
    from nexus_otel.export.segment import is_locked
    assert is_locked(spool.live_segment)
    with tracer.start_as_current_span("after"):
        pass
""",
    )
    assert (done.returncode, done.stderr) == (0, "")
    store = read_store(home)
    assert len(store.files) == 2
    assert [span.name for span in store.spans] == ["parent", "child", "after"]
    assert store.spans[1].parent_id == store.spans[0].span_id
    assert count_spans(home) == (3, 3)


@pytest.mark.parametrize("durability", ["sync", "batch"])
def test_a_fork_in_the_middle_of_another_threads_write_goes_on(home, durability):
    done = run(
        home,
        f"""
import threading
spool, provider = opened(home, durability={durability!r})
tracer = provider.get_tracer("x")
stop = threading.Event()
def work():
    while not stop.is_set():
        tracer.start_span("busy").end()
threading.Thread(target=work).start()
children = []
for n in range(10):
    child = os.fork()
    if child == 0:
        signal.alarm(5)
        tracer.start_span("child").end()
        spool.flush()
        os._exit(0)
    children.append(child)
codes = [os.waitpid(child, 0)[1] for child in children]
stop.set()
print(codes)
""",
    )
    assert done.stdout == f"{[0] * 10}\n"
    assert names(home).count("child") == 10


def test_a_span_that_a_finalizer_ends_in_the_middle_of_a_write_is_kept(home, monkeypatch):
    spool, provider = opened(home)
    tracer = provider.get_tracer("x")
    real = writer.SegmentFile.append

    def append(segment, data):
        if len(data) > 5_000:
            tracer.start_span("inner").end()
        real(segment, data)

    tracer.start_span("first").end()
    monkeypatch.setattr(writer.SegmentFile, "append", append)
    done = threading.Thread(target=lambda: tracer.start_span("outer", attributes={"a": "x" * 6_000}).end(), daemon=True)
    done.start()
    done.join(5)
    assert not done.is_alive()
    spool.flush()
    assert set(names(home)) == {"first", "inner", "outer"}


# -- durability ------------------------------------------------------------------------------------------


def test_batch_writes_within_moments(home):
    opened_ = opened(home, durability="batch")
    opened_[1].get_tracer("x").start_span("chat").end()
    deadline = time.monotonic() + 5
    while not home.exists() or count_spans(home)[1] == 0:
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_batch_loses_nothing_at_exit(home):
    done = run(home, "opened(home, durability='batch')[1].get_tracer('x').start_span('chat').end()")
    assert (done.returncode, names(home)) == (0, ["chat"])


def test_memory_writes_nothing(home):
    spool, provider = opened(home, To(), durability="memory")
    provider.get_tracer("x").start_span("chat").end()
    first, records = spool.in_memory()
    assert (first, [record[8] for record in records]) == (0, [BEGIN, SPANS])
    spool.forget(1)
    assert (spool.in_memory()[0], not home.exists()) == (1, True)


def test_a_segment_ends_at_its_size_and_the_next_holds_what_is_open(home, monkeypatch):
    monkeypatch.setattr(writer, "ROTATE_BYTES", 3_000)
    spool, provider = opened(home)
    tracer = provider.get_tracer("x")
    root = tracer.start_span("root")
    for number in range(50):
        tracer.start_span(str(number)).end()
    assert len(segments(home / "spool")) > 3
    assert next(kind for kind, _payload, _end in read_records(spool.live_segment)) == BEGIN
    assert [span.name for span in read_store(home).spans if span.open] == ["root"]
    root.end()
    store = read_store(home)
    assert (len(store.spans), any(span.open for span in store.spans)) == (51, False)


def test_many_open_spans_do_not_fill_every_segment(home, monkeypatch):
    monkeypatch.setattr(writer, "ROTATE_BYTES", 5_000)
    _spool, provider = opened(home)
    tracer = provider.get_tracer("x")
    still_open = [tracer.start_span("open") for _ in range(100)]
    for number in range(200):
        tracer.start_span(str(number)).end()
    store = read_store(home)
    assert len([span for span in store.spans if span.open]) == len(still_open)
    begun, ended = count_spans(home)
    assert (ended, begun < 1_000) == (200, True)


# -- disks that fail -------------------------------------------------------------------------------------


def test_a_full_disk_costs_nothing_but_the_place(home, fails):
    _spool, provider = opened(home)
    tracer = provider.get_tracer("x")
    tracer.start_span("before").end()
    fails.update(code=errno.ENOSPC, after=1)
    tracer.start_span("while").end()
    assert _guard.failures["storing in the store"] == 1
    assert _guard.failures["storing in a temporary folder"] == 1
    fails.update(code=0)
    for place in (0, 1):
        _spool._writer._retry_at[place] = 0
    tracer.start_span("after").end()
    store = read_store(home)
    assert sorted(span.name for span in store.spans) == ["after", "before", "while"]
    assert store.skipped == 0


def test_what_memory_could_not_hold_is_noted_when_the_disk_is_back(home, fails):
    spool, provider = opened(home)
    spool._writer.memory._limit = 2_000
    tracer = provider.get_tracer("x")
    fails.update(code=errno.ENOSPC)
    for number in range(20):
        tracer.start_span(str(number)).end()
    fails.update(code=0)
    spool._writer._retry_at = [0, 0]
    tracer.start_span("after").end()
    (payload,) = [payload for kind, payload, _end in read_records(spool.live_segment) if kind == NOTE]
    assert b'"dropped":' in payload
    assert spool.in_memory()[1] == []


@pytest.mark.skipif(os.getuid() != 0, reason="mounting needs root")
def test_a_disk_that_is_really_full(home):
    home.mkdir(parents=True)
    if subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", home], check=False, capture_output=True
    ).returncode:
        pytest.skip("no mounts here")
    try:
        spool, provider = opened(home)
        tracer = provider.get_tracer("x")
        for number in range(200):
            tracer.start_span(str(number), attributes={"a": "x" * 1_000}).end()
        spool.flush()
        store = read_store(home)
        assert (len(store.spans), store.skipped) == (200, 0)
        spool.close()
    finally:
        subprocess.run(["umount", home], check=True)


def test_no_place_at_all_is_memory(home, monkeypatch):
    home.parent.mkdir(parents=True)
    home.write_text("not a folder")
    monkeypatch.setattr("tempfile.tempdir", None)
    monkeypatch.setattr("tempfile._candidate_tempdir_list", list)
    spool, provider = opened(home)
    provider.get_tracer("x").start_span("chat").end()
    assert len(spool.in_memory()[1]) == 2
    assert read_store(home).spans == []


def test_a_home_that_is_a_file_is_stood_in_for(home):
    home.parent.mkdir(parents=True)
    home.write_text("not a folder")
    _spool, provider = opened(home)
    provider.get_tracer("x").start_span("chat").end()
    assert names(home) == ["chat"]
    assert _guard.failures["storing in the store"] == 1


def test_a_home_on_a_network_is_stood_in_for(home, monkeypatch):
    monkeypatch.setattr(
        places, "_mounts", lambda: f"proc /proc proc rw 0 0\n/dev/a / ext4 rw 0 0\nhost:/x {home.parent} nfs4 rw 0 0\n"
    )
    _spool, provider = opened(home)
    provider.get_tracer("x").start_span("chat").end()
    assert names(home) == ["chat"]
    assert not home.exists()
    assert _guard.failures["storing in the store"] == 1


def test_a_home_deleted_under_us_is_made_anew(home):
    spool, provider = opened(home)
    tracer = provider.get_tracer("x")
    tracer.start_span("gone").end()
    shutil.rmtree(home)
    spool._writer._look_at = 0
    tracer.start_span("chat").end()
    assert names(home) == ["chat"]


def test_no_error_of_the_disk_reaches_the_caller(home, monkeypatch, tmp_path):
    def refuse(*_args, **_kwargs):
        raise PermissionError(errno.EACCES, "no")

    monkeypatch.setattr(writer.os, "open", refuse)
    spool, provider = opened(home)
    provider.get_tracer("x").start_span("chat").end()
    assert len(spool.in_memory()[1]) == 2


def test_a_failure_of_ours_does_not_reach_the_caller(home, monkeypatch, caplog):
    monkeypatch.setattr(_guard, "raise_failures", False)
    _spool, provider = opened(home)
    monkeypatch.setattr("nexus_otel.export.spool.encode_parts", lambda *_args: 1 / 0)
    provider.get_tracer("x").start_span("chat").end()
    assert "ZeroDivisionError" in caplog.text


# -- what is kept ----------------------------------------------------------------------------------------


def past(home, *destinations, days=0.0, size=0, **settings):
    """A segment of this process that was closed some days ago."""
    spool, provider = opened(home, *destinations, **settings)
    with provider.get_tracer("x").start_as_current_span("old") as span:
        span.set_attribute("a", "x" * size)
    path = spool.live_segment
    spool.close()
    when = time.time() - days * 86_400
    os.utime(path, (when, when))
    return path


def acknowledge_all(path):
    for target in read_header(path).targets:
        retention.acknowledge(path, target, path.stat().st_size, final=True)


def test_old_local_segments_go_and_undelivered_ones_stay(home):
    old, young, waiting, sent = (
        past(home, days=8),
        past(home, days=6),
        past(home, To(), days=8),
        past(home, To(), days=8),
    )
    acknowledge_all(sent)
    spool, provider = opened(home)
    provider.get_tracer("x").start_span("new").end()
    assert set(segments(home / "spool")) == {young, waiting, spool.live_segment}
    assert not list((home / "spool").glob("*.ack"))
    assert not old.exists()


def test_the_cap_takes_the_delivered_first_then_the_oldest(home):
    first, second, sent = (
        past(home, size=400_000),
        past(home, To(), size=400_000),
        past(home, To(), size=400_000),
    )
    acknowledge_all(sent)
    retention.tidy(home / "spool", retention.Kept(7, 900_000))
    assert segments(home / "spool") == [first, second]
    retention.tidy(home / "spool", retention.Kept(7, 500_000))
    assert segments(home / "spool") == [second]
    dropped = retention.tidy(home / "spool", retention.Kept(7, 1_000))
    assert (segments(home / "spool"), dropped.segments) == ([], 1)


def test_a_tenth_of_the_free_space_is_the_most(home, monkeypatch):
    path = past(home, size=400_000)
    usage = shutil.disk_usage(home)._replace(free=3_000_000)
    monkeypatch.setattr(retention.shutil, "disk_usage", lambda _folder: usage)
    retention.tidy(home / "spool", retention.Kept(7, 10**9))
    assert not path.exists()


def test_an_empty_segment_goes_after_a_minute(home):
    kept = past(home)
    empty, young = (kept.with_name(f"seg-{number}-1-1.nxs") for number in (1, 2))
    for one in (empty, young):
        one.touch()
    os.utime(empty, (0, 0))
    retention.tidy(home / "spool", retention.Kept(7, 10**9))
    assert set(segments(home / "spool")) == {kept, young}


def test_what_stood_beside_a_deleted_segment_goes(home):
    path = past(home, To())
    lost, young = (path.with_name(f"seg-{number}-1-1.nxs.ab.ack") for number in (1, 2))
    for one in (lost, young, retention.ack_path(path, To().target)):
        one.write_text("1")
    for one in (lost, retention.ack_path(path, To().target)):
        os.utime(one, (0, 0))
    retention.tidy(home / "spool", retention.Kept(7, 10**9))
    assert sorted(one.name for one in (home / "spool").iterdir()) == sorted(
        one.name for one in (path, young, retention.ack_path(path, To().target))
    )


def test_a_file_that_is_not_ours_is_never_deleted(home):
    foreign = past(home).with_name("seg-0-0-0.nxs")
    foreign.write_bytes(b"NXSPOOL\x02 of a later version")
    os.utime(foreign, (0, 0))
    retention.tidy(home / "spool", retention.Kept(0, 0))
    assert segments(home / "spool") == [foreign]


def test_a_segment_in_use_is_never_deleted(home):
    spool, provider = opened(home)
    provider.get_tracer("x").start_span("live").end()
    os.utime(spool.live_segment, (0, 0))
    retention.tidy(home / "spool", retention.Kept(0, 0))
    assert spool.live_segment.exists()


def test_data_dropped_for_room_is_noted_in_the_new_segment(home):
    past(home, To(), size=2_000_000)
    spool, provider = opened(home, store_max_mb=1)
    provider.get_tracer("x").start_span("new").end()
    notes = [payload for kind, payload, _end in read_records(spool.live_segment) if kind == NOTE]
    assert b'"dropped_segments":1' in notes[0]
    assert _guard.failures["making room in the store"] == 1


def test_a_spool_is_freed_with_its_thread(home):
    spool, provider = opened(home, durability="batch")
    provider.get_tracer("x").start_span("chat").end()
    thread = spool._thread
    spool.close()
    del spool, provider
    gc.collect()
    thread.join(5)
    assert not thread.is_alive()
