"""A training in a process of its own, whose examples take random times: prints the digest of what it ends with.

python -m tests.optimizers.latencies OPTIMIZER
"""

from __future__ import annotations

import asyncio
import random
import sys
from typing import Any

import eventcore as ec
from eventcore.optimizers import OMEGA, EvolutionaryOptimizer, Optimizer, RandomFewShot
from tests.optimizers.samples import Answer, Question, chance


class Pair(ec.Trainable):
    """Two things to be found."""

    value: int = ec.Field(default=0)
    tags: dict[str, str] = ec.Field(default={"b": "1", "a": "2"})


class Late(ec.Module):
    """Answers after a while nobody can foresee, using its variable up to twice."""

    def __init__(self, name: str | None = None) -> None:
        super().__init__(name=name)
        self.state = self.add_variable(data_model=Pair, name="pair")

    async def call(self, inputs: Any, training: bool = False) -> Any:
        """Answer."""
        number = inputs.get("number")
        value = self.state.get("value")
        shown = [record["inputs"]["number"] for record in self.state.get("examples")]
        for turn in range(number % 3 if training else 0):
            await wait_somewhat()
            record = {"inputs": {"number": number}, "outputs": {"turn": turn}, "reward": None}
            self.state.get("current_predictions").append(record)
        await wait_somewhat()
        return Answer(number=number, says={"value": value, "shown": shown})


async def wait_somewhat() -> None:
    """Sleep for a time that differs from process to process."""
    await asyncio.sleep(random.SystemRandom().random() / 500)


async def reward(y_true: Any, y_pred: Any) -> float:
    """Score, after a while."""
    await wait_somewhat()
    says = y_pred.get("says")
    return round(chance(y_pred.get("number"), says["value"], sorted(set(says["shown"]))), 3)


def mutated(fields: dict[str, Any], rng: random.Random) -> dict[str, Any]:
    """Another number, and words from a set."""
    return {"value": rng.randrange(5), "tags": dict.fromkeys(sorted({"x", "y", "z"}), "1")}


async def answer(messages: Any, schema: Any = None, **arguments: Any) -> dict[str, Any]:
    """What a model says: the same for the same words, after a while."""
    await wait_somewhat()
    number = int(chance(messages[-1]["content"]) * 5)
    return {"thinking": "…", "value": number, "tags": {"a": str(number)}}


async def vectors(texts: list[str]) -> list[list[float]]:
    """Embeddings, after a while."""
    await wait_somewhat()
    return [[chance(text, axis) for axis in range(4)] for text in texts]


OPTIMIZERS: dict[str, Any] = {
    "few-shot": lambda: RandomFewShot(population_size=3),
    "evolutionary": lambda: EvolutionaryOptimizer(mutated, population_size=3, merging_rate=0.4),
    "omega": lambda: OMEGA(
        language_model=answer, embedding_model=vectors, population_size=2, merging_rate=0.4
    ),
}


async def train(optimizer: Optimizer) -> None:
    """Train in the current run."""
    inputs = ec.Input(data_model=Question)
    program = ec.Program(inputs=inputs, outputs=await Late(name="late")(inputs), name="late_program")
    program.compile(reward=reward, optimizer=optimizer)
    numbers = [Question(number=number) for number in range(40)]
    await program.fit(numbers, batch_size=8, epochs=3, validation_split=0.25, verbose=0)


def main() -> None:
    """Train and print the digest, the best value and the number of proposals."""
    with ec.open("memory:") as store, store.run("latencies", seed=11) as run:
        ec.wait(train(OPTIMIZERS[sys.argv[1]]()))
        proposals = sum(1 for _ in run.events(kind="CandidateProposed"))
        print(run.state.digest, run.state.variables["late/pair"]["value"], proposals)


if __name__ == "__main__":
    main()
