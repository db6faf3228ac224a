"""Small modules and data models the tests of modules and programs share."""

from __future__ import annotations

from typing import Any

import eventcore as ec


class Name(ec.DataModel):
    name: str


class Greeting(ec.DataModel):
    greeting: str


class Number(ec.DataModel):
    number: int = 0


class Persona(ec.Trainable):
    """How to speak."""

    persona: str = "friendly"


class Counter(ec.DataModel):
    count: int = 0


class Greet(ec.Module):
    """Greets somebody."""

    def __init__(self, persona: str = "friendly", name: str | None = None, trainable: bool = True) -> None:
        super().__init__(name=name, trainable=trainable)
        self.state = self.add_variable({"persona": persona}, Persona, name=f"persona_{self.name}")
        self.counter = self.add_variable(data_model=Counter, trainable=False, name=f"counter_{self.name}")

    async def call(self, inputs: Any, training: bool = False) -> Any:
        if inputs is None:
            return None
        self.counter.update({"count": self.counter.get("count") + 1})
        return Greeting(greeting=f"[{self.state.get('persona')}] hello {inputs.get('name')}")


class Mirror(ec.Module):
    """Owns a variable shaped like its input, made in `build`."""

    builds = 0

    async def build(self, input_schema: Any) -> None:
        self.builds += 1
        self.seen_schema = input_schema
        self.last = self.add_variable(
            dict.fromkeys(input_schema["properties"], ""), input_schema, name=f"last_{self.name}"
        )

    async def call(self, inputs: Any) -> Any:
        if inputs is not None:
            self.last.assign(inputs.get_json())
        return inputs


class Add(ec.Module):
    """Adds a constant; no state."""

    def __init__(self, amount: int = 1, name: str | None = None) -> None:
        super().__init__(name=name)
        self.amount = amount

    def call(self, inputs: Any) -> Any:
        return None if inputs is None else Number(number=inputs.get("number") + self.amount)
