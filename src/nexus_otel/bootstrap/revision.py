"""Which version of the application this is, found without starting a process."""

from __future__ import annotations

import importlib.metadata
import re
import sys
from pathlib import Path
from typing import Final

from nexus_otel._environ import variables
from nexus_otel._guard import quietly

_VARIABLES: Final = (
    "GIT_SHA", "GIT_COMMIT", "GITHUB_SHA", "CI_COMMIT_SHA", "BITBUCKET_COMMIT", "BUILDKITE_COMMIT", "CIRCLE_SHA1",
    "TRAVIS_COMMIT", "BUILD_SOURCEVERSION", "CODEBUILD_RESOLVED_SOURCE_VERSION", "DRONE_COMMIT_SHA",
    "VERCEL_GIT_COMMIT_SHA", "RENDER_GIT_COMMIT", "RAILWAY_GIT_COMMIT_SHA", "HEROKU_SLUG_COMMIT", "SOURCE_COMMIT",
)  # fmt: skip
"""Where CI systems and platforms tell the commit; ours, which is a setting, comes first."""
_COMMIT: Final = re.compile(r"[0-9a-f]{7,64}")
_MOST_LINKS: Final = 5


def commit() -> str | None:
    """Return the commit that the application was built from: a variable's, else that of the script's working tree."""
    told = (variables().get(name, "").strip() for name in _VARIABLES)
    found = next((text for text in told if text), None)
    if found is not None:
        return found
    found = quietly(_from_tree, _script_folder())
    return str(found) if found else None


def version() -> str | None:
    """Return the version of the distribution that is run with `python -m`, if it is one."""
    spec = getattr(sys.modules.get("__main__"), "__spec__", None)
    package = str(getattr(spec, "name", "") or "").partition(".")[0]
    found = quietly(importlib.metadata.version, package) if package and package != "__main__" else None
    return str(found) if found else None


def _script_folder() -> Path:
    script = getattr(sys.modules.get("__main__"), "__file__", None)
    return Path(script).resolve().parent if script else Path.cwd()


def _from_tree(folder: Path) -> str | None:
    """Return the commit of the working tree that a folder is in, as git keeps it in files."""
    for parent in (folder, *folder.parents):
        found = parent / ".git"
        if found.is_file():  # a worktree or a submodule
            found = parent / found.read_text("utf-8").partition("gitdir:")[2].strip()
        if found.is_dir():
            return _head(found)
    return None


def _head(git: Path) -> str | None:
    shared = git / "commondir"
    common = git / shared.read_text("utf-8").strip() if shared.is_file() else git
    text = (git / "HEAD").read_text("utf-8").strip()
    for _ in range(_MOST_LINKS):
        if not text.startswith("ref:"):
            return text if _COMMIT.fullmatch(text) else None
        name = text.partition(":")[2].strip()
        loose = next((root / name for root in (git, common) if (root / name).is_file()), None)
        text = loose.read_text("utf-8").strip() if loose is not None else _packed(common, name)
    return None


def _packed(common: Path, name: str) -> str:
    """Return the commit of a reference that git has packed; empty where there is none."""
    path = common / "packed-refs"
    if not path.is_file():
        return ""
    lines = (line.partition(" ") for line in path.read_text("utf-8").splitlines())
    return next((commit for commit, _, found in lines if found == name), "")
