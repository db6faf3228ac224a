"""Runs in this process's memory, for trying things, for tests and for replays that must leave no trace.

Nothing survives the process. Above a size limit the oldest blocks of a run are dropped once
a snapshot stands after them, so that an endless loop in a notebook cannot fill the machine.
This backend is also the reference for the contract: the shortest code that obeys it.
"""

from __future__ import annotations

import threading
import time
from bisect import bisect_left
from collections.abc import Iterator, Sequence

from eventcore.backends import rules
from eventcore.errors import InvalidValue
from eventcore.history.backend import Backend, Block, Posting, RunRow, StoredSnapshot

DEFAULT_LIMIT = 64 * 1024 * 1024


class _Run:
    """One run's row and what it owns; `blocks` is ordered by `lasts`."""

    def __init__(self, row: RunRow) -> None:
        self.row = row
        self.first_seq = row.forked_at + 1
        self.lasts: list[int] = []
        self.blocks: list[Block] = []
        self.snapshots: dict[int, StoredSnapshot] = {}
        self.postings: dict[int, dict[int, Posting]] = {}
        self.indexed_to = 0


class _Space:
    """What all openers of one named memory store share."""

    def __init__(self) -> None:
        self.log_id = rules.new_log_id()
        self.lock = threading.RLock()
        self.runs: dict[int, _Run] = {}
        self.names: dict[str, int] = {}
        self.next_id = 1
        self.size = 0
        self.limit = DEFAULT_LIMIT
        self.claims = rules.Claims()
        self.openers = 0


_named: dict[str, _Space] = {}
_named_lock = threading.Lock()


class MemoryBackend(Backend):
    """Keep runs in memory.

    `memory:` alone is private to its opener; `memory:name` is shared by all who open that name in
    this process, and gone when the last of them has closed it.
    """

    durable = False

    def __init__(self, space: _Space, name: str, read_only: bool) -> None:
        self.url = f"memory:{name}"
        self.log_id = space.log_id
        self.read_only = read_only
        self._space = space
        self._name = name
        self._closed = False

    @classmethod
    def open(
        cls,
        path_or_rest: str = "",
        *,
        read_only: bool = False,
        create: bool = True,
        force: bool = False,
        **options: object,
    ) -> MemoryBackend:
        """Open a memory store.

        Args:
            path_or_rest: Name to share it by within the process; empty for a private one.
            read_only: Refuse writes through this opener.
            create: Without it, a named store that nobody has open is `NotFound`.
            force: Accepted for uniformity; there is nothing to force.
            **options: `limit`, the bytes kept before the front of a run is dropped (default 64 MB).

        Raises:
            InvalidValue: An unknown option, or a limit that is not a positive integer.
            NotFound: `create=False` and the name is not open.
        """
        rules.check_options("memory", options, ("limit",))
        limit = options.get("limit", DEFAULT_LIMIT)
        if not isinstance(limit, int) or isinstance(limit, bool) or limit <= 0:
            raise InvalidValue(
                f"cannot open a memory store with limit={limit!r}; give a positive number of bytes"
            )
        with _named_lock:
            space = _named.get(path_or_rest) if path_or_rest else None
            if space is None:
                if not create:
                    raise rules.run_missing(path_or_rest, "this process's memory stores")
                space = _Space()
                space.limit = limit
                if path_or_rest:
                    _named[path_or_rest] = space
            elif "limit" in options:
                space.limit = limit
            space.openers += 1
        return cls(space, path_or_rest, read_only)

    def _enter(self, writing: str = "") -> _Space:
        if self._closed:
            raise rules.closed(self.url)
        if writing and self.read_only:
            raise rules.read_only(self.url, writing)
        return self._space

    def _get(self, run: int) -> _Run:
        found = self._space.runs.get(run)
        if found is None:
            raise rules.run_missing(run, self.url)
        return found

    def runs(self) -> list[RunRow]:
        """Return all runs, oldest first."""
        space = self._enter()
        with space.lock:
            return [run.row for run in space.runs.values()]

    def run(self, name_or_id: str | int) -> RunRow | None:
        """Return one run by name or by id, or None."""
        space = self._enter()
        with space.lock:
            key = space.names.get(name_or_id) if isinstance(name_or_id, str) else name_or_id
            found = space.runs.get(key) if key is not None else None
            return found.row if found is not None else None

    def head(self, run: int) -> int:
        """Return the head of a run."""
        self._enter()
        return self._get(run).row.head

    def create_run(
        self, name: str, *, parent: int | None = None, forked_at: int = 0, meta: bytes = b"", writer: str = ""
    ) -> RunRow:
        """Create a run, claimed by `writer`."""
        space = self._enter("create a run")
        with space.lock:
            rules.check_new_run(name, self.run(parent) if parent is not None else None, parent, forked_at)
            if name in space.names:
                raise rules.duplicate_name(name, self.url)
            row = RunRow(
                space.next_id, name, parent, forked_at, forked_at, 1, writer, time.time(), bytes(meta)
            )
            space.next_id += 1
            space.runs[row.id] = _Run(row)
            space.names[name] = row.id
            space.claims.note(row)
            return row

    def claim(self, run: int, writer: str, expected_epoch: int | None = None) -> RunRow:
        """Begin a new writer epoch, or release the present one."""
        space = self._enter("claim a run")
        with space.lock:
            found = self._get(run)
            found.row = rules.claimed(found.row, writer, expected_epoch)
            space.claims.note(found.row)
            return found.row

    def append(
        self,
        run: int,
        expected_head: int,
        epoch: int,
        blocks: Sequence[Block],
        snapshot: StoredSnapshot | None = None,
        postings: Sequence[Posting] = (),
    ) -> None:
        """Append blocks, a snapshot and postings together; then drop what is above the limit."""
        space = self._enter("append")
        head = rules.check_append(expected_head, blocks, snapshot, postings)
        with space.lock:
            found = self._get(run)
            row = found.row
            if row.head != expected_head or row.epoch != epoch:
                raise rules.conflict(row, expected_head, epoch, space.claims.who(run, epoch))
            found.blocks.extend(blocks)
            found.lasts.extend(block.last_seq for block in blocks)
            space.size += sum(len(block.data) for block in blocks)
            for posting in postings:
                found.postings.setdefault(posting.variable, {})[posting.last_seq] = posting
                found.indexed_to = max(found.indexed_to, posting.last_seq)
                space.size += len(posting.data)
            if snapshot is not None:
                self._forget_snapshot(found, snapshot.seq)
                found.snapshots[snapshot.seq] = snapshot
                space.size += len(snapshot.data)
            found.row = rules.advanced(row, head)
            if space.size > space.limit:
                self._shrink(found)

    def _forget_snapshot(self, run: _Run, seq: int) -> None:
        old = run.snapshots.pop(seq, None)
        if old is not None:
            self._space.size -= len(old.data)

    def _shrink(self, latest: _Run) -> None:
        """Drop fronts until the size fits: first of the run just written, then of the others."""
        for run in (latest, *(other for other in self._space.runs.values() if other is not latest)):
            self._drop_front(run)
            if self._space.size <= self._space.limit:
                return

    def _drop_front(self, run: _Run) -> None:
        """Drop the oldest blocks a snapshot stands after, and no block a fork folds through."""
        forks = [other.row.forked_at for other in self._space.runs.values() if other.row.parent == run.row.id]
        reach = min(forks, default=run.row.head)
        base = max((seq for seq in run.snapshots if seq <= reach), default=0)
        count, size = 0, self._space.size
        while count < len(run.blocks) and run.lasts[count] <= base and size > self._space.limit:
            size -= len(run.blocks[count].data)
            count += 1
        if not count:
            return
        run.first_seq = run.lasts[count - 1] + 1
        self._space.size = size
        del run.blocks[:count], run.lasts[:count]
        for seq in [seq for seq in run.snapshots if seq < run.first_seq - 1]:
            self._forget_snapshot(run, seq)

    def first_seq(self, run: int) -> int:
        """Return the first seq still stored in the run's own blocks; head + 1 when it holds none."""
        space = self._enter()
        with space.lock:
            return self._get(run).first_seq

    def blocks(self, run: int, first: int, last: int) -> Iterator[Block]:
        """Yield the run's own blocks that overlap `first..last`, in order."""
        self._enter()
        at = first
        while at <= last:
            space = self._enter()
            with space.lock:
                found = self._get(run)
                start = bisect_left(found.lasts, at)
                chunk = found.blocks[start : start + rules.CHUNK_BLOCKS]
            for block in chunk:
                if block.first_seq > last:
                    return
                yield block
            if not chunk:
                return
            at = chunk[-1].last_seq + 1

    def snapshot(self, run: int, seq: int) -> StoredSnapshot | None:
        """Return the newest snapshot at `seq` or before it."""
        space = self._enter()
        with space.lock:
            snapshots = self._get(run).snapshots
            best = max((at for at in snapshots if at <= seq), default=None)
            return None if best is None else snapshots[best]

    def snapshot_seqs(self, run: int) -> list[int]:
        """Return the seqs of the run's snapshots, ascending."""
        space = self._enter()
        with space.lock:
            return sorted(self._get(run).snapshots)

    def drop_snapshot(self, run: int, seq: int) -> None:
        """Delete one snapshot, unless it is what is left of a front that was dropped."""
        space = self._enter("drop a snapshot")
        with space.lock:
            found = self._get(run)
            dropped_front = found.first_seq > found.row.forked_at + 1
            if not (dropped_front and seq == min(found.snapshots, default=None)):
                self._forget_snapshot(found, seq)

    def postings(self, run: int, variable: int) -> list[Posting]:
        """Return the index chunks of one variable, ascending."""
        space = self._enter()
        with space.lock:
            chunks = self._get(run).postings.get(variable, {})
            return [chunks[seq] for seq in sorted(chunks)]

    def indexed_to(self, run: int) -> int:
        """Return the largest `last_seq` over all postings of the run."""
        space = self._enter()
        with space.lock:
            return self._get(run).indexed_to

    def delete_run(self, run: int) -> None:
        """Delete a run with all it owns."""
        space = self._enter("delete a run")
        with space.lock:
            found = self._get(run)
            forks = [other.row for other in space.runs.values() if other.row.parent == run]
            if forks:
                raise rules.run_needed(found.row, forks)
            del space.runs[run], space.names[found.row.name]
            space.size -= sum(len(block.data) for block in found.blocks)
            space.size -= sum(len(snapshot.data) for snapshot in found.snapshots.values())
            space.size -= sum(len(p.data) for chunks in found.postings.values() for p in chunks.values())

    def close(self) -> None:
        """Let go of the store; a named one is gone when its last opener closes."""
        with _named_lock:
            if self._closed:
                return
            self._closed = True
            self._space.openers -= 1
            if self._name and self._space.openers == 0:
                _named.pop(self._name, None)

    def facts(self) -> dict[str, object]:
        """Describe the store."""
        space = self._enter()
        with space.lock:
            return {
                "engine": "memory",
                "durable": False,
                "bytes": space.size,
                "limit": space.limit,
                "runs": len(space.runs),
                "warnings": ["nothing is kept after this process ends"],
            }
