"""What a person is told when a script that is run again does not go on as its log does, and what to do about it.

The words only: what happened is known by the replay (`eventcore.replay.resuming`), the commands are spelt by
`eventcore.replay.commands`.
"""

from __future__ import annotations

import sys
import traceback
from collections.abc import Iterator
from types import TracebackType

from eventcore.errors import Diverged
from eventcore.history import events as e
from eventcore.history.reading import Reader
from eventcore.history.rerun import rerun_here
from eventcore.history.run import Run
from eventcore.history.sources import is_users
from eventcore.replay.commands import to_fork, to_resume
from eventcore.replay.divergence import Divergence
from eventcore.replay.endings import is_cancelled
from eventcore.replay.raised import RecordedFailure, class_name

_SHORT = 120


def answers(count: int) -> str:
    """So many answers, and the verb that goes with them."""
    return f"{count} answer was" if count == 1 else f"{count} answers were"


def left_log(run: Run, found: Divergence) -> str:
    """Say that code left the log of the run it should go on with, and which command accepts that."""
    edits = getattr(rerun_here(), "forking", None)
    parent = run.parent
    if edits is None or parent is None or run.forked_at is None or found.seq > run.forked_at:
        return (
            f"cannot resume run {run.name!r}: its code {found}\n"
            "The run is unchanged. To accept the change and pay only for the calls it changes:\n"
            f"{to_fork(run, found.seq - 1)}"
        )
    return (
        f"cannot fork run {parent.name!r} at seq {run.forked_at}: before that its code {found}\n"
        f"To accept the change and pay only for the calls it changes, fork before it:\n"
        f"{to_fork(parent, found.seq - 1, edits)}\n"
        f"The fork {run.name!r} is there and has done nothing yet. A script that does the same as before up to seq "
        f"{run.forked_at} goes on with it:\n"
        f"{to_resume(run)}"
    )


def shorter(run: Run, position: int) -> str:
    """Say which command accepts that a script has become shorter."""
    return f".\nTo accept that it ends there:\n{to_fork(run, position)}"


def again(run: Run, failed: int | None) -> str:
    """Say which command makes the call again whose failure is recorded at a seq."""
    if failed is None:
        return ""
    return (
        f".\nIts log holds this failure, at seq {failed}, so it is not asked again. To make that call again, with all "
        f"answers before it:\n{to_fork(run, failed - 1)}"
    )


def error_here() -> BaseException | None:
    """The error the script is ending with, None if with none."""
    error = sys.exc_info()[1]
    if error is None and not hasattr(sys, "ps1"):  # where lines are typed one by one it may be an old one
        error = getattr(sys, "last_value", None)
    return None if isinstance(error, (SystemExit, GeneratorExit)) else error


def in_short(error: BaseException) -> str:
    """Name an error in one line."""
    lines = str(error).splitlines()
    text = f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__
    return text if len(text) <= _SHORT else f"{text[:_SHORT]} …"


def failure_of(error: BaseException, reader: Reader, first: int, last: int) -> int | None:
    """Return the seq of the recorded failure an error was made from; None if it was not.

    Of calls that failed alike while they were under way at the same time it is the first: from there on all of them
    are made again.
    """
    errors = list(_all_of(error))
    found: list[tuple[int, int]] = []
    for seq, event in reader.events(first, last):
        if isinstance(event, e.EffectFailed) and not is_cancelled(event) and _is_one_of(event, errors):
            found.append((seq, event.cause))
    if not found:
        return None
    return next(seq for seq, _ in found if seq > found[-1][1])


def _is_one_of(event: e.EffectFailed, errors: list[BaseException]) -> bool:
    return any(
        str(error)[: len(event.message) or None] == event.message
        and (isinstance(error, RecordedFailure) or class_name(error) == event.raised)
        for error in errors
    )


def _all_of(error: BaseException | None) -> Iterator[BaseException]:
    """An error, what it came from, and what it consists of."""
    while error is not None:
        yield error
        if isinstance(error, BaseExceptionGroup):
            for part in error.exceptions:
                yield from _all_of(part)
        error = error.__cause__ or error.__context__


def show_users_frames() -> None:
    """Have the interpreter print a divergence nobody catches with the user's lines only: the others tell nothing."""
    if sys.excepthook is sys.__excepthook__:
        sys.excepthook = _print_error


def _print_error(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    if not isinstance(error, Diverged):
        sys.__excepthook__(kind, error, trace)
        return
    told = traceback.TracebackException(kind, error, trace)
    told.stack = traceback.StackSummary.from_list([frame for frame in told.stack if is_users(frame.filename)])
    told.__cause__ = told.__context__ = None
    sys.stderr.write("".join(told.format()))
