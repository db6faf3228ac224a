"""A recorded `fit` whose calls take 50 ms: what recording adds to it, and how much faster it replays.

The module asks a function with `@ec.effect` that sleeps for 50 ms, one call an example, 32 examples a batch; the
optimizer is `RandomFewShot`. Recording goes to LMDB, and every intent is durable before its call leaves and every
outcome before the training goes on. The baseline is the same `fit` with the bare function, no effect, in memory.
A replay is `run.replay` of the same script, in a process of its own.

Times are those of `fit` alone, told by the process itself, the best of three; the whole process with its start
and imports is written beside. Concurrency 1 and 32.

Defends: recording adds at most 15 %; a replay is 20 times as fast at concurrency 1, 8 times at 32.
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import eventcore as ec
from benchmarks.figure import Figure, each
from eventcore import optimizers

CALL = 0.05
REPETITIONS = 3
BOUNDS = {1: 20.0, 32: 8.0}


class Question(ec.DataModel):
    """What is asked."""

    text: str = ec.Field(description="The text.")


class Answer(ec.DataModel):
    """What comes back."""

    label: str = ec.Field(description="The label.")


class Skill(ec.Trainable):
    """What is trained."""

    word: str = ec.Field(default="start", description="A word.")


async def bare(text: str) -> str:
    """Answer after a while."""
    await asyncio.sleep(CALL)
    return text


recorded = ec.effect(bare)


class Ask(ec.Module):
    """Asks once an example."""

    def __init__(self, function: Any, name: str | None = None) -> None:
        super().__init__(name=name)
        self.function = function
        self.state = self.add_variable(Skill().get_json(), Skill, name="skill")

    async def compute_output_spec(self, inputs: Any) -> Any:
        """What it returns: an effect has no answer to a placeholder."""
        return Answer

    async def call(self, inputs: Any, training: bool = False) -> Any:
        """Ask, and leave a record."""
        answer = Answer(label=await self.function(inputs.get("text")))
        if training:
            self.state.get("current_predictions").append(
                {"inputs": inputs.get_json(), "outputs": answer.get_json(), "reward": None}
            )
        return answer


def train(url: str, function: Any, concurrency: int, count: int) -> float:
    """Fit, and return how long that took."""
    texts = [f"a question of some length, number {number}" for number in range(count)]
    with ec.open(url).run("fit", seed=7, resume=url != "memory:") as run:
        inputs = ec.Input(data_model=Question)
        program = ec.Program(
            inputs=inputs, outputs=ec.wait(Ask(function, name="ask")(inputs)), name="program"
        )
        program.compile(reward=ec.ExactMatch(), optimizer=optimizers.RandomFewShot())
        x, y = [Question(text=text) for text in texts], [Answer(label=text) for text in texts]
        started = time.perf_counter()
        ec.wait(program.fit(x, y, batch_size=32, epochs=1, max_concurrency=concurrency, verbose=0))
        run.flush()
        return time.perf_counter() - started


def command(url: str, kind: str, concurrency: int, count: int) -> list[str]:
    """What trains in a process of its own, and prints how long `fit` took."""
    return [sys.executable, "-m", "benchmarks.bench_replay", url, kind, str(concurrency), str(count)]


def timed(arguments: list[str]) -> tuple[float, float]:
    """Run a command; seconds of `fit`, and of the process."""
    started = time.perf_counter()
    done = subprocess.run(arguments, capture_output=True, text=True, check=True)
    return float(done.stdout.split()[-1]), time.perf_counter() - started


def replayed(url: str, arguments: list[str]) -> tuple[float, float]:
    """Replay a run; seconds of `fit`, and of the process."""
    with ec.open(url, read_only=True) as store:
        started = time.perf_counter()
        report = store["fit"].replay(arguments)
        took = time.perf_counter() - started
    if not report.identical:
        raise RuntimeError(str(report))
    return float(report.output.split()[-1]), took


def figures(directory: Path, quick: bool) -> Iterator[Figure]:
    for concurrency, bound in BOUNDS.items():
        count = (8 if quick else 40) if concurrency == 1 else (64 if quick else 640)
        without, live, again = [], [], []
        for number in range(1 if quick else REPETITIONS):
            url = f"lmdb:{directory / f'replay-{concurrency}-{number}'}"
            arguments = command(url, "recorded", concurrency, count)
            without.append(timed(command("memory:", "bare", concurrency, count)))
            live.append(timed(arguments))
            again.append(replayed(url, arguments))
        best, plain, quickest = (min(fit for fit, _ in found) for found in (live, without, again))
        calls = f"{count} examples, calls of 50 ms, concurrency {concurrency}"
        yield Figure(
            what=f"recording a `fit` of {calls}",
            measured=each([fit for fit, _ in live], "s"),
            baseline=f"no effect, in memory: {each([fit for fit, _ in without], 's')}",
            value=(best / plain - 1) * 100,
            bound=15.0,
            at_least=False,
            unit="%",
        )
        yield Figure(
            what=f"replay of a `fit` of {calls}",
            measured=f"{each([fit for fit, _ in again], 's')}; whole process {each([all for _, all in again], 's')}",
            baseline=f"recorded: {each([fit for fit, _ in live], 's')}; "
            f"whole process {each([all for _, all in live], 's')}",
            value=best / quickest,
            bound=bound,
            at_least=True,
            unit="×",
        )


if __name__ == "__main__":
    url, kind, concurrency, count = sys.argv[1:]
    print(train(url, {"bare": bare, "recorded": recorded}[kind], int(concurrency), int(count)))
