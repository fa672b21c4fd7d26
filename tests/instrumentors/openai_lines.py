"""What the versions of OpenAI's SDK have, from which one on: all that the tests know of its lines."""

from __future__ import annotations

import importlib.metadata
from typing import Any

import pytest

from nexus_otel.engine.target import release
from tests.kit.cases import Lines

VERSION = importlib.metadata.version("openai")

SINCE = {
    "answer in the error": "1.55",
    "responses": "1.66",
    "parse": "1.92",
    "conversation": "1.109",
    "beta responses": "2.54",
    "connection errors in streams": "3.0",
}
"""`parse` and `stream` of chat completions are in `beta` before 1.92."""

_RESPONSES = (
    "responses", "responses-async", "responses-rich", "responses-stream", "responses-stream-async", "responses-helper",
    "responses-helper-async", "responses-parse", "responses-parse-async", "responses-raw", "responses-streaming",
    "responses-refused", "responses-retry", "responses-incomplete", "responses-loop", "responses-loop-items",
    "responses-loop-async", "responses-parallel", "responses-overflow",
)  # fmt: skip
_BETA = ("responses-beta", "responses-beta-stream-async")
LINES = Lines(since={**dict.fromkeys(_RESPONSES, SINCE["responses"]), **dict.fromkeys(_BETA, SINCE["beta responses"])})


def has(feature: str) -> bool:
    """Whether the version that is installed has a feature of the table above."""
    return release(SINCE[feature]) <= release(VERSION)


def needs(feature: str) -> Any:
    """Mark a test that is about a feature."""
    return pytest.mark.skipif(not has(feature), reason=f"{feature}: from {SINCE[feature]} on; this is {VERSION}")
