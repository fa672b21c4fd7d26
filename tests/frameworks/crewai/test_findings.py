"""Agents that fail in each way, run as a person runs them."""

from tests.findings.failing import Framework
from tests.findings.suite import *  # noqa: F403
from tests.frameworks.crewai.crewai_cases import NATIVE, asks, says

FRAMEWORK = Framework(
    "on_crewai.py",
    asks=lambda tool, given, usage: asks(tool, usage, **given),
    says=lambda usage: [says("It is done.", usage)],
    # before 1.9 it answers equal calls itself, with a reminder that is now this and now that
    missing=frozenset() if NATIVE else frozenset({"loop", "cycle"}),
)
