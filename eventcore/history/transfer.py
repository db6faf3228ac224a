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
    """Copy the events a run does not have yet, up to `last`, their index and a snapshot at the end.

    Args:
        source: Where they are.
        target: A backend with a run that is empty, or holds the first events of `source` and no others.
        row: That run, as claimed.
        last: Last seq to copy.
    """
    head, indexed = row.head, target.indexed_to(row.id)
    indexer, state = Indexer(indexed + 1), source.state_at(head) if head else State()
    for low, events in source.chunks(indexed + 1, head):
        indexer.feed(low, events)
    blocks: list[Block] = []
    for low, events in source.chunks(head + 1, last):
        fold(state, events, low)
        blocks.append(Block(low, low + len(events) - 1, encode_block(row.id, low, row.epoch, events)))
        indexer.feed(low, events)
        postings = indexer.take(low + len(events) - 1)
        if len(blocks) >= _COMMIT_BLOCKS or postings:
            target.append(row.id, head, row.epoch, blocks, None, postings)
            head, blocks = blocks[-1].last_seq, []
    stored = StoredSnapshot(last, snapshot_bytes(row.id, last, state)) if last else None
    target.append(row.id, head, row.epoch, blocks, stored)
