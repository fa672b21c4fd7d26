"""A library that is not as we know it: one warning that names package, version and symbol; the program runs."""

import importlib.metadata
import json
import re
import shutil
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.e2e.kit import LAUNCHER, PYTHON, RUN, World, shape, together, two_steps

ASK = """
import logging
logging.basicConfig(format="%(name)s %(message)s")
import loop
print(loop.anthropic.__version__, loop.ask())
"""
VERSION = importlib.metadata.version("anthropic")


def broken(folder, *, version=VERSION, cut=None, moved=None, missing=None):
    """Copy the SDK that is installed: under another version, with a text replaced, a module renamed, or a file gone."""
    source = Path(find_spec("anthropic").origin).parent
    shutil.copytree(source, folder / "anthropic", ignore=shutil.ignore_patterns("__pycache__"))
    (folder / "anthropic" / "_version.py").write_text(f'__title__ = "anthropic"\n__version__ = "{version}"\n')
    info = folder / f"anthropic-{version}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: anthropic\nVersion: {version}\n")
    if moved is not None:
        path, name = folder / "anthropic" / moved[0], moved[1]
        path.rename(path.with_name(f"{name}.py"))
        for file in (folder / "anthropic").rglob("*.py"):
            text = file.read_text()
            if path.stem in text:
                file.write_text(text.replace(path.stem, name))
    if missing is not None:
        (folder / "anthropic" / missing).unlink()
    if cut is not None:
        path, old, new = cut
        text = (folder / "anthropic" / path).read_text()
        assert re.search(old, text)
        (folder / "anthropic" / path).write_text(re.sub(old, new, text))


RENAMED = ("_base_client.py", r"_sleep_for_retry", "_wait_for_retry")
FUNCTIONS = "lib/tools/_beta_functions.py"
CASES = {
    # name: what is done to the SDK, what is warned of, what doctor says of it
    "too new": (
        {"version": "3.0.1"},
        r"anthropic 3\.0\.1 is newer than is known \(anthropic >= 0\.40\.0, < 3\); anthropic\.resources\.messages\.messages\.Messages\.create and others are recorded if they are as they were",
        ["anthropic 3.0.1 is not among anthropic >= 0.40.0, < 3"],
    ),
    "a method renamed": (
        {"cut": RENAMED},
        rf"anthropic {re.escape(VERSION)} has no anthropic\._base_client\.SyncAPIClient\._sleep_for_retry, anthropic\._base_client\.AsyncAPIClient\._sleep_for_retry; its calls are not recorded",
        [f"anthropic {VERSION} has no anthropic._base_client.SyncAPIClient._sleep_for_retry, anthropic._base_client.AsyncAPIClient._sleep_for_retry: not recorded"],
    ),
    "a module renamed": (
        {"moved": (FUNCTIONS, "_functions_of_tools")},
        rf"anthropic {re.escape(VERSION)} has no anthropic\.lib\.tools\._beta_functions; its calls are not recorded",
        [f"anthropic {VERSION} has no anthropic.lib.tools._beta_functions.BetaFunctionTool.call, anthropic.lib.tools._beta_functions.BetaAsyncFunctionTool.call: not recorded"],
    ),
}  # fmt: skip


def one(provider, folder, name):
    world = World.made(provider, folder, [*two_steps(), *two_steps()])
    path = world.folder / "path"
    path.mkdir()
    broken(path, **CASES[name][0])
    program = world.write("agent.py", ASK)
    where = f"{path}:{world.env()['PYTHONPATH']}"
    bare = world.run(PYTHON, program, PYTHONPATH=where)
    done = world.run(LAUNCHER, PYTHON, program, PYTHONPATH=where)
    doctor = world.nexus("doctor", "--json", PYTHONPATH=where)
    return bare, done, world.stored(), json.loads(doctor.out)


@pytest.fixture(scope="module")
def ran(provider, tmp_path_factory):
    folder = tmp_path_factory.mktemp("libraries")
    results = together(*(lambda name=name: one(provider, folder, name) for name in CASES))
    return dict(zip(CASES, results, strict=True))


@pytest.mark.parametrize("name", CASES)
def test_the_program_runs_and_one_warning_says_what_is_not_as_known(ran, name):
    bare, done, _stored, _doctor = ran[name]
    assert (done.code, done.out, bare.err) == (bare.code, bare.out, "")
    (line,) = done.err.splitlines()
    assert re.fullmatch(f"nexus_otel nexus-otel: {CASES[name][1]}", line), line


@pytest.mark.parametrize("name", CASES)
def test_the_run_is_recorded_all_the_same(ran, name):
    assert shape(ran[name][2]) == RUN


@pytest.mark.parametrize("name", CASES)
def test_doctor_shows_it(ran, name):
    assert [one["problem"] for one in ran[name][3]["problems"]] == CASES[name][2]


def test_a_library_that_cannot_be_imported_fails_as_without_us_and_doctor_says_why(provider, tmp_path):
    world = World.made(provider, tmp_path)
    path = world.folder / "path"
    path.mkdir()
    broken(path, missing=FUNCTIONS)
    program = world.write("agent.py", "import logging\nlogging.basicConfig()\ntry:\n    import anthropic\n"
                          "except ImportError as error:\n    print(type(error).__name__, error)\n")  # fmt: skip
    bare, done = (world.run(*launcher, PYTHON, program, PYTHONPATH=str(path)) for launcher in ([], [LAUNCHER]))
    assert (done.code, done.out, done.err) == (0, bare.out, "")
    (problem,) = json.loads(world.nexus("doctor", "--json", PYTHONPATH=str(path)).out)["problems"]
    assert problem["problem"] == f"anthropic {VERSION} cannot be looked at: {bare.out.strip().replace(' ', ': ', 1)}"
