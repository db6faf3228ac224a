"""Optimizers that train well until they are resumed, or saved and loaded: only a second life shows what is wrong."""

from __future__ import annotations

import functools
import json
from collections.abc import Sequence
from random import Random
from typing import Any, ClassVar

import eventcore as ec
from eventcore.testing.module_subject import own_fields
from tests.mutants.optimizers import KIND, Climber, mutant, other

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


# --- saved and loaded ------------------------------------------------------------------------------


@mutant("state_survives_saving")
class NumbersItsProposals(Climber):
    """Seeds its random numbers with the number of the proposal, which it keeps in an attribute."""

    made = 0

    def climb(self, step: int, variable: Any, rng: Random) -> None:
        """The next."""
        self.made += 1
        super().climb(step, variable, Random(self.made))


@mutant("state_survives_saving")
class RemembersWhatItTried(Climber):
    """Keeps what it has tried in an attribute, so that it tries it again when it is loaded."""

    def __init__(self, population_size: int = 4, name: str | None = None, **kwargs: Any) -> None:
        super().__init__(population_size=population_size, name=name, **kwargs)
        self._tried: set[str] = set()

    def climb(self, step: int, variable: Any, rng: Random) -> None:
        """What was not tried."""
        for _ in range(20):
            field = rng.choice(own_fields(variable))
            value = other(variable.get_schema()["properties"][field], rng)
            key = json.dumps([variable.path, field, value])
            if key not in self._tried:
                self._tried.add(key)
                self.propose(variable, {field: value}, "climbing")
                return


@mutant("config_round_trip")
class LosesItsReach(Climber):
    """Takes an argument that its config does not mention, and keeps it under another name."""

    def __init__(
        self, reach: int = 1, population_size: int = 4, name: str | None = None, **kwargs: Any
    ) -> None:
        super().__init__(population_size=population_size, name=name, **kwargs)
        self._reach = reach

    def climb(self, step: int, variable: Any, rng: Random) -> None:
        """As far as it reaches."""
        for field in own_fields(variable)[: self._reach]:
            self.propose(
                variable, {field: other(variable.get_schema()["properties"][field], rng)}, "climbing"
            )


def far_reaching() -> LosesItsReach:
    """Takes an argument that its config does not mention, and was given another than the default."""
    return LosesItsReach(reach=2)


# With the default it would be sound: what is lost is what the factory gave it.
KIND.mutants[-1].factory = far_reaching


@mutant("config_round_trip")
class LosesItsPatience(Climber):
    """Keeps an argument for later, and leaves it out of its config."""

    def __init__(
        self, patience: int = 99, population_size: int = 4, name: str | None = None, **kwargs: Any
    ) -> None:
        super().__init__(population_size=population_size, name=name, **kwargs)
        self.patience = patience

    def climb(self, step: int, variable: Any, rng: Random) -> None:
        """Unless it has lost its patience."""
        if self.iterations < self.patience:
            super().climb(step, variable, rng)


def patient() -> LosesItsPatience:
    """Keeps an argument for later, and was given another than the default."""
    return LosesItsPatience(patience=999)


KIND.mutants[-1].factory = patient


@mutant("state_survives_saving")
class CountsForAllOfThem(Climber):
    """Numbers the proposals of a training in the class, by the name of the program."""

    numbers: ClassVar[dict[str, int]] = {}

    async def on_train_begin(self, trainable_variables: Sequence[Any], reset: bool = False) -> None:
        """From nothing if nothing was counted."""
        if not self.epochs:
            self.numbers[self.name] = 0
        await super().on_train_begin(trainable_variables, reset)

    def climb(self, step: int, variable: Any, rng: Random) -> None:
        """The next."""
        number = self.numbers[self.name] = self.numbers.get(self.name, 0) + 1
        super().climb(step, variable, Random(number))
