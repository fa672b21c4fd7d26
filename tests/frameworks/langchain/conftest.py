import ssl
import warnings
from collections.abc import Iterator
from unittest import mock

import pytest

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # what the frameworks say of one another as they are imported
    import langchain_anthropic
    import langgraph.prebuilt


@pytest.fixture(scope="session", autouse=True)
def one_tls_context() -> Iterator[None]:
    """Let all HTTP clients share a context for TLS: a model makes two, which takes longer than its call."""
    made = ssl.create_default_context()
    with mock.patch.object(ssl, "create_default_context", return_value=made):
        yield


@pytest.fixture(autouse=True)
def the_sdk_beneath_traces_nothing(no_foreign_settings: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where Anthropic's SDK is not instrumented, it would send the id of our trace along."""
    monkeypatch.setenv("ANTHROPIC_OPEN_TELEMETRY", "false")


__all__ = ["langchain_anthropic", "langgraph"]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let the frameworks deprecate what the oldest and the newest version have in common."""
    for item in items:
        if "frameworks/langchain" in item.nodeid:
            for category in ("DeprecationWarning", "PendingDeprecationWarning", "UserWarning"):
                item.add_marker(pytest.mark.filterwarnings(f"ignore::{category}:langgraph"), append=False)
            item.add_marker(pytest.mark.filterwarnings("ignore:.*create_react_agent.*"), append=False)
