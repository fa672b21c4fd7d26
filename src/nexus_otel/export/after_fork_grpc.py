"""gRPC for a forked child: its parent's gRPC cannot be used there, so a process of its own makes each call.

A child that was forked in the middle of a call may abort or wait for ever when it calls gRPC itself.
"""

from __future__ import annotations

import subprocess
import sys
from dataclasses import asdict
from typing import Any, Final

import orjson

from nexus_otel._environ import variables
from nexus_otel.export.answer import Answer, Outcome
from nexus_otel.export.destinations import Destination

_START_S: Final = 2.0
"""How long a process may take to start and load gRPC, beside the time of the call."""
_PROGRAM: Final = "from nexus_otel.export.after_fork_grpc import serve; serve()"


class HelpedClient:
    """Speaks gRPC with one destination through processes of its own."""

    def __init__(self, destination: Destination) -> None:
        self._destination = destination
        self._process: subprocess.Popen[bytes] | None = None

    def send(self, body: bytes, timeout_s: float) -> Answer:
        head = orjson.dumps({"timeout_s": timeout_s, "destination": asdict(self._destination)})
        try:
            answer = self._answer(head + b"\n" + body, timeout_s + _START_S)
            return Answer(Outcome[answer["outcome"]], answer["what"], answer["wait_s"], answer["rejected"])
        except (OSError, ValueError, subprocess.SubprocessError) as error:
            return Answer(Outcome.AGAIN, type(error).__name__)

    def close(self) -> None:
        process = self._process
        if process is not None:
            process.kill()

    def _answer(self, request: bytes, timeout_s: float) -> Any:
        given = {**variables(), "NEXUS_ENABLED": "false"}
        command = [sys.executable, "-c", _PROGRAM]
        with subprocess.Popen(  # noqa: S603 - our own program
            command, env=given, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        ) as process:
            self._process = process
            try:
                out, _err = process.communicate(request, timeout_s)
            finally:
                self._process = None
                process.kill()
        return orjson.loads(out)


def serve() -> None:
    """Make one call: that of the request on stdin, the answer goes to stdout."""
    from nexus_otel.export.over_grpc import GrpcClient

    head, _line, body = sys.stdin.buffer.read().partition(b"\n")
    given = orjson.loads(head)
    answer = GrpcClient(Destination(**given["destination"])).send(body, given["timeout_s"])
    sys.stdout.buffer.write(orjson.dumps({**asdict(answer), "outcome": answer.outcome.name}))
