"""Durable append of blocks of 256 small events to LMDB, against a raw append and fdatasync of the same bytes.

Ours encodes 256 events, compresses and checksums them and commits the block with its index entry in one
LMDB transaction, which returns when the disk has it: everything the background committer does for a block,
one block per commit. The baseline writes the finished bytes of the same blocks to the end of a file with one
`write` and one `fdatasync` each: it encodes nothing, finds nothing again and cannot tell a torn tail. Both
lie in the same directory and take turns, a few hundred milliseconds each.

LMDB needs two synchronous writes per commit, the data and then the page that points to it, where the file
needs one. Defends: at least 0.30 of the raw rate.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from benchmarks.figure import Figure, each, rate, ratio
from benchmarks.workload import encoded_size, updates
from eventcore.backends.lmdb import LmdbBackend
from eventcore.history.backend import Backend, Block
from eventcore.history.codec import encode_block
from eventcore.history.events import Event

EVENTS = 256


def ours(backend: Backend, run: int, head: int, parts: Sequence[Sequence[Event]]) -> float:
    started = time.perf_counter()
    for part in parts:
        data = encode_block(run, head + 1, 1, part)
        backend.append(run, head, 1, [Block(head + 1, head + EVENTS, data)])
        head += EVENTS
    return time.perf_counter() - started


def raw(file: int, blocks: Sequence[bytes]) -> float:
    started = time.perf_counter()
    for block in blocks:
        os.write(file, block)
        os.fdatasync(file)
    return time.perf_counter() - started


def figures(directory: Path, quick: bool) -> Iterator[Figure]:
    blocks, repeats = (20, 3) if quick else (400, 9)
    events = updates(EVENTS * blocks)
    parts = [events[start : start + EVENTS] for start in range(0, len(events), EVENTS)]
    finished = [encode_block(1, 1, 1, part) for part in parts]
    backend = LmdbBackend.open(str(directory / "store"))
    run = backend.create_run("measured").id
    file = os.open(directory / "raw", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    mine: list[float] = []
    theirs: list[float] = []
    for repeat in range(repeats):
        theirs.append(rate(len(events), raw(file, finished)))
        mine.append(rate(len(events), ours(backend, run, repeat * len(events), parts)))
    os.close(file)
    backend.close()
    yield Figure(
        what=f"durable append of blocks of 256 events of {encoded_size(events):.0f} bytes, LMDB; "
        "against file append + fdatasync",
        measured=each(mine, "events/s"),
        baseline=each(theirs, "events/s"),
        value=ratio(mine, theirs),
        bound=0.30,
        at_least=True,
        unit="×",
    )
