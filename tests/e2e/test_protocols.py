"""The example agent, sent over each protocol of OTLP."""

import pytest

from tests.e2e.kit import EXAMPLE, LAUNCHER, PYTHON, World, kind_of, shape
from tests.fakes.provider import demo_script


@pytest.mark.parametrize("protocol", ["http/protobuf", "http/json", "grpc"])
def test_the_example_arrives(provider, receiver, tmp_path, protocol):
    world = World.made(provider, tmp_path, demo_script(9))
    endpoint = receiver.listen_grpc() if protocol == "grpc" else receiver.url
    variables = {"OTEL_EXPORTER_OTLP_PROTOCOL": protocol, "OTEL_EXPORTER_OTLP_ENDPOINT": endpoint}
    bare = world.run(PYTHON, EXAMPLE)
    world.load(demo_script(9))
    done = world.run(LAUNCHER, PYTHON, EXAMPLE, **variables, OTEL_EXPORTER_OTLP_COMPRESSION="gzip")
    assert (done.code, done.out, done.err) == (bare.code, bare.out, bare.err)
    asked = [block for one in world.requests for block in one.reply["content"] if block["type"] == "tool_use"]
    assert [kind_of(span) for span in receiver.spans].count("chat") == 10
    assert shape(receiver.spans)[0] == " > invoke_agent anthropic_agent"
    assert len(receiver.spans) == 1 + 10 + len(asked) // 2
    assert {metric.name for metric in receiver.metrics} >= {"gen_ai.client.inference.duration"}
    assert {body.path.rpartition("/")[2] for body in receiver.bodies} == (
        {"Export"} if protocol == "grpc" else {"traces", "metrics"}
    )
    assert receiver.malformed == []
    assert world.stored() == []
    assert world.nexus("flush", **variables).code == 0


@pytest.mark.parametrize("protocol", ["http/protobuf", "http/json", "grpc"])
def test_what_a_dead_collector_did_not_take_is_flushed_later(world, receiver, protocol):
    endpoint = receiver.listen_grpc() if protocol == "grpc" else receiver.url
    variables = {"OTEL_EXPORTER_OTLP_PROTOCOL": protocol, "OTEL_EXPORTER_OTLP_ENDPOINT": endpoint}
    receiver.behaviour = "hang"
    done = world.launch("import loop; print(loop.ask())\n", **variables, NEXUS_WATCHER="off")
    assert (done.code, done.err) == (0, "")
    assert done.seconds < 10
    receiver.behaviour = "ok"
    assert world.nexus("flush", **variables).code == 0
    assert len(receiver.spans) == 4
    assert world.stored() == []


def test_an_unknown_protocol_is_named(world):
    variables = {"OTEL_EXPORTER_OTLP_PROTOCOL": "pigeon", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9"}
    done = world.nexus("flush", **variables)
    assert done.code == 2
    assert "OTEL_EXPORTER_OTLP_PROTOCOL='pigeon': expected http/protobuf, http/json, grpc" in done.err
