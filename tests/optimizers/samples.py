"""A program that says what its variables hold, so that a test's reward function decides what is good.

The answers are the variables' own fields and few-shot examples; nothing is hidden in the program.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Awaitable, Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import eventcore as ec
from eventcore.history.population import BOOKKEEPING
from eventcore.optimizers import Optimizer

HIDDEN = frozenset(BOOKKEEPING)


Kinds = Mapping[str, Any]
"""Data models of variables, or instances of them."""


class Question(ec.DataModel):
    """One example."""

    number: int


class Answer(ec.DataModel):
    """The question again, and what the variables held when it was asked."""

    number: int
    says: dict[str, Any]


class Knob(ec.Trainable):
    """A number to be found."""

    value: int = ec.Field(default=0)


class Words(ec.Trainable):
    """A text to be found."""

    text: str = ec.Field(default="a a a a")


class Teller(ec.Module):
    """Says what its variables hold, each under its name.

    Args:
        kinds: The data model of each variable, by name, or an instance for its first value.
        used: Whether a variable is used for a question; None for always.
    """

    def __init__(
        self,
        kinds: Kinds,
        used: Callable[[str, int], bool] | None = None,
        name: str | None = None,
    ) -> None:
        super().__init__(name=name)
        self.used = used
        self.states = {
            name: self.add_variable(data_model=kind, name=name)
            if isinstance(kind, type)
            else self.add_variable(kind.get_json(), type(kind), name=name)
            for name, kind in kinds.items()
        }

    async def call(self, inputs: Any, training: bool = False) -> Any:
        """Answer one question."""
        says: dict[str, Any] = {}
        number = inputs.get("number")
        for name, state in self.states.items():
            says[name] = {
                key: state.get(key) for key in state.get_schema()["properties"] if key not in HIDDEN
            }
            says[name]["examples"] = [record["inputs"]["number"] for record in state.get("examples")]
            if training and (self.used is None or self.used(name, number)):
                record = {"inputs": {"number": number}, "outputs": {}, "reward": None}
                state.get("current_predictions").append(record)
        await asyncio.sleep(0)
        return Answer(number=number, says=says)


Score = Callable[[int, dict[str, Any]], float]
"""f(number of the question, what the variables held) -> reward; or the name of a reward."""


def reward_of(score: Score) -> Callable[[Any, Any], Awaitable[Any]]:
    """Return the reward function of a score."""

    async def reward(y_true: Any, y_pred: Any) -> Any:
        return score(y_pred.get("number"), y_pred.get("says"))

    return reward


async def program_of(
    score: Score | str,
    optimizer: Optimizer,
    kinds: Kinds,
    used: Callable[[str, int], bool] | None = None,
) -> ec.Program:
    """Return a compiled program."""
    inputs = ec.Input(data_model=Question)
    outputs = await Teller(kinds, used, name="teller")(inputs)
    program = ec.Program(inputs=inputs, outputs=outputs, name="search", description="Says what it holds.")
    program.compile(reward=score if isinstance(score, str) else reward_of(score), optimizer=optimizer)
    return program


def questions(numbers: Sequence[int]) -> list[Question]:
    """Return a question for each number."""
    return [Question(number=number) for number in numbers]


def train(
    score: Score | str,
    optimizer: Optimizer,
    kinds: Kinds,
    *,
    seen: int = 6,
    held_out: int = 2,
    used: Callable[[str, int], bool] | None = None,
    **options: Any,
) -> ec.Program:
    """Train in the current run on the questions 0, 1, 2, …, validating on those from 1000 on."""

    async def work() -> ec.Program:
        program = await program_of(score, optimizer, kinds, used)
        held = questions(range(1000, 1000 + held_out))
        await program.fit(
            questions(range(seen)),
            verbose=0,
            validation_data=(held, None) if held_out else None,
            validation_split=0.0,
            **options,
        )
        return program

    return ec.wait(work())


@contextmanager
def fresh_run(seed: int) -> Generator[ec.Run]:
    """A run in memory, current inside."""
    ec.clear_session(free_memory=False)
    with ec.open("memory:") as store, store.run("search", seed=seed) as run:
        yield run


def chance(*parts: object) -> float:
    """A number from 0 up to 1 that is always the same for the same parts."""
    digest = hashlib.sha256(repr(parts).encode()).digest()
    return int.from_bytes(digest[:7], "big") / 2**56
