"""Agents in loops that people wrote, on Anthropic's SDK, that fail in each way."""

from tests.findings.failing import FAILING, Failing, Framework
from tests.findings.suite import *  # noqa: F403

SLOW = Failing(FAILING["slow_tool"].script, {"latency_spike": "info"}, FAILING["slow_tool"].at)
"""Nobody watched the tool: a person may have sat in between."""
FRAMEWORK = Framework("on_anthropic.py", other={"slow_tool": SLOW})
