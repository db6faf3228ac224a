"""The process in which a script is run again: what its stores and runs stand for there.

A process with `$EVENTCORE_RERUN` in its environment was started by `run.replay` or `eventcore fork`. In a
replay every store is the recorded one, opened for reading; connections are refused; and the process ends at
the first divergence, or where the log ends, leaving a report. In a fork only the run is another one.

The order is for the process that comes to the run, which may be a child of the one that was started (`make train`).
That one's own children are no part of the run: in a replay they may write nowhere, otherwise they are as usual.
"""

from __future__ import annotations

import atexit
import itertools
import os
import re
import sys
from types import FrameType
from typing import TYPE_CHECKING, Any

import msgspec

from eventcore.errors import Diverged
from eventcore.history import events as e
from eventcore.history.backend import Backend
from eventcore.history.reading import Reader
from eventcore.history.rerun import set_rerun
from eventcore.history.run import Run
from eventcore.history.sources import user_frame
from eventcore.history.state import State
from eventcore.history.store import Store
from eventcore.history.urls import canonical_url, open_backend
from eventcore.replay.divergence import Divergence, divergence, say
from eventcore.replay.replayer import FROM_OUTSIDE, LOOK_AHEAD, Replayer
from eventcore.replay.worlds import Entered, Taken, World

if TYPE_CHECKING:
    from eventcore.replay.debugging import Debugger

ENVIRONMENT = "EVENTCORE_RERUN"

REFUSED = "EVENTCORE_REFUSED"
"""Names the file in which processes of a replay note their attempts to connect, a byte each."""

DEFAULT = "in-memory"
"""Name of the run of a script that opens none."""

DIVERGED = 1
"""Exit code of a process that left its log; how the script would have ended is not known."""


class Order(msgspec.Struct, frozen=True):
    """What a process is to run again.

    Attributes:
        mode: "replay", only compare; "beside", in a process that a replayed one started; "go-on", go on for real in
            a run that is there; or "record", all runs anew.
        store: URL of the store.
        run: Name of the run.
        report: Where a replay writes its report; "" for nowhere.
        breaks: Seqs and paths of variables at which it stops in the debugger.
        in_doubt: Policy for calls in doubt.
        edits: The edits of the fork that is being made, as `--set` takes them; None if none is.
        world: The world to be in, None for the real one.
    """

    mode: str
    store: str
    run: str
    report: str = ""
    breaks: list[str] = []
    in_doubt: str = "retry"
    world: World | None = None
    edits: list[str] | None = None


class Found(msgspec.Struct):
    """What a replay found; the file it leaves.

    Attributes:
        position: Seq the code came to.
        last: Last recorded seq.
        effects: Effects answered from the log.
        digest: Digest of the state the code came to.
        added_reads: Reads the log does not have.
        missing_reads: Reads only the log has.
        connections: Connections and name look-ups that were refused.
        opened: Names of the runs the script asked for.
        cut_short: Whether the log ended before the code did.
        divergence: Where the code left the log, or None.
        beside: Name of the run that ended or was left, if it is not the replayed one.
        taken: What the user's lines took of a world that was made up.
        quit: Whether the person at the terminal ended it in the debugger.
    """

    position: int = 0
    last: int = 0
    effects: int = 0
    digest: str = ""
    added_reads: int = 0
    missing_reads: int = 0
    connections: int = 0
    opened: list[str] = []
    cut_short: bool = False
    divergence: dict[str, Any] | None = None
    beside: str = ""
    taken: Taken = {}
    quit: bool = False


def begin() -> None:
    """Take up the order in the environment: `import eventcore` does so."""
    order = msgspec.json.decode(os.environ[ENVIRONMENT], type=Order)
    entered = None if order.world is None else Entered(order.world)
    if order.mode == "record":
        record = RecordProcess(order, entered)
        atexit.register(record.leave_report)
        set_rerun(record)
    elif order.mode == "replay":
        replay = ReplayProcess(order)
        if REFUSED not in os.environ:  # there Python was told when it started
            sys.addaudithook(replay.refuse_connections)
        atexit.register(replay.leave_report)
        set_rerun(replay)
    elif order.mode == "beside":
        set_rerun(BesideProcess(order))
    else:
        set_rerun(GoOnProcess(order))


def _pass_on(order: Order | None) -> None:
    """Have the processes this one starts from now on take up another order, or none."""
    if order is None:
        os.environ.pop(ENVIRONMENT, None)
    else:
        os.environ[ENVIRONMENT] = msgspec.json.encode(order).decode()


def _leave(report: str, found: Found) -> None:
    """Write a report, unless another process of the command came to more of the run, and wrote one."""
    if not report:
        return
    if os.path.exists(report):
        with open(report, "rb") as file:
            before = msgspec.json.decode(file.read(), type=Found)
        if _rank(before) >= _rank(found):
            return
    with open(report, "wb") as file:
        file.write(msgspec.json.encode(found))


def _rank(found: Found) -> tuple[bool, bool]:
    return found.last > 0, bool(found.opened)


class RecordProcess:
    """A process whose runs are all made anew, in a store of their own.

    Args:
        order: Which store.
        entered: The world it is in, or None.
    """

    def __init__(self, order: Order, entered: Entered | None) -> None:
        self._order = order
        self._entered = entered
        self._process = os.getpid()
        self._opened: list[str] = []
        self._store: Store | None = None

    def open(self, url: str) -> Store:
        """Every store the script opens is the one ordered."""
        if self._store is None or self._store.closed:
            self._store = Store(open_backend(self._order.store), self._order.store)
        return self._store

    def run(self, store: Store, name: str, seed: int | None) -> Run:
        """Start a run, whether it is to be resumed or not."""
        self._opened.append(name)
        _pass_on(msgspec.structs.replace(self._order, report=""))
        return self.open("").start(name, seed)

    def default_run(self) -> Run:
        """The run of a script that opens none is recorded like any other."""
        return self.run(self.open(""), DEFAULT, None)

    def fork(self, parent: Run, name: str | None, at: int) -> Run | None:
        """Forks are made as usual."""
        return None

    def leave_report(self) -> None:
        """Write down what the user's lines took of the world."""
        found = Found(opened=self._opened, taken={} if self._entered is None else self._entered.taken)
        if os.getpid() == self._process:
            _leave(self._order.report, found)


class GoOnProcess:
    """A process whose first run is one that is there: a fork, or a run to be resumed.

    Args:
        order: Which.

    Attributes:
        forking: The edits of the fork that is being made, None if none is.
    """

    def __init__(self, order: Order) -> None:
        self.forking = order.edits
        self._order = order
        self._done = False

    def open(self, url: str) -> Store | None:
        """Every store is its own."""
        return None

    def run(self, store: Store, name: str, seed: int | None) -> Run | None:
        """The first run of the store is the one ordered, whatever the script calls it."""
        if self._done or canonical_url(store.url) != canonical_url(self._order.store):
            return None
        self._done = True
        _pass_on(None)
        return store.resume(self._order.run, self._order.in_doubt)

    def default_run(self) -> Run | None:
        """A run in memory is as usual."""
        return None

    def fork(self, parent: Run, name: str | None, at: int) -> Run | None:
        """Forks of the script's own are made as usual."""
        return None


class BesideProcess:
    """A process that a replayed script started: it may read what is recorded, and its runs live in memory.

    Args:
        order: Which store.
    """

    def __init__(self, order: Order) -> None:
        self._order = order

    def open(self, url: str) -> Store:
        """Every store is the recorded one, for reading."""
        return Store(open_backend(self._order.store, read_only=True), self._order.store)

    def run(self, store: Store, name: str, seed: int | None) -> Run:
        """Start a run that nothing remains of."""
        return Store(open_backend("memory:"), "memory:").start(name, seed)

    def default_run(self) -> Run | None:
        """A run in memory is as usual."""
        return None

    def fork(self, parent: Run, name: str | None, at: int) -> Run:
        """Go on with a copy of the run that nothing remains of."""
        store = Store(open_backend("memory:"), "memory:")
        copied = store.import_run(parent, name or f"{parent.name}-fork", at)
        return store.reopen(copied.name)


class ReplayProcess:
    """A process that only compares.

    Args:
        order: What with what.
    """

    def __init__(self, order: Order) -> None:
        self.order = order
        self.found = Found()
        self.target: Comparison | None = None
        self._store: Store | None = None
        self._log: Backend | None = None
        self._ended = False
        self._process = os.getpid()
        self._debugger: Debugger | None = None

    # --- what the script opens -----------------------------------------------------------------

    def store(self) -> Store:
        """The recorded store, for reading."""
        if self._store is None or self._store.closed:
            self._store = Store(open_backend(self.order.store, read_only=True), self.order.store)
        return self._store

    def open(self, url: str) -> Store:
        """Every store the script opens is the recorded one."""
        return self.store()

    def run(self, store: Store, name: str, seed: int | None) -> Run:
        """Return the run to compare with; a run that was never recorded lives in memory."""
        self.found.opened.append(name)
        _pass_on(Order("beside", self.order.store, self.order.run))
        meant = self._meant_by(name) if self.target is None else None
        if meant is not None:
            return self._compared(meant, 0)
        if name in self.store():
            return self._compared(name, 0)
        return Store(open_backend("memory:"), "memory:").start(name, seed)

    def default_run(self) -> Run | None:
        """The run of a script that opens none."""
        return self.run(self.store(), DEFAULT, None) if DEFAULT in self.store() else None

    def _meant_by(self, name: str) -> str | None:
        """Return the run a script got that asked for `name`, if that led to the wanted run; else None.

        It got a run of that name or a numbered one, or, where it was run again in a fork, that fork.
        """
        run: Run | None = self.store()[self.order.run]
        while run is not None:
            if _is_called(run, name) or (_was_run_again(run) and _descends_from(run, name)):
                return run.name
            run = run.parent
        return None

    def fork(self, parent: Run, name: str | None, at: int) -> Run | None:
        """Return the recorded fork to compare with, from where it was forked."""
        store = self.store()
        wanted = f"{parent.name}-fork" if name is None else name
        if wanted not in store:
            wanted = self.order.run
        return self._compared(wanted, at)

    def _reader(self, run: int) -> Reader:
        """Read the log by a handle of one's own: the script may close its."""
        if self._log is None:
            self._log = open_backend(self.order.store, read_only=True)
        return Reader(self._log, run)

    def _compared(self, name: str, forked_at: int) -> Run:
        store = self.store()
        row = store.row(name)
        run = store.opened(row, State())
        comparison = Comparison(run, forked_at + 1, row.head, self, self._reader(row.id))
        if name == self.order.run:
            self.target = comparison
            self.found.last = row.head
        comparison.begin(store.reader(row.id).state_at(forked_at))
        return run

    def refuse_connections(self, event: str, arguments: tuple[Any, ...]) -> None:
        """Audit hook: nothing leaves this process."""
        if event in ("socket.connect", "socket.getaddrinfo", "socket.gethostbyname", "socket.sendto"):
            self.found.connections += 1
            raise ConnectionRefusedError(
                f"cannot connect in a replay: {event} {arguments[1:] or arguments}; calls go through effects, "
                "which are answered from the log"
            )

    def debug(self, frame: FrameType, where: str) -> None:
        """Stop in the debugger."""
        if self._debugger is None:
            from eventcore.replay.debugging import Debugger

            self._debugger = Debugger(self.was_quit)
        self._debugger.stop_at(frame, where)

    # --- how it ends -------------------------------------------------------------------------------

    def left(self, comparison: Comparison, found: Divergence) -> None:
        """A run left its log: report it and end the process, whatever the script would catch."""
        self.found.divergence = msgspec.to_builtins(found)
        self._end_now(comparison)

    def was_quit(self) -> None:
        """The person at the terminal has seen enough."""
        self.found.quit = True
        if self.target is not None:
            self._end_now(self.target)

    def came_to_the_end(self, comparison: Comparison) -> None:
        """The code goes on behind the end of the log."""
        self.found.cut_short = True
        self._end_now(comparison)

    def _end_now(self, comparison: Comparison) -> None:
        if comparison is not self.target:
            self.found.beside = comparison.run.name
        self.leave_report()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(DIVERGED if self.found.divergence is not None else 0)

    def leave_report(self) -> None:
        """Write down what was found. Once; at the latest when the process exits."""
        if self._ended or os.getpid() != self._process:
            return
        self._ended = True
        target = self.target
        if target is not None:
            if self.found.divergence is None and not self.found.cut_short and not self.found.quit:
                missing = target.unmet()
                self.found.divergence = None if missing is None else msgspec.to_builtins(missing)
            self.found.position, self.found.effects = target.position, target.effects
            self.found.added_reads, self.found.missing_reads = target.added_reads, target.missing_reads
            self.found.digest = target.run.replayed_state.digest
            for seq in sorted(() if self.found.quit else target.seqs):
                say(
                    f"did not stop at seq {seq}: no line of the script's own comes to an event there or later in "
                    f"what was replayed, up to seq {target.position}"
                )
        _leave(self.order.report, self.found)


def _is_called(run: Run, name: str) -> bool:
    return run.name == name or re.fullmatch(re.escape(name) + r"-\d+", run.name) is not None


def _was_run_again(fork: Run) -> bool:
    """Whether code was run in a fork from its first event on; else it began in the code where it was forked."""
    if fork.forked_at is None:
        return False
    starts = fork.events(fork.forked_at + 1, kind=e.RunStarted)
    return any(
        isinstance(start.event, e.RunStarted) and start.event.facts.get("replayed_from") == 0
        for start in starts
    )


def _descends_from(fork: Run, name: str) -> bool:
    run = fork.parent
    while run is not None:
        if _is_called(run, name):
            return True
        run = run.parent
    return False


class Comparison(Replayer):
    """A replay that ends with the log.

    Args:
        run: The run.
        first: First seq to compare.
        last: Last seq.
        process: Who is told how it ends.
        reader: Reads the log.
    """

    def __init__(self, run: Run, first: int, last: int, process: ReplayProcess, reader: Reader) -> None:
        super().__init__(run, first, last, reader)
        self._process = process
        places = process.order.breaks if run.name == process.order.run else []
        self.seqs = {int(place) for place in places if place.isdecimal()}
        self._paths = {place for place in places if not place.isdecimal()}

    def record(self, event: e.Event, size: int = 0) -> int:
        """Compare; stop in the debugger first where that was asked for."""
        if self.seqs or self._paths:
            self._stop(event)
        return super().record(event, size)

    def read(self, event: e.FieldRead) -> bool:
        """Take note of a read; stop first where that was asked for."""
        if self.seqs:
            self._stop(event)
        return super().read(event)

    def _stop(self, event: e.Event) -> None:
        with self.run.lock:
            if self.broken or self.run.replaying is not self:
                return
            coming = self._next_read() if isinstance(event, e.FieldRead) else self._next_act()
            changed = self._changed(event)
        frame = user_frame(2)
        if frame is None or coming is None:
            return
        come = {seq for seq in self.seqs if seq <= coming}
        if come or changed in self._paths:
            self.seqs -= come
            self._process.debug(frame, f"seq {coming}: {type(event).__name__}")

    def _next_act(self) -> int | None:
        self._take_outcomes()
        return self.next_seq()

    def _next_read(self) -> int | None:
        """Seq of what is recorded next, reads included and lines of code not."""
        ahead = itertools.islice(self._ahead(), LOOK_AHEAD)
        return next((seq for seq, event in ahead if not isinstance(event, FROM_OUTSIDE)), None)

    def _changed(self, event: e.Event) -> str:
        """Path of the variable an event changes, "" if it changes none."""
        number = getattr(event, "variable", None)
        if not isinstance(number, int) or isinstance(
            event, (e.VariableDeclared, e.EffectStarted, e.FieldRead)
        ):
            return ""
        return self.run.replayed_state.slot(number).path

    def ended(self, event: e.Event | None) -> None:
        """The log is at its end and the code is not."""
        self._process.came_to_the_end(self)

    def may_pass_ending(self, coming: tuple[int, e.Event]) -> bool:
        """Where the recorded process was cut short, the log ends for a replay too."""
        if super().may_pass_ending(coming):
            return True
        if self.is_cut_short():
            self._process.came_to_the_end(self)
        return False

    def diverged(self, found: Divergence) -> Diverged:
        """The code left the log."""
        self._process.left(self, found)
        return super().diverged(found)

    def unmet(self) -> Divergence | None:
        """What is recorded and was not done, now that the code has ended."""
        with self.run.lock:
            self.next_seq()
            coming = next((found for found in self.rest() if not isinstance(found[1], e.FieldRead)), None)
            if coming is None or super().may_pass_ending(coming) or self.is_cut_short():
                return None
        return divergence(coming[0], coming[1], None, ())
