"""Modules and data models the tests of saving share, and an independent account of what a program is."""

from __future__ import annotations

from typing import Any

import eventcore as ec


class Name(ec.DataModel):
    name: str


class Greeting(ec.DataModel):
    greeting: str


class Persona(ec.Trainable):
    """How to speak."""

    persona: str = ec.Field(default="friendly", description="The tone.")
    habits: dict[str, Any] = ec.Field(default_factory=dict)


class Stats(ec.DataModel):
    count: int = 0
    by_name: dict[str, Any] = ec.Field(default_factory=dict)
    last: str | None = None


class Greet(ec.Module):
    """Greets somebody."""

    def __init__(
        self,
        persona: str = "friendly",
        extra: Any = None,
        name: str | None = None,
        description: str | None = None,
        trainable: bool = True,
    ) -> None:
        super().__init__(name=name, description=description, trainable=trainable)
        self.extra = extra
        self.state = self.add_variable({"persona": persona}, Persona, name=f"persona_{self.name}")

    async def build(self, input_schema: Any) -> None:
        self.stats = self.add_variable(data_model=Stats, trainable=False, name="stats", description="Calls.")

    async def call(self, inputs: Any, training: bool = False) -> Any:
        if inputs is None:
            return None
        name = inputs.get("name")
        self.stats.update({"count": self.stats.get("count") + 1, "last": name})
        self.stats.get("by_name")[name] = {"seen": [1, None, {"deep": True}]}
        if training:
            self.state.get("current_predictions").append({"inputs": {"name": name}, "outputs": {}})
        return Greeting(greeting=f"[{self.state.get('persona')}] hello {name}")


class Rename(ec.Module):
    """Turns a greeting into a name again; made of other modules."""

    def __init__(self, inner: ec.Module | None = None, times: int = 1, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.inner = inner
        self.times = times
        self.own = [Greet(persona=f"own {place}") for place in range(times)]

    async def call(self, inputs: Any) -> Any:
        value = inputs
        for module in [self.inner, *self.own]:
            if module is not None:
                greeting = await module(value)
                value = Name(name=greeting.get("greeting")[:12])
        return Name(name=value.get("name"))


class Chain(ec.Program):
    """Calls its modules one after the other."""

    def __init__(self, links: Any = (), note: Any = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.links = links
        self.note = note

    async def call(self, inputs: Any, training: bool = False) -> Any:
        for link in self.links:
            inputs = await link(inputs)
        return inputs


def graph(name: str = "greeter", persona: str = "pirate", description: str = "Greets.") -> ec.Program:
    """The guide's program: one `Greet` between an input and an output."""
    x = ec.Input(data_model=Name, name=f"{name}_input")
    y = ec.wait(Greet(persona, name=f"{name}_greet")(x))
    return ec.Program(inputs=x, outputs=y, name=name, description=description)


def used(program: ec.Program, *names: str) -> ec.Program:
    """Call a program once for each name."""
    for name in names or ("Ada",):
        ec.wait(program(Name(name=name), training=True))
    return program


def account(program: Any) -> dict[str, Any]:
    """Everything two equal programs agree on, taken from their public faces."""
    return {
        "class": type(program).__name__,
        "name": program.name,
        "description": program.description,
        "variables": [
            (v.path, v.get_json(), v.get_schema(), v.description, v.trainable, v.own_trainable, v.requested)
            for v in program.variables
        ],
        "modules": [_module(module) for module in program.modules],
    }


def _module(module: Any) -> tuple[Any, ...]:
    return (
        type(module).__name__, module.name, module.description, module.trainable, module.built, module.path,
        repr(getattr(module, "extra", None)), getattr(module, "times", None),
    )  # fmt: skip


def values(program: Any) -> dict[str, Any]:
    """Every value by path."""
    return {variable.path: variable.get_json() for variable in program.variables}
