"""Modules that ask the world through effects and yet cannot be replayed: what is recorded is not all they use."""

from __future__ import annotations

import asyncio
import functools
import itertools
import random
import threading
import time
import uuid
from typing import Any, ClassVar

import eventcore as ec
from tests.mutants.sound_modules import Greeter, Greeting, Name, Voting, good, mutant

AGAIN = "equal_state_from_replay"
ELSEWHERE = "no_unrecorded_nondeterminism"


@ec.effect
async def looked_up(name: str) -> str:
    """What somebody outside knows of a name."""
    await asyncio.sleep(0)
    return f"{name} at {time.time_ns()}"


@ec.effect
def known(name: str) -> str:
    """The same, at once."""
    return f"{name}, {random.random()}"


@good
class Stamped(Greeter):
    """Takes the time, an identifier, random numbers and what others know, each through eventcore."""

    def words(self, inputs: Any) -> str:
        """Say all of it."""
        drawn = ec.random("words").randrange(1000)
        return f"{super().words(inputs)} {ec.now():%H:%M} {ec.uuid()} {drawn} {known(inputs.get('name'))}"

    async def compute_output_spec(self, inputs: Any, training: bool = False) -> Any:
        """A greeting, without asking anybody."""
        return Greeting

    async def call(self, inputs: Any, training: bool = False) -> Any:
        """Look it up first."""
        if inputs is None:
            return None
        self.stats.get("seen").append(await looked_up(inputs.get("name")))
        return await super().call(inputs, training=training)


@ec.effect
def tossed() -> bool:
    """What is often the same by chance."""
    return random.random() < 0.5


@good
class Tossing(Stamped):
    """Says what a coin says, which is recorded."""

    def words(self, inputs: Any) -> str:
        """Head or tail."""
        return (
            f"{inputs.get('name')}, {self.state.get('persona')} {tossed()} {ec.random('coin').randrange(2)}"
        )

    async def call(self, inputs: Any, training: bool = False) -> Any:
        """Without looking anything up."""
        return await Greeter.call(self, inputs, training=training)


@functools.cache
def remembered(name: str) -> str:
    """Ask once in a process."""
    return known(name)


@mutant(ELSEWHERE)
class RemembersAnswers(Greeter):
    """Keeps answers of effects in a cache of the process: the second time nothing is asked."""

    def words(self, inputs: Any) -> str:
        """From the cache."""
        return super().words(inputs) + remembered(inputs.get("name"))


class Dated(ec.DataModel):
    """A greeting, and when it was said."""

    greeting: str = ec.Field(description="What to say.")
    at: str = ec.Field(description="When.")


@good
class SaysWhen(Greeter):
    """Gives the recorded time beside the greeting."""

    async def compute_output_spec(self, inputs: Any, training: bool = False) -> Any:
        """A greeting, without asking for the time."""
        return Dated

    async def call(self, inputs: Any, training: bool = False) -> Any:
        """Greet."""
        if inputs is None:
            return None
        await asyncio.sleep(0)
        answer = Dated(greeting=self.words(inputs), at=ec.now().isoformat())
        if training:
            self.record(inputs, answer)
        return answer


@mutant("concurrency_safe")
class SaysWhenToOthers(SaysWhen):
    """Keeps the inputs on itself while it waits, and gives the recorded time beside the answer."""

    async def call(self, inputs: Any, training: bool = False) -> Any:
        """Greet whoever came last."""
        if inputs is None:
            return None
        self.current = inputs
        await asyncio.sleep(0)
        answer = Dated(greeting=self.words(self.current), at=ec.now().isoformat())
        if training:
            self.record(inputs, answer)
        return answer


@mutant(ELSEWHERE)
class FindsEachOnce(ec.Module):
    """Looks places up with an effect, and puts what was found together from a set."""

    def call(self, inputs: Name) -> Any:
        """Name each once."""
        if inputs is None:
            return None
        found = {known(f"{place} of {inputs.get('name')}") for place in ("house", "garden", "street", "yard")}
        return Greeting(greeting=", ".join(found))


@mutant(AGAIN)
class OnlyInEarnest(Greeter):
    """Takes a replay for something in which nothing has to be written."""

    def words(self, inputs: Any) -> str:
        """Note it, unless that was done."""
        if self.stats.run.replaying is None:
            self.stats.get("seen").append(inputs.get("name"))
        return super().words(inputs)


@mutant(ELSEWHERE)
class TellsOnce(Greeter):
    """Tells somebody that it is there, once in a process, by a flag of the class."""

    told: ClassVar[bool] = False

    def words(self, inputs: Any) -> str:
        """Tell, unless it was done."""
        if not TellsOnce.told:
            TellsOnce.told = True
            known("somebody")
        return super().words(inputs)


_numbers = itertools.count()


@mutant(AGAIN)
class NumbersItsRequests(Greeter):
    """Puts a number of the process into each request."""

    def words(self, inputs: Any) -> str:
        """With a number."""
        return f"{super().words(inputs)} {known(f'request {next(_numbers)}')}"


@mutant(ELSEWHERE)
class ClockBesideNow(Greeter):
    """Takes the day from the clock, and the minute from the log."""

    def words(self, inputs: Any) -> str:
        """By two clocks."""
        return f"{super().words(inputs)} {int(time.time()) // 86400} {ec.now():%M}"


@mutant(ELSEWHERE)
class RandomBesideUuid(Greeter):
    """Draws from the global random numbers what it asks about."""

    def words(self, inputs: Any) -> str:
        """Ask about something."""
        return f"{super().words(inputs)} {ec.uuid()} {known(str(random.randrange(10**9)))}"


@mutant(ELSEWHERE)
class IdentifierInTheRequest(Greeter):
    """Numbers its requests with identifiers that nobody recorded."""

    async def call(self, inputs: Any, training: bool = False) -> Any:
        """Ask with an identifier."""
        if inputs is None:
            return None
        self.stats.get("seen").append(await looked_up(f"{inputs.get('name')} {uuid.uuid4()}"))
        return await super().call(inputs, training=training)


@mutant(ELSEWHERE)
class SetInTheRequest(Greeter):
    """Asks about the words in the order of a set."""

    def words(self, inputs: Any) -> str:
        """One after the other."""
        words = {*inputs.get("name"), "friend", "hello", "again", "please"}
        return super().words(inputs) + "".join(known(word) for word in words)


@mutant(ELSEWHERE)
class HashInTheState(Greeter):
    """Keeps a hash beside what somebody told it."""

    def words(self, inputs: Any) -> str:
        """Keep it."""
        self.stats.get("seen").append(f"{hash(known(inputs.get('name')))}")
        return super().words(inputs)


@mutant(ELSEWHERE, AGAIN)
class TimesItself(Greeter):
    """Writes what a thread of its own measured beside the time."""

    def words(self, inputs: Any) -> str:
        """Measure it."""
        found: list[int] = []
        thread = threading.Thread(target=lambda: found.append(time.monotonic_ns()))
        thread.start()
        thread.join()
        self.stats.get("seen").append(f"{ec.now():%M} {found[0]}")
        return super().words(inputs)


@mutant(ELSEWHERE)
class VotesBySet(Voting):
    """Of what was said equally often, takes the first of a set: as long as all say the same nobody sees it."""

    def chosen(self, answers: list[str]) -> str:
        """One of them."""
        return max(set(answers), key=answers.count)
