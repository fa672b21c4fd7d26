"""A small process beside a launched program: it sends at once what the program could not send before it died.

It is forked before the launcher becomes the program, imports nothing until the program is gone, and is gone itself soon
after. It belongs to nobody's terminal, pipes or process group, and does not look like the program to `pkill -f`.
"""
# it starts with every program that is launched, so without pathlib
# ruff: noqa: PTH109, PTH123, PTH208

from __future__ import annotations

import os
import select
import signal
import time
from collections.abc import Mapping
from contextlib import suppress
from typing import Final, NoReturn

from nexus_otel._environ import set_variable
from nexus_otel.config import Settings

SEND_S: Final = 5.0
"""How long it tries to send at most, from the death of the program on; a dead endpoint is left to the next start."""
_NAME: Final = b"nexus-watcher"
_LOOK_S: Final = 0.25
"""How often it looks whether the program is gone, where the system does not tell."""
_ARGUMENTS: Final = slice(45, 47)
"""Where the command line lies in memory: fields 48 and 49 of /proc/PID/stat, counted from the one after the name."""
_ENDPOINTS: Final = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")


def is_wanted(settings: Settings, environment: Mapping[str, str]) -> bool:
    """Whether a program may leave something behind that is to be sent from its spool.

    Args:
        settings: Those of the program.
        environment: The variables that it will see.
    """
    if settings.watcher == "off" or not settings.enabled or settings.otel_disabled:
        return False
    if not hasattr(os, "fork") or os.getpid() == 1:  # a container ends with its first process
        return False
    if settings.export is not None:
        return "otlp" in settings.export
    return any(environment.get(name, "").strip() for name in _ENDPOINTS)


def start(environment: Mapping[str, str]) -> None:
    """Fork the watcher of this process, which goes on and becomes the program. Never raises.

    Args:
        environment: The variables that the program will see.
    """
    program = os.getpid()
    with suppress(OSError, RuntimeError):  # no more processes
        told = _pidfd(program)
        child = os.fork()
        if child == 0:
            _detach(program, told, environment)
        with suppress(ChildProcessError):  # the program's parent ignores the ends of children
            os.waitpid(child, 0)
        if told is not None:
            os.close(told)


def _pidfd(program: int) -> int | None:
    """Return a descriptor that is ready to be read once the process has ended; None where there is no such thing."""
    with suppress(OSError, AttributeError):
        return os.pidfd_open(program)
    return None


def _detach(program: int, told: int | None, environment: Mapping[str, str]) -> NoReturn:
    """Go on in a grandchild that nobody waits for, in a session of its own."""
    try:
        os.setsid()
        if os.fork() == 0:
            _watch(program, told, environment)
    finally:
        os._exit(0)


def _watch(program: int, told: int | None, environment: Mapping[str, str]) -> None:
    folder = ""
    with suppress(OSError):  # a folder that is deleted
        folder = os.getcwd()
    _let_go(told)
    os.chdir("/")
    _rename()
    if told is not None:
        ended = select.poll()
        ended.register(told, select.POLLIN)
        ended.poll()
    else:
        _wait(program)
    until = time.monotonic() + SEND_S
    signal.alarm(int(SEND_S) + 4)  # whatever hangs: within ten seconds this process is gone
    with suppress(OSError):
        os.chdir(folder)  # files in the variables may be named from there
    for name, value in environment.items():
        set_variable(name, value)
    _send(until)


def _let_go(told: int | None) -> None:
    """Let go of everything that the program inherits too, so that a pipe ends with it; outlive what ends its group."""
    for name in ("SIGHUP", "SIGINT", "SIGTERM"):
        signal.signal(getattr(signal, name), signal.SIG_IGN)
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    null = os.open(os.devnull, os.O_RDWR)
    for descriptor in range(3):
        os.dup2(null, descriptor)
    top = os.sysconf("SC_OPEN_MAX")
    if told is None:
        os.closerange(3, top)
        return
    os.closerange(3, told)
    os.closerange(told + 1, top)


def _rename() -> None:
    """Take another name in the list of processes: who looks for the program by its command line means the program."""
    with suppress(OSError, ValueError, IndexError):
        with open("/proc/self/stat", "rb") as file:
            start, end = map(int, file.read().rpartition(b")")[2].split()[_ARGUMENTS])
        with open("/proc/self/mem", "r+b", buffering=0) as memory:
            memory.seek(start)
            memory.write(_NAME[: end - start - 1].ljust(end - start, b"\0"))
        with open("/proc/self/comm", "wb") as file:
            file.write(_NAME)


def _wait(program: int) -> None:
    with suppress(ProcessLookupError):
        while True:
            os.kill(program, 0)
            time.sleep(_LOOK_S)


def _send(until: float) -> None:
    """Send what is left, if anything is."""
    from nexus_otel import config
    from nexus_otel._guard import guard

    with guard("sending what a program left"):
        config.use(None)
        home = config.home()
        from nexus_otel.export.places import store_folders

        folders = [str(folder) for folder in store_folders(home) if folder.is_dir()]
        if any(name.endswith(".nxs") for folder in folders for name in os.listdir(folder)):
            from nexus_otel.export.sender import flush_store

            flush_store(home, until - time.monotonic())
