"""The tests of putting an instrumentor in place and taking it off: the library has its very own objects back."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, ClassVar

import pytest
import wrapt

from nexus_otel.engine.target import Swap, Target, belongs
from tests.fakes.provider import Provider
from tests.kit.cases import Case, Library, run
from tests.kit.recording import instrumented

Wrapper = Callable[[Any, Any, Any, Any], Any]


class Undoing:
    """What holds for every instrumentor. A test module subclasses it, with a case whose call goes through one target.

    Attributes:
        library: The library under test.
        case: The call.
    """

    library: ClassVar[Library]
    case: ClassVar[Case]

    @pytest.fixture(autouse=True)
    def nothing_is_left(self) -> Iterator[None]:
        """Fail where a test leaves a wrapper behind."""
        before = originals(self.library)
        yield
        assert changed(before, originals(self.library)) == []

    def test_every_target_is_there(self) -> None:
        wanted = {f"{place.module}:{place.name}" for place in places(self.library)}
        assert wanted - set(originals(self.library)) == set()

    def test_every_target_is_wrapped_and_comes_back(self) -> None:
        before = originals(self.library)
        with instrumented(self.library.instrumentor):
            between = originals(self.library)
        assert changed(before, between) == list(before)
        assert changed(before, originals(self.library)) == []

    def test_wrapped_methods_look_as_before(self) -> None:
        before = {name: _looks(method) for name, method in originals(self.library).items()}
        with instrumented(self.library.instrumentor):
            between = {name: _looks(method) for name, method in originals(self.library).items()}
        assert between == before

    def test_another_instance_takes_it_off(self) -> None:
        before = originals(self.library)
        self.library.instrumentor().instrument()
        assert self.library.instrumentor().is_instrumented_by_opentelemetry
        self.library.instrumentor().uninstrument()
        assert not self.library.instrumentor().is_instrumented_by_opentelemetry
        assert changed(before, originals(self.library)) == []

    def test_twice_is_once(self, provider: Provider) -> None:
        with instrumented(self.library.instrumentor) as seen:
            self.library.instrumentor().instrument()
            run(self.library, self.case, provider)
        assert len(seen.spans) == len(self.case.spans)

    def test_taken_off_twice_does_no_harm(self, provider: Provider) -> None:
        self.library.instrumentor().uninstrument()
        with instrumented(self.library.instrumentor) as seen:
            self.library.instrumentor().uninstrument()
            assert run(self.library, self.case, provider).error is None
        assert seen.spans == []

    def test_off_and_on_again_records(self, provider: Provider) -> None:
        with instrumented(self.library.instrumentor) as first:
            pass
        with instrumented(self.library.instrumentor) as second:
            run(self.library, self.case, provider)
        assert (len(first.spans), len(second.spans)) == (0, len(self.case.spans))

    def test_a_call_that_is_under_way_still_ends_its_span(self, provider: Provider) -> None:
        def undo(wrapped: Any, _instance: Any, args: Any, kwargs: Any) -> Any:
            self.library.instrumentor().uninstrument()
            return wrapped(*args, **kwargs)

        with wrapped_by(self.library, undo), instrumented(self.library.instrumentor) as seen:
            run(self.library, self.case, provider)
        assert len(seen.spans) == len(self.case.spans)

    # -- beside another vendor -----------------------------------------------------------------------------------------

    def test_a_wrapper_on_top_survives_our_undo(self, provider: Provider) -> None:
        calls: list[str] = []
        before = originals(self.library)
        with instrumented(self.library.instrumentor) as seen:
            with wrapped_by(self.library, _counting(calls)):
                run(self.library, self.case, provider)
                assert (len(calls), len(seen.spans)) == (1, len(self.case.spans))
                self.library.instrumentor().uninstrument()
                seen.clear()
                assert run(self.library, self.case, provider).error is None
                assert (len(calls), len(seen.spans)) == (2, 0)
            _put_back(self.library, before)

    def test_ours_beneath_a_wrapper_does_not_wake_up_again(self, provider: Provider) -> None:
        before = originals(self.library)
        self.library.instrumentor().instrument()
        with wrapped_by(self.library, _counting([])):
            self.library.instrumentor().uninstrument()
            with instrumented(self.library.instrumentor) as seen:
                run(self.library, self.case, provider)
            assert len(seen.spans) == len(self.case.spans)
        _put_back(self.library, before)

    def test_a_wrapper_beneath_is_what_comes_back(self, provider: Provider) -> None:
        calls: list[str] = []
        with wrapped_by(self.library, _counting(calls)):
            theirs = originals(self.library)
            with instrumented(self.library.instrumentor) as seen:
                run(self.library, self.case, provider)
            assert (len(calls), len(seen.spans)) == (1, len(self.case.spans))
            assert changed(theirs, originals(self.library)) == []


# -- what the classes of a library hold --------------------------------------------------------------------------------


def originals(library: Library) -> dict[str, Any]:
    """Return what is where the instrumentor puts its wrappers, by `module:Class.method`."""
    found = {}
    for place in places(library):
        owner, name = _owner(place.module, place.name)
        if name in vars(owner):
            found[f"{place.module}:{place.name}"] = vars(owner)[name]
    return found


def places(library: Library) -> list[Target | Swap]:
    """Return what the instrumentor wraps and replaces in the version that is installed."""
    instrumentor = library.instrumentor
    everything: list[Target | Swap] = [*instrumentor.targets, *instrumentor.replacements]
    return [place for place in everything if belongs(place, library.version) and not _may_be_missing(place)]


def _may_be_missing(place: Target | Swap) -> bool:
    """Whether a place is optional, or in a library beneath, and its module is not there."""
    if isinstance(place, Target) and not place.optional:
        return False
    try:
        return importlib.import_module(place.module) is None
    except ModuleNotFoundError:
        return True


def changed(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[str]:
    """Return where there is another object; a proxy is another one, though it says that it equals its target."""
    return [name for name, method in before.items() if after[name] is not method]


def _owner(module: str, path: str) -> tuple[Any, str]:
    owner: Any = importlib.import_module(module)
    *classes, name = path.split(".")
    for part in classes:
        owner = getattr(owner, part)
    return owner, name


def _looks(method: Any) -> Any:
    if isinstance(method, property):
        return "property"
    if not callable(method):
        return "a value"
    names = (method.__name__, method.__qualname__, method.__module__, method.__doc__)
    return names, inspect.iscoroutinefunction(method), str(inspect.signature(method))


# -- other vendors -----------------------------------------------------------------------------------------------------


def _counting(calls: list[str]) -> Wrapper:
    def count(wrapped: Any, _instance: Any, args: Any, kwargs: Any) -> Any:
        calls.append(wrapped.__name__)
        return wrapped(*args, **kwargs)

    return count


@contextmanager
def wrapped_by(library: Library, wrapper: Wrapper) -> Iterator[None]:
    """Wrap the library's targets as another vendor does, over whatever is there, and put that back."""
    before = originals(library)
    for target in places(library):
        if isinstance(target, Swap) or f"{target.module}:{target.name}" not in before:
            continue
        wrapt.wrap_function_wrapper(target.module, target.name, wrapper)
    yield
    _put_back(library, before)


def _put_back(library: Library, methods: Mapping[str, Any]) -> None:
    for place, method in methods.items():
        module, _, path = place.partition(":")
        owner, name = _owner(module, path)
        setattr(owner, name, method)
