"""The recorders of the manual API, made when they are first used."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Final

from opentelemetry.trace import NoOpTracerProvider

from nexus_otel import config
from nexus_otel.config import Settings
from nexus_otel.genai.recorder import Recorder

_SCOPE: Final = "nexus_otel.client"


class Recording:
    """The recorders of one process.

    Attributes:
        prepare: Sees to it that there is a provider; returns whether anything is to be recorded.
    """

    def __init__(self) -> None:
        self.prepare: Callable[[], bool] = lambda: True
        self._made: dict[bool, tuple[Settings, Recorder]] = {}

    def explicit(self) -> Recorder:
        """Return the recorder of what a person passes on purpose: content unless it is switched off (`NO_CONTENT`)."""
        return self._recorder(explicit=True)

    def implicit(self) -> Recorder:
        """Return the recorder of what decorators see: content as the standard variable says."""
        return self._recorder(explicit=False)

    def _recorder(self, *, explicit: bool) -> Recorder:
        active = self.prepare()
        settings = config.current()
        found = self._made.get(explicit)
        if found is None or found[0] is not settings:
            provider = None if active else NoOpTracerProvider()
            used = replace(settings, content="SPAN_ONLY") if explicit and settings.content is None else settings
            found = self._made[explicit] = (settings, Recorder(_SCOPE, provider, settings=used))
        return found[1]


recording: Final = Recording()
