"""What a run says about where it was started: versions, command line, commit. Informational."""

from __future__ import annotations

import platform
import sys
from pathlib import Path
from typing import Any

from eventcore._version import __version__

_PACKAGES = ("msgspec", "lmdb", "zstandard", "orjson", "litellm")


def run_facts() -> dict[str, Any]:
    """Return the facts as JSON values. Imports nothing and starts no process."""
    versions = {"python": platform.python_version(), "eventcore": __version__}
    for name in _PACKAGES:
        version = getattr(sys.modules.get(name), "__version__", None)
        if isinstance(version, str):
            versions[name] = version
    return {
        "versions": versions,
        "argv": [_clean(argument) for argument in getattr(sys, "argv", ())],
        "git": _commit_here(),
        "flags": [],
    }


def _clean(argument: object) -> str:
    """Make an argument of any bytes a valid string."""
    return str(argument).encode("utf-8", "replace").decode()


def _commit_here() -> str | None:
    try:
        return git_commit(Path.cwd())
    except (OSError, ValueError):  # the folder is gone, or its .git is none of git's
        return None


def git_commit(folder: Path) -> str | None:
    """Return the commit checked out in or above a folder by reading git's files, None without one."""
    for place in (folder, *folder.parents):
        git = place / ".git"
        try:
            if git.is_file():
                git = (place / git.read_text().partition("gitdir:")[2].strip()).resolve()
            if not git.is_dir():
                continue
            head = (git / "HEAD").read_text().strip()
            if not head.startswith("ref:"):
                return head
            return _resolve(git, head[4:].strip())
        except OSError:
            return None
    return None


def _resolve(git: Path, ref: str) -> str | None:
    common = git / "commondir"
    home = (git / common.read_text().strip()).resolve() if common.is_file() else git
    for base in (git, home):
        if (base / ref).is_file():
            return (base / ref).read_text().strip()
    packed = home / "packed-refs"
    if packed.is_file():
        for line in packed.read_text().splitlines():
            if line.endswith(" " + ref):
                return line.split(" ", 1)[0]
    return None
