"""Folders of the local store: where they are, and that nobody else can read them."""

from __future__ import annotations

import os
import stat
import tempfile
from hashlib import blake2b
from pathlib import Path
from typing import Final

from nexus_otel._guard import quietly
from nexus_otel._private import make_private

_NETWORK: Final = frozenset({"nfs", "nfs4", "cifs", "smb3", "smbfs", "afs", "fuse.sshfs", "ncpfs", "lustre"})


def spool_folder(home: Path) -> Path:
    """Return the folder of the segments in `home`."""
    return home / "spool"


def stand_in_folder(home: Path) -> Path:
    """Return the temporary folder that takes the segments while `home` cannot; one for all processes."""
    name = blake2b(os.fsencode(home.absolute()), digest_size=6).hexdigest()
    return Path(tempfile.gettempdir()) / f"nexus-otel-{_user()}" / name


def store_folders(home: Path) -> list[Path]:
    """Return the folders that may hold segments of `home`, for reading."""
    stand_in = quietly(stand_in_folder, home)  # there may be no temporary folder at all
    usable = stand_in is not None and _is_private(stand_in) and _is_private(stand_in.parent)
    return [spool_folder(home), *([stand_in] if usable else [])]


def make_stand_in(home: Path) -> Path:
    """Make the temporary folder and return it.

    Raises:
        OSError: It cannot be made, or somebody else made it.
    """
    folder = stand_in_folder(home)
    make_private(folder.parent)
    make_private(folder)
    return folder


def is_remote(folder: Path) -> bool:
    """Whether `folder` lies on a network file system, by the longest mount point above it."""
    path = os.path.realpath(folder) + "/"
    best, kind = "", ""
    for line in _mounts().splitlines():
        _device, point, found, *_rest = line.split(" ")
        point = point.replace("\\040", " ").rstrip("/") + "/"
        if len(point) >= len(best) and path.startswith(point):
            best, kind = point, found
    return kind in _NETWORK


def _mounts() -> str:
    return quietly(Path("/proc/self/mounts").read_text) or ""


def _user() -> int:
    return os.getuid() if hasattr(os, "getuid") else 0


def _is_private(folder: Path) -> bool:
    try:
        found = folder.lstat()
    except OSError:
        return False
    ours = os.name != "posix" or (found.st_uid == _user() and not found.st_mode & 0o077)
    return stat.S_ISDIR(found.st_mode) and ours
