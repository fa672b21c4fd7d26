"""The example under `nexus-instrument`: it runs as it does bare, and its trace is there afterwards."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.e2e.kit import BIN, clean
from tests.fakes.otlp import spans_of_json

EXAMPLE = Path(__file__).parents[3] / "examples" / "langchain_agent.py"
TREE = ["invoke_agent weather", "chat claude-sonnet-5-5", "execute_tool get_weather", "execute_tool get_weather",
        "chat claude-sonnet-5-5"]  # fmt: skip


def run(home, *command):
    settings = {**clean(), "NEXUS_HOME": str(home), "NEXUS_SUMMARY": "never", "PYTHONWARNINGS": "ignore"}
    return subprocess.run([*map(str, command)], env=settings, capture_output=True, text=True, timeout=60)


@pytest.mark.parametrize("mode", ["async"])
def test_the_example_leaves_one_tree(tmp_path, mode):
    bare = run(tmp_path, sys.executable, EXAMPLE, "--mode", mode)
    done = run(tmp_path, BIN / "nexus-instrument", sys.executable, EXAMPLE, "--mode", mode)
    assert (done.returncode, done.stdout, done.stderr) == (0, bare.stdout, bare.stderr)
    exported = run(tmp_path, BIN / "nexus-otel", "export")
    spans = spans_of_json(exported.stdout)
    assert sorted(span.name for span in spans) == sorted(TREE)
    (root,) = [span for span in spans if not span.parent_id]
    assert root.name == TREE[0]
    assert {(span.trace_id, span.parent_id) for span in spans if span is not root} == {(root.trace_id, root.span_id)}
    assert {span.attributes["gen_ai.conversation.id"] for span in spans} == {"example"}
    failed = [span for span in spans if span.status == 2]
    assert [span.name for span in failed] == ["execute_tool get_weather"]
