"""`nexus-otel prune`: remove runs from the local store."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from itertools import islice
from pathlib import Path

from nexus_otel import config
from nexus_otel.cli.runs import AmbiguousError, since
from nexus_otel.cli.store import load, newest_first, nothing_yet, say
from nexus_otel.cli.terminal import count, size


def prune(
    older_than: str | None, keep: int | None, *, everything: bool, undelivered: bool, dry_run: bool
) -> None:  # fmt: skip
    """Remove the segments that hold nothing but what is to go, and print what that freed.

    Args:
        older_than: What was last written to before then; as long as the store keeps a run when nothing is given.
        keep: How many of the newest runs stay.
        everything: Whether all goes that may.
        undelivered: Whether also what a destination has not got.
        dry_run: Whether nothing is removed.

    Raises:
        NothingFoundError: The store is empty.
        AmbiguousError: The options exclude each other.
    """
    from nexus_otel.export.prune import prune as remove

    if everything and (older_than is not None or keep is not None):
        raise AmbiguousError("--all removes everything: give it alone, or --older-than and --keep")
    if older_than is None and keep is None and not everything:
        older_than = f"{config.current().store_keep_days:f}d"
    goes = _going(older_than, keep)
    pruned = remove(config.home(), goes, undelivered=undelivered, dry_run=dry_run)
    if not pruned.seen:
        raise nothing_yet()
    print(f"{'would free' if dry_run else 'freed'} {size(pruned.bytes)} in {count(pruned.segments, 'segment')}")
    if pruned.in_use:
        say(f"kept {count(pruned.in_use, 'segment')} of running processes")
    if pruned.waiting:
        say(f"kept {count(pruned.waiting, 'segment')} not sent yet: nexus-otel flush, or --undelivered")


def _going(older_than: str | None, keep: int | None) -> Callable[[Path], bool]:
    """Return what says whether a segment is to go: for every reason that is given."""
    before = None if older_than is None else since(older_than, datetime.now().astimezone(), "--older-than")
    kept = frozenset() if keep is None else _files_of_newest(keep)

    def goes(path: Path) -> bool:
        return path not in kept and (before is None or path.stat().st_mtime_ns < before)

    return goes


def _files_of_newest(number: int) -> frozenset[Path]:
    scan = load()
    return scan.files_of({bytes.fromhex(run.trace_id) for run in islice(newest_first(scan), number)})
