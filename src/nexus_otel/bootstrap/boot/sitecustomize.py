"""Run by Python's `site` in a process that `nexus-instrument` started, and in those below it.

Any Python 3 may find it, of any environment and version, so it uses nothing that an old one lacks.
"""
# ruff: noqa: PTH100, PTH120

import os
import sys

_HERE = os.path.dirname(os.path.abspath(__file__))


def _is_ours(entry: str) -> bool:
    return os.path.abspath(entry or os.curdir) == _HERE


def _run_next() -> None:
    """Import the `sitecustomize` that Python would have found without this folder, as Python does."""
    place = next((n for n, entry in enumerate(sys.path) if _is_ours(entry)), None)
    sys.path[:] = [entry for entry in sys.path if not _is_ours(entry)]
    this = sys.modules.pop("sitecustomize")
    try:
        __import__("sitecustomize")
    except ImportError as error:
        if error.name != "sitecustomize":
            raise
        sys.modules["sitecustomize"] = this
    finally:
        if place is not None and not any(_is_ours(entry) for entry in sys.path):
            sys.path.insert(place, _HERE)


def _activate() -> None:
    """Activate tracing, if this is the Python that the launcher belongs to."""
    given = os.environ.get  # noqa: TID251 - whether the package can be imported is decided here
    prefix, version = given("_NEXUS_BOOT_PREFIX"), "{}.{}".format(*sys.version_info)
    if not prefix:
        return
    if os.path.realpath(prefix) != os.path.realpath(sys.prefix) or given("_NEXUS_BOOT_VERSION") != version:
        _say(f"this is the Python of {sys.prefix}, nexus-otel is installed in {prefix}")
        return
    try:
        from nexus_otel.bootstrap.activate import activate

        activate("launcher")
    except Exception as error:  # noqa: BLE001 - the program runs, whatever is wrong with us
        _say(f"{type(error).__name__}: {error}")


def _say(line: str) -> None:
    """Print a line on stderr, in the process that the launcher became; those below it stay silent."""
    if os.environ.get("_NEXUS_LAUNCHER_PID") == str(os.getpid()) and sys.stderr is not None:  # noqa: TID251
        sys.stderr.write(f"nexus-instrument: the run is not recorded: {line}\n")


try:
    _run_next()
finally:
    _activate()
