"""The tests that every instrumentor has to pass, over the cases that its own test module gives."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import threading
import warnings
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, ClassVar

import pytest
from opentelemetry import baggage
from opentelemetry import context as otel_context
from opentelemetry.instrumentation.utils import suppress_instrumentation
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF
from opentelemetry.trace import StatusCode

from nexus_otel import semconv
from nexus_otel.engine.driver import runs
from tests.fakes.provider import Provider
from tests.kit.cases import CANARY, Case, Expected, Library, Ran, call, call_async, loaded, marked, run
from tests.kit.conventions import log_violations, violations
from tests.kit.faults import FAULTS, LEAVE_OPEN, placed
from tests.kit.fixtures import Kept, failures_allowed
from tests.kit.recording import Recording, content_mode, instrumented, parent_id, span_id, trace_id, values

MODES = ("SPAN_ONLY", "EVENT_ONLY", "SPAN_AND_EVENT")
_AT_ONCE = 8


class Conformance:
    """What holds for every case. A test module subclasses it, with its cases.

    Attributes:
        library: The library under test.
        cases: The calls.
        fault_cases: Those in which our own code is made to fail in every place; all of them when empty.
        reached: The places that those must reach between them.
    """

    library: ClassVar[Library]
    cases: ClassVar[Sequence[Case]]
    fault_cases: ClassVar[Sequence[Case]] = ()
    reached: ClassVar[frozenset[str]] = frozenset(FAULTS)

    def pytest_generate_tests(self, metafunc: pytest.Metafunc) -> None:
        """Give each test its cases."""
        if "case" in metafunc.fixturenames:
            metafunc.parametrize("case", marked(self.library, self.cases, metafunc.function.__name__))
        if "mode" in metafunc.fixturenames:
            metafunc.parametrize("mode", MODES)
        if "place" in metafunc.fixturenames:
            metafunc.parametrize("place", FAULTS)

    # -- what is recorded ----------------------------------------------------------------------------------------------

    def test_the_spans_are_those_expected(self, case: Case, provider: Provider) -> None:
        with instrumented(self.library.instrumentor) as seen:
            run(self.library, case, provider)
        assert [_shape(span, seen) for span in seen.spans] == [_expected(span) for span in case.spans]
        for span, expected in zip(seen.spans, case.spans, strict=True):
            assert _differences(values(span), expected.attributes) == {}, span.name

    def test_the_spans_follow_the_conventions(self, case: Case, provider: Provider) -> None:
        with instrumented(self.library.instrumentor) as seen:
            run(self.library, case, provider)
        assert [problem for span in seen.spans for problem in violations(span)] == []
        assert {span.instrumentation_scope.name for span in seen.spans if span.instrumentation_scope} <= {
            self.library.scope
        }

    def test_nothing_that_was_said_is_recorded_unasked(self, case: Case, provider: Provider) -> None:
        with Kept("nexus_otel", 0) as ours, instrumented(self.library.instrumentor) as seen:
            run(self.library, case, provider)
        assert CANARY not in seen.text()
        assert CANARY not in "\n".join(ours.lines)

    def test_content_is_recorded_when_asked_for(self, case: Case, mode: str, provider: Provider) -> None:
        with instrumented(self.library.instrumentor, **content_mode(mode)) as seen:
            run(self.library, case, provider)
        wanted = [expected.content if "SPAN" in mode else () for expected in case.spans]
        assert [_content(values(span)) for span in seen.spans] == [sorted(names) for names in wanted]
        assert [problem for span in seen.spans for problem in violations(span)] == []

    def test_details_are_logged_when_asked_for(self, case: Case, mode: str, provider: Provider) -> None:
        with instrumented(self.library.instrumentor, **content_mode(mode)) as seen:
            run(self.library, case, provider)
        model_spans = [expected for expected in case.spans if _operation(expected) in semconv.MODEL_OPERATIONS]
        wanted = [expected.content for expected in model_spans if "EVENT" in mode]
        details = [record for record in seen.logs if record.event_name == semconv.DETAILS_EVENT]
        assert [_content(record.attributes) for record in details] == [sorted(names) for names in wanted]
        assert [problem for record in seen.logs for problem in log_violations(record)] == []

    @pytest.mark.parametrize("names", ["main", "pkg"])
    def test_the_metrics_agree_with_the_spans(self, case: Case, names: str, provider: Provider) -> None:
        with instrumented(self.library.instrumentor, NEXUS_SEMCONV=names) as seen:
            run(self.library, case, provider)
        table = semconv.PKG_METRICS if names == "pkg" else semconv.MAIN_METRICS
        assert set(seen.points) <= {metric.name for metric in table.values()}
        embeds = {semconv.EMBEDDINGS}
        in_duration = semconv.MODEL_OPERATIONS | (embeds if names == "pkg" else set())
        assert _measured(seen, table["duration"].name) == _errors(seen, in_duration)
        assert _measured(seen, table["agent"].name) == _errors(seen, {semconv.INVOKE_AGENT})
        if names == "main":
            assert _measured(seen, table["other"].name) == _errors(seen, embeds | {semconv.RETRIEVAL})
            for key, attribute in (("input", semconv.USAGE_INPUT), ("output", semconv.USAGE_OUTPUT)):
                assert _sum(seen, table[key].name) == sum(values(span).get(attribute, 0) for span in _calls(seen))

    def test_nothing_is_measured_without_a_meter_provider(self, case: Case, provider: Provider) -> None:
        with instrumented(self.library.instrumentor, meters=False) as seen:
            run(self.library, case, provider)
        assert seen.points == {}

    # -- what the caller sees ------------------------------------------------------------------------------------------

    def test_the_case_itself_does_what_it_says(self, case: Case, provider: Provider) -> None:
        bare = self._bare(case, provider)
        assert isinstance(bare.error, case.fails or type(None)), bare.error
        assert tuple(warned.category for warned in bare.warned) == case.warns
        assert CANARY in repr((bare.value, bare.requests, bare.said))

    @pytest.mark.parametrize("content", ["NO_CONTENT", "SPAN_AND_EVENT"])
    def test_the_caller_notices_nothing(self, case: Case, content: str, provider: Provider) -> None:
        with instrumented(self.library.instrumentor, **content_mode(content)):
            ran = run(self.library, case, provider)
        assert self._bare(case, provider).differences(ran) == []

    def test_a_call_leaves_the_context_as_it_was(self, case: Case, provider: Provider) -> None:
        with instrumented(self.library.instrumentor):
            before = otel_context.get_current()
            run(self.library, case, provider)
            assert otel_context.get_current() is before

    def test_a_failure_of_ours_changes_nothing(self, place: str, provider: Provider) -> None:
        reached, problems = 0, []
        with failures_allowed(), Kept("nexus_otel") as ours:
            for case in self.fault_cases or self.cases:
                if not self.library.lines.there(case.id, self.library.version):
                    continue
                hits, found = self._failed(case, place, provider)
                reached += hits
                problems += [f"{case.id}: {problem}" for problem in found]
        assert "\n".join(problems) == ""
        assert reached or place not in self.reached, f"no case reaches {place}"
        assert len(ours.lines) == len(set(ours.lines))
        assert bool(ours.lines) == bool(reached)
        assert CANARY not in "".join(ours.lines)

    def _failed(self, case: Case, place: str, provider: Provider) -> tuple[int, list[str]]:
        """Return how often a case reaches a fault, and what the caller notices of it then and afterwards."""
        with (
            placed(self.library.instrumentor, place) as (instrumentor, fault),
            instrumented(instrumentor, **content_mode("SPAN_AND_EVENT")) as seen,
        ):
            seen.may_stay_open = place in LEAVE_OPEN
            fault.armed = True
            found = self._bare(case, provider).differences(run(self.library, case, provider))
            fault.armed, hits = False, fault.hits
            if hits:
                runs.close_all()
                gc.collect()
                seen.clear()
                run(self.library, case, provider)
        if hits and seen.names != _names(case):
            found.append(f"afterwards there is {dict(seen.names)}")
        return hits, found

    # -- where nothing is recorded -------------------------------------------------------------------------------------

    def test_a_suppressed_call_is_plain(self, case: Case, provider: Provider) -> None:
        with instrumented(self.library.instrumentor) as seen, suppress_instrumentation():
            ran = run(self.library, case, provider)
        assert seen.spans == []
        assert self._bare(case, provider).differences(ran) == []

    def test_an_unsampled_call_is_not_read(self, case: Case, provider: Provider) -> None:
        of_runs = (semconv.INVOKE_AGENT, semconv.INVOKE_WORKFLOW)
        has_run = any(_operation(expected) in of_runs for expected in case.spans)
        for place in ("inference.request", "inference.conversation", "response", "fold.add"):
            with (
                placed(self.library.instrumentor, place) as (instrumentor, reads),
                instrumented(instrumentor, sampler=ALWAYS_OFF, meters=False) as seen,
            ):
                ran = run(self.library, case, provider)
            assert seen.spans == []
            assert self._bare(case, provider).differences(ran) == []
            if place == "inference.request" or not has_run:
                assert reads.hits == 0, place

    # -- where it is recorded ------------------------------------------------------------------------------------------

    def test_the_ambient_span_is_the_parent(self, case: Case, provider: Provider) -> None:
        with instrumented(self.library.instrumentor) as seen:
            given = otel_context.attach(baggage.set_baggage("kept", "yes"))
            with seen.tracer.start_as_current_span("application") as ambient:
                run(self.library, case, provider)
            otel_context.detach(given)
        made = [span for span in seen.spans if span.name != "application"]
        roots = [expected.name for expected in case.spans if expected.parent is None]
        assert [s.name for s in made if parent_id(s) == ambient.get_span_context().span_id] == roots
        assert {trace_id(span) for span in seen.spans} == {ambient.get_span_context().trace_id}
        assert {baggage.get_baggage("kept", seen.contexts[span_id(span)]) for span in made} <= {"yes"}

    def test_calls_in_threads_do_not_mix(self, case: Case, provider: Provider) -> None:
        with instrumented(self.library.instrumentor) as alone:
            run(self.library, case, provider)
        with instrumented(self.library.instrumentor) as seen, _any_warning():
            works = [self._work(case, provider) for _ in range(_AT_ONCE)]
            threads = [threading.Thread(target=work) for work in works]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        assert _traces(seen) == sorted(_traces(alone) * _AT_ONCE)

    def test_calls_in_tasks_do_not_mix(self, case: Case, provider: Provider) -> None:
        with instrumented(self.library.instrumentor) as alone:
            run(self.library, case, provider)

        async def together() -> None:
            keys = [loaded(case.steps, provider) for _ in range(_AT_ONCE)]
            calls = [call_async(self.library, case.call, provider.url, key, **case.options) for key in keys]
            await asyncio.gather(*calls, return_exceptions=True)

        if case.asynchronous:
            with instrumented(self.library.instrumentor) as seen, _any_warning():
                asyncio.run(together())
            assert _traces(seen) == sorted(_traces(alone) * _AT_ONCE)

    # -- aids ----------------------------------------------------------------------------------------------------------

    def _work(self, case: Case, provider: Provider) -> Callable[[], None]:
        key = loaded(case.steps, provider)

        def work() -> None:
            with contextlib.suppress(*filter(None, [case.fails])):
                call(self.library, case.call, provider.url, key, **case.options)

        return work

    _bare_runs: ClassVar[dict[str, Ran]]

    def __init_subclass__(cls) -> None:
        cls._bare_runs = {}

    def _bare(self, case: Case, provider: Provider) -> Ran:
        """Return what came of a case without instrumentation."""
        if case.id not in self._bare_runs:
            self._bare_runs[case.id] = run(self.library, case, provider)
        return self._bare_runs[case.id]


def _operation(expected: Expected) -> str:
    return expected.name.partition(" ")[0]


def _names(case: Case) -> Counter[str]:
    return Counter(expected.name for expected in case.spans)


def _expected(span: Expected) -> Any:
    return span.name, span.kind, span.parent, span.error, span.events


def _shape(span: ReadableSpan, seen: Recording) -> Any:
    names = {span_id(other): other.name for other in seen.spans}
    parent = names[span.parent.span_id] if span.parent is not None else None
    failed = span.status.status_code is StatusCode.ERROR
    error = values(span).get(semconv.ERROR_TYPE) if failed else None
    return span.name, span.kind, parent, error, tuple(event.name for event in span.events)


def _differences(found: Mapping[str, Any], expected: Mapping[str, Any]) -> dict[str, Any]:
    """Return the attributes that are not as expected, each with what is there and what should be."""
    absent = "nothing"
    pairs = {name: (found.get(name, absent), expected.get(name, absent)) for name in {*found, *expected}}
    return {name: (got, wanted) for name, (got, wanted) in pairs.items() if not _matches(got, wanted)}


def _matches(got: Any, wanted: Any) -> bool:
    return type(got) is wanted if isinstance(wanted, type) else (type(got), got) == (type(wanted), wanted)


def _content(attributes: Mapping[str, Any]) -> list[str]:
    """Return which content attributes hold the canary; none without it may be there at all."""
    there = {name: value for name, value in attributes.items() if name in semconv.CONTENT_ATTRIBUTES}
    return sorted(name if CANARY in repr(value) else f"{name} without the canary" for name, value in there.items())


def _traces(seen: Recording) -> list[list[str]]:
    """Return the spans of each trace, each with its parent."""
    names = {span_id(span): span.name for span in seen.spans}
    found: dict[int, list[str]] = {}
    for span in seen.spans:
        under = names.get(parent_id(span) or 0)
        found.setdefault(trace_id(span), []).append(f"{span.name} under {under}")
    return sorted(sorted(spans) for spans in found.values())


def _measured(seen: Recording, name: str) -> Counter[Any]:
    """Return how often a histogram was recorded, by error type."""
    found: Counter[Any] = Counter()
    for point in seen.points.get(name, ()):
        found[point.attributes.get(semconv.ERROR_TYPE)] += point.count
    return found


def _errors(seen: Recording, operations: Collection[str]) -> Counter[Any]:
    """Return how many spans there are of some operations, by error type."""
    attributes = [values(span) for span in seen.spans]
    return Counter(a.get(semconv.ERROR_TYPE) for a in attributes if a[semconv.OPERATION] in operations)


def _calls(seen: Recording) -> list[ReadableSpan]:
    """Return the spans of model calls."""
    return [span for span in seen.spans if values(span)[semconv.OPERATION] in semconv.MODEL_OPERATIONS]


def _sum(seen: Recording, name: str) -> Any:
    return sum(point.value for point in seen.points.get(name, ()))


@contextmanager
def _any_warning() -> Iterator[None]:
    """Let the library warn; threads cannot record warnings each for itself."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
