"""How the log grows: bytes on disk, in the whole store as the operating system counts them.

A conversation: 400 turns of 1 KB appended to one list of a variable, one after the other, each turn then read back
by `at`. What other libraries make of it, measured elsewhere: LangGraph's SQLite saver 251 MB, its delta channel
3.7 MB.

A training: bytes and events of `fit` over n and over 4n examples; per example they must not grow.

Defends: 2 MB; 1.15 times the bytes and events per example.
"""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from pathlib import Path

import eventcore as ec
from benchmarks.bench_fit import data, program
from benchmarks.figure import Figure
from benchmarks.workload import WORDS


class Conversation(ec.DataModel):
    """A list that grows."""

    turns: list[str] = ec.Field(default_factory=list, description="What was said.")


def on_disk(place: Path) -> int:
    """Bytes that the blocks of all files of a store take."""
    files = [place] if place.is_file() else [path for path in place.rglob("*") if path.is_file()]
    return sum(os.stat(path).st_blocks * 512 for path in files)


def conversed(place: Path, turns: int) -> int:
    """Append the turns, check that every one can be gone back to, and return the bytes on disk."""
    ec.clear_session()
    words = random.Random(7)
    texts = [" ".join(words.choices(WORDS, k=250))[:1024] for _ in range(turns)]
    seqs: list[int] = []
    with ec.open(place) as store, store.run("conversation", seed=1) as run:
        variable = ec.Variable(Conversation().get_json(), Conversation, name="conversation")
        for text in texts:
            variable.get("turns").append(text)
            seqs.append(run.head)
            run.flush()
        for number, seq in enumerate(seqs):
            held = run.at(seq).variables[variable.path]["turns"]
            if held != texts[: number + 1]:
                raise AssertionError(f"turn {number} came back wrong")
    return on_disk(place)


def trained(place: Path, count: int) -> tuple[int, int]:
    """Return (events, bytes on disk) of one `fit`."""
    ec.clear_session()
    with ec.open(place) as store, store.run("training", seed=1) as run:
        made, _ = program()
        x, y = data(count)
        ec.wait(made.fit(x, y, batch_size=10, minibatch_size=4, epochs=2, validation_split=0.1, verbose=0))
        run.flush()
        events = run.head
    return events, on_disk(place)


def figures(directory: Path, quick: bool) -> Iterator[Figure]:
    turns, count = (50, 100) if quick else (400, 1_000)
    size = conversed(directory / "conversation.lmdb", turns)
    yield Figure(
        what=f"{turns} turns of 1 KB appended to one list, every turn durable and read back by `at`",
        measured=f"{size / 1e6:.3g} MB on disk",
        baseline="LangGraph's SQLite saver 251 MB, its delta channel 3.7 MB, measured elsewhere",
        value=size / 1e6,
        bound=2,
        at_least=False,
        unit="MB",
    )
    events, size = trained(directory / "n.lmdb", count)
    more_events, more_size = trained(directory / "4n.lmdb", 4 * count)
    for what, small, large in (("events", events, more_events), ("bytes on disk", size, more_size)):
        yield Figure(
            what=f"{what} per example and epoch of `fit` over {4 * count:,} examples against {count:,}",
            measured=f"{large / (8 * count):,.4g}",
            baseline=f"{small / (2 * count):,.4g}",
            value=large / (4 * small),
            bound=1.15,
            at_least=False,
            unit="×",
        )
