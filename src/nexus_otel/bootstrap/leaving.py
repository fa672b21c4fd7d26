"""The end of the process: open streams and runs end, what waits is sent in the time allowed, the summary shown."""

from __future__ import annotations

import atexit
import os
import sys
import time
from contextlib import suppress
from typing import TYPE_CHECKING

from nexus_otel import config
from nexus_otel._environ import variables
from nexus_otel._guard import guard
from nexus_otel.bootstrap.activate import FIRST_PROCESS
from nexus_otel.engine import streams
from nexus_otel.engine.driver import runs

if TYPE_CHECKING:
    from nexus_otel.bootstrap.pipeline import Pipeline

_pipelines: list[Pipeline] = []


def at_exit(pipeline: Pipeline) -> None:
    """Close `pipeline` when the process ends; called when the first span is wanted, after the provider exists.

    Exit handlers run last in, first out: ours must come before the provider's own shutdown.
    """
    _pipelines.append(pipeline)
    atexit.unregister(_leave)
    atexit.register(_leave)


def end_all() -> None:
    """End the streams and runs that are open."""
    with guard("ending open streams"):
        streams.end_open()
    with guard("ending open runs"):
        runs.close_all()


def end_resting() -> None:
    """End the runs that are open; calls and streams under way end by themselves, and their runs with them."""
    with guard("ending open runs"):
        runs.close_resting()


def flush(timeout_s: float) -> bool:
    """Write and send what waits, for at most `timeout_s` seconds; whether all of it is delivered."""
    limit = time.monotonic() + timeout_s
    delivered = [pipeline.flush(max(0.0, limit - time.monotonic())) for pipeline in _pipelines]
    return all(delivered)


def _leave() -> None:
    end_all()
    limit = time.monotonic() + config.current().exit_timeout_s
    for pipeline in _pipelines:
        with guard("closing at exit"):
            pipeline.close(max(0.0, limit - time.monotonic()))
    with guard("printing the summary"):
        _summary()
    _stay_interrupted()


def _stay_interrupted() -> None:
    """See to it that a program which Ctrl-C ended still ends by that signal.

    CPython (3.11 to 3.14, `run_eval_code_obj`) remembers an unhandled interrupt until the next `exec` or `eval` of a
    text, which the import of any named tuple is: what we import to send at the exit would make it an exit code of 1.
    """
    if getattr(sys, "last_type", None) is KeyboardInterrupt and not hasattr(sys, "ps1"):
        with suppress(KeyboardInterrupt):
            exec("raise KeyboardInterrupt")  # noqa: S102 - a text of ours


def _summary() -> None:
    wanted = config.current().summary
    local = any(pipeline.plan.local for pipeline in _pipelines)
    terminal = sys.stderr is not None and sys.stderr.isatty()
    first = variables().get(FIRST_PROCESS) == str(os.getpid())
    if not local or not first or wanted == "never" or (wanted == "auto" and not terminal):
        return
    from nexus_otel.export.read import read_store

    made = {f"{trace_id:032x}" for pipeline in _pipelines for trace_id in pipeline.run_ends.traces}
    spans = [span for span in read_store(config.home(), pid=os.getpid()).spans if span.trace_id in made]
    if spans:
        from nexus_otel.cli.summary import render_summary

        render_summary(spans, sys.stderr)
