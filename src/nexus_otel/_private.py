"""Folders for this user alone."""

from __future__ import annotations

import os
import stat
from pathlib import Path


def make_private(folder: Path) -> None:
    """Make `folder`, and those above it that are missing, for this user alone.

    Raises:
        OSError: It cannot be made, or is a link or another user's.
    """
    missing = [folder, *folder.parents]
    missing = [one for one in missing if not one.exists()]
    for one in reversed(missing):
        one.mkdir(0o700, exist_ok=True)
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or (os.name == "posix" and found.st_uid != os.getuid()):
        raise PermissionError(f"{folder} is not a folder of this user")
    if os.name == "posix" and found.st_mode & 0o077:
        folder.chmod(0o700)
