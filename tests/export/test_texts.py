"""Long texts are once in a segment, and every reader gets the spans as they were encoded."""

import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nexus_otel.export import writer
from nexus_otel.export.read import read_store, requests_json
from nexus_otel.export.retention import acknowledge
from nexus_otel.export.segment import BLOB, CUT, SPANS, read_header, read_records, segments
from nexus_otel.export.shipment import Seen, SegmentSource
from nexus_otel.export.texts import Known, cut, head_of, joined, number_of, text_of
from nexus_otel.export.wire import encode_parts, encode_span
from tests.export.kit import To, opened

INPUT = "gen_ai.input.messages"
SLOW = settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def message(number):
    return {"role": "user", "parts": [{"type": "text", "content": f"message {number} " * 160}]}


def history(size):
    return json.dumps([message(number) for number in range(size)], separators=(",", ":"))


def calls(provider, count):
    """The ended spans of model calls, each with the history of those before it."""
    tracer = provider.get_tracer("agent", "1")
    made = []
    for size in range(1, count + 1):
        with tracer.start_as_current_span(f"chat {size}") as span:
            span.set_attributes({INPUT: history(size), "n": size})
        made.append(span)
    return made


def paths(home):
    return segments(home / "spool")


def places(path, kind):
    records = read_records(path)
    return [(start, end) for found, start, end in records.places() if found == kind]


def requests(path):
    return [payload for kind, payload, _end in read_records(path) if kind == SPANS]


# -- cutting and joining -----------------------------------------------------------------------------------------------

MESSAGES = st.lists(
    st.fixed_dictionaries({"role": st.sampled_from(["user", "assistant"]), "parts": st.text(max_size=300)}), max_size=6
)
NESTED = st.recursive(
    MESSAGES, lambda inner: st.lists(st.fixed_dictionaries({"role": inner}), max_size=3), max_leaves=6
)
VALUES = st.one_of(
    NESTED.map(lambda value: json.dumps(value, separators=(",", ":"), ensure_ascii=False)),
    st.text(max_size=3_000),
    st.sampled_from(["[", "]", "[]", '[,{"role":', "x" * 2_000, "[" + "y" * 2_000, '[{"role":' * 400]),
    st.lists(st.text(max_size=900), max_size=3),
)


@SLOW
@given(values=st.lists(VALUES, max_size=5))
def test_a_span_is_joined_to_the_byte(tmp_path, values):
    _spool, provider = opened(tmp_path, durability="memory")
    with provider.get_tracer("x").start_as_current_span("s") as span:
        for number, value in enumerate(values):
            span.set_attribute(f"a{number}", value)
    parts = encode_parts(span)
    assert b"".join(parts) == encode_span(span)
    context = span.context
    made = cut((context.trace_id, context.span_id), span.start_time, parts)
    if made is None:
        return
    assert len(made) == len(encode_span(span))
    new, payload = Known().records(made)
    texts = {number_of(one): text_of(one) for one in new}
    assert joined(payload, texts.get) == (encode_span(span), 0)
    ids = context.trace_id.to_bytes(16, "big") + context.span_id.to_bytes(8, "big")
    assert head_of(payload, 0, len(payload)) == (ids, span.start_time)


@pytest.mark.parametrize("durability", ["sync", "batch", "memory"])
def test_every_message_is_there_once_and_every_span_whole(tmp_path, durability):
    spool, provider = opened(tmp_path, durability=durability)
    spans = calls(provider, 30)
    spool.flush()
    expected = [encode_span(span) for span in spans]
    if durability == "memory":
        assert [one[9:] for one in spool.in_memory()[1] if one[8] == SPANS] == expected
        return
    (path,) = paths(tmp_path)
    assert requests(path) == expected
    assert path.read_bytes().count(b"message 0 message 0") == 160 // 2
    assert len(places(path, BLOB)) == 30
    read = sorted(read_store(tmp_path).spans, key=lambda span: span.start_ns)
    assert [span.attributes[INPUT] for span in read] == [history(size) for size in range(1, 31)]
    found = [one for line in requests_json(tmp_path) for one in json.loads(line)["resourceSpans"][0]["scopeSpans"]]
    assert len(found) == 30


def test_short_spans_are_kept_whole(tmp_path):
    spool, provider = opened(tmp_path)
    with provider.get_tracer("x").start_as_current_span("s", attributes={"a": "b" * 1_000}):
        pass
    assert [kind for kind, _start, _end in read_records(spool.live_segment).places()].count(CUT) == 0


def test_each_segment_can_be_read_alone(tmp_path, monkeypatch):
    monkeypatch.setattr(writer, "ROTATE_BYTES", 4_000)
    spool, provider = opened(tmp_path)
    expected = [encode_span(span) for span in calls(provider, 20)]
    spool.close()
    found = [requests(path) for path in paths(tmp_path)]
    assert len(found) > 2
    assert [one for segment in found for one in segment] == expected


def test_a_segment_deleted_meanwhile_takes_its_texts_along(tmp_path, monkeypatch):
    monkeypatch.setattr(writer, "_LOOK_S", 0.0)
    spool, provider = opened(tmp_path)
    calls(provider, 5)
    spool.live_segment.unlink()
    last = calls(provider, 6)
    found = [*requests(spool.live_segment), *(one for path in paths(tmp_path) for one in requests(path))]
    assert encode_span(last[-1]) in found


# -- damage ------------------------------------------------------------------------------------------------------------


def test_a_flipped_bit_in_a_text_costs_that_text(tmp_path):
    spool, provider = opened(tmp_path)
    calls(provider, 5)
    spool.close()
    (path,) = paths(tmp_path)
    start, end = places(path, BLOB)[2]
    data = bytearray(path.read_bytes())
    data[(start + end) // 2] ^= 1
    path.write_bytes(data)
    store = read_store(tmp_path)
    read = sorted(store.spans, key=lambda span: span.start_ns)
    assert store.skipped == 1
    assert [span.attributes["n"] for span in read] == [1, 2, 3, 4, 5]
    for size, span in enumerate(read, 1):
        lost = {"role": "lost", "parts": []}
        expected = [lost if number == 2 else message(number) for number in range(size)]
        assert json.loads(span.attributes[INPUT]) == expected


def test_a_flipped_bit_in_a_span_costs_that_span(tmp_path):
    spool, provider = opened(tmp_path)
    calls(provider, 5)
    spool.close()
    (path,) = paths(tmp_path)
    start, _end = places(path, CUT)[2]
    data = bytearray(path.read_bytes())
    data[start + 30] ^= 1
    path.write_bytes(data)
    store = read_store(tmp_path)
    ended = {span.attributes["n"]: span.attributes[INPUT] for span in store.spans if not span.died}
    assert ended == {size: history(size) for size in (1, 2, 4, 5)}


def test_cut_anywhere_the_spans_before_are_whole(tmp_path):
    spool, provider = opened(tmp_path)
    calls(provider, 4)
    spool.close()
    (path,) = paths(tmp_path)
    data, ends = path.read_bytes(), [end for _start, end in places(path, CUT)]
    for size in range(ends[0] - 2_000, len(data), 97):
        path.write_bytes(data[:size])
        whole = [
            span.attributes[INPUT] for span in read_store(tmp_path).spans if not span.died and "n" in span.attributes
        ]
        assert sorted(whole, key=len)[: sum(end <= size for end in ends)] == [
            history(number) for number in range(1, sum(end <= size for end in ends) + 1)
        ]


# -- on the way to a destination ---------------------------------------------------------------------------------------


def sent(source):
    """All that a source has to give, delivered batch by batch."""
    out = []
    while (batch := source.batch()) is not None:
        one = batch.first(2)
        out += one.payloads
        source.delivered(one.ends[-1])
    return out


@pytest.mark.parametrize("shared", [True, False])
def test_what_is_sent_is_what_was_encoded(tmp_path, shared):
    to = To()
    spool, provider = opened(tmp_path, to)
    expected, got, seen = [], [], Seen()
    for _round in range(3):
        expected += [encode_span(span) for span in calls(provider, 7)]
        live, header = spool.live_segment, read_header(spool.live_segment)
        # a further process that goes on where another stopped has to find the texts first
        got += sent(SegmentSource(live, header, to.target, seen if shared else Seen(), live=True))
    assert got == expected


def test_another_process_goes_on_in_the_middle(tmp_path):
    to = To()
    spool, provider = opened(tmp_path, to)
    expected = [encode_span(span) for span in calls(provider, 9)]
    path, header = spool.live_segment, read_header(spool.live_segment)
    spool.close()
    acknowledge(path, to.target, places(path, CUT)[5][1], final=False)
    assert sent(SegmentSource(path, header, to.target, Seen(), live=False)) == expected[6:]
