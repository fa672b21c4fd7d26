"""The model, the collector and the worlds of the end-to-end tests."""

import pytest

from tests.e2e.kit import World
from tests.fakes.otlp import Receiver
from tests.fakes.provider import Provider


@pytest.fixture(scope="module")
def provider():
    with Provider() as running:
        yield running


@pytest.fixture
def receiver():
    with Receiver() as running:
        yield running


@pytest.fixture
def world(provider, tmp_path):
    return World.made(provider, tmp_path)


@pytest.fixture
def worlds(provider, tmp_path):
    """Makes further worlds."""
    return lambda steps=None: World.made(provider, tmp_path, steps)
