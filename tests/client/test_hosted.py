"""The hosted service: each run whole in one request, to the account that it belongs to; nothing else anywhere."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.fakes.otlp import Receiver

BIN = Path(sys.executable).parent
PROGRAM = """
import logging
logging.basicConfig()
import nexus_otel
from nexus_otel import NexusClient
{body}
nexus_otel.flush(5)
"""
RUN = """
with NexusClient(agent_id={agent!r}, api_key={key!r}, base_url={url!r}).start_trace(
    metadata={{"input": "hello", "user_id": "u1", "tags": ["a", "b"]}}
) as trace:
    with trace.start_span("llm-call", {{"model": "m"}}) as span:
        span.end(output={{"input_tokens": 3, "output_tokens": 4}})
    with trace.start_span("tool-call", {{"tool": "look"}}) as span:
        span.end(status="error", output={{"error": "LookupError: nothing"}})
"""


def run(body, home, **env):
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("OTEL_", "NEXUS_"))}
    given = {**kept, "NEXUS_HOME": str(home), **env}
    return subprocess.run([sys.executable, "-c", PROGRAM.format(body=body)], env=given, capture_output=True, text=True)


@pytest.fixture
def service():
    with Receiver() as receiver:
        yield receiver


def requests(receiver):
    return [(body.headers, json.loads(body.data)) for body in receiver.bodies]


def spans_of(request):
    (entry,) = request["resourceSpans"]
    (scope,) = entry["scopeSpans"]
    return scope["spans"]


def attributes(span):
    return {one["key"]: next(iter(one["value"].values())) for one in span["attributes"]}


def test_a_run_is_one_request_with_its_root_first(service, tmp_path):
    done = run(RUN.format(agent="a", key="nxs_one", url=service.url), tmp_path)
    assert (done.returncode, done.stdout) == (0, "")
    assert [line for line in done.stderr.splitlines() if "nexus_otel.findings" not in line] == []
    ((headers, request),) = requests(service)
    assert headers["x-api-key"] == "nxs_one"
    assert "content-encoding" not in headers
    spans = spans_of(request)
    assert [span["name"] for span in spans] == ["invoke_agent a", "chat m", "execute_tool look"]
    assert "parentSpanId" not in spans[0]
    assert {span["parentSpanId"] for span in spans[1:]} == {spans[0]["spanId"]}
    root = attributes(spans[0])
    assert root["user.id"] == "u1"
    assert root["nexus.metadata.tags"] == '["a","b"]'
    assert spans[2]["status"] == {"code": 2, "message": "LookupError: nothing"}
    assert request["resourceSpans"][0]["resource"]["attributes"] == [
        {"key": "service.name", "value": {"stringValue": "a"}}
    ]
    assert all(one["value"] for span in spans for one in span["attributes"])


def test_two_accounts_do_not_mix(service, tmp_path):
    with Receiver() as other:
        body = RUN.format(agent="a", key="nxs_one", url=service.url) + RUN.format(
            agent="b", key="nxs_two", url=other.url
        )
        run(body, tmp_path)
        for receiver, agent, key in ((service, "a", "nxs_one"), (other, "b", "nxs_two")):
            ((headers, request),) = requests(receiver)
            assert headers["x-api-key"] == key
            assert spans_of(request)[0]["name"] == f"invoke_agent {agent}"


def test_a_key_in_the_environment_is_for_every_run(service, tmp_path):
    body = 'NexusClient(agent_id="a").start_trace().end()\nNexusClient(agent_id="a").start_trace().end()'
    run(body, tmp_path, NEXUS_API_KEY="nxs_env", NEXUS_BASE_URL=service.url)
    assert [headers["x-api-key"] for headers, _ in requests(service)] == ["nxs_env", "nxs_env"]


def test_what_is_sent_is_in_the_local_store_too(service, tmp_path):
    run(RUN.format(agent="a", key="nxs_one", url=service.url), tmp_path)
    shown = subprocess.run(
        [BIN / "nexus-otel", "traces", "--json"], env={**os.environ, "NEXUS_HOME": str(tmp_path)}, capture_output=True
    )
    assert [found["agent"] for found in json.loads(shown.stdout)["runs"]] == ["a"]
    stored = b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    assert b"nxs_one" not in stored


# Python 3.12 and later start no thread while they end
ENDING = '\nimport threading\ndef refuse(self): raise RuntimeError("can\'t create new thread")\nthreading.Thread.start = refuse'


@pytest.mark.parametrize("more", ["", ENDING], ids=["a thread", "no thread"])
def test_a_run_that_was_not_over_has_a_root_that_says_so(service, tmp_path, more):
    body = RUN.format(agent="a", key="nxs_one", url=service.url).replace(
        '    with trace.start_span("llm-call"',
        "    import opentelemetry.trace as t; mine = t.get_tracer('x').start_span('open')\n    with trace.start_span(\"llm-call\"",
    )
    done = run(body + more, tmp_path)
    assert done.stderr == ""
    ((_, request),) = requests(service)
    spans = spans_of(request)
    assert spans[0]["name"] == "run not finished"
    assert spans[0]["status"]["code"] == 2
    assert "open" not in [span["name"] for span in spans]


@pytest.mark.parametrize(("behaviour", "said"), [("401", "key is not known"), ("429", "quota is used up")])
def test_a_refusal_is_told_once_and_stops(service, tmp_path, behaviour, said):
    service.behaviour = behaviour
    body = "\n".join([RUN.format(agent="a", key="nxs_one", url=service.url) + "nexus_otel.flush(5)"] * 3)
    done = run(body, tmp_path)
    assert done.stderr.count("WARNING:nexus_otel:") == 1
    assert said in done.stderr
    assert "nxs_one" not in done.stderr
    assert len(service.bodies) <= 1


def test_a_service_that_is_not_there_does_not_hold_up(tmp_path):
    done = run(RUN.format(agent="a", key="nxs_one", url="http://127.0.0.1:9").replace("flush(5)", "flush(0)"), tmp_path)
    assert done.returncode == 0


def test_a_trace_that_nobody_ends_is_nothing_to_complain_of(tmp_path):
    done = run('trace = NexusClient(agent_id="a").start_trace()\nspan = trace.start_span("x")', tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_an_account_without_a_key_is_told(tmp_path):
    done = run('NexusClient(agent_id="a").start_trace().end()', tmp_path, NEXUS_EXPORT="nexus")
    assert "NEXUS_API_KEY" in done.stderr
