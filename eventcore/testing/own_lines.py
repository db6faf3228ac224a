"""The line of the user's own code that a failure came from, which is where he looks first.

What stands in eventcore, in the standard library and among the installed packages is not his own.
"""

from __future__ import annotations

import functools
import linecache
import os
import re
import sysconfig
import traceback

import msgspec

import eventcore
from eventcore.errors import Diverged
from eventcore.replay.divergence import Divergence

_STACK_LINE = re.compile(r'^  File "(?P<file>[^"]+)", line (?P<line>\d+) in (?P<name>.+)$', re.MULTILINE)


@functools.cache
def _not_his_own() -> tuple[str, ...]:
    package = os.path.dirname(eventcore.__file__)
    folders = [package, *(os.path.join(package, part) for part in ("backends", "optimizers"))]
    folders += [sysconfig.get_path(name) for name in ("stdlib", "purelib", "platlib")]
    return tuple(os.path.realpath(folder) + os.sep for folder in folders)


def own_line_of(error: BaseException | None) -> str:
    """Name the innermost of his lines an exception passed, or one of its causes: "file.py:3, in call: 1 / 0"."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        for frame in reversed(traceback.extract_tb(error.__traceback__)):
            said = _said(frame.filename, frame.lineno or 0, frame.name)
            if said:
                return said
        error = error.__cause__ or error.__context__
    return ""


def told_of_divergence(error: Diverged) -> str:
    """Say where code left its log; the line stands there only if it is one of his."""
    where = error.divergence
    if not isinstance(where, Divergence):
        return str(error)
    file, _, _ = where.line.rpartition(":")
    return str(where if _said(file, 1, "") else msgspec.structs.replace(where, line=""))


def own_line_of_stacks(stacks: str) -> str:
    """Name the innermost of his lines in what `faulthandler` wrote of every thread."""
    for found in _STACK_LINE.finditer(stacks):
        said = _said(found["file"], int(found["line"]), found["name"])
        if said:
            return said
    return ""


def _said(file: str, line: int, name: str) -> str:
    path = os.path.realpath(file)
    if not os.path.exists(path) or path.startswith(_not_his_own()):
        return ""
    return f"{os.path.relpath(path)}:{line}, in {name}: {linecache.getline(path, line).strip()}"
