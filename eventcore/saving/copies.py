"""Copying a run into another store, once and again, without ever losing what stands there.

A run of the same name in the target is continued when its events are the first events of ours: an earlier
save of the same run. Anything else of that name is somebody's history and is left alone.
"""

from __future__ import annotations

from itertools import zip_longest

from eventcore.errors import DuplicateName, StoreBusy
from eventcore.history import events as e
from eventcore.history.backend import RunRow
from eventcore.history.codec import encoder
from eventcore.history.ownership import describe_self, in_words, is_alive
from eventcore.history.run import Run
from eventcore.history.store import Store
from eventcore.history.store import open as open_store
from eventcore.history.transfer import copy_events
from eventcore.saving.program_record import place_of


def copy_run(run: Run, url: str, overwrite: bool) -> None:
    """Copy a run's whole history into the store at `url`, made if it is not there.

    Raises:
        DuplicateName: The store has a run of that name that is not the beginning of this one, or that is,
            and `overwrite` is False.
        StoreBusy: That run is being written.
    """
    run.flush()
    with open_store(url) as store:
        if run.name in store:
            if not overwrite and run.replaying is None:
                raise DuplicateName(
                    f"cannot save to {url}: it has a run {run.name!r} already; pass overwrite=True to continue it, "
                    "or another path"
                )
            _continue(run, store, store.row(run.name))
        elif run.reader().first_stored() == 1:
            store.import_run(run)
        else:
            _begin_from_state(run, store)


def _continue(run: Run, store: Store, row: RunRow) -> None:
    if row.writer and is_alive(row.writer):
        raise StoreBusy(
            f"cannot save run {run.name!r} to {store.url}: the run of that name there is being written by "
            f"{in_words(row.writer)}; close it first, or save to another path"
        )
    # Code that is run again comes to what it saved before, and to what it saved after that.
    count = row.head if run.replaying is None else min(row.head, run.head)
    differs = _first_difference(run, store[row.name], count)
    if differs:
        raise DuplicateName(
            f"cannot save run {run.name!r} to {store.url}: there is another run of that name there, which overwrite "
            f"would lose: its {row.head} events differ from this one's {run.head} at seq {differs}; save to another "
            f"path, or delete it first with store.delete({run.name!r})"
        )
    if row.head < run.head:
        claimed = store.backend.claim(row.id, describe_self(), row.epoch)
        copy_events(run.reader(), store.backend, claimed, run.head)
        store.backend.claim(row.id, "")


def _first_difference(run: Run, other: Run, count: int) -> int:
    """Return the first seq, up to `count`, at which two runs differ; 0 if there is none."""
    first = run.reader().first_stored()
    if count > run.head or count < first - 1:
        return min(run.head, count) + 1
    if not count:
        return 0
    pairs = zip_longest(run.events(first, count), other.events(first, count))
    for seq, (mine, theirs) in enumerate(pairs, first):
        if mine is None or theirs is None or mine.seq != theirs.seq:
            return seq
        if encoder.encode(mine.event) != encoder.encode(theirs.event):
            return seq
    return 0


def _begin_from_state(run: Run, store: Store) -> None:
    """Save a run whose first events were dropped to bound its memory: its state, in a new run."""
    state, origin = run.state, place_of(run, run.head)
    with store.run(run.name, seed=run.seed) as copy:
        for slot in state.live_slots():
            stamp, number = copy.stamp(), copy.live.next_number
            value, schema = state.variables[slot.path], state.schema(slot.path)
            copy.record(
                e.VariableDeclared(
                    *stamp, number, slot.path, schema, value, slot.trainable, slot.own, slot.reason, origin,
                    slot.description, -1,
                )
            )  # fmt: skip
        for name in state.programs:
            copy.record(e.ProgramDeclared(*copy.stamp(), program=name, config=state.config(name)))
        copy.snapshot()
    copy.close()
