"""Whatever stands in a file of the store: it is read in bounds, or is said to be no segment."""

import json
import time
import tracemalloc

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from nexus_otel.export.died import spans_of
from nexus_otel.export.heads import head
from nexus_otel.export.read import read_store, requests_json
from nexus_otel.export.segment import (
    BEGIN,
    BLOB,
    CUT,
    MAGIC,
    NOTE,
    SPANS,
    ForeignFileError,
    new_header,
    pack,
    read_header,
    read_records,
    segment_name,
)  # fmt: skip
from nexus_otel.export.texts import Known, cut, joined
from nexus_otel.export.wire import encode_begin, encode_parts, encode_span
from tests.export.kit import opened

FILES = settings(deadline=None, max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
NAME = "seg-0000000000000001-1-1.nxs"


@pytest.fixture(scope="module")
def payloads(tmp_path_factory):
    """Spans as we encode them: with and without a parent, events, links, long texts."""
    _spool, provider = opened(tmp_path_factory.mktemp("fuzz"), durability="memory")
    tracer = provider.get_tracer("agent", "1")
    with tracer.start_as_current_span("root", attributes={"text": "x" * 20_000, "n": -1}) as root:
        root.add_event("e", {"a": (1, 2)})
        with tracer.start_as_current_span("") as child:
            pass
    return [encode_span(root), encode_begin(child), encode_span(child)]


@pytest.fixture(scope="module")
def valid(payloads):
    header = new_header((), "local", {"service.name": "a"}, keep=True).encode()
    records = [pack(SPANS, payloads[0]), pack(BEGIN, payloads[1]), pack(SPANS, payloads[2])]
    return header + b"".join([*records, pack(BLOB, b"\xff" * 50), pack(NOTE, b'{"dropped": 1}'), pack(99, b"new")])


def read(folder, data):
    """Read a file that holds `data` in every way there is; return the store."""
    (folder / "spool").mkdir(exist_ok=True)
    path = folder / "spool" / NAME
    path.write_bytes(data)
    for reader in (read_header, lambda path: list(read_records(path))):
        try:
            reader(path)
        except ForeignFileError:
            assert not data.startswith(MAGIC)
    list(requests_json(folder))
    return read_store(folder)


@FILES
@given(data=st.one_of(st.binary(max_size=4_000), st.binary(max_size=4_000).map(lambda data: MAGIC + data)))
def test_arbitrary_bytes(tmp_path, data):
    store = read(tmp_path, data)
    assert store.spans == []
    assert bool(store.foreign) == (data[: len(MAGIC)] != MAGIC[: len(data)])


@FILES
@given(data=st.data())
def test_a_mutated_segment(tmp_path, valid, data):
    mutated = bytearray(valid)
    for _ in range(data.draw(st.integers(1, 8))):
        place = data.draw(st.integers(0, len(mutated) - 1))
        new = data.draw(st.binary(max_size=12))
        mutated[place : place + data.draw(st.integers(0, 40))] = new
        if not mutated:
            break
    store = read(tmp_path, bytes(mutated[: data.draw(st.integers(0, len(mutated)))] or mutated))
    assert len(store.spans) <= 2
    assert {span.name for span in store.spans} <= {"root", ""}


@FILES
@given(place=st.integers(0, 20_000), value=st.integers(1, 255))
def test_a_damaged_byte_costs_one_record_and_is_counted(tmp_path, valid, payloads, place, value):
    first = valid.index(payloads[0])
    mutated = bytearray(valid)
    mutated[first + place % len(payloads[0])] ^= value
    store = read(tmp_path, bytes(mutated))
    assert [span.name for span in store.spans] == [""]
    assert store.skipped == 1


@FILES
@given(payload=st.binary(max_size=300), kind=st.sampled_from([SPANS, BEGIN]), cut=st.integers(1, 200))
def test_a_sound_record_of_anything_is_read_or_counted(tmp_path, payloads, payload, kind, cut):
    header = new_header((), "local", {}, keep=True).encode()
    records = pack(kind, payload) + pack(kind, payloads[2][:-cut]) + pack(SPANS, payloads[0])
    store = read(tmp_path, header + records)
    assert "root" in {span.name for span in store.spans}
    assert len(store.spans) + store.skipped >= 1


@FILES
@given(data=st.data())
def test_the_head_of_a_mutated_request_is_that_which_protobuf_finds(payloads, data):
    mutated = bytearray(data.draw(st.sampled_from(payloads)))
    place = data.draw(st.integers(0, min(len(mutated), 120) - 1))
    mutated[place : place + data.draw(st.integers(0, 3))] = data.draw(st.binary(max_size=3))
    found = head(b"before" + bytes(mutated), 6, 6 + len(mutated))
    try:
        request = ExportTraceServiceRequest.FromString(bytes(mutated))
    except Exception:  # noqa: BLE001 - it is no request; whoever decodes it counts it
        return
    if found is not None:
        assert found[0] in {one.key for one in spans_of(request)}


def test_the_head_of_what_we_encode_is_found(payloads):
    for payload in payloads:
        (one,) = spans_of(ExportTraceServiceRequest.FromString(payload))
        assert head(payload, 0, len(payload)) == (one.key, one.span.start_time_unix_nano)
    assert head(payloads[0] + payloads[2], 0, len(payloads[0] + payloads[2])) is None


# -- spans whose texts stand apart -------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def apart(tmp_path_factory):
    """A header, then the records of two spans that share texts."""
    _spool, provider = opened(tmp_path_factory.mktemp("apart"), durability="memory")
    known, records = Known(), []
    for name in ("root", ""):
        span = provider.get_tracer("agent").start_span(name, attributes={"a": json.dumps([{"role": "x" * 700}] * 3)})
        span.end()
        texts, payload = known.records(cut((span.context.trace_id, span.context.span_id), 5, encode_parts(span)))
        records += [*(pack(BLOB, text) for text in texts), pack(CUT, payload)]
    return new_header((), "local", {}, keep=True).encode(), records


@FILES
@given(data=st.data())
def test_a_mutated_segment_with_texts_apart(tmp_path, apart, data):
    mutated = bytearray(apart[0] + b"".join(apart[1]))
    for _ in range(data.draw(st.integers(1, 8))):
        place = data.draw(st.integers(0, len(mutated) - 1))
        mutated[place : place + data.draw(st.integers(0, 40))] = data.draw(st.binary(max_size=12))
    store = read(tmp_path, bytes(mutated))
    assert {span.name for span in store.spans} <= {"root", ""}


@FILES
@given(data=st.data())
def test_sound_records_of_mutated_spans_and_texts(tmp_path, apart, data):
    header, records = apart
    mutated = []
    for record in records:
        body = bytearray(record[9:])
        place = data.draw(st.integers(0, min(len(body), 90)))
        body[place : place + data.draw(st.integers(0, 6))] = data.draw(st.binary(max_size=6))
        mutated.append(pack(record[8], bytes(body)))
    read(tmp_path, header + b"".join(data.draw(st.permutations(mutated))))


@FILES
@given(payload=st.binary(max_size=400))
def test_the_record_of_anything_is_a_span_or_none(tmp_path, payload):
    joined(payload, lambda _number: None)
    for kind in (CUT, BLOB):
        read(tmp_path, new_header((), "local", {}, keep=True).encode() + pack(kind, payload))


def test_a_record_that_asks_for_more_than_there_can_be_is_none(tmp_path):
    text = b"x" * 1_000_000
    payload = b"k" * 24 + bytes(8) + (500).to_bytes(4, "little") + b"".join(
        number.to_bytes(4, "little") for _ in range(500) for number in (0, 0, len(text))
    )  # fmt: skip
    header = new_header((), "local", {}, keep=True).encode()
    tracemalloc.start()
    store = read(tmp_path, header + pack(BLOB, bytes(4) + text) + pack(CUT, payload))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert store.spans == []
    assert store.skipped == 1
    assert peak < 50_000_000


ODD = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
    max_leaves=4,
)


@FILES
@given(
    name=st.sampled_from(["pid", "start_time", "boot_id", "pid_space", "created_ns", "destinations", "resource"]),
    value=ODD,
)
def test_a_header_with_anything_in_it(tmp_path, payloads, name, value):
    header = json.loads(new_header((), "local", {}, keep=True).encode()[12:])
    text = json.dumps({**header, name: value}).encode()
    store = read(tmp_path, MAGIC + len(text).to_bytes(4, "little") + text + pack(SPANS, payloads[0]))
    assert [span.name for span in store.spans] == ["root"]


@pytest.mark.parametrize("length", [4_096, 400_000])
def test_the_worst_file_is_read_in_time_and_room(tmp_path, length):
    header = new_header((), "local", {}, keep=True)
    like_records = length.to_bytes(4, "little") + b"\x01" * 5  # no record follows
    data = header.encode() + like_records * 100_000
    (tmp_path / "spool").mkdir()
    (tmp_path / "spool" / segment_name(header, 1)).write_bytes(data)
    tracemalloc.start()
    began = time.process_time()
    store = read_store(tmp_path)
    taken, (_now, peak) = time.process_time() - began, tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert store.spans == []
    assert taken < 10
    assert peak < 10 * len(data)
