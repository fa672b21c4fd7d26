"""Putting the targets of a library in place when it is imported, and taking them off again."""

from __future__ import annotations

import importlib.metadata
import inspect
import re
import sys
from collections.abc import Callable, Collection, Mapping
from functools import cache, partial
from importlib.machinery import PathFinder, SourceFileLoader
from typing import Any, ClassVar, Final

from nexus_otel import config
from nexus_otel._guard import guard, logger, new_lock, note_once, quietly
from nexus_otel._imports import when_imported
from nexus_otel.engine import _bootstrap_importlib as frames
from nexus_otel.engine.copies import classes_of, holders, owning, still_held
from nexus_otel.engine.driver import begin
from nexus_otel.engine.generators import inside
from nexus_otel.engine.overrides import Overrides
from nexus_otel.engine.steps import SilentStep, Step
from nexus_otel.engine.taps import tap_call
from nexus_otel.engine.target import Call, Swap, Target, belongs, release
from nexus_otel.engine.wrappers import Wrapper
from nexus_otel.genai.content import Redact
from nexus_otel.genai.recorder import Recorder

Begin = Callable[[], Step | SilentStep | None]


class Replacement:
    """An attribute of a class that is replaced, and can be put back.

    Args:
        owner: The class, or the module of a function.
        name: Of the attribute.
        original: What is put back.
        ours: What takes its place.
    """

    def __init__(self, owner: Any, name: str, original: Any, ours: Any) -> None:
        self._owner = owner
        self.original = original
        self._ours = ours
        self.name = name
        setattr(owner, name, ours)

    def undo(self, classes: list[type]) -> None:
        """Put the original back; where another wrapper sits on ours, ours stays beneath it and does nothing.

        Args:
            classes: The library's; those that took ours over have the original instead.
        """
        if self._owner.__dict__.get(self.name) is self._ours:
            setattr(self._owner, self.name, self.original)
        for one in holders(classes, self.name, self.original):
            setattr(one, self.name, self.original)


class Instrumentor:
    """What every instrumentor is: a table of targets. Instances are alike; what is in place belongs to the class.

    Attributes:
        package: The distribution, for versions in messages.
        requires: Ranges of versions, as `instrumentation_dependencies` returns them: a version is in one of them.
        targets: The methods that are wrapped.
        replacements: What is replaced besides.
        heard: How things are read of which the library calls back (`engine/listener.py`), by what they are.
    """

    package: ClassVar[str]
    requires: ClassVar[tuple[str, ...]] = ()
    targets: ClassVar[tuple[Target, ...]] = ()
    replacements: ClassVar[tuple[Swap, ...]] = ()
    heard: ClassVar[Mapping[Any, Target]] = {}

    _lock: ClassVar[Any] = new_lock()
    _recorder: ClassVar[Recorder | None] = None
    _in_place: ClassVar[list[Replacement | Overrides]]
    _generation: ClassVar[int] = 0
    _placed: ClassVar[tuple[Target, ...]] = ()
    _records: ClassVar[bool] = True

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        cls._in_place = []

    @property
    def is_instrumented_by_opentelemetry(self) -> bool:
        """Whether this library is instrumented, as the ecosystem's instrumentors tell it."""
        return type(self)._recorder is not None

    def instrumentation_dependencies(self) -> Collection[str]:
        """Return the requirements on the library, any of which is enough."""
        return self.requires

    def instrument(
        self,
        *,
        tracer_provider: Any = None,
        meter_provider: Any = None,
        logger_provider: Any = None,
        redact: Redact | None = None,
        only_silence: bool = False,
        **_more: Any,
    ) -> None:
        """Wrap the library, now if it is imported, else when it will be. A second call changes nothing.

        Args:
            tracer_provider: Where spans go; the global provider when not given.
            meter_provider: Where metrics go; the global provider when not given.
            logger_provider: Where log events go; the global provider when not given.
            redact: Applied to each text that is captured; returns what may be kept of it.
            only_silence: Record nothing; spans that the library makes by itself do not reach a provider of ours.

        Raises:
            SettingError: A setting that names a file names one that cannot be used.
        """
        cls = type(self)
        with cls._lock:
            if cls._recorder is not None:
                return
            config.refresh()
            cls._recorder = Recorder(cls.__module__, tracer_provider, meter_provider, logger_provider, redact)
            cls._generation += 1
            generation = cls._generation
            cls._placed = () if only_silence else cls.targets
            cls._records = not only_silence
        if tracer_provider is not None:
            _follow(tracer_provider)
        look = cache(owning)
        names = frozenset(each.name.rpartition(".")[2] for each in cls._everything())
        for module in dict.fromkeys(each.module for each in cls._everything()):
            late = partial(look, module.partition(".")[0], names) if module in sys.modules else dict
            when_imported(module, partial(cls._bind, name=module, generation=generation, late=late))
        look.cache_clear()  # a module that is still being loaded is looked at when it is there
        for root in dict.fromkeys(each.module.partition(".")[0] for each in cls._needed()):
            when_imported(root, partial(cls._look, generation=generation))

    def uninstrument(self, **_more: Any) -> None:
        """Take everything off again; the library has its very own objects back."""
        cls = type(self)
        with cls._lock:
            cls._recorder = None
            classes = cls._classes() if cls._in_place else []
            for replacement in reversed(cls._in_place):
                with guard("taking a wrapper off"):
                    replacement.undo(classes)
            cls._in_place.clear()

    @classmethod
    def _everything(cls) -> list[Target | Swap]:
        return [*cls._placed, *cls.replacements]

    @classmethod
    def _needed(cls) -> list[Target | Swap]:
        """Return that without which not everything is recorded."""
        swaps = [each for each in cls.replacements if each.required and cls._records]
        return [*(each for each in cls._placed if not each.optional), *swaps]

    @classmethod
    def still_held(cls) -> list[str]:
        """Return where else in the library the functions are that ours replaced: what is called there is not seen."""
        library = cls._everything()[0].module.partition(".")[0]
        return still_held(library, [replacement.original for replacement in cls._in_place])

    @classmethod
    def _classes(cls) -> list[type]:
        roots = dict.fromkeys(each.module.partition(".")[0] for each in cls._everything())
        return [one for root in roots for one in classes_of(root)]

    @classmethod
    def _bind(cls, module: Any, *, name: str, generation: int, late: Callable[[], dict[str, list[type]]]) -> None:
        """Put in place what belongs to the module `name`; it may say another name of itself (CrewAI 1.15's do).

        Args:
            module: The module, loaded.
            name: As it is imported.
            generation: Of the call of `instrument` that asked for it.
            late: Gives the classes that were there before, by the names of methods of theirs.
        """
        with cls._lock:
            if cls._recorder is None or generation != cls._generation:
                return
            version = version_of(cls.package, name)
            mine = [each for each in cls._everything() if each.module == name]
            there = [each for each in mine if belongs(each, version)]
            before = late()
            missing = [each for each in there if not cls._place(module, each, before)]
        told = [each for each in missing if (each.required if isinstance(each, Swap) else not each.optional)]
        if told:
            _missing(cls.package, version, [f"{name}.{_gone(module, each.name)}" for each in told])

    @classmethod
    def _place(cls, module: Any, what: Target | Swap, before: Mapping[str, list[type]]) -> bool:
        """Put one thing in place, and where the classes before took it over; returns whether the library has it."""
        owner_name, _, name = what.name.rpartition(".")
        owner = getattr(module, owner_name, None) if owner_name else module
        original = owner.__dict__.get(name) if owner is not None else None
        if original is None:
            return False
        make = partial(cls._wrapper, what) if isinstance(what, Target) else what.make
        with guard(f"wrapping {what.name}"):
            cls._in_place.append(Replacement(owner, name, original, make(original)))
            for one in holders(before.get(name, ()), name, original):
                cls._in_place.append(Replacement(one, name, original, make(original)))
            if isinstance(what, Target) and what.overridden:
                cls._in_place.append(Overrides(owner, name, make))
        return True

    @classmethod
    def _look(cls, root: Any, generation: int) -> None:
        """Say what a library lacks whose modules are not there, or that is newer than what we know."""
        if cls._recorder is None or generation != cls._generation:
            return
        version = version_of(cls.package, root.__name__)
        mine = [each for each in cls._needed() if each.module.startswith(f"{root.__name__}.")]
        wanted = [each for each in mine if belongs(each, version)]
        modules = dict.fromkeys(each.module for each in wanted)
        if gone := [module for module in modules if not _has(root, module)]:
            _missing(cls.package, version, gone)
        elif wanted and version is not None and _beyond(cls.requires, version):
            logger.warning(
                "nexus-otel: %s %s is newer than is known (%s); %s and others are recorded if they are as they were",
                cls.package,
                version,
                cls.requires[0],
                f"{wanted[0].module}.{wanted[0].name}",
            )

    @classmethod
    def _wrapper(cls, target: Target, original: Any) -> Any:
        recorder, generation = cls._recorder, cls._generation

        def is_active() -> bool:
            return cls._recorder is not None and generation == cls._generation

        assert recorder is not None  # noqa: S101 - for the type checker: only bound while instrumented
        return Binding(lambda: recorder, target, is_active).around(original)


class Binding:
    """One target in place."""

    def __init__(self, recorder: Callable[[], Recorder], target: Target, is_active: Callable[[], bool]) -> None:
        self._recorder = recorder
        self.target = target
        self._is_active = is_active
        self._others: tuple[str | None, bool] | None = None

    def around(self, original: Any) -> Any:
        """Return what takes the place of a method."""
        if self.target.deferred is not None:
            return Wrapper(original, frames.calling_later(self._prepare, self._defer))
        innermost = inspect.unwrap(original)
        if inspect.isgeneratorfunction(innermost):
            return Wrapper(original, frames.calling_generator(self._start, inside))
        if inspect.isasyncgenfunction(innermost):
            return Wrapper(original, frames.calling_async_generator(self._start, inside))
        calling = frames.calling_async if inspect.iscoroutinefunction(innermost) else frames.calling
        return Wrapper(original, calling(self._start))

    def _start(self, wrapped: Any, instance: Any, args: Any, kwargs: Any) -> Step | SilentStep | None:
        return self._begin(Call(wrapped, instance, args, kwargs))

    def _begin(self, call: Call) -> Step | SilentStep | None:
        if not self._is_active():
            return None
        if self._others is None:
            self._others = self._meets_another(call)
        call.other, call.yields = self._others
        return begin(self._recorder(), self.target, call)

    def _prepare(self, wrapped: Any, instance: Any, args: Any, kwargs: Any) -> tuple[Any, Begin]:
        call = Call(wrapped, instance, args, kwargs)
        with guard.of("reading a call of", self.target.name):
            kwargs = tap_call(call)
        return kwargs, lambda: self._begin(call)

    def _defer(self, start: Begin, value: Any) -> Any:
        target = self.target
        with guard.of("preparing what is returned by", target.name):
            return target.deferred(start, value) if target.deferred is not None else value
        return value

    def _meets_another(self, call: Call) -> tuple[str | None, bool]:
        """Return another instrumentation that wraps the same method, and whether ours makes no model span beside it."""
        other: str | None = quietly(other_wrapper, type(call.instance), self.target.name.rpartition(".")[2])
        if other is None:
            return None, False
        mode = config.current().on_conflict
        note_once(
            f"conflict with {other}",
            "nexus-otel: %s instruments %s too; NEXUS_ON_CONFLICT=%s: %s",
            other,
            self.target.module.partition(".")[0],
            mode,
            "its model spans stand beside ours" if mode == "both" else "ours are left out",
        )
        return other, mode == "yield"


_VENDORS: Final = (
    "opentelemetry.instrumentation.", "openinference.", "traceloop.", "openlit.", "logfire.", "langfuse.", "langsmith.",
    "ddtrace.", "sentry_sdk.", "mlflow.", "weave.", "newrelic.", "elasticapm.",
)  # fmt: skip


def other_wrapper(kind: type, name: str) -> str | None:
    """Return the package of another instrumentation among the wrappers of a method, if there is one."""
    found: Any = inspect.getattr_static(kind, name, None)
    for _ in range(16):
        if found is None:
            return None
        wrapper = getattr(found, "_self_wrapper", found)
        module = str(getattr(wrapper, "__module__", ""))
        if module.startswith(_VENDORS):
            return module
        found = getattr(found, "__wrapped__", None)
    return None


def _follow(provider: Any) -> None:
    """End runs with the spans of a provider that is given to us."""
    with guard("joining the provider that was given"):
        from nexus_otel.engine import run_ends

        run_ends.join(provider)


# -- what a library has ------------------------------------------------------------------------------------------------


def version_of(package: str, module: str) -> str | None:
    """Return the version of a library that has been imported, by itself or by its metadata."""
    told = getattr(sys.modules.get(module.partition(".")[0]), "__version__", None)
    return told if isinstance(told, str) else quietly(importlib.metadata.version, package)


def _missing(package: str, version: str | None, symbols: list[str]) -> None:
    logger.warning(
        "nexus-otel: %s %s has no %s; its calls are not recorded",
        package, version or "of unknown version", ", ".join(dict.fromkeys(symbols)),
    )  # fmt: skip


def _gone(module: Any, path: str) -> str:
    """Return what of `Class.method` is not there: the class or the method."""
    owner, _, _method = path.rpartition(".")
    return path if not owner or hasattr(module, owner) else owner


def _has(root: Any, module: str) -> bool:
    """Whether a package has a module, without importing anything."""
    if module in sys.modules or not isinstance(getattr(root, "__loader__", None), SourceFileLoader):
        return True  # elsewhere than in files: there is no telling
    name, path = root.__name__, root.__path__
    for part in module.split(".")[1:]:
        name = f"{name}.{part}"
        spec = PathFinder.find_spec(name, path)
        if spec is None:
            return False
        path = spec.submodule_search_locations
    return True


def _beyond(requirements: Collection[str], version: str) -> bool:
    """Whether a version is above the ranges of all requirements; below them the table knows what there was."""
    limits = [re.search(r"<\s*([\d.]+)", requirement) for requirement in requirements]
    return bool(limits) and all(limit is not None and release(version) >= release(limit[1]) for limit in limits)
