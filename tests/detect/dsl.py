"""Runs in a few words: `run().step("search", {"q": "x"}, "nothing").model("done").spans()`.

A run has a clock and ids of its own, so that what is found can be compared as text. It speaks as our instrumentation
does (`ours`), content on or off, or as somebody else's: content and no facts.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from nexus_otel import normal, semconv
from nexus_otel.detect import examine
from nexus_otel.detect.model import Finding, SpanView
from nexus_otel.detect.thresholds import Thresholds
from nexus_otel.genai import attributes as of
from nexus_otel.genai.measure import message_bytes
from nexus_otel.genai.operations import Failure, Message, ToolCall, ToolResult

START_NS = 1_700_000_000_000_000_000
HASHER = normal.Hasher(b"tests")
_traces = itertools.count(1)


def ns(seconds: float) -> int:
    return round(seconds * 1e9)


class RaisedError(Exception):
    """An exception of a tool: `RaisedError("TimeoutError", "it took too long")`."""

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind


class Run:
    """One run that is told step by step."""

    def __init__(self, *, agent: str, tools: Mapping[str, Any] | None, ours: bool, content: bool, user: str) -> None:
        self.trace_id = f"{next(_traces):032x}"
        self.now = START_NS
        self.tools = tools
        self.ours = ours
        self.content = content
        self.messages: list[dict[str, Any]] = []
        self.closed: list[SpanView] = []
        self.stack: list[SpanView] = []
        self._ids = itertools.count(1)
        self._calls = itertools.count(1)
        self._open: dict[str, list[str]] = {}
        self._size = self._measured = 0
        self._begin(f"invoke_agent {agent}", {semconv.OPERATION: "invoke_agent", semconv.AGENT_NAME: agent})
        self.user(user)

    # -- what happens --------------------------------------------------------------------------------------------------

    def user(self, text: str) -> Run:
        """A person says something."""
        self.messages.append({"role": "user", "parts": [{"type": "text", "content": text}]})
        return self

    def wait(self, seconds: float) -> Run:
        self.now += ns(seconds)
        return self

    def model(
        self,
        said: str = "",
        *calls: tuple[str, Any],
        tokens: tuple[int, int] = (100, 20),
        seconds: float = 1.0,
        finish: str | None = None,
        error: Failure | None = None,
        **attributes: Any,
    ) -> Run:
        """A model call, that says something or asks for tools."""
        asked = [{"type": "tool_call", "id": self._call(), "name": name, "arguments": given} for name, given in calls]
        for part in asked:
            self._open.setdefault(part["name"], []).append(part["id"])
        parts = ([{"type": "text", "content": said}] if said else []) + asked
        known: dict[str, Any] = {semconv.OPERATION: "chat", semconv.REQUEST_MODEL: "a-model"}
        if self.ours:
            known |= {semconv.MESSAGE_COUNT: len(self.messages), semconv.MESSAGE_BYTES: self._bytes()}
        if self.content:
            known[semconv.INPUT_MESSAGES] = json.dumps(self.messages)
            if self.tools is not None:
                known[semconv.TOOL_DEFINITIONS] = json.dumps(
                    [{"type": "function", "name": name, "parameters": schema} for name, schema in self.tools.items()]
                )
        if error is not None:
            self._span("chat a-model", known | of.failure(error) | attributes, seconds, message=error.message or "")
            return self
        known[semconv.RESPONSE_FINISH_REASONS] = (finish or ("tool_call" if asked else "stop"),)
        known |= {semconv.USAGE_INPUT: tokens[0], semconv.USAGE_OUTPUT: tokens[1]}
        if self.content:
            known[semconv.OUTPUT_MESSAGES] = json.dumps([{"role": "assistant", "parts": parts}])
        self.messages.append({"role": "assistant", "parts": parts})
        self._span("chat a-model", known | attributes, seconds)
        return self

    def tool(
        self,
        name: str,
        given: Any = None,
        answer: Any = "",
        *,
        seconds: float = 0.1,
        at_once: bool = False,
        call_id: str = "",
        **attributes: Any,
    ) -> Run:
        """A tool runs and answers, or raises `RaisedError`; `at_once` starts it with the one before."""
        schema = (self.tools or {}).get(name)
        known = name in self.tools if self.tools is not None else None
        call = ToolCall(name, given, call_id or self._asked(name), schema=schema, known=known)
        raised = answer if isinstance(answer, RaisedError) else None
        result = None if raised is not None else ToolResult(answer)
        attributes = of.tool_start(call, None) | self._tool(call, result, raised) | attributes
        message = str(raised) if raised is not None and self.content else ""
        if at_once:
            self.now = self.closed[-1].start_ns
        self._span(
            f"execute_tool {name}", attributes, seconds, message=message, failed=semconv.ERROR_TYPE in attributes
        )
        if at_once:
            self.now = max(span.end_ns for span in self.closed[-2:])
        said = f"{raised.kind}: {raised}" if raised is not None else answer
        self.messages.append(
            {"role": "tool", "parts": [{"type": "tool_call_response", "id": call.id, "response": said}]}
        )
        return self

    def step(self, name: str, given: Any = None, answer: Any = "", **settings: Any) -> Run:
        """A model call that asks for one tool, and the tool."""
        return self.model("", (name, given)).tool(name, given, answer, **settings)

    def steps(self, count: int, name: str, given: Any = None, answer: Any = "", **settings: Any) -> Run:
        for _ in range(count):
            self.step(name, given, answer, **settings)
        return self

    @contextmanager
    def agent(self, name: str, **attributes: Any) -> Iterator[Run]:
        """What happens inside is done by another agent of the run."""
        self._begin(f"invoke_agent {name}", {semconv.OPERATION: "invoke_agent", semconv.AGENT_NAME: name} | attributes)
        yield self
        self._end()

    # -- what comes of it ----------------------------------------------------------------------------------------------

    def spans(self, *, failed: bool = False) -> list[SpanView]:
        """The spans of the run, which is over now."""
        while self.stack:
            self._end(failed=failed and len(self.stack) == 1)
        return self.closed

    def find(self, *, failed: bool = False, **thresholds: Any) -> list[Finding]:
        """What is found in the run."""
        return examine(self.spans(failed=failed), Thresholds(**thresholds))

    # -- inside --------------------------------------------------------------------------------------------------------

    def _tool(self, call: ToolCall, result: ToolResult | None, raised: RaisedError | None) -> dict[str, Any]:
        out: dict[str, Any] = {}
        if self.ours:
            out |= of.tool_arguments_facts(call, HASHER)
            if result is not None:
                out |= of.tool_end(call.name, result, HASHER)
            elif raised is not None:
                out |= of.tool_failure_facts("status", f"{raised.kind}: {raised}", HASHER)
        if raised is not None:
            out[semconv.ERROR_TYPE] = raised.kind
        if self.content:
            out |= {semconv.TOOL_ARGUMENTS: _text(call.arguments)} if call.arguments is not None else {}
            out |= {semconv.TOOL_RESULT: _text(result.answer)} if result is not None else {}
        return out

    def _asked(self, name: str) -> str:
        """Return the id of the oldest call of a tool that was not answered."""
        waiting = self._open.get(name)
        return waiting.pop(0) if waiting else self._call()

    def _bytes(self) -> int:
        new = [Message(message["role"], message["parts"]) for message in self.messages[self._measured :]]
        self._size += message_bytes(new)
        self._measured = len(self.messages)
        return self._size

    def _call(self) -> str:
        return f"call-{next(self._calls)}"

    def _new(self, name: str, attributes: Mapping[str, Any]) -> SpanView:
        parent = self.stack[-1].span_id if self.stack else ""
        return SpanView(self.trace_id, f"{next(self._ids):016x}", parent, name, self.now, 0, dict(attributes))

    def _begin(self, name: str, attributes: Mapping[str, Any]) -> None:
        self.stack.append(self._new(name, attributes))

    def _end(self, *, failed: bool = False) -> None:
        span = self.stack.pop()
        span.end_ns, span.failed = self.now, failed
        self.closed.append(span)

    def _span(
        self, name: str, attributes: Mapping[str, Any], seconds: float, *, message: str = "", failed: bool = False
    ) -> None:
        span = self._new(name, attributes)
        self.now += ns(seconds)
        span.end_ns, span.message = self.now, message
        span.failed = failed or semconv.ERROR_TYPE in attributes
        self.closed.append(span)


def run(
    *,
    agent: str = "helper",
    tools: Mapping[str, Any] | None = None,
    ours: bool = True,
    content: bool = True,
    user: str = "Do it, please.",
) -> Run:
    """Begin a run. `tools`: JSON schemas by name, as the model was given them."""
    return Run(agent=agent, tools=tools, ours=ours, content=content, user=user)


def takes(required: Sequence[str] = (), **properties: str) -> dict[str, Any]:
    """Return the schema of an object: `takes(["city"], city="string")`."""
    return {
        "type": "object",
        "properties": {name: {"type": kind} for name, kind in properties.items()},
        "required": list(required),
    }


def modes(findings: Sequence[Finding], level: str | None = None) -> list[str]:
    """Return the modes of findings, of one level or all."""
    return sorted(finding.mode for finding in findings if level is None or finding.level == level)


def told(findings: Sequence[Finding]) -> list[str]:
    """Return the modes of findings that are more than info."""
    return sorted(finding.mode for finding in findings if finding.level != "info")


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)
