"""Copying a run's history from one store to another, event for event, seq for seq."""

from __future__ import annotations

from eventcore.history.backend import Backend, Block, RunRow, StoredSnapshot
from eventcore.history.codec import encode_block
from eventcore.history.index import Indexer
from eventcore.history.reading import Reader
from eventcore.history.snapshots import snapshot_bytes
from eventcore.history.state import State, fold

_COMMIT_BLOCKS = 64


def copy_events(source: Reader, target: Backend, row: RunRow, last: int) -> None:
    """Copy events 1 to `last`, their index and a snapshot at the end.

    Args:
        source: Where they are.
        target: A backend with an empty run.
        row: That run.
        last: Last seq to copy.
    """
    indexer, state = Indexer(1), State()
    blocks: list[Block] = []
    head = 0
    for low, events in source.chunks(1, last):
        fold(state, events, low)
        blocks.append(Block(low, low + len(events) - 1, encode_block(row.id, low, row.epoch, events)))
        indexer.feed(low, events)
        postings = indexer.take(low + len(events) - 1)
        if len(blocks) >= _COMMIT_BLOCKS or postings:
            target.append(row.id, head, row.epoch, blocks, None, postings)
            head, blocks = blocks[-1].last_seq, []
    stored = StoredSnapshot(last, snapshot_bytes(row.id, last, state)) if last else None
    target.append(row.id, head, row.epoch, blocks, stored)
