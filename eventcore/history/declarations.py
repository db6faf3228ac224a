"""When variables came: what an answer about the past says when what it was asked for was not there yet.

Read only when something is missing; whoever finds a variable never comes here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from eventcore.errors import NotFound
from eventcore.history import events as e
from eventcore.history.positions import tagged

if TYPE_CHECKING:
    from eventcore.history.run_reader import RunReader
    from eventcore.history.state import State


def declarations(run: RunReader) -> dict[str, tuple[int, bool]]:
    """Return for each variable of a run the seq at which it was declared first, and whether as trainable. O(n)."""
    reader = run.reader()
    found: dict[str, tuple[int, bool]] = {}
    for seq, event in tagged(reader, (e.VariableDeclared,), reader.first_stored(), reader.head()):
        assert isinstance(event, e.VariableDeclared)
        found.setdefault(event.path, (seq, event.trainable))
    return found


def path_then(run: RunReader, variable: str, seq: int, *states: State) -> str:
    """Return the path of a variable that is in one of the states.

    Args:
        run: The run.
        variable: Its path, or its name where unique.
        seq: As of which event the newest of them is.
        states: They.

    Raises:
        NotFound: It is in none; the error says when it was declared, if it was declared later.
    """
    for state in states:
        try:
            return state.slot(variable).path
        except NotFound:
            continue
    path = run.state.slot(variable).path
    declared = declarations(run).get(path)
    if declared is None or declared[0] <= seq:  # taken back, or brought by a log that is no longer whole
        raise NotFound(f"cannot find variable {path!r} at seq {seq} of run {run.name!r}")
    raise NotFound(
        f"cannot find variable {path!r} at seq {seq} of run {run.name!r}: it was declared at seq {declared[0]}; "
        f"pass a seq from {declared[0]} on"
    )
