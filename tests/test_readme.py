"""What the README says is so: its tables are the code's, its commands and its Python run."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.fakes.demo import demo_script
from tests.fakes.provider import Provider

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text("utf-8")
SCRIPTS = Path(sys.executable).parent

AGENT = """
import runpy, sys
sys.argv = ["agent", "--question", "How warm is it?"]
runpy.run_path({example!r}, run_name="__main__")
"""


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


def commands() -> list[str]:
    lines = [line.partition("#")[0].strip() for block in blocks("sh") for line in block.splitlines()]
    return [line for line in lines if line.startswith(("nexus-", "opentelemetry-"))]


@pytest.fixture
def place(tmp_path):
    (tmp_path / "agent.py").write_text(AGENT.format(example=str(ROOT / "examples/anthropic_agent.py")))
    return tmp_path


@pytest.fixture
def environment(place):
    with Provider() as provider:
        provider.load(demo_script())
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("OTEL_", "NEXUS_"))}
        yield {
            **kept,
            "PATH": f"{SCRIPTS}{os.pathsep}{os.environ['PATH']}",
            "NEXUS_HOME": str(place / "home"),
            "ANTHROPIC_BASE_URL": provider.url,
            "ANTHROPIC_API_KEY": "none",
        }


def run(command, place, environment):
    return subprocess.run(
        command, shell=isinstance(command, str), cwd=place, env=environment, capture_output=True, text=True, timeout=60
    )  # fmt: skip


def test_the_tables_are_what_the_code_says():
    done = subprocess.run([sys.executable, "docs/generate.py", "--check"], cwd=ROOT, timeout=60)
    assert done.returncode == 0, "run: python docs/generate.py"


def test_there_are_commands_to_try():
    assert len(commands()) >= 6


@pytest.mark.parametrize("command", [c for c in dict.fromkeys(commands()) if "flush" not in c])
def test_a_command_runs(command, place, environment):
    first = run("nexus-instrument python agent.py", place, environment)
    assert first.returncode == 0, first.stderr
    with Provider() as again:
        again.load(demo_script())
        done = run(command, place, {**environment, "ANTHROPIC_BASE_URL": again.url})
    assert done.returncode == 0, done.stderr
    assert done.stdout


@pytest.mark.parametrize("code", blocks("python"))
def test_the_python_runs(code, place, environment):
    done = run([sys.executable, "-c", code + "\nimport agent\n"], place, environment)
    assert done.returncode == 0, done.stderr
    assert "Paris" in done.stdout


@pytest.mark.parametrize(
    "code", [code for code in blocks("python") if "nexus_otel.auto" in code or "nexus_otel.instrument(" in code]
)
def test_the_python_records(code, place, environment):
    done = run([sys.executable, "-c", code + "\nimport agent\n"], place, {**environment, "NEXUS_EXPORT": "local"})
    assert done.returncode == 0, done.stderr
    shown = run("nexus-otel show", place, environment)
    assert "execute_tool get_weather" in shown.stdout


def test_the_links_lead_somewhere():
    for link in re.findall(r"\]\(([^)#:]+)\)", README):
        assert (ROOT / link).exists(), link
