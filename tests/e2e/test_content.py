"""A secret in every input is found nowhere in what leaves, whoever made the exporter; and it is in the local store."""

import base64
import json
import re
import zlib

import pytest

from tests.e2e.kit import LAUNCHER, OTEL_LAUNCHER, PYTHON, SPAN_ONLY, World, kind_of, together
from tests.fakes.otlp import Receiver
from tests.fakes.provider import Failure, Reply, ToolUse

MARK = "Q7secretZ"
LEAK = re.compile(rf"[\w.]*{MARK}".encode())
ANYWHERE = ["system", "question", "argument", "result", "answer", "thinking", "toolerror", "providererror"]
"""Inputs that content on span attributes shows."""

AGENT = """
import os, sys
MARK = "Q7secretZ"
before, after, later = (mode in sys.argv for mode in ("before", "after", "later"))

def app_provider():
    from opentelemetry import trace
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor
    processor = SimpleSpanProcessor(OTLPSpanExporter(os.environ["APP_ENDPOINT"] + "/v1/traces"))
    if later:
        provider = trace.get_tracer_provider()
        getattr(provider, "effective", lambda: provider)().add_span_processor(processor)
    else:
        provider = TracerProvider()
        provider.add_span_processor(processor)
        trace.set_tracer_provider(provider)

if before:
    app_provider()
import anthropic
import loop
from anthropic import beta_tool

client = loop.client(
    default_headers={"x-trace-me": "header." + MARK},
    default_query={"secret": "url." + MARK},
    api_key=os.environ["ANTHROPIC_API_KEY"],
)
system = "system." + MARK
tools = [{**loop.TOOLS[0], "description": "description." + MARK}]
more = {"system": system, "tools": tools, "metadata": {"user_id": "user." + MARK}}

def failing(given):
    return "result." + MARK

def raises(given):
    raise ValueError("raised." + MARK)

if after or later:
    loop.ask("early.%s" % MARK, client, failing, **more)
    app_provider()
print(loop.ask("question." + MARK, client, failing, **more))
try:
    client.messages.create(**loop.request([{"role": "user", "content": "question." + MARK}], **more))
except anthropic.APIStatusError as error:
    print("provider error", MARK in str(error))
try:
    loop.ask("question." + MARK, client, raises, **more)
except ValueError:
    print("tool raised")

@beta_tool
def look(key: str) -> str:
    \"\"\"Look something up.\"\"\"
    raise KeyError("toolerror." + MARK)

runner = client.beta.messages.tool_runner(
    model="m", max_tokens=9, system=system, tools=[look], messages=[{"role": "user", "content": "question." + MARK}]
)
print(runner.until_done().content[-1].text)
with client.messages.stream(**loop.request([{"role": "user", "content": "question." + MARK}], **more)) as stream:
    print(stream.get_final_text())
try:
    loop.client(base_url="http://secret:url.%s@127.0.0.1:9/path.%s" % (MARK, MARK)).messages.create(
        **loop.request([{"role": "user", "content": "question." + MARK}]))
except anthropic.APIConnectionError:
    print("no connection")
"""

ENDED = f"answer.{MARK}\nprovider error True\ntool raised\nanswer.{MARK}\nanswer.{MARK}\nno connection\n"


def asks():
    return Reply("thinking about it", thinking=f"thinking.{MARK}", tools=[ToolUse("look", {"key": f"argument.{MARK}"})])


def script(mode):
    said = Reply(f"answer.{MARK}")
    failed = Failure(400, "invalid_request_error", f"providererror.{MARK} is wrong", {"x-should-retry": "false"})
    early = [asks(), said] if mode in {"after", "later"} else []
    return [*early, asks(), said, failed, asks(), asks(), said, said]


class Secret(World):
    """A world whose API key is the secret, too."""

    def __init__(self, provider, folder, mode, name):
        folder = folder / name
        folder.mkdir()
        super().__init__(provider, folder, f"key.{name}.{MARK}")
        self.load(script(mode))


LOCAL = {"OTEL_TRACES_EXPORTER": "none", "OTEL_METRICS_EXPORTER": "none", "OTEL_LOGS_EXPORTER": "none"}
CASES = {
    # name: mode of the program, launcher, further variables; {url} is the collector
    "own": ("", [LAUNCHER], {"OTEL_EXPORTER_OTLP_ENDPOINT": "{url}"}),
    "own and local": ("", [LAUNCHER], {"OTEL_EXPORTER_OTLP_ENDPOINT": "{url}", "NEXUS_EXPORT": "local,otlp"}),
    "guest before": ("before", [LAUNCHER], {}),
    "guest after": ("after", [LAUNCHER], {}),
    "guest local": ("before", [LAUNCHER], {"NEXUS_EXPORT": "local,otlp", "OTEL_EXPORTER_OTLP_ENDPOINT": "{url}"}),
    "exporter later": ("later", [LAUNCHER], {}),
    "otel": ("", [OTEL_LAUNCHER], {"OTEL_EXPORTER_OTLP_ENDPOINT": "{url}", "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf"}),
    "event only": ("", [LAUNCHER], {"OTEL_EXPORTER_OTLP_ENDPOINT": "{url}", "OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT": "EVENT_ONLY"}),
    "events without content": ("", [LAUNCHER], {"OTEL_EXPORTER_OTLP_ENDPOINT": "{url}", "OTEL_INSTRUMENTATION_GENAI_EMIT_EVENT": "true"}),
    "span only": ("", [LAUNCHER], {"OTEL_EXPORTER_OTLP_ENDPOINT": "{url}", **SPAN_ONLY}),
    "span only later": ("later", [LAUNCHER], SPAN_ONLY),
    "local": ("", [LAUNCHER], {}),
}  # fmt: skip


class Sent:
    """What one program printed, sent and left."""

    def __init__(self, provider, folder, name):
        mode, launcher, variables = CASES[name]
        self.world = Secret(provider, folder, mode, name.replace(" ", ""))
        with Receiver() as receiver:
            given = {key: value.format(url=receiver.url) for key, value in variables.items()}
            program = self.world.write("agent.py", AGENT)
            self.done = self.world.run(
                *launcher, PYTHON, program, mode,
                APP_ENDPOINT=receiver.url, MY_SECRET=f"environment.{MARK}", **given,
            )  # fmt: skip
            self.spans, self.logs, self.bodies = receiver.spans, receiver.logs, receiver.bodies

    @property
    def bytes(self):
        return b"\n".join(json.dumps(sorted(one.headers.items())).encode() + one.data for one in self.bodies)


@pytest.fixture(scope="module")
def sent(provider, tmp_path_factory):
    folder = tmp_path_factory.mktemp("content")
    results = together(*(lambda name=name: Sent(provider, folder, name) for name in CASES))
    return dict(zip(CASES, results, strict=True))


def leaks(data):
    """Which inputs are in the data, in plain text, base64 or hexadecimal."""
    forms = {part.decode() for part in LEAK.findall(data)}
    hidden = [base64.b64encode(MARK.encode()).strip(b"=")[:-1], MARK.encode().hex().encode()]
    return sorted(forms | {form.decode() for form in hidden if form in data})


@pytest.mark.parametrize("name", CASES)
def test_the_program_runs_as_ever(sent, name):
    done = sent[name].done
    assert (done.code, done.out) == (0, ENDED)
    assert done.err.startswith("Error occurred while calling tool: look\nTraceback")  # the SDK's own
    assert [line for line in done.err.splitlines()[2:] if not line.startswith("  ")] == [
        f"KeyError: 'toolerror.{MARK}'"
    ]


SILENT = ["own", "own and local", "guest before", "guest after", "guest local", "exporter later", "otel",
          "events without content"]  # fmt: skip


@pytest.mark.parametrize("name", SILENT)
def test_the_secret_does_not_leave(sent, name):
    assert {"chat", "invoke_agent", "execute_tool"} <= {kind_of(span) for span in sent[name].spans}
    assert leaks(sent[name].bytes) == []


@pytest.mark.parametrize("name", ["own", "own and local", "guest local", "events without content"])
def test_with_an_endpoint_the_secret_is_not_on_the_disk(sent, name):
    world = sent[name].world
    assert leaks(world.spool_bytes()) == []


def test_a_segment_that_could_not_be_sent_holds_no_secret(provider, tmp_path):
    world = Secret(provider, tmp_path, "", "unsent")
    world.launch(AGENT, OTEL_EXPORTER_OTLP_ENDPOINT="http://127.0.0.1:9", NEXUS_EXIT_TIMEOUT_S="0.2")
    data = world.spool_bytes()
    assert b"invoke_agent" in data
    assert leaks(data) == []


@pytest.mark.parametrize("name", ["local", "guest before", "exporter later"])
def test_the_secret_is_in_the_local_store_without_an_endpoint(sent, name):
    data = sent[name].world.nexus("export").out.encode()
    found = {leak.partition(".")[0] for leak in leaks(data)}
    assert found >= {"system", "question", "argument", "result", "answer", "thinking", "providererror", "toolerror"}


@pytest.mark.parametrize("name", ["local", "guest before"])
def test_credentials_are_not_even_in_the_local_store(sent, name):
    data = sent[name].world.nexus("export").out.encode()
    found = {leak.partition(".")[0] for leak in leaks(data)}
    assert found & {"header", "url", "key", "environment", "path"} == set()


@pytest.mark.parametrize("name", ["span only", "span only later"])
def test_content_on_spans_arrives(sent, name):
    data = b"\n".join(body.data for body in sent[name].bodies if body.path == "/v1/traces")
    found = {leak.partition(".")[0] for leak in leaks(data)}
    assert found >= set(ANYWHERE)
    assert found & {"header", "url", "key", "environment", "path"} == set()


def test_content_on_events_arrives_there_only(sent):
    case = sent["event only"]
    by_path = {path: b"\n".join(b.data for b in case.bodies if b.path == path) for path in ("/v1/traces", "/v1/logs")}
    assert {record.name for record in case.logs} >= {"gen_ai.client.inference.operation.details"}
    assert {leak.partition(".")[0] for leak in leaks(by_path["/v1/logs"])} >= {"system", "question", "answer"}
    assert leaks(by_path["/v1/traces"]) == []


def test_each_model_call_has_one_event_and_it_points_to_its_span(sent):
    case = sent["event only"]
    details = [record for record in case.logs if record.name == "gen_ai.client.inference.operation.details"]
    chats = [span.span_id for span in case.spans if kind_of(span) == "chat"]
    assert sorted(record.span_id for record in details) == sorted(chats)


def test_the_search_would_find_a_leak():
    assert leaks(f"x system.{MARK} y".encode()) == [f"system.{MARK}"]
    assert leaks(base64.b64encode(MARK.encode())) != []
    assert zlib.compress(MARK.encode()) != MARK.encode()
