"""Every way to start and to set up, alone and together: one run each, nothing doubled, nothing said."""

import json
from textwrap import dedent

import pytest

from tests.e2e.kit import LAUNCHER, OTEL_LAUNCHER, PYTHON, RUN, World, kind_of, quiet, shape, together, two_steps
from tests.fakes.otlp import Receiver
from tests.fakes.provider import Reply, ToolUse

ASK = "import loop; print(loop.ask())\n"

MAIN_PROVIDER = """
import os
from opentelemetry import trace
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
provider = TracerProvider(resource=Resource({"service.name": "app"}))
provider.add_span_processor(SimpleSpanProcessor(OTLPSpanExporter(os.environ["APP_ENDPOINT"] + "/v1/traces")))
"""
SET = "trace.set_tracer_provider(provider)\n"

OTEL = [OTEL_LAUNCHER]
OURS = [LAUNCHER]
HTTP = {"OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf", "OTEL_EXPORTER_OTLP_ENDPOINT": "{url}"}
NOWHERE = {f"OTEL_{signal}_EXPORTER": "none" for signal in ("TRACES", "METRICS", "LOGS")}
INSTRUMENT = "from nexus_otel.instrumentors.anthropic import AnthropicInstrumentor\n"

CASES = {
    # name: launchers, program, variables, where the run is to be: local, collector or app (the app's own exporter)
    "ours": (OURS, ASK, {}, "local"),
    "ours to a collector": (OURS, ASK, HTTP, "remote"),
    "otel around ours": (OTEL + OURS, ASK, HTTP, "remote"),
    "ours around otel": (OURS + OTEL, ASK, HTTP, "remote"),
    "otel alone": (OTEL, ASK, HTTP, "remote"),
    "otel alone, nowhere else": (OTEL, ASK, {**NOWHERE, "NEXUS_EXPORT": "local"}, "local"),
    "auto": ([], "import nexus_otel.auto\n" + ASK, {}, "local"),
    "auto, after the SDK": ([], "import anthropic, nexus_otel.auto\n" + ASK, {}, "local"),
    "auto under ours": (OURS, "import nexus_otel.auto, nexus_otel\nnexus_otel.instrument()\n" + ASK, {}, "local"),
    "instrument()": ([], "import nexus_otel\nassert nexus_otel.instrument() is True\n" + ASK, {}, "local"),
    "instrumentor": ([], MAIN_PROVIDER + INSTRUMENT + "AnthropicInstrumentor().instrument(tracer_provider=provider)\n" + ASK, {}, "remote"),
    "instrumentor on the global provider": ([], MAIN_PROVIDER + SET + INSTRUMENT + "AnthropicInstrumentor().instrument()\n" + ASK, {}, "remote"),
    "instrumentor under ours": (OURS, MAIN_PROVIDER + INSTRUMENT + "AnthropicInstrumentor().instrument(tracer_provider=provider)\n" + ASK, {}, None),
    "the app's provider first": (OURS, MAIN_PROVIDER + SET + ASK, {}, "remote"),
    "the app's provider after the SDK": (OURS, "import loop\n" + MAIN_PROVIDER + SET + ASK, {}, "remote"),
    "the app's provider first, to both": (OURS, MAIN_PROVIDER + SET + ASK, {"NEXUS_EXPORT": "local"}, "both"),
    "the app's provider under otel's": (OTEL, "import loop\n" + ASK, HTTP, "remote"),
    "native": (OURS, ASK, {"ANTHROPIC_OPEN_TELEMETRY": "false"}, "local"),
}  # fmt: skip


class Ran:
    """What came of one case."""

    def __init__(self, provider, folder, name):
        launchers, program, variables, self.where = CASES[name]
        self.world = World.made(provider, folder)
        with Receiver() as receiver:
            given = {key: value.format(url=receiver.url) for key, value in variables.items()}
            path = self.world.write("agent.py", program)
            self.done = self.world.run(*launchers, PYTHON, path, APP_ENDPOINT=receiver.url, **given)
            self.remote, self.bodies = receiver.spans, receiver.bodies
        self.local = self.world.stored()


@pytest.fixture(scope="module")
def ran(provider, tmp_path_factory):
    folder = tmp_path_factory.mktemp("launching")
    results = together(*(lambda name=name: Ran(provider, folder, name) for name in CASES))
    return dict(zip(CASES, results, strict=True))


@pytest.mark.parametrize("name", CASES)
def test_the_program_prints_what_it_prints_and_nothing_else(ran, name):
    quiet(ran[name].done, "done\n")


@pytest.mark.parametrize("name", [name for name in CASES if CASES[name][3] in {"local", "both"}])
def test_the_run_is_once_in_the_local_store(ran, name):
    assert shape(ran[name].local) == RUN


@pytest.mark.parametrize("name", [name for name in CASES if CASES[name][3] in {"remote", "both"}])
def test_the_run_arrives_once(ran, name):
    assert shape(agentic(ran[name].remote)) == RUN


@pytest.mark.parametrize("name", CASES)
def test_no_span_is_the_sdks_own(ran, name):
    spans = ran[name].local + ran[name].remote
    assert [span.name for span in spans if span.scope.startswith("com.anthropic")] == []


@pytest.mark.parametrize("name", [name for name in CASES if CASES[name][3] == "remote" and CASES[name][2]])
def test_what_is_sent_is_not_kept(ran, name):
    assert ran[name].local == []


@pytest.mark.parametrize("name", ["the app's provider first", "the app's provider after the SDK"])
def test_the_launcher_keeps_the_run_of_an_app_with_its_own_provider(ran, name):
    assert shape(ran[name].local) == RUN


@pytest.mark.parametrize("name", ["the app's provider first", "the app's provider after the SDK"])
def test_the_apps_provider_makes_the_spans(ran, name):
    assert {span.resource["service.name"] for span in ran[name].remote} == {"app"}


def agentic(spans):
    """The spans that are no HTTP instrumentation's, which `opentelemetry-instrument` may have found installed."""
    return [span for span in spans if "gen_ai.operation.name" in span.attributes or span.scope.startswith("com.anth")]


def test_an_instrumentor_under_the_launcher_records_the_run_once_in_all(ran):
    case = ran["instrumentor under ours"]
    assert shape(case.local + case.remote) == RUN


# -- a provider that comes later -----------------------------------------------------------------------


@pytest.fixture(scope="module")
def later(provider, tmp_path_factory):
    """A program whose first run is on our provider, and whose second is on its own."""
    program = """
    import loop
    from opentelemetry import trace
    tracer = trace.get_tracer("mine")
    with tracer.start_as_current_span("first"):
        print(loop.ask("one"))
    """ + MAIN_PROVIDER.replace("\n", "\n    ") + SET + """
    with tracer.start_as_current_span("second"):
        print(loop.ask("two"))
    print(type(trace.get_tracer_provider()).__module__)
    """  # fmt: skip
    world = World.made(provider, tmp_path_factory.mktemp("later"), [*two_steps(), *two_steps()])
    with Receiver() as receiver:
        done = world.launch(program, APP_ENDPOINT=receiver.url)
        return done, world.stored(), receiver.spans


UNDER = {
    "first": ["first > invoke_agent agent", " > first", *RUN[1:]],
    "second": ["second > invoke_agent agent", " > second", *RUN[1:]],
}


def test_a_later_provider_wins_without_a_word(later):
    quiet(later[0], "done\ndone\nopentelemetry.sdk.trace\n")


def test_a_tracer_given_out_before_follows_the_later_provider(later):
    assert shape(later[2]) == sorted(UNDER["second"])


def test_the_launcher_stores_what_both_providers_made(later):
    assert shape(later[1]) == sorted(UNDER["first"] + UNDER["second"])


ENDS_IN_A_TOOL = "def leave(given):\n    raise SystemExit(3)\nloop.ask(tool=leave)\n"
OPEN = {
    "before the SDK": MAIN_PROVIDER + SET + "import loop\n" + ENDS_IN_A_TOOL,
    "after the SDK": "import loop\n" + MAIN_PROVIDER + SET + ENDS_IN_A_TOOL,
    "after the first span": "import loop\nloop.ask()\n" + MAIN_PROVIDER + SET + ENDS_IN_A_TOOL,
}


@pytest.mark.parametrize("when", OPEN)
def test_a_run_that_is_open_at_the_exit_reaches_the_exporter_of_the_app(worlds, receiver, when):
    world = worlds([*two_steps(), *two_steps()] if when == "after the first span" else None)
    quiet(world.launch(OPEN[when], APP_ENDPOINT=receiver.url), "", 3)
    assert shape(receiver.spans) == RUN[:2]


def test_a_second_provider_of_the_application_is_refused_as_it_is_bare(world):
    program = MAIN_PROVIDER + SET + SET + ASK
    done = world.launch(program, APP_ENDPOINT="http://127.0.0.1:9", OTEL_EXPORTER_OTLP_TIMEOUT="0.01")
    assert "Overriding of current TracerProvider is not allowed" in done.err


# -- spans of the user's own code ----------------------------------------------------------------------


def test_spans_of_the_programs_own_code_are_recorded(world):
    program = """
    import loop
    from opentelemetry import trace
    with trace.get_tracer("mine", "1.0").start_as_current_span("work", attributes={"size": 3}) as span:
        span.add_event("begun")
        print(loop.ask())
    """
    quiet(world.launch(program), "done\n")
    spans = world.stored()
    (work,) = (span for span in spans if span.name == "work")
    assert shape(spans) == sorted([" > work", "work > invoke_agent agent", *RUN[1:]])
    assert (work.scope, work.attributes["size"], [event.name for event in work.events]) == ("mine", 3, ["begun"])


# -- off, samplers, exporters --------------------------------------------------------------------------

INERT = {
    "OTEL_SDK_DISABLED": {"OTEL_SDK_DISABLED": "true"},
    "NEXUS_ENABLED": {"NEXUS_ENABLED": "false"},
    "always_off": {"OTEL_TRACES_SAMPLER": "always_off"},
    "exporter none": {"OTEL_TRACES_EXPORTER": "none"},
    "export none": {"NEXUS_EXPORT": "none"},
    "disabled instrumentation": {"OTEL_PYTHON_DISABLED_INSTRUMENTATIONS": "nexus"},
    "disabled instrumentor": {"NEXUS_DISABLED": "anthropic"},
    "disabled instrumentor, the standard way": {"OTEL_PYTHON_DISABLED_INSTRUMENTATIONS": "nexus_anthropic"},
}
LOOKS = "import loop; print(loop.ask()); print(hasattr(loop.anthropic.resources.Messages.create, '__wrapped__'))"


@pytest.fixture(scope="module")
def inert(provider, tmp_path_factory):
    folder = tmp_path_factory.mktemp("inert")

    def one(variables):
        world = World.made(provider, folder)
        return world, world.launch(LOOKS, **variables)

    bare = World.made(provider, folder)
    results = together(lambda: (bare, bare.bare(LOOKS)), *(lambda v=v: one(v) for v in INERT.values()))
    return dict(zip(["bare", *INERT], results, strict=True))


@pytest.mark.parametrize("name", INERT)
def test_off_means_nothing_is_recorded(inert, name):
    world, done = inert[name]
    assert (done.code, done.out.splitlines()[0], done.err) == (0, "done", "")
    assert world.stored() == []


@pytest.mark.parametrize("name", ["OTEL_SDK_DISABLED", "NEXUS_ENABLED", "disabled instrumentation"])
def test_inert_means_the_sdk_is_untouched_and_the_home_too(inert, name):
    world, done = inert[name]
    assert done.out == inert["bare"][1].out
    assert not world.home.exists()


def test_a_sampler_by_ratio_takes_whole_runs(worlds):
    steps = [step for _ in range(12) for step in two_steps()]
    world = worlds(steps)
    program = "import loop\nfor n in range(12): loop.ask(f'question {n}')\n"
    quiet(world.launch(program, OTEL_TRACES_SAMPLER="traceidratio", OTEL_TRACES_SAMPLER_ARG="0.5"), "")
    by_trace = {}
    for span in world.stored():
        by_trace.setdefault(span.trace_id, []).append(span)
    assert 0 < len(by_trace) < 12  # fails by chance once in 2,000
    assert [shape(spans) for spans in by_trace.values()] == [RUN] * len(by_trace)


def test_the_console_exporter_prints_as_it_does_everywhere(world):
    done = world.launch(ASK, OTEL_TRACES_EXPORTER="console")
    first, _, rest = done.out.partition("}\n{")
    assert '"name": "invoke_agent agent"' in first + rest
    assert done.out.count('"trace_id"') >= 4
    assert (done.code, done.err, world.stored()) == (0, "", [])


def test_limits_of_the_sdk_are_honoured(world):
    world.launch(ASK, OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT="4")
    assert {len(span.attributes) <= 4 + 3 for span in world.stored()} == {True}  # and the content beside


def test_resource_attributes_are_kept(world):
    world.launch(ASK, OTEL_RESOURCE_ATTRIBUTES="team=blue", OTEL_SERVICE_NAME="weather")
    spans = world.stored()
    assert {(span.resource["team"], span.resource["service.name"]) for span in spans} == {("blue", "weather")}
    assert [span.name for span in spans if kind_of(span) == "invoke_agent"] == ["invoke_agent weather"]


def test_inference_off_leaves_plain_calls(world):
    quiet(world.launch(ASK, NEXUS_INFER_RUNS="false"), "done\n")
    assert shape(world.stored()) == [" > chat m", " > chat m"]


# -- bad values ----------------------------------------------------------------------------------------


def test_a_bad_value_is_said_once_inside_a_process_and_the_default_is_used(world):
    program = (
        "import logging; logging.basicConfig()\nimport nexus_otel.auto, nexus_otel\nnexus_otel.instrument()\n" + ASK
    )
    done = world.bare(program, NEXUS_DURABILITY="fast")
    assert (done.code, done.out) == (0, "done\n")
    assert done.err.count("NEXUS_DURABILITY='fast': expected sync, batch, memory") == 1
    assert done.err.count("\n") == 1
    assert shape(world.stored()) == RUN


def test_a_bad_endpoint_does_not_end_the_program(world):
    done = world.bare("import nexus_otel.auto\n" + ASK, OTEL_EXPORTER_OTLP_ENDPOINT="no such thing")
    assert (done.code, done.out) == (0, "done\n")
    assert done.err.count("OTEL_EXPORTER_OTLP") <= 1


# -- the SDK's own tracing -----------------------------------------------------------------------------

NATIVE = {
    "a client that asks for it": "import loop; print(loop.ask(to=loop.client(open_telemetry={'traces': {'enabled': True}})))\n",
    "a client made before us": "import loop; c = loop.client()\nimport nexus_otel.auto\nprint(loop.ask(to=c))\n",
    "a client made before the provider": "import loop; c = loop.client()\n" + MAIN_PROVIDER + SET + "print(loop.ask(to=c))\n",
}  # fmt: skip


@pytest.mark.parametrize("name", NATIVE)
def test_a_model_call_has_one_span_whoever_makes_it(provider, tmp_path, receiver, name):
    world = World.made(provider, tmp_path)
    run = world.bare if "before us" in name else world.launch
    done = run(NATIVE[name], APP_ENDPOINT=receiver.url)
    assert (done.code, done.out) == (0, "done\n")
    spans = world.stored()
    chats = [span for span in spans if kind_of(span) == "chat" or span.scope.startswith("com.anthropic")]
    assert len(chats) == 2, shape(spans)
    assert len({span.trace_id for span in spans}) == 1


def test_batches_and_token_counts_are_no_model_calls(world, receiver):
    program = """
    import loop
    from vendor import trace
    client, asked = loop.client(), {"model": "m", "messages": [{"role": "user", "content": "x"}]}
    for messages in (client.messages, client.beta.messages):
        made = messages.batches.create(requests=[{"custom_id": "one", "params": {**asked, "max_tokens": 9}}])
        print(messages.batches.retrieve(made.id).processing_status, len(list(messages.batches.results(made.id))))
        print(messages.count_tokens(**asked).input_tokens > 0)
    """
    world.write("vendor.py", MAIN_PROVIDER)
    out = "ended 1\nTrue\n" * 2
    quiet(world.launch(program, APP_ENDPOINT=receiver.url), out)
    assert world.stored() == []
    quiet(
        world.launch(
            "import vendor; vendor.trace.set_tracer_provider(vendor.provider)\n" + dedent(program),
            APP_ENDPOINT=receiver.url,
        ),
        out,
    )
    names = {span.name for span in receiver.spans}
    assert not any(name.startswith(("chat", "invoke_agent")) for name in names), names
    assert {span.scope for span in receiver.spans} <= {"com.anthropic.sdk.python"}  # the SDK's own, which it makes bare


def test_a_tool_runner_on_the_apps_provider_has_no_span_twice(provider, tmp_path, receiver):
    program = MAIN_PROVIDER + SET + """
import loop
from anthropic import beta_tool
@beta_tool
def look(key: str) -> str:
    "Look."
    return key
runner = loop.client().beta.messages.tool_runner(
    model="m", max_tokens=9, tools=[look], messages=[{"role": "user", "content": "x"}])
print(runner.until_done().content[0].text)
"""  # fmt: skip
    world = World.made(provider, tmp_path, [Reply(tools=[ToolUse("look", {"key": "a"})]), Reply("done")])
    quiet(world.launch(program, APP_ENDPOINT=receiver.url), "done\n")
    assert shape(receiver.spans) == RUN


def test_uninstrument_takes_it_all_off(world):
    world.load([*two_steps(), *two_steps()])
    program = """
    import nexus_otel, loop
    before = loop.anthropic.resources.Messages.create
    nexus_otel.instrument()
    print(loop.ask())
    nexus_otel.uninstrument()
    print(loop.anthropic.resources.Messages.create is before, loop.ask())
    """
    quiet(world.bare(program), "done\nTrue done\n")
    assert shape(world.stored()) == RUN


def test_traces_speaks_of_the_run(world):
    world.launch(ASK)
    (run,) = json.loads(world.nexus("traces", "--json").out)["runs"]
    assert (run["agent"], run["status"], run["steps"], run["tool_calls"]) == ("agent", "ok", 2, 1)
