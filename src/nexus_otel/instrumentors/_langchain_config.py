"""What a `RunnableConfig` says of the conversation that a call belongs to."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any, Final

from nexus_otel.genai.plain import item

_KEYS: Final = ("thread_id", "session_id", "conversation_id")
"""By which LangGraph (`configurable`), message histories and LangSmith (`metadata`) name a conversation."""


def conversation_id(config: Any) -> str | None:
    """Return the id of the conversation, by the config of a call, of its callbacks, or of the run around it."""
    return _told(config) or _told(item(config, "run_manager")) or _told(_ambient())


def _told(config: Any) -> str | None:
    for name in ("configurable", "metadata"):
        values = item(config, name)
        if isinstance(values, Mapping):
            for key in _KEYS:
                if isinstance(found := values.get(key), str | int) and found != "":
                    return str(found)
    return None


def _ambient() -> Any:
    """Return the config of the runnable that is running here, as LangChain keeps it."""
    variable = item(sys.modules.get("langchain_core.runnables.config"), "var_child_runnable_config")
    return variable.get() if variable is not None else None
