"""Runs in one SQLite file: for those who want a single file, or cannot have LMDB.

Durable like LMDB (WAL, synchronous=FULL), about as fast for single commits and slower for large
ones. What a connection may do, and which process may write, is in `sqlite_database`.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import stat
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from eventcore.backends import filesystem, rules
from eventcore.backends.sqlite_database import (
    Database,
    Settings,
    acquire,
    create_file,
    has_wal_reset_bug,
    release,
)
from eventcore.errors import CorruptLog, DuplicateName, InvalidValue, StorageError
from eventcore.history.backend import Backend, Block, Posting, Problem, RunRow, StoredSnapshot

# The head is the last seq of the run's blocks: an append rewrites no row.
_RUNS = """
SELECT id, name, parent, forked_at,
    coalesce((SELECT last_seq FROM blocks WHERE run = runs.id ORDER BY last_seq DESC LIMIT 1), forked_at),
    epoch, writer, created, meta
FROM runs
"""


class SqliteBackend(Backend):
    """Keep runs in one SQLite file."""

    def __init__(self, database: Database, read_only: bool, warnings: list[str]) -> None:
        self._path = database.settings.path
        self.url = f"sqlite:{self._path}"
        self.log_id = database.identity["log_id"]
        self.read_only = read_only
        self._database = database
        self._warnings = warnings
        self._closed = False
        self._closing = threading.Lock()

    # -- opening ---------------------------------------------------------------------------

    @classmethod
    def open(
        cls,
        path_or_rest: str,
        *,
        read_only: bool = False,
        create: bool = True,
        force: bool = False,
        **options: object,
    ) -> SqliteBackend:
        """Open a store, or create one where nothing is.

        Args:
            path_or_rest: The file.
            read_only: Open without the right to write; any number of processes may.
            create: Create the store if there is none.
            force: Open on a network file system all the same.
            **options: `timeout`, seconds to wait for another process's commit (default 30).

        Raises:
            NotFound: No store, and none may be created.
            CorruptLog: The file is truncated, empty or damaged.
            UnknownFormat: A newer eventcore wrote it.
            UnsafeFileSystem: On a network file system without `force`.
            StoreBusy: Another process writes, and this SQLite has the WAL-reset bug.
            StoreClosed: The parent process had it open at `fork()`.
            StorageError: The path is a directory or another program's file, or the disk refuses.
        """
        rules.check_options("an SQLite", options, ("timeout",))
        timeout = options.get("timeout", 30.0)
        if not isinstance(timeout, int | float) or isinstance(timeout, bool) or not 0 <= timeout < 1e6:
            raise InvalidValue(f"cannot open an SQLite store with timeout={timeout!r}; give seconds")
        if not path_or_rest or "\0" in path_or_rest or path_or_rest == ":memory:":
            raise InvalidValue(f"cannot open a store at {path_or_rest!r}; name a file, or open memory:")
        # Links are resolved, so that every process finds the same side files.
        path = Path(os.path.realpath(path_or_rest))
        warning = filesystem.refuse_network(path, force=force)
        _prepare(path, may_create=create and not read_only)
        database = acquire(Settings(path, float(timeout)))
        try:
            if not read_only:
                database.add_writer()
        except BaseException:
            release(database)
            raise
        return cls(database, read_only, [warning] if warning else [])

    def close(self) -> None:
        """Release the store; the last opener in the process closes its file. Idempotent."""
        if not self._closing.acquire(blocking=False):
            return
        self._closed = True
        if not self.read_only:
            self._database.remove_writer()
        release(self._database)

    def _open_for(self, action: str = "") -> Database:
        if self._closed:
            raise rules.closed(self.url)
        if action and self.read_only:
            raise rules.read_only(self.url, action)
        return self._database

    # -- runs ------------------------------------------------------------------------------

    def runs(self) -> list[RunRow]:
        """Return all runs, oldest first."""
        with self._open_for().reader() as connection:
            return [RunRow(*row) for row in connection.execute(_RUNS + " ORDER BY id")]

    def run(self, name_or_id: str | int) -> RunRow | None:
        """Return one run by name or by id, or None."""
        with self._open_for().reader() as connection:
            return _find_run(connection, name_or_id)

    def head(self, run: int) -> int:
        """Return the durable head of a run."""
        with self._open_for().reader() as connection:
            return self._row(connection, run).head

    def _row(self, connection: sqlite3.Connection, run: int) -> RunRow:
        row = _find_run(connection, run)
        if row is None:
            raise rules.run_missing(run, self.url)
        return row

    def create_run(
        self, name: str, *, parent: int | None = None, forked_at: int = 0, meta: bytes = b"", writer: str = ""
    ) -> RunRow:
        """Create a run, durably, claimed by `writer`."""
        database = self._open_for("create a run")

        def create(connection: sqlite3.Connection) -> RunRow:
            parent_row = _find_run(connection, parent) if parent is not None else None
            rules.check_new_run(name, parent_row, parent, forked_at)
            if _find_run(connection, name) is not None:
                raise rules.duplicate_name(name, self.url)
            created = connection.execute(
                "INSERT INTO runs (name, parent, forked_at, epoch, writer, created, meta) VALUES (?,?,?,1,?,?,?)",
                (name, parent, forked_at, writer, time.time(), bytes(meta)),
            )
            return self._row(connection, created.lastrowid or 0)

        row = database.write(create)
        database.claims.note(row)
        return row

    def claim(self, run: int, writer: str, expected_epoch: int | None = None) -> RunRow:
        """Begin a new writer epoch, or release the present one, durably."""
        database = self._open_for("claim a run")

        def claim(connection: sqlite3.Connection) -> RunRow:
            row = rules.claimed(self._row(connection, run), writer, expected_epoch)
            connection.execute(
                "UPDATE runs SET epoch = ?, writer = ? WHERE id = ?", (row.epoch, row.writer, run)
            )
            return row

        row = database.write(claim)
        database.claims.note(row)
        return row

    def delete_run(self, run: int) -> None:
        """Delete a run with all it owns, in one transaction."""
        database = self._open_for("delete a run")

        def delete(connection: sqlite3.Connection) -> None:
            row = self._row(connection, run)
            forks = [
                RunRow(*fork) for fork in connection.execute(_RUNS + " WHERE parent = ? ORDER BY id", (run,))
            ]
            if forks:
                raise rules.run_needed(row, forks)
            for table in ("blocks", "snapshots", "postings"):
                connection.execute(f"DELETE FROM {table} WHERE run = ?", (run,))
            connection.execute("DELETE FROM runs WHERE id = ?", (run,))

        database.write(delete)

    # -- blocks ----------------------------------------------------------------------------

    def append(
        self,
        run: int,
        expected_head: int,
        epoch: int,
        blocks: Sequence[Block],
        snapshot: StoredSnapshot | None = None,
        postings: Sequence[Posting] = (),
    ) -> None:
        """Append blocks, a snapshot and postings in one durable commit."""
        database = self._open_for("append")
        rules.check_append(expected_head, blocks, snapshot, postings)

        def commit(connection: sqlite3.Connection) -> None:
            row = self._row(connection, run)
            if row.head != expected_head or row.epoch != epoch:
                raise rules.conflict(row, expected_head, epoch, database.claims.who(run, epoch))
            connection.executemany(
                "INSERT INTO blocks (run, first_seq, last_seq, data) VALUES (?, ?, ?, ?)",
                [(run, block.first_seq, block.last_seq, block.data) for block in blocks],
            )
            if snapshot is not None:
                connection.execute(
                    "INSERT OR REPLACE INTO snapshots (run, seq, data) VALUES (?, ?, ?)",
                    (run, snapshot.seq, snapshot.data),
                )
            connection.executemany(
                "INSERT OR REPLACE INTO postings (run, variable, last_seq, data) VALUES (?, ?, ?, ?)",
                [(run, posting.variable, posting.last_seq, posting.data) for posting in postings],
            )

        database.write(commit)

    def blocks(self, run: int, first: int, last: int) -> Iterator[Block]:
        """Yield the run's own blocks that overlap `first..last`; each chunk is one short transaction."""
        at = max(first, 0)
        while at <= last:
            chunk = self._chunk(run, at, min(last, rules.MAX_SEQ))
            if not chunk:
                return
            yield from chunk
            at = chunk[-1].last_seq + 1

    def _chunk(self, run: int, first: int, last: int) -> list[Block]:
        chunk: list[Block] = []
        size = 0
        with self._open_for().reader() as connection:
            found = connection.execute(
                "SELECT first_seq, last_seq, data FROM blocks WHERE run = ? AND last_seq >= ? ORDER BY last_seq",
                (run, min(first, rules.MAX_SEQ)),
            )
            # Closed in any case: a statement left open would hold its snapshot and stop checkpoints.
            with contextlib.closing(found):
                for start, end, data in found:
                    if start > last or len(chunk) >= rules.CHUNK_BLOCKS or size >= rules.CHUNK_BYTES:
                        break
                    chunk.append(Block(start, end, data))
                    size += len(data)
            if not chunk:
                self._row(connection, run)
        return chunk

    # -- snapshots and postings ----------------------------------------------------------------

    def snapshot(self, run: int, seq: int) -> StoredSnapshot | None:
        """Return the newest of the run's snapshots at `seq` or before it."""
        with self._open_for().reader() as connection:
            self._row(connection, run)
            found = connection.execute(
                "SELECT seq, data FROM snapshots WHERE run = ? AND seq <= ? ORDER BY seq DESC LIMIT 1",
                (run, _clamped(seq)),
            ).fetchone()
        return StoredSnapshot(*found) if found is not None else None

    def snapshot_seqs(self, run: int) -> list[int]:
        """Return the seqs of the run's snapshots, ascending."""
        with self._open_for().reader() as connection:
            self._row(connection, run)
            return [
                seq
                for (seq,) in connection.execute(
                    "SELECT seq FROM snapshots WHERE run = ? ORDER BY seq", (run,)
                )
            ]

    def drop_snapshot(self, run: int, seq: int) -> None:
        """Delete one snapshot if it is there."""

        def drop(connection: sqlite3.Connection) -> None:
            self._row(connection, run)
            connection.execute("DELETE FROM snapshots WHERE run = ? AND seq = ?", (run, _clamped(seq)))

        self._open_for("drop a snapshot").write(drop)

    def postings(self, run: int, variable: int) -> list[Posting]:
        """Return the index chunks of one variable, ascending."""
        with self._open_for().reader() as connection:
            self._row(connection, run)
            found = connection.execute(
                "SELECT last_seq, data FROM postings WHERE run = ? AND variable = ? ORDER BY last_seq",
                (run, _clamped(variable)),
            )
            return [Posting(variable, last, data) for last, data in found]

    def indexed_to(self, run: int) -> int:
        """Return the largest `last_seq` over all postings of the run."""
        with self._open_for().reader() as connection:
            self._row(connection, run)
            found = connection.execute(
                "SELECT last_seq FROM postings WHERE run = ? ORDER BY last_seq DESC LIMIT 1", (run,)
            ).fetchone()
        return int(found[0]) if found is not None else 0

    # -- care ------------------------------------------------------------------------------

    def backup(self, path: str) -> None:
        """Write a complete copy to `path` while the store is read and written.

        Raises:
            DuplicateName: Something is there already.
            StorageError: It cannot be written there; what was begun is removed.
        """
        database = self._open_for()
        target = Path(os.path.abspath(path))
        if target.exists() or target.is_symlink():
            raise DuplicateName(f"cannot write a backup to {target}: it exists; name a new path")
        try:
            filesystem.make_directories(target.parent)
            os.close(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600))
            with database.reader() as connection, contextlib.closing(sqlite3.connect(target)) as copy:
                connection.backup(copy)
            filesystem.sync_file(target)
            filesystem.sync_directory(target.parent)
        except BaseException as error:
            target.unlink(missing_ok=True)
            if isinstance(error, OSError) and not isinstance(error, StorageError):
                raise filesystem.os_failure(f"write a backup to {target}", error) from error
            raise

    def problems(self) -> Iterator[Problem]:
        """Let SQLite check its pages and indexes, then check that every run is a gapless chain."""
        database = self._open_for()
        try:
            with database.reader() as connection:
                messages = [text for (text,) in connection.execute("PRAGMA integrity_check") if text != "ok"]
        except CorruptLog as error:
            messages = [str(error)]
        for message in messages:
            yield Problem(str(self._path), message)
        if messages:
            return
        for row in self.runs():
            yield from self._run_problems(database, row)

    def _run_problems(self, database: Database, row: RunRow) -> Iterator[Problem]:
        place = f"run {row.name!r}"
        parent = self.run(row.parent) if row.parent is not None else None
        if row.parent is not None and (parent is None or parent.head < row.forked_at):
            found = "is gone" if parent is None else f"ends at seq {parent.head}"
            yield Problem(
                place, f"forked at seq {row.forked_at} of run {row.parent}, which {found}", row.name
            )
        with database.reader() as connection:
            chain = connection.execute(
                "SELECT first_seq, last_seq, lag(last_seq, 1, ?) OVER (ORDER BY last_seq) + 1 AS expected "
                "FROM blocks WHERE run = ? ORDER BY last_seq",
                (row.forked_at, row.id),
            ).fetchall()
            beyond = connection.execute(
                "SELECT seq FROM snapshots WHERE run = ? AND seq > max(?, coalesce("
                "(SELECT max(last_seq) FROM blocks WHERE run = ?), 0)) ORDER BY seq",
                (row.id, row.head, row.id),
            ).fetchall()
        for first, last, expected in chain:
            if first != expected or last < first:
                message = f"starts at seq {first} where {expected} is next"
                yield Problem(f"{place}, seq {first}-{last}", message, row.name, expected)
        for (seq,) in beyond:
            yield Problem(
                f"{place}, snapshot at seq {seq}", f"stands beyond the head, {row.head}", row.name, seq
            )

    def facts(self) -> dict[str, object]:
        """Describe the store and its engine."""
        database = self._open_for()
        warnings = list(self._warnings)
        if has_wal_reset_bug(sqlite3.sqlite_version_info):
            warnings.append(
                f"SQLite {sqlite3.sqlite_version} can lose commits when several processes write one file (WAL-reset "
                "bug, fixed in 3.51.3, 3.50.7 and 3.44.6): only one process may write, others are refused"
            )
        wal = self._path.with_name(self._path.name + "-wal")
        return {
            "engine": "sqlite",
            "engine_version": sqlite3.sqlite_version,
            "format": filesystem.FORMAT,
            "durable": True,
            "path": str(self._path),
            "bytes": self._path.stat().st_size,
            "wal_bytes": wal.stat().st_size if wal.exists() else 0,
            "writers_here": database.writers,
            "warnings": warnings,
        }


def _clamped(number: int) -> int:
    """Return a number SQLite can hold that compares the same with every number it does hold."""
    return max(-1, min(number, rules.MAX_SEQ))


def _find_run(connection: sqlite3.Connection, name_or_id: str | int) -> RunRow | None:
    if isinstance(name_or_id, int):
        if not 0 <= name_or_id <= rules.MAX_SEQ:
            return None
        found = connection.execute(_RUNS + " WHERE id = ?", (name_or_id,)).fetchone()
    else:
        try:
            found = connection.execute(_RUNS + " WHERE name = ?", (name_or_id,)).fetchone()
        except UnicodeEncodeError:
            return None
    if found is None:
        return None
    if name_or_id not in (found[0], found[1]):  # SQLite believes an index that leads to another row
        raise CorruptLog(f"cannot find run {name_or_id!r}: the index of names is damaged; restore a backup")
    return RunRow(*found)


def _prepare(path: Path, *, may_create: bool) -> None:
    """Refuse what is no store, and create one where nothing is."""
    try:
        found = os.stat(path)
    except FileNotFoundError:
        if path.is_symlink():
            raise StorageError(
                f"cannot open {path}: it is a symbolic link to something that is gone"
            ) from None
        if not may_create:
            raise filesystem.store_missing(path) from None
        create_file(path, rules.new_log_id())
        return
    except OSError as error:
        raise filesystem.os_failure(f"open {path}", error) from error
    if stat.S_ISDIR(found.st_mode):
        hint = f"open it as lmdb:{path}" if (path / "data.mdb").exists() else "name a file"
        raise StorageError(f"cannot open {path} as a store of sqlite: it is a directory; {hint}")
    if found.st_size == 0:
        raise CorruptLog(
            f"cannot open {path}: it is empty, and a store never is; restore it from a backup, "
            "or delete it if it never held anything"
        )
