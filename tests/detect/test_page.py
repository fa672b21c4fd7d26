"""What docs/findings.md says is so."""

from __future__ import annotations

import re
from dataclasses import fields
from pathlib import Path

import nexus_otel
from nexus_otel.cli.app import commands
from nexus_otel.config import settings_table
from nexus_otel.detect.model import LEVELS, MODES
from nexus_otel.detect.thresholds import Thresholds

PAGE = (Path(__file__).parents[2] / "docs" / "findings.md").read_text("utf-8")


def test_it_has_every_mode_and_level():
    rows = re.findall(r"^\| `(\w+)` \| [A-Z]", PAGE, re.MULTILINE)
    assert sorted(rows) == sorted(MODES)
    assert all(f"`{level}`" in PAGE for level in LEVELS)


def test_it_has_every_threshold_with_its_default():
    rows = dict(re.findall(r"^\| `(\w+)` \| ([\d./]+) \| ", PAGE, re.MULTILINE))
    default = Thresholds()
    numbers = [one.name for one in fields(default) if not isinstance(getattr(default, one.name), frozenset)]
    assert sorted(rows) == sorted(numbers)
    for name, text in rows.items():
        values = tuple(float(value) for value in text.split("/"))
        usual = getattr(default, name)
        assert values == (usual if isinstance(usual, tuple) else (usual,))


def test_its_names_exist():
    variables = {one.metadata["variable"] for one in settings_table()}
    assert set(re.findall(r"NEXUS_[A-Z_]+", PAGE)) <= variables
    for name in re.findall(r"nexus_otel\.(\w+)\(", PAGE):
        assert hasattr(nexus_otel, name), name
    for name in re.findall(r"`([A-Z]\w+(?:Exceeded|Detected|Error))`", PAGE):
        assert issubclass(getattr(nexus_otel, name), nexus_otel.AgentGuardError), name
    for name in re.findall(
        r"^nexus-otel (\w+)", "\n".join(re.findall(r"```sh\n(.*?)```", PAGE, re.DOTALL)), re.MULTILINE
    ):
        assert name in commands.commands
        options = {option for one in commands.commands[name].params for option in one.opts}
        said = re.findall(rf"nexus-otel {name} [^#\n]*", PAGE)
        assert {option for line in said for option in re.findall(r"--[\w-]+", line)} <= options


def test_its_python_runs():
    for block in re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL):
        compile(block, "findings.md", "exec")
