"""Events and histories for property tests: single events of any kind, and sequences of them that fold.

`events` knows the vocabulary by its annotations, so a new event is drawn from the day it exists. `histories` keeps
a state while it draws, so each event fits what stands before it; which events were possible is decided here, and
what they do is `apply`'s business alone.
"""

from __future__ import annotations

import types
import typing
from collections.abc import Callable, Iterable
from typing import Any, cast

from hypothesis import strategies as st

from eventcore.errors import InvalidValue
from eventcore.history import events as e
from eventcore.history import patches as p
from eventcore.history.state import State, apply, encode_state, fold
from eventcore.models.data_model import DataModel
from eventcore.models.trainable import Trainable
from eventcore.testing.schema_strategies import anything, text

Kinds = Iterable[str] | None
Draw = Callable[[st.SearchStrategy[Any]], Any]


class Notes(DataModel):
    """What a variable of a drawn history holds when no optimizer touches it."""

    count: int = 0
    lines: list[Any] = []  # noqa: RUF012 - a data model copies its defaults
    facts: dict[str, Any] = {}  # noqa: RUF012


class Skill(Trainable):
    """What a trained variable of a drawn history holds."""

    word: str = "start"


def events(kinds: Kinds = None) -> st.SearchStrategy[e.Event]:
    """Draw single events with fields of the right types; they need not fit any state.

    Args:
        kinds: Names of event classes; None for all of the vocabulary.

    Raises:
        InvalidValue: There is no event of such a name, or none was named.
    """
    if isinstance(kinds, str) or (kinds is not None and not isinstance(kinds, Iterable)):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise InvalidValue(f"cannot draw events of {kinds!r}: pass a list of names, such as [{'LabelSet'!r}]")
    names = list(e.KINDS) if kinds is None else list(kinds)
    if not names:
        raise InvalidValue("cannot draw events of no kind: name some, or leave `kinds` out for all")
    unknown = [name for name in names if not isinstance(name, str) or name not in e.KINDS]  # pyright: ignore[reportUnnecessaryIsInstance]
    if unknown:
        raise InvalidValue(f"cannot draw events of kind {unknown[0]!r}: the kinds are {', '.join(e.KINDS)}")
    return st.one_of([_of_event(e.KINDS[name]) for name in names])


def _of_event(cls: type[e.Event]) -> st.SearchStrategy[e.Event]:
    hints = typing.get_type_hints(cls, dict(vars(e)))
    return st.builds(cls, **{name: _of_type(hints[name]) for name in cls.__struct_fields__})


_SIMPLE: dict[Any, st.SearchStrategy[Any]] = {
    int: st.integers(-(2**63), 2**63 - 1),
    float: st.floats(allow_nan=False, allow_infinity=False),
    bool: st.booleans(),
    str: text,
    bytes: st.binary(max_size=12),
    type(None): st.none(),
    Any: anything,
}


def _of_type(kind: Any) -> st.SearchStrategy[Any]:
    if kind in _SIMPLE:
        return _SIMPLE[kind]
    origin, inner = typing.get_origin(kind), typing.get_args(kind)
    if origin in (types.UnionType, typing.Union):
        return st.one_of([_of_type(part) for part in inner])
    if origin is list:
        return st.lists(_of_type(inner[0]), max_size=3)
    if origin is tuple:
        return st.tuples(*[_of_type(part) for part in inner])
    if origin is dict:
        return st.dictionaries(_of_type(inner[0]), _of_type(inner[1]), max_size=3)
    raise InvalidValue(f"cannot draw a value of {kind!r}: no event field is of this type yet")


def histories(min_size: int = 1, max_size: int = 30) -> st.SearchStrategy[list[e.Event]]:
    """Draw the events of a run from its start, oldest first: they fold, and a run could have recorded them.

    Every kind of event appears: trainings that end and such that do not, calls without an outcome as a crash leaves
    them, states that were restored.

    Args:
        min_size: Fewest events after the run's start.
        max_size: Most events after the run's start.

    Raises:
        InvalidValue: No history has such a size.
    """
    if not (type(min_size) is type(max_size) is int and 0 <= min_size <= max_size):
        raise InvalidValue(
            f"cannot draw histories of {min_size!r} to {max_size!r} events: pass 0 <= min_size <= max_size, both ints"
        )
    return _histories(min_size, max_size)


@st.composite
def _histories(draw: st.DrawFn, least: int, most: int) -> list[e.Event]:
    return _History(draw).events(least, most)


class _History:
    """Draws one history, keeping the state that the events so far fold to."""

    def __init__(self, draw: Draw) -> None:
        self._draw = draw
        self._state = State()
        self._events: list[e.Event] = []
        self._time = 1_700_000_000_000_000
        self._room = 0
        # What has begun, a training, an epoch, a batch: its numbers, and the seq of the event that says so.
        self._training: list[tuple[tuple[int, ...], int]] = []
        self._counted = [0, 0]  # epochs of the training, batches of the epoch

    def events(self, least: int, most: int) -> list[e.Event]:
        self._add(e.RunStarted, None, self._draw(st.integers(0, 2**31)), {"resumed": False})
        self._room = most
        # A step is drawn by a name that means the same wherever it stands, and whether another follows is drawn with
        # it: so a failing history can be shortened by leaving steps out. One that is not possible yet is left out here.
        while self._room > 0 and self._draw(_MORE):
            step, ready, size = _STEPS[self._draw(_PLAN)]
            if size <= self._room and ready(self):
                step(self)
        while len(self._events) <= least:
            able = [name for name, (_, ready, size) in _STEPS.items() if size <= self._room and ready(self)]
            _STEPS[self._draw(st.sampled_from(able))][0](self)
        return self._events

    def _add(self, kind: Callable[..., e.Event], rollout: str | None, *fields: Any, cause: int = 0) -> None:
        self._time += 1000
        event = kind(self._time, rollout, cause, *fields)
        apply(self._state, event)
        self._events.append(event)
        self._room -= 1

    def _slots(self, model: type[Any]) -> list[Any]:
        return [slot for slot in self._state.live_slots() if slot.schema["title"] == model.__name__]

    def has_notes(self) -> bool:
        return bool(self._slots(Notes))

    def has_skill(self) -> bool:
        return bool(self._slots(Skill))

    def has_predictions(self) -> bool:
        return any(slot.value["current_predictions"] for slot in self._slots(Skill))

    def has_candidates(self) -> bool:
        return any(slot.value["candidates"] for slot in self._slots(Skill))

    def has_best(self) -> bool:
        return any(slot.value["best_candidates"] for slot in self._slots(Skill))

    def _one(self, model: type[Any]) -> Any:
        return self._draw(st.sampled_from(self._slots(model)))

    def declare(self) -> None:
        model = self._draw(st.sampled_from([Notes, Skill]))
        name = self._draw(st.sampled_from(["a", "b", "c", "module/d"]))
        number, trained = self._state.next_number, model is Skill
        self._add(
            e.VariableDeclared, None, number, name, model.get_schema(), model().get_json(), trained, trained,
            None, None, "", -1,
        )  # fmt: skip

    def label(self) -> None:
        self._add(e.LabelSet, None, self._draw(text), self._draw(st.integers(1, len(self._events))))

    def lock(self) -> None:
        self._add(e.TrackerLocked, None, self._draw(st.sampled_from(["a", "b", "module"])))

    def metric(self) -> None:
        self._add(e.MetricLogged, None, "score", self._draw(st.floats(0, 1)))

    def outside(self) -> None:
        for slot in self._slots(Notes)[:1]:
            value = self._draw(st.integers(0, 9))
            self._add(e.EditedFromOutside, None, slot.number, ["count"], value, "by hand")

    def update(self) -> None:
        changes = self._draw(
            st.fixed_dictionaries(
                {},
                optional={
                    "count": st.integers(-(2**63), 2**63 - 1),
                    "lines": st.lists(anything, max_size=3),
                    "facts": st.dictionaries(text, anything, max_size=3),
                },
            )
        )
        self._add(e.VariableUpdated, None, self._one(Notes).number, changes, -1)

    def assign(self) -> None:
        value = {"count": self._draw(st.integers(0, 9)), "lines": [], "facts": {}}
        self._add(e.VariableAssigned, None, self._one(Notes).number, value, -1)

    def read(self) -> None:
        self._add(e.FieldRead, None, self._one(Notes).number, "count")

    def patch(self) -> None:
        slot = self._one(Notes)
        if self._draw(st.booleans()):
            key, value = self._draw(text), self._draw(anything)
            self._add(e.ValuePatched, None, slot.number, ["facts"], p.SET, [key, value], -1)
        elif slot.value["lines"] and self._draw(st.booleans()):
            self._add(e.ValuePatched, None, slot.number, ["lines"], p.DELETE, [0], -1)
        else:
            self._add(e.ValuePatched, None, slot.number, ["lines"], p.APPEND, [self._draw(anything)], -1)

    def predict(self) -> None:
        record = {"inputs": {"n": self._draw(st.integers(0, 9))}, "outputs": {}, "reward": None}
        self._add(e.PredictionAppended, self._rollout(), self._one(Skill).number, record, -1)

    def _rollout(self) -> str:
        return f"training:0/{self._draw(st.integers(0, 5)):016x}/0"

    def reward(self) -> None:
        slot = self._one(Skill)
        owners = {getattr(record, "rollout", None) for record in slot.value["current_predictions"]}
        rewards = [(owner, self._draw(st.floats(0, 1))) for owner in sorted(filter(None, owners))]
        self._add(e.RewardsAttributed, None, slot.number, rewards)
        self._add(e.PredictionsArchived, None, slot.number)

    def close(self) -> None:
        slot = self._one(Skill)
        count = len(slot.value["current_predictions"])
        self._add(e.PredictionsClosed, None, slot.number, count, "left over")

    def propose(self) -> None:
        fields = {"word": self._draw(text)}
        self._add(e.CandidateProposed, None, self._one(Skill).number, fields, "drawn", [], [])

    def candidate(self) -> None:
        self._add(e.CandidateAdded, None, self._one(Skill).number, self._draw(st.floats(0, 1)), 1, -1)

    def choose(self) -> None:
        slot = self._draw(st.sampled_from([slot for slot in self._slots(Skill) if slot.value["candidates"]]))
        index = self._draw(st.integers(0, len(slot.value["candidates"]) - 1))
        self._add(e.CandidateChosen, None, slot.number, "candidates", index, "drawn")

    def select(self) -> None:
        slot = self._one(Skill)
        size = len(slot.value["best_candidates"]) + len(slot.value["candidates"])
        kept = self._draw(st.lists(st.integers(0, size - 1), max_size=3, unique=True)) if size else []
        self._add(e.PopulationSelected, None, slot.number, kept)

    def clear(self) -> None:
        self._add(e.PredictionsCleared, None, self._one(Skill).number)

    def remember(self) -> None:
        slot = self._draw(
            st.sampled_from([slot for slot in self._slots(Skill) if slot.value["best_candidates"]])
        )
        index = self._draw(st.integers(0, len(slot.value["best_candidates"]) - 1))
        self._add(e.BestRemembered, None, slot.number, index)

    def freeze(self) -> None:
        flag = self._draw(st.booleans())
        self._add(e.TrainabilityChanged, None, self._one(Skill).number, flag, flag, "drawn")

    def fail(self) -> None:
        self._add(e.RolloutFailed, self._rollout(), "ValueError", self._draw(text), "call")

    def ask(self) -> None:
        rollout, number = self._rollout(), self._draw(st.integers(0, 3))
        asked = {"model": "drawn", "messages": [{"role": "user", "content": str(number)}]}
        self._add(e.EffectStarted, rollout, "language_model", f"{number:032x}", 0, asked, None, -1)
        began = len(self._events)
        outcome = self._draw(st.sampled_from(["completed", "failed", "reused", "none"]))
        if outcome == "failed":
            self._add(e.EffectFailed, rollout, "Timeout", "no answer", 1000, 1, cause=began)
        elif outcome != "none":  # without one, the process was killed during the call
            answer = {"content": self._draw(text)}
            told = rollout, answer, "drawn", 3, 2, 0.0
            if outcome == "reused":
                self._add(e.EffectReused, *told, "another", self._draw(st.integers(1, 99)), cause=began)
            else:
                self._add(e.EffectCompleted, *told, 1000, 1, cause=began)

    def program(self) -> None:
        name = self._draw(st.sampled_from(["program", "other"]))
        self._add(e.ProgramDeclared, None, name, {"class_name": "Drawn", "note": self._draw(text)})

    def source(self) -> None:
        line = f"drawn.py:{self._draw(st.integers(1, 99))} in work"
        self._add(e.SourceSeen, None, len(self._state.sources), line)

    def data(self) -> None:
        role = self._draw(st.sampled_from(["training", "validation", "test", "prediction"]))
        size = self._draw(st.integers(-1, 9))
        self._add(e.DataSetSeen, None, role, size, "" if size < 0 else f"{size:032x}")

    def score(self) -> None:
        phase = self._draw(st.sampled_from(["training", "minibatch", "validation", "test"]))
        rewards = self._draw(st.lists(st.none() | st.floats(0, 1), min_size=1, max_size=3))
        scored = [(f"{phase}:0/{place:016x}/0", reward) for place, reward in enumerate(rewards)]
        self._add(e.RolloutsScored, None, phase, scored, cause=self._around())

    def _around(self) -> int:
        """The seq of what has begun last and has not ended, 0 for none."""
        return self._training[-1][1] if self._training else 0

    def begin(self) -> None:
        epochs, batches = self._counted
        cause = self._around()
        numbers: tuple[int, ...] = ()
        if not self._training:
            self._counted = [0, 0]
            self._add(e.TrainBegan, None, {"epochs": self._draw(st.integers(1, 3))})
        elif len(self._training) == 1:
            self._counted, numbers = [epochs + 1, 0], (epochs,)
            self._add(e.EpochBegan, None, *numbers, cause=cause)
        else:
            self._counted, numbers = [epochs, batches + 1], (*self._training[-1][0], batches)
            self._add(e.BatchBegan, None, *numbers, self._draw(st.integers(1, 8)), cause=cause)
        self._training.append((numbers, len(self._events)))

    def end(self) -> None:
        ended, began = self._training.pop()
        if not ended:
            reason = self._draw(st.sampled_from(["done", "stopped", "failed"]))
            self._add(e.TrainEnded, None, reason, cause=began)
            return
        logs = {"reward": self._draw(st.floats(0, 1))}
        self._add(e.BatchEnded if len(ended) == 2 else e.EpochEnded, None, *ended, logs, cause=began)

    def may_begin(self) -> bool:
        return len(self._training) < 3

    def may_end(self) -> bool:
        return bool(self._training)

    def restore(self) -> None:
        back_to = self._draw(st.integers(1, len(self._events)))
        state = fold(State(), self._events[:back_to])
        self._training = []  # the process that was training is gone
        self._add(e.StateRestored, None, back_to, encode_state(state))
        first = cast("e.RunStarted", self._events[0])
        self._add(e.RunStarted, None, first.seed, {"resumed": True})


Step = tuple[Callable[[_History], None], Callable[[_History], bool], int]
"""What a step does, whether it is possible, and how many events it adds at most."""


def _always(history: _History) -> bool:
    return True


_STEPS: dict[str, Step] = {
    "declare": (_History.declare, _always, 1),
    "label": (_History.label, _always, 1),
    "lock": (_History.lock, _always, 1),
    "metric": (_History.metric, _always, 1),
    "ask": (_History.ask, _always, 2),
    "fail": (_History.fail, _always, 1),
    "program": (_History.program, _always, 1),
    "source": (_History.source, _always, 1),
    "data": (_History.data, _always, 1),
    "score": (_History.score, _always, 1),
    "begin": (_History.begin, _History.may_begin, 1),
    "end": (_History.end, _History.may_end, 1),
    "restore": (_History.restore, _always, 2),
    "outside": (_History.outside, _History.has_notes, 1),
    "update": (_History.update, _History.has_notes, 1),
    "patch": (_History.patch, _History.has_notes, 1),
    "assign": (_History.assign, _History.has_notes, 1),
    "read": (_History.read, _History.has_notes, 1),
    "predict": (_History.predict, _History.has_skill, 1),
    "propose": (_History.propose, _History.has_skill, 1),
    "candidate": (_History.candidate, _History.has_skill, 1),
    "freeze": (_History.freeze, _History.has_skill, 1),
    "clear": (_History.clear, _History.has_skill, 1),
    "reward": (_History.reward, _History.has_predictions, 2),
    "close": (_History.close, _History.has_predictions, 1),
    "choose": (_History.choose, _History.has_candidates, 1),
    "select": (_History.select, _History.has_candidates, 1),
    "remember": (_History.remember, _History.has_best, 1),
}
_OFTEN = (
    *("declare", "update", "patch", "predict", "predict", "candidate", "candidate", "reward", "reward"),
    *("choose", "select", "remember", "propose", "begin", "begin", "end"),
)
_PLAN = st.sampled_from((*_STEPS, *_OFTEN))
_MORE = st.integers(0, 79)
"""Zero ends a history."""
