import os
import time

import pytest

from nexus_otel.export.segment import segments
from nexus_otel.export.spool import Spool
from tests.cli.samples import travel, write
from tests.cli.test_commands import BARE, FAILED, home, nexus  # noqa: F401 - fixtures
from tests.export.kit import provider_of, run

DEAD = """
_spool, provider = opened(home, *[To()] * {destinations})
provider.get_tracer("x").start_span("dead").end()
os._exit(0)
"""


@pytest.fixture(autouse=True)
def no_temporary_folder(monkeypatch, tmp_path):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))


def left_by_the_dead(home, destinations=0):  # noqa: F811
    """Write a segment in a process that ends; return it."""
    before = set(segments(home / "spool"))
    run(home, DEAD.format(destinations=destinations))
    (path,) = set(segments(home / "spool")) - before
    return path


def aged(path, days):
    then = time.time() - days * 86_400
    os.utime(path, (then, then))
    return path


def test_what_is_old_goes_and_the_rest_stays(home, nexus):  # noqa: F811
    old, new = left_by_the_dead(home), left_by_the_dead(home)
    aged(old, 8)
    size = old.stat().st_size
    code, out, err = nexus("prune")
    assert (code, out, err) == (0, f"freed {size / 1e3:.1f} kB in 1 segment\n", "")
    assert segments(home / "spool") == [new]


def test_older_than(home, nexus):  # noqa: F811
    left_by_the_dead(home)
    _code, out, _err = nexus("prune", "--older-than", "1h")
    assert out == "freed 0.0 kB in 0 segments\n"
    aged(*segments(home / "spool"), 1)
    nexus("prune", "--older-than", "1h")
    assert segments(home / "spool") == []


def test_the_newest_runs_stay(home, nexus):  # noqa: F811
    left_by_the_dead(home)
    newest = left_by_the_dead(home)
    nexus("prune", "--keep", "1")
    assert segments(home / "spool") == [newest]


def test_a_dry_run_removes_nothing(home, nexus):  # noqa: F811
    path = left_by_the_dead(home)
    _code, out, _err = nexus("prune", "--all", "--dry-run")
    assert out.startswith("would free ")
    assert list((home / "spool").iterdir()) == [path]
    nexus("prune", "--all")
    assert list((home / "spool").iterdir()) == []


def test_what_was_not_sent_stays_unless_asked_for(home, nexus):  # noqa: F811
    path = left_by_the_dead(home, destinations=1)
    _code, out, err = nexus("prune", "--all")
    assert (out, segments(home / "spool")) == ("freed 0.0 kB in 0 segments\n", [path])
    assert err == "nexus-otel: kept 1 segment not sent yet: nexus-otel flush, or --undelivered\n"
    nexus("prune", "--all", "--undelivered")
    assert segments(home / "spool") == []


def test_a_living_process_keeps_its_segments(home, nexus):  # noqa: F811
    write(home, travel() + BARE + FAILED)  # closed, but this process lives
    spool = Spool.open(home)
    span = provider_of(spool).get_tracer("x").start_span("root")
    code, _out, err = nexus("prune", "--all", "--undelivered")
    assert (code, err) == (0, "nexus-otel: kept 2 segments of running processes\n")
    assert len(segments(home / "spool")) == 2
    span.end()
    spool.close()


def test_foreign_files_stay(home, nexus):  # noqa: F811
    left_by_the_dead(home)
    foreign = home / "spool" / "seg-0-1-1.nxs"
    foreign.write_bytes(b"something else")
    nexus("prune", "--all")
    assert segments(home / "spool") == [foreign]


def test_an_empty_store(home, nexus):  # noqa: F811
    code, out, err = nexus("prune", "--all")
    assert (code, out, len(err.splitlines())) == (1, "", 1)


@pytest.mark.parametrize("bad", [["--all", "--keep", "3"], ["--older-than", "soon"], ["--keep", "-1"]])
def test_bad_options_are_one_line(home, nexus, bad):  # noqa: F811
    code, out, err = nexus("prune", *bad)
    assert (code, out, len(err.splitlines())) == (2, "", 1)
