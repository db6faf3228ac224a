"""The command that accepts what a script does now, spelt so that it can be pasted where the script was started.

It is made of what was typed: the interpreter and its options stand there as the person wrote them, and `eventcore`
alone only where that is the one of this interpreter. Nothing is run here.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import sys
from collections.abc import Sequence

from eventcore.history.run import Run
from eventcore.history.urls import split

_WITH_VALUE = "WX"
_SCRIPT = "SCRIPT.py"
_AT_STDIN = ("", "-")


def to_fork(run: Run, at: int, edits: Sequence[str] = ()) -> str:
    """Lines that say how to fork a run at a seq and go on with the script of this process there.

    Args:
        run: The run.
        at: The seq.
        edits: What to change there, as `--set` takes it.
    """
    sets = [part for edit in edits for part in ("--set", edit)]
    return _lines(["fork", url_here(run), run.name, free_name(run), "--at", str(at), *sets])


def to_resume(run: Run) -> str:
    """Lines that say how to go on with a run by the script of this process."""
    return _lines(["resume", url_here(run), run.name])


def free_name(run: Run) -> str:
    """Name for another fork of a run, not taken yet."""
    base = re.sub(r"-fork(-\d+)?$", "", run.name) + "-fork"
    taken = set(run.store.runs())
    number, name = 1, base
    while name in taken:
        number += 1
        name = f"{base}-{number}"
    return name


def _lines(command: list[str]) -> str:
    interpreter, options, script = parts(sys.orig_argv)
    typed = bool(script) and script[0] not in _AT_STDIN
    words = [*_eventcore(interpreter, options), *command, "--", interpreter, *options]
    line = f"  {shlex.join([*words, *(script if typed else [_SCRIPT])])}"
    return (
        line if typed else f"{line}\n(save the code as {_SCRIPT} first: what was typed or piped in is gone)"
    )


def as_called() -> list[str]:
    """How the `eventcore` that is this process was called."""
    interpreter, options, script = parts(sys.orig_argv)
    if not script or script[0] == "-m" or os.path.basename(script[0]) != "eventcore":
        return [interpreter, *options, "-m", "eventcore"]
    found = shutil.which("eventcore")
    return ["eventcore" if found is not None and os.path.abspath(script[0]) == found else script[0]]


def parts(typed: Sequence[str]) -> tuple[str, list[str], list[str]]:
    """Split a command line of Python into the interpreter, its options, and the script with its arguments."""
    interpreter = typed[0] if typed and typed[0] else sys.executable
    at = 1
    while at < len(typed) and typed[at].startswith("-") and typed[at] != "-":
        word = typed[at]
        if word == "--check-hash-based-pycs":
            at += 1
        elif not word.startswith("--"):
            ending = next((place for place, letter in enumerate(word) if letter in "cm" + _WITH_VALUE), None)
            if ending is not None and word[ending] in "cm":
                break  # what follows is the script
            at += ending == len(word) - 1  # its value is the next word
        at += 1
    return interpreter, list(typed[1:at]), list(typed[at:])


def _eventcore(interpreter: str, options: Sequence[str]) -> list[str]:
    """How `eventcore` of this interpreter is called where the script was started."""
    found = shutil.which("eventcore")
    if found is not None and os.path.dirname(os.path.abspath(found)) == os.path.dirname(sys.executable):
        return ["eventcore"]
    return [interpreter, *(option for option in options if option != "-i"), "-m", "eventcore"]


def url_here(run: Run) -> str:
    """URL of the store, seen from the folder of the shell: the script may have gone to another one."""
    url = run.store.url
    scheme, path = split(url)
    shell = os.environ.get("PWD")
    if not shell or not os.path.isabs(path) or not path.startswith(os.path.join(shell, "")):
        return url
    return f"{scheme}:{os.path.relpath(path, shell)}"
