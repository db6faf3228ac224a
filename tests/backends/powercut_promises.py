"""What a recorded writer was promised up to a moment, and whether a store left by a power cut keeps it.

The promises come from marks in the trace and not from any store: the events handed to each commit, how far each run
was acknowledged, digests of live states, runs made and deleted.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from typing import Any

import msgspec

from eventcore.history import store as stores
from eventcore.history.run import Run
from eventcore.history.store import Store
from eventcore.variables import Variable
from tests.backends.powercut_writer import Counted, digest

STORE, COPY = "new/folder/store", "new/folder/copy"
"""Where the store and its backup lie below the recorded folder: folders made with a store may be lost with it."""


class Lost(Exception):
    """Something acknowledged is not there, or is not what it was."""


class Damaged(Exception):
    """The store does not open, or does not agree with itself."""


@dataclass
class Line:
    """What is known of one run.

    Attributes:
        parent: Name of the run it was forked of.
        forked_at: Seq it was forked at.
        made: Creating it has returned.
        leaving: Deleting it has begun.
        durable: Highest acknowledged seq.
        events: Digest of every event that was handed to a commit, by seq.
        states: Digest of the live state, by seq.
    """

    parent: str | None = None
    forked_at: int = 0
    made: bool = False
    leaving: bool = False
    durable: int = 0
    events: dict[int, int] = field(default_factory=dict)
    states: dict[int, str] = field(default_factory=dict)


class Promises:
    """All promises up to a moment of the trace."""

    def __init__(self) -> None:
        self.lines: dict[str, Line] = {}
        self.gone: dict[str, Line] = {}
        self.copied: dict[str, int] = {}

    def hear(self, text: bytes) -> None:
        """Take over one mark."""
        word, *rest = msgspec.json.decode(text)
        getattr(self, f"_{word}")(*rest)

    def _creating(self, name: str, parent: str | None, forked_at: int) -> None:
        self.lines[name] = Line(parent, forked_at)

    def _created(self, name: str) -> None:
        self.lines[name].made = True

    def _copied(self, heads: dict[str, int]) -> None:
        self.copied = heads

    def _events(self, name: str, first: int, digests: list[int]) -> None:
        self.lines[name].events.update(enumerate(digests, first))

    def _durable(self, name: str, seq: int) -> None:
        line = self.lines[name]
        line.durable = max(line.durable, seq)

    def _state(self, name: str, seq: int, found: str) -> None:
        self.lines[name].states[seq] = found

    def _deleting(self, name: str) -> None:
        self.lines[name].leaving = True

    def _deleted(self, name: str) -> None:
        self.gone[name] = self.lines.pop(name)

    def acknowledged(self) -> int:
        """How many events must be there."""
        return sum(max(0, line.durable - line.forked_at) for line in self.lines.values() if not line.leaving)

    def event(self, name: str, seq: int) -> int | None:
        """Digest of an event, looked up where the run got it from."""
        line = self.lines[name] if name in self.lines else self.gone[name]
        if seq in line.events:
            return line.events[seq]
        if line.parent is not None and seq <= line.forked_at:
            return self.event(line.parent, seq)
        return None


def examine(url: str, promises: Promises, chance: random.Random) -> int:
    """Open what a power cut left, compare it with what was promised, sometimes go on writing.

    Returns:
        How many events were compared.

    Raises:
        Lost: A promise was broken.
        Damaged: The store does not open, read or verify, whatever the error.
    """
    careful: dict[str, Any] = {}
    if url.startswith("lmdb") and chance.random() < 0.5:
        careful = {"verify": True}
    try:
        with stores.open(url, **careful) as store:
            compared = _compare(store, promises, chance)
            further = _write_on(store) if chance.random() < 0.25 else None
        if further is not None:
            _reread(url, *further)
        if promises.copied:
            compared += _compare_copy(url, promises)
        return compared
    except (Lost, Damaged):
        raise
    except Exception as error:
        raise Damaged(f"{type(error).__name__}: {error}") from error


def _compare(store: Store, promises: Promises, chance: random.Random) -> int:
    found = set(store.runs())
    if strange := found - promises.lines.keys():
        raise Lost(f"runs {sorted(strange)} are there, and were deleted or never made")
    missing = {name for name, line in promises.lines.items() if line.made and not line.leaving} - found
    if missing:
        raise Lost(f"runs {sorted(missing)} are gone with all their events")
    compared = 0
    for run in (store[name] for name in sorted(found)):
        line = promises.lines[run.name]
        compared += _compare_events(run, promises, line.durable)
        known = [at for at in line.states if at <= run.head]
        for at in {max(known), chance.choice(known)} if known else ():
            if run.at(at).digest != line.states[at]:
                raise Lost(f"run {run.name!r}: the state at {at} is not what it was")
    _require_sound(store)
    return compared


def _compare_events(run: Run, promises: Promises, durable: int) -> int:
    """Compare all events. Those beyond what was acknowledged may be there, but then they are what was written."""
    seq = 0
    for place, (seq, event) in enumerate(run.events(), 1):
        if seq != place:
            raise Lost(f"run {run.name!r}: seq {seq} where {place} is next")
        if digest(event) != promises.event(run.name, seq):
            raise Lost(f"run {run.name!r}: event {seq} is {event}, which is not what was written there")
    if not seq == run.head >= durable:
        raise Lost(f"run {run.name!r}: acknowledged to {durable}, ends at {seq}, head {run.head}")
    return seq


def _compare_copy(url: str, promises: Promises) -> int:
    """Compare the backup, which is to hold what was acknowledged before it was asked for."""
    with stores.open(url.replace(STORE, COPY), read_only=True) as store:
        if missing := promises.copied.keys() - set(store.runs()):
            raise Lost(f"runs {sorted(missing)} are not in the backup")
        _require_sound(store)
        return sum(_compare_events(store[name], promises, head) for name, head in promises.copied.items())


def _write_on(store: Store) -> tuple[str, int]:
    """Append to the oldest run, or to a new one."""
    run = store.reopen(store.runs()[0]) if store.runs() else store.start("after")
    with run:
        variable = Variable(data_model=Counted, name="after")
        for number in range(1, 6):
            variable.update({"n": number, "text": "x" * 3_000})
            run.flush()
    run.close()
    return run.name, run.head


def _reread(url: str, name: str, head: int) -> None:
    with stores.open(url, read_only=True) as store:
        run = store[name]
        if run.head != head or run.state.variables["after"]["n"] != 5:
            raise Lost(f"run {name!r}: what was written after the power cut is gone")
        _require_sound(store)


def _require_sound(store: Store) -> None:
    if findings := store.verify():
        raise Damaged(f"verify: {findings}")
