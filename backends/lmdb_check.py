"""The deep check of an LMDB store: pages first, then rows against each other.

Slow on purpose and never on the way of a commit. What the bytes of a block mean is checked by
the layer above, which has their checksums.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from eventcore.backends import lmdb_rows as rows
from eventcore.backends import rules
from eventcore.backends.lmdb_environment import Environment, Txn
from eventcore.backends.lmdb_file import DATA, verify_in_child
from eventcore.errors import CorruptLog
from eventcore.history.backend import Problem, RunRow


def problems(environment: Environment) -> Iterator[Problem]:
    """Yield what is wrong with the pages; if nothing is, what is wrong with the rows."""
    broken = _page_errors(environment)
    for message in broken:
        yield Problem(place=f"{environment.settings.path / DATA}", message=message)
    if broken:
        return  # Walking broken pages through LMDB can end the process.
    for row in environment.read(lambda txn: rows.all_runs(environment.databases, txn)):
        yield from _run_problems(environment, row)
    yield from _log_problems(environment)


def _page_errors(environment: Environment) -> list[str]:
    """Check the pages of one commit: again if another was made meanwhile, at last with writers held out."""
    path = environment.settings.path / DATA
    for _ in range(3):
        before = environment.ask(lambda env: env.info())["last_txnid"]
        errors = verify_in_child(path)
        if not errors or environment.ask(lambda env: env.info())["last_txnid"] == before:
            return errors
    if environment.settings.read_only:
        return []  # Never quiet long enough for a finding that can be trusted.
    return environment.hold_writers(lambda: verify_in_child(path))


def _run_problems(environment: Environment, row: RunRow) -> Iterator[Problem]:
    """Check one run: a gapless chain of records from its fork to its head, and a parent that reaches it."""
    place = f"run {row.name!r}"
    if row.parent is not None:
        parent = environment.read(lambda txn: rows.find_run(environment.databases, txn, row.parent or 0))
        if parent is None or parent.head < row.forked_at:
            found = "is gone" if parent is None else f"ends at seq {parent.head}"
            yield Problem(
                place, f"forked at seq {row.forked_at} of run {row.parent}, which {found}", row.name
            )
    at = row.forked_at + 1
    while True:
        after, wrong = environment.read(partial(_chain, environment, row=row, first=at))
        yield from wrong
        if after is None:
            break
        at = after
    for seq in environment.read(lambda txn: _snapshot_seqs(environment, txn, row.id)):
        if seq > max(row.head, at - 1):
            yield Problem(
                f"{place}, snapshot at seq {seq}", f"stands beyond the head, {row.head}", row.name, seq
            )


def _snapshot_seqs(environment: Environment, txn: Txn, run: int) -> list[int]:
    return [rows.RUN_SEQ.unpack(key)[1] for key in rows.keys_of(txn, environment.databases.snap, run)]


def _chain(environment: Environment, txn: Txn, row: RunRow, first: int) -> tuple[int | None, list[Problem]]:
    """Check up to a chunk of records from `first`; return where to go on (None at the end) and what is wrong."""
    tables = environment.databases
    found: list[Problem] = []
    expected = first
    cursor = txn.cursor(db=tables.bidx)
    more = cursor.set_range(rows.RUN_SEQ.pack(row.id, first))
    for _ in range(rules.CHUNK_BLOCKS):
        if not more:
            return None, found
        key, commit = cursor.item()
        owner, last = rows.RUN_SEQ.unpack(key)
        if owner != row.id:
            return None, found
        try:
            block = rows.read_record(txn, tables.log, commit, row.id, last)
        except CorruptLog as error:
            found.append(Problem(f"run {row.name!r}, seq {expected}-{last}", str(error), row.name, expected))
        else:
            if block.first_seq != expected:
                place = f"run {row.name!r}, seq {block.first_seq}-{last}"
                message = f"starts at seq {block.first_seq} where {expected} is next"
                found.append(Problem(place, message, row.name, expected))
        expected = last + 1
        more = cursor.next()
    return expected, found


def _log_problems(environment: Environment) -> Iterator[Problem]:
    """Check the other way round: every record of the log is found by its run and seq."""
    at = 0
    while True:
        after, wrong = environment.read(partial(_unindexed, environment, first=at))
        yield from wrong
        if after is None:
            return
        at = after


def _unindexed(environment: Environment, txn: Txn, first: int) -> tuple[int | None, list[Problem]]:
    tables = environment.databases
    found: list[Problem] = []
    cursor = txn.cursor(db=tables.log)
    more = cursor.set_range(rows.COMMIT.pack(first))
    for _ in range(rules.CHUNK_BLOCKS):
        if not more:
            return None, found
        key, record = cursor.item()
        number = rows.COMMIT.unpack(key)[0]
        if len(record) < rows.RECORD.size:
            found.append(Problem(f"commit {number}", "the record is too short to say whose it is"))
        else:
            owner, start, last = rows.RECORD.unpack_from(record)
            if txn.get(rows.RUN_SEQ.pack(owner, last), db=tables.bidx) != key:
                place = f"commit {number}, run {owner}, seq {start}-{last}"
                found.append(Problem(place, "the record is not found by its run and seq", None, start))
        first = number + 1
        more = cursor.next()
    return first, found
