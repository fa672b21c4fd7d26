from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import Event, ReadableSpan, TracerProvider
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import Link, SpanContext, SpanKind, Status, StatusCode, TraceFlags, TraceState

from nexus_otel.export.wire import encode_begin, encode_span
from nexus_otel.genai.content import Apart
from tests.export.kit import NESTED

texts = st.text(max_size=300)
numbers = st.integers(-(2**63), 2**63 - 1)
simple = (st.booleans(), texts, numbers, st.floats(allow_nan=False))
lists = st.one_of(*(st.lists(kind, max_size=4).map(tuple) for kind in simple))
nested = st.recursive(
    st.one_of(st.none(), st.binary(max_size=300), *simple),
    lambda inner: st.one_of(st.lists(inner, max_size=4).map(tuple), st.dictionaries(texts, inner, max_size=4)),
    max_leaves=8,
)
values = nested if NESTED else st.one_of(*simple, lists)
attributes = st.dictionaries(texts.filter(bool), values, max_size=6)
times = st.integers(0, 2**64 - 1)
states = st.sampled_from([None, TraceState(), TraceState([("vendor", "1"), ("other", "x=y")])])
contexts = st.builds(
    SpanContext, st.integers(1, 2**128 - 1), st.integers(1, 2**64 - 1), st.booleans(),
    st.sampled_from([TraceFlags(0), TraceFlags(1)]), states,
)  # fmt: skip
spans = st.builds(
    ReadableSpan,
    name=texts,
    context=contexts,
    parent=st.none() | contexts,
    resource=st.builds(Resource, attributes, texts),
    attributes=attributes,
    events=st.lists(st.builds(Event, name=texts, attributes=attributes, timestamp=times), max_size=3),
    links=st.lists(st.builds(Link, contexts, attributes), max_size=3),
    kind=st.sampled_from(list(SpanKind)),
    status=st.builds(Status, st.sampled_from(list(StatusCode))) | st.builds(Status, st.just(StatusCode.ERROR), texts),
    start_time=times,
    end_time=times,
    instrumentation_scope=st.none() | st.builds(InstrumentationScope, texts, st.none() | texts, texts, attributes),
)


def parsed(data: bytes) -> ExportTraceServiceRequest:
    return ExportTraceServiceRequest.FromString(data)


def only_span(data: bytes):
    ((span,),) = [scope.spans for around in parsed(data).resource_spans for scope in around.scope_spans]
    return span


@settings(max_examples=150, deadline=None)
@given(spans)
def test_a_span_reads_as_the_official_encoder_writes_it(span):
    assert parsed(encode_span(span)) == encode_spans([span])


@settings(max_examples=25, deadline=None)
@given(st.lists(spans, max_size=3))
def test_joined_requests_are_one_request_with_all_spans(several):
    joined = parsed(b"".join(encode_span(span) for span in several))
    found = [span for around in joined.resource_spans for scope in around.scope_spans for span in scope.spans]
    assert found == [only_span(encode_span(span)) for span in several]


def sdk_span(**given) -> ReadableSpan:
    tracer = TracerProvider(shutdown_on_exit=False).get_tracer("agent", "1.0", schema_url="https://example.com/1")
    span = tracer.start_span("chat", **given)
    span.end()
    return span._readable_span()


def test_a_span_of_the_sdk_with_limits_reads_the_same():
    span = sdk_span(attributes={f"key{n}": n for n in range(128)}, links=[])
    span._attributes.dropped = 7
    span._events.dropped = 300
    span._links.dropped = 2
    assert parsed(encode_span(span)) == encode_spans([span])


def test_a_long_key_and_value_read_the_same():
    span = sdk_span(attributes={"k" * 5000: "v" * 20, "short": "é" * 5000, "n" * 2040: "v" * 100})
    assert parsed(encode_span(span)) == encode_spans([span])


def test_lone_surrogates_are_replaced_everywhere():
    bad = "x\ud800y"
    span = ReadableSpan(
        bad, SpanContext(1, 2, is_remote=False), attributes={bad: bad, "list": [bad], "map": {bad: bad}},
        events=[Event(bad, {bad: bad}, 1)], status=Status(StatusCode.ERROR, bad),
        instrumentation_scope=InstrumentationScope(bad, bad, bad), resource=Resource({bad: bad}, bad),
    )  # fmt: skip
    found = only_span(encode_span(span))
    assert (found.name, found.status.message, found.events[0].name) == ("x?y", "x?y", "x?y")


def test_an_integer_beyond_64_bits_is_a_text():
    (pair,) = only_span(encode_span(sdk_span(attributes={"big": 2**70}))).attributes
    assert pair.value.string_value == str(2**70)


def test_a_value_without_a_form_is_left_out():
    span = ReadableSpan("x", SpanContext(1, 2, is_remote=False), attributes={"a": object(), "b": [{1}], "c": 1})
    assert [pair.key for pair in only_span(encode_span(span)).attributes] == ["c"]


def test_content_apart_joins_the_span_its_last_exception_and_its_status():
    span = ReadableSpan(
        "chat", SpanContext(1, 2, is_remote=False), attributes={"kept": 1, "same": "short"},
        events=[Event(name, {"n": n}, n) for n, name in enumerate(("exception", "other", "exception", "exception"))],
        status=Status(StatusCode.ERROR, "fixed"),
    )  # fmt: skip
    apart = Apart({"gen_ai.input.messages": "[]", "same": "long"}, {"exception.message": "no"}, "no")
    found = only_span(encode_span(span, apart))
    assert {pair.key: pair.value.string_value for pair in found.attributes} == {
        "kept": "", "same": "long", "gen_ai.input.messages": "[]",
    }  # fmt: skip
    assert [[pair.key for pair in event.attributes] for event in found.events] == [
        ["n"], ["n"], ["n"], ["n", "exception.message"],
    ]  # fmt: skip
    assert found.status.message == "no"


def test_a_begun_span_has_no_end():
    span = TracerProvider(shutdown_on_exit=False).get_tracer("agent").start_span("chat", attributes={"a": 1})
    found = only_span(encode_begin(span))
    assert (found.end_time_unix_nano, found.start_time_unix_nano) == (0, span.start_time)
    assert [pair.key for pair in found.attributes] == ["a"]
