"""Lost updates during `fit`: modules that keep a count across an await lose some, others are not accused."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

import eventcore as ec
from tests.training.programs import Answer, Question, Skill


class Tally(ec.DataModel):
    """How often a module was called."""

    calls: int = 0
    seen: list[str] = ec.Field(default_factory=list)


class Counts(ec.Module):
    """Counts its calls; with `waits`, it lets others go on between reading the count and writing it."""

    def __init__(self, waits: bool, name: str | None = None) -> None:
        super().__init__(name=name)
        self.waits = waits
        self.tally = self.add_variable(data_model=Tally, trainable=False, name="tally")
        self.state = self.add_variable(Skill().get_json(), Skill, name="skill_" + self.name)

    async def call(self, inputs: Any, training: bool = False) -> Any:
        """Count."""
        seen = self.tally.get("seen")
        calls = self.tally.get("calls")
        if self.waits:
            await asyncio.sleep(0)
        self.tally.update({"calls": calls + 1})
        await asyncio.sleep(0)
        seen.append(inputs.get("key"))
        answer = Answer(key=inputs.get("key"))
        if training:
            self.state.get("current_predictions").append(
                {"inputs": inputs.get_json(), "outputs": answer.get_json(), "reward": None}
            )
        return answer


def trained(waits: bool, batch_size: int) -> tuple[ec.Run, ec.Program, int]:
    run = ec.open("memory:").run("r")
    inputs = ec.Input(data_model=Question)
    module = Counts(waits, name="counts")
    program = ec.Program(inputs=inputs, outputs=ec.wait(module(inputs)), name="p")
    program.compile(reward=ec.ExactMatch(), optimizer=ec.optimizers.RandomFewShot())
    x, y = [Question(key=str(n)) for n in range(8)], [Answer(key=str(n)) for n in range(8)]
    ec.wait(program.fit(x=x, y=y, epochs=2, batch_size=batch_size, validation_split=0.0, verbose=0))
    return run, program, module.tally.get("calls")


def test_every_lost_count_is_a_race_between_two_examples_of_a_batch() -> None:
    run, _, counted = trained(waits=True, batch_size=4)
    found = run.races()
    assert len(found) == 16 - counted > 0
    assert {race.variable.rsplit("/", 1)[-1] + race.pointer for race in found} == {"tally/calls"}
    assert all(race.other is not None and race.other != race.rollout for race in found)
    assert all("in Counts.call" in str(race.source) and race.source == race.other_source for race in found)


@pytest.mark.parametrize(("waits", "batch_size"), [(False, 4), (True, 1)])
def test_training_that_loses_nothing_is_not_accused(waits: bool, batch_size: int) -> None:
    run, _, counted = trained(waits, batch_size)
    assert counted == 16 and run.races() == [] and run.races(possible=True) == []
