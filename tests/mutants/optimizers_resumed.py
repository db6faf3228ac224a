"""Optimizers that train well until they are resumed: only code that is run a second time shows what is wrong."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from random import Random
from typing import Any, ClassVar

import eventcore as ec
from tests.mutants.optimizers import Climber, mutant

CHECK = "resumes_at_every_event"


@ec.effect
def suggestion(about: str) -> str:
    """What somebody outside suggests."""
    return f"Think of {about}."


@functools.cache
def kept_suggestion(about: str) -> str:
    """Asked once for each subject, and kept for as long as the process lives."""
    return suggestion(about)


@mutant(CHECK)
class KeepsAnswersInTheProcess(Climber):
    """Keeps answers in a cache of the module: a second execution does not ask what the log says was asked."""

    def climb(self, step: int, variable: Any, rng: Random) -> None:
        """With a suggestion."""
        kept_suggestion(variable.path)
        super().climb(step, variable, rng)


@mutant(CHECK)
class AnnouncesOnce(Climber):
    """Announces itself once in a process, by a flag of the class."""

    announced: ClassVar[bool] = False

    async def on_train_begin(self, trainable_variables: Sequence[Any], reset: bool = False) -> None:
        """Unless it was done."""
        if not AnnouncesOnce.announced:
            AnnouncesOnce.announced = True
            suggestion("the beginning")
        await super().on_train_begin(trainable_variables, reset)


@mutant(CHECK)
class SeededByTheHead(Climber):
    """Seeds its random numbers with the length of the log, in which every opening of the run is an event."""

    def climb(self, step: int, variable: Any, rng: Random) -> None:
        """By the head."""
        super().climb(step, variable, Random(variable.run.head))


@mutant(CHECK)
class CountsItsLives(Climber):
    """Is careful after it was killed: it counts how often the run was opened."""

    def climb(self, step: int, variable: Any, rng: Random) -> None:
        """Carefully."""
        lives = sum(1 for _ in variable.run.events(kind="RunStarted"))
        super().climb(step, variable, Random(f"{lives} {step} {variable.path}"))


@mutant(CHECK)
class DoesNothingWhileReplaying(Climber):
    """Takes a replay for something in which nothing has to be done."""

    def climb(self, step: int, variable: Any, rng: Random) -> None:
        """Only in earnest."""
        if variable.run.replaying is None:
            super().climb(step, variable, rng)


@mutant(CHECK)
class LooksAhead(Climber):
    """Reads what is stored and not what it has come to, so that it sees its own future when it is run again."""

    def climb(self, step: int, variable: Any, rng: Random) -> None:
        """By all there is."""
        variable.run.flush()
        stored = variable.run.store.reader(variable.run.number).head()
        super().climb(step, variable, Random(stored))


@mutant(CHECK)
class TellsItsAge(Climber):
    """Writes down how often the process made an optimizer of this class."""

    made: ClassVar[int] = 0

    def __init__(self, population_size: int = 4, name: str | None = None, **kwargs: Any) -> None:
        super().__init__(population_size=population_size, name=name, **kwargs)
        TellsItsAge.made += 1
        self.age = TellsItsAge.made

    async def on_train_begin(self, trainable_variables: Sequence[Any], reset: bool = False) -> None:
        """In a request."""
        suggestion(f"optimizer {self.age}")
        await super().on_train_begin(trainable_variables, reset)
