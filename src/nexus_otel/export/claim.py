"""The right to send and delete a segment that its process no longer writes to: one process at a time has it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from nexus_otel.export.owner import Owner, has_ended, this_process
from nexus_otel.export.segment import HAS_LOCKS, is_locked, lock


@contextmanager
def claimed(path: Path, owner: Owner) -> Iterator[bool]:
    """Take over a segment for as long as the context lasts.

    Its lock is not enough: a child that a dead process forked may keep that. A file beside it decides between those
    who come for it.

    Yields:
        Whether the segment is ours; not where its process or somebody else uses it, or where it is gone.
    """
    beside = path.with_name(f"{path.name}.claim")
    descriptors: list[int] = []
    ours = False
    try:
        with suppress(OSError):
            ours = _is_free(path, owner, descriptors) and _locked(beside, descriptors, os.O_CREAT)
        yield ours and path.exists()
    finally:
        if ours:
            beside.unlink(missing_ok=True)
        for descriptor in descriptors:
            os.close(descriptor)


def _is_free(path: Path, owner: Owner, descriptors: list[int]) -> bool:
    """Whether the process of a segment is done with it: gone, or, if it is this one, further on."""
    ended = has_ended(owner)
    if not HAS_LOCKS:
        return not is_locked(path)
    if ended is False and owner != this_process():
        return False
    return _locked(path, descriptors) or ended is True


def _locked(path: Path, descriptors: list[int], create: int = 0) -> bool:
    """Open a file and take its lock; whether it is still the one of this name."""
    descriptors.append(os.open(path, os.O_RDWR | create | getattr(os, "O_CLOEXEC", 0), 0o600))
    return lock(descriptors[-1]) and os.path.samestat(path.stat(), os.fstat(descriptors[-1]))
