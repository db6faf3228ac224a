"""A training in a process of its own, of whose calls every one is noted in a file, as a bill would.

    python -m tests.replay.training STORE BILL [--optimizer NAME] [--concurrency N] [--run NAME] …

Its calls take times that differ from process to process; what they answer depends on what is asked alone. A call
is noted before it is answered, so a line more than the log has outcomes was under way when the process died.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import os
import random
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import eventcore as ec
from eventcore.language_models.response import Response
from eventcore.optimizers import OMEGA, EvolutionaryOptimizer, RandomFewShot


class Question(ec.DataModel):
    """One example."""

    number: int


class Digit(ec.DataModel):
    """The answer."""

    digit: int


class Offset(ec.Trainable):
    """A number to be found."""

    value: int = ec.Field(default=0)


def chance(*parts: Any) -> float:
    """A number from 0 to 1 that depends on the parts alone."""
    return int(hashlib.sha256(repr(parts).encode()).hexdigest()[:8], 16) / 2**32


def noted(*asked: Any) -> str:
    """How a call is noted on the bill."""
    return hashlib.sha256(repr(asked).encode()).hexdigest()[:16]


def price(note: str) -> float:
    """What a call costs, in US dollars: a sum of such has no error of rounding."""
    return (1 + int(note[:2], 16)) / 1024


@ec.saving.register_serializable()
class Provider:
    """What answers, late, and sends a bill.

    Args:
        bill: The file.
        slowness: Longest time of an answer, in seconds.
        failures: Share of the requests that fail for good.
    """

    def __init__(self, bill: Path, slowness: float, failures: float) -> None:
        self.bill = bill
        self.slowness = slowness
        self.failures = failures

    def get_config(self) -> dict[str, Any]:
        """What a saved program says of it; whose bill it is on is not the program's business."""
        return {"slowness": self.slowness, "failures": self.failures}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Provider:
        """Make it from what was saved."""
        return cls(Path(os.devnull), **config)

    async def answered(self, *asked: Any) -> None:
        """Note a call and take a time nobody can foresee."""
        with self.bill.open("a") as file:
            file.write(noted(*asked) + "\n")
        await asyncio.sleep(random.SystemRandom().random() * self.slowness)

    async def digits(self, messages: Any, schema: Any = None, **arguments: Any) -> Response:
        """A language model."""
        asked = str(messages)
        await self.answered(asked)
        if chance("fails", asked) < self.failures:
            raise ValueError(f"no answer to {asked[:20]!r}")
        fields = (schema or {}).get("properties", {})
        given = {
            "thinking": "…",
            "instructions": f"Try {int(chance(asked) * 9)}.",
            "value": int(chance(asked) * 5),
        }
        found: dict[str, Any] = {name: given[name] for name in fields if name in given}
        if "digit" in fields:
            found["digit"] = int(chance(asked) * 3)
        return Response(
            json=found, model="digits", input_tokens=10, output_tokens=2, cost=price(noted(asked))
        )

    async def vectors(self, texts: list[str]) -> list[list[float]]:
        """An embedding model."""
        await self.answered(*texts)
        return [[chance(text, axis) for axis in range(4)] for text in texts]


@ec.saving.register_serializable()
class Guess(ec.Module):
    """Asks once or twice, by what its variables say, the two calls at once."""

    def __init__(self, provider: Provider, name: str = "guess") -> None:
        super().__init__(name=name)
        self.offset = self.add_variable(data_model=Offset, name="offset")
        model = ec.LanguageModel(function=provider.digits, retry=0)
        self.first = ec.Generator(data_model=Digit, language_model=model, name="first")
        self.second = ec.Generator(data_model=Digit, language_model=model, name="second")

    async def call(self, inputs: Any, training: bool = False) -> Any:
        """Guess a digit."""
        number, value = inputs.get("number"), self.offset.get("value")
        asked = [self.first(inputs, training=training)]
        if number % 2:
            asked.append(self.second(inputs, training=training))
        answers = [answer for answer in await asyncio.gather(*asked) if answer is not None]
        digit = (value + sum(answer.get("digit") for answer in answers)) % 5
        if training:
            record = {"inputs": {"number": number}, "outputs": {"digit": digit}, "reward": None}
            self.offset.get("current_predictions").append(record)
        return Digit(digit=digit)


@ec.saving.register_serializable()
def mutated(fields: dict[str, Any], rng: random.Random) -> dict[str, Any]:
    """Another number, or other instructions."""
    if "value" in fields:
        return {"value": rng.randrange(5)}
    return {"instructions": f"Try {rng.randrange(9)}."}


def optimizers(provider: Provider) -> dict[str, Any]:
    """One of each kind, by name."""
    return {
        "few-shot": lambda: RandomFewShot(population_size=3),
        "best": lambda: RandomFewShot(sampling="best", nb_max_examples=2),
        "evolutionary": lambda: EvolutionaryOptimizer(mutated, population_size=3, merging_rate=0.4),
        "omega": lambda: OMEGA(
            language_model=ec.LanguageModel(function=provider.digits, retry=0),
            embedding_model=ec.EmbeddingModel(function=provider.vectors),
            population_size=2,
            merging_rate=0.4,
        ),
        "omega-merging": lambda: OMEGA(
            language_model=ec.LanguageModel(function=provider.digits, retry=0),
            embedding_model=ec.EmbeddingModel(function=provider.vectors),
            population_size=3,
            merging_rate=0.9,
        ),
    }


@ec.saving.register_serializable()
async def reward(y_true: Any, y_pred: Any) -> float:
    """Score an answer."""
    return round(chance(y_true.get("digit"), y_pred.get("digit")), 3)


def parsed(arguments: Sequence[str]) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser()
    parser.add_argument("store")
    parser.add_argument("bill", type=Path)
    parser.add_argument("--run", default="training")
    parser.add_argument("--optimizer", default="few-shot")
    parser.add_argument("--concurrency", type=int, default=8)
    parser.add_argument("--examples", type=int, default=20)
    parser.add_argument("--drop", type=int, default=0, help="examples left out at the beginning")
    parser.add_argument("--batch", type=int, default=5)
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--slowness", type=float, default=0.004)
    parser.add_argument("--failures", type=float, default=0.0)
    parser.add_argument("--budget", type=int)
    parser.add_argument("--predict", type=int, metavar="K", help="only predict, with so many generators")
    parser.add_argument("--save", help="where to save the program at the end of every epoch")
    return parser.parse_args(arguments)


def train(given: argparse.Namespace) -> Any:
    """Train in a run that is resumed if it is there."""
    budget = None if given.budget is None else {"calls": given.budget}
    run = ec.open(given.store).run(given.run, seed=7, resume=True, budget=budget)
    provider = Provider(given.bill, given.slowness, given.failures)
    inputs = ec.Input(data_model=Question)
    if given.predict:
        return predict(given, run, provider, inputs)
    program = ec.Program(inputs=inputs, outputs=ec.wait(Guess(provider)(inputs)), name="program")
    program.compile(reward=reward, optimizer=optimizers(provider)[given.optimizer]())
    numbers = range(given.drop, given.examples)
    callbacks = [ec.callbacks.ProgramCheckpoint(given.save)] if given.save else []
    ec.wait(
        program.fit(
            [Question(number=number) for number in numbers],
            [Digit(digit=number % 3) for number in numbers],
            batch_size=given.batch,
            epochs=given.epochs,
            validation_split=0.25,
            max_concurrency=given.concurrency,
            callbacks=callbacks,
            verbose=0,
        )
    )
    return run


def predict(given: argparse.Namespace, run: Any, provider: Provider, inputs: Any) -> Any:
    """Ask several generators that have nothing to do with each other about every example."""
    model = ec.LanguageModel(function=provider.digits, retry=0)
    parts = [
        ec.wait(
            ec.Generator(
                data_model=Digit, language_model=model, name=f"part{number}", instructions=f"Part {number}."
            )(inputs)
        )
        for number in range(given.predict)
    ]
    program = ec.Program(inputs=inputs, outputs=parts, name="program")
    ec.wait(
        program.predict(
            [Question(number=number) for number in range(given.drop, given.examples)],
            batch_size=given.batch,
            max_concurrency=given.concurrency,
            verbose=0,
        )
    )
    return run


def main() -> None:
    """Train, and print what the run ended with."""
    run = train(parsed(sys.argv[1:]))
    print(run.state.digest, run.head, os.getpid())


if __name__ == "__main__":
    main()
