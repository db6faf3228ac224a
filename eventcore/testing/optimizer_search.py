"""One small training of an optimizer under test, and what its log says of it.

Everything the checks compare is read from the log alone. A training in which no value was tried beside those it
began with proves nothing; it is made longer, and if there still is none, the check fails and says so.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from eventcore.history import events as e
from eventcore.history.codec import encoder
from eventcore.history.population import BOOKKEEPING
from eventcore.history.run import Run
from eventcore.history.state import State, apply
from eventcore.testing.checks import Tally
from eventcore.testing.module_subject import workbench
from eventcore.testing.optimizer_subject import (
    Ask,
    Graded,
    OptimizerSubject,
    Question,
    Score,
    graded,
    program_of,
)
from eventcore.testing.scheduling import run_coroutine

LENGTHS = (1, 4, 16)
"""How many times as many epochs are tried, until something is proposed."""

MOST_SHOWN = 120
"""Characters of a value that a message shows."""


class Combination(dict[str, str]):
    """What all trainable variables held together: canonical JSON of own fields and examples, by path."""

    @property
    def key(self) -> tuple[tuple[str, str], ...]:
        """What tells it from others."""
        return tuple(sorted(self.items()))

    def __str__(self) -> str:
        return ", ".join(f"{path} = {shown(text)}" for path, text in self.items())


@dataclass(frozen=True)
class Evaluation:
    """One combination that was scored.

    Attributes:
        seq: Where in the log.
        epoch: Number of the epoch, from 0, over all trainings of the run.
        phase: "training", "minibatch" or "validation".
        combination: What the variables held.
        reward: The mean reward, None without any.
    """

    seq: int
    epoch: int
    phase: str
    combination: Combination
    reward: float | None

    @property
    def same(self) -> tuple[Any, ...]:
        """What two trainings that are the same have in common."""
        return (self.phase, self.combination.key, self.reward)

    def __str__(self) -> str:
        return f"{self.combination} scored {self.reward} (epoch {self.epoch}, {self.phase}, seq {self.seq})"


class Search:
    """One training, and what its log says of it.

    Attributes:
        optimizer: The optimizer.
        program: The program it trained.
        run: The run.
        evaluated: Everything that was evaluated, oldest first.
        epoch_ends: Values of the trainable variables by path, at the end of each epoch.
        begun: What the trainable variables held at first.
        ended: What they held in the end.
        new: (path, canonical JSON) of every value that was evaluated and is not one the training began with.
        batches: Number of batches, by the log.
        orders: In which order the examples of the trainings came to their ends.
        digest: Digest of the final state.
        bytes: Size of all events.
        events: Number of all events.
        touched: (seq, kind of event, path of the variable) of what optimizers do to variables.
        values: All variables at the end, by path.
    """

    def __init__(
        self,
        subject: OptimizerSubject,
        run: Run,
        score: Score = graded,
        broken: int = 0,
        ask: Ask | None = None,
        program: Any = None,
    ) -> None:
        self.subject = subject
        self.run = run
        self.score = score
        if program is not None:
            self.program, self.optimizer = program, program.optimizer
            return
        self.optimizer = subject.make()
        self.program = run_coroutine(lambda: program_of(subject.variables, broken, ask))
        self.program.compile(reward=Graded(score), optimizer=self.optimizer)

    def fit(
        self, seen: int = 24, held_out: int = 6, epochs: int = 3, order: int | None = None, **options: Any
    ) -> None:
        """Train on questions 0, 1, 2, …, validating on those from 1000 on."""
        held = [Question(number=number) for number in range(1000, 1000 + held_out)]
        settings: dict[str, Any] = {"batch_size": 4, "minibatch_size": 3, "verbose": 0, **options}

        async def work() -> None:
            await self.program.fit(
                [Question(number=number) for number in range(seen)],
                epochs=epochs * self.subject.times,
                validation_split=0.0,
                validation_data=(held, None) if held else None,
                **settings,
            )

        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            run_coroutine(work, order)

    def look(self) -> None:
        """Read everything from the log."""
        self.run.flush()
        self._reset()
        state = State()
        for record in self.run.events():
            event = record.event
            apply(state, event)
            self.events += 1
            self.bytes += len(encoder.encode(event))
            self._note(record.seq, event, state)
        self.ended = self._combination(state)
        self.digest = state.digest
        self.values: dict[str, dict[str, Any]] = {path: state.variables[path] for path in state.names()}
        self.new = self._new()

    def _reset(self) -> None:
        self.evaluated: list[Evaluation] = []
        self.epoch_ends: list[dict[str, dict[str, Any]]] = []
        self.touched: list[tuple[int, str, str]] = []
        self.orders: list[str] = []
        self.begun = Combination()
        self.events = self.bytes = self.batches = self.proposed = 0

    def _note(self, seq: int, event: e.Event, state: State) -> None:
        if isinstance(event, e.RolloutsScored):
            combination, reward = self._combination(state), _mean(event.rewards)
            epoch = len(self.epoch_ends)
            self.evaluated.append(Evaluation(seq, epoch, event.phase, combination, reward))
        elif isinstance(event, e.EpochEnded):
            self.epoch_ends.append({path: state.variables[path] for path in self.paths})
        elif isinstance(event, e.BatchBegan):
            self.batches += 1
        elif isinstance(event, e.TrainBegan) and not self.begun:
            self.begun = self._combination(state)
        elif isinstance(event, e.VariableUpdated):
            if event.rollout is not None and state.slot(event.variable).path == "teller/asked":
                self.orders.append(event.rollout)
        elif isinstance(event, _OPTIMIZERS_DO):
            self.proposed += isinstance(event, e.CandidateProposed)
            self.touched.append((seq, type(event).__name__, state.slot(event.variable).path))

    def _new(self) -> list[tuple[str, str]]:
        known = set(self.begun.items())
        for path in self.paths:
            fields = json.loads(self.begun.get(path, "{}"))
            for seed in self.values[path]["seed_candidates"]:
                there = {key: seed[key] for key in fields if key in seed}
                known.add((path, json.dumps({**fields, **there}, sort_keys=True)))
        tried = dict.fromkeys(part for one in self.evaluated for part in one.combination.items())
        return [part for part in tried if part not in known]

    @property
    def paths(self) -> list[str]:
        """Paths of the variables it was asked to train."""
        return [f"teller/{name}" for name in self.subject.variables]

    def _combination(self, state: State) -> Combination:
        found = Combination()
        for path in self.paths:
            value = state.variables[path]
            own = {key: held for key, held in value.items() if key not in BOOKKEEPING or key == "examples"}
            found[path] = json.dumps(own, sort_keys=True)
        return found

    def worth(self, combination: Combination, held_out: int = 6) -> float:
        """What a combination scores on the questions held out, computed from what it is."""
        says = said_by(combination)
        scores: list[float] = [self.score(number, says) for number in range(1000, 1000 + held_out)]
        return sum(scores) / held_out


def said_by(combination: Combination) -> dict[str, Any]:
    """What the program says while its variables hold this."""
    says: dict[str, Any] = {}
    for path, text in combination.items():
        own = json.loads(text)
        own["examples"] = [record["inputs"] for record in own["examples"]]
        says[path.removeprefix("teller/")] = own
    return says


def _mean(rewards: Sequence[tuple[str, float | None]]) -> float | None:
    found = [reward for _, reward in rewards if reward is not None]
    return sum(found) / len(found) if found else None


_OPTIMIZERS_DO = (
    e.CandidateProposed,
    e.CandidateAdded,
    e.CandidateChosen,
    e.PopulationSelected,
    e.BestRemembered,
)


def search(subject: OptimizerSubject, **options: Any) -> Search:
    """Train from the beginning in a place of its own; arguments as `Search.fit` takes them."""
    with workbench(subject.number) as (_, run):
        found = Search(subject, run, options.pop("score", graded), options.pop("broken", 0))
        found.fit(**options)
        found.look()
        return found


def lengths(subject: OptimizerSubject) -> Iterator[tuple[OptimizerSubject, bool]]:
    """Yield the subject with longer and longer trainings, and whether they become no longer."""
    for times in LENGTHS:
        yield subject.other(times=subject.times * times), times == LENGTHS[-1]


def lively(subject: OptimizerSubject, tally: Tally, so: str, **options: Any) -> Search:
    """Train, for longer and longer, until something new was tried; further trainings take its `subject`.

    Args:
        subject: The subject.
        tally: Fails if nothing ever was.
        so: What cannot be said of it then: "nothing could win".
        **options: As `search` takes them.
    """
    for longer, last in lengths(subject):
        found = search(longer, **options)
        if found.new:
            return found
        if last:
            tally.fail(nothing_tried(found, so))
    raise AssertionError("there is a last length")


def nothing_tried(found: Search, so: str) -> str:
    """What is said where a training tried nothing but what it began with."""
    did = "proposed no candidate" if not found.proposed else "proposed nothing but what was there already"
    return f"exercised nothing: it {did} in {found.batches} batches, so {so}"


def shown(value: Any) -> str:
    """A value in a message, shortened; of JSON of a candidate only what is there."""
    if isinstance(value, str) and value.startswith("{"):
        fields: Any = json.loads(value)
        value = {key: held for key, held in fields.items() if held not in ([], None)}
    text = (
        value
        if isinstance(value, str)
        else json.dumps(value, sort_keys=True, default=repr, ensure_ascii=False)
    )
    return text if len(text) <= MOST_SHOWN else f"{text[:MOST_SHOWN]}…"
