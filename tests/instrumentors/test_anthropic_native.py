"""The spans that the Anthropic SDK makes itself: never two for one call, whatever was set up first."""

from __future__ import annotations

import contextlib

import anthropic
import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, ALWAYS_ON

from nexus_otel.genai.own import own
from nexus_otel.instrumentors.anthropic import AnthropicInstrumentor
from tests.fakes.provider import OVERLOADED
from tests.instrumentors.anthropic_cases import (
    ASK,
    FIND,
    SAID,
    async_client,
    client,
    create,
    create_async,
    helper,
    helper_async,
    loop,
    run_tools,
    run_tools_async,
    stream_async,
)
from tests.instrumentors.anthropic_lines import needs
from tests.kit.cases import loaded
from tests.kit.recording import AGENT, Recording, instrumented, values

pytestmark = needs("native spans")

NATIVE = "com.anthropic.sdk"
OURS = "nexus_otel.instrumentors.anthropic"
CHOICES = {
    "nobody asked": (OURS, {}, {}),
    "off by option": (OURS, {"open_telemetry": False}, {}),
    "off by variable": (OURS, {}, {"ANTHROPIC_OPEN_TELEMETRY": "false"}),
    "option": (NATIVE, {"open_telemetry": {"conversation_id": "c"}}, {}),
    "option with traces": (NATIVE, {"open_telemetry": {"traces": True}}, {}),
    "option with content": (NATIVE, {"open_telemetry": {"traces": {"content_mode": "content"}}}, {}),
    "variable": (NATIVE, {}, {"ANTHROPIC_OPEN_TELEMETRY": "true"}),
    "variable with content": (NATIVE, {}, {"ANTHROPIC_OPEN_TELEMETRY_TRACES_CONTENT_MODE": "content"}),
}
SYNC = {
    "create": create,
    "stream": lambda client: list(client.messages.create(**ASK, stream=True)),
    "helper": helper,
    "raw": lambda client: client.messages.with_raw_response.create(**ASK).parse(),
    "beta": lambda client: client.beta.messages.create(**ASK),
}
ASYNC = {"create": create_async, "stream": stream_async, "helper": helper_async}


@pytest.fixture
def application(monkeypatch):
    """Set the application's own provider as the global one, where the SDK sends its spans."""
    recording = Recording()
    monkeypatch.setattr(trace, "_TRACER_PROVIDER", recording.tracer_provider)
    return recording


@contextlib.contextmanager
def recording_into(application):
    """Put the instrumentor in place with the application's provider."""
    with instrumented(AnthropicInstrumentor, into=application):
        yield


def scopes(recording):
    return [span.instrumentation_scope.name for span in recording.spans]


def test_bare_the_sdk_makes_a_span_of_its_own(application, provider):
    with client(provider.url, loaded([SAID], provider)) as connected:
        create(connected)
    assert [scope.startswith(NATIVE) for scope in scopes(application)] == [True]


@pytest.mark.parametrize("choice", CHOICES)
@pytest.mark.parametrize("first", ["client", "instrumentor"])
@pytest.mark.parametrize("call", SYNC)
def test_one_call_is_one_span(application, provider, monkeypatch, choice, first, call):  # noqa: PLR0917 - each is a choice of its own
    scope, option, variables = CHOICES[choice]
    if first == "client" and choice == "option with traces":
        scope = OURS  # the client has resolved it to what it has when nobody says anything: there is no telling
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with contextlib.ExitStack() as stack:
        if first == "instrumentor":
            stack.enter_context(recording_into(application))
        connected = stack.enter_context(client(provider.url, loaded([SAID], provider), **option))
        if first == "client":
            stack.enter_context(recording_into(application))
        SYNC[call](connected)
    (found,) = scopes(application)
    assert found.startswith(scope)


@pytest.mark.parametrize("choice", ["nobody asked", "option", "variable with content"])
@pytest.mark.parametrize("call", ASYNC)
async def test_one_async_call_is_one_span(application, provider, monkeypatch, choice, call):
    scope, option, variables = CHOICES[choice]
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with recording_into(application):
        async with async_client(provider.url, loaded([SAID], provider), **option) as connected:
            await ASYNC[call](connected)
    (found,) = scopes(application)
    assert found.startswith(scope)


def test_a_tracer_provider_of_the_client_s_own_is_a_choice(provider):
    theirs = Recording()
    option = {"open_telemetry": {"tracer_provider": theirs.tracer_provider}}
    with (
        instrumented(AnthropicInstrumentor) as seen,
        client(provider.url, loaded([SAID], provider), **option) as connected,
    ):
        create(connected)
    assert ([len(seen.spans), len(theirs.spans)]) == [0, 1]


@pytest.mark.parametrize("call", SYNC)
def test_an_adopted_span_says_what_ours_would(application, provider, call):
    with recording_into(application):
        for option in ({}, {"open_telemetry": {"traces": True}}):
            with client(provider.url, loaded([SAID], provider), **option) as connected:
                SYNC[call](connected)
    ours, adopted = (values(span) for span in application.spans)
    timed = "gen_ai.response.time_to_first_chunk"
    assert {name: adopted.get(name) for name in ours if name != timed} == {n: v for n, v in ours.items() if n != timed}


def test_an_adopted_span_ends_once_where_the_call_fails(application, provider):
    with (
        recording_into(application),
        client(provider.url, loaded([OVERLOADED], provider), open_telemetry={"traces": True}) as connected,
        contextlib.suppress(anthropic.APIError),
    ):
        create(connected)
    assert len(application.spans) == 1
    assert values(application.one())["error.type"] == "overloaded_error"
    assert application.open == {}


def test_a_copy_of_a_client_has_its_choice(application, provider):
    with (
        recording_into(application),
        client(provider.url, loaded([SAID, SAID], provider), open_telemetry={"traces": True}) as chosen,
        client(provider.url, loaded([SAID], provider)) as other,
    ):
        create(chosen.with_options(timeout=5))
        create(other.with_options(timeout=5))
    assert [scope.startswith(NATIVE) for scope in scopes(application)] == [True, False]


def test_calls_that_are_not_ours_keep_the_sdk_s_span(application, provider):
    with recording_into(application), client(provider.url, "key") as connected:
        connected.messages.count_tokens(model="claude-test", messages=ASK["messages"])
    assert [scope.startswith(NATIVE) for scope in scopes(application)] == [True]


def test_on_a_provider_of_ours_the_sdk_is_silent(application, provider, monkeypatch):
    monkeypatch.setattr(own, "traces", True)
    with recording_into(application), client(provider.url, "key") as connected:
        connected.messages.count_tokens(model="claude-test", messages=ASK["messages"])
    assert application.spans == []


@pytest.mark.parametrize("streamed", [False, True])
def test_a_tool_runner_is_one_run(application, provider, streamed):
    with recording_into(application), client(provider.url, loaded([FIND, SAID], provider)) as connected:
        run_tools(connected, stream=streamed).until_done()
    assert application.tree() == (
        f"invoke_agent {AGENT}\n"
        "  chat claude-test\n"
        "  execute_tool find\n"
        "  chat claude-test"
    )  # fmt: skip


async def test_an_async_tool_runner_is_one_run(application, provider):
    async with async_client(provider.url, loaded([FIND, SAID], provider)) as connected:
        with recording_into(application):
            await run_tools_async(connected).until_done()
    assert application.names == {f"invoke_agent {AGENT}": 1, "chat claude-test": 2, "execute_tool find": 1}


def test_a_loop_of_adopted_spans_is_one_run(application, provider):
    with (
        recording_into(application),
        client(provider.url, loaded([FIND, SAID], provider), open_telemetry={"traces": True}) as connected,
    ):
        loop(connected.messages.create)
    (trace_of_all,) = {span.context.trace_id for span in application.spans}
    operations = [values(span)["gen_ai.operation.name"] for span in application.spans]
    assert sorted(operations) == ["chat", "chat", "execute_tool", "invoke_agent"]
    assert trace_of_all


def test_after_the_undo_the_sdk_traces_again(application, provider):
    with client(provider.url, loaded([SAID, SAID], provider)) as connected:
        with recording_into(application):
            create(connected)
        create(connected)
    assert [scope.startswith(NATIVE) for scope in scopes(application)] == [False, True]


@pytest.mark.parametrize("sampler", [ALWAYS_ON, ALWAYS_OFF], ids=["sampled", "unsampled"])
def test_no_trace_headers_are_added(provider, sampler):
    with (
        instrumented(AnthropicInstrumentor, sampler=sampler),
        client(provider.url, loaded([SAID], provider)) as connected,
    ):
        create(connected)
    assert "traceparent" not in provider.requests[-1].headers
