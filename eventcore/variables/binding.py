"""The tie between a live variable's containers and the run they live in.

Views point here, not at the Variable, so a run that holds the values keeps no module alive. The binding
carries a view's change to the variable and watches what views cannot see: C code that changes a list or
dict behind its methods (`heapq`, `list.append(view, x)`). A container that was handed out is compared, at
every barrier, with what the log says it must be.
"""

from __future__ import annotations

import sys
import weakref
from typing import TYPE_CHECKING, Any

from eventcore.errors import StaleView, UnrecordedMutation
from eventcore.history import events as e
from eventcore.history import patches as p
from eventcore.history.codec import decode_json, encoder
from eventcore.history.run import Run
from eventcore.history.slots import PredictionRecord, VariableState
from eventcore.history.state import State, fold
from eventcore.variables.views import RecordingDict, RecordingList, wrap

if TYPE_CHECKING:
    from eventcore.variables.variable import Variable

View = RecordingDict | RecordingList
_ALWAYS_FITS = {p.APPEND, p.EXTEND, p.MERGE, p.CLEAR}
"""What can be done to a field's own container whatever is in it."""


class Exposure:
    """A field whose container was handed out: what it was then, and the events that changed it since."""

    __slots__ = ("_events", "_limit", "_number", "_state", "baseline")

    def __init__(self, number: int, baseline: bytes) -> None:
        self.baseline = baseline
        self._number = number
        self._events: list[e.Event] = []
        self._limit = max(1024, len(baseline) // 64)
        self._state: State | None = None

    def note(self, field: str, event: e.Event) -> None:
        """Take note of a recorded change; folded into the baseline now and then, so that memory stays bounded."""
        if self._state is not None:
            fold(self._state, [event])
            return
        self._events.append(event)
        if len(self._events) >= self._limit:
            self.baseline = self.expected(field)
            self._events = []
            self._limit = max(1024, len(self.baseline) // 64)

    def expected(self, field: str) -> bytes:
        """Return what the field must be now, as MessagePack."""
        if self._state is None and not self._events:
            return self.baseline
        state = self._state or self._folded(field)
        return encoder.encode(state.slot(self._number).value.get(field))

    def _folded(self, field: str) -> State:
        state = State()
        state.only(self._number, {field: decode_json(self.baseline)})
        return fold(state, self._events)

    def fits(self, view: View, path: list[str | int], op: int, args: list[Any]) -> bool:
        """Whether the log has a container like `view` at a path, so that a change of it can be folded."""
        if self._state is None:
            self._state, self._events = self._folded(str(path[0])), []
        try:
            place = self._state.slot(self._number).container(path)
        except (LookupError, TypeError):
            return False
        if not isinstance(place, dict if isinstance(view, dict) else list) or len(place) != len(view):
            return False
        return not (op == p.DELETE and isinstance(place, dict)) or args[0] in place


class Binding:
    """Ties one variable's value to its slot in a run's live state.

    Attributes:
        path: Path of the variable.
        root: The whole value.
        slot: Where it lives in the live state.
        run: The run it lives in.
        exposed: The fields whose containers were handed out.
    """

    def __init__(self, variable: Variable, path: str, run: Run, slot: VariableState) -> None:
        self._variable = weakref.ref(variable)
        self.exposed: dict[str, Exposure] = {}
        self.path = path
        self.run = run
        self.slot = slot
        self.root: RecordingDict = wrap(slot.value, self, None)
        self._attach(run, slot)

    def _attach(self, run: Run, slot: VariableState) -> None:
        self.run, self.slot = run, slot
        slot.value = self.root
        slot.wrap = self._wrap

    def _wrap(self, value: Any, container: Any) -> Any:
        return wrap(value, self, container)

    def move(self, run: Run, slot: VariableState) -> None:
        """Live in another run from now on, with the same containers; the old run keeps a plain copy."""
        old = self.slot
        self.run.guards.pop(id(self), None)
        old.wrap, old.value = None, settled(self.root)
        self._attach(run, slot)
        for field in ("current_predictions", "predictions"):
            for record in self.root.get(field, ()):
                if isinstance(record, RecordingDict):
                    record.rollout = None
        exposed, self.exposed = list(self.exposed), {}
        for field in exposed:
            if field in self.root:
                self.expose(field)

    def patch(self, view: View, op: int, args: list[Any]) -> None:
        """Carry a view's change to its variable.

        Raises:
            StaleView: The variable is gone.
        """
        variable = self._variable()
        if variable is None:
            raise StaleView(
                f"cannot change a container of variable {self.path!r}: the variable object is gone; "
                "keep its module while you use its values"
            )
        variable.patch(view, op, args)

    def expose(self, field: str) -> None:
        """Watch a field from now on: its container was handed out."""
        if field not in self.exposed:
            self.exposed[field] = Exposure(self.slot.number, encoder.encode(self.root[field]))
            self.run.guards[id(self)] = self

    def require_fit(self, view: View, path: list[str | int], op: int, args: list[Any]) -> None:
        """Refuse a change that the log could not be folded with, because something went behind the views before.

        Raises:
            UnrecordedMutation: The container is not the one the log knows; the log's value is restored.
        """
        if not path or (len(path) == 1 and (op in _ALWAYS_FITS or (op == p.SET and isinstance(view, dict)))):
            return
        exposure = self.exposed.get(str(path[0]))
        if exposure is not None and not exposure.fits(view, path, op, args):
            self.check()

    def intact(self) -> bool:
        """Whether everything handed out is what was noted, so that a snapshot may be taken of it."""
        return not self.run.live.has(self.slot.number) or all(
            _encoded(self.root.get(field)) == exposure.expected(field)
            for field, exposure in list(self.exposed.items())
        )

    def note(self, event: e.Event, fields: Any) -> None:
        """Take note of a change of some fields (None: of all) that is about to be recorded."""
        # A copy: another thread's barrier may set the table right meanwhile. The barrier asks the log in the end.
        for field, exposure in list(self.exposed.items()):
            if fields is None or field in fields:
                exposure.note(field, event)

    def expose_anew(self) -> None:
        """Take what is handed out as it is now: a step of training moved records between fields."""
        for field in list(self.exposed):
            self.exposed[field] = Exposure(self.slot.number, encoder.encode(self.root[field]))

    def check(self) -> None:
        """Compare what was handed out with the log: called at every barrier.

        Raises:
            UnrecordedMutation: Something changed without an event; the log's value is restored.
        """
        with self.run.lock:  # another thread may be changing what is compared here
            wrong = self._settle() if self.run.live.has(self.slot.number) else []
            # No local name may hold a view here: it would count as somebody else's reference.
            for field in list(self.exposed):
                if self.run.live.has(self.slot.number) and _is_held(self.root, field):
                    self.exposed[field] = Exposure(self.slot.number, encoder.encode(self.root[field]))
                else:
                    del self.exposed[field]
            if not self.exposed:
                self.run.guards.pop(id(self), None)
        if wrong:
            raise UnrecordedMutation(
                f"cannot account for a change of variable {self.path!r}, field{'s' * (len(wrong) > 1)} "
                f"{', '.join(map(repr, wrong))}: a container was changed by code that bypasses its methods "
                "(heapq, list.append(view, x)); the value the log has was restored; "
                "work on a copy and assign it: values = state.get(field).copy(); …; state.update({field: values})"
            )

    def _settle(self) -> list[str]:
        """Give fields the values the log says they have; return those that had others.

        The log is asked, not only what was noted: an interrupt may fall between a change and its being noted.
        """
        suspects = [
            field
            for field, exposure in list(self.exposed.items())
            if _encoded(self.root.get(field)) != exposure.expected(field)
        ]
        if not suspects:
            return []
        truth = self.run.folded().slot(self.slot.number).value
        wrong = [field for field in suspects if _encoded(self.root.get(field)) != _encoded(truth.get(field))]
        self.slot.mend(self.root, {**self.root, **{field: truth[field] for field in wrong}})
        return wrong


def _encoded(value: Any) -> bytes | None:
    try:
        return encoder.encode(value)
    except (TypeError, ValueError, OverflowError, RecursionError):
        return None  # something that is no JSON got in


def settled(value: Any) -> Any:
    """Return a plain copy of live values in which records remember their rollout."""
    if isinstance(value, RecordingDict):
        copied = {key: settled(item) for key, item in dict.items(value)}
        if value.rollout is None:
            return copied
        record = PredictionRecord(copied)
        record.rollout = value.rollout
        return record
    if isinstance(value, list):
        return [settled(item) for item in list.__iter__(value)]
    return value


def _is_held(root: RecordingDict, field: str) -> bool:
    if not isinstance(dict.get(root, field), (RecordingDict, RecordingList)):
        return False
    return held_elsewhere(dict.__getitem__(root, field))


def held_elsewhere(view: View, overhead: int | None = None) -> bool:
    """Whether anything but the state itself still refers to a view or to one inside it.

    Its container holds one reference and each of its inner containers one; `overhead` more are this call's.
    """
    places: Any = list(dict.keys(view)) if isinstance(view, dict) else range(len(view))
    get: Any = dict.__getitem__ if isinstance(view, dict) else list.__getitem__
    inner = 0
    for place in places:
        if isinstance(get(view, place), (RecordingDict, RecordingList)):
            inner += 1
            if held_elsewhere(get(view, place), overhead):
                return True
    return sys.getrefcount(view) > inner + (_overhead if overhead is None else overhead)


def _measure_overhead() -> int:
    """Find what `getrefcount` says of a view nobody else holds; it differs between Pythons."""
    outer = RecordingList()
    list.append(outer, RecordingList())
    overhead = 0
    while held_elsewhere(list.__getitem__(outer, 0), overhead):
        overhead += 1
    return overhead


_overhead = _measure_overhead()
