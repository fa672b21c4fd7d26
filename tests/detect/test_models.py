"""What models take: the table by any gateway's names, what a person says, what errors taught; never a guess."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nexus_otel.detect import Limits, models_table
from nexus_otel.detect.models import shares_output, table

KNOWN = {
    "claude-sonnet-4-5": 200_000,
    "claude-sonnet-4-5-20250929": 200_000,
    "claude-opus-4-1": 200_000,
    "claude-sonnet-4-20250514": 200_000,
    "claude-3-5-sonnet-latest": 200_000,
    "claude-3-haiku-20240307": 200_000,
    "anthropic.claude-3-5-sonnet-20241022-v2:0": 200_000,
    "us.anthropic.claude-sonnet-4-5-20250929-v1:0": 200_000,
    "bedrock/us.anthropic.claude-sonnet-4-5-20250929-v1:0": 200_000,
    "arn:aws:bedrock:us-east-1:1:inference-profile/us.anthropic.claude-opus-4-1-20250805-v1:0": 200_000,
    "vertex_ai/claude-sonnet-4-5@20250929": 200_000,
    "openrouter/anthropic/claude-sonnet-4": 200_000,
    "anthropic/claude-3.7-sonnet:thinking": 200_000,
    "anthropic:claude-sonnet-4-5": 200_000,
    "gpt-4o": 128_000,
    "gpt-4o-2024-08-06": 128_000,
    "azure/gpt-4o-mini": 128_000,
    "openai/gpt-4.1-mini": 1_047_576,
    "gpt-4": 8_192,
    "gpt-4-32k-0613": 32_768,
    "gpt-4-turbo-2024-04-09": 128_000,
    "gpt-3.5-turbo": 16_385,
    "gpt-5": 272_000,
    "gpt-5-mini-2025-08-07": 272_000,
    "ft:gpt-4o-mini-2024-07-18:acme::abc": 128_000,
    "o1-preview": 128_000,
    "o3": 200_000,
    "o3-mini": 200_000,
    "o4-mini-2025-04-16": 200_000,
    "openai:o3": 200_000,
    "gemini-2.5-pro": 1_048_576,
    "gemini-1.5-pro-002": 2_097_152,
    "models/gemini-2.0-flash-001": 1_048_576,
    "gemini/gemini-2.5-flash": 1_048_576,
    "mistral/mistral-small-latest": 262_144,
    "groq/llama-3.3-70b-versatile": 131_072,
    "meta.llama3-70b-instruct-v1:0": 8_192,
    "deepseek/deepseek-reasoner": 131_072,
}
UNKNOWN = [
    "", "our-own-model", "gpt-4o-of-the-shop", "claude-sonnet-4-99", "gpt-5.99", "claude", "gpt", "latest", "2024-08-06",
    "o", "gemini-2.5", "claude-sonnet", "llama", "/", ":", "us.anthropic.", "x" * 5_000,
]  # fmt: skip


@pytest.mark.parametrize(("model", "tokens"), KNOWN.items())
def test_a_known_model(model, tokens):
    assert Limits().of(model) == tokens
    assert Limits().of(model.upper()) == tokens


@pytest.mark.parametrize("model", UNKNOWN)
def test_what_is_not_known_is_not_guessed(model):
    assert Limits().of(model) is None


def test_what_a_person_says_holds_before_all_else():
    limits = Limits({"gpt-4o": 1_000, "our-own": 5_000, "our-own-large": 9_000})
    limits.learn("gpt-4o", 2_000)
    assert [limits.of(name) for name in ("gpt-4o", "azure/gpt-4o-2024-08-06", "gpt-4o-mini")] == [1_000] * 3
    assert [limits.of(name) for name in ("our-own", "our-own-v2", "our-own-large:1", "our-owner")] == [
        5_000, 5_000, 9_000, None,
    ]  # fmt: skip


def test_what_an_error_taught_holds_before_the_table():
    limits = Limits()
    assert limits.of("gpt-4o") == 128_000
    limits.learn("gpt-4o", 64_000)
    assert (limits.of("gpt-4o"), Limits().of("gpt-4o")) == (64_000, 128_000)


def test_other_tables_are_asked_last():
    asked = []

    def elsewhere(model):
        asked.append(model)
        return 7_000

    limits = Limits(elsewhere=elsewhere)
    assert (limits.of("gpt-4o"), limits.of("our-own"), limits.of("our-own")) == (128_000, 7_000, 7_000)
    assert asked == ["our-own"]


def test_what_is_learnt_is_bounded():
    limits = Limits()
    for n in range(3_000):
        limits.learn(f"own-{n}", 1_000 + n)
        limits.of(f"own-{n}")
    assert limits.of("own-0") is None
    assert limits.of("own-2999") == 3_999
    assert len(limits._learnt) <= 1_000
    assert len(limits._found) <= 1_000


def test_windows_that_prompt_and_output_share():
    assert shares_output("azure/gpt-4o-2024-08-06")
    assert shares_output("us.anthropic.claude-sonnet-4-20250514-v1:0")
    assert not shares_output("claude-sonnet-4-5")
    assert not shares_output("gpt-5")


def test_the_table_is_small_and_says_what_it_was_made_from():
    text = Path(models_table.__file__).read_text("utf-8")
    assert len(text) < 45_000
    assert "docs/generate_models.py" in text
    assert "litellm 1." in text
    assert all(tokens >= 4_000 for tokens in table().values())


@given(st.text(max_size=60))
@settings(max_examples=200, deadline=None)
def test_no_name_raises(name):
    assert Limits({"a": 1}).of(name) is None or Limits({"a": 1}).of(name) > 0
