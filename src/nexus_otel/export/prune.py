"""Removing segments because a person asks for it, by the rules of retention."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from nexus_otel._guard import quietly
from nexus_otel.export.claim import claimed
from nexus_otel.export.places import store_folders
from nexus_otel.export.retention import delete, is_delivered
from nexus_otel.export.segment import ForeignFileError, Header, is_locked, is_orphan, read_header, segments


@dataclass(slots=True)
class Pruned:
    """What became of the segments that were to go.

    Attributes:
        segments: How many were removed.
        bytes: Their size.
        seen: How many segments there were at all.
        in_use: How many stay because their process lives, or somebody sends them.
        waiting: How many stay because a destination has not got them.
    """

    segments: int = 0
    bytes: int = 0
    seen: int = 0
    in_use: int = 0
    waiting: int = 0


def prune(
    home: Path, goes: Callable[[Path], bool], *, undelivered: bool = False, dry_run: bool = False
) -> Pruned:  # fmt: skip
    """Remove the segments that are to go; never one of a living process.

    Args:
        home: The folder of the local store.
        goes: Whether a segment is to go.
        undelivered: Whether also one that a destination has not got.
        dry_run: Whether it is only looked what would be removed.
    """
    pruned = Pruned()
    for path in (path for folder in store_folders(home) for path in segments(folder)):
        pruned.seen += 1
        try:
            size, header = path.stat().st_size, read_header(path)
        except (ForeignFileError, OSError):
            continue
        if not goes(path):
            continue
        if header is not None and header.targets and not undelivered and not is_delivered(path, header):
            pruned.waiting += 1
        elif not _removed(path, header, dry_run=dry_run):
            pruned.in_use += 1
        else:
            pruned.segments += 1
            pruned.bytes += size
    return pruned


def _removed(path: Path, header: Header | None, *, dry_run: bool) -> bool:
    """Remove a segment unless it is in use; whether that is so."""
    if quietly(is_locked, path) is not False or (header is not None and not quietly(is_orphan, path, header.owner)):
        return False
    if dry_run:
        return True
    if header is None:
        delete(path)
        return True
    with claimed(path, header.owner) as ours:
        if ours:
            delete(path)
    return ours
