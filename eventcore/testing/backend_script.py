"""A script of writes and what a store holds after each of them, for checks that break something below the store.

Steps are drawn from a number alone, so the process that writes and the one that judges know the same script. What
the store has to hold is worked out in dicts and tuples and shares no code with a backend. After an interruption the
store holds what it held before the step that was under way, or after it, and nothing between.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

from eventcore.history.backend import Backend, Block, Posting, StoredSnapshot

VARIABLES = (1, 2)
WRITER = "child"


class Held(NamedTuple):
    """All a store holds of one run; the parent by its name."""

    parent: str | None
    forked_at: int
    head: int
    epoch: int
    writer: str
    meta: bytes
    blocks: tuple[Block, ...] = ()
    snapshots: tuple[StoredSnapshot, ...] = ()
    postings: tuple[Posting, ...] = ()


Contents: TypeAlias = "dict[str, Held]"
"""What a store holds, by the names of its runs."""


@dataclass(frozen=True)
class Create:
    """A run is made, perhaps of another."""

    name: str
    parent: str | None
    forked_at: int
    meta: bytes

    def do(self, backend: Backend) -> None:
        """Carry it out."""
        parent = None if self.parent is None else run_id(backend, self.parent)
        backend.create_run(self.name, parent=parent, forked_at=self.forked_at, meta=self.meta, writer=WRITER)

    def after(self, held: Contents) -> Contents:
        """What the store holds then."""
        made = Held(self.parent, self.forked_at, self.forked_at, 1, WRITER, self.meta)
        return {**held, self.name: made}


@dataclass(frozen=True)
class Claim:
    """A run is claimed, or released where the writer is ""."""

    name: str
    epoch: int
    writer: str

    def do(self, backend: Backend) -> None:
        """Carry it out."""
        backend.claim(run_id(backend, self.name), self.writer, self.epoch)

    def after(self, held: Contents) -> Contents:
        """What the store holds then."""
        epoch = self.epoch + bool(self.writer)
        return {**held, self.name: held[self.name]._replace(epoch=epoch, writer=self.writer)}


@dataclass(frozen=True)
class Append:
    """Blocks are appended, perhaps with a snapshot and postings."""

    name: str
    head: int
    epoch: int
    blocks: tuple[Block, ...]
    snapshot: StoredSnapshot | None
    postings: tuple[Posting, ...]

    def do(self, backend: Backend) -> None:
        """Carry it out."""
        run = run_id(backend, self.name)
        backend.append(run, self.head, self.epoch, self.blocks, self.snapshot, self.postings)

    def after(self, held: Contents) -> Contents:
        """What the store holds then."""
        was = held[self.name]
        more = () if self.snapshot is None else (self.snapshot,)
        now = was._replace(
            head=self.blocks[-1].last_seq,
            blocks=was.blocks + self.blocks,
            snapshots=was.snapshots + more,
            postings=_in_order(was.postings + self.postings),
        )
        return {**held, self.name: now}


@dataclass(frozen=True)
class Drop:
    """A snapshot is dropped."""

    name: str
    seq: int

    def do(self, backend: Backend) -> None:
        """Carry it out."""
        backend.drop_snapshot(run_id(backend, self.name), self.seq)

    def after(self, held: Contents) -> Contents:
        """What the store holds then."""
        was = held[self.name]
        kept = tuple(one for one in was.snapshots if one.seq != self.seq)
        return {**held, self.name: was._replace(snapshots=kept)}


@dataclass(frozen=True)
class Delete:
    """A run is deleted."""

    name: str

    def do(self, backend: Backend) -> None:
        """Carry it out."""
        backend.delete_run(run_id(backend, self.name))

    def after(self, held: Contents) -> Contents:
        """What the store holds then."""
        return {name: one for name, one in held.items() if name != self.name}


Step: TypeAlias = "Create | Claim | Append | Drop | Delete"


def script(number: int | str, count: int) -> tuple[list[Step], list[Contents]]:
    """Draw steps, and say what a store holds before the first and after each.

    Args:
        number: Decides what is drawn.
        count: How many steps.

    Returns:
        `count` steps, and one more contents.
    """
    chance = random.Random(f"script {number}")
    steps: list[Step] = []
    states: list[Contents] = [{}]
    for place in range(count):
        step = _drawn(chance, states[-1], place)
        steps.append(step)
        states.append(step.after(states[-1]))
    return steps, states


def _drawn(chance: random.Random, held: Contents, place: int) -> Step:
    if not held:
        return Create(f"run {place}", None, 0, b"meta")
    name = chance.choice(sorted(held))
    run, kind = held[name], chance.random()
    if kind < 0.1:
        parent = name if run.head and chance.random() < 0.6 else None
        at = chance.randint(0, run.head) if parent else 0
        return Create(f"run {place}", parent, at, chance.randbytes(chance.randint(0, 40)))
    if kind < 0.16:
        return Claim(name, run.epoch, chance.choice(("", f"writer {place}")))
    if kind < 0.22 and run.snapshots:
        return Drop(name, chance.choice(run.snapshots).seq)
    if kind < 0.28 and len(held) > 1 and not any(one.parent == name for one in held.values()):
        return Delete(name)
    return _append(chance, name, run)


def _append(chance: random.Random, name: str, run: Held) -> Append:
    blocks: list[Block] = []
    head = run.head
    for _ in range(chance.choice((1, 1, 2, 3))):
        last = head + chance.randint(1, 20)
        blocks.append(Block(head + 1, last, chance.randbytes(chance.choice((30, 700, 5_000, 16_000)))))
        head = last
    snapshot = StoredSnapshot(head, chance.randbytes(1_500)) if chance.random() < 0.4 else None
    postings = tuple(
        Posting(variable, head, chance.randbytes(90)) for variable in VARIABLES if chance.random() < 0.4
    )
    return Append(name, run.head, run.epoch, tuple(blocks), snapshot, postings)


def run_id(backend: Backend, name: str) -> int:
    """Return the number of a run that must be there."""
    row = backend.run(name)
    assert row is not None, f"run {name!r} is gone"
    return row.id


def _in_order(postings: tuple[Posting, ...]) -> tuple[Posting, ...]:
    return tuple(sorted(postings, key=lambda one: (one.variable, one.last_seq)))


def contents(backend: Backend) -> Contents:
    """Read all that a store holds."""
    rows = backend.runs()
    names = {row.id: row.name for row in rows}
    found: Contents = {}
    for row in rows:
        stored = [backend.snapshot(row.id, seq) for seq in backend.snapshot_seqs(row.id)]
        found[row.name] = Held(
            None if row.parent is None else names[row.parent],
            row.forked_at,
            row.head,
            row.epoch,
            row.writer,
            row.meta,
            tuple(backend.blocks(row.id, 1, 2**62)),
            tuple(one for one in stored if one is not None),
            tuple(chunk for variable in VARIABLES for chunk in backend.postings(row.id, variable)),
        )
    return found


def difference(found: Contents, wanted: Contents) -> str:
    """Say in words where two contents differ first; "" where they do not."""
    for name in sorted(found.keys() | wanted.keys()):
        if name not in found:
            return f"run {name!r} is gone"
        if name not in wanted:
            return f"run {name!r} is there, and was deleted or never made"
        for what, mine, theirs in zip(Held._fields, found[name], wanted[name], strict=True):
            if mine != theirs:
                return f"run {name!r}: {what} is {_short(mine)}; it should be {_short(theirs)}"
    return ""


def _short(value: object) -> str:
    if isinstance(value, tuple):
        return f"{len(value)} of them, the last {_short(value[-1])}" if value else "nothing"
    text = repr(value)
    return text if len(text) < 90 else f"{text[:60]}... ({len(text)} characters)"


def judge(backend: Backend, states: list[Contents], done: int) -> tuple[int, str]:
    """Hold a store against a script of which `done` steps were acknowledged and perhaps one more was under way.

    Returns:
        How many steps the store holds, and what is wrong, "" if nothing.
    """
    found = contents(backend)
    for steps in (done, done + 1):
        if steps < len(states) and found == states[steps]:
            problems = list(backend.problems())
            return steps, f"the store says it is damaged: {problems[0]}" if problems else ""
    wrong = difference(found, states[done])
    if done + 1 < len(states):
        wrong += f"; or, if step {done + 1} was carried out, {difference(found, states[done + 1])}"
    return done, f"{wrong}, after {done} steps were acknowledged"
