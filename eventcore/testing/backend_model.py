"""What the contract of storage says of a run, in a list and two dicts; and seqs near where its things begin and end.

Mistakes are made at edges: the last block of a range, a snapshot exactly at the seq that was asked for. A seq drawn
from all numbers hardly ever meets one, so a seq is drawn as an edge and a distance from it. The model shares no code
with any backend, and does nothing: `BackendMachine` says what becomes of it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, TypeAlias, cast

from hypothesis import strategies as st

from eventcore.history.backend import Block, Posting, RunRow, StoredSnapshot

Edge: TypeAlias = "tuple[str, int, int]"
"""Of what (`OF`), the how manyth of them, and how far from it."""

OF = ("start", "end", "snapshot", "posting", "head", "fork")
"""Where a block starts or ends, where a snapshot or a posting stands, the head, the seq it was forked at."""

_NEAR = st.sampled_from([0, -1, 1])
SEQS: st.SearchStrategy[Edge] = st.tuples(
    st.sampled_from(OF), st.integers(0, 9), st.one_of(_NEAR, _NEAR, st.integers(-60, 60))
)
"""Seqs of a run that is not known yet; `ModelRun.seq` says which they are."""


@dataclass
class ModelRun:
    """What the contract says of one run."""

    id: int
    name: str
    parent: int | None
    forked_at: int
    writer: str
    meta: bytes
    epoch: int = 1
    blocks: list[Block] = field(default_factory=lambda: [])
    snapshots: dict[int, bytes] = field(default_factory=lambda: {})
    postings: dict[tuple[int, int], bytes] = field(default_factory=lambda: {})

    @property
    def head(self) -> int:
        """Last seq of the run."""
        return self.blocks[-1].last_seq if self.blocks else self.forked_at

    def __str__(self) -> str:
        return f"run {self.id} {self.name!r}"

    def row(self, created: float) -> RunRow:
        """What a backend knows about the run, which was created then."""
        who = self.id, self.name, self.parent, self.forked_at
        return RunRow(*who, self.head, self.epoch, self.writer, created, self.meta)

    def seq(self, edge: Edge) -> int:
        """The seq at an edge; near the head if the run has no such edge."""
        of, number, off = edge
        edges = {
            "start": [block.first_seq for block in self.blocks],
            "end": [block.last_seq for block in self.blocks],
            "snapshot": sorted(self.snapshots),
            "posting": sorted({seq for _, seq in self.postings}),
            "fork": [self.forked_at],
        }.get(of) or [self.head]
        return edges[number % len(edges)] + off

    def overlapping(self, first: int, last: int) -> list[Block]:
        """The blocks of a range."""
        return [b for b in self.blocks if first <= last and b.last_seq >= first and b.first_seq <= last]

    def snapshot(self, seq: int) -> StoredSnapshot | None:
        """The newest snapshot at a seq or before it."""
        below = [each for each in self.snapshots if each <= seq]
        return StoredSnapshot(max(below), self.snapshots[max(below)]) if below else None

    def postings_of(self, variable: int) -> list[Posting]:
        """The postings of a variable, in order."""
        mine = sorted((seq, data) for (owner, seq), data in self.postings.items() if owner == variable)
        return [Posting(variable, seq, data) for seq, data in mine]

    def add(
        self,
        blocks: list[Block],
        snapshot: StoredSnapshot | None = None,
        postings: list[Posting] | None = None,
    ) -> None:
        """Do what an append does."""
        self.blocks.extend(blocks)
        if snapshot is not None:
            self.snapshots[snapshot.seq] = snapshot.data
        for chunk in postings or ():
            self.postings[chunk.variable, chunk.last_seq] = chunk.data


def blocks_of(head: int, sizes: list[int], payload: bytes) -> list[Block]:
    """Blocks of so many seqs each, from a head on."""
    blocks: list[Block] = []
    for number, size in enumerate(sizes):
        blocks.append(Block(head + 1, head + size, payload + bytes([number])))
        head += size
    return blocks


def agree(what: str, store: Any, model: Any) -> None:
    """Raise AssertionError that says what differs, unless the store says what the model says."""
    if store == model:
        return
    told = [store, model]
    if isinstance(store, list) and isinstance(model, list):
        one, other = cast("list[Any]", store), cast("list[Any]", model)
        alike = (mine == theirs for mine, theirs in zip(one, other, strict=False))
        place = next((place for place, same in enumerate(alike) if not same), min(len(one), len(other)))
        what = f"{what}, item {place} of {len(one)} (of {len(other)} by the model)"
        told = [each[place] if place < len(each) else "missing" for each in (one, other)]
    raise AssertionError(f"{what}: the store says {_short(told[0])}, the model {_short(told[1])}")


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 200 else f"{text[:160]} … {text[-35:]}"
