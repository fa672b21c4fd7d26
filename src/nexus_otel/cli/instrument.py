"""`nexus-instrument COMMAND`: start a program so that its Python processes are traced.

Nothing heavy is imported here: this runs before every program that is started this way.
"""
# names of files stay the strings that the user typed
# ruff: noqa: PTH100, PTH110, PTH111, PTH112, PTH113, PTH118, PTH120

from __future__ import annotations

import errno
import os
import signal
import sys
from collections.abc import Mapping, Sequence
from typing import Any, Final, NoReturn

from nexus_otel._environ import variables
from nexus_otel._version import __version__
from nexus_otel.cli import watcher
from nexus_otel.cli.interpreter import problem
from nexus_otel.config import from_env, settings_table

PROGRAM: Final = "nexus-instrument"
BOOT_PREFIX: Final = "_NEXUS_BOOT_PREFIX"
BOOT_VERSION: Final = "_NEXUS_BOOT_VERSION"
LAUNCHER_PID: Final = "_NEXUS_LAUNCHER_PID"
USAGE: Final = f"usage: {PROGRAM} [options] COMMAND [ARGS...]"

_USAGE_ERROR: Final = 2
_CANNOT_RUN: Final = 126
_NOT_FOUND: Final = 127
_PATHS: Final = frozenset({"home", "redact"})
"""Settings that name a file: made absolute, for the program may change its folder."""


class UsageError(Exception):
    """The command line cannot be understood; the message is one line for the user."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command of the command line in place of this process.

    Args:
        arguments: The command line without the program's name; the process's own when not given.

    Returns:
        The exit code, where no command took this process's place.
    """
    try:
        return _main(list(sys.argv[1:] if arguments is None else arguments))
    except UsageError as error:
        return _fail(_USAGE_ERROR, str(error))


def _main(arguments: list[str]) -> int:
    given, command = split(arguments)
    if "help" in given:
        return _print(help_text())
    if "version" in given:
        return _print(f"{PROGRAM} {__version__}")
    environment = {**variables(), **given}
    settings, problems = from_env(environment)
    ours = [line for line in problems if not line.startswith("OTEL_") or line.split("=")[0] in given]
    if ours:
        raise UsageError("; ".join(ours))
    for line in problems:  # a standard variable may be meant for another: it is said, and the program starts
        _say(f"{PROGRAM}: {line}; the default is used")
    if not command:
        _say(f'{USAGE}\nTry "{PROGRAM} --help".')
        return _USAGE_ERROR
    return launch(command, environment, watched=watcher.is_wanted(settings, environment))


# -- the command line -----------------------------------------------------------------------------------


def split(arguments: list[str]) -> tuple[dict[str, str], list[str]]:
    """Return the variables that our options set (or `help`, `version`), and the command after them.

    Raises:
        UsageError: An option before the command is unknown or lacks its value.
    """
    known = options()
    given: dict[str, str] = {}
    rest = iter(arguments)
    for argument in rest:
        if argument == "--":
            return given, list(rest)
        if not argument.startswith("-") or argument == "-":
            return given, [argument, *rest]
        if argument in {"-h", "--help", "-V", "--version"}:
            return {"version" if argument in {"-V", "--version"} else "help": ""}, []
        name, equals, value = argument.partition("=")
        if name not in known:
            raise UsageError(f"unknown option {name}; there are: {', '.join(known)}")
        if not equals:
            value = next(rest, "")
        if not value.strip():
            raise UsageError(f"{name} needs a value: {known[name].metadata['values']}")
        if known[name].name in _PATHS:
            value = os.path.abspath(os.path.expanduser(value))
        given[known[name].metadata["variable"]] = value
    return given, []


def options() -> dict[str, Any]:
    """Return our options and the setting that each one gives."""
    return {"--" + entry.name.replace("_", "-"): entry for entry in settings_table()}


def help_text() -> str:
    """Return what `--help` prints."""
    lines = [
        USAGE,
        "",
        "Runs COMMAND as it is; the Python processes in it record their agent runs.",
        "",
        f"  {PROGRAM} python agent.py",
        f"  {PROGRAM} --content SPAN_ONLY uvicorn app:app",
        "",
        "Then `nexus-otel show` prints the run. Each option stands for a variable:",
        "",
    ]
    for name, entry in options().items():
        meta = entry.metadata
        lines += [f"  {name} VALUE", f"      {meta['meaning']} ({meta['values']}; {meta['variable']})"]
    return "\n".join([*lines, "  --version", "  --help"])


# -- the launch -----------------------------------------------------------------------------------------


def launch(command: Sequence[str], environment: Mapping[str, str], *, watched: bool = False) -> int:
    """Run `command` in place of this process; says why where its run cannot be recorded.

    Args:
        command: The program and its arguments.
        environment: The variables to start from.
        watched: Whether a watcher outlives it.

    Returns:
        The exit code: that of the command on Windows, 126 or 127 where it cannot be run.
    """
    name = command[0]
    path = find(name, environment)
    if path is None:
        return _fail(_NOT_FOUND, f"{name}: command not found{_hint(name)}")
    if os.path.isdir(path):
        return _fail(_CANNOT_RUN, f"{name}: is a directory")
    if not os.access(path, os.X_OK):
        return _fail(_CANNOT_RUN, f"{name}: permission denied{_hint(name)}")
    reason = problem(path, command[1:], environment)
    if reason is not None:
        _say(f"{PROGRAM}: {reason}")
    traced = booted(environment, reached=reason is None)
    if watched:
        watcher.start(environment)
    return _replace(path, command, traced)


def find(name: str, environment: Mapping[str, str]) -> str | None:
    """Return the file that a shell would run for `name`: an executable one, else one that is there."""
    if os.name == "nt":
        import shutil

        return shutil.which(name, path=environment.get("PATH"))
    if "/" in name:
        return name if os.path.exists(name) else None
    there = None
    for folder in os.get_exec_path(environment):
        path = os.path.join(folder or ".", name)
        if os.path.isfile(path):
            if os.access(path, os.X_OK):
                return path
            there = there or path
    return there


def booted(environment: Mapping[str, str], *, reached: bool = True) -> dict[str, str]:
    """Return the environment in which a Python of this installation starts traced.

    Args:
        environment: The variables to start from.
        reached: Whether the command itself is traced, as far as known, and not only what it starts.
    """
    package = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    boot = os.path.join(package, "bootstrap", "boot")
    search = environment.get("PYTHONPATH", "")
    others = [entry for entry in search.split(os.pathsep) if entry != boot] if search else []
    return {
        **environment,
        "PYTHONPATH": os.pathsep.join([boot, *others]),
        BOOT_PREFIX: sys.prefix,
        BOOT_VERSION: f"{sys.version_info.major}.{sys.version_info.minor}",
        LAUNCHER_PID: str(os.getpid()) if reached else "0",
    }


def _replace(path: str, command: Sequence[str], environment: dict[str, str]) -> int:
    if os.name == "nt":
        return _run_beside(path, command, environment)
    _heed_signals()
    try:
        os.execve(path, list(command), environment)  # noqa: S606 - the user's own command
    except OSError as error:
        if error.errno == errno.ENOEXEC:  # a script without its first line: shells run it
            os.execve("/bin/sh", ["sh", path, *command[1:]], environment)  # noqa: S606
        what = "bad interpreter" if error.errno == errno.ENOENT else "cannot run"
        return _fail(_CANNOT_RUN, f"{command[0]}: {what}: {os.strerror(error.errno or 0)}")


def _heed_signals() -> None:
    """Undo what Python does at its start: it ignores these, and the command would inherit that."""
    for name in ("SIGPIPE", "SIGXFSZ"):
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_DFL)


def _run_beside(path: str, command: Sequence[str], environment: dict[str, str]) -> int:
    import subprocess

    child = subprocess.Popen([path, *command[1:]], env=environment)  # noqa: S603 - the user's own command
    while True:
        try:
            return child.wait()
        except KeyboardInterrupt:  # the command got it too, and decides
            continue


def _hint(name: str) -> str:
    if name.endswith(".py") and os.path.isfile(name):
        return f"; did you mean: {PROGRAM} python {name}"
    beside = os.path.join(os.path.dirname(sys.executable), name)
    if "/" not in name and os.access(beside, os.X_OK):
        return f"; did you mean: {PROGRAM} {beside}"
    return ""


def _fail(code: int, line: str) -> int:
    _say(f"{PROGRAM}: {line}")
    return code


def _say(text: str) -> None:
    if sys.stderr is not None:
        print(text, file=sys.stderr, flush=True)


def _print(text: str) -> int:
    _heed_signals()
    print(text)
    return 0


def run() -> NoReturn:
    """Run the launcher as a program."""
    sys.exit(main())


if __name__ == "__main__":
    run()
