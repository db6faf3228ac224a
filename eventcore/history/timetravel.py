"""Looking back: what changed when, and what differs between two states.

Pure functions over states and events; `Run` gives them names. Places inside a value are JSON pointers
(RFC 6901). Long strings are compared word by word.
"""

from __future__ import annotations

import difflib
import operator
import re
from collections.abc import Callable, Collection, Iterator, Sequence
from typing import Any

import msgspec

from eventcore.errors import NotFound
from eventcore.history import events as e
from eventcore.history.codec import encoder
from eventcore.history.patches import plain
from eventcore.history.population import BOOKKEEPING
from eventcore.history.slots import PREDICTIONS
from eventcore.history.state import State, apply

LONG_STRING = 40
"""Strings of at least this many characters are compared word by word."""

EXACT_WORDS = 1000
"""Up to this many words and spaces that are not common to the beginning or end are matched exactly."""

_MISSING = object()


_WITH_ORIGIN = (e.VariableDeclared, e.VariableAssigned)


class Change(msgspec.Struct, frozen=True, gc=False):
    """One event that changed a value.

    Attributes:
        seq: Its seq.
        time: Microseconds since 1970.
        kind: Name of the event's class.
        before: Value at the pointer before, None if there was none: see `existed`.
        after: Value at the pointer after, None if there is none: see `exists`.
        rollout: The rollout that did it, or None.
        cause: Seq of the causing event, 0 for none.
        source: The user's source line, or None.
        origin: Where the value came from when it was declared or loaded, or None.
        existed: Whether anything was at the pointer before; null is a value.
        exists: Whether anything is there after; False when it was deleted.
    """

    seq: int
    time: int
    kind: str
    before: Any
    after: Any
    rollout: str | None
    cause: int
    source: str | None
    origin: str | None
    existed: bool = True
    exists: bool = True


class Word(msgspec.Struct, frozen=True):
    """A stretch of text in a comparison: `op` is "=", "-" (only before) or "+" (only after)."""

    op: str
    text: str


class Difference(msgspec.Struct, frozen=True):
    """One place where two states differ.

    Attributes:
        variable: Path of the variable.
        pointer: JSON pointer into its value; `""` for a whole variable that is new or gone.
        op: "add", "remove" or "replace".
        before: Value before, None for "add".
        after: Value after, None for "remove".
        words: For long strings, the text as equal, removed and added stretches; else empty.
    """

    variable: str
    pointer: str
    op: str
    before: Any
    after: Any
    words: tuple[Word, ...] = ()


def parse_pointer(pointer: str) -> list[str]:
    """Split a JSON pointer into its unescaped steps.

    Raises:
        NotFound: It does not begin with a slash.
    """
    if pointer == "":
        return []
    if not pointer.startswith("/"):
        raise NotFound(f"cannot follow JSON pointer {pointer!r}: it must be empty or begin with '/'")
    return [step.replace("~1", "/").replace("~0", "~") for step in pointer[1:].split("/")]


def join_pointer(pointer: str, step: str | int) -> str:
    """Append one step to a JSON pointer, escaped."""
    return f"{pointer}/{str(step).replace('~', '~0').replace('/', '~1')}"


def lookup(value: Any, steps: list[str], default: Any = None) -> Any:
    """Return what lies at the steps of a pointer, `default` if nothing does."""
    for step in steps:
        if isinstance(value, dict) and step in value:
            value = value[step]
        elif isinstance(value, list) and step.isdecimal() and int(step) < len(value):
            value = value[int(step)]
        else:
            return default
    return value


def astray(value: Any, pointer: str) -> str | None:
    """Say at which step a pointer leads nowhere in a value, and what is there; None if something lies there."""
    for step in parse_pointer(pointer):
        if isinstance(value, dict) and step in value:
            value = value[step]
        elif isinstance(value, list) and step.isdecimal() and int(step) < len(value):
            value = value[int(step)]
        elif isinstance(value, dict):
            near = difflib.get_close_matches(step, value, 2)
            hint = f"; did you mean {' or '.join(map(repr, near))}?" if near else ""
            return f"there is no {step!r}; there is: {', '.join(map(repr, value)) or 'nothing'}{hint}"
        elif isinstance(value, list):
            has = f"items 0 to {len(value) - 1}" if value else "no items"
            return f"there is no item {step!r}; the list has {has}"
        else:
            return f"there is no {step!r} in a value of type {type(value).__name__}"
    return None


def changes(records: Iterator[tuple[int, e.Event]], pointer: str, sources: Sequence[str]) -> Iterator[Change]:
    """Yield the changes among one variable's events, oldest first; reads and no-ops are left out.

    Events that restore a whole state may be among them.

    Values of neighbouring changes share what did not change between them. O(what an event touches) each.
    """
    steps = parse_pointer(pointer)
    state, seen = State(), _Seen()
    before: Any = None
    existed = False
    path, slot = "", None
    for seq, event in records:
        kind = type(event)
        if kind is e.FieldRead:
            continue
        apply(state, event)
        if kind is e.VariableDeclared or kind is e.StateRestored:
            path = getattr(event, "path", path)
            slot = state.slot(path) if path in state.variables else None
        touched = _touched(event)
        if steps and touched is not None and steps[0] not in touched:
            continue
        if slot is None:
            continue  # what declared it was taken back
        value = slot.value
        changed = seen.look_at(lookup(value, steps, _MISSING)) if steps else seen.look(value, touched)
        if not changed and (steps or kind is not e.VariableDeclared):
            continue
        after = seen.parts.get("") if steps else seen.parts.copy()
        exists = not steps or "" in seen.parts
        source: int = getattr(event, "source", -1)
        yield Change(
            seq, event.time, kind.__name__, before, after, event.rollout, event.cause,
            sources[source] if 0 <= source < len(sources) else None,
            getattr(event, "origin", None) if kind in _WITH_ORIGIN else None, existed, exists,
        )  # fmt: skip
        before, existed = after, exists


def _touched(event: e.Event) -> Collection[Any] | None:
    """Return the fields an event may have changed, None for all."""
    kind = type(event)
    if kind is e.VariableUpdated:
        return event.payload  # type: ignore[attr-defined, no-any-return]
    if isinstance(event, e.ValuePatched) and event.path:
        return event.path[:1]
    if kind is e.PredictionAppended:
        return (PREDICTIONS,)
    return None


class _Seen:
    """What a value was when it was last looked at, part by part: as text or bytes, to compare, and as plain copies.

    The parts are the fields of a whole value, or the one place a pointer leads to, under "".
    """

    def __init__(self) -> None:
        self._codes: dict[str, str | bytes] = {}
        self.parts: dict[str, Any] = {}

    def look(self, value: dict[str, Any], touched: Collection[Any] | None) -> bool:
        """Take note of a whole value, of which only `touched` may be new, and return whether it changed."""
        changed = False
        for field in value if touched is None else touched:
            part = value[field]
            code = part if type(part) is str else encoder.encode(part)
            if self._codes.get(field) != code:
                self._codes[field], self.parts[field] = code, part if code is part else plain(part)
                changed = True
        if touched is None and list(self.parts) != list(value):
            self._codes = {field: self._codes[field] for field in value}
            self.parts = {field: self.parts[field] for field in value}
            changed = True
        return changed

    def look_at(self, place: Any) -> bool:
        """Take note of a place in a value, `_MISSING` if nothing is there, and return whether it changed."""
        if place is not _MISSING:
            return self.look({"": place}, ("",))
        known = self._codes.pop("", None)
        self.parts.pop("", None)
        return known is not None


def differences(a: State, b: State, variable: str | None = None) -> list[Difference]:
    """Compare two states, variable by variable in order of declaration.

    Fields of a variable's own come before those training keeps in it: predictions, candidates, rewards.
    """
    found: list[Difference] = []
    paths = list(dict.fromkeys([*a.names(), *b.names()]))
    if variable is not None:
        paths = [(b if variable_known(b, variable) else a).slot(variable).path]
    before, after = a.variables, b.variables
    for path in paths:
        if path not in before:
            found.append(Difference(path, "", "add", None, after[path]))
        elif path not in after:
            found.append(Difference(path, "", "remove", before[path], None))
        else:
            found.extend(_compare(path, "", before[path], after[path]))
    return sorted(found, key=_is_bookkeeping)


def _is_bookkeeping(difference: Difference) -> bool:
    """Whether a place is one that training keeps its records in; examples are part of what is trained."""
    field = difference.pointer.split("/", 2)[1] if difference.pointer else ""
    return field in BOOKKEEPING and field != "examples"


def value_differences(a: Any, b: Any) -> list[Difference]:
    """Compare two JSON values."""
    return list(_compare("", "", a, b))


def variable_known(state: State, variable: str) -> bool:
    """Whether a path or unique name stands for a variable of a state."""
    try:
        state.slot(variable)
    except NotFound:
        return False
    return True


def _compare(path: str, pointer: str, a: Any, b: Any) -> Iterator[Difference]:
    if a is b:
        return  # neighbouring changes share what did not change
    if isinstance(a, dict) and isinstance(b, dict):
        for key in dict.fromkeys([*a, *b]):
            yield from _compare_place(
                path, join_pointer(pointer, key), a.get(key, _MISSING), b.get(key, _MISSING)
            )
    elif isinstance(a, list) and isinstance(b, list):
        yield from _compare_lists(path, pointer, a, b)
    elif not _same(a, b):
        words: tuple[Word, ...] = ()
        if isinstance(a, str) and isinstance(b, str) and max(len(a), len(b)) >= LONG_STRING:
            words = word_diff(a, b)
        yield Difference(path, pointer, "replace", a, b, words)


def _compare_place(path: str, pointer: str, a: Any, b: Any) -> Iterator[Difference]:
    if a is _MISSING:
        yield Difference(path, pointer, "add", None, b)
    elif b is _MISSING:
        yield Difference(path, pointer, "remove", a, None)
    else:
        yield from _compare(path, pointer, a, b)


def _compare_lists(path: str, pointer: str, a: list[Any], b: list[Any]) -> Iterator[Difference]:
    """Compare position by position after setting aside a common beginning and end.

    What is gone is told from its end, so that the differences can be applied one after the other.
    """
    start, end = _common(a, b, _same)
    middle_a, middle_b = a[start : len(a) - end], b[start : len(b) - end]
    both = min(len(middle_a), len(middle_b))
    for offset in range(both):
        yield from _compare(path, join_pointer(pointer, start + offset), middle_a[offset], middle_b[offset])
    for offset in range(len(middle_a) - 1, both - 1, -1):
        yield Difference(path, join_pointer(pointer, start + offset), "remove", middle_a[offset], None)
    for offset in range(both, len(middle_b)):
        yield Difference(path, join_pointer(pointer, start + offset), "add", None, middle_b[offset])


def _same(a: Any, b: Any) -> bool:
    return a is b or (type(a) is type(b) and encoder.encode(a) == encoder.encode(b))


def word_diff(a: str, b: str) -> tuple[Word, ...]:
    """Compare two texts word by word; joining "=" and "-" gives `a`, "=" and "+" gives `b`."""
    before, after = re.findall(r"\s+|[^\s]+", a), re.findall(r"\s+|[^\s]+", b)
    start, end = _common(before, after, operator.eq)
    words = [Word("=", "".join(before[:start]))] if start else []
    middle_a, middle_b = before[start : len(before) - end], after[start : len(after) - end]
    # Exact matching takes quadratic time and worse; frequent words of a long text are then left out of it.
    rough = max(len(middle_a), len(middle_b)) > EXACT_WORDS
    for op, i, j, k, m in difflib.SequenceMatcher(None, middle_a, middle_b, autojunk=rough).get_opcodes():
        if op == "equal":
            words.append(Word("=", "".join(middle_a[i:j])))
            continue
        if j > i:
            words.append(Word("-", "".join(middle_a[i:j])))
        if m > k:
            words.append(Word("+", "".join(middle_b[k:m])))
    if end:
        words.append(Word("=", "".join(before[len(before) - end :])))
    return tuple(words)


def _common(a: list[Any], b: list[Any], same: Callable[[Any, Any], bool]) -> tuple[int, int]:
    """How many items two lists have in common at the beginning, and how many of the others at the end."""
    shorter = min(len(a), len(b))
    start = 0
    while start < shorter and same(a[start], b[start]):
        start += 1
    end = 0
    while end < shorter - start and same(a[-1 - end], b[-1 - end]):
        end += 1
    return start, end
