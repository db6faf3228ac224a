"""An optimizer under test: a program for it to train, and everything that happened while it did.

The program says what its variables hold, and the reward is a number made out of that, so whatever an optimizer
writes changes the score and nothing else does. What was evaluated, chosen and kept is read from the log alone.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import warnings
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Literal

from eventcore.errors import InvalidValue
from eventcore.history import events as e
from eventcore.history.codec import encoder
from eventcore.history.population import BOOKKEEPING
from eventcore.history.run import Run
from eventcore.history.state import State, apply
from eventcore.models.data_model import DataModel
from eventcore.models.field import Field
from eventcore.models.trainable import Trainable
from eventcore.modules.input import Input
from eventcore.modules.module import Module
from eventcore.optimizers.optimizer import Optimizer
from eventcore.programs.program import Program
from eventcore.testing.module_subject import workbench
from eventcore.testing.scheduling import run_coroutine
from eventcore.training.rewards.base import Reward

Factory = Callable[[], Any]
Score = Callable[[int, Mapping[str, Any]], Any]
"""f(number of the question, own fields and examples by variable) -> reward."""
Ask = Callable[[int, str], Awaitable[None]]
"""f(number of the question, name of a variable): an effect that answering needs."""


class Question(DataModel):
    """One example."""

    number: int


class Said(DataModel):
    """What the variables held when it was asked."""

    number: int
    says: dict[str, Any]


class Advice(Trainable):
    """Fields of several kinds to be found."""

    text: str = Field(default="Answer the question.", description="What to do.")
    level: int = Field(default=0, ge=0, le=5, description="How much of it.")


class Manner(Trainable):
    """Another variable, so that there are combinations."""

    text: str = Field(default="Be polite.", description="How to do it.")
    tone: Literal["plain", "warm", "dry"] = Field(default="plain", description="In which tone.")


class Asked(DataModel):
    """State no optimizer may touch."""

    count: int = 0


class Teller(Module):
    """Says what its variables hold."""

    def __init__(
        self, kinds: Mapping[str, Any], broken: int = 0, ask: Ask | None = None, name: str | None = None
    ) -> None:
        super().__init__(name=name)
        self.broken = broken
        self.ask = ask
        self.kinds = dict(kinds)
        self.states = {key: self.add_variable(data_model=kind, name=key) for key, kind in kinds.items()}
        self.asked = self.add_variable(data_model=Asked, trainable=False, name="asked")

    async def compute_output_spec(self, inputs: Any, training: bool = False) -> Any:
        """What it says, without asking anybody."""
        return Said

    async def call(self, inputs: Any, training: bool = False) -> Any:
        """Answer one question."""
        if inputs is None:
            return None
        number = inputs.get("number")
        says: dict[str, Any] = {}
        for name, state in self.states.items():
            says[name] = {key: state.get(key) for key in own_fields(state)}
            says[name]["examples"] = [record["inputs"] for record in state.get("examples")]
            await (asyncio.sleep(0) if self.ask is None else self.ask(number, name))
            if training:
                record = {"inputs": {"number": number}, "outputs": {"said": name}, "reward": None}
                state.get("current_predictions").append(record)
        self.asked.update({"count": self.asked.get("count") + 1})
        if self.broken and number % self.broken == 1:
            raise ValueError(f"question {number} cannot be answered")
        return Said(number=number, says=says)


class Graded(Reward):
    """Scores by a function of what the variables hold."""

    def __init__(self, score: Score | None = None, name: str | None = "graded") -> None:
        super().__init__(name=name)
        self.score = graded if score is None else score

    async def call(self, y_true: Any, y_pred: Any) -> Any:
        """Score, after giving way to others."""
        await asyncio.sleep(0)
        return self.score(y_pred.get("number"), y_pred.get("says"))

    def get_config(self) -> dict[str, Any]:
        """Nothing but the name: a score that is no default does not survive a file."""
        return {"name": self.name}


def own_fields(variable: Any) -> list[str]:
    """Names of the fields that are no bookkeeping."""
    return [key for key in variable.get_schema()["properties"] if key not in BOOKKEEPING]


def chance(*parts: Any) -> float:
    """A number from 0 up to 1 that is always the same for the same parts."""
    text = json.dumps(parts, sort_keys=True).encode()
    return int.from_bytes(hashlib.blake2b(text, digest_size=7).digest(), "big") / 2**56


def graded(number: int, says: Mapping[str, Any]) -> float:
    """A reward that depends on everything the variables hold, and a little on the question."""
    return round(0.8 * chance(says) + 0.2 * chance(number, says), 6)


class OptimizerSubject:
    """What the checks of optimizers are about.

    Args:
        factory: Makes a fresh optimizer: the class, or a function without arguments.
        variables: Data models of the variables it can work on, by name; None for two of several kinds.
        number: Seed of the runs.
    """

    def __init__(self, factory: Factory, variables: Mapping[str, Any] | None = None, number: int = 0) -> None:
        self.factory = factory
        self.variables = dict(variables) if variables is not None else {"advice": Advice, "manner": Manner}
        self.number = number

    @property
    def name(self) -> str:
        """What is checked, in words."""
        return getattr(self.factory, "__qualname__", None) or repr(self.factory)

    @property
    def usual(self) -> bool:
        """Whether it is tried on our own variables, which a fresh process knows."""
        return self.variables == OptimizerSubject(self.factory).variables

    def make(self) -> Any:
        """Make an optimizer.

        Raises:
            InvalidValue: The factory makes something else.
        """
        made = self.factory()
        if not isinstance(made, Optimizer):
            raise InvalidValue(f"cannot check {made!r}: the factory must return an optimizer")
        return made

    def search(self, **options: Any) -> Search:
        """Train from the beginning in a place of its own; arguments as `Search.fit` takes them."""
        with workbench(self.number) as (_, run):
            search = Search(self, run, options.pop("score", graded), options.pop("broken", 0))
            search.fit(**options)
            search.look()
            return search


class Combination(dict[str, str]):
    """What all trainable variables held together: canonical JSON of own fields and examples, by path."""

    @property
    def key(self) -> tuple[tuple[str, str], ...]:
        """What tells it from others."""
        return tuple(sorted(self.items()))


class Search:
    """One training, and what its log says of it.

    Attributes:
        optimizer: The optimizer.
        program: The program it trained.
        run: The run.
        evaluated: (phase, combination, mean reward or None) of everything that was evaluated, oldest first.
        epoch_ends: Values of the trainable variables by path, at the end of each epoch.
        ended: What the trainable variables held in the end.
        digest: Digest of the final state.
        bytes: Size of all events.
        events: Number of all events.
        touched: (kind of event, path of the variable) of what optimizers do to variables.
        values: All variables at the end, by path.
    """

    def __init__(
        self,
        subject: OptimizerSubject,
        run: Run,
        score: Score = graded,
        broken: int = 0,
        ask: Ask | None = None,
    ) -> None:
        self.subject = subject
        self.run = run
        self.score = score
        self.optimizer = subject.make()
        self.program = run_coroutine(lambda: self._build(broken, ask))
        self._compile()

    async def _build(self, broken: int, ask: Ask | None) -> Any:
        inputs = Input(data_model=Question)
        outputs = await Teller(self.subject.variables, broken, ask, name="teller")(inputs)
        return Program(
            inputs=inputs, outputs=outputs, name="searched", description="Says what its variables hold."
        )

    def _compile(self) -> None:
        self.program.compile(reward=Graded(self.score), optimizer=self.optimizer)

    def fit(
        self, seen: int = 24, held_out: int = 6, epochs: int = 3, order: int | None = None, **options: Any
    ) -> None:
        """Train on questions 0, 1, 2, …, validating on those from 1000 on."""
        held = [Question(number=number) for number in range(1000, 1000 + held_out)]
        settings: dict[str, Any] = {"batch_size": 4, "minibatch_size": 3, "verbose": 0, **options}

        async def work() -> None:
            await self.program.fit(
                [Question(number=number) for number in range(seen)],
                epochs=epochs,
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
        state = State()
        self.evaluated: list[tuple[str, Combination, float | None]] = []
        self.epoch_ends: list[dict[str, dict[str, Any]]] = []
        self.touched: list[tuple[str, str]] = []
        self.events = self.bytes = 0
        for record in self.run.events():
            event = record.event
            apply(state, event)
            self.events += 1
            self.bytes += len(encoder.encode(event))
            if isinstance(event, e.RolloutsScored):
                self.evaluated.append((event.phase, self._combination(state), _mean(event.rewards)))
            elif isinstance(event, e.EpochEnded):
                self.epoch_ends.append({path: state.variables[path] for path in self.paths})
            elif isinstance(event, _OPTIMIZERS_DO):
                self.touched.append((type(event).__name__, state.slot(event.variable).path))
        self.ended = self._combination(state)
        self.digest = state.digest
        self.values = {path: state.variables[path] for path in state.names()}

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
        says: dict[str, Any] = {}
        for path, text in combination.items():
            own = json.loads(text)
            own["examples"] = [record["inputs"] for record in own["examples"]]
            says[path.removeprefix("teller/")] = own
        scores: list[float] = [self.score(number, says) for number in range(1000, 1000 + held_out)]
        return sum(scores) / held_out


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
