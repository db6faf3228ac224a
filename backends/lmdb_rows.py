"""Rows and keys of an LMDB store: what stands in which database, and how it is found.

Every function works inside a transaction somebody else began and will commit; none opens one.

Databases (all integers big-endian):
    meta: `format`, `next_run`, `name:`+digest of a run's name -> run, `index:`+run -> indexed_to
    log:  commit u64 -> run u32, first_seq u64, last_seq u64, block
    runs: run u32 -> row (msgpack)
    bidx: run u32, last_seq u64 -> commit u64
    post: run u32, variable u32, last_seq u64 -> posting
    snap: run u32, seq u64 -> snapshot
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Iterator, Sequence

import lmdb
import msgspec

from eventcore.backends import rules
from eventcore.backends.lmdb_environment import Databases, Txn
from eventcore.errors import CorruptLog
from eventcore.history.backend import Block, Posting, RunRow

RUN = struct.Struct(">I")
COMMIT = struct.Struct(">Q")
RUN_SEQ = struct.Struct(">IQ")
POSTING = struct.Struct(">IIQ")
RECORD = struct.Struct(">IQQ")

NEXT_RUN = b"next_run"


class StoredRun(msgspec.Struct, frozen=True, array_like=True):
    """A run's row as it is stored: without its id, which is the key, and its head, which is in `bidx`."""

    name: str
    parent: int | None
    forked_at: int
    epoch: int
    writer: str
    created: float
    meta: bytes


_encode = msgspec.msgpack.Encoder().encode
_decode_run = msgspec.msgpack.Decoder(StoredRun).decode


def name_key(name: str) -> bytes:
    """Return the key of a run's name: keys of LMDB end at 511 bytes, names do not."""
    return b"name:" + hashlib.blake2b(name.encode("utf-8", "surrogatepass"), digest_size=16).digest()


def index_key(run: int) -> bytes:
    """Return the key under which a run's `indexed_to` stands."""
    return b"index:" + RUN.pack(run)


def full_row(run: int, row: StoredRun, head: int) -> RunRow:
    """Return a run's row as the contract shows it."""
    return RunRow(
        run, row.name, row.parent, row.forked_at, head, row.epoch, row.writer, row.created, row.meta
    )


def put_run(tables: Databases, txn: Txn, row: RunRow) -> None:
    """Write a run's row; its head is not part of it."""
    stored = StoredRun(row.name, row.parent, row.forked_at, row.epoch, row.writer, row.created, row.meta)
    txn.put(RUN.pack(row.id), _encode(stored), db=tables.runs)


def last_seq(tables: Databases, txn: Txn, run: int) -> int | None:
    """Return the last seq of the run's own blocks, or None without any."""
    cursor = txn.cursor(db=tables.bidx)
    above = cursor.set_range(RUN_SEQ.pack(run, 2**64 - 1))
    if not (cursor.prev() if above else cursor.last()):
        return None
    owner, last = RUN_SEQ.unpack(cursor.key())
    return int(last) if owner == run else None


def has_run(tables: Databases, txn: Txn, run: int) -> bool:
    """Say whether a run is there."""
    return 0 <= run <= rules.MAX_NUMBER and txn.get(RUN.pack(run), db=tables.runs) is not None


def find_run(tables: Databases, txn: Txn, run: int) -> RunRow | None:
    """Return the row of a run with its present head, or None."""
    if not 0 <= run <= rules.MAX_NUMBER:
        return None
    stored = txn.get(RUN.pack(run), db=tables.runs)
    if stored is None:
        return None
    row = decode_run(stored, run)
    head = last_seq(tables, txn, run)
    return full_row(run, row, head if head is not None else row.forked_at)


def decode_run(stored: bytes, run: int) -> StoredRun:
    """Decode a run's row.

    Raises:
        CorruptLog: The bytes are no row.
    """
    try:
        return _decode_run(stored)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise CorruptLog(
            f"cannot read the row of run {run}: {error}; restore the store from a backup"
        ) from error


def all_runs(tables: Databases, txn: Txn) -> list[RunRow]:
    """Return the rows of all runs, oldest first."""
    keys = [RUN.unpack(key)[0] for key in txn.cursor(db=tables.runs).iternext(values=False)]
    return [row for row in (find_run(tables, txn, key) for key in keys) if row is not None]


def put_blocks(tables: Databases, txn: Txn, run: int, blocks: Sequence[Block]) -> None:
    """Append the blocks' records to the log and make them found by run and seq."""
    cursor = txn.cursor(db=tables.log)
    commit = COMMIT.unpack(cursor.key())[0] + 1 if cursor.last() else 1
    keys = [COMMIT.pack(number) for number in range(commit, commit + len(blocks))]
    records = [RECORD.pack(run, block.first_seq, block.last_seq) + block.data for block in blocks]
    # Many in one call: between two calls a busy thread may take the interpreter's lock, for 5 ms each time.
    cursor.putmulti(zip(keys, records, strict=True), append=True)
    places = [RUN_SEQ.pack(run, block.last_seq) for block in blocks]
    txn.cursor(db=tables.bidx).putmulti(zip(places, keys, strict=True))


def put_postings(tables: Databases, txn: Txn, run: int, postings: Sequence[Posting]) -> None:
    """Write index chunks and how far they reach."""
    for posting in postings:
        txn.put(POSTING.pack(run, posting.variable, posting.last_seq), posting.data, db=tables.post)
    old = txn.get(index_key(run), db=tables.meta)
    reach = max(posting.last_seq for posting in postings)
    if old is None or COMMIT.unpack(old)[0] < reach:
        txn.put(index_key(run), COMMIT.pack(reach), db=tables.meta)


def read_record(txn: Txn, log: lmdb._Database, commit: bytes, run: int, last: int) -> Block:
    """Read one record of the log and compare it with the key that led to it.

    Raises:
        CorruptLog: It is missing, or is another one.
    """
    record = txn.get(commit, db=log)
    if record is not None and len(record) >= RECORD.size:
        owner, first, end = RECORD.unpack_from(record)
        if owner == run and end == last and first <= end:
            return Block(first, end, record[RECORD.size :])
    raise CorruptLog(
        f"cannot read the block of run {run} that ends at seq {last}: its record is missing or another one; "
        "run `eventcore verify` and restore a backup",
        seq=last,
    )


def keys_of(txn: Txn, table: lmdb._Database, run: int) -> Iterator[bytes]:
    """Yield the keys of one run in a table whose keys begin with the run."""
    prefix = RUN.pack(run)
    cursor = txn.cursor(db=table)
    if cursor.set_range(prefix):
        for key in cursor.iternext(values=False):
            if key[:4] != prefix:
                return
            yield key


def delete_range(txn: Txn, table: lmdb._Database, run: int) -> Iterator[tuple[bytes, bytes]]:
    """Delete all of one run in a table whose keys begin with the run, yielding what is deleted."""
    prefix = RUN.pack(run)
    cursor = txn.cursor(db=table)
    found = cursor.set_range(prefix)
    while found:
        key, value = cursor.item()
        if key[:4] != prefix:
            return
        yield key, value
        found = cursor.delete()
