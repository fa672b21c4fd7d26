"""A Phoenix on loopback, of a Python of its own, and what it says it has."""

from __future__ import annotations

import http.client
import json
import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.e2e.kit import clean
from tests.e2e.test_rotel import free_port

NAME = "NEXUS_TEST_PHOENIX"
PYTHON = os.environ.get(NAME, "")
START_S, SETTLE_S = 90, 20
SPANS = """
query($after: String) { projects { edges { node { spans(first: 100, after: $after) {
  pageInfo { hasNextPage endCursor }
  edges { node {
    spanId parentId name spanKind statusCode statusMessage userId startTime endTime
    tokenCountPrompt tokenCountCompletion tokenPromptDetails { cacheRead cacheWrite }
    costSummary { total { cost } } attributes output { value } events { name }
    trace { traceId numSpans }
  } }
} } } } }
"""
SESSIONS = """
{ projects { edges { node { sessions(first: 100) { edges { node {
  sessionId userId numTraces numTracesWithError tokenUsage { prompt completion } costSummary { total { cost } }
  traces(first: 100) { edges { node { traceId numSpans } } }
} } } } } } }
"""


def missing() -> str:
    """Why there is no Phoenix to test with; "" where there is one."""
    if not PYTHON:
        return f"{NAME} names no Python that has arize-phoenix (CONTRIBUTING.md)"
    asked = subprocess.run([PYTHON, "-c", "import importlib.util as u; u.find_spec('phoenix').origin"], check=False,
                           capture_output=True)  # fmt: skip
    return "" if asked.returncode == 0 else f"{NAME}={PYTHON}: it has no arize-phoenix"


@dataclass(frozen=True)
class Phoenix:
    """A running server: where it takes spans, and its own API."""

    http: str
    grpc: str

    def to(self, protocol: str) -> dict[str, str]:
        """The variables that send spans here; Phoenix takes no metrics (405, UNIMPLEMENTED)."""
        return {
            "OTEL_EXPORTER_OTLP_PROTOCOL": protocol,
            "OTEL_EXPORTER_OTLP_ENDPOINT": self.grpc if protocol == "grpc" else self.http,
            "OTEL_METRICS_EXPORTER": "none",
        }

    def request(self, method: str, path: str, body: bytes | None = None) -> tuple[int, bytes]:
        """Make one request; the status and the body.

        Raises:
            OSError: It does not answer.
        """
        connection = http.client.HTTPConnection(self.http.removeprefix("http://"), timeout=20)
        try:
            connection.request(method, path, body, {"content-type": "application/json"})
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()

    def ask(self, query: str, **variables: Any) -> Any:
        """Ask its GraphQL; the only project's answer."""
        body = json.dumps({"query": query, "variables": variables}).encode()
        status, answer = self.request("POST", "/graphql", body)
        assert status == 200, answer
        said = json.loads(answer)
        assert "errors" not in said, said["errors"]
        (project,) = said["data"]["projects"]["edges"]
        return project["node"]

    def spans(self, session: str) -> list[dict[str, Any]]:
        """The spans it has of one session, with their attributes as it shows them."""
        found, after = [], None
        while True:
            page = self.ask(SPANS, after=after)["spans"]
            for edge in page["edges"]:
                span = edge["node"] | {"attributes": json.loads(edge["node"]["attributes"])}
                if span["attributes"].get("session", {}).get("id") == session:
                    found.append(span)
            if not page["pageInfo"]["hasNextPage"]:
                return sorted(found, key=lambda span: span["startTime"])
            after = page["pageInfo"]["endCursor"]

    def settled(self, session: str, number: int, *, priced: bool = False) -> list[dict[str, Any]]:
        """The same when there are `number` of them: it writes them after it has answered, and later what they cost.

        Raises:
            AssertionError: There are more, or fewer after the time.
        """
        until = time.monotonic() + SETTLE_S
        while True:
            spans = self.spans(session)
            costs = [span["costSummary"] for span in spans if span["tokenCountPrompt"]]
            if len(spans) >= number and (all(costs) or not priced):
                break
            assert time.monotonic() < until, [(span["name"], span["costSummary"]) for span in spans]
            time.sleep(0.3)
        assert len(spans) == number
        return spans

    def session(self, name: str) -> dict[str, Any]:
        """A session as it is listed."""
        edges = self.ask(SESSIONS)["sessions"]["edges"]
        (found,) = (edge["node"] for edge in edges if edge["node"]["sessionId"] == name)
        return found


@contextmanager
def serving(folder: Path) -> Iterator[Phoenix]:
    """Run a server that keeps its data in `folder`, and kill it."""
    port, grpc = free_port(), free_port()
    env = {
        **clean(),
        "PHOENIX_WORKING_DIR": str(folder), "PHOENIX_HOST": "127.0.0.1", "PHOENIX_PORT": str(port),
        "PHOENIX_GRPC_PORT": str(grpc), "PHOENIX_TELEMETRY_ENABLED": "false",
        "PHOENIX_ALLOW_EXTERNAL_RESOURCES": "false",
    }  # fmt: skip
    log = folder / "log"
    with log.open("wb") as out:
        process = subprocess.Popen([PYTHON, "-m", "phoenix.server.main", "serve"], env=env, cwd=folder,
                                   stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT)  # fmt: skip
        try:
            running = Phoenix(f"http://127.0.0.1:{port}", f"http://127.0.0.1:{grpc}")
            _wait(running, process, log)
            yield running
        finally:
            process.kill()
            process.wait()


def _wait(running: Phoenix, process: subprocess.Popen[bytes], log: Path) -> None:
    until = time.monotonic() + START_S
    while not _answers(running):
        assert process.poll() is None, log.read_text()[-2000:]
        assert time.monotonic() < until, log.read_text()[-2000:]
        time.sleep(0.3)


def _answers(running: Phoenix) -> bool:
    try:
        return running.request("GET", "/healthz")[0] == 200
    except OSError:
        return False
