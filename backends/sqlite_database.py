"""One SQLite file per process: its one writing connection, its readers, its lock against other writers.

The writing connection is the only one that checkpoints. SQLite 3.7.0 to 3.51.2 can lose
committed data when one connection checkpoints while another writes (the WAL-reset bug), so on
those a second process that wants to write is refused; readers are always welcome.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import socket
import sqlite3
import threading
import time
from collections.abc import Callable, Generator
from pathlib import Path
from typing import NamedTuple, TypeVar

from eventcore.backends import rules
from eventcore.backends.filesystem import (
    FORMAT,
    check_format,
    make_directories,
    os_failure,
    sync_directory,
    sync_file,
)
from eventcore.backends.gate import Gate
from eventcore.backends.sharing import Registry, Shared
from eventcore.errors import CorruptLog, OutcomeUnknown, StorageError, StoreBusy, StoreReadOnly

T = TypeVar("T")

APPLICATION_ID = 0x65766374
"""`evct`, at byte 68 of the file: tells a store from any other SQLite file."""

IDLE_READERS = 8

# The binding decodes the messages of SQLite, and those of a damaged file may quote its bytes.
FAILURES = (sqlite3.Error, UnicodeDecodeError)

SCHEMA = """
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE runs (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    name TEXT NOT NULL UNIQUE,
    parent INTEGER,
    forked_at INTEGER NOT NULL,
    epoch INTEGER NOT NULL,
    writer TEXT NOT NULL,
    created REAL NOT NULL,
    meta BLOB NOT NULL
);
CREATE TABLE blocks (
    id INTEGER PRIMARY KEY,
    run INTEGER NOT NULL,
    first_seq INTEGER NOT NULL,
    last_seq INTEGER NOT NULL,
    data BLOB NOT NULL
);
CREATE UNIQUE INDEX blocks_by_seq ON blocks (run, last_seq);
CREATE TABLE snapshots (
    id INTEGER PRIMARY KEY, run INTEGER NOT NULL, seq INTEGER NOT NULL, data BLOB NOT NULL
);
CREATE UNIQUE INDEX snapshots_by_seq ON snapshots (run, seq);
CREATE TABLE postings (
    run INTEGER NOT NULL,
    variable INTEGER NOT NULL,
    last_seq INTEGER NOT NULL,
    data BLOB NOT NULL,
    PRIMARY KEY (run, variable, last_seq)
) WITHOUT ROWID;
CREATE INDEX postings_by_seq ON postings (run, last_seq);
"""


def has_wal_reset_bug(version: tuple[int, ...]) -> bool:
    """Say whether a version of SQLite can lose commits when two processes write."""
    if not (3, 7, 0) <= version < (3, 51, 3):
        return False
    backported = (version[:2] == (3, 44) and version >= (3, 44, 6)) or (
        version[:2] == (3, 50) and version >= (3, 50, 7)
    )
    return not backported


class Settings(NamedTuple):
    """How a file is opened.

    Attributes:
        path: The database file.
        timeout: Seconds to wait for another process's commit.
    """

    path: Path
    timeout: float


class Database(Shared):
    """An open file: a writing connection while somebody writes, and a few reading ones."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.claims = rules.Claims()
        self.writers = 0
        self._gate = Gate()
        self._write_lock = threading.RLock()
        self._writer: sqlite3.Connection | None = None
        self._idle: list[sqlite3.Connection] = []
        self._lock_file: int | None = None
        self._closed = False
        self.identity = self._identify()

    # -- opening and closing ------------------------------------------------------------------

    def _identify(self) -> dict[str, str]:
        """Check that the file is a store this release can read, and return what it says of itself."""
        path = self.settings.path
        connection = _connect(self.settings, "ro")
        try:
            _refuse_cut(path, connection)
            (application,) = connection.execute("PRAGMA application_id").fetchone()
            (version,) = connection.execute("PRAGMA user_version").fetchone()
            if application != APPLICATION_ID:
                raise StorageError(f"cannot open {path}: it is an SQLite file of another program")
            check_format(path, version)
            identity = dict(connection.execute("SELECT key, value FROM meta"))
            if "log_id" not in identity:
                raise CorruptLog(f"cannot open {path}: it has lost its identity; restore it from a backup")
            return identity
        except FAILURES as error:
            raise self.failure("open", error) from error
        finally:
            connection.close()

    def add_writer(self) -> None:
        """Prepare for writing, holding other processes' writers out where they could do harm."""
        with self._write_lock:
            if self.writers == 0:
                self._lock_file = _lock(self.settings.path)
                try:
                    self._writer = _connect(self.settings, "rw")
                except BaseException:
                    self._unlock()
                    raise
            self.writers += 1

    def remove_writer(self) -> None:
        """Give up writing; the last one checkpoints and lets other processes write."""
        if self.forked:
            return
        with self._write_lock:
            self.writers -= 1
            if self.writers == 0:
                # Readers first: who closes last folds the log into the file, and they cannot.
                self._close_idle()
                self._close_writer()
                self._unlock()

    def _close_idle(self) -> None:
        while self._idle:
            self._idle.pop().close()

    def _close_writer(self) -> None:
        writer, self._writer = self._writer, None
        if writer is None:
            return
        with contextlib.suppress(sqlite3.Error):
            # A reader of another process may hold its snapshot for long; the log is then folded in later.
            writer.execute("PRAGMA busy_timeout=100")
            writer.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        writer.close()

    def _unlock(self) -> None:
        if self._lock_file is not None:
            os.close(self._lock_file)
            self._lock_file = None

    def close(self) -> None:
        """Wait for all users to leave, then close every connection."""
        with self._write_lock, self._gate.alone():
            self._closed = True
            self._close_idle()
            self._close_writer()
            self._unlock()

    def _reopen_writer(self) -> None:
        """Replace a connection whose last commit failed half-way."""
        if self._writer is not None:
            with contextlib.suppress(sqlite3.Error):
                self._writer.close()
        self._writer = None
        self._writer = _connect(self.settings, "rw")

    def _enter(self, token: object) -> None:
        if self.forked:
            raise self.inherited()
        self._gate.enter(token)
        if self._closed:
            raise rules.closed(self.name())

    def handles(self) -> list[object]:
        """Return all connections: SQLite counts the parent's locks as this process's own."""
        return [self._writer, *self._idle]

    def let_go(self) -> None:
        """Close the child's copy of the lock file, or the lock would outlive the parent with the child."""
        self._unlock()

    def name(self) -> str:
        """Return the URL."""
        return f"sqlite:{self.settings.path}"

    # -- transactions --------------------------------------------------------------------------

    @contextlib.contextmanager
    def reader(self) -> Generator[sqlite3.Connection]:
        """Lend a reading connection; each statement on it is a transaction of its own."""
        token = object()
        connection: sqlite3.Connection | None = None
        try:
            self._enter(token)
            connection = self._idle.pop() if self._idle else _connect(self.settings, "ro")
            yield connection
        except FAILURES as error:
            raise self.failure("read", error) from error
        finally:
            if connection is not None:
                if len(self._idle) < IDLE_READERS:
                    self._idle.append(connection)
                else:
                    connection.close()
            self._gate.leave(token)

    def write(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Run `work` in a write transaction and commit it, durably.

        Raises:
            OutcomeUnknown: The commit failed in a way that leaves open what is durable.
            StoreBusy: Another process kept committing for longer than the timeout.
            StorageError: It failed and nothing was written.
        """
        token = object()
        with self._write_lock:
            try:
                self._enter(token)
                if self._writer is None:
                    self._reopen_writer()
                return self._write_on(self._writer, work)
            except FAILURES as error:
                raise self.failure("write", error) from error
            finally:
                self._gate.leave(token)

    def _write_on(self, writer: sqlite3.Connection | None, work: Callable[[sqlite3.Connection], T]) -> T:
        assert writer is not None
        if writer.in_transaction:
            writer.execute("ROLLBACK")  # Left by a Ctrl-C that hit between two statements.
        writer.execute("BEGIN IMMEDIATE")
        try:
            result = work(writer)
        except BaseException:
            if writer.in_transaction:
                writer.execute("ROLLBACK")
            raise
        try:
            writer.execute("COMMIT")
        except sqlite3.Error as error:
            raise self._after_failed_commit(writer, error) from error
        return result

    def _after_failed_commit(self, writer: sqlite3.Connection, error: sqlite3.Error) -> StorageError:
        """Tell a commit that surely wrote nothing from one that may have, and leave a working connection."""
        code = _primary_code(error)
        with contextlib.suppress(sqlite3.Error):
            if writer.in_transaction:
                writer.execute("ROLLBACK")
        if code in (sqlite3.SQLITE_FULL, sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
            return self.failure("write", error)
        try:
            self._reopen_writer()
        except StorageError as again:
            error.add_note(f"and it could not be opened again: {again}")
        return OutcomeUnknown(
            f"cannot tell whether the last commit to {self.settings.path} is durable: {error}; "
            "reopen the run and read its head"
        )

    def failure(self, action: str, error: Exception) -> StorageError:
        """Translate an error of SQLite outside a commit."""
        return _failure(self.settings.path, action, error)


def _failure(path: Path, action: str, error: Exception) -> StorageError:
    text = f"cannot {action} {path}: {error}"
    code = _primary_code(error)
    if code == sqlite3.SQLITE_FULL:
        return StorageError(f"{text}; nothing was written, free some space and try again")
    if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        return StoreBusy(f"{text}; another process keeps writing, try again or raise `timeout`")
    if code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB) or isinstance(error, UnicodeDecodeError):
        return CorruptLog(f"{text}; run `eventcore verify` and restore a backup")
    if code == sqlite3.SQLITE_READONLY:
        return StoreReadOnly(f"{text}; open it with read_only=True or elsewhere")
    return StorageError(text)


def _primary_code(error: Exception) -> int:
    """Return the result code without its extension, 0 for errors of the binding itself."""
    code = getattr(error, "sqlite_errorcode", 0)
    return code & 0xFF if isinstance(code, int) else 0


# -- connections -----------------------------------------------------------------------------------


def _uri(path: Path, query: str) -> str:
    return f"{path.as_uri()}?{query}"


def _connect(settings: Settings, mode: str) -> sqlite3.Connection:
    """Open a connection: `rw` is the writing one, `ro` can neither write nor checkpoint."""
    path = settings.path
    query = f"mode={mode}"
    if mode == "ro" and os.statvfs(path).f_flag & os.ST_RDONLY and not _wal(path).exists():
        query += "&immutable=1"  # Nobody can write there, and SQLite could not make its shared memory either.
    connection: sqlite3.Connection | None = None
    try:
        connection = sqlite3.connect(
            _uri(path, query),
            uri=True,
            timeout=settings.timeout,
            isolation_level=None,
            check_same_thread=False,
        )
        if mode == "ro":
            connection.execute("PRAGMA query_only=1")
            connection.execute("PRAGMA wal_autocheckpoint=0")
        else:
            connection.execute("PRAGMA synchronous=FULL")
            connection.execute("PRAGMA fullfsync=1")
            connection.execute("PRAGMA checkpoint_fullfsync=1")
            connection.execute("PRAGMA journal_size_limit=67108864")
            (journal,) = connection.execute("PRAGMA journal_mode=WAL").fetchone()
            if journal != "wal":
                raise StorageError(f"cannot open {path}: its file system cannot hold a write-ahead log")
        return connection
    except BaseException as error:
        if connection is not None:
            connection.close()
        if isinstance(error, FAILURES):
            raise _failure(path, "open", error) from error
        raise


def _refuse_cut(path: Path, connection: sqlite3.Connection) -> None:
    """Refuse a file that ends before its last page: SQLite reads what is missing of a page as zeros.

    With a write-ahead log the file may rightly be behind; SQLite then knows the size from the log.
    """
    (pages,) = connection.execute("PRAGMA page_count").fetchone()
    (page_size,) = connection.execute("PRAGMA page_size").fetchone()
    # In this order: a writer may begin or end the log meanwhile, and has then extended the file before.
    with contextlib.suppress(FileNotFoundError):
        if _wal(path).stat().st_size:
            return
    needed, size = max(pages, 1) * page_size, path.stat().st_size
    if size < needed:
        raise CorruptLog(
            f"cannot open {path}: it was truncated, {size} bytes of {needed}; restore it from a backup"
        )


def _wal(path: Path) -> Path:
    return path.with_name(path.name + "-wal")


def create_file(path: Path, log_id: str) -> None:
    """Create a store so that the path never names a half-made one, whenever the process dies.

    Raises:
        CorruptLog: The file is gone but its write-ahead log is there, which would be replayed into a new one.
        StorageError: It cannot be written there.
    """
    if _wal(path).exists() and _wal(path).stat().st_size:
        raise CorruptLog(
            f"cannot create {path}: its write-ahead log {_wal(path).name} is there without it, so the file was lost; "
            "restore it, or remove the log to begin anew"
        )
    draft = path.with_name(f".{path.name}.{os.getpid()}.{threading.get_ident()}")
    try:
        make_directories(path.parent)
        os.close(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600))
        _fill(draft, log_id)
        sync_file(draft)
        with contextlib.suppress(FileExistsError):
            os.link(draft, path)  # Another process may have been first: then its file is the store.
        sync_directory(path.parent)
    except sqlite3.Error as error:
        raise _failure(path, "create", error) from error
    except OSError as error:
        if isinstance(error, StorageError):
            raise
        raise os_failure(f"create {path}", error) from error
    finally:
        for suffix in ("", "-wal", "-shm", "-journal"):
            with contextlib.suppress(OSError):
                os.unlink(f"{draft}{suffix}")


def _fill(draft: Path, log_id: str) -> None:
    connection = sqlite3.connect(_uri(draft, "mode=rw"), uri=True, isolation_level=None)
    try:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute(f"PRAGMA application_id={APPLICATION_ID}")
        connection.execute(f"PRAGMA user_version={FORMAT}")
        connection.executescript(f"BEGIN;{SCHEMA}")
        facts = [("log_id", log_id), ("created", repr(time.time()))]
        connection.executemany("INSERT INTO meta VALUES (?, ?)", facts)
        connection.execute("COMMIT")
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    finally:
        connection.close()


# -- the lock against other writers -------------------------------------------------------------------


def lock_path(path: Path) -> Path:
    """Return the side file that says which process writes."""
    return path.with_name(path.name + ".lock")


def _lock(path: Path) -> int:
    """Take the writers' lock: alone where two writers could lose commits, else together with others.

    Raises:
        StoreBusy: Another process holds it; the message says which.
        StorageError: The side file cannot be made.
    """
    side = lock_path(path)
    alone = has_wal_reset_bug(sqlite3.sqlite_version_info)
    try:
        descriptor = os.open(side, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise os_failure(f"open {side}", error) from error
    try:
        # Not lockf(): that lock would be dropped when anything in this process closes the same file.
        fcntl.flock(descriptor, (fcntl.LOCK_EX if alone else fcntl.LOCK_SH) | fcntl.LOCK_NB)
        if alone:
            note = {"pid": os.getpid(), "host": socket.gethostname(), "since": int(time.time())}
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, json.dumps(note).encode(), 0)
    except OSError as error:
        holder = _holder(descriptor)
        os.close(descriptor)
        if error.errno not in (errno.EAGAIN, errno.EACCES):
            raise os_failure(f"lock {side}", error) from error
        raise StoreBusy(
            f"cannot open {path} for writing: {holder} is writing it, and SQLite "
            f"{sqlite3.sqlite_version} can lose commits when two processes write (fixed in 3.51.3); "
            "open it with read_only=True, close the other, or use an LMDB store"
        ) from error
    return descriptor


def _holder(descriptor: int) -> str:
    """Say who holds the lock, as far as the side file tells."""
    try:
        note = json.loads(os.pread(descriptor, 4096, 0))
        return f"process {int(note['pid'])} on {note['host']}"
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return "another process"


# -- one database per file and process -----------------------------------------------------------------

_registry: Registry[Database] = Registry()


def acquire(settings: Settings) -> Database:
    """Return the process's handle of a file, opening it if it is not open.

    Raises:
        StoreClosed: The parent process had it open at `fork()`.
    """
    return _registry.acquire(settings.path, reuse=lambda _: None, create=lambda: Database(settings))


def release(database: Database) -> None:
    """Give a handle back; the last one closes it."""
    _registry.release(database)
