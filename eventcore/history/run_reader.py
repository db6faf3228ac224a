"""What can be read of a run: events, states, changes, differences. It needs no writer.

`Run` is one of these that can also write; a run opened for reading sees what is durable.
"""

from __future__ import annotations

import heapq
import os
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, overload

from eventcore.errors import InvalidValue, NotFound
from eventcore.history import events as e
from eventcore.history.costs import MOMENTS, Spending, costs
from eventcore.history.declarations import path_then
from eventcore.history.findings import Diff, History
from eventcore.history.positions import Labelled, Position, moves
from eventcore.history.positions import resolve as resolve_position
from eventcore.history.reading import Reader
from eventcore.history.state import State
from eventcore.history.timetravel import Change, changes, differences, parse_pointer

if TYPE_CHECKING:
    from eventcore.history.bisecting import Predicate, Turn
    from eventcore.history.blame_view import Blame
    from eventcore.history.races import Races
    from eventcore.history.store import Store
    from eventcore.history.why import Why


class Record(NamedTuple):
    """One event with its place.

    Attributes:
        seq: Its position in the run, from 1.
        event: The event.
    """

    seq: int
    event: e.Event

    @property
    def kind(self) -> str:
        """Name of the event's class."""
        return type(self.event).__name__


class RunReader(ABC):
    """The reading half of a run.

    Attributes:
        store: The store it lives in.
    """

    store: Store

    @property
    @abstractmethod
    def name(self) -> str:
        """Name of the run."""

    @property
    @abstractmethod
    def number(self) -> int:
        """Number of the run in its store."""

    @property
    @abstractmethod
    def head(self) -> int:
        """Seq of the last event."""

    @property
    @abstractmethod
    def state(self) -> State:
        """The state at the head, an ordinary value."""

    @abstractmethod
    def settle(self) -> int:
        """Make what was appended visible to readers and return the durable head."""

    def reader(self) -> Reader:
        """Return a reader of this run after making what was appended visible to it."""
        self.settle()
        return self.store.reader(self.number)

    def readable(self, reader: Reader) -> int:
        """Return the last seq that is read: what other processes appended meanwhile is read too."""
        return reader.head()

    @property
    def first_stored(self) -> int:
        """First seq that can still be read; more than 1 only in a bounded in-memory run."""
        return self.store.reader(self.number).first_stored()

    def seq(self, position: Position) -> int:
        """Resolve a seq given as a number, a label, "epoch:2", "epoch:2/step:5" (their ends) or a time.

        Args:
            position: One of these. A time is text such as "2026-01-31T12:00" or "15m", which is 15 minutes ago, or a
                datetime; without a zone it is local.

        Raises:
            InvalidValue: Not a number from 0 to the head, or no time.
            NotFound: No such label, epoch or step.
            WrongType: Nothing of all this.
        """
        found, head = resolve_position(self, position), self.head
        if not 0 <= found <= head:
            raise InvalidValue(
                f"cannot go to seq {position!r} of run {self.name!r}: its log ends at {head}; "
                f"pass a seq from 0 to {head}"
            )
        return found

    def events(
        self,
        start: Position = 1,
        stop: Position | None = None,
        variable: Any = None,
        kind: str | type[e.Event] | None = None,
    ) -> Iterator[Record]:
        """Return an iterator over events, oldest first, read lazily block by block.

        Args:
            start: First seq.
            stop: Last seq, included; None for the head at this moment.
            variable: Only events of this variable (a Variable, its path, or its name where unique).
            kind: Only events of this class, or of the class of this name.

        Raises:
            InvalidValue: A seq that is not there, or an unknown kind.
            NotFound: No such variable.
        """
        reader = self.reader()
        head = self.readable(reader)
        if isinstance(start, int) and start > max(1, self.head):
            raise InvalidValue(
                f"cannot go to seq {start} of run {self.name!r}: its log ends at {self.head}; pass a seq from 0 to "
                f"{self.head}, or wait for what comes with run.follow({start}, timeout=...)"
            )
        first = max(1, self.seq(start)) if head else 1
        last = head if stop is None else min(self.seq(stop), head)
        wanted = _kind(kind)
        if variable is None:
            found = reader.events(first, last)
        else:
            found = _concerning(reader, self.at(reader.head()), variable, first, last)
        return (Record(seq, event) for seq, event in found if wanted is None or isinstance(event, wanted))

    def follow(self, from_seq: Position = 1, timeout: float | None = None) -> Iterator[Record]:
        """Yield events from `from_seq` on, then wait for more: nothing skipped, doubled or reordered.

        Only durable events are seen. Works while another process, or this one, writes the run.

        Args:
            from_seq: Seq to begin at, 1 or more, or what stands for one; a number may lie beyond the head.
            timeout: Stop after this many seconds without a new event; None waits for ever.
        """
        first = resolve_position(self, from_seq)
        if first < 1 and isinstance(from_seq, int):
            raise InvalidValue(f"cannot follow run {self.name!r} from seq {from_seq}: the first event is 1")
        self.settle()
        reader = self.store.reader(self.number)
        return (Record(seq, event) for seq, event in reader.follow(max(1, first), timeout))

    def at(self, seq: Position) -> State:
        """Return the state as of an event, an ordinary value. O(nearest snapshot + events after it).

        Raises:
            InvalidValue: A seq beyond the head or negative.
        """
        wanted = self.seq(seq)
        return self.reader().state_at(wanted)

    def history(self, variable: Any, pointer: str = "", start: Position = 1) -> History:
        """Return an iterator over every change of a variable, or of one place in it, oldest first.

        Args:
            variable: A Variable, its path, or its name where unique.
            pointer: JSON pointer into the value; `""` for the whole of it.
            start: Leave out changes before this seq.

        Raises:
            NotFound: No such variable, or it is no JSON pointer.
        """
        reader = self.reader()
        head = min(reader.head(), self.head)
        state = self.at(head)
        path = state.slot(variable_path(variable)).path
        parse_pointer(pointer)
        first = self.seq(start) if self.head else 0

        def find() -> Iterator[Change]:
            records = _concerning(reader, state, path, 1, head)
            restored = list(reader.restorations(reader.first_stored(), head))
            if restored:
                records = heapq.merge(records, restored, key=_seq_of)
            found = changes(records, pointer, state.sources)
            return (change for change in found if change.seq >= first)

        return History(self.name, path, pointer, find)

    @overload
    def cost(self, by: None = None, *, since_fork: bool = False) -> Spending: ...
    @overload
    def cost(self, by: str, *, since_fork: bool = False) -> dict[str, Spending]: ...
    def cost(self, by: str | None = None, *, since_fork: bool = False) -> Spending | dict[str, Spending]:
        """Return what the effects of this run cost: a fold over its log, O(n).

        Args:
            by: "variable", "candidate", "epoch", "model", "rollout" or "kind"; None for the total.
            since_fork: Leave out what was spent before this run was forked: its parent paid that.

        Returns:
            The total, or totals by key that sum to it.

        Raises:
            InvalidValue: An unknown `by`.
        """
        reader = self.reader()
        first = self.store.row(self.number).forked_at + 1 if since_fork else 0
        return costs(reader.events(reader.first_stored(), min(reader.head(), self.head)), by, first)

    def races(self, possible: bool = False) -> Races:
        """Return lost updates: writes based on a value that another rollout had meanwhile replaced. O(n).

        Code outside any rollout can be what was overwritten; whether it overwrites, the log does not tell: `unjudged`
        of what is returned counts its reads of what it then wrote.

        Args:
            possible: Also changes in place, through views, of what another rollout changed since the field was
                read; `certain` is False on them.
        """
        from eventcore.history.races import races

        reader = self.reader()
        first, head = reader.first_stored(), reader.head()
        return races(reader.events(first, head), reader.state_at(first - 1), possible)

    def export(
        self,
        path: str | os.PathLike[str],
        format: str | None = None,
        start: Position = 1,
        stop: Position | None = None,
    ) -> int:
        """Write events as a table, one row each (`exporting.COLUMNS`), and return how many. O(n), in little memory.

        Args:
            path: A file; `.jsonl` for JSON lines, `.parquet` for Parquet (needs pyarrow). It appears when complete.
            format: "jsonl" or "parquet", whatever the suffix.
            start: First seq.
            stop: Last seq, included; None for the head.

        Raises:
            InvalidValue: A suffix or format that is not known, or a seq that is not there.
            OSError: No file can be written there.
            Unavailable: pyarrow is not installed.
        """
        from eventcore.history.exporting import export

        reader = self.reader()
        last = reader.head() if stop is None else self.seq(stop)
        first = max(1, self.seq(start)) if self.head else 1
        return export(reader, path, format, max(first, reader.first_stored()), last)

    def blame(
        self,
        variable: Any,
        pointer: str = "",
        span: tuple[int, int] | str | None = None,
        at: Position | None = None,
    ) -> Blame:
        """Return who wrote a place of a variable: the event behind every word and every other part of it.

        Goes backwards through the variable's own events until all owners are found.

        Args:
            variable: A Variable, its path, or its name where unique.
            pointer: JSON pointer into the value; `""` for the whole of it.
            span: Only these characters of a text, (start, end), or the words themselves.
            at: As of which seq; None for the newest event.

        Raises:
            NotFound: No such variable, nothing at the pointer, or the words do not occur.
            InvalidValue: A seq that is not there, a span outside the text.
        """
        from eventcore.history.blame_view import blame

        return blame(self, variable_path(variable), pointer, span, None if at is None else self.seq(at))

    def why(self, variable: Any = None, at: Position | None = None) -> Why:
        """Return how trained variables came to what they hold, what else was tried, and what each step cost. O(n).

        Args:
            variable: A Variable, its path, or its name where unique; None for all that are trained.
            at: As of which seq; None for the newest event.

        Raises:
            NotFound: No such variable, or none that is trainable.
            InvalidValue: A seq that is not there.
        """
        from eventcore.history.why import why

        path = None if variable is None else variable_path(variable)
        return why(self, path, None if at is None else self.seq(at))

    def bisect(self, predicate: Predicate, start: Position = 1, stop: Position | None = None) -> Turn:
        """Return the first seq from which on a predicate of the state says what it says at the end.

        Folds at most ceil(log2 n) + 1 states of n.

        Args:
            predicate: Given a State; true or false, or None where it cannot be answered.
            start: The oldest state to ask about.
            stop: The newest; None for the head.

        Raises:
            NotFound: It never turns.
            InvalidValue: It raised, or a seq that is not there.
        """
        from eventcore.history.bisecting import Bisection

        last = self.head if stop is None else self.seq(stop)
        return Bisection(lambda seq: predicate(self.at(seq)), max(1, self.seq(start)), last).run()

    def labels(self, name: str | None = None) -> list[Labelled]:
        """Return how labels were set and moved, oldest first; `run.state.labels` is where they are now.

        Args:
            name: Only this label; None for all.
        """
        return moves(self, name)

    def in_doubt(self) -> list[Record]:
        """Return the calls that left and whose outcome is not recorded: they may have been paid. O(n)."""
        reader = self.reader()
        open_calls: dict[int, Record] = {}
        for seq, event in reader.events(reader.first_stored(), min(reader.head(), self.head)):
            if isinstance(event, e.EffectStarted) and event.kind not in MOMENTS:
                open_calls[seq] = Record(seq, event)
            elif isinstance(event, (e.EffectCompleted, e.EffectFailed, e.EffectReused)):
                open_calls.pop(event.cause, None)
        return list(open_calls.values())

    def diff(self, a: Position, b: Position, variable: Any = None, other: RunReader | None = None) -> Diff:
        """Return what differs between two seqs: variable, JSON pointer, before, after; words for long strings.

        Args:
            a: A seq of this run, or what stands for one.
            b: Another; of `other` if that is given.
            variable: Only this variable.
            other: A run to compare with, such as a fork; variables of one path are compared.

        Raises:
            InvalidValue: A seq that is not there.
            NotFound: No such variable in either state.
        """
        there = self if other is None else other
        path = None if variable is None else variable_path(variable)
        before, after = self.seq(a), there.seq(b)
        one, two = self.at(before), there.at(after)
        if path is not None:
            path = path_then(there, path, max(before, after), two, one)
        found = differences(one, two, path)
        return Diff(found, f"{self.name}@{before}", f"{there.name}@{after}")

    def plot(self, names: Sequence[str] | None = None, by: str | None = None, axes: Any = None) -> Any:
        """Draw the learning curve and return matplotlib's axes. Needs matplotlib.

        Args:
            names: Which values of the logs of epochs or batches; None for the rewards.
            by: "epoch" or "batch"; None for epochs, or batches when no epoch has ended.
            axes: Axes to draw into, to lay several runs over each other; None for new ones.

        Raises:
            NotFound: Nothing has ended yet, or a name that is not in the logs.
            Unavailable: matplotlib is not installed.
        """
        from eventcore.history.plotting import plot

        return plot(self, names, by, axes)

    def _repr_html_(self) -> str:
        from eventcore.history.html import run_html

        return run_html(self)


def _concerning(
    reader: Reader, state: State, variable: Any, first: int, last: int
) -> Iterator[tuple[int, e.Event]]:
    numbers = state.numbers(variable_path(variable))
    parts = [reader.concerning(number, first, last) for number in numbers]
    # An object whose place was taken may still be read, so the parts can overlap.
    return parts[0] if len(parts) == 1 else heapq.merge(*parts, key=_seq_of)


def _seq_of(record: tuple[int, e.Event]) -> int:
    return record[0]


def variable_path(variable: Any) -> str:
    """Return the path of a Variable, or the string itself."""
    path = getattr(variable, "path", variable)
    if not isinstance(path, str):
        raise NotFound(f"cannot find a variable by {variable!r}: pass a Variable, its path or its name")
    return path


def _kind(kind: str | type[e.Event] | None) -> type[e.Event] | None:
    if kind is None or isinstance(kind, type):
        return kind
    if kind not in e.KINDS:
        raise InvalidValue(f"cannot filter by kind {kind!r}: the kinds are {', '.join(sorted(e.KINDS))}")
    return e.KINDS[kind]
