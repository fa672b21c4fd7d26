"""The script for the example agent: the weather of three cities, one of them unknown."""

from __future__ import annotations

from dataclasses import dataclass

from .steps import Reply, ToolUse, Usage


@dataclass(frozen=True, slots=True)
class _Turn:
    """What the model says before it asks for tools, and what it will know after."""

    text: str
    tools: tuple[ToolUse, ...]
    learned: str


_TURNS = (
    _Turn(
        "I will look up both cities first.",
        (ToolUse("get_weather", {"city": "Paris"}), ToolUse("get_weather", {"city": "Oslo"})),
        "Paris has 18 °C and sun, Oslo -3 °C and snow.",
    ),
    _Turn(
        "Now the third city.",
        (ToolUse("get_weather", {"city": "Atlantis"}),),
        "The weather service does not know Atlantis.",
    ),
    _Turn(
        "Atlantis is unknown. I convert what I have.",
        (ToolUse("to_fahrenheit", {"celsius": 18}),),
        "18 °C is 64.4 °F.",
    ),
    _Turn("", (ToolUse("to_fahrenheit", {"celsius": -3}),), "-3 °C is 26.6 °F."),
)


def demo_script(steps: int = 4) -> list[Reply]:
    """The replies of one run: `steps` that ask for tools, then the final answer."""
    turns = [*_TURNS[:steps], *(_conversion(celsius) for celsius in range(steps - len(_TURNS)))]
    replies = [Reply(turn.text, tools=turn.tools, usage=_usage(at)) for at, turn in enumerate(turns)]
    answer = " ".join(turn.learned for turn in turns) or "I have not looked anything up."
    return [*replies, Reply(answer, usage=_usage(len(turns)))]


def _conversion(celsius: int) -> _Turn:
    learned = f"{celsius} °C is {celsius * 9 / 5 + 32:.1f} °F."
    return _Turn("", (ToolUse("to_fahrenheit", {"celsius": celsius}),), learned)


def _usage(at: int) -> Usage:
    """Tokens of reply number `at`: the prompt is written to the cache once and read from it later."""
    cached = 1200
    fresh = 60 + 90 * at
    written = {"cache_read": cached} if at else {"cache_write": cached}
    return Usage(input=fresh, output=45 + 5 * at, **written)
