"""The CrewAI instrumentor: what holds for every instrumentor."""

from __future__ import annotations

import pytest
from opentelemetry import context as otel_context

from tests.fakes.provider import Provider
from tests.frameworks.crewai.crewai_cases import CASES, LIBRARY, MORE, TOOL
from tests.kit.cases import Case, run
from tests.kit.faults import FAULTS
from tests.kit.recording import instrumented, parent_id, span_id
from tests.kit.suite import Conformance
from tests.kit.undoing import Undoing


class TestCrewAI(Conformance):
    library = LIBRARY
    cases = CASES
    fault_cases = tuple(case for case in CASES if case.id in {"crew", "alone-async", "crew-refused"})
    reached = frozenset(FAULTS) - {"settle", "deferred", "fold", "fold.add", "fold.result", "recorder.retry"}


@pytest.mark.parametrize("case", MORE, ids=lambda case: case.id)
def test_the_other_ways_make_the_same_spans(case: Case, provider: Provider) -> None:
    before = otel_context.get_current()
    with instrumented(LIBRARY.instrumentor) as seen:
        run(LIBRARY, case, provider)
    assert otel_context.get_current() is before
    assert [span.name for span in seen.spans] == [expected.name for expected in case.spans]
    names = {span_id(span): span.name for span in seen.spans}
    assert [names.get(parent_id(span) or 0) for span in seen.spans] == [expected.parent for expected in case.spans]


class TestUndoing(Undoing):
    library = LIBRARY
    case = TOOL
