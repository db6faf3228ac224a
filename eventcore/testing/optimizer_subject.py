"""An optimizer under test, and a program for it to train.

The program says what its variables hold, and the reward is a number made out of that, so whatever an optimizer
writes changes the score and nothing else does. What a training did is read from its log, in `optimizer_search`.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Literal

from eventcore.errors import InvalidValue
from eventcore.models.conversion import defaults_of, missing_defaults, shared_schema
from eventcore.models.data_model import DataModel
from eventcore.models.field import Field
from eventcore.models.json_data_model import JsonDataModel
from eventcore.models.trainable import Trainable, is_trainable
from eventcore.modules.input import Input
from eventcore.modules.module import Module
from eventcore.optimizers.optimizer import Optimizer
from eventcore.programs.program import Program
from eventcore.testing.factories import named, require_factory
from eventcore.testing.module_subject import own_fields, workbench
from eventcore.testing.scheduling import run_coroutine
from eventcore.testing.whereabouts import found_at, whereabouts, why_not
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


ASKED = "asked"
"""Name of the program's own variable."""


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
        self.states = {
            key: self.add_variable(
                kind.get_json() if isinstance(kind, JsonDataModel) else None, data_model=kind, name=key
            )
            for key, kind in kinds.items()
        }
        self.asked = self.add_variable(data_model=Asked, trainable=False, name=ASKED)

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


def chance(*parts: Any) -> float:
    """A number from 0 up to 1 that is always the same for the same parts."""
    text = json.dumps(parts, sort_keys=True).encode()
    return int.from_bytes(hashlib.blake2b(text, digest_size=7).digest(), "big") / 2**56


def graded(number: int, says: Mapping[str, Any]) -> float:
    """A reward that depends on everything the variables hold, and a little on the question."""
    return round(0.8 * chance(says) + 0.2 * chance(number, says), 6)


def salted(salt: int) -> Score:
    """Return another such reward for each salt, so that no value is best or worst under all of them."""
    return graded if not salt else lambda number, says: graded(number, {**says, "": salt})


class OptimizerSubject:
    """What the checks of optimizers are about.

    Args:
        factory: Makes a fresh optimizer: the class, or a function without arguments.
        variables: Data models of the variables it can work on, by name; None for two of several kinds.
        number: Seed of the runs.
        times: How many times as many epochs its trainings have, for one that rarely proposes anything.
    """

    def __init__(
        self, factory: Factory, variables: Mapping[str, Any] | None = None, number: int = 0, times: int = 1
    ) -> None:
        self.factory = factory
        self.given = variables
        self.number = number
        self.times = times

    @property
    def variables(self) -> dict[str, Any]:
        """Data models of the variables by name."""
        return {"advice": Advice, "manner": Manner} if self.given is None else dict(self.given)

    @property
    def name(self) -> str:
        """What is checked, in words."""
        return named(self.factory)

    def other(
        self, factory: Factory | None = None, further: int = 0, times: int | None = None
    ) -> OptimizerSubject:
        """Return one that is tried with another factory, seed or length."""
        return OptimizerSubject(
            self.factory if factory is None else factory,
            self.given,
            self.number + further,
            self.times if times is None else times,
        )

    def make(self) -> Any:
        """Make an optimizer.

        Raises:
            InvalidValue: The factory makes something else.
        """
        made = self.factory()
        if not isinstance(made, Optimizer):
            raise InvalidValue(
                f"cannot check what {self.name} makes: received {_described(made)}; pass the class of an optimizer, "
                "or a function without arguments that returns one"
            )
        return made

    def prepare(self) -> None:
        """Say what every check would stumble over.

        Raises:
            InvalidValue: The factory makes no optimizer, or `variables` are none to train.
        """
        require_factory(self.factory, Optimizer, "an optimizer")
        self._require_variables()
        with workbench(self.number):
            try:
                self.make()
            except InvalidValue:
                raise
            except Exception as error:
                raise InvalidValue(
                    f"cannot check {self.name}: making one raised {type(error).__name__}: {error}; pass what works "
                    "without arguments, such as `lambda: MyOptimizer(size=3)`"
                ) from error
            try:
                run_coroutine(lambda: program_of(self.variables))
            except Exception as error:
                raise InvalidValue(
                    f"cannot make a program with these variables: {error}; `variables` are data models that derive "
                    "from `Trainable`, by name"
                ) from error

    def _require_variables(self) -> None:
        given: Any = self.given
        if given is None:
            return
        form = 'pass data models that derive from `Trainable`, by name: `variables={"advice": MyAdvice}`'
        if not isinstance(given, Mapping) or not given:
            raise InvalidValue(f"cannot train the variables {given!r}: {form}")
        for name, kind in self.variables.items():
            if not isinstance(name, str) or not name or "/" in name or name == ASKED:
                raise InvalidValue(
                    f"cannot name a variable {name!r}: pass a name without '/', other than {ASKED!r}"
                )
            wrong = _untrainable(kind)
            if wrong:
                raise InvalidValue(f"cannot train the variable {name!r}: {wrong}; {form}")

    def told(self) -> dict[str, Any]:
        """Return JSON another process makes the same subject from.

        Raises:
            InvalidValue: Another process cannot find the factory; the message says why.
        """
        where = whereabouts(self.factory)
        if where is None:
            raise InvalidValue(why_not(self.factory))
        kinds = None
        if self.given is not None:
            kinds = {name: _told_kind(kind) for name, kind in self.given.items()}
        return {"factory": where, "variables": kinds, "number": self.number, "times": self.times}

    @staticmethod
    def found(told: Mapping[str, Any]) -> OptimizerSubject:
        """Make it from what was told, in another process."""
        kinds = told["variables"]
        if kinds is not None:
            kinds = {name: _found_kind(kind) for name, kind in kinds.items()}
        return OptimizerSubject(found_at(told["factory"]), kinds, told["number"], told["times"])


def _described(made: Any) -> str:
    return f"the class {made.__name__}, no instance" if isinstance(made, type) else repr(made)


def _untrainable(kind: Any) -> str:
    """Say why a variable of this kind cannot be trained; "" if it can."""
    received = f"received {getattr(kind, '__name__', None) or repr(kind)}"
    try:
        trains = is_trainable(kind)
        missing = missing_defaults(shared_schema(kind))
    except Exception:
        return f"{received}, which is no data model"
    if not trains:
        return f"{received}, which lacks the fields of `Trainable`"
    return f"{received}, whose field {missing[0]!r} has no default" if missing else ""


def _told_kind(kind: Any) -> dict[str, Any]:
    """Tell where a data model is, or else what it looks like and holds at first."""
    where = whereabouts(kind) if isinstance(kind, type) else None
    return {"schema": shared_schema(kind), "json": defaults_of(kind)} if where is None else {"at": where}


def _found_kind(told: Mapping[str, Any]) -> Any:
    return found_at(told["at"]) if "at" in told else JsonDataModel(schema=told["schema"], json=told["json"])


async def program_of(variables: Mapping[str, Any], broken: int = 0, ask: Ask | None = None) -> Any:
    """Make a program that says what these variables hold."""
    inputs = Input(data_model=Question)
    outputs = await Teller(variables, broken, ask, name="teller")(inputs)
    return Program(
        inputs=inputs, outputs=outputs, name="searched", description="Says what its variables hold."
    )
