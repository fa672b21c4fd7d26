"""Activation: import hooks for every library that we know; starts no thread, imports no library, never raises.

Nothing else happens, the settings included, until one of those libraries is imported: a process that imports none pays
for this module alone.
"""

from __future__ import annotations

import os
import sys
import threading
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from nexus_otel._environ import set_variable, variables
from nexus_otel._imports import when_imported

if TYPE_CHECKING:
    from nexus_otel.config import Settings

INSTRUMENTORS: Final = {
    "anthropic": ("nexus_otel.instrumentors.anthropic", "AnthropicInstrumentor"),
    "crewai": ("nexus_otel.instrumentors.crewai", "CrewAIInstrumentor"),
    "dspy": ("nexus_otel.instrumentors.dspy", "DSPyInstrumentor"),
    "langchain": ("nexus_otel.instrumentors.langchain", "LangChainInstrumentor"),
    "langgraph": ("nexus_otel.instrumentors.langgraph", "LangGraphInstrumentor"),
    "llama_index": ("nexus_otel.instrumentors.llama_index", "LlamaIndexInstrumentor"),
    "openai": ("nexus_otel.instrumentors.openai", "OpenAIInstrumentor"),
}
"""Name, and the class that instruments it."""

MODULES: Final = {
    "langchain": ("langchain_core",),
    "langgraph": ("langchain_core",),
    "llama_index": ("llama_index_instrumentation", "llama_index.core"),
}
"""The modules whose import says that a library is there, where no top-level module of its name does."""

PROVIDERS_OF_THEIR_OWN: Final = ("crewai.telemetry.telemetry",)
"""Modules that make their library's own provider the global one, before their library has been imported whole."""

FIRST_PROCESS: Final = "_NEXUS_FIRST_PID"
"""Variable with the id of the first process that is active: only it prints a summary, none of its children."""

_lock = threading.RLock()
_active = False
_allowed: bool | None = None
_source = ""
_loaded: dict[str, Any] = {}
imported_before: tuple[str, ...] = ()
"""The libraries that were imported before we were active."""


def activate(source: str, settings: Settings | None = None, **given: Any) -> bool:
    """Instrument every known library, now or when it is imported. A second call changes nothing.

    Args:
        source: What asked for it: launcher, import, otel or code.
        settings: In place of those of the environment.
        given: Further arguments for the instrumentors, such as `redact`.

    Returns:
        Whether it is active, as far as it is known: the environment's settings are read when they are needed.
    """
    global _active, _allowed, _source, imported_before  # noqa: PLW0603 - one process, activated once
    with _lock:
        if _active:
            return True
        _active, _allowed, _source = True, None, source
        imported_before = tuple(name for name in INSTRUMENTORS if name in sys.modules)
        if settings is not None:
            from nexus_otel import config

            config.use(settings)
            if not _is_allowed():
                return False
        if not variables().get(FIRST_PROCESS):
            set_variable(FIRST_PROCESS, str(os.getpid()))
        for name in PROVIDERS_OF_THEIR_OWN:
            when_imported(name, _keep_apart)
        # a library that makes spans of its own is silent before there is a provider of ours, and to the end of it
        for name in INSTRUMENTORS:
            for module in MODULES.get(name, (name,)):
                when_imported(module, partial(_instrument, name, given))
        when_imported("opentelemetry.trace", _install)
    return True


def deactivate() -> None:
    """Take every instrumentation off again; what is under way is recorded to its end."""
    global _active  # noqa: PLW0603 - one process, activated once
    with _lock:
        if not _active:
            return
        _active = False
        from nexus_otel._guard import guard
        from nexus_otel.bootstrap import leaving, stand_in

        stand_in.remove()
        for instrumentor in _loaded.values():
            with guard("uninstrumenting"):
                instrumentor.uninstrument()
        _loaded.clear()
        leaving.end_resting()


def provide() -> bool:
    """See to it that there is a provider for what a person records by hand; whether anything is to be recorded."""
    if not _permitted():
        return False
    from nexus_otel.bootstrap import stand_in

    stand_in.install(launched=_source in ("launcher", "import"))
    return True


def _is_allowed() -> bool:
    return _active and _permitted()


def _permitted() -> bool:
    """Whether the settings let us be active; says which of them cannot be used."""
    global _allowed  # noqa: PLW0603 - decided once
    with _lock:
        if _allowed is None:
            from nexus_otel import config
            from nexus_otel._guard import logger

            for problem in config.problems():
                logger.warning("nexus-otel: %s; the default is used", problem)
            found = config.current()
            off = not found.enabled or found.otel_disabled or "nexus" in config.disabled_instrumentations()
            _allowed = not off
        return _allowed


def _install(_module: Any) -> None:
    if _is_allowed():
        from nexus_otel.bootstrap import stand_in

        stand_in.install(launched=_source in ("launcher", "import"))


def _keep_apart(module: Any) -> None:
    """Keep the provider of a library's telemetry from being the global one; it stays so when we are taken off."""
    if _is_allowed() and hasattr(module, "trace"):
        from nexus_otel.engine.apart import keep_apart

        module.trace = keep_apart(module.trace)


def _instrument(name: str, given: dict[str, Any], _module: Any) -> None:
    with _lock:
        if not _is_allowed() or name in _loaded:
            return
        import importlib

        from nexus_otel import config

        disabled = name in config.current().disabled or f"nexus_{name}" in config.disabled_instrumentations()
        module, instrumentor = INSTRUMENTORS[name]
        _loaded[name] = getattr(importlib.import_module(module), instrumentor)()
        _loaded[name].instrument(only_silence=disabled, **given)
        _install(None)  # the application may have set its provider since
