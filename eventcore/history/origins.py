"""What lies behind an event that wrote something: the step of training, the model call, the rewards, the parents.

The causes in the log lead from an event to its batch, its epoch and its training. A model call is named only when
its answer has the words in question, and rewards only when they are of the records the optimizer went by: nothing
here guesses.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

import msgspec

from eventcore.history import events as e
from eventcore.history.alignment import all_words
from eventcore.history.reading import Reader
from eventcore.history.state import State

LOOK_BACK = 20_000
"""How many events before the one that wrote are searched for the call that gave the words."""


_BROUGHT = re.compile(r"from run '([^']*)' of (.*) at seq (\d+)$")
"""The note of a value that came from another run: its name, the store it is in, the seq."""


class Call(msgspec.Struct, frozen=True):
    """A call whose answer was written.

    Attributes:
        seq: Seq of its `EffectStarted`.
        answered: Seq of its `EffectCompleted`.
        kind: "language_model", "embedding", or the name of a user's effect.
        variable: Path of the variable whose module asked, or None.
        request: What was asked.
        answer: What came back.
        model: Which model answered.
        input_tokens: Tokens of the request.
        output_tokens: Tokens of the answer.
        cost: US dollars.
        source: The user's source line, or None.
    """

    seq: int
    answered: int
    kind: str
    variable: str | None
    request: dict[str, Any]
    answer: Any
    model: str
    input_tokens: int
    output_tokens: int
    cost: float
    source: str | None


class Parent(msgspec.Struct, frozen=True):
    """A candidate another was made of: the event that scored or proposed it.

    Attributes:
        seq: Its seq.
        kind: Name of its class.
        reward: Mean reward of that evaluation, None if it is none.
        count: Number of rollouts that is the mean of.
    """

    seq: int
    kind: str
    reward: float | None
    count: int


class Origin(msgspec.Struct, frozen=True):
    """An event that wrote something, and where in the program and in training it happened.

    Attributes:
        seq: Its seq, 0 for what is older than the log still has.
        time: Microseconds since 1970.
        kind: Name of the event's class.
        note: In words: how a candidate was made, where a value was loaded from, why it was edited.
        rollout: The rollout that did it, or None.
        cause: Seq of the causing event, 0 for none.
        source: The user's source line, or None.
        epoch: Epoch of training, None outside any.
        step: Batch of the epoch, None outside any.
        batch: Seq at which that batch, or else the epoch, began; 0 for none.
        began: Seq at which the epoch began; 0 for none.
        parents: Candidates it was made of.
        sources: Rollouts whose records went into it.
    """

    seq: int
    time: int
    kind: str
    note: str = ""
    rollout: str | None = None
    cause: int = 0
    source: str | None = None
    epoch: int | None = None
    step: int | None = None
    batch: int = 0
    began: int = 0
    parents: tuple[Parent, ...] = ()
    sources: tuple[str, ...] = ()


class Evidence(msgspec.Struct, frozen=True):
    """What an origin went by.

    Attributes:
        call: The model call whose answer has the words, or None.
        rewards: Pairs of rollout and reward the optimizer was shown, in the order of the log; of a prediction, its own.
    """

    call: Call | None
    rewards: tuple[tuple[str, float], ...]


UNKNOWN = Origin(0, 0, "", "older than the oldest event that was kept")


def gone_on(note: str) -> tuple[str, str, str] | None:
    """Return store, run and seq a value was brought from by the note of its origin; None if it was not brought."""
    brought = _BROUGHT.match(note)
    return None if brought is None else (brought[2], brought[1], brought[3])


class Origins:
    """Finds origins in one run.

    Args:
        reader: The run.
        state: A state of it that knows the names and source lines.
    """

    def __init__(self, reader: Reader, state: State) -> None:
        self._reader = reader
        self._state = state
        self._kept = reader.first_stored()
        self._seen: dict[int, e.Event] = {}

    def event(self, seq: int) -> e.Event | None:
        """Return one event, None if it is not there any more."""
        if seq < self._kept:
            return None
        if seq not in self._seen:
            self._seen[seq] = next(iter(self._reader.events_at([seq])))[1]
        return self._seen[seq]

    def find(self, seq: int) -> Origin:
        """Return the origin that an event is. O(length of its chain of causes)."""
        event = self.event(seq)
        if event is None:
            return UNKNOWN
        epoch, step, batch, began = self._step(event)
        return Origin(
            seq, event.time, type(event).__name__, _note(event), event.rollout, event.cause,
            self._source(event), epoch, step, batch, began,
            tuple(parent for seq in getattr(event, "parents", ()) for parent in self._parents(seq)),
            tuple(getattr(event, "sources", ())),
        )  # fmt: skip

    def _source(self, event: e.Event) -> str | None:
        number: int = getattr(event, "source", -1)
        lines = self._state.sources
        return lines[number] if 0 <= number < len(lines) else None

    def _step(self, event: e.Event) -> tuple[int | None, int | None, int, int]:
        """Return epoch, step, and the seqs at which the batch and the epoch began."""
        step, batch, cause = None, 0, event.cause
        while cause:
            behind = self.event(cause)
            if isinstance(behind, e.BatchBegan):
                step, batch = behind.step, cause
            if isinstance(behind, e.EpochBegan):
                return behind.epoch, step, batch or cause, cause
            if behind is None or behind.cause >= cause:
                break
            cause = behind.cause
        return None, step, batch, 0

    def _parents(self, seq: int) -> Iterable[Parent]:
        event = self.event(seq)
        if event is not None:
            yield Parent(
                seq, type(event).__name__, getattr(event, "reward", None), getattr(event, "count", 0)
            )

    # --- evidence ------------------------------------------------------------------------------

    def evidence(self, origin: Origin, written: Iterable[str] = ()) -> Evidence:
        """Return what an origin went by.

        Args:
            origin: It.
            written: Its words that are asked about; none for all it wrote.
        """
        event = self.event(origin.seq)
        if event is None:
            return Evidence(None, ())
        looked_for = set(written) or set(all_words(_payload(event)))
        if isinstance(event, e.PredictionAppended):  # what went in is no answer of a model's
            looked_for = set(all_words(event.record.get("outputs", event.record)))
        return Evidence(self._call(origin, looked_for), self._rewards(origin, event))

    def _call(self, origin: Origin, written: set[str]) -> Call | None:
        """Find the latest call before an event, in the same rollout and batch, whose answer has the words."""
        if not written or not (origin.cause or origin.rollout):
            return None
        low = max(self._kept, origin.batch, origin.seq - LOOK_BACK)
        high, size = origin.seq - 1, 64
        while high >= low:
            start = max(low, high - size + 1)
            for seq, event in reversed(list(self._reader.events(start, high))):
                if isinstance(event, e.EffectCompleted) and _says(event.answer, written):
                    started = self.event(event.cause)
                    if isinstance(started, e.EffectStarted) and started.rollout == origin.rollout:
                        return self._described(event.cause, started, seq, event)
            high, size = start - 1, size * 2
        return None

    def _described(self, seq: int, started: e.EffectStarted, answered: int, ended: e.EffectCompleted) -> Call:
        number = started.variable
        path = self._state.slot(number).path if number is not None and self._state.has(number) else None
        return Call(
            seq, answered, started.kind, path, started.request, ended.answer, ended.model,
            ended.input_tokens, ended.output_tokens, ended.cost, self._source(started),
        )  # fmt: skip

    def _rewards(self, origin: Origin, event: e.Event) -> tuple[tuple[str, float], ...]:
        """Return the rewards of the records a candidate was made from, or of the batch it was proposed after."""
        if isinstance(event, e.PredictionAppended):
            return self._reward_of(event, origin.seq)
        if not isinstance(event, e.CandidateProposed):
            return ()
        low = (origin.began if event.sources else origin.batch) or max(self._kept, origin.seq - LOOK_BACK)
        found: dict[str, float] = {}
        for _, other in self._reader.concerning(event.variable, low, origin.seq):
            if isinstance(other, e.RewardsAttributed):
                found.update(other.rewards)
        if event.sources:
            return tuple((rollout, found[rollout]) for rollout in event.sources if rollout in found)
        return tuple(found.items())

    def _reward_of(self, event: e.PredictionAppended, seq: int) -> tuple[tuple[str, float], ...]:
        """Return what the rollout of a record scored later."""
        last = min(self._reader.head(), seq + LOOK_BACK)
        for _, other in self._reader.concerning(event.variable, seq + 1, last):
            if isinstance(other, e.RewardsAttributed):
                for rollout, reward in other.rewards:
                    if rollout == event.rollout:
                        return ((rollout, reward),)
        return ()


def _says(answer: Any, written: set[str]) -> bool:
    """Whether an answer has all of these words, or pieces of words."""
    text = " ".join(all_words(_unpacked(answer)))
    return all(word in text for word in written)


def _payload(event: e.Event) -> Any:
    """Return what an event wrote."""
    for name in ("payload", "fields", "value", "args", "record"):
        if hasattr(event, name):
            return getattr(event, name)
    return None


def _unpacked(answer: Any) -> Any:
    """Return an answer with the JSON in its texts opened: what a model says in JSON escapes its words."""
    if isinstance(answer, str) and answer.lstrip()[:1] in ("{", "["):
        try:
            return [answer, msgspec.json.decode(answer)]
        except (msgspec.DecodeError, RecursionError):
            return answer
    if isinstance(answer, dict):
        return {name: _unpacked(item) for name, item in answer.items()}
    if isinstance(answer, list):
        return [_unpacked(item) for item in answer]
    return answer


def _note(event: e.Event) -> str:
    if isinstance(event, e.CandidateProposed):
        return event.strategy
    if isinstance(event, e.CandidateChosen):
        return event.reason
    if isinstance(event, e.EditedFromOutside):
        return event.note
    origin = getattr(event, "origin", None)
    return f"from {origin}" if origin else ""
