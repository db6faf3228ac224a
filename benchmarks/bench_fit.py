"""`fit` around a module that only computes: what training costs beside the user's own code.

The module echoes its input and appends a record to its predictions, as a generator does; the optimizer is
`RandomFewShot`, 32 examples a batch, nothing held out, so each example is one call. All events are durable on LMDB
when the clock stops. Beside it the bare module: the same inputs through `asyncio.gather`, nothing recorded.

The best of five repetitions is judged (all are printed): on a shared machine the others measure the neighbours.
Flatness: time per example of 8,000 examples against 500 that the process spent on the processor, all threads.
Program calls: counted, 180 training and 20 validation examples, batch 10, minibatch 4.

Defends: 4,000 training examples/s; 8,000 examples at most 1.3 times as long each as 500; 1.52 program calls per
training example and epoch.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import eventcore as ec
from benchmarks.figure import Figure, each, rate
from eventcore import optimizers


class Question(ec.DataModel):
    """What is asked."""

    text: str = ec.Field(description="The text.")


class Answer(ec.DataModel):
    """What comes back."""

    label: str = ec.Field(description="The label.")


class Skill(ec.Trainable):
    """What is trained."""

    word: str = ec.Field(default="start", description="A word.")


class Echo(ec.Module):
    """Only computes."""

    def __init__(self, name: str | None = None) -> None:
        super().__init__(name=name)
        self.state = self.add_variable(Skill().get_json(), Skill, name="skill")
        self.calls = 0

    async def call(self, inputs: Any, training: bool = False) -> Any:
        """Echo, and leave a record."""
        self.calls += 1
        answer = Answer(label=inputs.get("text"))
        if training:
            self.state.get("current_predictions").append(
                {"inputs": inputs.get_json(), "outputs": answer.get_json(), "reward": None}
            )
        return answer


class Bare:
    """The same work without variables or events."""

    async def __call__(self, inputs: Question) -> Answer:
        """Echo."""
        return Answer(label=inputs.get("text"))


def data(count: int) -> tuple[list[Question], list[Answer]]:
    texts = [f"a question of some length, number {number}" for number in range(count)]
    return [Question(text=text) for text in texts], [Answer(label=text) for text in texts]


def program() -> tuple[Any, Echo]:
    echo = Echo(name="echo")
    x = ec.Input(data_model=Question)
    made: Any = ec.Program(inputs=x, outputs=ec.wait(echo(x)), name="program")
    made.compile(reward="exact_match", optimizer=optimizers.RandomFewShot())
    return made, echo


def fitted(place: Path, count: int) -> tuple[float, float]:
    """Return how long a durable epoch over `count` examples takes: by the clock, and on the processor."""
    ec.clear_session()
    x, y = data(count)
    with ec.open(place) as store, store.run("fit", seed=1):
        made, _ = program()
        started, worked = time.perf_counter(), time.process_time()
        ec.wait(made.fit(x, y, batch_size=32, validation_split=0, verbose=0))
        return time.perf_counter() - started, time.process_time() - worked


def gathered(count: int) -> float:
    x, _ = data(count)
    bare = Bare()

    async def all_batches() -> None:
        for begin in range(0, count, 32):
            await asyncio.gather(*(bare(item) for item in x[begin : begin + 32]))

    started = time.perf_counter()
    asyncio.run(all_batches())
    return time.perf_counter() - started


def calls_per_example() -> float:
    """Count the calls of one epoch of 180 + 20 examples."""
    ec.clear_session()
    with ec.open("memory:") as store, store.run("calls", seed=1):
        made, echo = program()
        before = echo.calls
        ec.wait(made.fit(*data(200), batch_size=10, minibatch_size=4, validation_split=0.1, verbose=0))
        return (echo.calls - before) / 180


def figures(directory: Path, quick: bool) -> Iterator[Figure]:
    few, many, repeats = (100, 400, 2) if quick else (500, 8_000, 5)
    small: list[float] = []
    large: list[float] = []
    bare: list[float] = []
    speeds: list[float] = []
    for repeat in range(repeats):
        bare.append(rate(many, gathered(many)))
        small.append(
            min(fitted(directory / f"few-{repeat}-{again}.lmdb", few)[1] for again in range(3)) / few
        )
        elapsed, worked = fitted(directory / f"many-{repeat}.lmdb", many)
        speeds.append(rate(many, elapsed))
        large.append(worked / many)
    yield Figure(
        what=f"`fit` over {many:,} examples, a module that only computes, all durable on LMDB; against bare `gather`",
        measured=each(speeds, "examples/s"),
        baseline=each(bare, "examples/s"),
        value=max(speeds),
        bound=4_000,
        at_least=True,
        unit="/s",
    )
    yield Figure(
        what=f"processor time per example of {many:,} examples against {few:,}",
        measured=each([1e6 * seconds for seconds in large], "µs"),
        baseline=each([1e6 * seconds for seconds in small], "µs"),
        value=min(large) / min(small),
        bound=1.3,
        at_least=False,
        unit="×",
    )
    yield Figure(
        what="program calls per training example and epoch, 180 + 20 examples, batch 10, minibatch 4",
        measured="counted",
        value=calls_per_example(),
        bound=1.52,
        at_least=False,
        unit="calls",
    )
