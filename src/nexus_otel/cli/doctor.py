"""`nexus-otel doctor`: what is active here, where data goes, and what is wrong."""

from __future__ import annotations

import json
import platform
import sys
from collections.abc import Iterable, Iterator
from typing import Any

from rich.text import Text

from nexus_otel import config
from nexus_otel._version import __version__
from nexus_otel.cli import checks
from nexus_otel.cli.settings import misspelt, settings
from nexus_otel.cli.terminal import console, count, one_line, size
from nexus_otel.config import SettingError

Problem = tuple[str, str]
"""What is wrong, and what to do."""


def doctor(*, as_json: bool) -> bool:
    """Print what was found, problems first.

    Args:
        as_json: As one JSON object.

    Returns:
        Whether there are no problems.
    """
    _settings, wrong = config.from_env()
    found: dict[str, Any] = {
        "python": {"executable": sys.executable, "version": platform.python_version(), "prefix": sys.prefix},
        "nexus_otel": __version__,
        "settings": settings(),
        "instrumentors": checks.instrumentors(),
        "launcher": checks.launcher(),
        "store": checks.store(),
    }
    try:
        found["spans_to"] = checks.goes()
        found["destinations"] = checks.destinations()
    except SettingError as error:
        found["spans_to"] = ["the local store"]
        found["destinations"] = []
        wrong.append(str(error))
    problems = [(line, "correct the variable; until then the default is used") for line in wrong]
    problems += [*_of_settings(), *_of_libraries(found["instrumentors"]), *_of_launcher(found["launcher"])]
    problems += _of_imports(found["instrumentors"], found["launcher"]["imported_before"])
    problems += [*_of_store(found["store"]), *_of_destinations(found["destinations"])]
    if as_json:
        listed = [{"problem": what, "do": remedy} for what, remedy in problems]
        print(json.dumps({"schema": 1, "problems": listed, **found}))
    else:
        _print(problems, found)
    return not problems


# -- problems ------------------------------------------------------------------------------------------


def _of_settings() -> Iterator[Problem]:
    own = config.current()
    if not own.enabled:
        yield "NEXUS_ENABLED is false: nothing is recorded", "unset it"
    if own.otel_disabled:
        yield "OTEL_SDK_DISABLED is true: nothing is recorded", "unset it"
    if "nexus" in config.disabled_instrumentations():
        yield "OTEL_PYTHON_DISABLED_INSTRUMENTATIONS names nexus: nothing is recorded", "take it out of the list"
    for name, meant in misspelt():
        yield f"{name} is no setting", f"did you mean {meant}?"


def _of_libraries(found: list[dict[str, Any]]) -> Iterator[Problem]:
    if all(one["version"] is None for one in found):
        names = ", ".join(one["name"] for one in found)
        yield f"no library that is recorded is installed here ({names})", "run this in your program's environment"
    for one in found:
        library = f"{one['name']} {one['version']}"
        if one["version"] is None or one["disabled"]:
            continue
        if not one["in_range"]:
            yield f"{library} is not among {one['requires'][0]}", "install a version that is"
        if failure := one.get("failure"):
            yield (
                f"{library} cannot be looked at: {failure}",
                f"see whether this works: python -c 'import {one['name']}'",
            )
        if missing := one.get("missing"):
            yield f"{library} has no {', '.join(missing)}: not recorded", "install a version it is tested on"
        if lost := one.get("lost"):
            yield (
                f"{library} has no {', '.join(lost)}: what is read there is not known",
                "install a version it is tested on",
            )
        if one["others"] and config.current().on_conflict == "both":
            others = ", ".join(one["others"])
            yield (
                f"{others} can record {one['name']} too: its model spans stand beside ours where both are active",
                "set NEXUS_ON_CONFLICT=yield, or do not activate it",
            )


def _of_imports(found: list[dict[str, Any]], before: list[str]) -> Iterator[Problem]:
    """Tell what escapes us of the libraries that this Python imports before the launcher is active."""
    for one in found:
        if one["name"] in before and one.get("held"):
            yield (
                f"{one['name']} is imported before nexus-instrument is active: {', '.join(one['held'])} not recorded",
                "do not import it in a .pth file or in sitecustomize",
            )


def _of_launcher(found: dict[str, Any]) -> Iterator[Problem]:
    if not found["reached"] and config.current().enabled:
        said = f" ({found['said']})" if found["said"] else ""
        yield (
            f"nexus-instrument does not reach {sys.executable}{said}",
            'put "import nexus_otel.auto" first in the program',
        )
    if sys.flags.ignore_environment or sys.flags.isolated:
        yield (
            "this Python was started with -I or -E, which ignore PYTHONPATH",
            'use "import nexus_otel.auto" in programs',
        )


def _of_store(found: dict[str, Any]) -> Iterator[Problem]:
    if not found["writable"]:
        yield f"{found['path']} cannot be written to: a temporary folder is used", "set NEXUS_HOME"
    elif found["remote"]:
        yield f"{found['path']} is on a network file system: a temporary folder is used", "set NEXUS_HOME"
    for endpoint, number in found["undelivered"].items():
        yield f"{count(number, 'request')} for {endpoint} not sent yet", "nexus-otel flush"


def _of_destinations(found: list[dict[str, Any]]) -> Iterator[Problem]:
    for one in found:
        if not one["answers"]:
            yield f"{one['endpoint']} does not take {one['signal']}: {one['why']}", one["do"]


# -- on a terminal -------------------------------------------------------------------------------------


def _print(problems: list[Problem], found: dict[str, Any]) -> None:
    to = console()
    for what, remedy in problems:
        to.print(Text(f"problem: {one_line(what, 500)}", style="red"), soft_wrap=True)
        to.print(Text(f"      do: {one_line(remedy, 300)}"), soft_wrap=True)
    to.print(Text("no problems found", style="green") if not problems else Text(""))
    for label, text in _lines(found):
        to.print(Text.assemble((f"{label:<12}", "dim"), one_line(text, 500)), soft_wrap=True)


def _lines(found: dict[str, Any]) -> Iterator[tuple[str, str]]:
    python, launcher, store = found["python"], found["launcher"], found["store"]
    yield "python", f"{python['executable']} ({python['version']})"
    yield "nexus-otel", found["nexus_otel"]
    for one in found["settings"]:
        yield "setting", f"{one['name']}={one['value']} ({one['source']})"
    for one in found["instrumentors"]:
        yield "library", _library(one)
        yield from (("", text) for text in _more_of_library(one, launcher["imported_before"]))
    yield "launcher", "reaches this Python" if launcher["reached"] else "does not reach this Python"
    if launcher["sitecustomize"]:
        yield "", f"runs {launcher['sitecustomize']} too, first"
    if launcher["python_on_path_problem"]:
        yield "", f"python on the PATH: {launcher['python_on_path_problem']}"
    yield "spans", f"go to {' and '.join(found['spans_to']) or 'nobody'}"
    yield "store", f"{store['path']}: {size(store['bytes'])} in {count(store['segments'], 'segment')}"
    for one in found["destinations"]:
        yield (
            one["signal"],
            f"{one['endpoint']}: {'answers' if one['answers'] else 'does not answer'} ({one['answer']})",
        )


def _library(one: dict[str, Any]) -> str:
    if one["version"] is None:
        return f"{one['name']}: not installed"
    state = "disabled, " if one["disabled"] else ""
    absent = f", {len(one['absent'])} that only other versions have" if one.get("absent") else ""
    return f"{one['name']} {one['version']}: {state}{len(one.get('bound', ()))} of its methods are wrapped{absent}"


def _by_module(symbols: Iterable[str]) -> dict[str, list[str]]:
    """Return patch points by their module: it is written in small letters, unlike the class that follows."""
    found: dict[str, list[str]] = {}
    for symbol in symbols:
        parts = symbol.split(".")
        last = next((n for n, part in enumerate(parts) if part[:1].isupper()), len(parts) - 1)
        found.setdefault(".".join(parts[:last]), []).append(".".join(parts[last:]))
    return found


def _more_of_library(one: dict[str, Any], before: list[str]) -> Iterator[str]:
    for module, names in _by_module(one.get("bound", ())).items():
        yield f"wrapped in {module}: {', '.join(names)}"
    for module, names in _by_module(one.get("replaced", ())).items():
        yield f"replaced in {module}: {', '.join(names)}"
    if one["name"] in before:
        yield "imported before nexus-instrument is active, by a .pth file or sitecustomize"
    if "held" in one:
        left = ", ".join([*one["held"], "methods that a program took before (ask = client.messages.create)"])
        yield f"in a program that imports it before we are active: recorded too, but for {left}"
    if one.get("others"):
        yield f"can be recorded by {', '.join(one['others'])} too"
