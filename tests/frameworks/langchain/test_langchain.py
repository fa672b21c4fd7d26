"""What holds for every instrumentor, of LangChain's and of LangGraph's."""

from __future__ import annotations

from tests.frameworks.langchain.langchain_cases import CASES, GRAPH_CASES, GRAPHS, LIBRARY
from tests.kit.faults import FAULTS
from tests.kit.suite import Conformance
from tests.kit.undoing import Undoing

BY_ID = {case.id: case for case in (*CASES, *GRAPH_CASES)}
NOT_HERE = frozenset({"settle", "deferred", "recorder.retry"})
IN_FAULTS = ("invoke", "ainvoke", "stream", "astream", "chain", "chain-stream", "loop", "loop-async", "overloaded")


class TestLangChain(Conformance):
    library = LIBRARY
    cases = CASES
    fault_cases = tuple(BY_ID[name] for name in IN_FAULTS)
    reached = frozenset(FAULTS) - NOT_HERE


class TestLangGraph(Conformance):
    library = GRAPHS
    cases = GRAPH_CASES
    reached = frozenset({"request", "response", "failure", "fold", "fold.add", "fold.result", "recorder.start_agent",
                         "recorder.end_agent", "content"})  # fmt: skip


class TestUndoing(Undoing):
    library = LIBRARY
    case = BY_ID["invoke"]


class TestUndoingAsync(Undoing):
    library = LIBRARY
    case = BY_ID["search-async"]
