"""Why a run ended with what it has: how each trained variable came to its value, and what else was tried.

A fold over a variable's own events follows which candidate it holds; a fold over the rare events of training (epochs,
scores, calls) says where in training that was, how the candidates did, and what each step cost. What this puts
together is shown by `why_page.py`.
"""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import msgspec

from eventcore.errors import InvalidValue, NotFound
from eventcore.history import events as e
from eventcore.history.costs import Spending
from eventcore.history.declarations import declarations, path_then
from eventcore.history.origins import Evidence, Origin, Origins, gone_on
from eventcore.history.patches import plain
from eventcore.history.population import BOOKKEEPING, candidate_fields, candidate_key
from eventcore.history.positions import tagged
from eventcore.history.state import State, apply, decode_state
from eventcore.history.timetravel import Difference, value_differences

if TYPE_CHECKING:
    from eventcore.history.reading import Reader
    from eventcore.history.run_reader import RunReader

UNSCORED = 50
"""Changes in a row that were never scored and are remembered; of more the oldest are forgotten."""

_TRAINING = (
    e.TrainBegan, e.EpochBegan, e.EpochEnded, e.BatchBegan, e.RolloutsScored, e.EffectCompleted, e.EffectFailed,
    e.StateRestored,
)  # fmt: skip

_HELD = (
    e.VariableDeclared, e.VariableUpdated, e.VariableAssigned, e.ValuePatched, e.EditedFromOutside,
    e.CandidateProposed, e.CandidateChosen,
)  # fmt: skip
"""Events after which a variable may hold another candidate."""


class Score(msgspec.Struct):
    """A mean over rollouts.

    Attributes:
        total: Sum of their rewards.
        count: How many.
    """

    total: float = 0.0
    count: int = 0

    def add(self, mean: float, count: int) -> None:
        """Fold in a mean over `count` rollouts."""
        self.total += mean * count
        self.count += count

    @property
    def mean(self) -> float | None:
        """The mean, None over nothing."""
        return self.total / self.count if self.count else None


class Candidate(msgspec.Struct, eq=False):
    """What a variable held at some time, and how it did.

    Attributes:
        seq: The event it first appeared with.
        fields: Its own fields and examples.
        parents: What it was made of, or what was there before.
        score: Of the small samples it was evaluated on.
        validation: Of the whole validation set.
        chosen: Seqs of the events that wrote it into the variable again.
        reason: Why it was chosen the last time.
        sources: Rollouts its examples came from, by their JSON.
    """

    seq: int
    fields: dict[str, Any]
    parents: tuple[Candidate, ...] = ()
    score: Score = msgspec.field(default_factory=Score)
    validation: Score = msgspec.field(default_factory=Score)
    chosen: list[int] = msgspec.field(default_factory=list)
    reason: str = ""
    sources: dict[bytes, str] = msgspec.field(default_factory=dict)

    @property
    def scored(self) -> bool:
        """Whether it was evaluated at all."""
        return bool(self.score.count or self.validation.count)


class Demo(msgspec.Struct, frozen=True):
    """An example in the prompt and the rollout it came from.

    Attributes:
        value: The example.
        rollout: The rollout whose record it is, or None if it was written otherwise.
        seq: The event that put it there first, or last changed it when no rollout is known.
    """

    value: Any
    rollout: str | None
    seq: int


class Step(msgspec.Struct, frozen=True):
    """One step of a lineage.

    Attributes:
        candidate: What the variable held since.
        origin: The event that made it.
        evidence: What that went by.
        differences: What it changed in its first parent, but for the examples.
        examples: How many examples it kept, added and dropped.
    """

    candidate: Candidate
    origin: Origin
    evidence: Evidence
    differences: list[Difference]
    examples: tuple[int, int, int]


class VariableStory(msgspec.Struct, frozen=True):
    """How one variable came to its value.

    Attributes:
        path: Its path.
        winner: What it holds.
        lineage: From the first value to the winner, along first parents.
        demos: The examples in it.
        rejected: What else was evaluated, best first.
        before: Where the value came from when it was brought from another run of the store: that run's name, and how
            it came to it there; else None.
    """

    path: str
    winner: Candidate
    lineage: list[Step]
    demos: list[Demo]
    rejected: list[Step]
    before: tuple[str, VariableStory] | None = None

    def __repr__(self) -> str:
        score = self.winner.validation if self.winner.validation.count else self.winner.score
        scored = "never evaluated" if score.mean is None else f"reward {score.mean:.3g} over {score.count}"
        steps, demos, rejected = len(self.lineage), len(self.demos), len(self.rejected)
        return (
            f"VariableStory({self.path!r}: {scored}, fields {', '.join(self.winner.fields) or 'none'}; {steps} in its "
            f"lineage, {demos} in its examples, {rejected} rejected)"
        )


class Epoch(msgspec.Struct, frozen=True):
    """An epoch that ended, with its logs."""

    seq: int
    epoch: int
    logs: dict[str, Any]


class StepCost(msgspec.Struct, frozen=True):
    """What was spent in a batch; step None is the rest of the epoch, epoch None what was outside training."""

    epoch: int | None
    step: int | None
    spending: Spending


class Why(msgspec.Struct, frozen=True):
    """Why a run has what it has.

    Attributes:
        run: Its name.
        seq: As of which event.
        epochs: The epochs that ended.
        costs: What each step cost, in order.
        variables: The story of each variable.
    """

    run: str
    seq: int
    epochs: list[Epoch]
    costs: list[StepCost]
    variables: list[VariableStory]

    @property
    def spending(self) -> Spending:
        """What all steps cost together."""
        total = Spending()
        for part in self.costs:
            for name in total.__struct_fields__:
                setattr(total, name, getattr(total, name) + getattr(part.spending, name))
        return total

    def __repr__(self) -> str:
        from eventcore.history.why_page import why_text

        return why_text(self)

    def _repr_html_(self) -> str:
        from eventcore.history.why_page import why_html

        return why_html(self)


def why(run: RunReader, variable: str | None = None, at: int | str | None = None) -> Why:
    """Do what `run.why` says."""
    reader = run.reader()
    seq = run.readable(reader) if at is None else run.seq(at)
    state = run.at(seq)
    paths = [path_then(run, variable, seq, state)] if variable is not None else _trained(state)
    if not paths:
        raise _nothing_trainable(run, seq, state)
    training = _Training()
    followers = {state.slot(path).number: _Follower() for path in paths}
    for at_seq, event in _merged(reader, list(followers), seq):
        training.take(at_seq, event)
        number = getattr(event, "variable", None)
        for own, follower in followers.items():
            if number == own or (number is None and isinstance(event, (e.StateRestored, e.RolloutsScored))):
                follower.take(at_seq, event, own)
    origins = Origins(reader, state)
    stories = [_story(run, seq, path, followers[state.slot(path).number], origins) for path in paths]
    return Why(run.name, seq, training.epochs, training.costs(), stories)


def _nothing_trainable(run: RunReader, seq: int, state: State) -> NotFound:
    says = f"cannot tell why in run {run.name!r}: no variable of it is trainable at seq {seq}"
    later = [(at, path) for path, (at, trainable) in declarations(run).items() if trainable and at > seq]
    if later:
        at, path = min(later)
        return NotFound(f"{says}; {path!r} was declared at seq {at}: pass a seq from {at} on")
    names = state.names() or run.state.names()
    return NotFound(f"{says}; {'name one of: ' + ', '.join(names) if names else 'it has no variables'}")


def _trained(state: State) -> list[str]:
    """Return the variables that candidates were proposed or scored for, or else all that are trainable."""
    trainable = [slot for slot in state.live_slots() if slot.trainable]
    used = [
        slot.path for slot in trainable if slot.value.get("candidates") or slot.value.get("best_candidates")
    ]
    return used or [slot.path for slot in trainable]


def _merged(reader: Reader, numbers: list[int], last: int) -> Iterator[tuple[int, e.Event]]:
    first = reader.first_stored()
    parts = [reader.concerning(number, first, last) for number in numbers]
    return heapq.merge(tagged(reader, _TRAINING, first, last), *parts, key=lambda record: record[0])


class _Training:
    """Where in training things happened, and what was spent there."""

    def __init__(self) -> None:
        self.epochs: list[Epoch] = []
        self._epoch: int | None = None
        self._step: int | None = None
        self._spent: dict[tuple[int | None, int | None], Spending] = {}

    def take(self, seq: int, event: e.Event) -> None:
        if isinstance(event, e.EpochBegan):
            self._epoch, self._step = event.epoch, None
        elif isinstance(event, e.BatchBegan):
            self._step = event.step
        elif isinstance(event, e.EpochEnded):
            self.epochs.append(Epoch(seq, event.epoch, event.logs))
            self._epoch = self._step = None
        elif isinstance(event, (e.EffectCompleted, e.EffectFailed)):
            self._spent.setdefault((self._epoch, self._step), Spending()).add(event)

    def costs(self) -> list[StepCost]:
        return [StepCost(epoch, step, spending) for (epoch, step), spending in self._spent.items()]


class _Follower:
    """Follows which candidate a variable holds."""

    def __init__(self) -> None:
        self.present: Candidate | None = None
        self.known: dict[bytes, Candidate] = {}
        self._by_seq: dict[int, Candidate] = {}
        self._state = State()

    def take(self, seq: int, event: e.Event, number: int) -> None:
        """Take note of one event of the variable, or of the run's training."""
        if isinstance(event, e.RolloutsScored):
            if event.phase == "validation" and self.present is not None:
                rewards = [reward for _, reward in event.rewards if reward is not None]
                self.present.validation.add(sum(rewards) / max(1, len(rewards)), len(rewards))
            return
        if isinstance(event, e.StateRestored):
            restored = decode_state(event.state)
            self._state = restored if restored.has(number) else State()
            self.present = self._find(seq, number) if restored.has(number) else None
            return
        if isinstance(event, e.FieldRead):
            return
        if not self._state.has(number) and not isinstance(event, e.VariableDeclared):
            return  # its declaration is no longer in a bounded log
        apply(self._state, event)
        if isinstance(event, _HELD) and _concerns_candidate(event):
            self._hold(seq, event, number)
        elif isinstance(event, e.CandidateAdded) and self.present is not None:
            self.present.score.add(event.reward, event.count)
            self._by_seq[seq] = self.present

    def _find(self, seq: int, number: int) -> Candidate:
        fields = candidate_fields(self._state.slot(number).value)
        return self.known.setdefault(candidate_key(fields), Candidate(seq, fields))

    def _hold(self, seq: int, event: e.Event, number: int) -> None:
        before = self.present
        found = self._find(seq, number)
        if found is not before and found.seq == seq:
            parents = (self._by_seq.get(parent) for parent in getattr(event, "parents", ()))
            known = tuple(parent for parent in parents if parent is not None and parent is not found)
            found.parents = known or (() if before is None else (before,))
            self._forget(found)
        if isinstance(event, e.CandidateProposed):
            self._by_seq[seq] = found
            examples = event.fields.get("examples", [])
            for example, rollout in zip(examples, event.sources, strict=False):
                found.sources.setdefault(msgspec.json.encode(example), rollout)
        if isinstance(event, e.CandidateChosen):
            found.chosen.append(seq)
            found.reason = event.reason
        self.present = found

    def _forget(self, newest: Candidate) -> None:
        """Let go of changes nobody evaluated, when there are many in a row."""
        place, steps = newest, 0
        while place.parents and not place.parents[0].scored:
            place, steps = place.parents[0], steps + 1
            if steps > UNSCORED:
                self.known.pop(candidate_key(place.fields), None)
                newer = newest
                while newer.parents[0] is not place:
                    newer = newer.parents[0]
                newer.parents = place.parents
                return


def _concerns_candidate(event: e.Event) -> bool:
    """Whether an event can change what candidates carry."""
    if isinstance(event, e.VariableUpdated):
        return any(name == "examples" or name not in BOOKKEEPING for name in event.payload)
    if isinstance(event, (e.ValuePatched, e.EditedFromOutside)) and event.path:
        return event.path[0] == "examples" or event.path[0] not in BOOKKEEPING
    return True


def _story(run: RunReader, seq: int, path: str, follower: _Follower, origins: Origins) -> VariableStory:
    winner = follower.present
    if winner is None:
        raise NotFound(f"cannot tell how {path!r} came to its value: its events are no longer in the log")
    line: list[Candidate] = [winner]
    while line[-1].parents and line[-1].parents[0] not in line:
        line.append(line[-1].parents[0])
    rejected = [other for other in follower.known.values() if other.scored and other not in line]
    rejected.sort(key=lambda other: -(other.validation.mean or other.score.mean or 0.0))
    steps = [_step(candidate, origins, evidence=True) for candidate in reversed(line)]
    return VariableStory(
        path, winner, steps,
        _demos(run, seq, path, winner, line),
        [_step(candidate, origins, evidence=False) for candidate in rejected],
        _before(run, path, steps[0].origin),
    )  # fmt: skip


def _before(run: RunReader, path: str, first: Origin) -> tuple[str, VariableStory] | None:
    """Go on in the run a value was brought from, if it is in this store."""
    place = gone_on(first.note)
    if place is None or place[0] != run.store.url or place[1] not in run.store:
        return None
    try:
        (story,) = why(run.store[place[1]], path, int(place[2])).variables
    except (NotFound, InvalidValue):  # it was moved, renamed or deleted since
        return None
    return place[1], story


def _step(candidate: Candidate, origins: Origins, evidence: bool) -> Step:
    origin = origins.find(candidate.seq)
    before = candidate.parents[0].fields if candidate.parents else {}
    return Step(
        candidate,
        origin,
        origins.evidence(origin) if evidence else Evidence(None, ()),
        value_differences(_without_examples(before), _without_examples(candidate.fields)),
        _exchanged(before.get("examples", []), candidate.fields.get("examples", [])),
    )


def _without_examples(fields: dict[str, Any]) -> dict[str, Any]:
    return {name: item for name, item in fields.items() if name != "examples"}


def _exchanged(before: list[Any], after: list[Any]) -> tuple[int, int, int]:
    """Return how many examples were kept, added and dropped: a set of records is redrawn, not edited."""
    old, new = (Counter(map(msgspec.json.encode, examples)) for examples in (before, after))
    kept = (old & new).total()
    return kept, new.total() - kept, old.total() - kept


def _demos(run: RunReader, seq: int, path: str, winner: Candidate, line: list[Candidate]) -> list[Demo]:
    """Say of each example which rollout it came from: the oldest proposal of the lineage that took it knows."""
    found: list[Demo] = []
    for example in winner.fields.get("examples") or []:
        code = msgspec.json.encode(example)
        having = [candidate for candidate in line if example in candidate.fields.get("examples", [])]
        rollouts = [candidate.sources[code] for candidate in having if code in candidate.sources]
        found.append(Demo(plain(example), rollouts[-1] if rollouts else None, having[-1].seq))
    if any(demo.rollout is None for demo in found):
        owners: dict[int, int] = {}
        for piece in run.blame(path, "/examples", at=seq).pieces:
            place = int(piece.pointer.split("/")[2])
            owners[place] = max(owners.get(place, 0), piece.seq)
        found = [
            demo if demo.rollout is not None else Demo(demo.value, None, owners[at])
            for at, demo in enumerate(found)
        ]
    return found
