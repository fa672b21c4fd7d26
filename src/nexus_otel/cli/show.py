"""`nexus-otel show`: one run as a tree, what was said in it, or everything of one span."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Final

from rich.text import Text

from nexus_otel import semconv
from nexus_otel.cli.content import NOT_RECORDED, Writer, has_content, messages, pretty, print_content
from nexus_otel.cli.runs import SHORTEST_PREFIX, AmbiguousError, NothingFoundError
from nexus_otel.cli.sources import one_run, opened
from nexus_otel.cli.terminal import console, duration, moment, one_line
from nexus_otel.cli.tree import error_of, print_header, print_tree

if TYPE_CHECKING:
    from nexus_otel.export.read import StoredSpan

_KINDS: Final = ("unspecified", "internal", "server", "client", "producer", "consumer")
_MESSAGES: Final = (semconv.SYSTEM_INSTRUCTIONS, semconv.INPUT_MESSAGES, semconv.OUTPUT_MESSAGES)


def show_run(wanted: str, store: str | None = None, *, content: bool, as_json: bool) -> None:
    """Print a run.

    Args:
        wanted: Its id, the beginning of one, or `last`.
        store: Where it is; the local store when not given.
        content: Whether to print what was said.
        as_json: As one JSON object, with content.
    """
    run, name = one_run(opened(store), wanted)
    if as_json:
        spans = [asdict(span) for span in run.spans]
        print(json.dumps({"schema": 1, "run": run.as_json(), "spans": spans}, default=str))
        return
    to = console()
    print_header(run, to, name)
    to.print(Text(f"{moment(run.start_ns)}, id {run.id}", style="dim"), soft_wrap=True)
    to.print()
    print_tree(run, to, ids=True)
    to.print()
    if content:
        print_content(run, to, f"nexus-otel show {name}")
    else:
        if any(span.attributes.get(semconv.DERIVED) for span in run.spans):
            legend = "derived: known from the messages only; its time is that between two model calls"
            to.print(Text(legend, style="dim"), soft_wrap=True)
        more = f"nexus-otel show {name} --content: what was said;  --span ID: everything of one span"
        to.print(Text(more, style="dim"), soft_wrap=True)


# -- one span ------------------------------------------------------------------------------------------


def show_span(wanted_run: str | None, wanted: str, store: str | None = None, *, as_json: bool) -> None:
    """Print everything of one span.

    Args:
        wanted_run: The run to look in; the whole store if None.
        wanted: The span's id, or the beginning of it.
        store: Where it is; the local store when not given.
        as_json: As one JSON object.
    """
    source = opened(store)
    spans = source.with_span(wanted.lower()) if wanted_run is None else one_run(source, wanted_run)[0].spans
    span = _select_span(spans, wanted)
    if as_json:
        print(json.dumps({"schema": 1, "span": asdict(span)}, default=str))
    else:
        _print_span(span)


def _select_span(spans: list[StoredSpan], wanted: str) -> StoredSpan:
    if len(wanted) < SHORTEST_PREFIX:
        raise AmbiguousError(f"{wanted!r} is too short: give at least {SHORTEST_PREFIX} characters of a span's id")
    found = [span for span in spans if span.span_id.startswith(wanted.lower())]
    if not found:
        raise NothingFoundError(f"no span {wanted}")
    if len(found) > 1:
        raise AmbiguousError(f"{wanted} means {len(found)} spans: {', '.join(s.span_id for s in found[:5])}")
    return found[0]


def _print_span(span: StoredSpan) -> None:
    to = console()
    write = Writer(to)
    write.heading(one_line(span.name))
    for label, value in _facts(span).items():
        write.text(label, value)
    if error := error_of(span):
        write.text("error", error, "red")
    plain = {name: value for name, value in span.attributes.items() if name not in semconv.CONTENT_ATTRIBUTES}
    _print_table(write, "attributes", plain)
    for event in span.events:
        write.heading(f"event {one_line(event.name)} at +{duration((event.time_ns - span.start_ns) / 1e9)}")
        _print_table(write, "", event.attributes)
    _print_content(span, write)
    _print_table(write, f"scope {one_line(span.scope)} {one_line(span.scope_version)}, resource", span.resource)


def _facts(span: StoredSpan) -> dict[str, str]:
    ended = "open" if span.end_ns is None else duration((span.end_ns - span.start_ns) / 1e9)
    if span.died:
        ended += ", then its process ended"
    facts = {
        "trace": span.trace_id,
        "span": span.span_id,
        "parent": span.parent_id or "none",
        "kind": _KINDS[span.kind] if span.kind < len(_KINDS) else str(span.kind),
        "start": moment(span.start_ns),
        "duration": ended,
    }
    if span.links:
        facts["links"] = ", ".join(f"{link.trace_id}:{link.span_id}" for link in span.links)
    return facts


def _print_table(write: Writer, heading: str, values: dict[str, Any]) -> None:
    if not values:
        return
    if heading:
        write.heading(heading)
    for name, value in sorted(values.items()):
        write.text(one_line(name), pretty(value))


def _print_content(span: StoredSpan, write: Writer) -> None:
    if not has_content(span):
        if semconv.OPERATION in span.attributes:
            write.heading(NOT_RECORDED, "yellow")
        return
    for name in _MESSAGES:
        if name in span.attributes:
            write.heading(name)
            for message in messages(span.attributes[name]):
                if "role" in message:
                    write.message(message, {})
                else:
                    write.text("text", pretty(message.get("content", message)))
    for name in sorted(semconv.CONTENT_ATTRIBUTES.difference(_MESSAGES).intersection(span.attributes)):
        write.heading(name)
        write.value("value", span.attributes[name])
