"""Small programs the tests of training are about: deterministic, no model, told what to do by their input."""

from __future__ import annotations

import asyncio
from typing import Any

import eventcore as ec


class Question(ec.DataModel):
    """What a test asks."""

    key: str
    uses: int = 1
    turns: int = 0
    fails: bool = False


class Answer(ec.DataModel):
    """What comes back."""

    key: str


class Skill(ec.Trainable):
    """What is trained."""

    word: str = ec.Field(default="start", description="A word.")


class Echo(ec.Module):
    """Answers with the question's key; appends one record per use, after yielding `turns` times to the others."""

    def __init__(self, name: str | None = None) -> None:
        super().__init__(name=name)
        self.state = self.add_variable(Skill().get_json(), Skill, name="skill_" + self.name)

    async def call(self, inputs: Any, training: bool = False) -> Any:
        """Echo."""
        if inputs is None:
            return None
        answer = Answer(key=inputs.get("key"))
        records = self.state.get("current_predictions")
        for _ in range(inputs.get("uses")):
            for _ in range(inputs.get("turns")):
                await asyncio.sleep(0)
            if training:
                records.append({"inputs": inputs.get_json(), "outputs": answer.get_json(), "reward": None})
        if inputs.get("fails"):
            raise ValueError(f"question {inputs.get('key')} fails")
        return answer


class Speaker(ec.Module):
    """Answers with its trained word, whatever is asked."""

    def __init__(self, name: str | None = None) -> None:
        super().__init__(name=name)
        self.state = self.add_variable(Skill().get_json(), Skill, name="skill_" + self.name)

    async def call(self, inputs: Any, training: bool = False) -> Any:
        """Speak."""
        answer = Answer(key=self.state.get("word"))
        if training:
            self.state.get("current_predictions").append(
                {"inputs": inputs.get_json(), "outputs": answer.get_json(), "reward": None}
            )
        return answer


def program_of(module: ec.Module, name: str = "program") -> Any:
    """A program of one module."""
    x = ec.Input(data_model=Question)
    return ec.Program(inputs=x, outputs=ec.wait(module(x)), name=name)
