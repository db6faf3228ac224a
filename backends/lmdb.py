"""Runs in an LMDB directory: the default store, safe against a kill and a power cut.

A commit is one record in `log`, numbered for the whole store, and one key in `bidx` that finds
it by run and last seq; a run's head is the last such key, so an append rewrites no row.
What happens around a transaction (growth, forks, sharing) is in `lmdb_environment`; the bytes
of a block mean nothing here.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

import lmdb

from eventcore.backends import filesystem, rules
from eventcore.backends import lmdb_rows as rows
from eventcore.backends.lmdb_environment import (
    DEFAULT_MAP_SIZE,
    Environment,
    Settings,
    Txn,
    acquire,
    engine_version,
    release,
)
from eventcore.backends.lmdb_file import DATA, check_before_open
from eventcore.backends.lmdb_identity import Identity, compare_manifest, identify, prepare, write_manifest
from eventcore.errors import DuplicateName, InvalidValue, StorageError
from eventcore.history.backend import Backend, Block, Posting, Problem, RunRow, StoredSnapshot


class LmdbBackend(Backend):
    """Keep runs in an LMDB directory."""

    def __init__(
        self, environment: Environment, identity: Identity, read_only: bool, warnings: list[str]
    ) -> None:
        self._path = environment.settings.path
        self.url = f"lmdb:{self._path}"
        self.log_id = identity.log_id
        self.read_only = read_only
        self._environment = environment
        self._identity = identity
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
    ) -> LmdbBackend:
        """Open a store, or create one where nothing is.

        Args:
            path_or_rest: Directory of the store.
            read_only: Open without the right to write; works on a read-only disk.
            create: Create the store if there is none.
            force: Open on a network file system all the same.
            **options: `map_size`, address space to begin with (default 16 GB, grows by itself);
                `verify=True` checks every page before LMDB maps the file.

        Raises:
            NotFound: No store, and none may be created.
            CorruptLog: The file is truncated, empty or damaged, or older than its manifest.
            UnknownFormat: A newer eventcore wrote it.
            UnsafeFileSystem: On a network file system without `force`.
            StoreBusy: Another container holds the lock.
            StoreReadOnly: Opened for writing where nothing may be written.
            StorageError: The path is a file, another program's directory, or the disk refuses.
        """
        rules.check_options("an LMDB", options, ("map_size", "verify"))
        map_size = options.get("map_size", DEFAULT_MAP_SIZE)
        if not isinstance(map_size, int) or isinstance(map_size, bool) or map_size < 2**16:
            raise InvalidValue(
                f"cannot open an LMDB store with map_size={map_size!r}; give 65536 bytes or more"
            )
        if not path_or_rest or "\0" in path_or_rest:
            raise InvalidValue(f"cannot open a store at {path_or_rest!r}; name a directory")
        path = Path(os.path.abspath(path_or_rest))
        filesystem.refuse_file(path, "lmdb")
        warning = filesystem.refuse_network(path, force=force)
        manifest = prepare(path, map_size, may_create=create and not read_only)
        if not read_only and not os.access(path, os.W_OK):
            raise rules.read_only(f"lmdb:{path}", "write")

        def before_open() -> None:
            check_before_open(path, expected=manifest is not None, verify=bool(options.get("verify")))

        environment = acquire(Settings(path, map_size, read_only), before_open)
        try:
            identity = identify(environment, read_only)
            compare_manifest(environment, manifest, identity, read_only)
        except BaseException:
            release(environment)
            raise
        return cls(environment, identity, read_only, [warning] if warning else [])

    def close(self) -> None:
        """Release the store; the last opener in the process closes its files. Idempotent."""
        if not self._closing.acquire(blocking=False):
            return
        self._closed = True
        release(self._environment, self._before_last_close)

    def _before_last_close(self) -> None:
        """Note the last commit beside the data, so that a later truncation is seen."""
        environment = self._environment
        if not environment.wrote or environment.settings.read_only:
            return
        try:
            write_manifest(environment, self._identity)
        except (OSError, StorageError):
            pass  # The data is durable; an older manifest only notices less.

    def _open_for(self, action: str = "") -> Environment:
        if self._closed:
            raise rules.closed(self.url)
        if action and self.read_only:
            raise rules.read_only(self.url, action)
        return self._environment

    # -- runs ------------------------------------------------------------------------------

    def runs(self) -> list[RunRow]:
        """Return all runs, oldest first."""
        environment = self._open_for()
        return environment.read(lambda txn: rows.all_runs(environment.databases, txn))

    def run(self, name_or_id: str | int) -> RunRow | None:
        """Return one run by name or by id, or None."""
        environment = self._open_for()

        def find(txn: Txn) -> RunRow | None:
            if isinstance(name_or_id, int):
                return rows.find_run(environment.databases, txn, name_or_id)
            key = txn.get(rows.name_key(name_or_id), db=environment.databases.meta)
            return (
                rows.find_run(environment.databases, txn, rows.RUN.unpack(key)[0])
                if key is not None
                else None
            )

        return environment.read(find)

    def head(self, run: int) -> int:
        """Return the durable head of a run: one step of a cursor."""
        environment = self._open_for()

        def find(txn: Txn) -> int:
            self._check_known(txn, run)
            last = rows.last_seq(environment.databases, txn, run)
            return last if last is not None else self._row(txn, run).head

        return environment.read(find)

    def _row(self, txn: Txn, run: int) -> RunRow:
        row = rows.find_run(self._environment.databases, txn, run)
        if row is None:
            raise rules.run_missing(run, self.url)
        return row

    def _check_known(self, txn: Txn, run: int) -> None:
        if not rows.has_run(self._environment.databases, txn, run):
            raise rules.run_missing(run, self.url)

    def create_run(
        self, name: str, *, parent: int | None = None, forked_at: int = 0, meta: bytes = b"", writer: str = ""
    ) -> RunRow:
        """Create a run, durably, claimed by `writer`."""
        environment = self._open_for("create a run")
        tables = environment.databases
        created = time.time()

        def create(txn: Txn) -> RunRow:
            parent_row = rows.find_run(environment.databases, txn, parent) if parent is not None else None
            rules.check_new_run(name, parent_row, parent, forked_at)
            if txn.get(rows.name_key(name), db=tables.meta) is not None:
                raise rules.duplicate_name(name, self.url)
            number = rows.RUN.unpack(txn.get(rows.NEXT_RUN, default=rows.RUN.pack(1), db=tables.meta))[0]
            row = RunRow(number, name, parent, forked_at, forked_at, 1, writer, created, bytes(meta))
            txn.put(rows.NEXT_RUN, rows.RUN.pack(number + 1), db=tables.meta)
            txn.put(rows.name_key(name), rows.RUN.pack(number), db=tables.meta)
            rows.put_run(environment.databases, txn, row)
            return row

        row = environment.write(create)
        environment.claims.note(row)
        return row

    def claim(self, run: int, writer: str, expected_epoch: int | None = None) -> RunRow:
        """Begin a new writer epoch, or release the present one, durably."""
        environment = self._open_for("claim a run")

        def claim(txn: Txn) -> RunRow:
            row = rules.claimed(self._row(txn, run), writer, expected_epoch)
            rows.put_run(environment.databases, txn, row)
            return row

        row = environment.write(claim)
        environment.claims.note(row)
        return row

    def delete_run(self, run: int) -> None:
        """Delete a run with all it owns, in one transaction."""
        environment = self._open_for("delete a run")
        tables = environment.databases

        def delete(txn: Txn) -> None:
            row = self._row(txn, run)
            forks = [other for other in rows.all_runs(environment.databases, txn) if other.parent == run]
            if forks:
                raise rules.run_needed(row, forks)
            for _, commit in rows.delete_range(txn, tables.bidx, run):
                txn.delete(commit, db=tables.log)
            for table in (tables.post, tables.snap):
                for _ in rows.delete_range(txn, table, run):
                    pass
            txn.delete(rows.index_key(run), db=tables.meta)
            txn.delete(rows.name_key(row.name), db=tables.meta)
            txn.delete(rows.RUN.pack(run), db=tables.runs)

        environment.write(delete)

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
        environment = self._open_for("append")
        rules.check_append(expected_head, blocks, snapshot, postings)
        tables = environment.databases

        def commit(txn: Txn) -> None:
            row = self._row(txn, run)
            if row.head != expected_head or row.epoch != epoch:
                raise rules.conflict(row, expected_head, epoch, environment.claims.who(run, epoch))
            if blocks:
                rows.put_blocks(environment.databases, txn, run, blocks)
            if snapshot is not None:
                txn.put(rows.RUN_SEQ.pack(run, snapshot.seq), snapshot.data, db=tables.snap)
            if postings:
                rows.put_postings(environment.databases, txn, run, postings)

        environment.write(commit)

    def blocks(self, run: int, first: int, last: int) -> Iterator[Block]:
        """Yield the run's own blocks that overlap `first..last`; each chunk is one short transaction."""
        at = max(first, 0)
        while at <= last:
            environment = self._open_for()
            chunk = environment.read(partial(self._chunk, run=run, first=at, last=last))
            if not chunk:
                return
            yield from chunk
            at = chunk[-1].last_seq + 1

    def _chunk(self, txn: Txn, run: int, first: int, last: int) -> list[Block]:
        tables = self._environment.databases
        self._check_known(txn, run)
        cursor = txn.cursor(db=tables.bidx)
        found = cursor.set_range(rows.RUN_SEQ.pack(run, min(first, rules.MAX_SEQ)))
        chunk: list[Block] = []
        size = 0
        while found and len(chunk) < rules.CHUNK_BLOCKS and size < rules.CHUNK_BYTES:
            key, commit = cursor.item()
            owner, end = rows.RUN_SEQ.unpack(key)
            if owner != run:
                break
            block = rows.read_record(txn, tables.log, commit, run, end)
            if block.first_seq > last:
                break
            chunk.append(block)
            size += len(block.data)
            found = cursor.next()
        return chunk

    # -- snapshots and postings ----------------------------------------------------------------

    def snapshot(self, run: int, seq: int) -> StoredSnapshot | None:
        """Return the newest of the run's snapshots at `seq` or before it."""
        environment = self._open_for()

        def find(txn: Txn) -> StoredSnapshot | None:
            self._check_known(txn, run)
            cursor = txn.cursor(db=environment.databases.snap)
            above = cursor.set_range(rows.RUN_SEQ.pack(run, min(max(seq, -1), rules.MAX_SEQ) + 1))
            if not (cursor.prev() if above else cursor.last()):
                return None
            owner, at = rows.RUN_SEQ.unpack(cursor.key())
            return StoredSnapshot(at, cursor.value()) if owner == run else None

        return environment.read(find)

    def snapshot_seqs(self, run: int) -> list[int]:
        """Return the seqs of the run's snapshots, ascending."""
        environment = self._open_for()

        def find(txn: Txn) -> list[int]:
            self._check_known(txn, run)
            return [rows.RUN_SEQ.unpack(key)[1] for key in rows.keys_of(txn, environment.databases.snap, run)]

        return environment.read(find)

    def drop_snapshot(self, run: int, seq: int) -> None:
        """Delete one snapshot if it is there."""
        environment = self._open_for("drop a snapshot")

        def drop(txn: Txn) -> None:
            self._check_known(txn, run)
            if 0 <= seq <= rules.MAX_SEQ:
                txn.delete(rows.RUN_SEQ.pack(run, seq), db=environment.databases.snap)

        environment.write(drop)

    def postings(self, run: int, variable: int) -> list[Posting]:
        """Return the index chunks of one variable, ascending."""
        environment = self._open_for()

        def find(txn: Txn) -> list[Posting]:
            self._check_known(txn, run)
            if not 0 <= variable <= rules.MAX_NUMBER:
                return []
            prefix = rows.POSTING.pack(run, variable, 0)[:8]
            found: list[Posting] = []
            cursor = txn.cursor(db=environment.databases.post)
            if cursor.set_range(prefix):
                for key, data in cursor:
                    if key[:8] != prefix:
                        break
                    found.append(Posting(variable, rows.POSTING.unpack(key)[2], data))
            return found

        return environment.read(find)

    def indexed_to(self, run: int) -> int:
        """Return the largest `last_seq` over all postings of the run."""
        environment = self._open_for()

        def find(txn: Txn) -> int:
            self._check_known(txn, run)
            stored = txn.get(rows.index_key(run), db=environment.databases.meta)
            return int(rows.COMMIT.unpack(stored)[0]) if stored is not None else 0

        return environment.read(find)

    # -- care ------------------------------------------------------------------------------

    def backup(self, path: str) -> None:
        """Write a complete, compact copy to `path` while the store is read and written.

        Raises:
            DuplicateName: Something is there already.
            StorageError: It cannot be written there; what was begun is removed.
        """
        environment = self._open_for()
        target = Path(os.path.abspath(path))
        if target.exists() or target.is_symlink():
            raise DuplicateName(f"cannot write a backup to {target}: it exists; name a new path")
        filesystem.make_private_directory(target)
        try:
            environment.ask(lambda env: env.copy(str(target), compact=True))
            os.chmod(target / DATA, 0o600)
            filesystem.sync_file(target / DATA)
            identity = self._identity
            manifest = filesystem.Manifest(identity.format, "lmdb", identity.log_id, identity.created)
            filesystem.write_manifest(target, manifest)
        except BaseException as error:
            filesystem.remove_tree(target)
            if isinstance(error, OSError) and not isinstance(error, StorageError):
                raise filesystem.os_failure(f"write a backup to {target}", error) from error
            raise

    def problems(self) -> Iterator[Problem]:
        """Check every page of the file in another process, then every row against every other."""
        from eventcore.backends.lmdb_check import problems

        return problems(self._open_for())

    def facts(self) -> dict[str, object]:
        """Describe the store and its engine."""
        environment = self._open_for()
        info = environment.ask(lambda env: env.info())
        version = environment.ask(engine_version)
        readers = environment.ask(lambda env: env.readers())
        return {
            "engine": "lmdb",
            "engine_version": ".".join(map(str, version)),
            "binding_version": lmdb.__version__,
            "format": self._identity.format,
            "durable": True,
            "path": str(self._path),
            "bytes": os.stat(self._path / DATA).st_size,
            "map_size": info["map_size"],
            "last_commit": info["last_txnid"],
            "readers": max(0, len(readers.strip().splitlines()) - 1),
            "max_readers": info["max_readers"],
            "warnings": list(self._warnings),
        }
