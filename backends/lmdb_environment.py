"""One LMDB environment per store and process: shared by its openers, grown, reopened and forked safely.

LMDB leaves to its user what happens around a transaction: the map may be full or resized by
another process, a second open in one process breaks the locks, a child made by `fork()` must
not touch what it inherited. All of that is here; what a transaction does is not.
"""

from __future__ import annotations

import errno
import os
import struct
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias, TypeVar

import lmdb

from eventcore.backends import rules
from eventcore.backends.filesystem import os_failure
from eventcore.backends.gate import Gate
from eventcore.backends.sharing import Registry, Shared
from eventcore.errors import (
    CorruptLog,
    EventcoreError,
    OutcomeUnknown,
    StorageError,
    StoreBusy,
    UnknownFormat,
)

T = TypeVar("T")
# Transactions here never hand out views (`buffers=True`): a view dies with its transaction.
Txn: TypeAlias = "lmdb.Transaction[bytes]"

DEFAULT_MAP_SIZE = 16 * 2**30 if sys.maxsize > 2**32 else 512 * 2**20
"""Address space reserved, not disk space; doubled when it is full."""

SMALLEST_MAP = 64 * 2**20
MAX_READERS = 1024
MAX_DATABASES = 16
READER_CHECK_SECONDS = 60.0
DATABASES = (b"meta", b"log", b"runs", b"bidx", b"post", b"snap")

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class Databases(NamedTuple):
    """The named databases of a store."""

    meta: lmdb._Database
    log: lmdb._Database
    runs: lmdb._Database
    bidx: lmdb._Database
    post: lmdb._Database
    snap: lmdb._Database


class Settings(NamedTuple):
    """How an environment is opened.

    Attributes:
        path: The store's directory.
        map_size: Address space to begin with.
        read_only: Open without the right to write.
    """

    path: Path
    map_size: int
    read_only: bool


class Environment(Shared):
    """An open environment and the gate its users pass.

    Any number of threads are inside with a transaction each; growing, reopening and closing
    wait until all are out.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.wrote = False
        self.claims = rules.Claims()
        self._gate = Gate()
        self._write_lock = threading.RLock()
        self._env: lmdb.Environment | None = None
        self._checked = time.monotonic()
        self.databases = self._open()

    # -- opening and closing -------------------------------------------------------------

    def _open(self) -> Databases:
        """Open the environment and its databases, creating these in an empty one that may be written."""
        env = _open_environment(self.settings)
        try:
            _check_readers(env)
            databases = self._open_databases(env)
        except BaseException as error:
            env.close()
            if isinstance(error, lmdb.NotFoundError):
                raise CorruptLog(
                    f"cannot open {self.settings.path}: it lacks the tables of a store; its creation was never "
                    "finished, open it once for writing"
                ) from error
            if isinstance(error, lmdb.Error):
                raise self.failure("open", error) from error
            raise
        self._env = env
        return databases

    def _open_databases(self, env: lmdb.Environment) -> Databases:
        while True:
            try:
                with env.begin() as txn:
                    names = {bytes(key) for key in txn.cursor().iternext(keys=True, values=False)}
                if names and b"meta" not in names:
                    path = self.settings.path
                    raise StorageError(f"cannot open {path}: it is an LMDB environment of another program")
                if self.settings.read_only or names.issuperset(DATABASES):
                    return Databases(*(env.open_db(name, create=False) for name in DATABASES))
                with env.begin(write=True) as txn:
                    return Databases(*(env.open_db(name, txn=txn) for name in DATABASES))
            except lmdb.MapResizedError:
                env.set_mapsize(0)  # Another process grew the store since it was opened a moment ago.

    def close(self) -> None:
        """Wait for all users to leave, then close. A child of `fork()` only lets go."""
        if self.forked:
            return
        with self._write_lock, self._gate.alone():
            if self._env is not None:
                self._env.close()
            self._env = None

    def handles(self) -> list[object]:
        """Return the environment: its reader slots are in a table shared with the parent."""
        return [self._env]

    def let_go(self) -> None:
        """Nothing to do: the locks of LMDB belong to the process, a child has none of them."""

    def name(self) -> str:
        """Return the URL."""
        return f"lmdb:{self.settings.path}"

    def reopen(self, *, read_only: bool | None = None) -> None:
        """Close and open again: after a failed write of the meta page, or to gain the right to write."""
        with self._write_lock, self._gate.alone():
            if self._env is not None:
                self._env.close()
            self._env = None
            if read_only is not None:
                self.settings = self.settings._replace(read_only=read_only)
            self.databases = self._open()

    # -- transactions ---------------------------------------------------------------------

    def _enter(self, token: object) -> lmdb.Environment:
        if self.forked:
            raise self.inherited()
        self._gate.enter(token)
        if self._env is None:
            raise rules.closed(self.name())
        return self._env

    def read(self, work: Callable[[Txn], T]) -> T:
        """Run `work` in a read transaction and return its result; it must not keep the transaction."""
        for _ in range(8):
            token = object()
            try:
                env = self._enter(token)
                with env.begin() as txn:
                    return work(txn)
            except lmdb.MapResizedError:
                resized = True
            except lmdb.ReadersFullError:
                resized = False
            except lmdb.Error as error:
                raise self.failure("read", error) from error
            except struct.error as error:
                raise self._misfit(error) from error
            finally:
                self._gate.leave(token)
            if resized:
                self._resize(0)
            else:
                self._clear_dead_readers()
        raise _readers_full(self.settings.path, "read")

    def write(self, work: Callable[[Txn], T]) -> T:
        """Run `work` in a write transaction and commit it, durably, growing the map as often as needed.

        `work` may run several times; only the last run counts.

        Raises:
            OutcomeUnknown: The commit failed in a way that leaves open what is durable.
            StorageError: It failed and nothing was written.
        """
        with self._write_lock:
            now = time.monotonic()
            if now - self._checked > READER_CHECK_SECONDS:
                self._clear_dead_readers()
                self._checked = now
            while True:
                try:
                    return self._write_once(work)
                except lmdb.MapFullError:
                    self._grow()
                except lmdb.MapResizedError:
                    self._resize(0)

    def _write_once(self, work: Callable[[Txn], T]) -> T:
        failed: lmdb.Error
        token = object()
        try:
            env = self._enter(token)
            try:
                txn = env.begin(write=True)
                try:
                    result = work(txn)
                except BaseException:
                    self._abort(txn)
                    raise
            except (lmdb.MapFullError, lmdb.MapResizedError):
                raise
            except lmdb.Error as error:
                raise self.failure("write", error) from error
            except struct.error as error:
                raise self._misfit(error) from error
            try:
                txn.commit()
            except lmdb.MapFullError:
                raise
            except lmdb.Error as error:
                failed = error
            else:
                self.wrote = True
                return result
        finally:
            self._gate.leave(token)
        raise self._after_failed_commit(failed) from failed

    def _abort(self, txn: Txn) -> None:
        """Give up a write transaction.

        py-lmdb 3.0.0 waits here until no thread of the process is in any operation, so readers that
        never pause would make it wait for ever; they are held at the gate meanwhile.
        """
        with self._gate.hush():
            txn.abort()

    def _after_failed_commit(self, error: lmdb.Error) -> StorageError:
        """Tell a commit that surely wrote nothing from one that may have, and leave a working environment."""
        alive = False
        token = object()
        try:
            self._abort(self._enter(token).begin(write=True))
            alive = True
        except lmdb.Error:
            pass
        finally:
            self._gate.leave(token)
        # LMDB reports a short write, which is how a disk fills up, as an input/output error.
        if alive and (error_number(error) in _FULL or self._disk_is_full()):
            return self.failure("write", error, full=True)
        try:
            self.reopen()
        except EventcoreError as again:
            error.add_note(f"and it could not be opened again: {again}")
        return OutcomeUnknown(
            f"cannot tell whether the last commit to {self.settings.path} is durable: {error}; "
            "reopen the run and read its head"
        )

    def _disk_is_full(self) -> bool:
        try:
            found = os.statvfs(self.settings.path)
        except OSError:
            return False
        return found.f_bavail * found.f_frsize < 2**20

    # -- size ------------------------------------------------------------------------------

    def _grow(self) -> None:
        env = self._env
        if env is None:
            raise rules.closed(self.name())
        self._resize(env.info()["map_size"] * 2)

    def _resize(self, size: int) -> None:
        """Change the size of the map, or adopt the one another process chose (0)."""
        try:
            with self._gate.alone():
                if self._env is not None:
                    self._env.set_mapsize(size)
            return
        except lmdb.Error as error:
            failure = self.failure("grow", error)
        # A map that could not be replaced is gone; only a new environment has one again.
        self.reopen()
        raise failure

    def _clear_dead_readers(self) -> None:
        self.ask(_check_readers)

    # -- asking ------------------------------------------------------------------------------

    def ask(self, question: Callable[[lmdb.Environment], T]) -> T:
        """Run `question` with the environment held open, outside any transaction of ours."""
        token = object()
        try:
            return question(self._enter(token))
        except lmdb.Error as error:
            raise self.failure("read", error) from error
        finally:
            self._gate.leave(token)

    def hold_writers(self, work: Callable[[], T]) -> T:
        """Run `work` while no process can commit; nothing is written."""
        token = object()
        with self._write_lock:
            try:
                txn = self._enter(token).begin(write=True)
                try:
                    return work()
                finally:
                    self._abort(txn)
            except lmdb.Error as error:
                raise self.failure("lock", error) from error
            finally:
                self._gate.leave(token)

    def failure(self, action: str, error: lmdb.Error, *, full: bool = False) -> StorageError:
        """Translate an error of LMDB outside a commit."""
        text = f"cannot {action} {self.settings.path}: {error}"
        if full or error_number(error) in _FULL:
            return StorageError(
                f"{text}; the disk is full, nothing was written, free some space and try again"
            )
        if isinstance(error, lmdb.CorruptedError | lmdb.PageNotFoundError | lmdb.InvalidError):
            return CorruptLog(f"{text}; run `eventcore verify` and restore a backup")
        if isinstance(error, lmdb.ReadonlyError):
            return rules.read_only(self.name(), action)
        return StorageError(f"{text}; nothing was written")

    def _misfit(self, error: struct.error) -> CorruptLog:
        """Translate a key or a number in a row that has the wrong length."""
        return CorruptLog(
            f"cannot read {self.settings.path}: it holds what no store writes ({error}); run `eventcore verify` and "
            "restore a backup"
        )


def _check_readers(env: lmdb.Environment) -> None:
    """Free the slots of readers that died: each pins the pages it saw."""
    try:
        env.reader_check()
    except lmdb.Error:
        pass  # No lock file on a read-only disk; and what needs a slot reports its own failure.


def engine_version(env: lmdb.Environment) -> tuple[int, int, int]:
    """Return the version of the LMDB library an environment runs on."""
    # Asked of the environment where one process can hold two engines (py-lmdb 3).
    return env.lib_version() if hasattr(env, "lib_version") else lmdb.version()


def error_number(error: lmdb.Error) -> int:
    """Return the number of the operating system's error, 0 for one of LMDB's own."""
    code = getattr(error, "code", None)
    if isinstance(code, int):
        return max(code, 0)
    # py-lmdb 2 gives only the system's own words for it.
    words = str(error)
    return next((number for number in errno.errorcode if words.endswith(os.strerror(number))), 0)


def _open_environment(settings: Settings) -> lmdb.Environment:
    """Open LMDB in its safe mode, with as much address space as the system allows."""
    size = settings.map_size
    # File format 0.9 for new stores; an existing one says itself which it has. py-lmdb 2 knows no other.
    choose = hasattr(lmdb.Environment, "lib_version") and not (settings.path / "data.mdb").exists()
    engine: dict[str, Any] = {"lib_version": 0} if choose else {}
    while True:
        try:
            return lmdb.open(
                str(settings.path),
                map_size=size,
                subdir=True,
                readonly=settings.read_only,
                create=not settings.read_only,
                sync=True,
                metasync=True,
                writemap=False,
                lock=True,
                mode=0o600,
                max_readers=MAX_READERS,
                max_dbs=MAX_DATABASES,
                max_spare_txns=4,
                **engine,
            )
        except lmdb.MapResizedError:
            continue  # Another process grew the store while it was being opened.
        except lmdb.Error as error:
            refused_size = isinstance(error, lmdb.MemoryError) or error_number(error) == errno.ENOMEM
            if not refused_size or size <= SMALLEST_MAP:
                raise _open_failure(settings.path, error) from error
            size = max(SMALLEST_MAP, size // 4)
        except OSError as error:
            raise os_failure(f"open {settings.path}", error) from error


def _readers_full(path: Path, action: str) -> StoreBusy:
    return StoreBusy(
        f"cannot {action} {path}: all its reader slots ({MAX_READERS} in a store made by this release) are taken by "
        "living processes; close some of its readers"
    )


def _open_failure(path: Path, error: lmdb.Error) -> StorageError:
    """Translate why LMDB would not open."""
    number = error_number(error)
    if isinstance(error, lmdb.LockError) or number in (errno.EAGAIN, errno.EWOULDBLOCK):
        return StoreBusy(
            f"cannot open {path}: its lock is held by a process that has the same number as this one, which happens "
            f"between containers that share a volume ({error}); give the containers one process namespace, or "
            "use a database server"
        )
    if isinstance(error, lmdb.ReadersFullError):
        return _readers_full(path, "open")
    if isinstance(error, lmdb.VersionMismatchError):
        return UnknownFormat(
            f"cannot open {path}: another version of LMDB wrote it ({error}); upgrade eventcore"
        )
    if isinstance(error, lmdb.InvalidError | lmdb.CorruptedError):
        return CorruptLog(
            f"cannot open {path}: it is damaged or no LMDB store ({error}); restore it from a backup"
        )
    if "already open in this process" in str(error):
        return StoreBusy(f"cannot open {path}: this process has it open outside eventcore; close that first")
    if number:
        return os_failure(f"open {path}", OSError(number, os.strerror(number)))
    return StorageError(f"cannot open {path}: {error}")


# -- one environment per file and process -------------------------------------------------------

_registry: Registry[Environment] = Registry()


def acquire(settings: Settings, before_open: Callable[[], None]) -> Environment:
    """Return the process's environment of a directory, opening it if it is not open.

    Args:
        settings: Where and how; an environment open for reading is reopened when writing is asked for.
        before_open: Called only if the files are not open in this process, so it may look into them.
    """

    def reuse(environment: Environment) -> None:
        if environment.settings.read_only and not settings.read_only:
            environment.reopen(read_only=False)

    def create() -> Environment:
        before_open()
        return Environment(settings)

    return _registry.acquire(settings.path / "data.mdb", reuse=reuse, create=create)


def release(environment: Environment, last: Callable[[], None] | None = None) -> None:
    """Give an environment back; for the last opener, `last` is called and it is closed."""
    _registry.release(environment, last)
