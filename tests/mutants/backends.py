"""Backends with one bug each, and sound ones beside them.

The durable mutants derive from `Journal`, the others from the memory backend.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Sequence
from typing import Any
from unittest import mock

import lmdb
import msgspec

from eventcore.backends import rules
from eventcore.backends.lmdb import LmdbBackend
from eventcore.backends.memory import MemoryBackend
from eventcore.backends.sqlite import SqliteBackend
from eventcore.errors import InvalidValue, StorageError
from eventcore.history.backend import Block, Posting, RunRow, StoredSnapshot
from tests.mutants.journal import Journal
from tests.mutants.registry import Kind

KIND = Kind("backend")
mutant, good = KIND.mutant, KIND.good

good(MemoryBackend)


def lmdb_url(place: str) -> str:
    """The shipped LMDB backend, by URL."""
    return f"lmdb:{place}"


def sqlite_url(place: str) -> str:
    """The shipped SQLite backend, by URL."""
    return f"sqlite:{place}"


good(lmdb_url)
good(sqlite_url)


good(Journal)


# --- durability ------------------------------------------------------------------------------------


@mutant("acknowledged_means_synced")
class NeverSyncs(Journal):
    """Leaves the file to the kernel."""

    def sync(self) -> None:
        """Later, perhaps."""


@mutant("acknowledged_means_synced")
class SyncsNowAndThen(Journal):
    """Syncs every fourth line."""

    lines = 0

    def sync(self) -> None:
        """Sometimes."""
        self.lines += 1
        if self.lines % 4 == 0:
            super().sync()


@mutant("acknowledged_means_synced")
class UnsyncedLmdb(LmdbBackend):
    """LMDB, opened with the option everybody finds when it is slow."""

    @classmethod
    def open(cls, path_or_rest: str, **options: Any) -> LmdbBackend:
        """Without sync."""
        real = lmdb.open
        with mock.patch("lmdb.open", lambda *args, **named: real(*args, **{**named, "sync": False})):
            return super().open(path_or_rest, **options)


@mutant("a_kill_loses_nothing_acknowledged")
class WritesLater(Journal):
    """Collects lines and writes eight at once."""

    waiting: bytes = b""

    def write(self, entry: list[Any]) -> None:
        """When there are enough."""
        self.waiting += self.line(entry)
        if self.waiting.count(b"\n") >= 8:
            os.write(self.paper.descriptor, self.waiting)
            self.sync()
            self.waiting = b""


@mutant("a_kill_loses_nothing_acknowledged", "what_was_appended_is_there_after_reopening")
class LosesTheLastLine(Journal):
    """Takes the last line for a torn one."""

    def load(self, data: bytes) -> None:
        """Without the last."""
        lines = data.splitlines(keepends=True)
        super().load(b"".join(lines[:-1] if len(lines) > 2 else lines))


@mutant("what_was_appended_is_there_after_reopening", "random_histories")
class ForgetsItsMeta(Journal):
    """Leaves the meta out of the journal."""

    def write(self, entry: list[Any]) -> None:
        """Without it."""
        super().write([*entry[:4], "", *entry[5:]] if entry[0] == "create" else entry)


@mutant("what_was_appended_is_there_after_reopening", "random_histories")
class ForgetsSnapshots(Journal):
    """Leaves snapshots out of the journal."""

    def write(self, entry: list[Any]) -> None:
        """Without them."""
        super().write([*entry[:5], None, *entry[6:]] if entry[0] == "append" else entry)


@mutant("a_number_is_not_given_again_after_reopening", "random_histories")
class CompactsTooMuch(Journal):
    """Leaves deleted runs out when it is opened: their numbers are given again."""

    def again(self, entry: list[Any]) -> None:
        """As if it had never been."""
        super().again(entry)
        if entry[0] == "delete":
            self._space.next_id = max(self._space.runs, default=0) + 1


@mutant("random_histories", "what_was_appended_is_there_after_reopening")
class NewIdentity(Journal):
    """Makes up a new identity each time it is opened."""

    def load(self, data: bytes) -> None:
        """Another one."""
        super().load(data)
        self._space.log_id = rules.new_log_id()


@mutant("random_histories")
class ForgetsReleases(Journal):
    """Writes claims to the journal, and forgets releases."""

    def claim(self, run: int, writer: str, expected_epoch: int | None = None) -> RunRow:
        """Only claims."""
        return (
            super().claim(run, writer, expected_epoch)
            if writer
            else MemoryBackend.claim(self, run, writer, expected_epoch)
        )


# --- the contract ----------------------------------------------------------------------------------


@mutant("what_is_appended_is_read_back_byte_for_byte")
class OffByOneHead(MemoryBackend):
    """Counts from zero."""

    def head(self, run: int) -> int:
        """One less."""
        return max(0, super().head(run) - 1)


class KeepsAPart(MemoryBackend):
    """Keeps a part of each block; the mutants below say which."""

    def part(self, data: bytes) -> bytes:
        """All of it."""
        return data

    def append(
        self, run: int, expected_head: int, epoch: int, blocks: Sequence[Block], *rest: Any, **named: Any
    ) -> None:
        """That part."""
        cut = [Block(b.first_seq, b.last_seq, self.part(b.data)) for b in blocks]
        super().append(run, expected_head, epoch, cut, *rest, **named)


@mutant("what_is_appended_is_read_back_byte_for_byte", "large_blocks_are_read_in_order")
class CutsLargeBlocks(KeepsAPart):
    """Keeps 64 KB of a block."""

    def part(self, data: bytes) -> bytes:
        """The first."""
        return data[:65536]


@mutant("what_is_appended_is_read_back_byte_for_byte")
class StripsZeros(KeepsAPart):
    """Keeps bytes in something that ends at a zero."""

    def part(self, data: bytes) -> bytes:
        """Until the zero."""
        return data.split(b"\0")[0]


@mutant("an_append_at_another_head_is_refused_and_says_what_it_found")
class LastWriterWins(MemoryBackend):
    """Appends at whatever the head is."""

    def append(
        self, run: int, expected_head: int, epoch: int, blocks: Sequence[Block], *rest: Any, **named: Any
    ) -> None:
        """Moved along."""
        head = self.head(run)
        moved = [
            Block(b.first_seq - expected_head + head, b.last_seq - expected_head + head, b.data)
            for b in blocks
        ]
        super().append(run, head, epoch, moved, *rest, **named)


@mutant("a_claim_shuts_the_earlier_writer_out_and_both_are_named")
class IgnoresEpochs(MemoryBackend):
    """Lets a writer in that was shut out."""

    def append(self, run: int, expected_head: int, epoch: int, *rest: Any, **named: Any) -> None:
        """In whatever epoch."""
        row = self.run(run)
        super().append(run, expected_head, row.epoch if row is not None else epoch, *rest, **named)


@mutant("a_claim_of_another_epoch_is_refused")
class ClaimsAnyway(MemoryBackend):
    """Lets the last one have it."""

    def claim(self, run: int, writer: str, expected_epoch: int | None = None) -> RunRow:
        """Anyway."""
        return super().claim(run, writer)


@mutant("a_release_keeps_the_epoch_and_frees_the_name")
class CountsReleases(MemoryBackend):
    """Begins an epoch with a release, too."""

    def claim(self, run: int, writer: str, expected_epoch: int | None = None) -> RunRow:
        """And counts."""
        row = super().claim(run, writer or "nobody", expected_epoch)
        row = msgspec.structs.replace(row, writer=writer)
        self._space.runs[run].row = row
        return row


@mutant("of_racing_threads_exactly_one_wins_each_append")
class ChecksThenWrites(MemoryBackend):
    """Looks at the head, lets others in, and appends without looking again."""

    def append(
        self, run: int, expected_head: int, epoch: int, blocks: Sequence[Block], *rest: Any, **named: Any
    ) -> None:
        """In two steps."""
        row = self.run(run)
        if row is None or row.head != expected_head or row.epoch != epoch or not blocks:
            super().append(run, expected_head, epoch, blocks, *rest, **named)
            return
        time.sleep(0.002)
        found = self._space.runs[run]
        found.blocks.extend(blocks)
        found.lasts.extend(block.last_seq for block in blocks)
        found.row = msgspec.structs.replace(found.row, head=blocks[-1].last_seq)


@mutant("an_append_at_another_head_is_refused_and_says_what_it_found", "random_histories")
class NotAllOrNothing(MemoryBackend):
    """Stores the snapshot before it looks at the head."""

    def append(
        self,
        run: int,
        expected_head: int,
        epoch: int,
        blocks: Sequence[Block],
        snapshot: Any = None,
        *rest: Any,
        **named: Any,
    ) -> None:
        """The snapshot first."""
        if snapshot is not None and run in self._space.runs and not self._closed:
            self._space.runs[run].snapshots[snapshot.seq] = snapshot
        super().append(run, expected_head, epoch, blocks, snapshot, *rest, **named)


@mutant("blocks_with_a_gap_or_an_overlap_are_refused_whole")
class AcceptsGaps(MemoryBackend):
    """Believes the seqs it is given."""

    def append(
        self, run: int, expected_head: int, epoch: int, blocks: Sequence[Block], *rest: Any, **named: Any
    ) -> None:
        """As they come."""
        try:
            super().append(run, expected_head, epoch, blocks, *rest, **named)
        except InvalidValue:
            found = self._space.runs[run]
            found.blocks.extend(blocks)
            found.lasts.extend(block.last_seq for block in blocks)


@mutant("reading_a_range_gives_the_blocks_that_overlap_it")
class SkipsTheFirstHalf(MemoryBackend):
    """Leaves out a block that begins before the range."""

    def blocks(self, run: int, first: int, last: int) -> Iterator[Block]:
        """Only whole ones."""
        return (block for block in super().blocks(run, first, last) if block.first_seq >= first)


@mutant("reading_a_range_gives_the_blocks_that_overlap_it")
class ReadsOneTooMany(MemoryBackend):
    """Reads on to the block after the range."""

    def blocks(self, run: int, first: int, last: int) -> Iterator[Block]:
        """One more."""
        return super().blocks(run, first, last + 1)


@mutant("random_histories")
class LosesLastOfRange(SqliteBackend):
    """Takes the end of a range for the seq after it, in ranges of more than one seq."""

    def blocks(self, run: int, first: int, last: int) -> Iterator[Block]:
        """Up to the end."""
        for block in super().blocks(run, first, last):
            if block.first_seq < last or first == last:
                yield block


@mutant("random_histories")
class LosesWhatEndsTheRange(MemoryBackend):
    """Leaves out a block that ends exactly where the range does."""

    def blocks(self, run: int, first: int, last: int) -> Iterator[Block]:
        """Before the end."""
        return (b for b in super().blocks(run, first, last) if b.last_seq != last or b.first_seq <= first)


@mutant("many_blocks_are_read_in_order")
class ReadsAHundred(MemoryBackend):
    """Reads one page and stops."""

    def blocks(self, run: int, first: int, last: int) -> Iterator[Block]:
        """The first page."""
        for count, block in enumerate(super().blocks(run, first, last)):
            if count == 100:
                return
            yield block


@mutant("everything_asked_of_a_missing_run_is_not_found")
class EmptyForMissing(MemoryBackend):
    """A missing run is an empty one."""

    def blocks(self, run: int, first: int, last: int) -> Iterator[Block]:
        """Nothing."""
        return super().blocks(run, first, last) if self.run(run) is not None else iter(())


@mutant("runs_are_listed_oldest_first")
class SortsByName(MemoryBackend):
    """Lists runs by name."""

    def runs(self) -> list[RunRow]:
        """Sorted."""
        return sorted(super().runs(), key=lambda row: row.name)


@mutant("a_name_is_taken_once")
class ReplacesRuns(MemoryBackend):
    """A run of the same name takes the place of the one before."""

    def create_run(self, name: str, **options: Any) -> RunRow:
        """In its place."""
        self._space.names.pop(name, None)
        return super().create_run(name, **options)


@mutant("the_newest_snapshot_before_a_seq_is_found")
class NewestSnapshot(MemoryBackend):
    """Gives the newest snapshot, whatever was asked."""

    def snapshot(self, run: int, seq: int) -> StoredSnapshot | None:
        """The newest."""
        return super().snapshot(run, 2**62)


@mutant("the_newest_snapshot_before_a_seq_is_found")
class SnapshotBefore(MemoryBackend):
    """Gives the snapshot strictly before."""

    def snapshot(self, run: int, seq: int) -> StoredSnapshot | None:
        """Strictly."""
        return super().snapshot(run, seq - 1)


@mutant("random_histories")
class SnapLeq(SqliteBackend):
    """Writes < for <= where a snapshot is looked for."""

    def snapshot(self, run: int, seq: int) -> StoredSnapshot | None:
        """Before it."""
        return super().snapshot(run, seq - 1)


@mutant("a_snapshot_may_be_replaced_and_dropped")
class KeepsTheFirstSnapshot(MemoryBackend):
    """Ignores a second snapshot at one seq."""

    def append(
        self,
        run: int,
        expected_head: int,
        epoch: int,
        blocks: Sequence[Block],
        snapshot: Any = None,
        *rest: Any,
        **named: Any,
    ) -> None:
        """The first one stays."""
        if snapshot is not None and snapshot.seq in self.snapshot_seqs(run):
            snapshot = None
        super().append(run, expected_head, epoch, blocks, snapshot, *rest, **named)


@mutant("postings_come_by_variable_in_order")
class CountsPostings(MemoryBackend):
    """Says how many postings there are, in place of how far they reach."""

    def indexed_to(self, run: int) -> int:
        """A count."""
        super().indexed_to(run)
        return sum(len(chunks) for chunks in self._space.runs[run].postings.values())


@mutant("random_histories")
class KeepsOnePosting(SqliteBackend):
    """Stores the first posting of an append, and no other."""

    def append(
        self,
        run: int,
        expected_head: int,
        epoch: int,
        blocks: Sequence[Block],
        snapshot: StoredSnapshot | None = None,
        postings: Sequence[Posting] = (),
    ) -> None:
        """The first."""
        super().append(run, expected_head, epoch, blocks, snapshot, postings[:1])


@mutant("postings_come_by_variable_in_order")
class NewestPostingFirst(MemoryBackend):
    """Gives postings newest first."""

    def postings(self, run: int, variable: int) -> list[Posting]:
        """Backwards."""
        return super().postings(run, variable)[::-1]


@mutant("a_run_others_read_through_is_kept", "random_histories")
class DeletesUnderForks(MemoryBackend):
    """Deletes a run that others read through."""

    def delete_run(self, run: int) -> None:
        """Anyway."""
        try:
            super().delete_run(run)
        except InvalidValue:
            del self._space.names[self._space.runs.pop(run).row.name]


@mutant("a_fork_needs_a_parent_that_reaches_its_seq", "random_histories")
class ForksBeyondTheHead(MemoryBackend):
    """Forks where nothing is yet."""

    def create_run(
        self, name: str, *, parent: int | None = None, forked_at: int = 0, **options: Any
    ) -> RunRow:
        """At the head, at most."""
        row = self.run(parent) if parent is not None else None
        at = min(forked_at, row.head) if row is not None else forked_at
        return super().create_run(name, parent=parent, forked_at=at, **options)


@mutant("random_histories")
class GivesNumbersAgain(MemoryBackend):
    """Gives the number of a deleted run to the next."""

    def delete_run(self, run: int) -> None:
        """And its number."""
        super().delete_run(run)
        self._space.next_id = max(self._space.runs, default=0) + 1


@mutant("a_closed_backend_refuses_everything_and_may_be_closed_again")
class WorksWhenClosed(MemoryBackend):
    """Answers after it was closed."""

    def runs(self) -> list[RunRow]:
        """Still."""
        return [run.row for run in self._space.runs.values()]


@mutant("a_store_opened_for_reading_refuses_writes")
class WritesWhenReading(MemoryBackend):
    """Takes `read_only` for a hint."""

    def append(self, run: int, expected_head: int, epoch: int, *rest: Any, **named: Any) -> None:
        """All the same."""
        reading, self.read_only = self.read_only, False
        try:
            super().append(run, expected_head, epoch, *rest, **named)
        finally:
            self.read_only = reading


@mutant("reading_and_appending_may_be_interleaved", "an_abandoned_reading_holds_nothing_up")
class LocksWhileReading(MemoryBackend):
    """Refuses to append while somebody reads."""

    reading = 0

    def blocks(self, run: int, first: int, last: int) -> Iterator[Block]:
        """Counting readers."""
        self.reading += 1
        yield from super().blocks(run, first, last)
        self.reading -= 1

    def append(self, run: int, *rest: Any, **named: Any) -> None:
        """Unless somebody reads."""
        if self.reading:
            raise StorageError("cannot append while somebody reads")
        super().append(run, *rest, **named)
