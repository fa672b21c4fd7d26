"""Every framework and SDK at once, in one environment; the SDKs' own tracing is on, for there is a global provider."""

import gc
import os
import sys
import warnings

import pytest
from opentelemetry import trace

os.environ |= {
    "LITELLM_LOCAL_MODEL_COST_MAP": "True",  # LiteLLM fetches its prices at import otherwise
    "CREWAI_DISABLE_TELEMETRY": "true",
    "CREWAI_TRACING_ENABLED": "false",
}

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # what the frameworks say of one another as they are imported
    import crewai
    import dspy
    import langchain_anthropic
    import langchain_openai
    import langgraph.prebuilt
    import litellm
    import llama_index.llms.openai

pytest.register_assert_rewrite("tests.frameworks.together.kit")

from tests.frameworks.together.kit import ALL, Together  # noqa: E402 - after its assertions are rewritten
from tests.kit.conventions import violations  # noqa: E402
from tests.kit.recording import Recording, instrumented, trace_id  # noqa: E402

IMPORTED = (crewai, dspy, langchain_anthropic, langchain_openai, langgraph, litellm, llama_index)


@pytest.fixture
def together(provider, monkeypatch, tmp_path):
    """Give the provider with everything instrumented; afterwards each span is as the conventions ask."""
    monkeypatch.setenv("CREWAI_STORAGE_DIR", str(tmp_path))
    application = Recording()
    monkeypatch.setattr(trace, "_TRACER_PROVIDER", application.tracer_provider)
    with instrumented(*ALL, into=application) as seen:
        yield Together(seen, provider)
    assert [problem for span in seen.spans for problem in violations(span)] == []
    assert len({trace_id(span) for span in seen.spans}) == 1


CACHES = (
    "langchain_anthropic._client_utils",
    "langchain_openai.chat_models._client_utils",
)
"""Modules that keep clients for good: among event loops they are of no use."""


@pytest.fixture(autouse=True)
def no_client_is_left():
    """Let go of the clients that the frameworks keep, and never close."""
    yield
    for name in CACHES:
        for each in list(vars(sys.modules[name]).values()):
            if hasattr(each, "cache_clear"):
                each.cache_clear()
    litellm.in_memory_llm_clients_cache.flush_cache()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        gc.collect()


def pytest_collection_modifyitems(items):
    """Let the frameworks deprecate one another, and leave their clients open."""
    for item in items:
        if "frameworks/together" in item.nodeid:
            item.add_marker(pytest.mark.filterwarnings("ignore"), append=False)
