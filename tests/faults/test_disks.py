"""Disks that are full, read-only or not there: the program never notices, and the run is kept where it can be."""

import json
import os
import shutil
import subprocess

import pytest

from tests.e2e.kit import RUN, quiet, shape, together, two_steps
from tests.fakes.otlp import Receiver, spans_of_json

ASK = "import loop; print(loop.ask())\n"
MANY = "import loop\nfor n in range(30): loop.ask(str(n) + 'x' * 3000)\nprint('done')\n"


@pytest.fixture
def mounted(tmp_path):
    """Mounts a small file system; skips where this user may not."""
    points = []

    def mount(options):
        point = tmp_path / f"mount{len(points)}"
        point.mkdir()
        command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(point)]
        if os.getuid() != 0 or shutil.which("mount") is None:
            pytest.skip("only root can mount a small file system")
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            pytest.skip(f"no small file system can be mounted: {done.stderr.strip()}")
        points.append(point)
        return point

    yield mount
    for point in points:
        subprocess.run(["umount", "-l", str(point)], check=False)


def private_temporary(world):
    folder = world.folder / "tmp"
    folder.mkdir()
    return {"TMPDIR": str(folder)}


def ours_only_once(err):
    lines = err.splitlines()
    assert len(lines) <= 1
    assert all("nexus-otel" in line for line in lines)


def test_a_full_disk_costs_the_program_nothing(worlds, mounted):
    world = worlds([step for _ in range(30) for step in two_steps()])
    home = mounted("size=64k,mode=700")
    done = world.launch(MANY, NEXUS_HOME=str(home), **private_temporary(world))
    assert (done.code, done.out) == (0, "done\n")
    ours_only_once(done.err)
    exported = world.nexus("export", NEXUS_HOME=str(home), TMPDIR=str(world.folder / "tmp"))
    assert exported.code == 0
    assert '"invoke_agent agent"' in exported.out


def test_with_a_full_disk_everything_is_sent_all_the_same(worlds, mounted):
    world = worlds([step for _ in range(30) for step in two_steps()])
    home = mounted("size=64k,mode=700")
    with Receiver() as receiver:
        done = world.launch(
            MANY, NEXUS_HOME=str(home), OTEL_EXPORTER_OTLP_ENDPOINT=receiver.url, NEXUS_EXIT_TIMEOUT_S="5",
            **private_temporary(world),
        )  # fmt: skip
        spans = receiver.spans
    assert (done.code, done.out) == (0, "done\n")
    assert len({span.span_id for span in spans}) == 30 * 4


def test_a_read_only_home_costs_the_program_nothing(world, mounted):
    point = mounted("size=64k,mode=700")
    subprocess.run(["mount", "-o", "remount,ro", str(point)], check=True)
    more = {"NEXUS_HOME": str(point / "home"), **private_temporary(world)}
    done = world.launch(ASK, **more)
    assert (done.code, done.out) == (0, "done\n")
    ours_only_once(done.err)
    runs = json.loads(world.nexus("traces", "--json", **more).out)["runs"]
    assert [run["agent"] for run in runs] == ["agent"]


PLACES = {
    "a file": lambda folder: (folder / "file").write_text("mine") and folder / "file",
    "under a file": lambda folder: (folder / "file2").write_text("mine") and folder / "file2" / "home",
    "no device": lambda folder: "/proc/no/such/home",
    "a link to nowhere": lambda folder: (folder / "link").symlink_to(folder / "gone") or folder / "link",
}


@pytest.fixture
def places(worlds):
    def one(place):
        world = worlds()
        home = place(world.folder)
        more = {"NEXUS_HOME": str(home), **private_temporary(world)}
        return world.launch(ASK, **more), world.nexus("export", **more)

    results = together(*(lambda place=place: one(place) for place in PLACES.values()))
    return dict(zip(PLACES, results, strict=True))


def test_a_home_that_cannot_be_is_stood_in_for(places):
    for name, (done, exported) in places.items():
        assert (done.code, done.out) == (0, "done\n"), name
        ours_only_once(done.err)
        assert shape(spans_of_json(exported.out)) == RUN, (name, exported.err)


def test_a_home_that_is_missing_is_made_for_this_user_alone(world):
    quiet(world.launch(ASK, NEXUS_HOME=str(world.folder / "a" / "b")), "done\n")
    made = [path for path in (world.folder / "a").rglob("*")] + [world.folder / "a"]  # noqa: C416 - two of them
    assert any(path.is_file() for path in made)
    assert {oct(path.stat().st_mode & 0o777) for path in made if path.is_dir()} == {"0o700"}
    assert {oct(path.stat().st_mode & 0o777) for path in made if path.is_file()} == {"0o600"}


def test_without_a_home_variable_the_program_runs(world):
    given = {"NEXUS_HOME": "", "HOME": "/nonexistent", "XDG_STATE_HOME": "/proc/none", **private_temporary(world)}
    done = world.launch(ASK, **given)
    assert (done.code, done.out) == (0, "done\n")
    ours_only_once(done.err)


def test_a_store_deleted_in_the_middle_costs_the_program_nothing(worlds):
    world = worlds([*two_steps(), *two_steps()])
    program = """
    import loop, shutil, os
    print(loop.ask("one"))
    shutil.rmtree(os.environ["NEXUS_HOME"])
    print(loop.ask("two"))
    """
    quiet(world.launch(program), "done\ndone\n")
