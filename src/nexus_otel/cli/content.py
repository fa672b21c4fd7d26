"""What was said in a run: each step's new messages, tool arguments and results, readable."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from rich.text import Text

from nexus_otel import semconv
from nexus_otel.cli.runs import Run, is_model_call, is_tool_call, operation
from nexus_otel.cli.terminal import count, harmless, one_line
from nexus_otel.config import CONTENT_VARIABLE

if TYPE_CHECKING:
    from rich.console import Console

    from nexus_otel.export.read import StoredSpan

NOT_RECORDED: Final = (
    f"What was said is not recorded. Run again with {CONTENT_VARIABLE}=SPAN_ONLY "
    "(nexus-instrument --content SPAN_ONLY), or without an endpoint and without this variable."
)
_LINES: Final = 12
_CHARACTERS: Final = 1_200
_COMPACT: Final = 90
_HISTORIES: Final = 20
"""How many earlier model calls a call is compared with."""

_AGENTS: Final = frozenset({semconv.INVOKE_AGENT, semconv.INVOKE_WORKFLOW})
_VALUES: Final = {
    "arguments": semconv.TOOL_ARGUMENTS, "result": semconv.TOOL_RESULT, "query": semconv.RETRIEVAL_QUERY,
    "documents": semconv.RETRIEVAL_DOCUMENTS, "output": semconv.OUTPUT,
}  # fmt: skip

Message = Mapping[str, Any]


def has_content(span: StoredSpan) -> bool:
    """Whether what was said is recorded on a span."""
    return not semconv.CONTENT_ATTRIBUTES.isdisjoint(span.attributes)


def parsed(value: Any) -> Any:
    """Return a content attribute as plain values: JSON text decoded, any other text as it is."""
    if isinstance(value, str):
        try:
            return json.loads(value)
        except ValueError:
            return value
    return value


def messages(value: Any) -> list[Message]:
    """Return the messages of an attribute; text that is no JSON is one message without a role."""
    value = parsed(value)
    found = value if isinstance(value, list) else [] if value is None else [value]
    return [one if isinstance(one, dict) else {"role": "", "parts": [_as_part(one)]} for one in found]


def _as_part(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {"type": "text", "content": value}


def parts(message: Message) -> list[Mapping[str, Any]]:
    """Return the parts of a message."""
    found = message.get("parts", message.get("content", []))
    return [_as_part(part) for part in (found if isinstance(found, list) else [found])]


# -- only what is new ----------------------------------------------------------------------------------


class News:
    """Tells the messages of a model call that no earlier call of the run had."""

    def __init__(self) -> None:
        self._calls: list[tuple[list[str], int]] = []
        self._said: set[str] = set()

    def of(self, span: StoredSpan) -> list[Message]:
        """Return the messages that this call adds to the history; calls come in order of time.

        The answer of an earlier call that stands in this one's history is not new.
        """
        history = messages(span.attributes.get(semconv.INPUT_MESSAGES))
        keys = [_key(message) for message in history]
        known = max((_known(keys, *call, history) for call in self._calls), default=0)
        answers = len(messages(span.attributes.get(semconv.OUTPUT_MESSAGES)))
        self._calls = [*self._calls[1 - _HISTORIES :], (keys, answers)]
        return history[known:]

    def is_first(self, name: str, value: Any) -> bool:
        """Whether an attribute has this value for the first time."""
        key = f"{name}={value}"
        first = key not in self._said
        self._said.add(key)
        return first


def _known(keys: Sequence[str], earlier: Sequence[str], answers: int, history: Sequence[Message]) -> int:
    """Return how many messages at the start were in an earlier call, or its answer."""
    same = 0
    for one, other in zip(keys, earlier, strict=False):
        if one != other:
            return same
        same += 1
    if same < len(earlier):
        return same
    while answers and same < len(history) and history[same].get("role") == "assistant":
        same, answers = same + 1, answers - 1
    return same


def _key(message: Message) -> str:
    return json.dumps([message.get("role"), parts(message)], sort_keys=True, default=str)


# -- on the terminal -----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Writer:
    """Prints texts below headings, each shortened to what a person reads unless all is wanted.

    Attributes:
        to: Where to.
        more: What to type to see all of it; empty: nothing is shortened.
    """

    to: Console
    more: str = ""

    def heading(self, text: str, style: str = "bold") -> None:
        """Print a line that begins something."""
        self.to.print(Text(text, style=style), soft_wrap=True)

    def text(self, label: str, text: str, style: str = "") -> None:
        """Print a text below its label, or beside it where it is one line."""
        lines, left = self._shortened(harmless(text))
        if len(lines) == 1 and not left:
            self.to.print(Text.assemble((f"  {label}  ", "bold dim"), (lines[0], style)), soft_wrap=True)
            return
        self.to.print(Text(f"  {label}", style="bold dim"))
        for line in lines:
            self.to.print(Text(f"    {line}", style=style), soft_wrap=True)
        if left:
            self.to.print(Text(f"    ... {left} ({self.more})", style="dim"), soft_wrap=True)

    def _shortened(self, text: str) -> tuple[list[str], str]:
        text = text.strip("\n")
        lines = text.split("\n")
        if not self.more:
            return lines, ""
        head = "\n".join(lines[:_LINES])
        if len(head) > _CHARACTERS:
            return head[:_CHARACTERS].split("\n"), f"{len(text) - _CHARACTERS:,} more characters"
        left = len(lines) - _LINES
        return lines[:_LINES], count(left, "more line") if left > 0 else ""

    def value(self, label: str, value: Any) -> None:
        """Print a value: a text as it is, anything else as JSON."""
        self.text(label, pretty(parsed(value)))

    def message(self, message: Message, quoted: Mapping[str, str]) -> None:
        """Print a message.

        Args:
            message: In the conventions' form.
            quoted: Tool calls that are shown elsewhere: their ids and what to print in their place.
        """
        for part in parts(message):
            label, text, style = described(part, str(message.get("role") or "message"), quoted)
            self.text(label, text, style)


def pretty(value: Any) -> str:
    """Return a value as a person reads it: text as it is, short JSON on one line, else indented."""
    if isinstance(value, str):
        return value
    line = json.dumps(value, ensure_ascii=False, default=str)
    if len(line) <= _COMPACT:
        return line
    return json.dumps(value, ensure_ascii=False, default=str, indent=2)


def described(part: Mapping[str, Any], role: str, quoted: Mapping[str, str]) -> tuple[str, str, str]:
    """Return how to show a part of a message: label, text, style."""
    match part:
        case {"type": "text", "content": content}:
            return role, pretty(content), ""
        case {"type": "reasoning", "content": content}:
            return f"{role} thinks", pretty(content), "dim"
        case {"type": "tool_call", "name": name}:
            given = "" if str(part.get("id")) in quoted else f" {pretty(parsed(part.get('arguments', {})))}"
            return f"{role} calls", f"{name}{given}", "green"
        case {"type": "tool_call_response"}:
            known = quoted.get(str(part.get("id")))
            return "tool answers", known or pretty(parsed(part.get("response", part.get("result")))), ""
        case {"type": "blob" | "uri" | "file" as kind}:
            size = f", {part['byte_size']} bytes" if "byte_size" in part else ""
            what = part.get("uri") or part.get("file_id") or ""
            return role, f"[{part.get('modality', '')} {kind}{size}] {what}".rstrip(), "dim"
    return role, pretty(part), ""


def print_content(run: Run, to: Console, show: str) -> None:
    """Print what was said in a run, step by step.

    Args:
        run: The run.
        to: Where to.
        show: The command that shows the run, to which `--span ID` is added for more.
    """
    telling = _telling(run)
    if not telling:
        to.print(Text(NOT_RECORDED, style="yellow"), soft_wrap=True)
        return
    news, quoted, steps = (
        News(),
        dict(_quoted(telling)),
        {s.span_id: n for n, s in enumerate(run.steps, 1)},
    )
    for span in sorted(telling, key=lambda span: span.start_ns):
        writer = Writer(to, f"{show} --span {span.span_id[:8]}")
        step = f"step {steps[span.span_id]}  " if span.span_id in steps else ""
        writer.heading(f"{step}{one_line(span.name)}  [{span.span_id[:8]}]")
        _print_span(span, writer, news, quoted)
        to.print()


def _telling(run: Run) -> list[StoredSpan]:
    """Return the spans that have content; those of agents only where no model call says what was said."""
    telling = [span for span in run.spans if has_content(span)]
    if any(map(is_model_call, telling)):
        return [span for span in telling if operation(span) not in _AGENTS]
    return telling


def _quoted(spans: Sequence[StoredSpan]) -> Iterator[tuple[str, str]]:
    for span in spans:
        call_id = span.attributes.get(semconv.TOOL_CALL_ID)
        if is_tool_call(span) and call_id and semconv.TOOL_RESULT in span.attributes:
            yield str(call_id), f"(of {span.attributes.get(semconv.TOOL_NAME)}, above)"


def _print_span(span: StoredSpan, writer: Writer, news: News, quoted: Mapping[str, str]) -> None:
    own = span.attributes
    if semconv.SYSTEM_INSTRUCTIONS in own and news.is_first("system", own[semconv.SYSTEM_INSTRUCTIONS]):
        for part in messages(own[semconv.SYSTEM_INSTRUCTIONS]):
            writer.text("system", pretty(part.get("content", part)))
    if semconv.TOOL_DEFINITIONS in own and news.is_first("tools", own[semconv.TOOL_DEFINITIONS]):
        names = [str(tool.get("name", "?")) for tool in messages(own[semconv.TOOL_DEFINITIONS])]
        writer.text("tools", ", ".join(names))
    for message in news.of(span):
        writer.message(message, quoted)
    for message in messages(own.get(semconv.OUTPUT_MESSAGES)):
        writer.message(message, quoted)
    for label, name in _VALUES.items():
        if name in own:
            writer.value(label, own[name])
