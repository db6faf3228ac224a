"""Backends that do well until something breaks below them (a disk, a call, the power), or others use the store too."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Sequence
from typing import Any

from eventcore.backends.lmdb import LmdbBackend
from eventcore.backends.memory import MemoryBackend
from eventcore.backends.sqlite import SqliteBackend
from eventcore.errors import StorageError
from eventcore.history.backend import Block, Posting, RunRow, StoredSnapshot
from tests.mutants.backends import KIND
from tests.mutants.journal import Journal

mutant = KIND.mutant


@mutant("a_full_disk_loses_nothing_acknowledged")
class SwallowsErrors(Journal):
    """Carries on when the disk is full."""

    def write(self, entry: list[Any]) -> None:
        """Whatever happens."""
        try:
            super().write(entry)
        except StorageError:
            self.paper.broken = False


@mutant("a_full_disk_loses_nothing_acknowledged")
class RaisesWhatComes(Journal):
    """Lets the operating system's error through."""

    def write(self, entry: list[Any]) -> None:
        """As it comes."""
        line = self.line(entry)
        if os.write(self.paper.descriptor, line) != len(line):
            raise OSError("no room")
        self.sync()


@mutant("a_full_disk_loses_nothing_acknowledged")
class StaysBrokenForGood(Journal):
    """Notes in the file that a write failed, and never opens it again."""

    def write(self, entry: list[Any]) -> None:
        """And remember."""
        try:
            super().write(entry)
        except StorageError:
            os.ftruncate(self.paper.descriptor, 0)
            os.pwrite(self.paper.descriptor, self.line(["broken"]), 0)
            raise

    def again(self, entry: list[Any]) -> None:
        """Unless it is broken."""
        if entry[0] == "broken":
            raise ValueError("it was left broken")
        super().again(entry)


@mutant("a_full_disk_loses_nothing_acknowledged", "a_failing_call_loses_nothing_acknowledged")
class TakesEveryLine(Journal):
    """Does not look whether a line is whole, and writes on behind half of one."""

    def sound_part(self, data: bytes) -> bytes:
        """All there is."""
        return data


# --- calls that fail ---------------------------------------------------------------------------------


@mutant("a_failing_call_loses_nothing_acknowledged")
class IgnoresFailedSyncs(Journal):
    """Takes a sync that failed for a sync."""

    def sync(self) -> None:
        """Try."""
        with contextlib.suppress(OSError):
            super().sync()


@mutant("a_failing_call_loses_nothing_acknowledged")
class IgnoresShortWrites(Journal):
    """Does not look how much of a line was written."""

    def write(self, entry: list[Any]) -> None:
        """As much as there is."""
        try:
            os.write(self.paper.descriptor, self.line(entry))
            self.sync()
        except OSError as error:
            self.paper.broken = True
            raise StorageError(f"cannot write to {self.url}: {error}") from error


@mutant("a_failing_call_loses_nothing_acknowledged")
class GoesOnAfterAFailure(Journal):
    """Reports that a write failed and keeps what it was about in memory, as if it had not."""

    def usable(self) -> None:
        """Always."""

    def close(self) -> None:
        """And stays open for the next who asks."""
        if not self.paper.broken:
            super().close()


@mutant("running_out_of_descriptors_is_an_error")
class LetsTheOpeningErrorOut(Journal):
    """Lets the operating system's error through when it cannot open its file."""

    @classmethod
    def open(cls, path_or_rest: str = "", **options: Any) -> Journal:
        """As it comes."""
        try:
            return super().open(path_or_rest, **options)
        except StorageError as error:
            raise error.__cause__ or error from None


@mutant("running_out_of_descriptors_is_an_error")
class StartsAnew(Journal):
    """Takes a journal it cannot open for one that is not there, and begins another beside it."""

    @classmethod
    def open(cls, path_or_rest: str = "", **options: Any) -> Journal:
        """Somewhere."""
        try:
            return super().open(path_or_rest, **options)
        except StorageError:
            made: Any = MemoryBackend.open(path_or_rest + " again")
            return made  # type: ignore[no-any-return]


@mutant("running_out_of_descriptors_is_an_error")
class LeavesDescriptorsOpen(Journal):
    """Forgets to close its file when its folder cannot be opened."""

    def close(self) -> None:
        """Only what was opened whole."""
        if self._space.runs or not self.paper.users:
            super().close()

    def load(self, data: bytes) -> None:
        """The folder first."""
        self.sync_name()
        super().load(data)


# --- power cuts and torn ends --------------------------------------------------------------------------


@mutant("a_power_cut_loses_nothing_acknowledged")
class SyncsBeforeItWrites(Journal):
    """Does the right things, the wrong way round."""

    def write(self, entry: list[Any]) -> None:
        """First this, then that."""
        self.sync()
        os.write(self.paper.descriptor, self.line(entry))


@mutant("a_power_cut_loses_nothing_acknowledged")
class ForgetsTheFolder(Journal):
    """Syncs the file and not the folder its name is in."""

    def sync_name(self) -> None:
        """What name?"""


@mutant("a_power_cut_loses_nothing_acknowledged")
class RewritesInPlace(Journal):
    """Writes its file anew when it is opened, over the old one."""

    def load(self, data: bytes) -> None:
        """And tidies up."""
        super().load(data)
        tidy = os.pread(self.paper.descriptor, 2**30, 0)
        os.ftruncate(self.paper.descriptor, 0)
        os.pwrite(self.paper.descriptor, tidy, 0)
        os.lseek(self.paper.descriptor, 0, os.SEEK_END)


@mutant("a_power_cut_loses_nothing_acknowledged")
class RenamesBeforeItSyncs(Journal):
    """Writes its file anew beside the old one, and puts it in its place before it is on the disk."""

    def load(self, data: bytes) -> None:
        """And tidies up."""
        super().load(data)
        new = os.open(self._name + ".new", os.O_RDWR | os.O_CREAT, 0o600)
        os.write(new, os.pread(self.paper.descriptor, 2**30, 0))
        os.rename(self._name + ".new", self._name)
        self.sync_name()
        os.dup2(new, self.paper.descriptor)
        os.close(new)


@mutant("a_torn_end_is_not_taken_for_data")
class HasNoChecksums(Journal):
    """Takes every line that can be read for a whole one."""

    def sound_part(self, data: bytes) -> bytes:
        """Up to the last that cannot be read."""
        kept: list[bytes] = []
        for line in data.split(b"\n")[:-1]:
            try:
                json.loads(line[9:])
            except ValueError:
                break
            kept.append(line + b"\n")
        return b"".join(kept)


@mutant("a_torn_end_is_not_taken_for_data")
class MendsTheLastLine(Journal):
    """Closes the brackets of a line that breaks off, and does what is left of it."""

    def sound_part(self, data: bytes) -> bytes:
        """And what can be mended."""
        whole = super().sound_part(data)
        rest = data[len(whole) :]
        for end in (b"", b"]", b'"]', b"]]", b'"]]', b'"]], null, []]'):
            try:
                entry = json.loads(rest[9:] + end)
            except ValueError:
                continue
            if isinstance(entry, list) and len(entry) > 5:
                return whole + self.line(entry)
        return whole


@mutant("a_torn_end_is_not_taken_for_data")
class RefusesEveryTornEnd(Journal):
    """Calls a store damaged whose last line is not whole, and leaves it so."""

    def sound_part(self, data: bytes) -> bytes:
        """All or nothing."""
        if super().sound_part(data) != data:
            raise ValueError("the journal is damaged")
        return data


# --- other handles and other processes ----------------------------------------------------------------


@mutant("random_histories")
class FollowersKeepTheHead(SqliteBackend):
    """Remembers the head of a run where it only reads: a follower never sees what comes."""

    def __init__(self, *args: Any, **named: Any) -> None:
        super().__init__(*args, **named)
        self.kept: dict[int, int] = {}

    def head(self, run: int) -> int:
        """As it was."""
        head = super().head(run)
        if not self.read_only:
            return head
        return self.kept.setdefault(run, head)


@mutant("random_histories")
class KeepsTheEpoch(LmdbBackend):
    """Remembers the epoch it has seen last, so that the claim of another process shuts nobody out."""

    def __init__(self, *args: Any, **named: Any) -> None:
        super().__init__(*args, **named)
        self.known: dict[int, int] = {}

    def append(self, run: int, expected_head: int, epoch: int, *rest: Any, **named: Any) -> None:
        """In the epoch there is, if it is asked for the one it knows."""
        row = self.run(run)
        known = row is not None and self.known.get(run) == epoch
        super().append(run, expected_head, row.epoch if row is not None and known else epoch, *rest, **named)
        self.known[run] = epoch

    def claim(self, run: int, writer: str, expected_epoch: int | None = None) -> RunRow:
        """And remember."""
        row = super().claim(run, writer, expected_epoch)
        self.known[run] = row.epoch
        return row


@mutant("random_histories")
class PostingsInALineOfTheirOwn(Journal):
    """Writes postings after the blocks, in a line of their own: a kill between the two leaves half an append."""

    def append(
        self,
        run: int,
        expected_head: int,
        epoch: int,
        blocks: Sequence[Block],
        snapshot: StoredSnapshot | None = None,
        postings: Sequence[Posting] = (),
    ) -> None:
        """One after the other."""
        super().append(run, expected_head, epoch, blocks, snapshot)
        if postings:
            super().append(run, self.head(run), epoch, (), None, postings)
