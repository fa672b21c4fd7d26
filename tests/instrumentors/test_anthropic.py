"""The Anthropic instrumentor: what holds for every instrumentor, and what only this SDK has."""

from __future__ import annotations

from tests.instrumentors.anthropic_cases import CALLS, FAILURES, LIBRARY, LOOPS, STREAMS
from tests.instrumentors.anthropic_lines import has
from tests.kit.faults import FAULTS
from tests.kit.streaming import Streaming
from tests.kit.suite import Conformance
from tests.kit.undoing import Undoing

IN_FAULTS = {
    "create", "create-async", "stream", "stream-async", "helper", "helper-async", "raw", "raw-stream", "streaming-parse",
    "streaming-read-async", "caching-helper", "iterators", "loop", "runner", "runner-stream-async", "refused",
    "refused-async", "retry", "retry-async",
}  # fmt: skip


class TestAnthropic(Conformance):
    library = LIBRARY
    cases = (*CALLS, *LOOPS, *FAILURES)
    fault_cases = tuple(case for case in cases if case.id in IN_FAULTS)
    reached = frozenset(FAULTS) - (frozenset() if has("tool runner") else {"runs.claim"})


class TestUndoing(Undoing):
    library = LIBRARY
    case = CALLS[0]


class TestUndoingAsync(Undoing):
    library = LIBRARY
    case = CALLS[1]


class TestStreams(Streaming):
    library = LIBRARY
    cases = STREAMS
