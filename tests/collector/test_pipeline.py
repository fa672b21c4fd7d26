"""What the shipped configuration does with runs, in a real collector."""

from __future__ import annotations

import json
from contextlib import ExitStack

import pytest
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest

from tests.collector.kit import QUICK, Collector, built, soon
from tests.collector.made import Made, agent
from tests.e2e.kit import EXAMPLE, LAUNCHER, PYTHON, SPAN_ONLY
from tests.fakes import telemetry
from tests.fakes.otlp import Receiver
from tests.fakes.provider import BAD_KEY, Reply, demo_script

KEY = "sk-" + "a1B2c3D4" * 4
ADDRESS = "someone@example.org"
TOKENS = {
    "gen_ai.usage.input_tokens": 1234,
    "gen_ai.usage.output_tokens": 56,
    "gen_ai.usage.cache_read.input_tokens": 7,
}


@pytest.fixture(scope="module")
def backend():
    with Receiver() as running:
        yield running


@pytest.fixture(scope="module")
def collector(tmp_path_factory, backend):
    with ExitStack() as stack:
        given = {**QUICK, "NEXUS_COLLECTOR_BACKEND": backend.url, "NEXUS_COLLECTOR_TRACES": "[file/traces, otlp_http]"}
        yield stack.enter_context(Collector(built(), tmp_path_factory.mktemp("collector"), given))


def sent(collector, *runs):
    for run in runs:
        assert collector.post(run.request())


def arrived(collector, run):
    """The spans of a run in the file, once they are there."""
    soon(lambda: run.trace_id in collector.kept())
    return [span for span in collector.written() if span.trace_id == run.trace_id]


def metrics(collector):
    requests = lines(collector, "metrics.jsonl", ExportMetricsServiceRequest)
    return [metric for request in requests for metric in telemetry.metrics(request)]


def logs(collector):
    return [
        one for request in lines(collector, "logs.jsonl", ExportLogsServiceRequest) for one in telemetry.logs(request)
    ]


def lines(collector, name, kind):
    path = collector.data / name
    whole = path.read_text("utf-8").rpartition("\n")[0].splitlines() if path.exists() else []
    return [telemetry.from_json(line, kind) for line in whole]


# -- what is kept ------------------------------------------------------------------------------------------------------

KEPT = {
    "flagged": lambda: agent(nexus__keep="finding: loop"),
    "failed": lambda: agent(100, Made("execute_tool look", failed=True)),
    "slow": lambda: agent(121_000),
    "long": lambda: agent(100, *(Made(f"execute_tool t{n}") for n in range(60))),
    "costly in all": lambda: agent(nexus__usage__input_tokens=200_000),
    "costly in one call": lambda: agent(100, Made(attributes={"gen_ai.usage.input_tokens": 200_000})),
    "costly in money": lambda: agent(nexus__run__cost=1.5),
}


@pytest.mark.parametrize("why", KEPT)
def test_a_run_worth_a_look_is_kept_whole(collector, backend, why):
    run = KEPT[why]()
    sent(collector, run)
    assert len(arrived(collector, run)) == len(run.spans)
    soon(lambda: len([span for span in backend.spans if span.trace_id == run.trace_id]) == len(run.spans))


def test_a_run_without_anything_is_dropped_but_counted(collector, backend):
    plain = agent(100, Made("execute_tool plain", attributes={"gen_ai.tool.name": "only here"}))
    marker = agent(nexus__keep="error")
    sent(collector, plain, marker)
    arrived(collector, marker)
    soon(lambda: any(span.trace_id == marker.trace_id for span in backend.spans))
    assert plain.trace_id not in collector.kept() | {span.trace_id for span in backend.spans}

    def counted():
        found = {
            metric.name
            for metric in metrics(collector)
            for attributes, _value in metric.points
            if attributes.get("gen_ai.tool.name") == "only here"
        }
        return found >= {"traces.span.metrics.calls", "traces.span.metrics.duration"}

    soon(counted)


def test_a_share_of_the_rest_is_kept(tmp_path):
    with Collector(built(), tmp_path / "c", {**QUICK, "NEXUS_COLLECTOR_SHARE": "100"}) as collector:
        run = agent()
        sent(collector, run)
        arrived(collector, run)


def test_a_run_in_several_requests_is_judged_once(collector):
    run = agent(100, *(Made(f"execute_tool t{n}") for n in range(5)), nexus__keep="error")
    for request in run.requests(3):
        assert collector.post(request)
    soon(lambda: len(arrived(collector, run)) == len(run.spans))


# -- what is masked ----------------------------------------------------------------------------------------------------


def test_secrets_are_masked_and_counts_of_tokens_are_not(collector, backend):
    messages = [{"role": "user", "parts": [{"type": "text", "content": f'use\n{KEY} or\n{ADDRESS}, {{"a": 1}}'}]}]
    arguments = {"city": "Paris", "api_key": 'pl"ain', "nested": {"password": "plain"}, "max_tokens": 3}
    step = Made(
        failed=True,
        message=f"refused {KEY} of {ADDRESS}",
        attributes={
            **TOKENS,
            "gen_ai.input.messages": json.dumps(messages),
            "gen_ai.tool.call.arguments": json.dumps(arguments),
            "http.request.header.authorization": "Basic plain",
            "x-api-key": "plain",
            "client_secret": 5,
            "access_token": "plain",
            "gen_ai.response.finish_reasons": ["stop"],
            "list": ["fine", KEY],
            "gen_ai.conversation.id": "risk-assessment-for-the-next-quarter",
        },
        events=[{"exception.message": f"Bearer {'abcdefgh' * 3} {ADDRESS}"}],
    )
    run = agent(100, step)
    sent(collector, run)
    (span,) = [span for span in arrived(collector, run) if span.name == step.name]
    soon(lambda: any(one.span_id == span.span_id for one in backend.spans))
    (over,) = [one for one in backend.spans if one.span_id == span.span_id]
    assert over == span
    for secret in (KEY, ADDRESS, "plain", 'pl\\"ain', "abcdefgh"):
        assert secret not in repr(span)
    found = span.attributes
    assert {name: found[name] for name in TOKENS} == TOKENS
    assert found["gen_ai.response.finish_reasons"] == ["stop"]
    assert found["gen_ai.conversation.id"] == "risk-assessment-for-the-next-quarter"
    masked = {"city": "Paris", "api_key": "****", "nested": {"password": "****"}, "max_tokens": 3}
    assert json.loads(found["gen_ai.tool.call.arguments"]) == masked
    assert json.loads(found["gen_ai.input.messages"])[0]["role"] == "user"
    assert span.status_message == "refused **** of ****"


def test_what_is_too_long_is_cut(collector):
    big, many = Made(attributes={"big": "x" * 400_000}), Made(attributes={f"n{n}": n for n in range(300)})
    event = Made(events=[{"big": "x" * 400_000}])
    run = agent(100, big, many, event, nexus__keep="error")
    sent(collector, run)
    big, many, event, _root = sorted(arrived(collector, run), key=lambda span: (not span.parent_id, span.start_ns))
    assert len(big.attributes["big"]) == 262_144
    assert len(many.attributes) == 256
    assert len(event.events[0].attributes["big"]) == 262_144


# -- an agent that knows nothing of it ---------------------------------------------------------------------------------


def traced(world, collector, protocol="http/protobuf", **more):
    endpoint = collector.grpc_url if protocol == "grpc" else collector.url
    given = {
        **SPAN_ONLY, "NEXUS_EXPORT": "local,otlp", "NEXUS_EXIT_TIMEOUT_S": "10",
        "OTEL_EXPORTER_OTLP_ENDPOINT": endpoint, "OTEL_EXPORTER_OTLP_PROTOCOL": protocol,
    }  # fmt: skip
    return world.run(LAUNCHER, PYTHON, EXAMPLE, **{**given, **more})


@pytest.mark.parametrize("protocol", ["http/protobuf", "http/json", "grpc"])
def test_the_example_arrives_as_it_was_stored_and_is_diagnosed(world, collector, protocol):
    world.load(demo_script(9))
    done = traced(world, collector, protocol)
    assert (done.code, done.err) == (0, "")
    stored = {span.span_id: span for span in world.stored()}
    (trace,) = {span.trace_id for span in stored.values()}
    soon(lambda: len({span.span_id for span in collector.written() if span.trace_id == trace}) == len(stored))
    assert {span.span_id: span for span in collector.written() if span.trace_id == trace} == stored
    path = world.folder / "run.jsonl"
    lines = (collector.data / "traces.jsonl").read_text().splitlines()
    path.write_text("\n".join(line for line in lines if trace in line))
    here, there = world.nexus("diagnose"), world.nexus("diagnose", str(path))
    assert there.code == 0, there.err
    assert "TOOL_ERROR  get_weather failed once" in there.out
    assert verdict(there.out) == verdict(here.out)
    listed = world.nexus("traces", "--store", str(path), "--json")
    assert trace in listed.out
    same = world.nexus("compare", str(path), str(path))
    assert same.code == 0, same.err
    assert world.nexus("traces", str(path)).out == world.nexus("traces").out
    assert "they do the same" in world.nexus("compare", str(path), str(path)).out
    assert world.nexus("show", "--store", str(path)).out == world.nexus("show").out


def test_its_logs_and_metrics_arrive_too(world, collector):
    steps = demo_script(2)
    world.load([Reply(f"Ask {ADDRESS}.", tools=steps[0].tools), *steps[1:]])
    done = traced(
        world, collector, OTEL_SERVICE_NAME="logging", OTEL_INSTRUMENTATION_GENAI_EMIT_EVENT="true",
        OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT="SPAN_AND_EVENT",
    )  # fmt: skip
    assert (done.code, done.err) == (0, "")

    def arrived():
        found = [one for one in logs(collector) if one.resource["service.name"] == "logging"]
        return found if len(found) >= 3 else None

    found = soon(arrived)
    assert {one.name for one in found} >= {"gen_ai.client.inference.operation.details"}
    assert any("Ask ****." in repr(one.attributes) for one in found)
    assert ADDRESS not in repr(found)
    soon(lambda: any(one.name == "gen_ai.client.inference.duration" for one in metrics(collector)))


def verdict(text):
    """The lines of a diagnosis that name no file and no command."""
    return [line for line in text.splitlines() if "nexus-otel" not in line and ".jsonl" not in line]


def test_a_run_that_fails_is_kept_and_one_that_does_not_is_dropped(world, collector):
    world.load([BAD_KEY])
    assert traced(world, collector).code != 0
    world.load(demo_script(1))
    assert traced(world, collector).code == 0
    failed, fine = (next(iter({s.trace_id for s in run})) for run in by_run(world.stored()))
    soon(lambda: failed in collector.kept())
    marker = agent(nexus__keep="error")
    sent(collector, marker)
    arrived(collector, marker)
    assert fine not in collector.kept()


def by_run(spans):
    """The spans of each trace, in the order of time."""
    traces = {}
    for span in sorted(spans, key=lambda span: span.start_ns):
        traces.setdefault(span.trace_id, []).append(span)
    return list(traces.values())
