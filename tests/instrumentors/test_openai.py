"""The OpenAI instrumentor: what holds for every instrumentor."""

from __future__ import annotations

from tests.instrumentors.openai_cases import CALLS, EMBEDDINGS, FAILURES, LIBRARY, LOOPS, STREAMS
from tests.kit.faults import FAULTS
from tests.kit.streaming import Streaming
from tests.kit.suite import Conformance
from tests.kit.undoing import Undoing

IN_FAULTS = {
    "create", "create-async", "stream", "stream-async", "helper", "helper-async", "parse", "raw", "raw-stream",
    "streaming-parse", "streaming-read-async", "iterators", "responses", "responses-stream-async", "responses-helper",
    "embeddings", "loop", "responses-loop", "refused", "refused-async", "retry", "retry-async", "completion-stream",
}  # fmt: skip


class TestOpenAI(Conformance):
    library = LIBRARY
    cases = (*CALLS, *EMBEDDINGS, *LOOPS, *FAILURES)
    fault_cases = tuple(case for case in cases if case.id in IN_FAULTS)
    reached = frozenset(FAULTS) - {"deferred", "runs.claim"}  # the SDK runs no tools, and its helpers call `create`


class TestUndoing(Undoing):
    library = LIBRARY
    case = CALLS[0]


class TestUndoingAsync(Undoing):
    library = LIBRARY
    case = CALLS[1]


class TestStreams(Streaming):
    library = LIBRARY
    cases = STREAMS
