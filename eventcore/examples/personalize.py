"""A module with a trainable variable and a counter, and a small program around it.

The module of the guide to trainable variables. No language model is called, so everything is deterministic:

    python -m eventcore.examples.personalize
"""

from __future__ import annotations

from typing import Any

import eventcore as ec

PIRATE = "A pirate who shouts."
ACADEMIC = "A precise, formal academic."


class Name(ec.DataModel):
    """Who is to be greeted."""

    name: str = ec.Field(description="The name of the person to greet.")


class Greeting(ec.DataModel):
    """What was said."""

    greeting: str = ec.Field(description="The greeting.")


class Persona(ec.Trainable):
    """How the assistant should speak."""

    persona: str = ec.Field(
        description="A short description of the assistant's tone and style.",
        default="A friendly, concise assistant.",
    )


class CallStats(ec.DataModel):
    """How often the module was called: state that no optimizer touches."""

    count: int = ec.Field(default=0, description="Calls so far.")


class Personalize(ec.Module):
    """Greets the user in a style controlled by a trainable persona.

    Args:
        persona: The persona to begin with; None for the default of `Persona`.
        name: Name of the module.
        description: What it is for.
        trainable: Whether optimizers may rewrite the persona.
    """

    def __init__(
        self,
        persona: str | None = None,
        name: str | None = None,
        description: str | None = None,
        trainable: bool = True,
    ) -> None:
        super().__init__(name=name, description=description, trainable=trainable)
        self.persona = persona
        seed = Persona(persona=persona) if persona is not None else Persona()
        self.state = self.add_variable(
            initializer=seed.get_json(), data_model=Persona, name="persona_" + self.name
        )
        self.stats = self.add_variable(
            initializer=CallStats().get_json(),
            data_model=CallStats,
            trainable=False,
            name="stats_" + self.name,
        )

    async def call(self, inputs: Any, training: bool = False) -> Any:
        """Greet one person."""
        if inputs is None:
            return None
        self.stats.update({"count": self.stats.get("count") + 1})
        persona = self.state.get("persona")
        result = Greeting(greeting=f"[{persona}] hello {inputs.get('name')}")
        if training:
            predictions = self.state.get("current_predictions")
            predictions.append({"inputs": inputs.get_json(), "outputs": result.get_json(), "reward": None})
        return result

    def get_config(self) -> dict[str, Any]:
        """Return what `from_config` needs to build the module again."""
        return {
            "persona": self.persona,
            "name": self.name,
            "description": self.description,
            "trainable": self.trainable,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Personalize:
        """Build the module from its config."""
        return cls(**config)


async def build(persona: str = PIRATE) -> ec.Program:
    """Build the program: a name in, a greeting out."""
    inputs = ec.Input(data_model=Name)
    outputs = await Personalize(persona=persona, name="personalize")(inputs)
    return ec.Program(inputs=inputs, outputs=outputs, name="greeter", description="Greets one person.")


async def greet(program: ec.Program, name: str) -> str:
    """Call the program with a name and return the greeting."""
    result = await program(Name(name=name))
    return str(result.get("greeting"))


async def main() -> ec.Program:
    """Run the guide's program, print what the guide prints, and return the program."""
    program = await build()
    heading("Trainable variables collected by the program")
    for variable in program.trainable_variables:
        print(f"- {variable.name}: fields = {list(variable.keys())}")
    print("Non-trainable variables (runtime state, not optimized):")
    for variable in program.non_trainable_variables:
        print(f"- {variable.name}: fields = {list(variable.keys())}")

    heading("Running the program with the initial persona")
    print("output:", await greet(program, "Ada"))

    heading("Simulating an optimizer step: assign() a new persona")
    state = program.get_variable(name="persona_personalize")
    state.update({"persona": ACADEMIC})
    print("new persona:", state.get("persona"))
    print("output:", await greet(program, "Ada"))

    heading("Non-trainable state: the call counter")
    stats = program.get_variable(name="stats_personalize")
    print(f"{stats.name}: count = {stats.get('count')}")
    return program


def heading(text: str) -> None:
    """Print a heading between two rules."""
    print("=" * 60)
    print(text)
    print("=" * 60)


if __name__ == "__main__":
    ec.wait(main())
