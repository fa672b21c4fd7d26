"""The detectors as the settings want them, and how long steps usually take, kept in a file between processes."""

from __future__ import annotations

import json
import os
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from nexus_otel import config
from nexus_otel._guard import note_once, quietly
from nexus_otel._private import make_private
from nexus_otel.config import Settings
from nexus_otel.detect.baselines import Baselines
from nexus_otel.detect.models import Limits
from nexus_otel.detect.thresholds import Thresholds, changed, folded

FILE: Final = "baselines.json"
_LONGEST: Final = 8 << 20
"""Bytes of a file that is read: many times what is ever written."""


def thresholds(settings: Settings) -> Thresholds:
    """Return the thresholds, with the numbers that a person changed and the names that one has added."""
    given, wrong = changed(dict(settings.thresholds))
    for line in wrong:
        note_once(line, "nexus-otel: %s (docs/findings.md)", line)
    return replace(
        given,
        note_tools=given.note_tools | {folded(name) for name in settings.note_tools},
        slow_ok=frozenset(folded(name) for name in settings.slow_ok),
    )


def limits(settings: Settings) -> Limits:
    """Return what models take: what a person says first, litellm's list last, where the application uses it."""
    return Limits(dict(settings.context_limits), _of_litellm)


def _of_litellm(model: str) -> int | None:
    listed = getattr(sys.modules.get("litellm"), "model_cost", None)
    tokens = quietly(lambda: listed[model]["max_input_tokens"]) if isinstance(listed, dict) else None
    return tokens if isinstance(tokens, int) and tokens > 0 else None


def stored(folder: Path | None = None) -> Any:
    """Return what earlier processes kept, for `Baselines`; None where there is nothing that can be read.

    Args:
        folder: The folder of the local store if not given.
    """
    try:
        with ((folder or config.home()) / FILE).open("rb") as file:
            text = file.read(_LONGEST + 1)
        return json.loads(text) if len(text) <= _LONGEST else None
    except (OSError, ValueError, RecursionError):
        return None


def store(new: dict[str, Any]) -> None:
    """Add durations to those that are kept: the file is read again, for other processes write it too.

    Args:
        new: Values by key, as `Baselines.take_new` gives them.

    Raises:
        OSError: The file cannot be written.
    """
    folder = config.home()
    make_private(folder)
    kept = Baselines(stored(folder))
    kept.append(new)
    descriptor, name = tempfile.mkstemp(dir=folder, prefix=f".{FILE}.")  # for this user alone
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            json.dump(kept.as_json(), file, separators=(",", ":"))
        Path(name).replace(folder / FILE)
    except BaseException:
        Path(name).unlink()
        raise
