"""A run: one line of history with a name, written by at most one process and read by any.

What users hold: its variables, its forks, its program, and the block in which it is current. How it takes
events stands in `recording.py`, how it is read in `run_reader.py`. A run opened for reading has no live state
and no log; it sees what is durable.
"""

from __future__ import annotations

import gc
import importlib
import weakref
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from eventcore.errors import DuplicateName, InvalidValue, StorageError
from eventcore.history import events as e
from eventcore.history.log import Log
from eventcore.history.pieces import in_pieces
from eventcore.history.positions import Position
from eventcore.history.reading import Reader
from eventcore.history.recording import RecordingRun
from eventcore.history.run_reader import Record as Record
from eventcore.history.run_reader import variable_path as variable_path
from eventcore.history.scope import Scope, current, process_scope
from eventcore.history.slots import VariableState
from eventcore.history.state import State, size_of

if TYPE_CHECKING:
    from eventcore.history.store import Store


class Run(RecordingRun):
    """One run of a store.

    Use `Store.run` to start or resume one, `store[name]` to read one. As a context manager it is current
    inside the block; leaving the block makes everything durable and restores the run before.

    Attributes:
        name: Its name, unique in the store.
        store: The store it lives in.
        seed: Seed of its random streams.
        record_reads: Whether `get` appends an event.
        budget: What may be spent, or None.
        guards: Checked at every barrier.
        owners: The variable objects that live here, by path.
        replaying: While the run's code is run again over its log, what compares the two; else None.
    """

    def __init__(self, store: Store, reader: Reader, log: Log | None, live: State, seed: int) -> None:
        super().__init__(store, reader, log, live, seed)
        self.budget: Any = None
        self.before: Run | None = None
        self.started_at = -1
        self.owners: dict[str, weakref.ref[Any]] = {}
        self._declared: set[str] = set()

    # --- identity ------------------------------------------------------------------------------

    @property
    def name(self) -> str:
        """Name of the run."""
        return self._reader.name

    @property
    def number(self) -> int:
        """Number of the run in its store."""
        return self._reader.run

    @property
    def parent(self) -> Run | None:
        """The run this one was forked from, opened for reading; None without one."""
        row = self.store.row(self.number)
        return None if row.parent is None else self.store[self.store.row(row.parent).name]

    @property
    def forked_at(self) -> int | None:
        """Seq of the parent this run was forked at; None without a parent."""
        row = self.store.row(self.number)
        return None if row.parent is None else row.forked_at

    def __repr__(self) -> str:
        mode = "" if self._log is not None else ", read-only"
        return f"Run({self.name!r}, head={self.head}, durable={self.durable}, store={self.store.url!r}{mode})"

    # --- barriers ------------------------------------------------------------------------------

    async def barrier(self) -> int:
        """Make everything appended so far durable without blocking the event loop; otherwise like `flush`.

        The task goes on when all other tasks of the run are blocked, so that the order in which they go on does
        not depend on how long a commit takes.
        """
        from eventcore.replay.dispatcher import dispatcher_of

        for guard in list(self.guards.values()):
            guard.check()
        head = self.head
        await dispatcher_of(self).committed(head)
        return head

    # --- variables -----------------------------------------------------------------------------

    def declare(self, owner: Any, event: e.VariableDeclared) -> VariableState:
        """Record that `owner` lives here from now on and return its slot in the live state.

        Raises:
            DuplicateName: Another object that is still in use has the same path.
        """
        self.require_free(event.path, owner)
        with self.lock:
            if event.variable != self.live.next_number:  # another thread declared meanwhile
                event = msgspec.structs.replace(event, variable=self.live.next_number)
            besides = size_of(event.schema) + len(event.path)
            if event.origin is None:
                self.record(event, size_of(event.value) + besides)
            else:
                self.record_in_pieces(event, besides)
            self.owners[event.path] = weakref.ref(owner)
            self._declared.add(event.path)
            return self.live.slot(event.path)

    def record_in_pieces(self, event: e.VariableDeclared | e.VariableAssigned, besides: int = 0) -> None:
        """Record a whole value, in several events where it has grown too large for one.

        Args:
            event: The event with the whole value.
            besides: Bytes of its other payloads.
        """
        value, pieces = in_pieces(event.value)
        with self.lock:
            self.record(
                msgspec.structs.replace(event, value=value) if pieces else event, size_of(value) + besides
            )
            for path, op, args in pieces:
                filling = e.ValuePatched(*self.stamp(), event.variable, path, op, args, -1)
                self.record(filling, size_of(args))

    def is_taken(self, path: str, owner: Any = None, collect: bool = True) -> bool:
        """Whether another object that is still in use has this path; `collect` makes sure that it is."""
        if collect and self._owner(path) not in (None, owner):
            gc.collect()  # a module and its variables refer to each other: they go with the collector, not before
        return self._owner(path) not in (None, owner)

    def require_free(self, path: str, owner: Any = None) -> None:
        """Raise `DuplicateName` if an object that is still in use has this path."""
        if self.is_taken(path, owner):
            raise DuplicateName(
                f"cannot declare variable {path!r} in run {self.name!r}: another variable of this path is in use; "
                "give its module another name, delete the earlier object first, or call clear_session()"
            )

    def _owner(self, path: str) -> Any:
        reference = self.owners.get(path)
        return None if reference is None else reference()

    def inherited(self, path: str) -> VariableState | None:
        """Return what an earlier process, or the parent of a fork, left at a path nobody declared here yet."""
        if path in self._declared or path not in self.live.variables:
            return None
        return self.live.slot(path)

    def forget_owners(self) -> None:
        """Let paths be declared again whoever holds them (`clear_session`)."""
        self.owners.clear()

    def owns(self, path: str, owner: Any) -> bool:
        """Whether `owner` is the object that lives at `path`."""
        return self._owner(path) is owner

    # --- branching -----------------------------------------------------------------------------

    def fork(
        self,
        name: str | None = None,
        at: Position | None = None,
        *,
        reuse: bool = True,
        resume: bool = False,
    ) -> Run:
        """Start a run that shares this one's events up to a seq and never writes into this one.

        Variables of this process keep their present values in its block: the first use of one, reading included,
        declares that value in the fork. What they held at `at` is in `fork.at(at)`; `fork.program()` is the program
        with those values.

        Args:
            name: Name of the new run; None for `<name>-fork`, numbered when taken.
            at: Seq to fork at; None for the head.
            reuse: Whether requests that equal one this run made after `at` are answered from its log, unpaid.
            resume: Go on with the fork of that name if there is one, by a replay of the code from here on.

        Returns:
            The new run, open for writing, not current: use `with`.

        Raises:
            InvalidValue: `at` is beyond the head.
            DuplicateName: The name is taken.
        """
        head = self.flush()  # others may append meanwhile: those events are not of this fork
        wanted = head if at is None else at
        if isinstance(wanted, int) and not 0 <= wanted <= self.head:
            raise InvalidValue(
                f"cannot fork run {self.name!r} at seq {wanted}: its log ends at {self.head}; "
                f"pass at <= {self.head}, or omit it to fork at the head"
            )
        return self.store.start_fork(self, name, self.seq(wanted), reuse=reuse, resume=resume)

    def program(self, at: Position | None = None) -> Any:
        """Return the program this run declared, with the values it had, callable.

        In a run open for writing, and without `at`, the program lives in this run. Otherwise it is built in a
        scratch run in memory, so that it cannot write into the past.

        Args:
            at: Seq to go back to; None for the head.

        Raises:
            NotFound: No program was declared.
            UnknownClass: Its class is not among those the user's code has defined.
        """
        return _program(self, None if at is None else self.seq(at))

    # --- running it again -----------------------------------------------------------------------

    def replay(
        self, script: Any, *arguments: str, breaks: Sequence[int | str] = (), catch: bool = True
    ) -> Any:
        """Run a script again in a process of its own and compare it with this log, event by event.

        Effects are answered from the log, connections are refused, and the store is left unchanged.

        Args:
            script: A Python script, or a whole command as a list.
            arguments: Arguments of the script.
            breaks: Seqs, or paths of variables, at which to stop in the debugger.
            catch: Whether to catch what the script prints, instead of passing it on.

        Returns:
            An `eventcore.replay.rerunning.ReplayReport`: identical or not, and the first divergence.

        Raises:
            NotFound: There is no such script.
            ReplayFailed: The script never came to this run, or left its process without ending.
        """
        from eventcore.replay.rerunning import replay

        return replay(self, script, *arguments, breaks=breaks, catch=catch)

    # --- scope ---------------------------------------------------------------------------------

    def __enter__(self) -> Run:
        # `with store.run(…)`: nothing happened since, so the block alone is meant. A run that was already at
        # work stays the process's current one after the block.
        if process_scope.run is self and self.head == self.started_at:
            process_scope.run = self.before
        new = Scope(self)
        new.token = current.set(new)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        try:
            if kind is None:
                self.flush()
            else:
                # The first error is the one to show; what a broken store says would only hide it.
                try:
                    self.settle()
                except StorageError as second:
                    if error is not None:
                        error.add_note(f"while leaving run {self.name!r}: {second}")
        finally:
            here = current.get(process_scope)
            if here.run is self and here.token is not None:
                try:
                    current.reset(here.token)
                except ValueError:
                    pass  # left in another context than it was entered in: that one has gone its own way

    def abandon(self) -> None:
        """Refuse every write from now on: this is a child after `fork()`."""
        if self._log is not None:
            self._log.abandon()

    def close(self) -> None:
        """Make everything durable and give up writing. Reading goes on working. Idempotent."""
        if self._log is None or self._log.closed:
            return
        replaying = self.replaying
        if replaying is not None:
            replaying.finish()
        try:
            # What left its log has refused to write: that views show it all the same is no second error.
            if replaying is None or not replaying.broken:
                self.flush()
        finally:
            self._log.closed = True
            self.store.release(self)


def _program(run: Run, at: int | None) -> Any:
    """Have programs built by the layer that knows them: by its name, and only when one is asked for."""
    return importlib.import_module("eventcore.saving").program_from_run(run, at)
