"""Modules with one bug each: records, rewards, events, variables.

Every class is as short as its bug allows; most derive from `Greeter`, which is sound.
"""

from __future__ import annotations

import asyncio
from typing import Any

import eventcore as ec
from tests.mutants.sound_modules import KIND, Box, Greeter, Greeting, Name, Outer, Sorting, Stats, entry

mutant = KIND.mutant


# --- records ---------------------------------------------------------------------------------------


@mutant("one_record_per_use")
class RecordsAlways(Greeter):
    """Appends a record without training as well."""

    async def call(self, inputs: Name, training: bool = False) -> Any:
        """Greet."""
        return await super().call(inputs, training=True)


@mutant("one_record_per_use")
class NeverRecords(Greeter):
    """Forgets the record."""

    def record(self, inputs: Any, answer: Any) -> None:
        """Forget it."""


@mutant("one_record_per_use")
class RecordsTwice(Greeter):
    """A subclass records and calls the base's record too."""

    def record(self, inputs: Any, answer: Any) -> None:
        """Twice."""
        super().record(inputs, answer)
        super().record(inputs, answer)


@mutant("one_record_per_use")
class RewardsItself(Greeter):
    """Begins with a reward of zero instead of None."""

    def record(self, inputs: Any, answer: Any) -> None:
        """With a reward."""
        self.state.get("current_predictions").append(entry(inputs, answer, 0.0))


@mutant("one_record_per_use")
class RecordsTheLastInputs(Greeter):
    """Records the inputs of the call before."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.last: Any = None

    def record(self, inputs: Any, answer: Any) -> None:
        """The last ones."""
        super().record(self.last or inputs, answer)
        self.last = inputs


@mutant("one_record_per_use")
class RecordsTheFirstAnswer(Greeter):
    """Keeps the first answer for all records."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.first: Any = None

    def record(self, inputs: Any, answer: Any) -> None:
        """The first one."""
        self.first = self.first or answer
        super().record(inputs, self.first)


@mutant("one_record_per_use")
class UsesItsArgument(Greeter):
    """Uses the constructor's argument, not the variable: proposals have no effect."""

    def words(self, inputs: Any) -> str:
        """From the argument."""
        return f"{self.persona}: hello {inputs.get('name')}"


@mutant("rewards_reach_their_records")
class RecordsLate(Greeter):
    """Appends the record in a task that nobody waits for."""

    def record(self, inputs: Any, answer: Any) -> None:
        """Later."""

        async def later() -> None:
            for _ in range(60):
                await asyncio.sleep(0)
            super(RecordsLate, self).record(inputs, answer)

        self.task = asyncio.ensure_future(later())


@mutant("rewards_reach_their_records")
class RecordsInAnExecutor(Greeter):
    """Appends the record in a thread that does not know the example."""

    async def call(self, inputs: Name, training: bool = False) -> Any:
        """Greet."""
        if inputs is None:
            return None
        answer = Greeting(greeting=self.words(inputs))
        if training:
            await asyncio.get_running_loop().run_in_executor(None, super().record, inputs, answer)
        return answer


@mutant("rewards_reach_their_records", "one_record_per_use")
class RecordsOneCallLater(Greeter):
    """Flushes the record of a call when the next one comes."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.waiting: list[Any] = []

    def record(self, inputs: Any, answer: Any) -> None:
        """The one that waits."""
        for record in self.waiting:
            self.state.get("current_predictions").append(record)
        self.waiting = [entry(inputs, answer)]


@mutant("rewards_reach_their_records")
class RecordsForOthers(Greeter):
    """Keeps the inputs on itself while it waits, and records whatever is there afterwards."""

    async def call(self, inputs: Name, training: bool = False) -> Any:
        """Greet."""
        if inputs is None:
            return None
        self.current = inputs
        answer = Greeting(greeting=self.words(inputs))
        await asyncio.sleep(0)
        if training:
            self.record(self.current, answer)
        return answer


# --- concurrency -----------------------------------------------------------------------------------


@mutant("concurrency_safe")
class AnswersOthers(Greeter):
    """Keeps the inputs on itself while it waits."""

    async def call(self, inputs: Name, training: bool = False) -> Any:
        """Greet."""
        if inputs is None:
            return None
        self.current = inputs
        await asyncio.sleep(0)
        answer = Greeting(greeting=self.words(self.current))
        if training:
            self.record(inputs, answer)
        return answer


@mutant("concurrency_safe")
class LosesCounts(Greeter):
    """Reads the counter before it waits and writes it afterwards."""

    async def call(self, inputs: Name, training: bool = False) -> Any:
        """Greet."""
        if inputs is None:
            return None
        count = self.stats.get("count")
        await asyncio.sleep(0)
        self.stats.update({"count": count + 1})
        answer = Greeting(greeting=self.words(inputs))
        if training:
            self.record(inputs, answer)
        return answer


@mutant("concurrency_safe")
class LosesRecords(Greeter):
    """Copies the records, waits, and writes the copy back."""

    async def call(self, inputs: Name, training: bool = False) -> Any:
        """Greet."""
        if inputs is None:
            return None
        answer = Greeting(greeting=self.words(inputs))
        if training:
            records = list(self.state.get_json()["current_predictions"])
            await asyncio.sleep(0)
            self.state.update({"current_predictions": [*records, entry(inputs, answer)]})
        return answer


# --- state and events ------------------------------------------------------------------------------


@mutant("writes_are_events")
class CountsOnItself(Greeter):
    """Counts in an attribute."""

    calls = 0

    def words(self, inputs: Any) -> str:
        """Count."""
        self.calls += 1
        return super().words(inputs)


@mutant("writes_are_events")
class RemembersInAList(Greeter):
    """Remembers what it saw in a list of its own."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.seen: list[str] = []

    def words(self, inputs: Any) -> str:
        """Remember."""
        self.seen.append(inputs.get("name"))
        return super().words(inputs)


@mutant("writes_are_events")
class GoesBehindTheView(Greeter):
    """Appends with the method of `list`, which no view hears of."""

    def words(self, inputs: Any) -> str:
        """Behind."""
        list.append(self.stats.get("seen"), inputs.get("name"))
        return super().words(inputs)


@mutant("writes_are_events", "equal_state_from_replay")
class WritesTheRawValue(Greeter):
    """Changes the live value itself."""

    def words(self, inputs: Any) -> str:
        """Raw."""
        dict.__setitem__(self.stats.raw_value(), "count", len(inputs.get("name")))
        return super().words(inputs)


@mutant("reads_are_events")
class ReadsForDisplay(Greeter):
    """Reads with `get_json`, which records nothing."""

    def words(self, inputs: Any) -> str:
        """Unrecorded."""
        return f"{self.state.get_json()['persona']}: hello {inputs.get('name')}"


@mutant("reads_are_events")
class Peeks(Greeter):
    """Reads with the engine's own unrecorded method."""

    def words(self, inputs: Any) -> str:
        """Unrecorded."""
        return f"{self.state.peek('persona')}: hello {inputs.get('name')}"


@mutant("reads_are_events")
class ReadsAListForDisplay(Greeter):
    """Answers with a list it read unrecorded."""

    def words(self, inputs: Any) -> str:
        """Unrecorded."""
        return f"{super().words(inputs)} after {self.stats.get_json()['seen']}"


# --- variables -------------------------------------------------------------------------------------


@mutant("variables_discovered")
class HidesAVariable(Greeter):
    """Keeps a variable inside an object."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.box = Box(ec.Variable(data_model=Stats, trainable=False, name="hidden"))


@mutant("variables_discovered")
class ListsOnlyItsOwn(Outer):
    """Overrides `variables` and forgets those of the modules it holds."""

    @property
    def variables(self) -> list[Any]:
        """None of the inner module's."""
        return []


@mutant("locks_after_first_call")
class MakesVariablesLater(Greeter):
    """Makes a variable when it needs one, past the lock."""

    def words(self, inputs: Any) -> str:
        """Later."""
        if self.stats.get("count") == 3:
            self.box = Box(ec.Variable(data_model=Stats, trainable=False, name="late"))
        return super().words(inputs)


@mutant("locks_after_first_call")
class CallsItsOwnWay(Greeter):
    """Overrides `__call__`: never built, never locked."""

    async def __call__(self, inputs: Any, training: bool = False) -> Any:
        """Greet."""
        return await self.call(inputs, training)


@mutant("locks_after_first_call")
class AddsPerName(Greeter):
    """Adds a variable for every new name."""

    def words(self, inputs: Any) -> str:
        """One each."""
        if not hasattr(self, "of_" + str(len(inputs.get("name")))):
            variable = self.add_variable(data_model=Stats, name=f"of_{len(inputs.get('name'))}")
            setattr(self, variable.name, variable)
        return super().words(inputs)


class NearlyTrainable(ec.DataModel):
    """The bookkeeping fields, typed off by hand, without one."""

    examples: list[Any] = []  # noqa: RUF012
    current_predictions: list[Any] = []  # noqa: RUF012
    predictions: list[Any] = []  # noqa: RUF012
    candidates: list[Any] = []  # noqa: RUF012
    best_candidates: list[Any] = []  # noqa: RUF012
    history: list[Any] = []  # noqa: RUF012
    nb_visit: int = 0
    cumulative_reward: float = 0.0
    persona: str = "friendly"


@mutant("trainable_iff_trainable")
class DowngradedInSilence(Greeter):
    """Its data model lacks one bookkeeping field, so it is never trained."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.nearly = self.add_variable(data_model=NearlyTrainable, name="nearly")


@mutant("trainable_iff_trainable", "optimizer_leaves_state_alone")
class OffersEverything(Greeter):
    """Lists every variable as trainable."""

    @property
    def trainable_variables(self) -> list[Any]:
        """All."""
        return self.variables


@mutant("trainable_iff_trainable")
class CannotBeFrozen(Greeter):
    """Lists its variable as trainable whatever was asked."""

    @property
    def trainable_variables(self) -> list[Any]:
        """Always."""
        return [self.state]


@mutant("trainable_iff_trainable")
class ThawsTheWrongOnes(Greeter):
    """Freezes by hand, and thaws nothing."""

    @property
    def trainable(self) -> bool:
        """Its own flag."""
        return True

    @trainable.setter
    def trainable(self, value: bool) -> None:
        self.state.trainable = False


class NoDefault(ec.Trainable):
    """A trainable field without a default."""

    persona: str


@mutant("defaults_complete")
class NeedsAValue(Greeter):
    """Its trainable data model cannot be made from nothing."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.more = self.add_variable({"persona": "given"}, NoDefault, name="more")


_made: list[Any] = []


@mutant("defaults_complete")
def made_once() -> Any:
    """A factory that gives the same instance for ever."""
    if not _made:
        _made.append(Greeter(name="once"))
    return _made[0]


# --- answers ---------------------------------------------------------------------------------------

PROMISED = "answers_fit_their_schema"


class Mood(ec.DataModel):
    """What was answered once, or is by now."""

    greeting: str = ""
    mood: str = "fine"


@mutant(PROMISED)
class PromisesTheOldModel(Greeter):
    """Answers with another data model since; `compute_output_spec` still says the one before."""

    async def compute_output_spec(self, inputs: Any, training: bool = False) -> Any:
        """As it was."""
        return Stats


@mutant(PROMISED)
class PromisesMore(Greeter):
    """Promises a field that no answer has any more; it has a default, and nobody gets that."""

    async def compute_output_spec(self, inputs: Any, training: bool = False) -> Any:
        """With the field."""
        return Mood


@mutant(PROMISED)
class AnswersByPersona(Greeter):
    """Answers with another data model as soon as it is trained to anything else."""

    async def compute_output_spec(self, inputs: Any, training: bool = False) -> Any:
        """As with the first persona."""
        return Greeting

    async def call(self, inputs: Name, training: bool = False) -> Any:
        """Greet, or count."""
        answer = await super().call(inputs, training=training)
        return answer if self.state.get("persona") == "friendly" else answer and Stats(count=1)


@mutant(PROMISED)
class AnswersTwiceUnderTraining(Greeter):
    """Gives its reasons beside the answer, where there are any."""

    async def call(self, inputs: Name, training: bool = False) -> Any:
        """Greet."""
        answer = await super().call(inputs, training=training)
        return (answer, Stats()) if training and answer is not None else answer


@mutant(PROMISED)
class ApologizesInstead(Greeter):
    """Answers with another data model where it knows no better."""

    async def call(self, inputs: Name, training: bool = False) -> Any:
        """Greet who has words."""
        answer = await super().call(inputs, training=training)
        return Stats(count=1) if answer is not None and len(inputs.get("words")) > 1 else answer


@mutant(PROMISED)
class AnswersInTheOtherPlace(Sorting):
    """Says the second place first."""

    async def compute_output_spec(self, inputs: Any, training: bool = False) -> Any:
        """The other way round."""
        return Stats, await self.greeter(inputs)
