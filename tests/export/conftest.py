from __future__ import annotations

from pathlib import Path

import pytest

from nexus_otel import _guard
from nexus_otel.export import writer
from nexus_otel.genai.content import beside


@pytest.fixture(autouse=True)
def our_failures_raise(monkeypatch, tmp_path):
    """A failure of ours fails the test; nothing is shared between tests."""
    monkeypatch.setattr(_guard, "raise_failures", True)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "temporary"))
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr(writer, "SLOW_S", 60)  # a busy machine is no slow disk
    _guard.failures.clear()
    yield
    beside.wanted = False


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "state" / "nexus"
