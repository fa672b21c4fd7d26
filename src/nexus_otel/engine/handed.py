"""Model calls whose answer is a generator of a library's own, which makes its request when it is read.

Nothing can be current meanwhile: the generator runs in its reader's context. What runs in it is found by its frame,
which is on the stack whenever the generator runs.
"""

from __future__ import annotations

import sys
import weakref
from typing import Any, Final

from nexus_otel.engine.steps import Step

_steps: Final[dict[int, Step]] = {}
"""By `id()` of the generator's frame, which lives as long as the generator does."""


def hand_out(generator: Any, step: Step) -> None:
    """Know that a generator answers a step, until it is collected; other objects than generators are passed over."""
    frame = getattr(generator, "gi_frame", None) or getattr(generator, "ag_frame", None)
    if frame is not None:
        _steps[id(frame)] = step
        weakref.finalize(generator, _steps.pop, id(frame), None).atexit = False


def running_step() -> Step | None:
    """Return the open step of a generator that runs right now, around the caller."""
    frame = sys._getframe(1) if _steps else None
    while frame is not None:
        step = _steps.get(id(frame))
        if step is not None and not step.ended:
            return step
        frame = frame.f_back
    return None
