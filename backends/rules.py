"""The rules every backend of this package obeys, said once so that they are said in the same words.

Pure checks on plain values: no file is touched here and nothing is stored. A third party's
backend may use them too, but need not; the conformance suite only looks at what happens.
"""

from __future__ import annotations

import secrets
from collections.abc import Collection, Iterable, Mapping, Sequence

import msgspec

from eventcore.errors import (
    ConcurrentAppend,
    DuplicateName,
    InvalidValue,
    NotFound,
    StoreClosed,
    StoreReadOnly,
)
from eventcore.history.backend import Block, Posting, RunRow, StoredSnapshot

MAX_SEQ = 2**63 - 1
"""Largest seq that fits every backend (SQLite integers are signed)."""

MAX_NUMBER = 2**32 - 1
"""Largest number of a run or of a variable: keys hold them in four bytes."""

CHUNK_BLOCKS = 64
CHUNK_BYTES = 4 * 1024 * 1024
"""A read transaction ends after this many blocks or bytes, so that a slow reader pins nothing."""


def new_log_id() -> str:
    """Return a random identity for a new store."""
    return secrets.token_hex(16)


def check_append(
    expected_head: int, blocks: Sequence[Block], snapshot: StoredSnapshot | None, postings: Sequence[Posting]
) -> int:
    """Check what does not need the store and return the head the run will have.

    Raises:
        InvalidValue: The blocks are not contiguous from `expected_head + 1`, or a number is out of range.
    """
    head = expected_head
    for block in blocks:
        if block.first_seq != head + 1 or block.last_seq < block.first_seq:
            raise InvalidValue(
                f"cannot append a block of seqs {block.first_seq}..{block.last_seq} after seq {head}; "
                f"blocks must be contiguous, the next one starts at {head + 1}"
            )
        head = block.last_seq
    if not 0 <= expected_head <= head <= MAX_SEQ:
        raise InvalidValue(f"cannot append at seq {expected_head}..{head}; seqs lie between 0 and {MAX_SEQ}")
    if snapshot is not None and not 0 <= snapshot.seq <= head:
        raise InvalidValue(
            f"cannot store a snapshot at seq {snapshot.seq} in a run whose head is {head}; "
            "a snapshot stands at the head or before it"
        )
    for posting in postings:
        if not (0 <= posting.variable <= MAX_NUMBER and 0 <= posting.last_seq <= head):
            raise InvalidValue(
                f"cannot store index entries of variable {posting.variable} up to seq {posting.last_seq}; "
                f"the variable lies between 0 and {MAX_NUMBER} and the seq between 0 and the head, {head}"
            )
    return head


def check_new_run(name: str, parent: RunRow | None, parent_id: int | None, forked_at: int) -> None:
    """Check the place of a new run in its tree.

    Raises:
        InvalidValue: The name is empty or not storable, or there is a fork seq without a parent.
        NotFound: The parent is not there, or `forked_at` lies beyond its head.
    """
    try:
        usable = 0 < len(name.encode()) <= 1024 and "\0" not in name
    except UnicodeEncodeError:
        usable = False
    if not usable:
        raise InvalidValue(
            f"cannot create a run named {name!r:.80}; a name has 1 to 1024 bytes of valid text"
        )
    if parent_id is None:
        if forked_at != 0:
            raise InvalidValue(f"cannot fork {name!r} at seq {forked_at} of no run; name the parent")
        return
    if parent is None:
        raise NotFound(f"cannot fork {name!r}: its parent, run {parent_id}, does not exist")
    if forked_at < 0:
        raise InvalidValue(f"cannot fork {name!r} at seq {forked_at}; a fork seq is 0 or more")
    if forked_at > parent.head:
        raise NotFound(
            f"cannot fork {name!r} at seq {forked_at} of run {parent.name!r}: "
            f"its head is {parent.head}; any seq from 0 to {parent.head} works"
        )


def duplicate_name(name: str, url: str) -> DuplicateName:
    """Build the refusal of a run name that is taken."""
    return DuplicateName(
        f"cannot create run {name!r} in {url}: the name is taken; choose another or resume it"
    )


def run_missing(run: str | int, url: str) -> NotFound:
    """Build the refusal of a run that is not there."""
    shown = f"run {run}" if isinstance(run, int) else f"run {run!r}"
    return NotFound(f"cannot find {shown} in {url}; it was never created there or has been deleted")


def run_needed(row: RunRow, forks: Iterable[RunRow]) -> InvalidValue:
    """Build the refusal to delete a run others read through."""
    names = ", ".join(f"{fork.name!r} (at seq {fork.forked_at})" for fork in forks)
    return InvalidValue(f"cannot delete run {row.name!r}: it is read through by {names}; delete these first")


def conflict(row: RunRow, expected_head: int, epoch: int, caller: str | None) -> ConcurrentAppend:
    """Build the refusal of an append by a writer that is behind, naming both writers.

    Args:
        row: The run as it is.
        expected_head: Head the refused writer believed in.
        epoch: Epoch the refused writer claimed.
        caller: Who the refused writer is, if this process knows.
    """
    refused = f"{caller or 'this writer'} (epoch {epoch})"
    holder = f"{row.writer or 'nobody now'} (epoch {row.epoch})"
    message = (
        f"cannot append to run {row.name!r} after seq {expected_head} as {refused}: "
        f"its head is {row.head} and it is held by {holder}; reopen the run to go on from there"
    )
    return ConcurrentAppend(message, expected=expected_head, actual=row.head)


def claim_conflict(row: RunRow, writer: str, expected_epoch: int) -> ConcurrentAppend:
    """Build the refusal of a claim whose expected epoch has passed, naming both writers."""
    message = (
        f"cannot claim run {row.name!r} for {writer or 'nobody (a release)'}: expected epoch {expected_epoch}, "
        f"found epoch {row.epoch} held by {row.writer or 'nobody now'}; read the run again and decide"
    )
    return ConcurrentAppend(message, expected=row.head, actual=row.head)


def claimed(row: RunRow, writer: str, expected_epoch: int | None) -> RunRow:
    """Return the row after a claim by `writer`, or after a release when `writer` is empty.

    Raises:
        ConcurrentAppend: The epoch is not `expected_epoch`.
    """
    if expected_epoch is not None and row.epoch != expected_epoch:
        raise claim_conflict(row, writer, expected_epoch)
    return msgspec.structs.replace(row, writer=writer, epoch=row.epoch + 1 if writer else row.epoch)


def advanced(row: RunRow, head: int) -> RunRow:
    """Return the row with another head."""
    return row if row.head == head else msgspec.structs.replace(row, head=head)


def closed(url: str) -> StoreClosed:
    """Build the refusal of a store that was closed."""
    return StoreClosed(f"cannot use {url}: it has been closed; open it again")


def read_only(url: str, action: str) -> StoreReadOnly:
    """Build the refusal of a write to a store opened for reading."""
    return StoreReadOnly(f"cannot {action} in {url}: it is open for reading only; open it without read_only")


def check_options(engine: str, options: Mapping[str, object], known: Collection[str]) -> None:
    """Refuse options the engine does not have.

    Raises:
        InvalidValue: An option is not among `known`.
    """
    unknown = sorted(set(options) - set(known))
    if unknown:
        allowed = ", ".join(sorted(known)) or "none"
        raise InvalidValue(
            f"cannot open {engine} store with options {', '.join(unknown)}; known options: {allowed}"
        )


class Claims:
    """Who claimed which epoch from this process: only so that errors can name the refused writer."""

    def __init__(self) -> None:
        self._names: dict[tuple[int, int], str] = {}

    def note(self, row: RunRow) -> None:
        """Remember the writer of a fresh claim."""
        if row.writer:
            self._names[row.id, row.epoch] = row.writer
        while len(self._names) > 4096:
            self._names.pop(next(iter(self._names)))

    def who(self, run: int, epoch: int) -> str | None:
        """Return who claimed the epoch here, or None."""
        return self._names.get((run, epoch))
