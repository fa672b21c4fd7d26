"""Fixtures of every test that runs the engine: our failures surface, OpenTelemetry stays silent, nothing is left."""

from __future__ import annotations

import gc
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Self
from unittest import mock

import hypothesis
import pytest

from nexus_otel import _guard, config
from nexus_otel._environ import variables
from nexus_otel.engine.driver import runs
from nexus_otel.genai.content import beside
from tests.fakes.provider import Provider

# a busy machine is no finding, and no test leaves a file behind
hypothesis.settings.register_profile("kit", deadline=None, database=None)
hypothesis.settings.load_profile("kit")


class Kept(logging.Handler):
    """Keeps the records of a logger.

    Args:
        name: The logger's.
        level: The lowest level that is kept.
    """

    def __init__(self, name: str, level: int = logging.WARNING) -> None:
        super().__init__(level)
        self.records: list[logging.LogRecord] = []
        self._logger = logging.getLogger(name)

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)

    @property
    def lines(self) -> list[str]:
        """What was logged, with tracebacks as they would be printed."""
        form = logging.Formatter("%(name)s %(message)s")
        return [form.format(record) for record in self.records]

    def __enter__(self) -> Self:
        self._logger.addHandler(self)
        return self

    def __exit__(self, *_: object) -> None:
        self._logger.removeHandler(self)


@contextmanager
def failures_allowed() -> Iterator[None]:
    """Let failures of ours be swallowed, as for a user, where a test makes them on purpose."""
    _guard.failures.clear()
    with mock.patch.object(_guard, "raise_failures", False):
        yield
    _guard.failures.clear()


@pytest.fixture(scope="session")
def running_provider() -> Iterator[Provider]:
    """Run one scripted provider for the whole session."""
    gc.collect()
    with Provider() as running:
        yield running


@pytest.fixture
def provider(running_provider: Provider) -> Iterator[Provider]:
    """Give the provider; each call has a key and a script of its own, and all of them are forgotten afterwards."""
    gc.freeze()  # what is there already: a test that asks for a collection need not go through it
    yield running_provider
    running_provider._requests.clear()
    running_provider._scripts = {"": running_provider._scripts[""]}


@pytest.fixture(autouse=True)
def our_failures_surface(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let a failure of ours fail the test, whatever the caller would have seen."""
    monkeypatch.setattr(_guard, "raise_failures", True)
    _guard.failures.clear()
    yield
    assert _guard.failures == {}
    _guard.failures.clear()


@pytest.fixture(autouse=True)
def opentelemetry_is_silent() -> Iterator[Kept]:
    """Fail where OpenTelemetry logged a warning: a context detached elsewhere, an attribute of no valid type."""
    with Kept("opentelemetry") as kept:
        yield kept
        gc.collect(0)
    assert kept.lines == []


@pytest.fixture(autouse=True)
def no_foreign_settings(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Run without the variables of whoever started the tests, and leave no run and no setting behind."""
    for name in list(variables()):
        if name.startswith(("OTEL_", "NEXUS_", "ANTHROPIC_", "OPENAI_")):
            monkeypatch.delenv(name)
    yield
    runs.close_all()
    runs._table = type(runs._table)()  # finished runs are remembered too
    beside.wanted = False
    config.use(None)
