"""`Journal`: the backend somebody writes in an afternoon, sound in one process at a time.

Everything is in memory, and every change is a line of JSON in a file that is synced. Mutants of durability derive from
it.
"""

from __future__ import annotations

import base64
import fcntl
import json
import os
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import msgspec

from eventcore.backends.memory import MemoryBackend
from eventcore.errors import CorruptLog, StorageError, StoreBusy
from eventcore.history.backend import Block, Posting, RunRow, StoredSnapshot


class Paper:
    """The file of one store, open in this process."""

    def __init__(self, place: str) -> None:
        try:
            self.descriptor = os.open(place, os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as error:
            raise StorageError(f"cannot open {place}: {error}") from error
        try:
            fcntl.flock(self.descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(self.descriptor)
            raise StoreBusy(f"cannot open {place}: another process has it open") from error
        self.users = 0
        self.broken = False

    def let_go(self) -> None:
        """One user less; the last one closes the file."""
        self.users -= 1
        if self.users == 0:
            os.close(self.descriptor)


class Journal(MemoryBackend):
    """Everything in memory, and every change a line in a synced file."""

    durable = True
    papers: ClassVar[dict[str, Paper]] = {}
    paper: Paper

    @classmethod
    def open(cls, path_or_rest: str = "", **options: Any) -> Journal:
        """Open a store, reading its journal if nobody here has it open."""
        place = os.path.abspath(path_or_rest)
        first = place not in cls.papers
        paper = cls.papers.setdefault(place, Paper(place)) if first else cls.papers[place]
        made: Any = super().open(place, read_only=bool(options.get("read_only")), limit=2**60)
        made.url = f"journal:{place}"
        made.paper = paper
        paper.users += 1
        if first:
            try:
                made.load(Path(place).read_bytes())
            except (OSError, ValueError) as error:
                made.close()
                raise StorageError(f"cannot open {place}: {error}") from error
        made.log_id = made._space.log_id
        journal: Journal = made
        return journal

    def load(self, data: bytes) -> None:
        """Do everything again that the journal says."""
        whole = self.sound_part(data)
        os.ftruncate(self.paper.descriptor, len(whole))
        os.lseek(self.paper.descriptor, 0, os.SEEK_END)
        for line in whole.split(b"\n")[:-1]:
            self.again(json.loads(line[9:]))
        if not whole:
            self.write(["log", self._space.log_id])
        self.sync_name()

    def sound_part(self, data: bytes) -> bytes:
        """Leave out what was being written when everything stopped: the lines at the end that are not whole."""
        lines = data.split(b"\n")[:-1]
        good = [is_whole(line) for line in lines]
        count = good.index(False) if False in good else len(lines)
        if any(good[count:]):
            raise CorruptLog(f"line {count + 1} of {self.url} is not what was written")
        return b"".join(line + b"\n" for line in lines[:count])

    def line(self, entry: list[Any]) -> bytes:
        """A line that says whether it is whole."""
        text = json.dumps(entry).encode()
        return b"%08x %s\n" % (zlib.crc32(text), text)

    def sync_name(self) -> None:
        """Have the file in its folder, on the disk."""
        descriptor = os.open(os.path.dirname(self._name), os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def again(self, entry: list[Any]) -> None:
        """Do one thing again."""
        what, *fields = entry
        if what == "log":
            self._space.log_id = fields[0]
        elif what == "create":
            name, parent, forked_at, meta, writer, created = fields
            row = super().create_run(
                name, parent=parent, forked_at=forked_at, meta=unpacked(meta), writer=writer
            )
            self._space.runs[row.id].row = msgspec.structs.replace(row, created=created)
        elif what == "claim":
            super().claim(*fields)
        elif what == "append":
            run, head, epoch, blocks, snapshot, postings = fields
            super().append(
                run,
                head,
                epoch,
                [Block(first, last, unpacked(data)) for first, last, data in blocks],
                StoredSnapshot(snapshot[0], unpacked(snapshot[1])) if snapshot else None,
                [Posting(variable, last, unpacked(data)) for variable, last, data in postings],
            )
        elif what == "drop":
            super().drop_snapshot(*fields)
        else:
            super().delete_run(*fields)

    def write(self, entry: list[Any]) -> None:
        """Write a line, durably."""
        line = self.line(entry)
        try:
            if os.write(self.paper.descriptor, line) != len(line):
                raise OSError("the disk is full")
            self.sync()
        except OSError as error:
            self.paper.broken = True
            raise StorageError(f"cannot write to {self.url}: {error}") from error

    def sync(self) -> None:
        """Have it on the disk."""
        os.fdatasync(self.paper.descriptor)

    def usable(self) -> None:
        """Refuse after a write that failed: memory is ahead of the file."""
        if self.paper.broken and not self._closed:
            raise StorageError(f"cannot go on with {self.url}: a write failed; open it again")

    def create_run(self, name: str, **options: Any) -> RunRow:
        """Create a run."""
        self.usable()
        row = super().create_run(name, **options)
        self.write(["create", name, row.parent, row.forked_at, packed(row.meta), row.writer, row.created])
        return row

    def claim(self, run: int, writer: str, expected_epoch: int | None = None) -> RunRow:
        """Claim a run."""
        self.usable()
        with self._space.lock:
            row = super().claim(run, writer, expected_epoch)
            self.write(["claim", run, writer, None])
        return row

    def append(
        self,
        run: int,
        expected_head: int,
        epoch: int,
        blocks: Sequence[Block],
        snapshot: StoredSnapshot | None = None,
        postings: Sequence[Posting] = (),
    ) -> None:
        """Append."""
        self.usable()
        entry = [
            "append", run, expected_head, epoch,
            [[b.first_seq, b.last_seq, packed(b.data)] for b in blocks],
            None if snapshot is None else [snapshot.seq, packed(snapshot.data)],
            [[p.variable, p.last_seq, packed(p.data)] for p in postings],
        ]  # fmt: skip
        with self._space.lock:
            super().append(run, expected_head, epoch, blocks, snapshot, postings)
            self.write(entry)

    def drop_snapshot(self, run: int, seq: int) -> None:
        """Drop a snapshot."""
        self.usable()
        with self._space.lock:
            super().drop_snapshot(run, seq)
            self.write(["drop", run, seq])

    def delete_run(self, run: int) -> None:
        """Delete a run."""
        self.usable()
        with self._space.lock:
            super().delete_run(run)
            self.write(["delete", run])

    def close(self) -> None:
        """Close."""
        if self._closed:
            return
        super().close()
        self.paper.let_go()
        if not self.paper.users:
            self.papers.pop(self._name, None)


def is_whole(line: bytes) -> bool:
    """Whether a line is what was written."""
    return line[:8] == b"%08x" % zlib.crc32(line[9:])


def packed(data: bytes) -> str:
    """Bytes as text."""
    return base64.b64encode(data).decode()


def unpacked(text: str) -> bytes:
    """Undo `packed`."""
    return base64.b64decode(text)
