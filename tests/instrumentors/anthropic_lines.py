"""What the versions of the Anthropic SDK have, from which one on: all that the tests know of its lines."""

from __future__ import annotations

import importlib.metadata
from typing import Any

import pytest

from nexus_otel.engine.target import release
from tests.kit.cases import Lines

VERSION = importlib.metadata.version("anthropic")

SINCE = {
    "count": "0.41",
    "beta stream": "0.43",
    "thinking": "0.47",
    "tool runner": "0.68",
    "beta parse": "0.73",
    "parse": "0.77",
    "output format by type": "0.125",
    "output_config": "0.77",
    "warning of unknown tools": "0.77",
    "deprecated beta output_format": "0.77",
    "native spans": "1.14",
    "thread": "2.2",
}
UNTIL = {"prompt caching": "0.41", "httpx": "1.0", "sampling arguments": "1.0", "deprecated beta output_format": "1.0"}

_CASES = {
    "batch": "count",
    "batch-async": "count",
    "count": "count",
    "count-async": "count",
    "caching": "prompt caching",
    "caching-async": "prompt caching",
    "caching-stream": "prompt caching",
    "caching-helper": "prompt caching",
    "caching-helper-async": "prompt caching",
    "beta-helper": "beta stream",
    "beta-helper-async": "beta stream",
    "beta-parse": "beta parse",
    "parse": "parse",
    "parse-async": "parse",
    "helper-choice": "output format by type",
    "runner": "tool runner",
    "runner-async": "tool runner",
    "runner-stream": "tool runner",
    "runner-stream-async": "tool runner",
}
LINES = Lines(
    since={case: SINCE[feature] for case, feature in _CASES.items() if feature in SINCE},
    until={case: UNTIL[feature] for case, feature in _CASES.items() if feature in UNTIL},
)


def has(feature: str) -> bool:
    """Whether the version that is installed has a feature of the tables above."""
    since, until = SINCE.get(feature, ""), UNTIL.get(feature, "")
    return release(since) <= release(VERSION) and (not until or release(VERSION) < release(until))


def needs(feature: str) -> Any:
    """Mark a test that is about a feature."""
    when = f"before {UNTIL[feature]}" if feature not in SINCE else f"from {SINCE[feature]} on"
    return pytest.mark.skipif(not has(feature), reason=f"{feature}: {when}; this is {VERSION}")
