"""Another vendor's instrumentation of the same SDK, put on before ours or after it.

The real ones are in the set of dependencies `newest`; elsewhere a stand-in that wraps as they do is there alone.
"""

from __future__ import annotations

import importlib
from contextlib import contextmanager

import pytest
import wrapt
from opentelemetry import trace

from nexus_otel import _guard
from nexus_otel.instrumentors.anthropic import AnthropicInstrumentor
from tests.instrumentors.anthropic_cases import ASK, FIND, SAID, async_client, client, loop, loop_async, run_tools
from tests.instrumentors.anthropic_lines import has
from tests.kit.fixtures import Kept
from tests.kit.recording import AGENT, Recording, instrumented, parent_id, span_id, values

if not has("count"):
    pytest.skip("the stand-in wraps modules that came with 0.41", allow_module_level=True)

OURS = "nexus_otel.instrumentors.anthropic"
CLASSES = [
    getattr(importlib.import_module(module), name)
    for module in ("anthropic.resources.messages.messages", "anthropic.resources.beta.messages.messages")
    for name in ("Messages", "AsyncMessages")
]


@pytest.fixture(autouse=True)
def as_before():
    """Give the SDK its very own methods back: a vendor's undoing may leave what it found, ours, which is off by then."""
    before = [(kind, dict(vars(kind))) for kind in CLASSES]
    yield
    for kind, methods in before:
        for name, method in methods.items():
            if vars(kind)[name] is not method:
                setattr(kind, name, method)


class StandIn:
    """A vendor's instrumentation in small: a span around each call, in the style of OpenInference."""

    def instrument(self, *, tracer_provider, **_options):
        tracer = trace.get_tracer("openinference.instrumentation.anthropic", None, tracer_provider)

        def call(wrapped, _instance, args, kwargs):
            with tracer.start_as_current_span("Messages"):
                return wrapped(*args, **kwargs)

        async def call_async(wrapped, _instance, args, kwargs):
            with tracer.start_as_current_span("AsyncMessages"):
                return await wrapped(*args, **kwargs)

        self._before = []
        for module in ("anthropic.resources.messages.messages", "anthropic.resources.beta.messages.messages"):
            found = importlib.import_module(module)
            for owner, wrapper in ((found.Messages, call), (found.AsyncMessages, call_async)):
                wrapper.__module__ = "openinference.instrumentation.anthropic._wrappers"
                self._before.append((owner, vars(owner)["create"]))
                wrapt.wrap_function_wrapper(owner, "create", wrapper)

    def uninstrument(self):
        for owner, original in reversed(self._before):
            owner.create = original


def real(module):
    """Return another's instrumentor, if it is installed."""
    return pytest.importorskip(module, reason="in the set `newest`").AnthropicInstrumentor()


VENDORS = {
    "stand-in": StandIn,
    "openinference": lambda: real("openinference.instrumentation.anthropic"),
    "official": lambda: real("opentelemetry.instrumentation.genai.anthropic"),
}


@contextmanager
def beside(vendor, order, **environment):
    """Put both on in an order, and take them off in the other one; gives what both record, and our warnings."""
    theirs, seen = VENDORS[vendor](), Recording()
    options = {"tracer_provider": seen.tracer_provider, "skip_dep_check": True}
    if order == "theirs first":
        theirs.instrument(**options)
    with Kept("nexus_otel") as kept, instrumented(AnthropicInstrumentor, into=seen, **environment):
        if order == "ours first":
            theirs.instrument(**options)
        try:
            yield seen, kept
        finally:
            if order == "ours first":
                theirs.uninstrument()
    if order == "theirs first":
        theirs.uninstrument()
    _guard.failures.clear()


CALLS = {
    "loop": lambda connected: loop(connected.messages.create),
    "beta": lambda connected: loop(connected.beta.messages.create),
    "runner": run_tools,
}


def scopes(spans):
    """Our spans by name, and how many others there are of model calls."""
    ours = sorted(span.name for span in spans if span.instrumentation_scope.name == OURS)
    theirs = [span for span in spans if span.instrumentation_scope.name != OURS and not span.name.startswith("execute")]
    return ours, len(theirs)


def key(provider, steps=(FIND, SAID)):
    provider.load(steps, "peers")
    return "peers"


RUN = [f"invoke_agent {AGENT}", "execute_tool find"]
CHATS = ["chat claude-test"] * 2


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("mode", ["both", "yield"])
@pytest.mark.parametrize("order", ["theirs first", "ours first"])
@pytest.mark.parametrize("vendor", VENDORS)
def test_beside_another(provider, vendor, order, mode, call):
    if call == "runner" and not has("thread"):
        pytest.skip("no tool runner that calls what the stand-in wraps")
    with (
        beside(vendor, order, NEXUS_ON_CONFLICT=mode) as (seen, warnings),
        client(provider.url, key(provider)) as given,
    ):
        replies = list(CALLS[call](given))
    assert [reply.stop_reason for reply in replies] == ["tool_use", "end_turn"]
    check(vendor, mode, seen, warnings)


@pytest.mark.parametrize("mode", ["both", "yield"])
@pytest.mark.parametrize("order", ["theirs first", "ours first"])
@pytest.mark.parametrize("vendor", VENDORS)
async def test_beside_another_async(provider, vendor, order, mode):
    with beside(vendor, order, NEXUS_ON_CONFLICT=mode) as (seen, warnings):
        async with async_client(provider.url, key(provider)) as given:
            replies = await loop_async(given.messages.create)
    assert [reply.stop_reason for reply in replies] == ["tool_use", "end_turn"]
    check(vendor, mode, seen, warnings)


def check(vendor, mode, seen, warnings):
    """One warning; a run of ours in either mode; and model spans: ours and theirs, or theirs alone."""
    (warning,) = warnings.lines
    assert "instruments anthropic too" in warning
    assert f"NEXUS_ON_CONFLICT={mode}" in warning
    ours, theirs = scopes(seen.spans)
    assert [name for name in ours if name not in CHATS] == sorted(RUN)
    chats = len(ours) - len(RUN)
    if mode == "yield":
        assert (chats, theirs) == (0, 2)
    elif vendor == "official":  # they and we tell each other who owns a call: it has one span
        assert chats + theirs == 2
    else:
        assert (chats, theirs) == (2, 2)


@pytest.mark.parametrize("mode", ["both", "yield"])
@pytest.mark.parametrize("order", ["theirs first", "ours first"])
@pytest.mark.parametrize("vendor", ["openinference", "official"])
@pytest.mark.parametrize("helper", [False, True])
def test_a_stream_beside_another(provider, vendor, order, mode, helper):
    with (
        beside(vendor, order, NEXUS_ON_CONFLICT=mode) as (seen, warnings),
        client(provider.url, key(provider, [SAID])) as given,
    ):
        if helper:
            with given.messages.stream(**ASK) as stream:
                said = stream.get_final_text()
        else:
            events = list(given.messages.create(**ASK, stream=True))
            said = "".join(event.delta.text for event in events if event.type == "content_block_delta")
    assert said == SAID.text
    assert len(warnings.lines) == 1
    ours, theirs = scopes(seen.spans)
    if mode == "yield":
        assert (ours, theirs) == ([], 1)
    elif vendor == "official":
        assert len(ours) + theirs == 1
    else:
        assert (ours, theirs) == (CHATS[:1], 1)


@pytest.mark.parametrize("mode", ["both", "yield"])
@pytest.mark.parametrize("order", ["theirs first", "ours first"])
@pytest.mark.parametrize("vendor", VENDORS)
def test_the_run_leads_to_every_call(provider, vendor, order, mode):
    """Each model call is under the run's root, or linked from it where another's span was there before it."""
    with (
        beside(vendor, order, NEXUS_ON_CONFLICT=mode) as (seen, _warnings),
        client(provider.url, key(provider)) as given,
    ):
        loop(given.messages.create)
    root = seen.one("invoke_agent")
    (tool,) = (span for span in seen.all("execute_tool") if span.instrumentation_scope.name == OURS)
    assert parent_id(tool) == span_id(root)
    chats = [span for span in seen.spans if span not in (root, tool)]
    linked = {link.context.span_id for link in root.links}
    kept = [span for span in chats if parent_id(span) == span_id(root) or span_id(span) in linked]
    assert len(kept) >= 2
    if mode == "both" and vendor != "official":
        assert all(values(span)["gen_ai.usage.output_tokens"] for span in kept)


@pytest.mark.parametrize("order", ["theirs first", "ours first"])
def test_a_span_of_the_application_around_the_loop_has_it_all_beneath_it(provider, order):
    with (
        beside("stand-in", order) as (seen, _warnings),
        client(provider.url, key(provider)) as given,
        seen.tracer.start_as_current_span("work"),
    ):
        loop(given.messages.create)
    assert len({span.context.trace_id for span in seen.spans}) == 1
    assert parent_id(seen.one("invoke_agent")) == span_id(seen.one("work"))
