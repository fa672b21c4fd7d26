"""Agents on Anthropic's SDK over HTTP, content on and off: what is found in the spans that are recorded of them."""

from __future__ import annotations

from typing import Any

import anthropic
import pytest

from nexus_otel.detect import examine
from nexus_otel.instrumentors.anthropic import AnthropicInstrumentor
from nexus_otel.processors.live import _view
from tests.detect.dsl import modes
from tests.fakes.provider import Reply, ToolUse
from tests.kit.cases import loaded
from tests.kit.recording import instrumented

TOOLS: list[Any] = [
    {
        "name": name,
        "input_schema": {"type": "object", "properties": {key: {"type": "string"}}, "required": [key]},
    }
    for name, key in (("search", "query"), ("charge", "order"), ("status", "job"))
]
MODES = ("NO_CONTENT", "SPAN_ONLY")


def ask(name: str, **given: Any) -> Reply:
    return Reply(tools=[ToolUse(name, given)])


class Tools:
    """What the agent can do."""

    polls = 0

    def search(self, query: str) -> str:
        return "Refunds: see refunds."

    def charge(self, order: str) -> str:
        if order.startswith("#"):
            raise ValueError(f"unknown order {order}")
        return "charged"

    def status(self, job: str) -> str:
        self.polls += 1
        return f"running, {self.polls}0 % done"


def agent(client: Any) -> None:
    """A loop as people write it: every failure becomes a text for the model."""
    tools = Tools()
    messages: list[Any] = [{"role": "user", "content": "Do it, please."}]
    for _ in range(12):
        reply = client.messages.create(model="claude-demo", max_tokens=100, messages=messages, tools=TOOLS)
        asked = [block for block in reply.content if block.type == "tool_use"]
        if not asked:
            return
        messages += [
            {"role": "assistant", "content": reply.content},
            {"role": "user", "content": [answer(tools, block) for block in asked]},
        ]


def answer(tools: Tools, block: Any) -> dict[str, Any]:
    try:
        said, failed = getattr(tools, block.name)(**block.input), False
    except AttributeError:
        said, failed = f"unknown tool: {block.name}", True
    except (TypeError, ValueError) as error:
        said, failed = f"{type(error).__name__}: {error}", True
    return {"type": "tool_result", "tool_use_id": block.id, "content": said, "is_error": failed}


SAID = Reply("Done.")
AGENTS = {
    "good": ([ask("search", query="refund"), ask("charge", order="1"), SAID], []),
    "loop": ([ask("search", query="refund")] * 6 + [SAID], ["loop"]),
    "cycle": ([ask("search", query="refund"), ask("charge", order="1")] * 4 + [SAID], ["loop"]),
    "retry": ([ask("charge", order="#1")] * 2 + [SAID], ["retry", "tool_error"]),
    "loop of errors": ([ask("charge", order="#1")] * 5 + [SAID], ["loop", "tool_error"]),
    "got over": ([ask("charge", order="#1"), ask("charge", order="1"), SAID], ["tool_error"]),
    "unknown tool": ([ask("send_mail", to="ada"), SAID], ["hallucinated_action"]),
    "made-up arguments": ([ask("search", q="refund", limit=3), SAID], ["hallucinated_action"]),
    "polling": ([ask("status", job="7")] * 8 + [SAID], []),
    "paging": ([ask("charge", order=str(n)) for n in range(8)] + [SAID], []),
}


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("name", AGENTS)
def test_what_is_found_in_an_agent(name, mode, provider):
    script, wanted = AGENTS[name]
    content = {"OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT": mode}
    key = loaded(script, provider)
    with (
        instrumented(AnthropicInstrumentor, **content) as recorded,
        anthropic.Anthropic(base_url=provider.url, api_key=key, max_retries=0) as client,
    ):
        agent(client)
    found = examine(_view(span, span.end_time) for span in recorded.spans)
    assert modes(found) == wanted
    spans = {format(span.context.span_id, "016x") for span in recorded.spans}
    assert all({one.span_id, *one.evidence} <= spans for one in found)
