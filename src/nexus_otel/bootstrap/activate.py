"""Activation: import hooks for every library that we know; starts no thread, imports no library, never raises."""

from __future__ import annotations

import importlib
import sys
import threading
from typing import Any, Final

import wrapt

from nexus_otel import config
from nexus_otel._guard import guard, logger, report
from nexus_otel.bootstrap import leaving
from nexus_otel.config import Settings

INSTRUMENTORS: Final = {
    "anthropic": ("nexus_otel.instrumentors.anthropic", "AnthropicInstrumentor"),
}
"""Name, which is the package's top-level module too, and the class that instruments it."""

_lock = threading.RLock()
_active = False
_loaded: dict[str, Any] = {}


def activate(source: str, settings: Settings | None = None, **given: Any) -> bool:
    """Instrument every known library, now or when it is imported. A second call changes nothing.

    Args:
        source: What asked for it: launcher, import, otel or code.
        settings: In place of those of the environment.
        given: Further arguments for the instrumentors, such as `redact`.

    Returns:
        Whether it is active.
    """
    global _active  # noqa: PLW0603 - one process, activated once
    try:
        with _lock:
            if _active:
                return True
            if settings is not None:
                config.use(settings)
            for problem in config.problems():
                logger.warning("nexus-otel: %s; the default is used", problem)
            found = config.current()
            if not found.enabled or found.otel_disabled or "nexus" in config.disabled_instrumentations():
                return False
            _active = True
            leaving.claim_summary()
            _when_imported("opentelemetry.trace", lambda: _install(source))
            for name in INSTRUMENTORS:
                if not _is_disabled(name, found):
                    _when_imported(name, lambda name=name: _instrument(name, given))
    except Exception as error:  # noqa: BLE001 - ours: the application runs all the same
        report("activating", error)
    return _active


def deactivate() -> None:
    """Take every instrumentation off again; open runs and streams end."""
    global _active  # noqa: PLW0603 - one process, activated once
    with _lock:
        _active = False
        for instrumentor in _loaded.values():
            with guard("uninstrumenting"):
                instrumentor.uninstrument()
        _loaded.clear()
        if "opentelemetry.trace" in sys.modules:
            from nexus_otel.bootstrap import providers

            leaving.end_all()
            providers.remove()


def _install(source: str) -> None:
    from nexus_otel.bootstrap import providers

    if _active:
        providers.install(launched=source in ("launcher", "import"))


def _instrument(name: str, given: dict[str, Any]) -> None:
    with _lock:
        if not _active or name in _loaded:
            return
        module, instrumentor = INSTRUMENTORS[name]
        _loaded[name] = getattr(importlib.import_module(module), instrumentor)()
        _loaded[name].instrument(**given)


def _is_disabled(name: str, settings: Settings) -> bool:
    return name in settings.disabled or f"nexus_{name}" in config.disabled_instrumentations()


def _when_imported(module: str, action: Any) -> None:
    def hook(_module: Any) -> None:
        try:
            action()
        except Exception as error:  # noqa: BLE001 - ours: the application's import goes on
            report(f"activating for {module}", error)

    if module in sys.modules:
        hook(None)
    else:
        wrapt.register_post_import_hook(hook, module)
