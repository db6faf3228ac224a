"""Folding a log from the disk into a state, against what any reader must do, and against another library.

The log has updates of 50 variables, as the committer writes it. Ours reads it through a run opened for reading
and applies every event to an empty state. The first baseline reads the same blocks with the same backend,
checks each CRC, decompresses, and decodes with msgspec into the same event classes, then drops them: written
out here, with none of our checks of order, counts and places. What it leaves for the fold is the applying.

The second baseline, `eventsourcing`, selects the rows of one aggregate from SQLite and applies its events
(see `other_library.py`). Files are in the system's cache for all three, and all take turns.
Defends: at least 0.50 of decoding alone, and 15 times the other library.
"""

from __future__ import annotations

import time
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import UUID

import msgspec
import zstandard

import eventcore as ec
from benchmarks import other_library
from benchmarks.figure import Figure, each, rate, ratio
from benchmarks.workload import personas, variables
from eventcore.history.codec import HEADER_SIZE
from eventcore.history.events import AnyEvent
from eventcore.history.reading import MAX_SEQ, Reader
from eventcore.history.state import State, fold

VARIABLES = 50
HEADER_BEFORE_CRC = HEADER_SIZE - 4


def prepare(path: Path, texts: list[str]) -> None:
    with ec.open(path) as store, store.run("measured"):
        actors = variables(VARIABLES)
        for number, text in enumerate(texts):
            actors[number % VARIABLES].update({"persona": text})


def ours(reader: Reader) -> tuple[int, float]:
    started = time.perf_counter()
    state = State()
    head = reader.head()
    for first, events in reader.chunks(1, head):
        fold(state, events, first)
    return head, time.perf_counter() - started


def decoding(reader: Reader) -> float:
    decode = msgspec.msgpack.Decoder(list[AnyEvent]).decode
    decompress = zstandard.ZstdDecompressor().decompress
    started = time.perf_counter()
    for block in reader.backend.blocks(reader.run, 1, MAX_SEQ):
        data = memoryview(block.data)
        crc = int.from_bytes(data[HEADER_BEFORE_CRC:HEADER_SIZE], "little")
        if zlib.crc32(data[HEADER_SIZE:], zlib.crc32(data[:HEADER_BEFORE_CRC])) != crc:
            raise ValueError(f"the block at seq {block.first_seq} is damaged")
        compressed = data[5] & 1
        decode(decompress(data[HEADER_SIZE:]) if compressed else data[HEADER_SIZE:])
    return time.perf_counter() - started


def others(application: Any, actor: UUID) -> float:
    started = time.perf_counter()
    other_library.replay(application, actor)
    return time.perf_counter() - started


def figures(directory: Path, quick: bool) -> Iterator[Figure]:
    count, their_count, repeats = (10_000, 1_024, 3) if quick else (300_000, 20_480, 9)
    texts = personas(count)
    prepare(directory / "store", texts)
    application = other_library.open_application(directory / "other")
    actor = other_library.write(application, texts[:their_count])
    folded: list[float] = []
    decoded: list[float] = []
    replayed: list[float] = []
    with ec.open(directory / "store", read_only=True) as store:
        reader = store["measured"].reader()
        for _ in range(repeats):
            replayed.append(rate(their_count, others(application, actor)))
            head, seconds = ours(reader)
            folded.append(rate(head, seconds))
            decoded.append(rate(head, decoding(reader)))
    application.close()
    yield Figure(
        what="fold of a log from the disk; against reading, checking and decoding the same blocks",
        measured=each(folded, "events/s"),
        baseline=each(decoded, "events/s"),
        value=ratio(folded, decoded),
        bound=0.50,
        at_least=True,
        unit="×",
    )
    yield Figure(
        what="the same; against `eventsourcing` replaying from SQLite",
        measured=each(folded, "events/s"),
        baseline=each(replayed, "events/s"),
        value=ratio(folded, replayed),
        bound=15,
        at_least=True,
        unit="×",
    )
