"""Whether a command is a Python that the launcher cannot reach: by a look at it, it is never run."""
# it runs before every program that is launched, so without pathlib
# ruff: noqa: PTH100, PTH110, PTH113, PTH118, PTH119, PTH120, PTH123

from __future__ import annotations

import os
import re
import sys
from collections.abc import Mapping, Sequence
from typing import Final

_PYTHON: Final = re.compile(r"(?:python|pypy)[0-9.]*t?(?:\.exe)?", re.IGNORECASE)
_AUTO: Final = 'put "import nexus_otel.auto" first in the program'
_LINE_BYTES: Final = 512


def problem(path: str, arguments: Sequence[str], environment: Mapping[str, str]) -> str | None:
    """Return why the run of a command is not recorded, and what to do; None where nothing is in its way.

    Args:
        path: The file of the command.
        arguments: What follows the command.
        environment: The variables it will see.
    """
    line = shebang(path)
    if line and not _is_python(path):
        path, arguments = _through_env(line, environment)
    if not _is_python(path):
        return None
    flag = isolating(arguments)
    if flag == "S":
        return f"python -S starts without site: the run is not recorded; start it without -S, or {_AUTO}"
    if flag:
        return f"python -{flag} ignores PYTHONPATH: the run is not recorded; {_AUTO}"
    if not os.path.exists(path) or shebang(path) is not None:  # a shim: what it picks cannot be seen
        return None
    return _foreign(path)


def _is_python(path: str) -> bool:
    return _PYTHON.fullmatch(os.path.basename(path)) is not None


def isolating(arguments: Sequence[str]) -> str | None:
    """Return the flag (I, E or S) among an interpreter's own that keeps the launcher out.

    >>> isolating(["-IB", "agent.py"])
    'I'
    >>> isolating(["-m", "agent", "-I"]) is None
    True
    """
    rest = iter(arguments)
    for argument in rest:
        if not argument.startswith("-") or argument in {"-", "--"}:
            return None
        if argument.startswith("--"):
            if argument == "--check-hash-based-pycs":
                next(rest, None)
            continue
        for place, letter in enumerate(argument[1:], start=2):
            if letter in "IES":
                return letter
            if letter in "cm":
                return None
            if letter in "WX":  # the rest, or the next argument, is its value
                if place == len(argument):
                    next(rest, None)
                break
    return None


def shebang(path: str) -> list[str] | None:
    """Return the words of a script's first line; None for anything else."""
    try:
        with open(path, "rb") as file:
            head = file.read(_LINE_BYTES)
    except OSError:
        return None
    if not head.startswith(b"#!"):
        return None
    return head[2:].split(b"\n", 1)[0].decode("utf-8", "replace").split()


def _through_env(words: list[str], environment: Mapping[str, str]) -> tuple[str, list[str]]:
    """Return the interpreter and its arguments of a first line, `/usr/bin/env` resolved."""
    path, *rest = words
    if os.path.basename(path) != "env":
        return path, rest
    if rest and rest[0] in {"-S", "--split-string"}:
        rest = rest[1:]
    if not rest:
        return path, rest
    for folder in os.get_exec_path(environment):
        candidate = os.path.join(folder, rest[0])
        if os.access(candidate, os.X_OK):
            return candidate, rest[1:]
    return rest[0], rest[1:]


def _foreign(path: str) -> str | None:
    """Return the line for an interpreter of another environment, where that is certain."""
    found = environment_of(path)
    if os.path.realpath(found) == os.path.realpath(sys.prefix) if found else sys.prefix == sys.base_prefix:
        return None
    return (
        f"{path} is not the Python of {sys.prefix}: the run is not recorded; "
        f"start it with {sys.executable}, or install nexus-otel in its environment and {_AUTO}"
    )


def environment_of(path: str) -> str | None:
    """Return the virtual environment that an interpreter belongs to; None where it belongs to none."""
    folder = os.path.dirname(os.path.abspath(path))
    for place in (folder, os.path.dirname(folder)):
        if os.path.isfile(os.path.join(place, "pyvenv.cfg")):
            return place
    return None
