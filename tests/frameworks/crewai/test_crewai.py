"""The CrewAI instrumentor: what holds for every instrumentor."""

from __future__ import annotations

from tests.frameworks.crewai.crewai_cases import CASES, LIBRARY, TOOL
from tests.kit.faults import FAULTS
from tests.kit.suite import Conformance
from tests.kit.undoing import Undoing


class TestCrewAI(Conformance):
    library = LIBRARY
    cases = CASES
    fault_cases = tuple(case for case in CASES if case.id in {"crew", "alone-async", "crew-refused"})
    reached = frozenset(FAULTS) - {"settle", "deferred", "fold", "fold.add", "fold.result", "recorder.retry"}


class TestUndoing(Undoing):
    library = LIBRARY
    case = TOOL
