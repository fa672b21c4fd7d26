"""The completion hook of the conventions, and messages as structured attributes."""

from __future__ import annotations

import contextlib
import sys
from types import SimpleNamespace

import anthropic
import pytest
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF

from nexus_otel import _guard
from nexus_otel.genai.completion import VARIABLE
from nexus_otel.instrumentors.anthropic import AnthropicInstrumentor
from tests.fakes.provider import Reply, ToolUse
from tests.kit.fixtures import failures_allowed
from tests.kit.recording import instrumented, values

hooks = pytest.importorskip("opentelemetry.util.genai.completion_hook")
ASK = {
    "model": "claude-test",
    "max_tokens": 50,
    "system": "Be brief.",
    "messages": [{"role": "user", "content": "Where is the wren?"}],
    "tools": [{"name": "find", "description": "Finds a bird.", "input_schema": {"type": "object"}}],
}


@pytest.fixture
def play(provider):
    """Make clients that a script of their own answers."""
    with contextlib.ExitStack() as stack:

        def connect(*steps):
            provider.load(steps, "completion")
            return stack.enter_context(anthropic.Anthropic(base_url=provider.url, api_key="completion", max_retries=0))

        yield connect


class Hook:
    """Keeps what it is given."""

    def __init__(self):
        self.given = []

    def on_completion(self, **given):
        self.given.append(given)
        given["span"].set_attribute("gen_ai.input.messages_ref", "file:///somewhere")


class FailingHook:
    def on_completion(self, **given):
        raise ValueError(given)


@pytest.fixture
def hooked(monkeypatch):
    """Returns a function that puts a hook in place, as an installed package would."""

    def place(hook):
        entry = SimpleNamespace(name="kept", load=lambda: lambda: hook)
        monkeypatch.setattr(
            hooks, "entry_points", lambda group: [entry] if group.startswith("opentelemetry_genai") else []
        )
        monkeypatch.setenv(VARIABLE, "kept")
        return hook

    return place


def test_the_hook_is_given_what_was_said(hooked, play):
    hook = hooked(Hook())
    with instrumented(AnthropicInstrumentor) as seen:
        play(Reply(text="Let me look.", tools=[ToolUse("find", {"bird": "wren"})])).messages.create(**ASK)
    (given,) = hook.given
    assert [(m.role, m.parts[0].content) for m in given["inputs"]] == [("user", "Where is the wren?")]
    (answer,) = given["outputs"]
    assert answer.finish_reason == "tool_call"
    assert [(part.type) for part in answer.parts] == ["text", "tool_call"]
    assert answer.parts[1].arguments == {"bird": "wren"}
    assert [part.content for part in given["system_instruction"]] == ["Be brief."]
    assert [tool.name for tool in given["tool_definitions"]] == ["find"]
    chat = seen.one("chat claude-test")
    assert values(chat)["gen_ai.input.messages_ref"] == "file:///somewhere"
    assert "gen_ai.input.messages" not in values(chat)


def test_it_runs_for_calls_that_are_sampled_out(hooked, play):
    hook = hooked(Hook())
    with instrumented(AnthropicInstrumentor, sampler=ALWAYS_OFF):
        play(Reply(text="There.")).messages.create(**{**ASK, "tools": []})
    (given,) = hook.given
    assert given["outputs"][0].parts[0].content == "There."


def test_a_hook_that_fails_changes_nothing(hooked, play, caplog):
    hooked(FailingHook())
    with failures_allowed(), instrumented(AnthropicInstrumentor) as seen:
        reply = play(Reply(text="There.")).messages.create(**{**ASK, "tools": []})
        assert _guard.failures.pop("calling the completion hook") == 1
    assert reply.content[0].text == "There."
    assert seen.one().name == "chat claude-test"
    assert "wren" not in caplog.text


def test_a_hook_without_its_package_is_said_once(monkeypatch, play):
    monkeypatch.setenv(VARIABLE, "kept")
    monkeypatch.setitem(sys.modules, "opentelemetry.util.genai.completion_hook", None)
    with failures_allowed(), instrumented(AnthropicInstrumentor) as seen:
        play(Reply(text="There.")).messages.create(**{**ASK, "tools": []})
        assert _guard.failures.pop("hook") == 1
    assert seen.one().name == "chat claude-test"


def test_messages_are_structured_where_that_is_asked_for(play):
    wanted = {"NEXUS_STRUCTURED": "true", "OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT": "SPAN_ONLY"}
    with instrumented(AnthropicInstrumentor, **wanted) as seen:
        play(Reply(text="There.")).messages.create(**{**ASK, "tools": []})
    (message,) = values(seen.one())["gen_ai.input.messages"]
    assert message["role"] == "user"
    assert message["parts"][0]["content"] == "Where is the wren?"
