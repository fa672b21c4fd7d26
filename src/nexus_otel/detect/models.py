"""How many tokens models take: what a person says, what errors taught, a table made at release; never a guess."""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache
from typing import Final

from nexus_otel.detect.models_table import LISTED

_MOST: Final = 1_000
_JOINTS: Final = re.compile(r"[.@:_]+")
_VENDOR: Final = re.compile(r"[a-z_-]+[.:](?!v\d)(?=[a-z]\w)")
_FINE_TUNED: Final = re.compile(r"^ft:([^:]+):.*$")
_SAME_MODEL: Final = re.compile(
    r"-(?:\d{8}|\d{6}|\d{4}-\d{2}-\d{2}|\d{2}-\d{2}|\d{2}-\d{4}|(?:0\d|1[0-2]|2[3-9])\d\d|00\d|v\d(?:-\d)?"
    r"|latest|stable|preview|exp|experimental|beta|free|nitro|floor|online|maas|instruct|chat|it|thinking"
    r"|fp8|fp16|bf16|awq|gptq|int4|int8)$"
)
"""The last words of a name that leave the model what it is: dates, versions, how it is served or was trained on."""
_SHARED: Final = frozenset(
    {
        "gpt-3-5-turbo", "gpt-3-5-turbo-0613", "gpt-4", "gpt-4-32k", "gpt-4-turbo", "gpt-4o", "gpt-4o-mini",
        "claude-3-7-sonnet", "claude-sonnet-4", "claude-sonnet-4-0", "claude-opus-4", "claude-opus-4-0",
        "claude-opus-4-1",
    }
)  # fmt: skip
"""Models that refuse a prompt which, with the output asked for, is over the window.

OpenAI: "you requested X tokens (Y in the messages, Z in the completion)"; Anthropic from Sonnet 3.7 to Opus 4.1: "input
length and `max_tokens` exceed context limit". Later ones stop with a reason of their own instead.
"""


class Limits:
    """The limits of models, in input tokens.

    Args:
        given: What a person says, by a model's name or the beginning of one; it holds before all else.
        elsewhere: Asked for models that are in no table of ours, by the name as it was asked for.
    """

    def __init__(
        self, given: Mapping[str, int] | None = None, elsewhere: Callable[[str], int | None] | None = None
    ) -> None:
        self._given = {_folded(name): tokens for name, tokens in (given or {}).items()}
        self._elsewhere = elsewhere
        self._learnt: OrderedDict[str, int] = OrderedDict()
        self._found: dict[str, int | None] = {}

    def of(self, model: str) -> int | None:
        """Return the limit of a model; None where it is not known.

        Args:
            model: As asked for or as answered, a gateway's prefixes (`bedrock/us.anthropic.claude-...`) included.
        """
        if model not in self._found:
            if len(self._found) >= _MOST:
                self._found.clear()
            self._found[model] = self._looked_up(model)
        return self._found[model]

    def said(self, model: str) -> bool:
        """Whether a person said what a model takes."""
        return self._said(model) is not None

    def learn(self, model: str, tokens: int) -> None:
        """Take the limit that an error gave."""
        if model and tokens > 0:
            self._learnt[model] = tokens
            self._found.pop(model, None)
            if len(self._learnt) > _MOST:
                self._learnt.popitem(last=False)

    def _looked_up(self, model: str) -> int | None:
        if (said := self._said(model)) is not None:
            return said
        if model in self._learnt:
            return self._learnt[model]
        found = listed(model, table())
        return self._elsewhere(model) if found is None and self._elsewhere is not None and model else found

    def _said(self, model: str) -> int | None:
        found = (_begun(self._given, name) for name in spellings(model)) if self._given else ()
        return next((tokens for tokens in found if tokens is not None), None)


@lru_cache(1)
def table() -> dict[str, int]:
    """Return the limits by name, as `spellings` has names."""
    return {name: tokens for tokens, names in LISTED.items() for name in names.split()}


def listed(model: str, limits: Mapping[str, int]) -> int | None:
    """Return what a table says of a model, by the whole of its name, else without the words that only date it."""
    names = list(spellings(model))
    later = (one for name in names for one in _undated(name))
    return next((limits[name] for name in (*names, *later) if name in limits), None)


@lru_cache(_MOST)
def shares_output(model: str) -> bool:
    """Whether the output that is asked for is taken from what the prompt may have."""
    return any(one in _SHARED for name in spellings(model) for one in _undated(name))


def spellings(model: str) -> Iterator[str]:
    """Give the names that a model may be known by, the whole one first: without gateways, regions and vendors."""
    lower = _FINE_TUNED.sub(r"\1", model.strip().lower())
    parts = lower.split("/")
    yield from (_folded("/".join(parts[at:])) for at in range(len(parts)))
    name = parts[-1]
    while (vendor := _VENDOR.match(name)) is not None:
        name = name[vendor.end() :]
        yield _folded(_FINE_TUNED.sub(r"\1", name))


def _folded(name: str) -> str:
    """Return a name with one kind of joint: `claude-sonnet-4.5` and `claude-sonnet-4-5` are one."""
    return _JOINTS.sub("-", name.strip().lower()).strip("-")


def _undated(name: str) -> Iterator[str]:
    yield name
    while (last := _SAME_MODEL.search(name)) is not None:
        name = name[: last.start()]
        yield name


def _begun(limits: Mapping[str, int], name: str) -> int | None:
    """Return what the longest beginning of a name has, at the end of one of its words."""
    found = [one for one in limits if name == one or (one and name.startswith(one) and name[len(one)] in "-/")]
    return limits[max(found, key=len)] if found else None
