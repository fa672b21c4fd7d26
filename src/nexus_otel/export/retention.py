"""How long segments are kept, and how much room they may take."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Final

from nexus_otel._guard import quietly
from nexus_otel.export.segment import ForeignFileError, Header, Target, is_locked, read_header, segments

_DAY_S: Final = 86_400.0
_MINUTE_S: Final = 60.0
_FINAL: Final = " all"
_SHARE: Final = 0.1
"""How much of the free space the store may take."""


@dataclass(frozen=True, slots=True)
class Kept:
    """What the store may hold.

    Attributes:
        days: How long a segment stays that is not to be sent, or was sent and is kept.
        max_bytes: The size of all segments together.
    """

    days: float
    max_bytes: int


@dataclass(slots=True)
class Dropped:
    """What was deleted although a destination had not got it."""

    segments: int = 0
    bytes: int = 0


@dataclass(frozen=True, slots=True)
class _File:
    path: Path
    size: int
    modified_s: float


# -- acknowledgements ----------------------------------------------------------------------------------


def ack_path(segment: Path, target: Target) -> Path:
    """Return the file that says how much of a segment a destination has got."""
    facts = f"{target.signal}\n{target.endpoint}\n{target.headers_hash}"
    name = blake2b(facts.encode(), digest_size=6).hexdigest()
    return segment.with_name(f"{segment.name}.{name}.ack")


def acknowledged(segment: Path, target: Target) -> tuple[int, bool]:
    """Return up to which offset the destination has got the segment, and whether that is all there will be."""
    try:
        offset, *final = ack_path(segment, target).read_text("ascii").split()
        return max(0, int(offset)), bool(final)
    except (OSError, ValueError):
        return 0, False


def acknowledge(segment: Path, target: Target, offset: int, *, final: bool = False) -> None:
    """Write down that the destination has got the segment up to `offset`.

    Args:
        segment: The segment.
        target: The destination.
        offset: Where the last delivered record ends.
        final: Whether nothing will follow, neither records nor the end of spans of a process that died.

    Raises:
        OSError: The folder cannot be written to.
    """
    path = ack_path(segment, target)
    temporary = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | getattr(os, "O_CLOEXEC", 0), 0o600)
    try:
        os.write(descriptor, f"{offset}{_FINAL if final else ''}".encode())
    finally:
        os.close(descriptor)
    temporary.replace(path)


def is_delivered(segment: Path, header: Header | None) -> bool:
    """Whether every destination of the segment has got all of it; False without a destination."""
    if header is None or not header.targets:
        return False
    return all(acknowledged(segment, target)[1] for target in header.targets)


def delete(segment: Path) -> None:
    """Delete a segment, then what stands beside it; in this order, so that it is never sent anew."""
    segment.unlink(missing_ok=True)
    for path in segment.parent.glob(f"{segment.name}.*"):
        path.unlink(missing_ok=True)


# -- tidying -------------------------------------------------------------------------------------------


def tidy(folder: Path, kept: Kept) -> Dropped:
    """Delete segments that are too old, then those too many: the delivered first, then the oldest.

    A segment that a process is writing to stays; one still to be sent stays until room is short.
    """
    dropped = Dropped()
    _forget_orphans(folder)
    files = list(_files(folder))
    left = [file for file in files if not (_is_old(file, kept.days * _DAY_S) and _expired(file))]
    excess = sum(file.size for file in left) - min(kept.max_bytes, int(shutil.disk_usage(folder).free * _SHARE))
    if excess > 0:
        _make_room(left, excess, dropped)
    return dropped


def _forget_orphans(folder: Path) -> None:
    """Delete what stands beside segments that are gone: their process died while it deleted them."""
    beside = [path for path in folder.glob("seg-*.nxs.*") if time.time() - path.stat().st_mtime > _MINUTE_S]
    for path in beside:
        if not path.with_name(path.name.partition(".nxs")[0] + ".nxs").exists():
            path.unlink(missing_ok=True)


def _files(folder: Path) -> Iterator[_File]:
    for path in segments(folder):
        found = quietly(path.stat)
        if found is not None:
            yield _File(path, found.st_size, found.st_mtime)


def _is_old(file: _File, limit_s: float) -> bool:
    """Whether a file was last written to long ago; for an empty one, left by a killed process, a minute is."""
    return time.time() - file.modified_s > (limit_s if file.size else min(limit_s, _MINUTE_S))


def _expired(file: _File) -> bool:
    """Delete an old segment unless it is in use or still to be sent; say whether it is gone."""
    header = quietly(read_header, file.path)
    waits = header is not None and bool(header.targets) and not is_delivered(file.path, header)
    return not waits and _deleted(file)


def _deleted(file: _File) -> bool:
    """Delete a segment unless it is in use or no segment of ours; whether it is gone."""
    try:
        read_header(file.path)
    except (ForeignFileError, OSError):
        return False
    if quietly(is_locked, file.path) is not False:
        return False
    quietly(delete, file.path)
    return True


def _make_room(files: Iterable[_File], excess: int, dropped: Dropped) -> None:
    headers = {file: quietly(read_header, file.path) for file in files}
    delivered = {file: is_delivered(file.path, header) for file, header in headers.items()}
    for file in sorted(headers, key=lambda file: not delivered[file]):
        if excess <= 0:
            return
        if _deleted(file):
            excess -= file.size
            header = headers[file]
            if header is not None and header.targets and not delivered[file]:
                dropped.segments += 1
                dropped.bytes += file.size
