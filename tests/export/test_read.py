from __future__ import annotations

import json
import signal
import subprocess
import sys

import pytest
from google.protobuf.json_format import Parse
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.trace import Link, SpanContext, SpanKind, Status, StatusCode

from nexus_otel.export.read import read_store, requests_json
from nexus_otel.export.segment import SPANS, pack, segments
from tests.export.kit import NESTED, PRELUDE, opened, run


def requests(home, **given):
    return [json.loads(line) for line in requests_json(home, **given)]


def test_no_home_is_an_empty_store(home):
    store = read_store(home)
    assert (store.spans, store.skipped, store.files) == ([], 0, [])
    assert list(requests_json(home)) == []


def test_a_span_comes_back_whole(home):
    _spool, provider = opened(home)
    tracer = provider.get_tracer("agent", "1.2")
    given = {"text": "a", "flag": True, "count": 3, "share": 0.5, "list": ["a", "b"]}
    given |= {"map": {"k": [1]}, "raw": b"\x00"} if NESTED else {}
    link = Link(SpanContext(1, 2, is_remote=True), {"why": "because"})
    with tracer.start_as_current_span("root", kind=SpanKind.CLIENT, attributes=given, links=[link]) as span:
        span.add_event("retry", {"attempt": 1}, timestamp=77)
        span.set_status(Status(StatusCode.ERROR, "no"))
        tracer.start_span("child").end()
    root, child = read_store(home).spans
    assert root.attributes == given
    assert (root.name, root.kind, root.scope, root.scope_version, root.resource) == (
        "root", 3, "agent", "1.2", {"service.name": "agent"},
    )  # fmt: skip
    assert (root.status, root.status_message, root.open, root.died, root.parent_id) == (
        2,
        "no",
        False,
        False,
        "",
    )
    ((event,), (stored_link,)) = (root.events, root.links)
    assert (event.name, event.time_ns, event.attributes) == ("retry", 77, {"attempt": 1})
    assert (stored_link.trace_id, stored_link.span_id, stored_link.attributes) == (
        "0" * 31 + "1", "0" * 15 + "2", {"why": "because"},
    )  # fmt: skip
    assert (child.trace_id, child.parent_id) == (root.trace_id, root.span_id)
    assert root.start_ns == span.start_time
    assert root.end_ns == span.end_time


def test_a_span_of_a_living_process_is_open(home):
    _spool, provider = opened(home)
    span = provider.get_tracer("x").start_span("root", attributes={"known": 1})
    (stored,) = read_store(home).spans
    assert (stored.open, stored.died, stored.end_ns, stored.attributes) == (
        True,
        False,
        None,
        {"known": 1},
    )
    assert list(requests_json(home)) == []
    span.end()
    (stored,) = read_store(home).spans
    assert (stored.open, stored.end_ns) == (False, span.end_time)


ENDINGS = {
    "kill": "os.kill(os.getpid(), signal.SIGKILL)",
    "term": "os.kill(os.getpid(), signal.SIGTERM)",
    "_exit": "os._exit(3)",
    "abort": "import faulthandler; faulthandler.disable(); os.abort()",
    "exec": "os.execv('/bin/true', ['true'])",
}


@pytest.mark.parametrize("ending", ENDINGS)
def test_spans_open_when_a_process_dies_end_at_its_last_sign_of_life(home, ending):
    run(
        home,
        f"""
tracer = opened(home)[1].get_tracer("x")
with tracer.start_as_current_span("root", attributes={{"known": 1}}):
    tracer.start_span("done").end()
    with tracer.start_as_current_span("open"):
        {ENDINGS[ending]}
""",
    )
    spans = {span.name: span for span in read_store(home).spans}
    assert sorted(spans) == ["done", "open", "root"]
    assert not spans["done"].died
    for name in ("root", "open"):
        span = spans[name]
        assert (span.died, span.open, span.status) == (True, False, 2)
        assert span.status_message == "process ended before this span did"
        assert span.end_ns == spans["open"].start_ns
        assert span.attributes["nexus.replayed"] is True
        assert span.attributes["error.type"] == "process_ended"
    assert spans["root"].attributes["known"] == 1


def test_a_killed_process_that_nobody_waited_for_is_dead(home):
    program = (
        PRELUDE
        + "span = opened(home)[1].get_tracer('x').start_span('root')\nprint('ready', flush=True)\ntime.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", program, str(home)], stdout=subprocess.PIPE) as process:
        process.stdout.readline()
        (living,) = read_store(home).spans
        process.send_signal(signal.SIGKILL)
        process.stdout.read()
        while not (span := read_store(home).spans[0]).died:
            assert span.open
    assert (living.open, living.died) == (True, False)


def test_spans_open_across_segments_are_died_once(home):
    run(
        home,
        """
from nexus_otel.export import writer
writer.ROTATE_BYTES = 2_000
tracer = opened(home)[1].get_tracer("x")
root = tracer.start_span("root")
for n in range(50):
    tracer.start_span("step").end()
os._exit(1)
""",
    )
    store = read_store(home)
    assert len(store.files) > 3
    assert [span.name for span in store.spans if span.died] == ["root"]
    assert len(store.spans) == 51


def test_a_span_stored_twice_counts_once(home):
    spool, provider = opened(home)
    provider.get_tracer("x").start_span("root").end()
    data = spool.live_segment.read_bytes()
    spool.close()
    other = home / "spool" / "seg-ffffffffffffffff-1-1.nxs"
    other.write_bytes(data)
    assert len(read_store(home).spans) == 1


def test_damage_is_counted_and_the_rest_is_read(home):
    spool, provider = opened(home)
    tracer = provider.get_tracer("x")
    for name in ("a", "b", "c"):
        tracer.start_span(name).end()
    spool.append(SPANS, b"\xff\xff not protobuf")
    path = spool.live_segment
    spool.close()
    data = bytearray(path.read_bytes())
    data[data.rindex(b"\x2a\x01b")] ^= 0xFF
    path.write_bytes(data + pack(SPANS, b"x" * 50)[:-1])
    store = read_store(home)
    assert [span.name for span in store.spans if not span.open] == ["a", "c"]
    assert store.skipped == 2


def test_a_foreign_file_is_named_and_left_out(home):
    opened(home)[1].get_tracer("x").start_span("root").end()
    foreign = home / "spool" / "seg-0-0-0.nxs"
    foreign.write_bytes(b"something else")
    store = read_store(home)
    assert len(store.spans) == 1
    assert str(foreign) in store.foreign[0]


def test_the_json_is_that_of_otlp(home):
    _spool, provider = opened(home)
    tracer = provider.get_tracer("agent", "1.2")
    with tracer.start_as_current_span("root", kind=SpanKind.CLIENT, attributes={"n": 2**60, "b": b"\x01"}) as root:
        root.set_status(Status(StatusCode.ERROR, "no"))
        provider.get_tracer("other").start_span("child").end()
    ((request),) = requests(home)
    (around,) = request["resourceSpans"]
    scopes = {scope["scope"]["name"]: scope["spans"] for scope in around["scopeSpans"]}
    ((span,), (child,)) = (scopes["agent"], scopes["other"])
    assert span["traceId"] == f"{root.context.trace_id:032x}"
    assert child["parentSpanId"] == span["spanId"] == f"{root.context.span_id:016x}"
    assert (span["kind"], span["status"]) == (3, {"code": 2, "message": "no"})
    assert span["startTimeUnixNano"] == str(root.start_time)
    assert span["attributes"][0] == {"key": "n", "value": {"intValue": str(2**60)}}
    Parse(json.dumps(request), ExportTraceServiceRequest())


def test_one_line_per_trace_oldest_first_and_only_those_asked_for(home):
    _spool, provider = opened(home)
    tracer = provider.get_tracer("x")
    spans = [tracer.start_span(name) for name in ("first", "second")]
    for span in reversed(spans):
        span.end()
    names = [line["resourceSpans"][0]["scopeSpans"][0]["spans"][0]["name"] for line in requests(home)]
    assert names == ["first", "second"]
    (line,) = requests(home, trace_ids=[f"{spans[1].context.trace_id:032x}"])
    assert line["resourceSpans"][0]["scopeSpans"][0]["spans"][0]["name"] == "second"


def test_the_json_holds_died_spans_as_errors(home):
    run(home, "span = opened(home)[1].get_tracer('x').start_span('root')\nos._exit(1)")
    (line,) = requests(home)
    (span,) = line["resourceSpans"][0]["scopeSpans"][0]["spans"]
    assert span["status"] == {"code": 2, "message": "process ended before this span did"}
    assert {"key": "nexus.replayed", "value": {"boolValue": True}} in span["attributes"]
    assert len(segments(home / "spool")) == 1
