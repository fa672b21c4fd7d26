"""What model calls cost, by the price list of `genai-prices` where that is installed (extra `cost`)."""

from __future__ import annotations

from typing import Any, Final

from nexus_otel._guard import note_once
from nexus_otel.genai.operations import Usage

_PROVIDERS: Final = {
    "anthropic": "anthropic", "openai": "openai", "azure.ai.openai": "azure", "aws.bedrock": "aws",
    "gcp.gemini": "google", "gcp.gen_ai": "google", "gcp.vertex_ai": "google", "mistral_ai": "mistral",
    "x_ai": "x-ai", "deepseek": "deepseek", "groq": "groq", "cohere": "cohere", "perplexity": "perplexity",
}  # fmt: skip
"""Our names of providers and that package's (0.2.3)."""


def price_of(provider: str | None, model: str | None, usage: Usage) -> float | None:
    """Return what a model call cost in US dollars; None where that is not known, which is told once a model.

    Args:
        provider: By the conventions' name.
        model: As answered, else as asked for.
        usage: Its tokens.
    """
    if model is None or usage.input_tokens is None:
        return None
    try:
        import genai_prices
    except ImportError:
        note_once("prices", "nexus-otel: costs are not known: install nexus-otel[cost]")
        return None
    counted = genai_prices.Usage(
        input_tokens=usage.input_tokens,
        output_tokens=usage.output_tokens or 0,
        cache_read_tokens=usage.cache_read_tokens or 0,
        cache_write_tokens=usage.cache_write_tokens or 0,
    )
    try:
        found: Any = genai_prices.calc_price(counted, model, provider_id=_PROVIDERS.get(provider or ""))
    except (LookupError, ValueError):
        note_once(f"price of {model}", "nexus-otel: the price of %s is not known: its calls count as free", model)
        return None
    return float(found.total_price)
