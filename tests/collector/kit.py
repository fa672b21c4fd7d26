"""What the tests of the collector share: a real one, started with a file that we ship, and runs made for it."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import pytest

from tests.e2e.kit import clean
from tests.fakes.otlp import Span, spans_of_json

ROOT = Path(__file__).resolve().parents[2]
SHIPPED = ROOT / "collector-config.yaml"
FOLDER = ROOT / "collector"
SOON_S = 30.0
MUST = os.environ.get("NEXUS_TEST_COLLECTOR") == "must"
"""Whether a missing collector is a failure, as in CI, where it was built before."""

QUICK = {
    "NEXUS_COLLECTOR_WAIT": "2s",
    "NEXUS_COLLECTOR_WAIT_AFTER_ROOT": "1s",
    "NEXUS_COLLECTOR_METRICS_INTERVAL": "200ms",
    "NEXUS_COLLECTOR_SHARE": "0",
}
"""What a test changes: the waits, and that nothing is kept by chance."""


def built(manifest: str = "manifest.yaml") -> Path:
    """Return the collector of a manifest, or the one that `OTELCOL` names; skip the test where there is none."""
    named = os.environ.get("OTELCOL")
    if named:
        return Path(shutil.which(named) or named).resolve()
    answer = subprocess.run([FOLDER / "build.sh", "--path", manifest], capture_output=True, text=True, check=True)
    path = Path(answer.stdout.strip())
    if not path.exists():
        target = "collector" if manifest == "manifest.yaml" else "collector-full"
        how = f"`make {target}` builds one" if shutil.which("go") else "there is no Go to build one with"
        said = f"no collector of collector/{manifest}: {how}; or set OTELCOL=/path"
        if MUST and target == "collector":
            pytest.fail(said)
        pytest.skip(said)
    return path


def free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port: int = taken.getsockname()[1]
        return port


def soon(condition: Callable[[], Any], timeout_s: float = SOON_S) -> Any:
    """Wait until a condition holds, and return what it says."""
    until = time.monotonic() + timeout_s
    while not (found := condition()):
        assert time.monotonic() < until, f"not within {timeout_s} s"
        time.sleep(0.05)
    return found


@dataclass
class Collector:
    """One collector on ports of its own, with the shipped file and one beside it that only names the ports."""

    binary: Path
    folder: Path
    environment: dict[str, str] = field(default_factory=dict)
    tiers: Sequence[Path] = ()
    more: str = ""

    def __post_init__(self) -> None:
        self.folder.mkdir(exist_ok=True)
        self.grpc_port, self.http_port, self.health_port = free_port(), free_port(), free_port()
        self.process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.kill()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.http_port}"

    @property
    def grpc_url(self) -> str:
        return f"http://127.0.0.1:{self.grpc_port}"

    @property
    def pid(self) -> int:
        assert self.process is not None
        return self.process.pid

    @property
    def data(self) -> Path:
        return self.folder / "data"

    @property
    def log(self) -> str:
        path = self.folder / "log"
        return path.read_text("utf-8", "replace") if path.exists() else ""

    def start(self) -> Self:
        """Start it and wait until it takes requests."""
        override = self.folder / "override.yaml"
        override.write_text(
            f"receivers: {{otlp: {{protocols: {{grpc: {{endpoint: '127.0.0.1:{self.grpc_port}'}},"
            f" http: {{endpoint: '127.0.0.1:{self.http_port}'}}}}}}}}\n"
            f"extensions: {{health_check: {{endpoint: '127.0.0.1:{self.health_port}'}}}}\n"
            "service: {telemetry: {metrics: {level: none}}}\n"
        )
        given = {**clean(), "NEXUS_COLLECTOR_DATA": str(self.data), **self.environment}
        (self.folder / "more.yaml").write_text(self.more)
        files = [SHIPPED, *self.tiers, override, *([self.folder / "more.yaml"] if self.more else [])]
        command = [self.binary, *(part for file in files for part in ("--config", file))]
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(command, env=given, cwd=self.folder, stdout=log, stderr=log)
        soon(self._is_ready)
        return self

    def _is_ready(self) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, self.log[-4000:]
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.health_port}", timeout=2) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False

    def stop(self) -> None:
        """SIGTERM, and wait until it has ended."""
        assert self.process is not None
        self.process.terminate()
        assert self.process.wait(SOON_S) == 0, self.log[-4000:]

    def kill(self) -> None:
        """SIGKILL."""
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGKILL)
            self.process.wait()

    def post(self, request: Any, timeout_s: float = 10) -> bool:
        """Send spans over HTTP; return whether they were taken."""
        asked = urllib.request.Request(  # noqa: S310 - ours, on loopback
            f"{self.url}/v1/traces",
            data=request.SerializeToString(),
            headers={"content-type": "application/x-protobuf"},
        )
        try:
            with urllib.request.urlopen(asked, timeout=timeout_s) as answer:  # noqa: S310
                return bool(answer.status == 200)
        except (OSError, urllib.error.HTTPError):
            return False

    def written(self) -> list[Span]:
        """The spans in the file of runs."""
        path = self.data / "traces.jsonl"
        whole = path.read_text("utf-8").rpartition("\n")[0] if path.exists() else ""
        return spans_of_json(whole)

    def kept(self) -> set[str]:
        """The trace ids in the file of runs."""
        return {span.trace_id for span in self.written()}
