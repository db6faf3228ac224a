"""Sound modules, that must pass every check; the faulty ones derive from `Greeter`."""

from __future__ import annotations

import asyncio
from typing import Any

import eventcore as ec
from eventcore.saving import deserialize_object, serialize_object
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


@good
class Sorting(ec.Module):
    """Answers in one of two places, by the length of the name."""

    def __init__(self, name: str | None = None) -> None:
        super().__init__(name=name)
        self.greeter = Greeter(name="greeter")

    async def call(self, inputs: Name, training: bool = False) -> Any:
        """Greet, or count the words."""
        if inputs is None:
            return None
        if len(inputs.get("name")) % 2:
            return None, Stats(count=len(inputs.get("words")))
        return await self.greeter(inputs, training=training), None

    async def compute_output_spec(self, inputs: Any, training: bool = False) -> Any:
        """What stands in each place."""
        return await self.greeter(inputs), Stats


@good
def branch() -> Any:
    """A decision of a model made up, and two modules that go on."""
    return ec.Branch(
        question="Is it a name?",
        labels=["yes", "no"],
        branches=[Greeter(name="yes"), Stateless(name="no")],
        inject_decision=False,
        language_model=FakeLanguageModel(name="fake"),
        name="branch",
    )


@good
class Voting(ec.Module):
    """Asks several models, and says what most of them do; of as many, the first in the alphabet."""

    def __init__(self, name: str | None = None) -> None:
        super().__init__(name=name)
        model = FakeLanguageModel(lambda said: {"greeting": str(sum(map(ord, str(said))) % 5)}, name="fake")
        self.voters = [
            ec.Generator(data_model=Greeting, language_model=model, name=f"voter_{place}")
            for place in range(3)
        ]

    async def call(self, inputs: Name, training: bool = False) -> Any:
        """Ask all of them at once."""
        if inputs is None:
            return None
        asked = [voter(inputs, training=training) for voter in self.voters]
        answers = [answer.get("greeting") for answer in await asyncio.gather(*asked) if answer is not None]
        return Greeting(greeting=self.chosen(answers)) if answers else None

    def chosen(self, answers: list[str]) -> str:
        """What was said most often."""
        return max(sorted(set(answers)), key=answers.count)

    async def compute_output_spec(self, inputs: Any, training: bool = False) -> Any:
        """A greeting; the voters are built."""
        for voter in self.voters:
            await voter(inputs)
        return Greeting


class Conversation(ec.DataModel):
    """What was said so far; a name that training uses, too."""

    history: list[str] = []  # noqa: RUF012


@good
class Remembering(ec.Module):
    """Answers by a model that belongs to the caller, and keeps what it was asked."""

    def __init__(self, language_model: Any = None, name: str | None = None) -> None:
        super().__init__(name=name)
        self.language_model = language_model or FakeLanguageModel(
            lambda said: {"greeting": said[-1]["content"].upper()}, name="fake"
        )
        self.memory = self.add_variable(data_model=Conversation, name="memory")
        self.generator = ec.Generator(
            data_model=Greeting, language_model=self.language_model, name="generator"
        )

    async def call(self, inputs: Name, training: bool = False) -> Any:
        """Answer, and keep the question."""
        answer = await self.generator(inputs, training=training)
        if answer is not None:
            self.memory.get("history").append(inputs.get("name"))
        return answer

    def get_config(self) -> dict[str, Any]:
        """The model and the name."""
        return {"language_model": serialize_object(self.language_model), "name": self.name}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Remembering:
        """The same."""
        return cls(deserialize_object(config["language_model"]), name=config["name"])


class Box:
    """An object the tracker does not look into."""

    def __init__(self, held: Any) -> None:
        self.held = held
