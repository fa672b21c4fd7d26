"""Agents that fail in each way, run as a person runs them."""

from tests.findings.failing import Framework
from tests.findings.suite import *  # noqa: F403

FRAMEWORK = Framework("on_langchain.py")
