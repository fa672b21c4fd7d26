"""The clients of other platforms: the same resources, another provider, requests in another form."""

from __future__ import annotations

import importlib
import json
from typing import Any

import anthropic
import pytest

from nexus_otel.instrumentors.anthropic import AnthropicInstrumentor
from tests.instrumentors.anthropic_cases import ASK
from tests.instrumentors.anthropic_lines import has
from tests.kit.conventions import violations
from tests.kit.recording import instrumented, values

AWS = {"aws_access_key": "a", "aws_secret_key": "s", "aws_region": "eu-central-1"}
GOOGLE = {"project": "p", "location": "global", "workspace_id": "w", "token_provider": lambda: "token"}


async def token() -> str:
    return "token"


PLATFORMS: dict[str, tuple[str, dict[str, Any]]] = {
    "AnthropicBedrock": ("aws.bedrock", AWS),
    "AnthropicBedrockMantle": ("aws.bedrock", {"api_key": "k", "aws_region": "eu-central-1"}),
    "AnthropicVertex": ("gcp.vertex_ai", {"region": "global", "project_id": "p", "access_token": "t"}),
    "AnthropicFoundry": ("anthropic", {"api_key": "k"}),
    "AnthropicAWS": ("anthropic", {**AWS, "workspace_id": "w"}),
    "AnthropicGoogleCloud": ("anthropic", GOOGLE),
}
MESSAGE = {
    "id": "msg_1", "type": "message", "role": "assistant", "model": "claude-test", "stop_reason": "end_turn",
    "stop_sequence": None, "content": [{"type": "text", "text": "A bird."}],
    "usage": {"input_tokens": 7, "output_tokens": 3},
}  # fmt: skip


def http() -> Any:
    """Return the HTTP library of the SDK that is installed."""
    return importlib.import_module("httpx" if has("httpx") else "httpx2")


def answered(request: Any) -> Any:
    return http().Response(200, content=json.dumps(MESSAGE), headers={"content-type": "application/json"})


def made(name: str, options: dict[str, Any], url: str) -> Any:
    kind = getattr(anthropic, name, None)
    if kind is None:
        pytest.skip(f"{name} is not in anthropic {anthropic.__version__}")
    if options.keys() >= AWS.keys():
        pytest.importorskip("botocore", reason="requests are signed by the extra `bedrock`")
    asynchronous = name.startswith("Async")
    http_client = (http().AsyncClient if asynchronous else http().Client)(transport=http().MockTransport(answered))
    return kind(base_url=url, http_client=http_client, **options)


@pytest.mark.parametrize("platform", PLATFORMS)
def test_a_call_says_who_answers_and_where(platform):
    provider, options = PLATFORMS[platform]
    client = made(platform, options, "https://models.example:8443/v1")
    with instrumented(AnthropicInstrumentor) as seen, client:
        client.messages.create(**ASK)
    attributes = values(seen.one())
    assert attributes["gen_ai.provider.name"] == provider
    assert (attributes["server.address"], attributes["server.port"]) == ("models.example", 8443)
    assert attributes["gen_ai.usage.input_tokens"] == 7
    assert violations(seen.one()) == []


@pytest.mark.parametrize("platform", PLATFORMS)
async def test_an_async_call_says_so_too(platform):
    provider, options = PLATFORMS[platform]
    options = {**options, "token_provider": token} if "token_provider" in options else options
    client = made(f"Async{platform}", options, "https://models.example/v1")
    with instrumented(AnthropicInstrumentor) as seen:
        async with client:
            await client.messages.create(**ASK)
    attributes = values(seen.one())
    assert attributes["gen_ai.provider.name"] == provider
    assert (attributes["server.address"], attributes["server.port"]) == ("models.example", 443)


@pytest.mark.parametrize("platform", PLATFORMS)
def test_the_sdk_calls_the_provider_the_same(platform):
    client = made(platform, PLATFORMS[platform][1], "https://models.example/v1")
    assert getattr(client, "_gen_ai_provider_name", PLATFORMS[platform][0]) == PLATFORMS[platform][0]


COPIES = ("AnthropicBedrock", "AnthropicVertex")
"""Their beta messages are classes of their own, which take the methods of the first party over."""


def beta_of(client: Any) -> type:
    return type(client.beta.messages)


@pytest.mark.parametrize("platform", COPIES)
def test_what_other_classes_took_over_is_recorded_and_comes_back(platform):
    client = made(platform, PLATFORMS[platform][1], "https://models.example/v1")
    before = dict(vars(beta_of(client)))
    for _ in range(2):
        with instrumented(AnthropicInstrumentor) as seen:
            client.beta.messages.create(**ASK)
        assert [span.name for span in seen.spans] == ["chat claude-test"]
        assert [name for name, value in vars(beta_of(client)).items() if value is not before[name]] == []
