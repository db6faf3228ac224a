"""A store: an opened place that holds runs.

`open` finds the backend, `Store` starts, resumes, reads, forks and deletes runs. One process opens a
store once: opening it again gives a second handle on the same files. The module also keeps what must
happen for all stores: flush at exit, refuse use in a forked child.
"""

from __future__ import annotations

import atexit
import os
import re
import sys
import weakref
from collections.abc import Callable, Iterator
from typing import Any

from eventcore.errors import (
    ConcurrentAppend,
    DuplicateName,
    InvalidValue,
    NotFound,
    StorageError,
    StoreBusy,
    StoreClosed,
    StoreReadOnly,
)
from eventcore.history import events as e
from eventcore.history import index, lineage
from eventcore.history.backend import Backend, RunRow, SupportsBackup
from eventcore.history.costs import limits_of
from eventcore.history.index import Indexer
from eventcore.history.log import Committer, Log
from eventcore.history.ownership import describe_self, in_words, is_alive, is_self
from eventcore.history.reading import Reader
from eventcore.history.rerun import rerun_here
from eventcore.history.run import Run
from eventcore.history.scope import process_scope
from eventcore.history.state import State
from eventcore.history.transfer import copy_events
from eventcore.history.urls import canonical_url, open_backend
from eventcore.history.values import is_text
from eventcore.history.verify import Finding, verify_run

DEFAULT_NAME = "run"
IN_DOUBT = ("retry", "fail", "ask")
MEMORY_LIMIT = 64 * 1024 * 1024
"""Bytes of events the in-memory default run keeps before older ones are folded into a snapshot."""

_NAME = re.compile(r"^[^/\x00-\x1f\x7f]{1,200}$")
_seed = lineage.DEFAULT_SEED
_stores: weakref.WeakSet[Store] = weakref.WeakSet()


def open(
    url: str | os.PathLike[str] | None = None, *, read_only: bool = False, force: bool = False, **options: Any
) -> Store:
    """Open a store, creating it if it is not there.

    Args:
        url: A path (LMDB, or SQLite if it ends in `.sqlite`, `.sqlite3` or `.db` and is no directory),
            `lmdb:path`, `sqlite:path`, `memory:`, or the scheme of an installed backend; None for
            `$EVENTCORE_STORE`, or else `.eventcore`.
        read_only: Refuse every write and create nothing.
        force: Open on a network file system although its locks cannot be trusted.
        options: Handed to the backend, e.g. `map_size` for LMDB, in bytes.

    Returns:
        The store. Opening one twice in a process gives two handles on one environment.

    Raises:
        InvalidValue: The URL names nothing known.
        StorageError: It cannot be opened, is damaged, or is from a newer version.
    """
    rerun = rerun_here()
    if rerun is not None and (taken := rerun.open(canonical_url(url))) is not None:
        return taken
    backend = open_backend(url, read_only=read_only, force=force, **options)
    return Store(backend, canonical_url(url))


def set_seed(value: int) -> None:
    """Set the seed of runs that are started without one. Touches no global random state.

    Args:
        value: Any integer of 64 bits.
    """
    global _seed
    _seed = _checked_seed(value)


def _checked_seed(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not -(2**63) <= value < 2**63:
        raise InvalidValue(f"cannot use seed {value!r}: pass an integer of 64 bits")
    return value


class Store:
    """An opened place that holds runs. Get one from `eventcore.open`.

    Attributes:
        url: What opens it again, from any folder.
    """

    def __init__(self, backend: Backend, url: str) -> None:
        self.url = url
        self._backend = backend
        self._committer = Committer(os.path.basename(url) or "store")
        self._runs: dict[int, Run] = {}
        self._unnamed_forks: dict[str, int] = {}
        self._closed = False
        self._pid = os.getpid()
        self._after_close: Backend | None = None
        _stores.add(self)
        weakref.finalize(self, self._committer.retire).atexit = False

    # --- runs ----------------------------------------------------------------------------------

    def run(
        self,
        name: str | None = None,
        *,
        seed: int | None = None,
        resume: bool = False,
        record_reads: bool = True,
        budget: Any = None,
        in_doubt: str = "retry",
    ) -> Run:
        """Start a run, or resume one, and make it current for the process.

        A resumed run is replayed: the same script does again what it did, and recorded answers are given to it
        instead of calls. Where the log ends it goes on for real. To go on at the end of a log without the code
        that wrote it, use `reopen`.

        Args:
            name: Its name; None for "run". A taken name starts `name-2`, and says so on stderr.
            seed: Seed of its random streams; None for `set_seed`'s, or else 0.
            resume: Go on with the run of that name if there is one.
            record_reads: Whether reads of variables are events.
            budget: What effects may spend: US dollars, or a dict of `cost`, `tokens` and `calls`; None for no limit.
            in_doubt: What to do with calls that had left when the run was killed, and may have been paid: "retry",
                "fail" (each counts as failed from then on: it raises `CallInDoubt`) or "ask" (at the terminal, before
                anything is changed; without a yes the run stays as it is).

        Returns:
            The run. In a `with` statement it is current inside the block only.

        Raises:
            StoreBusy: With `resume`, a living process is writing it.
            StorageError: The store cannot be written.
        """
        wanted = DEFAULT_NAME if name is None else name
        _check_name(wanted)
        limits_of(budget)
        if in_doubt not in IN_DOUBT:
            raise InvalidValue(
                f"cannot treat calls in doubt by {in_doubt!r}: pass one of {', '.join(IN_DOUBT)}"
            )
        rerun = rerun_here()
        if rerun is not None and (taken := rerun.run(self, wanted, seed)) is not None:
            return self._made_current(taken, record_reads, budget)
        self._require_open("start a run in")
        row = self.backend.run(wanted)
        if row is not None and resume:
            found = self._resume(row, seed, in_doubt)
        else:
            found = self.start(wanted, seed)
            if found.name != wanted:
                _say(f"run {wanted!r} exists; this one is {found.name!r}")
        return self._made_current(found, record_reads, budget)

    def _made_current(self, found: Run, record_reads: bool, budget: Any) -> Run:
        found.record_reads = record_reads
        found.budget = budget
        if process_scope.run is not found:
            found.before = process_scope.run
            process_scope.run = found
        found.started_at = found.head
        found.note_host_tasks()
        return found

    def resume(self, name: str, in_doubt: str = "retry") -> Run:
        """Open a run for a replay by the code that follows; it is not made current. See `run`.

        Raises:
            NotFound: There is no such run.
            StoreBusy: A living process is writing it.
        """
        self._require_open("resume a run of")
        return self._resume(self.row(name), None, in_doubt)

    def reopen(self, name: str) -> Run:
        """Open a run for writing at its head, without the code that wrote it; it is not made current.

        Raises:
            NotFound: There is no such run.
            StoreBusy: A living process is writing it.
        """
        self._require_open("open a run of")
        return self._claimed(self.row(name), lambda row: self._writer(row, resumed=True))

    def start(self, name: str, seed: int | None = None) -> Run:
        """Start a run of a name, or of the next free one, without making it current."""
        chosen = _seed if seed is None else _checked_seed(seed)
        return self._writer(self._create(name, chosen), resumed=False)

    def _create(self, name: str, seed: int, parent: int | None = None, forked_at: int = 0) -> RunRow:
        """Create a run of a name, or of the next free `name-2`, `name-3`, … when it is taken."""
        chosen = name
        while True:
            meta = lineage.seal(chosen, parent, forked_at, seed)
            try:
                return self.backend.create_run(
                    chosen, parent=parent, forked_at=forked_at, meta=meta, writer=describe_self()
                )
            except DuplicateName:
                chosen = self._free_name(name)  # another process may take this one too

    def _open_here(self, run: int) -> Run | None:
        """Return the run open for writing in this process, through whichever handle of the store."""
        for store in list(_stores):
            if store._pid == os.getpid() and not store._closed and store._place() == self._place():
                found = store._runs.get(run)
                if found is not None and found.writable:
                    return found
        return None

    def _place(self) -> tuple[str, str]:
        """What two handles of one store have in common, and a store and its backup have not."""
        return self._backend.log_id, os.path.realpath(self.url.partition(":")[2])

    def _resume(self, row: RunRow, seed: int | None, in_doubt: str) -> Run:
        from eventcore.replay.resuming import resume

        recorded = lineage.seed_of(row)
        if seed is not None and _checked_seed(seed) != recorded:
            raise InvalidValue(
                f"cannot resume run {row.name!r} with seed {seed}: it was started with seed {recorded}; pass that "
                "one or none, or start another run"
            )
        return self._claimed(row, lambda taken: resume(self.opened(taken, State()), in_doubt))

    def _claimed(self, row: RunRow, opened: Callable[[RunRow], Run]) -> Run:
        mine = self._open_here(row.id)
        if mine is not None and mine.usable:
            return mine
        if mine is None and is_alive(row.writer) and not is_self(row.writer):
            raise StoreBusy(
                f"cannot resume run {row.name!r}: it is being written by {in_words(row.writer)}; "
                f"wait for it, stop it, read the run with store[{row.name!r}], or fork it"
            )
        try:
            taken = self.backend.claim(row.id, describe_self(), row.epoch)
        except ConcurrentAppend as error:
            raise StoreBusy(
                f"cannot resume run {row.name!r}: another process took it meanwhile ({error})"
            ) from error
        return opened(taken)

    def start_fork(
        self, parent: Run, name: str | None, at: int, *, reuse: bool = True, resume: bool = False
    ) -> Run:
        """Start a fork; `Run.fork` is the door to it."""
        if name is not None:
            _check_name(name)
        rerun = rerun_here()
        if rerun is not None and (taken := rerun.fork(parent, name, at)) is not None:
            return taken
        self._require_open("fork a run of")
        wanted = name if name is not None else self._fork_name(parent)
        # Code that is run again comes to the forks it made before.
        resume = resume or parent.replaying is not None
        if (name is not None or resume) and (row := self.backend.run(wanted)) is not None:
            return self._same_fork(row, parent, at, resume)
        seed = lineage.seed_of(self.row(parent.number))
        row = self._create(wanted, seed, parent.number, at)
        fork = self.opened(row, Reader(self.backend, row.id).state_at(row.head))
        fork.opened_at = at
        pinned = {"run": parent.number, "name": parent.name, "from": at, "head": parent.head}
        fork.record_start(resumed=False, **({"reuse": pinned} if reuse else {}))
        return fork

    def _same_place(self, parent: Run, forked_at: int, at: int) -> bool:
        """Whether the parent's own code did nothing between two seqs: openings are from outside."""
        between = parent.reader().events(min(forked_at, at) + 1, max(forked_at, at))
        return all(isinstance(event, (e.RunStarted, e.LabelSet, e.EditedFromOutside)) for _, event in between)

    def _fork_name(self, parent: Run) -> str:
        """Name of the next fork this process makes without a name: the same again when the code is run again."""
        count = self._unnamed_forks[parent.name] = self._unnamed_forks.get(parent.name, 0) + 1
        return f"{parent.name}-fork" if count == 1 else f"{parent.name}-fork-{count}"

    def _same_fork(self, row: RunRow, parent: Run, at: int, resume: bool) -> Run:
        """Resume the fork that has the wanted name, if it is the one that is meant."""
        if not resume:
            raise DuplicateName(
                f"cannot fork to {row.name!r} in {self.url}: the name is taken; choose another, or pass resume=True"
            )
        if row.parent != parent.number or not self._same_place(parent, row.forked_at, at):
            raise DuplicateName(
                f"cannot resume {row.name!r} as a fork of run {parent.name!r} at {at}: it is something else; "
                "choose another name"
            )
        from eventcore.replay.resuming import resume as resumed

        return self._claimed(row, lambda taken: resumed(self.opened(taken, State()), "retry", from_fork=True))

    def _writer(self, row: RunRow, resumed: bool) -> Run:
        run = self.opened(row, Reader(self.backend, row.id).state_at(row.head))
        run.opened_at = row.head
        run.record_start(resumed=resumed)
        return run

    def opened(self, row: RunRow, state: State) -> Run:
        """Return a run object for a row this process holds, with a live state; nothing is recorded."""
        reader = Reader(self.backend, row.id)
        log = Log(self.backend, row, self._committer, _indexer(reader, row))
        run = self._runs[row.id] = Run(self, reader, log, state, lineage.seed_of(row))
        return run

    def _free_name(self, name: str) -> str:
        taken = set(self.runs())
        if name not in taken:
            return name
        number = 2
        while f"{name}-{number}" in taken:
            number += 1
        return f"{name}-{number}"

    def runs(self) -> list[str]:
        """Names of all runs, oldest first."""
        return [row.name for row in self.rows()]

    def rows(self) -> list[RunRow]:
        """What the backend knows of all runs, oldest first."""
        return self.backend.runs()

    def row(self, run: int | str) -> RunRow:
        """What the backend knows of one run, by number or name.

        Raises:
            NotFound: There is no such run; the message lists those there are.
        """
        found = self.backend.run(run)
        if found is None:
            known = ", ".join(self.runs()) or "none"
            raise NotFound(f"cannot find run {run!r} in {self.url}; it has: {known}")
        return found

    def __getitem__(self, name: str) -> Run:
        """Return an existing run: the one open for writing here, or else one for reading.

        Raises:
            NotFound: There is no such run.
        """
        row = self.row(name)
        mine = self._open_here(row.id)
        if mine is not None:
            return mine
        seed = lineage.seed_of(row)
        return Run(self, self.reader(row.id), None, State(), seed)

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and self.backend.run(name) is not None

    def __iter__(self) -> Iterator[str]:
        return iter(self.runs())

    def __len__(self) -> int:
        return len(self.rows())

    def delete(self, run: str | Run) -> None:
        """Delete a run with all it owns, durably.

        Raises:
            NotFound: There is no such run.
            InvalidValue: A fork reads through it; the message names the forks.
            StoreBusy: It is being written, here or by another living process.
        """
        self._require_open("delete a run of")
        row = self.row(run if isinstance(run, str) else run.name)
        here = self._open_here(row.id) is not None
        if here or (is_alive(row.writer) and not is_self(row.writer)):
            who = "this process" if here else in_words(row.writer)
            raise StoreBusy(
                f"cannot delete run {row.name!r}: it is open for writing by {who}; close it first"
            )
        self.backend.delete_run(row.id)
        self._runs.pop(row.id, None)

    def release(self, run: Run) -> None:
        """Mark a run as held by nobody; called when it is closed."""
        self._runs.pop(run.number, None)
        try:
            self.backend.claim(run.number, "")
        except StorageError:
            # Somebody else claimed it, or the disk is gone; the epoch protects the log either way.
            return

    # --- the whole store -----------------------------------------------------------------------

    @property
    def backend(self) -> Backend:
        """The backend; after `close`, one for reading is opened on demand."""
        self.require_process()
        if not self._closed or not self._backend.durable:
            return self._backend
        if self._after_close is None:
            self._after_close = open_backend(self.url, read_only=True)
        return self._after_close

    def require_process(self) -> None:
        """Raise `StoreClosed` in a child made by `fork()`: nothing here works there."""
        if self._pid != os.getpid():
            raise StoreClosed(
                f"cannot use {self.url} in process {os.getpid()}: it was opened by process {self._pid} before "
                "fork(); open it only after fork(), or start processes with the method 'spawn'"
            )

    @property
    def closed(self) -> bool:
        """Whether `close` was called."""
        return self._closed

    def reader(self, run: int) -> Reader:
        """Return a reader of a run by number."""
        return Reader(self.backend, run)

    def _require_open(self, what: str) -> None:
        self.require_process()
        if self._closed:
            raise StoreClosed(f"cannot {what} {self.url}: it was closed; open it again")
        if self.backend.read_only:
            raise StoreReadOnly(
                f"cannot {what} {self.url}: it was opened for reading; open it without read_only"
            )

    def backup(self, path: str | os.PathLike[str]) -> None:
        """Write a complete copy of the store to a path that does not exist; writing may go on meanwhile.

        Raises:
            InvalidValue: The path exists, or the backend cannot copy itself.
        """
        target = os.fspath(path)
        if os.path.lexists(target):
            raise InvalidValue(f"cannot back up to {target}: it exists; pass a path that does not")
        for run in list(self._runs.values()):
            run.flush()
        if not isinstance(self.backend, SupportsBackup):
            raise InvalidValue(
                f"cannot back up {self.url}: its backend has no files; use program.save or import_run"
            )
        self.backend.backup(target)

    def verify(self, run: str | None = None) -> list[Finding]:
        """Read everything and return what is wrong, nothing if all is well.

        Checks the files below, every CRC, the seqs, that every event decodes and folds, that every snapshot
        equals the fold, and the index. O(everything).

        Args:
            run: Only this run; None for all.
        """
        for writer in list(self._runs.values()):
            writer.reader()  # makes visible what can still be
        findings = [Finding(p.run, p.seq, f"{p.place}: {p.message}") for p in self.backend.problems()]
        for row in self.rows() if run is None else [self.row(run)]:
            findings += verify_run(self.backend, row)
        return findings

    def import_run(self, run: Run, name: str | None = None, at: int | str | None = None) -> Run:
        """Copy a run's whole history, through its parents, with a snapshot at its end.

        Args:
            run: The run to copy, of any store.
            name: Its name here; None for its own.
            at: Last seq to copy; None for the head.

        Returns:
            The copy, opened for reading.

        Raises:
            DuplicateName: The name is taken here.
        """
        self._require_open("copy a run into")
        run.flush()
        last = run.head if at is None else run.seq(at)
        wanted = run.name if name is None else name
        _check_name(wanted)
        if wanted in self:
            raise DuplicateName(
                f"cannot copy run {run.name!r} to {self.url}: it has a run {wanted!r}; pass name="
            )
        meta = lineage.seal(wanted, None, 0, run.seed)
        row = self.backend.create_run(wanted, meta=meta, writer=describe_self())
        try:
            copy_events(run.reader(), self.backend, row, last)
        except BaseException:
            self.backend.delete_run(row.id)
            raise
        self.backend.claim(row.id, "")
        return self[wanted]

    def close(self) -> None:
        """Make everything durable and close. Reading goes on working, writing raises. Idempotent."""
        if self._closed or self._pid != os.getpid():
            return
        failures: list[Exception] = []
        for run in list(self._runs.values()):
            try:
                run.close()
            except Exception as error:
                failures.append(error)
        self._committer.stop()
        self._closed = True
        if self._backend.durable:
            self._backend.close()
        if failures:
            raise failures[0]

    def __enter__(self) -> Store:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"Store({self.url!r}{', closed' if self._closed else ''})"

    def abandon(self) -> None:
        """Give everything up without touching the files: this is a forked child."""
        self._committer.abandon()
        for run in self._runs.values():
            run.abandon()
        self._closed = True


def _indexer(reader: Reader, row: RunRow) -> Indexer:
    """Return an indexer that knows the tail no posting covers yet."""
    first = row.forked_at + 1
    indexed = index.chunks(reader.backend, row.id, first)
    if indexed:
        first = indexed[-1].last + 1
    indexer = Indexer(first)
    for low, events in reader.chunks(first, row.head):
        indexer.feed(low, events)
    return indexer


def _say(text: str) -> None:
    """Tell the person at the terminal; a warning could be turned into an error, a log could be off."""
    sys.stderr.write(f"eventcore: {text}\n")


def _check_name(name: object) -> None:
    if not isinstance(name, str) or not _NAME.match(name) or not is_text(name):
        raise InvalidValue(f"cannot name a run {name!r}: pass 1 to 200 printable characters without '/'")


def memory_run() -> Run:
    """Start the run that is current when nothing was opened."""
    rerun = rerun_here()
    if rerun is not None and (taken := rerun.default_run()) is not None:
        return taken
    store = Store(open_backend("memory:", limit=MEMORY_LIMIT), "memory:")
    _keep_alive.append(store)
    return store.start("in-memory")


_keep_alive: list[Store] = []


def _close_all() -> None:
    for store in list(_stores):
        try:
            store.close()
        except Exception as error:
            # At exit nobody can catch it; silence would hide a loss.
            _say(f"closing {store.url} at exit: {error}")


def _after_fork() -> None:
    for store in list(_stores):
        store.abandon()
    _keep_alive.clear()
    run = process_scope.run
    if run is not None and run.store.url == "memory:":
        process_scope.run = None


atexit.register(_close_all)
os.register_at_fork(after_in_child=_after_fork)
