"""What the end-to-end and fault tests share: programs run as a person runs them, and what they left behind."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.fakes.otlp import Span, spans_of_json
from tests.fakes.provider import Provider, Recorded, Reply, Step, ToolUse

HERE = Path(__file__).resolve().parent
BIN = Path(sys.executable).parent
EXAMPLE = HERE.parents[1] / "examples" / "anthropic_agent.py"
OPENAI_EXAMPLE = EXAMPLE.with_name("openai_agent.py")
LAUNCHER = str(BIN / "nexus-instrument")
OTEL_LAUNCHER = str(BIN / "opentelemetry-instrument")
COMMAND = str(BIN / "nexus-otel")
PYTHON = sys.executable
SPAN_ONLY = {"OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT": "SPAN_ONLY"}
_FOREIGN = (
    "NEXUS_",
    "_NEXUS_",
    "OTEL_",
    "PYTHON",
    "COV",
    "ANTHROPIC_",
    "OPENAI_",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "ALL_PROXY",
)

ERROR = 2
"""The status of a failed span in OTLP."""

_numbers = itertools.count(1)


def two_steps(tool: str = "look", **arguments: Any) -> list[Step]:
    """A model that asks for one tool, then answers."""
    return [Reply(tools=[ToolUse(tool, arguments or {"key": "a"})]), Reply("done")]


@dataclass(frozen=True)
class Done:
    """A program that has ended."""

    code: int
    out: str
    err: str
    seconds: float


def clean() -> dict[str, str]:
    """The environment without anything that changes tracing."""
    inherited = os.environ.items()
    kept = {name: value for name, value in inherited if not name.upper().startswith(_FOREIGN)}
    return {**kept, "PATH": os.pathsep.join([str(BIN), kept.get("PATH", os.defpath)])}


def finish(process: subprocess.Popen[str], started: float, timeout_s: float = 60, given: str | None = None) -> Done:
    """Wait for a program."""
    try:
        out, err = process.communicate(given, timeout=timeout_s)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
        raise
    return Done(process.returncode, out or "", err or "", time.monotonic() - started)


def together(*jobs: Callable[[], Any]) -> list[Any]:
    """Do all of it, a few at a time, and return the results in order."""
    with ThreadPoolExecutor(3) as pool:
        return list(pool.map(lambda job: job(), jobs))


@dataclass(frozen=True)
class World:
    """A home, a scripted model behind a key of its own, and a folder for programs."""

    provider: Provider
    folder: Path
    key: str

    @classmethod
    def made(cls, provider: Provider, folder: Path, steps: Iterable[Step] | None = None) -> World:
        number = next(_numbers)
        made = cls(provider, folder / f"world{number}", f"key-{number}")
        made.folder.mkdir()
        made.load(steps if steps is not None else two_steps())
        return made

    def load(self, steps: Iterable[Step]) -> None:
        """Begin a new script."""
        self.provider.load(steps, self.key)

    @property
    def home(self) -> Path:
        return self.folder / "home"

    @property
    def requests(self) -> list[Recorded]:
        """What the model was asked with this world's key."""
        return [request for request in self.provider.requests if request.key == self.key]

    def env(self, **more: str) -> dict[str, str]:
        given = {
            "NEXUS_HOME": str(self.home),
            "NEXUS_WATCHER": "off",  # what a program leaves behind is for the test to find
            "ANTHROPIC_BASE_URL": self.provider.url,
            "ANTHROPIC_API_KEY": self.key,
            "OPENAI_BASE_URL": f"{self.provider.url}/v1",
            "OPENAI_API_KEY": self.key,
            "PYTHONPATH": str(HERE),
            **more,
        }
        return {**clean(), **given}

    def write(self, name: str, text: str, *, executable: bool = False) -> Path:
        path = self.folder / name
        path.write_text(textwrap.dedent(text))
        path.chmod(0o755 if executable else 0o644)
        return path

    def start(self, *command: Any, **env: str) -> subprocess.Popen[str]:
        pipes = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
        return subprocess.Popen([str(c) for c in command], text=True, cwd=self.folder, env=self.env(**env), **pipes)

    def run(self, *command: Any, timeout_s: float = 60, **env: str) -> Done:
        """Run a command as it is."""
        started = time.monotonic()
        with self.start(*command, **env) as process:
            return finish(process, started, timeout_s)

    def bare(self, program: str, *arguments: Any, **env: str) -> Done:
        """Run a Python program without us."""
        return self.run(PYTHON, self.write("agent.py", program), *arguments, **env)

    def launch(self, program: str, *arguments: Any, **env: str) -> Done:
        """Run a Python program under `nexus-instrument`."""
        return self.run(LAUNCHER, PYTHON, self.write("agent.py", program), *arguments, **env)

    def nexus(self, *arguments: str, **env: str) -> Done:
        """Run `nexus-otel`."""
        return self.run(COMMAND, *arguments, **env)

    def stored(self) -> list[Span]:
        """What `nexus-otel export` reads back."""
        done = self.nexus("export")
        assert done.code in {0, 1}, done.err
        return spans_of_json(done.out)

    def spool_bytes(self) -> bytes:
        """Every byte in the store's folder, but the key of the hashes and how long steps took."""
        files = (
            path for path in self.home.rglob("*") if path.is_file() and path.name not in {"hash.key", "baselines.json"}
        )
        return b"\n".join(path.name.encode() + path.read_bytes() for path in files)


def kind_of(span: Span) -> str:
    """The operation of a span, or its name where it is nobody's we know."""
    return span.attributes.get("gen_ai.operation.name", span.name)


def shape(spans: Iterable[Span]) -> list[str]:
    """Each span as `parent > name`, sorted."""
    given = list(spans)
    names = {span.span_id: span.name for span in given}
    return sorted(f"{names.get(span.parent_id, span.parent_id)} > {span.name}" for span in given)


RUN = [" > invoke_agent agent", "invoke_agent agent > chat m", "invoke_agent agent > chat m",
       "invoke_agent agent > execute_tool look"]  # fmt: skip
"""The shape of the two steps, asked by a program named agent.py."""


def quiet(done: Done, out: str, code: int = 0) -> None:
    """Claim that a program ended as it should and that nobody but itself said anything."""
    assert (done.code, done.out, done.err) == (code, out, "")
