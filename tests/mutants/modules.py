"""Modules with one bug each, and sound ones beside them.

Every class is as short as its bug allows; most derive from `Greeter`, which is sound.
"""

from __future__ import annotations

import asyncio
import random
import time
import uuid
from datetime import date, datetime
from typing import Any, ClassVar

import eventcore as ec
from eventcore.testing.fake_model import FakeLanguageModel
from tests.mutants.registry import Kind

KIND = Kind("module")
mutant, good = KIND.mutant, KIND.good


class Name(ec.DataModel):
    """What the modules are given."""

    name: str
    words: list[str] = []  # noqa: RUF012 - a data model copies its defaults


class Greeting(ec.DataModel):
    """What they answer."""

    greeting: str


class Persona(ec.Trainable):
    """What is trained."""

    persona: str = "friendly"


class Stats(ec.DataModel):
    """What is counted."""

    count: int = 0
    seen: list[str] = []  # noqa: RUF012


@good
class Greeter(ec.Module):
    """Greets in a trained manner and counts its calls."""

    def __init__(self, persona: str = "friendly", name: str | None = None, **kwargs: Any) -> None:
        super().__init__(name=name, **kwargs)
        self.persona = persona
        self.state = self.add_variable({"persona": persona}, Persona, name="persona")
        self.stats = self.add_variable(data_model=Stats, trainable=False, name="stats")

    async def call(self, inputs: Name, training: bool = False) -> Any:
        """Greet."""
        if inputs is None:
            return None
        self.stats.update({"count": self.stats.get("count") + 1})
        answer = Greeting(greeting=self.words(inputs))
        await asyncio.sleep(0)
        if training:
            self.record(inputs, answer)
        return answer

    def words(self, inputs: Any) -> str:
        """What to say."""
        return f"{self.state.get('persona')}: hello {inputs.get('name')}"

    def record(self, inputs: Any, answer: Any) -> None:
        """Leave the record."""
        self.state.get("current_predictions").append(entry(inputs, answer))


def entry(inputs: Any, answer: Any, reward: float | None = None) -> dict[str, Any]:
    """A record."""
    return {"inputs": inputs.get_json(), "outputs": answer.get_json(), "reward": reward}


@good
class Branching(ec.Module):
    """Uses its variable for some inputs only; no other state."""

    def __init__(self, name: str | None = None) -> None:
        super().__init__(name=name)
        self.state = self.add_variable(data_model=Persona, name="persona")

    async def call(self, inputs: Name, training: bool = False) -> Any:
        """Answer short names without the variable."""
        if inputs is None:
            return None
        if len(inputs.get("name")) % 2:
            return Greeting(greeting="hello")
        answer = Greeting(greeting=self.state.get("persona"))
        if training:
            self.state.get("current_predictions").append(entry(inputs, answer))
        return answer


@good
class Outer(ec.Module):
    """Holds another module and runs it twice."""

    def __init__(self, name: str | None = None) -> None:
        super().__init__(name=name)
        self.inner = Greeter(name="inner")

    async def call(self, inputs: Name, training: bool = False) -> Any:
        """Greet twice."""
        if inputs is None:
            return None
        first, second = await asyncio.gather(
            self.inner(inputs, training=training), self.inner(inputs, training=training)
        )
        return Greeting(greeting=first.get("greeting") + second.get("greeting"))


@good
class Stateless(ec.Module):
    """Has no variables."""

    def call(self, inputs: Name) -> Any:
        """Repeat the name."""
        return None if inputs is None else Greeting(greeting=inputs.get("name"))


@good
class Mirror(ec.Module):
    """Makes its variable in `build`, shaped like the input."""

    async def build(self, input_schema: Any) -> None:
        """Make it."""
        self.last = self.add_variable({"name": ""}, input_schema, trainable=False, name="last")

    async def call(self, inputs: Name) -> Any:
        """Answer with what was given."""
        if inputs is None:
            return None
        self.last.assign(inputs.get_json())
        return Greeting(greeting=inputs.get("name"))


@good
def generator() -> Any:
    """A generator with a model made up."""
    return ec.Generator(
        schema=None, data_model=Greeting, language_model=FakeLanguageModel(name="fake"), name="generator"
    )


@good
def chain_of_thought() -> Any:
    """The same, thinking first."""
    return ec.ChainOfThought(
        data_model=Greeting, language_model=FakeLanguageModel(name="fake"), name="thinking"
    )


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


class Box:
    """An object the tracker does not look into."""

    def __init__(self, held: Any) -> None:
        self.held = held


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


# --- instances -------------------------------------------------------------------------------------


@mutant("instances_share_nothing", "writes_are_events")
class SharedDefault(Greeter):
    """A list as a default argument: all instances have the same one."""

    def __init__(self, seen: list[str] = [], **kwargs: Any) -> None:  # noqa: B006 - the bug
        super().__init__(**kwargs)
        self.seen = seen

    def words(self, inputs: Any) -> str:
        """Remember."""
        self.seen.append(inputs.get("name"))
        return super().words(inputs)


@mutant("instances_share_nothing")
class CachedByName(Greeter):
    """A cache on the class, keyed by the module's name."""

    cache: ClassVar[dict[str, Any]] = {}

    def words(self, inputs: Any) -> str:
        """From the cache."""
        return str(self.cache.setdefault(self.name + inputs.get("name"), super().words(inputs)))


@mutant("instances_share_nothing")
class SharedVariable(Greeter):
    """One variable for all instances."""

    shared: ClassVar[list[Any]] = []

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if not self.shared:
            self.shared.append(ec.Variable(data_model=Stats, trainable=False, name="shared"))
        self.common = self.shared[0]


_numbers = [0]


@mutant("instances_share_nothing", "no_unrecorded_nondeterminism")
class NumbersItself(Greeter):
    """Begins with the number of instances there were."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        _numbers[0] += 1
        self.number = self.add_variable({"count": _numbers[0]}, Stats, trainable=False, name="number")


# --- tracing ---------------------------------------------------------------------------------------


@mutant("tracing_is_free_of_side_effects")
class CountsWhileTracing(Greeter):
    """Numbers its calls in an attribute, those of a tracing included."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.calls = 0

    def words(self, inputs: Any) -> str:
        """Count."""
        self.calls += 1
        return super().words(inputs)


@mutant("tracing_is_free_of_side_effects")
class WritesWhileTracing(Greeter):
    """Writes the live value behind the scratch copy of a tracing."""

    async def compute_output_spec(self, inputs: Any, **kwargs: Any) -> Any:
        """Say what comes, and change something."""
        from eventcore.history.scope import for_real

        with for_real():
            self.stats.update({"count": 1000})
        return Greeting


@mutant("tracing_is_free_of_side_effects")
class MakesItsVariableInCall(ec.Module):
    """Makes its variable in the first call, which may be a tracing."""

    state: Any = None

    async def call(self, inputs: Name, training: bool = False) -> Any:
        """Greet."""
        if inputs is None:
            return None
        if self.state is None:
            self.state = self.add_variable(data_model=Stats, trainable=False, name="stats")
        return Greeting(greeting=f"{self.state.get('count')} {inputs.get('name')}")


# --- inactive branches -----------------------------------------------------------------------------


@mutant("none_in_none_out")
class BreaksOnNone(Greeter):
    """Does not expect a branch that was not taken."""

    async def call(self, inputs: Name, training: bool = False) -> Any:
        """Greet."""
        return Greeting(greeting=self.words(inputs))


@mutant("none_in_none_out")
class AnswersNone(Greeter):
    """Answers a branch that was not taken."""

    async def call(self, inputs: Name, training: bool = False) -> Any:
        """Greet."""
        return Greeting(greeting="nobody") if inputs is None else await super().call(inputs, training)


@mutant("none_in_none_out")
class CountsNone(Greeter):
    """Counts before it looks."""

    async def call(self, inputs: Name, training: bool = False) -> Any:
        """Greet."""
        self.stats.update({"count": self.stats.get("count") + 1})
        if inputs is None:
            return None
        return await super().call(inputs, training)


# --- values an optimizer may write ------------------------------------------------------------------


@mutant("works_with_any_candidate")
class NeedsAWord(Greeter):
    """Takes the first word of a text that may be empty."""

    def words(self, inputs: Any) -> str:
        """The first one."""
        return f"{self.state.get('persona').split()[0]}: hello {inputs.get('name')}"


@mutant("works_with_any_candidate", "optimizer_leaves_state_alone")
class MisreadsExamples(Greeter):
    """Looks for keys in the examples that its records do not have."""

    def words(self, inputs: Any) -> str:
        """Shown."""
        for record in self.state.get("examples"):
            record["question"]
        return super().words(inputs)

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.state.update({"predictions": [{"inputs": {}, "outputs": {}, "reward": 1.0}]})


class Ratio(ec.Trainable):
    """A number without bounds."""

    part: int = 1


@mutant("works_with_any_candidate")
class DividesByZero(ec.Module):
    """Divides by a trained number its schema allows to be zero."""

    def __init__(self, name: str | None = None) -> None:
        super().__init__(name=name)
        self.state = self.add_variable(data_model=Ratio, name="ratio")

    async def call(self, inputs: Name, training: bool = False) -> Any:
        """Divide."""
        if inputs is None:
            return None
        answer = Greeting(greeting=str(len(inputs.get("name")) // (self.state.get("part") // 2**40 + 1)))
        if training:
            self.state.get("current_predictions").append(entry(inputs, answer))
        return Greeting(greeting=answer.get("greeting") + "x" * int(1 / self.state.get("part") // 2))


# --- making it again --------------------------------------------------------------------------------


@mutant("config_round_trip")
class ForgetsAnArgument(Greeter):
    """Leaves an argument out of its config."""

    def get_config(self) -> dict[str, Any]:
        """Without the persona."""
        return {"name": self.name, "description": self.description, "trainable": self.trainable}


@mutant("config_round_trip")
class ForgetsItsName(Greeter):
    """Leaves its name out of its config, so the names of its variables change."""

    def get_config(self) -> dict[str, Any]:
        """Another name."""
        return {"persona": self.persona, "name": "greeter_again"}


@mutant("config_round_trip")
class ConfigIsNoJson(Greeter):
    """Puts something into its config that no file can hold."""

    def get_config(self) -> dict[str, Any]:
        """With an object."""
        return {**super().get_config(), "persona": Box("friendly")}


@mutant("config_round_trip")
class FromConfigForgets(Greeter):
    """Reads its config and ignores a part of it."""

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Any:
        """Without the persona."""
        return cls(name=config["name"])


@mutant("config_round_trip")
class ConfigHoldsTheValue(Greeter):
    """Puts the seed of today into the config of tomorrow: it drifts at every round."""

    def get_config(self) -> dict[str, Any]:
        """Longer each time."""
        return {**super().get_config(), "persona": self.persona + "!"}


@mutant("save_and_load")
class BeginsAnewWhenLoaded(Greeter):
    """Sets its counter to nothing in the first call of a process."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.ready = False

    def words(self, inputs: Any) -> str:
        """With the counter."""
        if not self.ready:
            self.ready = True
            self.stats.update({"count": 1})
        return f"{super().words(inputs)} {self.stats.get('count')}"


@mutant("save_and_load")
class RemembersOnItself(Greeter):
    """Keeps what it learned in an attribute, which no file holds."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.longest = ""

    def words(self, inputs: Any) -> str:
        """With what it remembers."""
        self.longest = max(self.longest, inputs.get("name"), key=len)
        return f"{super().words(inputs)} after {self.longest} {len(self.longest)}"

    async def compute_output_spec(self, inputs: Any, **kwargs: Any) -> Any:
        """A greeting."""
        return Greeting


# --- doing it again ---------------------------------------------------------------------------------


@mutant("no_unrecorded_nondeterminism")
class Rolls(Greeter):
    """Draws from the global random numbers."""

    def words(self, inputs: Any) -> str:
        """Random."""
        return f"{super().words(inputs)} {random.random()}"


@mutant("no_unrecorded_nondeterminism")
class TellsTheDay(Greeter):
    """Asks the calendar."""

    def words(self, inputs: Any) -> str:
        """Dated."""
        return f"{super().words(inputs)} on {date.today()}"


@mutant("no_unrecorded_nondeterminism")
class TellsTheYear(Greeter):
    """Asks the clock, coarsely."""

    def words(self, inputs: Any) -> str:
        """Dated."""
        return f"{super().words(inputs)} in {datetime.now().year}"


@mutant("no_unrecorded_nondeterminism")
class KeepsTheTime(Greeter):
    """Writes the time into its state."""

    def words(self, inputs: Any) -> str:
        """Timed."""
        self.stats.update({"count": int(time.time()) // 86400})
        return super().words(inputs)


@mutant("no_unrecorded_nondeterminism")
class GivesIds(Greeter):
    """Makes up an id."""

    def words(self, inputs: Any) -> str:
        """Unique."""
        return f"{super().words(inputs)} #{uuid.uuid4()}"


@mutant("no_unrecorded_nondeterminism")
class OrdersByHash(Greeter):
    """Takes words in the order of a set."""

    def words(self, inputs: Any) -> str:
        """In any order."""
        tones = {"warm", "dry", "loud", "kind", "brief", "formal"}
        return f"{super().words(inputs)} {' '.join(tones)}"


@mutant("no_unrecorded_nondeterminism")
class HashesNames(Greeter):
    """Chooses by `hash`, another one in every process."""

    def words(self, inputs: Any) -> str:
        """By hash."""
        return f"{super().words(inputs)} {hash(inputs.get('name') + 'x') % 1000}"


_memory: list[str] = []


@mutant("no_unrecorded_nondeterminism")
class RemembersForAll(Greeter):
    """Remembers in a global of its Python module."""

    def words(self, inputs: Any) -> str:
        """With what is remembered."""
        _memory.append(inputs.get("name"))
        return f"{super().words(inputs)} {len(_memory)}"
