"""What a loop cost, where the price of its model is known."""

import pytest

from nexus_otel.cli.findings import _add_cost
from nexus_otel.detect.model import Finding


def finding(**data):
    return Finding("loop", "warning", "round and round", "a" * 32, "b" * 16, data=data, count=102)


def test_a_loop_on_a_model_with_a_price_has_a_cost():
    pytest.importorskip("genai_prices")
    one = finding(tokens=1_100_000, output_tokens=100_000, model="claude-sonnet-4-5", provider="anthropic")
    _add_cost(one)
    assert one.data["cost_usd"] == pytest.approx(1_000_000 * 3e-6 + 100_000 * 15e-6)


@pytest.mark.parametrize(
    "data", [{}, {"tokens": 5, "output_tokens": 1}, {"tokens": 5, "output_tokens": 1, "model": "nobody-s-model"},
             {"tokens": "5", "output_tokens": 1, "model": "claude-sonnet-4-5"}],
)  # fmt: skip
def test_no_cost_is_guessed(data):
    one = finding(**data)
    _add_cost(one)
    assert "cost_usd" not in one.data
