"""One question asked in ever different words, and nothing found each time (`failures.md` 3.2, L4)."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, Final

from nexus_otel import semconv
from nexus_otel.detect.evidence import short
from nexus_otel.detect.facts import answer_text, parsed
from nexus_otel.detect.model import INFO, LOOP, AgentView, Finding, RunView
from nexus_otel.detect.repeating import Call
from nexus_otel.detect.thresholds import Thresholds

_MOST_TOOLS: Final = 16
_MOST_TEXT: Final = 2_000
_SHORT: Final = 300
_FEWEST_WORDS: Final = 2
_NOTHING: Final = re.compile(
    r"\W{0,4}(?:no (?:\w+ ){0,3}(?:results?|match(?:es)?|documents?|records?|entries|items?|hits?)\b"
    r"|nothing (?:was )?found"
    r"|0 (?:results?|matches|hits)|none\b|not found)",
    re.IGNORECASE,
)
_WORD: Final = re.compile(r"[^\W\d_]+")
_NUMBER: Final = re.compile(r"\d+")


@dataclass(slots=True)
class _Questions:
    """The latest questions of one tool that had one empty answer."""

    answer: str
    calls: deque[tuple[str, frozenset[str], dict[str, tuple[int, ...]]]] = field(default_factory=deque)
    told: int = 0


def reworded(kept: dict[str, Any], call: Call, agent: AgentView, run: RunView, limits: Thresholds) -> Iterable[Finding]:
    """Take a call that did not fail: it is one more question, or ends them."""
    facts, attributes = call.facts, call.span.attributes
    answer = attributes.get(semconv.TOOL_RESULT)
    given = _texts(attributes.get(semconv.TOOL_ARGUMENTS)) if _says_nothing(facts.form, answer) else None
    if given is None or facts.answer is None:
        kept.pop(facts.tool, None)
        return ()
    words = frozenset(word.casefold() for text in given.values() for word in _WORD.findall(text))
    questions: _Questions | None = kept.get(facts.tool)
    if questions is None or questions.answer != facts.answer or not _near(words, questions.calls[-1][1], limits):
        if questions is None and len(kept) >= _MOST_TOOLS:
            return ()
        questions = kept[facts.tool] = _Questions(facts.answer)
    numbers = {key: tuple(map(int, _NUMBER.findall(text[:200])[:8])) for key, text in given.items()}
    questions.calls.append((call.span.span_id, words, numbers))
    if len(questions.calls) > limits.reworded_calls:
        questions.calls.popleft()
    questions.told += 1
    if questions.told < limits.reworded_calls or _sweeps([one[2] for one in questions.calls]):
        return ()
    return (_finding(questions, facts.tool, agent, run, limits),)


def _finding(questions: _Questions, tool: str, agent: AgentView, run: RunView, limits: Thresholds) -> Finding:
    evidence = tuple(span_id for span_id, _words, _numbers in questions.calls)
    key = agent.name, f"reworded:{tool}"
    before = run.found.get((LOOP, key))
    often = max(questions.told, limits.reworded_calls)
    title = f"{short(tool)} was asked the same in other words {often} times, and found nothing"
    data = {"kind": "reworded", "tools": [tool], "cause": key[1], "agent": agent.name}
    span_id = before.span_id if before is not None else evidence[-1]
    return Finding(LOOP, INFO, title, run.trace_id, span_id, evidence, data, None, questions.told, key)


def _says_nothing(form: str, answer: Any) -> bool:
    """Whether an answer is that there is nothing: an empty value, empty lists in an object, or such words."""
    if answer is None:
        return False
    if form == "empty":
        return True
    text = answer if isinstance(answer, str) else answer_text(answer)
    if len(text) > _SHORT:
        return False
    return _NOTHING.match(text) is not None or (text[:1] == "{" and _hollow(parsed(text)))


def _hollow(value: Any) -> bool:
    if not isinstance(value, Mapping) or not value:
        return False
    return all(item in (None, "", 0, False, [], {}) for item in value.values())


def _texts(arguments: Any) -> dict[str, str] | None:
    """Return arguments as texts by name; None where there is no free text in them."""
    value = parsed(arguments) if isinstance(arguments, str) and arguments[:1] in "{[" else arguments
    if isinstance(value, str):
        value = {"": value}
    if not isinstance(value, Mapping):
        return None
    texts = {str(key): " ".join(_leaves(item))[:_MOST_TEXT] for key, item in value.items()}
    return texts if any(len(_WORD.findall(text)) >= _FEWEST_WORDS for text in texts.values()) else None


def _leaves(value: Any) -> Iterator[str]:
    if isinstance(value, Mapping):
        value = list(value.values())
    if isinstance(value, Sequence) and not isinstance(value, str):
        for item in value[:50]:
            yield from (str(item),) if not isinstance(item, Mapping | list) else (str(item)[:_MOST_TEXT],)
    elif value is not None:
        yield str(value)


def _near(words: frozenset[str], before: frozenset[str], limits: Thresholds) -> bool:
    if words == before or not words or not before:
        return words == before
    return len(words & before) >= limits.reworded_overlap * min(len(words), len(before))


def _sweeps(calls: Sequence[Mapping[str, tuple[int, ...]]]) -> bool:
    """Whether an argument moves steadily: a number, a date, a page, an offset."""
    for key in calls[0]:
        series = [call.get(key, ()) for call in calls]
        if not all(series) or len({len(one) for one in series}) > 1:
            continue
        pairs = list(pairwise(series))
        if all(a < b for a, b in pairs) or all(a > b for a, b in pairs):
            return True
    return False
