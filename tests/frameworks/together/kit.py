"""What holds for each run, whatever is instrumented beneath: one tree, a span a call, the tokens that were sent."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import version
from typing import Any, Final

from nexus_otel.bootstrap.activate import INSTRUMENTORS
from nexus_otel.engine.target import release
from tests.fakes.provider import Provider, Step, Usage
from tests.kit.cases import loaded
from tests.kit.recording import Recording, values

ALL: Final = tuple(getattr(import_module(module), name) for module, name in INSTRUMENTORS.values())
NATIVE: Final = release(version("anthropic")) >= (1, 14)
"""Whether Anthropic's SDK makes spans of its own."""
USED: Final = Usage(input=30, output=9, cache_read=12), Usage(input=50, output=11, cache_read=20)
"""What the first and the second answer of a run cost."""


@dataclass(frozen=True, slots=True)
class Together:
    """Everything instrumented, and the provider beneath.

    Attributes:
        seen: What is recorded.
        provider: Plays the steps.
    """

    seen: Recording
    provider: Provider

    def plays(self, *steps: Step) -> tuple[str, str]:
        """Return the provider's URL and a key for which it plays the steps."""
        return self.provider.url, loaded(steps, self.provider)

    def is_one_tree(self, key: str, *lines: str, provider: str = "", totals: Iterable[str] = ()) -> None:
        """Hold that what was recorded is this tree, and that the tokens are those that the provider has sent.

        Args:
            key: Of the script that was played.
            lines: The names of the spans, indented.
            provider: Whom the model calls name.
            totals: The names of the runs that sum all of it.
        """
        assert self.seen.tree() == "\n".join(lines)
        chats = [values(span) for span in self.seen.all("chat")]
        requests = [request.path for request in self.provider.requests if request.key == key]
        assert len(chats) == len([path for path in requests if not path.endswith("count_tokens")])
        sent = self.provider.usage_sent(key)
        assert sent != (0, 0)
        assert _tokens(chats, "gen_ai") == sent
        assert {chat["gen_ai.provider.name"] for chat in chats} == {provider}
        assert {chat["server.address"] for chat in chats} == {"127.0.0.1"}
        for name in totals:
            assert _tokens([values(self.seen.one(name))], "nexus") == sent


def _tokens(spans: list[dict[str, Any]], namespace: str) -> tuple[int, int]:
    inputs, outputs = (
        sum(span.get(f"{namespace}.usage.{way}_tokens", 0) for span in spans) for way in ("input", "output")
    )
    return inputs, outputs
