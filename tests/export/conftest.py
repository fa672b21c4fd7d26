from __future__ import annotations

from pathlib import Path

import pytest

from nexus_otel import _guard
from nexus_otel.config import Settings
from nexus_otel.export import pace
from nexus_otel.export import shipper as shipper_module
from nexus_otel.export.sender import Sender
from nexus_otel.export.spool import Spool
from nexus_otel.genai.content import beside
from tests.export.kit import provider_of
from tests.fakes.otlp import Receiver


@pytest.fixture(autouse=True)
def our_failures_raise(monkeypatch, tmp_path):
    """A failure of ours fails the test; nothing is shared between tests."""
    monkeypatch.setattr(_guard, "raise_failures", True)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "temporary"))
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr(pace, "SLOW_S", 60)  # a busy machine is no slow disk
    _guard.failures.clear()
    yield
    beside.wanted = False


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "state" / "nexus"


@pytest.fixture
def receiver():
    with Receiver() as running:
        yield running


@pytest.fixture
def address(receiver):
    return receiver.listen_grpc()


@pytest.fixture
def pipeline(home):
    """Build (sender, tracer) on a home; everything is stopped afterwards."""
    senders = []

    def build(*destinations, **settings):
        spool = Spool.open(home, destinations, resource={"service.name": "agent"}, settings=Settings(**settings))
        senders.append(Sender(spool, destinations, Settings(**settings)))
        return senders[-1], provider_of(spool).get_tracer("maker", "1.2")

    yield build
    for sender in senders:
        sender.stop(2)


@pytest.fixture
def fast(monkeypatch):
    monkeypatch.setattr(shipper_module, "LONGEST_WAIT_S", 0.05)
    monkeypatch.setattr(shipper_module, "REFUSED_WAIT_S", 0.1)
