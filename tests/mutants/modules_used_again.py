"""Modules with one bug each: in another instance, a graph, a file, a process, or with other values.

Every class is as short as its bug allows; most derive from `Greeter`, which is sound.
"""

from __future__ import annotations

import functools
import random
import time
import uuid
from datetime import date, datetime
from typing import Any, ClassVar

import eventcore as ec
from eventcore.testing.fake_model import FakeLanguageModel
from tests.mutants.sound_modules import KIND, Box, Greeter, Greeting, Name, Stats, entry

mutant = KIND.mutant


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


FOLLOWS = "answers_follow_variables"


@mutant(FOLLOWS)
class RemembersOnItsClass(Greeter):
    """Keeps its answers on the class, by the question alone: it goes on saying what another prompt said."""

    answers: ClassVar[dict[str, str]] = {}

    def words(self, inputs: Any) -> str:
        """From the class."""
        words = super().words(inputs)
        return self.answers.setdefault(inputs.get("name"), words)


_answers: dict[str, str] = {}


@mutant(FOLLOWS)
class RemembersInItsFile(Greeter):
    """Keeps its answers in a dict of its file, by the question alone."""

    def words(self, inputs: Any) -> str:
        """From the file."""
        if inputs.get("name") not in _answers:
            _answers[inputs.get("name")] = super().words(inputs)
        return _answers[inputs.get("name")]


@mutant(FOLLOWS)
class CachesItsMethod(Greeter):
    """Puts `lru_cache` on a method: the instance and the question are the key, the prompt is not."""

    @functools.lru_cache(maxsize=64)  # noqa: B019 - the bug
    def said(self, name: str) -> str:
        """Worked out once."""
        return f"{self.state.get('persona')}: hello {name}"

    def words(self, inputs: Any) -> str:
        """From the cache."""
        return self.said(inputs.get("name"))


@mutant(FOLLOWS)
class CachedByVariable(Greeter):
    """Keeps what it made of its prompt in a dict of its file, by the path of the variable."""

    def words(self, inputs: Any) -> str:
        """From the cache."""
        return (
            f"{_prompts.setdefault(self.state.path, self.state.get('persona'))}: hello {inputs.get('name')}"
        )


_prompts: dict[str, str] = {}


@mutant(FOLLOWS)
class CachedByModule(Greeter):
    """Keeps what it made of its prompt on the class, by the name of the module."""

    prompts: ClassVar[dict[str, str]] = {}

    def words(self, inputs: Any) -> str:
        """From the cache."""
        if self.name not in self.prompts:
            self.prompts[self.name] = f"As somebody {self.state.get('persona')}"
        return f"{self.prompts[self.name]}: hello {inputs.get('name')}"


@mutant(FOLLOWS)
class RemembersTheModelsAnswers(Greeter):
    """Asks a model once for each question, in whatever manner it was asked first."""

    said: ClassVar[dict[str, Any]] = {}

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.model = FakeLanguageModel(name="fake")

    async def call(self, inputs: Name, training: bool = False) -> Any:
        """Ask, unless that was done."""
        if inputs is None:
            return None
        manner, name = self.state.get("persona"), inputs.get("name")
        if name not in self.said:
            messages = [{"role": "user", "content": f"{manner}: greet {name}"}]
            self.said[name] = (await self.model(messages)).get("content")
        answer = Greeting(greeting=f"hello {name}, {self.said[name]}")
        if training:
            self.record(inputs, answer)
        return answer

    async def compute_output_spec(self, inputs: Any, training: bool = False) -> Any:
        """A greeting, without asking anybody."""
        return Greeting


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


class Styled(Greeter):
    """Greets in a style that is no variable."""

    def __init__(self, style: str = "short", name: str | None = None) -> None:
        super().__init__(name=name)
        self.style = style

    def words(self, inputs: Any) -> str:
        """In its style."""
        return f"{super().words(inputs)} ({self.style})"


@mutant("config_round_trip")
class ForgetsItsStyle(Styled):
    """Leaves an argument out that is an attribute, and in no variable."""

    def get_config(self) -> dict[str, Any]:
        """The name alone."""
        return {"name": self.name}


@mutant("config_round_trip")
def in_another_style() -> Any:
    """The same, made with an argument by its factory."""
    return ForgetsItsStyle(style="long")


@mutant("config_round_trip")
class ForgetsWhatItWasGiven(Greeter):
    """Leaves out an argument that is no attribute and that nobody can guess a value for."""

    def __init__(self, polish: Any = None, name: str | None = None) -> None:
        super().__init__(name=name)
        self.box = Box(polish)

    def words(self, inputs: Any) -> str:
        """Polished."""
        words = super().words(inputs)
        return self.box.held(words) if self.box.held else words

    def get_config(self) -> dict[str, Any]:
        """The name alone."""
        return {"name": self.name}


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


@mutant("one_record_per_use")
class FillsTheRecordTooLate(Greeter):
    """Appends a record and then completes it: the variable has a copy of what was appended."""

    def record(self, inputs: Any, answer: Any) -> None:
        """In two steps."""
        record = {"inputs": inputs.get_json(), "outputs": dict[str, Any](), "reward": None}
        self.state.get("current_predictions").append(record)
        record["outputs"] = answer.get_json()
