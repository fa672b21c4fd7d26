"""Writes the table of what models take, `nexus_otel/detect/models_table.py`, from the model list of litellm.

pip install --no-deps litellm && python docs/generate_models.py     (in an environment of its own, with nexus-otel)

A name is written without gateway, region and vendor. Where sources differ, the maker's own name decides, else what most
say, else the largest; a gateway that differs by more than a quarter is listed with its name. Names that only add a date
or a version to another one of the same limit are left out, as `nexus_otel.detect.models` reads them. What the table
had before stays: models are used longer than lists keep them.
"""

from __future__ import annotations

import json
import textwrap
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from importlib import metadata
from pathlib import Path

from nexus_otel.detect.models import listed, spellings, table

TARGET = Path(__file__).resolve().parent.parent / "src/nexus_otel/detect/models_table.py"
SOURCE = "litellm/model_prices_and_context_window_backup.json"
MODES = frozenset({"chat", "completion", "responses"})
LEAST = 4_000
"""What takes less is no model for agents: guards, filters, the first of their kind."""
CLOSE = (0.75, 1.34)
RETIRED = {
    "claude-2": 100_000, "claude-2-0": 100_000, "claude-2-1": 200_000, "claude-3-haiku": 200_000,
    "claude-3-sonnet": 200_000, "claude-3-opus": 200_000, "claude-3-5-sonnet": 200_000, "claude-3-5-haiku": 200_000,
    "claude-3-7-sonnet": 200_000, "claude-sonnet-4": 200_000, "claude-sonnet-4-0": 200_000, "claude-opus-4": 200_000,
    "claude-opus-4-0": 200_000, "claude-opus-4-1": 200_000, "gpt-4-32k": 32_768, "gpt-4-1106": 128_000,
    "gpt-4-0125": 128_000, "gpt-4-vision": 128_000, "gpt-4-5-preview": 128_000, "chatgpt-4o": 128_000,
    "o1-preview": 128_000, "o1-mini": 128_000, "gemini-1-0-pro": 30_720, "gemini-1-5-flash": 1_048_576,
    "gemini-1-5-flash-8b": 1_048_576, "gemini-1-5-pro": 2_097_152, "gemini-2-0-flash": 1_048_576,
    "gemini-2-0-flash-lite": 1_048_576,
}  # fmt: skip
"""Models that lists have dropped: the makers' pages of deprecated models."""
HEAD = '''"""What models take, in input tokens: made by `docs/generate_models.py` from {source}, not by hand."""

from __future__ import annotations

from typing import Final

LISTED: Final[dict[int, str]] = {{
{rows}
}}
"""Names by limit: without gateways and vendors, `-` for every joint."""
'''


def read(text: str) -> dict[str, int]:
    """Return the limits of the models that talk, as litellm names them."""
    models = {name: about for name, about in json.loads(text).items() if about.get("mode") in MODES}
    limits = {name: about.get("max_input_tokens") for name, about in models.items()}
    return {name: int(tokens) for name, tokens in limits.items() if isinstance(tokens, int | float) and tokens >= LEAST}


def collapsed(limits: Mapping[str, int], before: Mapping[str, int]) -> dict[str, int]:
    """Return the fewest names that give each model its limit."""
    told: dict[str, list[tuple[str, int]]] = defaultdict(list)
    for model, tokens in limits.items():
        told[list(spellings(model))[-1]].append((model, tokens))
    names = dict(before) | {name: chosen(name, each) for name, each in told.items()} | RETIRED
    kept = _undoubled(names)
    while apart := _apart(limits, kept):
        kept |= apart
    return kept


def _apart(limits: Mapping[str, int], kept: Mapping[str, int]) -> dict[str, int]:
    """Return the models of a gateway, by its name and theirs, that take far more or less than the table says."""
    return {
        next(spellings(model)): tokens
        for model, tokens in limits.items()
        if not CLOSE[0] < tokens / (listed(model, kept) or tokens) < CLOSE[1] and next(spellings(model)) not in kept
    }


def chosen(name: str, told: Iterable[tuple[str, int]]) -> int:
    """Return the limit of a name of which several may be told."""
    own = [tokens for model, tokens in told if next(spellings(model)) == name]
    counts = Counter(own or [tokens for _model, tokens in told])
    return max(counts, key=lambda tokens: (counts[tokens], tokens))


def _undoubled(names: Mapping[str, int]) -> dict[str, int]:
    kept: dict[str, int] = {}
    for name in sorted(names, key=lambda name: (len(name), name)):
        if listed(name, kept) != names[name]:
            kept[name] = names[name]
    return kept


def written(names: Mapping[str, int], source: str) -> str:
    """Return the module."""
    by_limit: dict[int, list[str]] = defaultdict(list)
    for name, tokens in names.items():
        by_limit[tokens].append(name)
    rows = []
    for tokens in sorted(by_limit):
        lines = textwrap.wrap(" ".join(sorted(by_limit[tokens])), 108, break_on_hyphens=False)
        text = "\n".join(f'        "{line} "' for line in lines)
        rows.append(f"    {tokens}: (\n{text}\n    )," if len(lines) > 1 else f'    {tokens}: "{lines[0]}",')
    return HEAD.format(source=source, rows="\n".join(rows))


def main() -> None:
    """Write the table."""
    (path,) = [file for file in metadata.files("litellm") or () if str(file) == SOURCE]
    limits = read(path.read_text("utf-8"))
    names = collapsed(limits, table())
    TARGET.write_text(written(names, f"litellm {metadata.version('litellm')}"), "utf-8")


if __name__ == "__main__":
    main()
