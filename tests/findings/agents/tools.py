"""What the agents of these tests can do, and the runs they make: one for each name, on a key of its own."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from typing import Any

QUESTION = "Do it, please."
MODEL = os.environ.get("MODEL", "claude-sonnet-4-5")


def search(query: str) -> str:
    """Searches the help pages."""
    return "Refunds: see refunds."


def charge(order: str) -> str:
    """Charges an order."""
    if order.startswith("#"):
        raise ValueError(f"unknown order {order}")
    return "charged"


def status(job: str) -> str:
    """Says how far a job is."""
    return f"running, {next(_progress)}0 % done"


def build(job: str) -> str:
    """Builds a job, which takes its time."""
    time.sleep(1.6)
    return f"{job} is built"


def _counted() -> Iterator[int]:
    yield from range(1, 1000)


_progress = _counted()
TOOLS = (search, charge, status, build)


def schema(tool: Any) -> dict[str, Any]:
    """The JSON schema of a tool's arguments."""
    (name,) = (name for name in tool.__annotations__ if name != "return")
    return {"type": "object", "properties": {name: {"type": "string"}}, "required": [name]}


def called(name: str, given: dict[str, Any]) -> tuple[str, bool]:
    """Call a tool as a hand-written loop does: every failure becomes a text; returns it, and whether it is one."""
    tool = {tool.__name__: tool for tool in TOOLS}.get(name)
    if tool is None:
        return f"unknown tool: {name}", True
    try:
        return tool(**given), False
    except (TypeError, ValueError) as error:
        return f"{type(error).__name__}: {error}", True


def runs(ask: Callable[[str], Any]) -> None:
    """Ask once for each name; say how it ended where that was with an exception."""
    for name in os.environ["NAMES"].split(","):
        try:
            ask(f"{os.environ['KEYS']}.{name}")
        except Exception as error:  # noqa: BLE001 - whatever a framework makes of it
            print(name, *causes(error))


def causes(error: BaseException | None) -> list[str]:
    """The names of an exception and of what led to it."""
    names = []
    while error is not None:
        names.append(type(error).__name__)
        error = error.__cause__ or error.__context__
    return names
