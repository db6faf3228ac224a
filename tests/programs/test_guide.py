"""The guide's program, unchanged but for the import, prints what the guide says."""

# mypy: allow-untyped-calls, allow-untyped-defs
# pyright: reportMissingParameterType=false
from __future__ import annotations

import asyncio
import contextlib
import io
from typing import Any

import eventcore as synalinks

EXPECTED = """\
============================================================
Trainable variables collected by the program
============================================================
- persona_personalize: fields = ['examples', 'current_predictions', 'predictions', 'seed_candidates', 'candidates', 'best_candidates', 'history', 'nb_visit', 'cumulative_reward', 'persona']
Non-trainable variables (runtime state, not optimized):
- stats_personalize: fields = ['count']
============================================================
Running the program with the initial persona
============================================================
output: [A pirate who shouts.] hello Ada
============================================================
Simulating an optimizer step: assign() a new persona
============================================================
new persona: A precise, formal academic.
output: [A precise, formal academic.] hello Ada
============================================================
Non-trainable state: the call counter
============================================================
stats_personalize: count = 2
"""  # noqa: E501 - the guide's own lines


class Name(synalinks.DataModel):
    name: str = synalinks.Field(description="The name of the user.")


class Greeting(synalinks.DataModel):
    greeting: str = synalinks.Field(description="A greeting for the user.")


class Persona(synalinks.Trainable):
    """How the assistant should speak."""

    persona: str = synalinks.Field(
        description="A short description of the assistant's tone and style.",
        default="A friendly, concise assistant.",
    )


class CallStats(synalinks.DataModel):
    count: int = synalinks.Field(default=0, description="Calls so far.")


class Personalize(synalinks.Module):
    """Greets the user in a style controlled by a trainable persona variable."""

    def __init__(self, persona=None, name=None, description=None, trainable=True):
        super().__init__(name=name, description=description, trainable=trainable)
        self.persona = persona
        seed = Persona(persona=persona) if persona is not None else Persona()
        self.state = self.add_variable(
            initializer=seed.get_json(),
            data_model=Persona,
            name="persona_" + self.name,
        )
        self.stats = self.add_variable(
            initializer=CallStats().get_json(),
            data_model=CallStats,
            trainable=False,
            name="stats_" + self.name,
        )

    async def call(self, inputs, training=False):
        persona = self.state.get("persona")
        self.stats.update({"count": self.stats.get("count") + 1})
        result = Greeting(greeting=f"[{persona}] hello {inputs.get('name')}")
        if training:
            predictions = self.state.get("current_predictions")
            predictions.append({"inputs": inputs.get_json(), "outputs": result.get_json(), "reward": None})
        return result

    def get_config(self):
        return {
            "persona": self.persona,
            "name": self.name,
            "description": self.description,
            "trainable": self.trainable,
        }

    @classmethod
    def from_config(cls, config):
        return cls(**config)


def heading(text: str) -> None:
    print("=" * 60)
    print(text)
    print("=" * 60)


async def main() -> Any:
    synalinks.clear_session()
    inputs = synalinks.Input(data_model=Name)
    outputs = await Personalize(persona="A pirate who shouts.")(inputs)
    program = synalinks.Program(
        inputs=inputs, outputs=outputs, name="personalized_greeter", description="Greets."
    )

    heading("Trainable variables collected by the program")
    for variable in program.trainable_variables:
        print(f"- {variable.name}: fields = {list(variable.get_json().keys())}")
    print("Non-trainable variables (runtime state, not optimized):")
    for variable in program.non_trainable_variables:
        print(f"- {variable.name}: fields = {list(variable.get_json().keys())}")

    heading("Running the program with the initial persona")
    result = await program(Name(name="Ada"))
    print("output:", result.get("greeting"))

    heading("Simulating an optimizer step: assign() a new persona")
    state = program.get_variable(name="persona_personalize")
    state.update({"persona": "A precise, formal academic."})
    print("new persona:", state.get("persona"))
    result = await program(Name(name="Ada"))
    print("output:", result.get("greeting"))

    heading("Non-trainable state: the call counter")
    stats = program.get_variable(name="stats_personalize")
    print(f"{stats.name}: count = {stats.get('count')}")
    return program


def test_the_guides_program_prints_what_the_guide_says() -> None:
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        asyncio.run(main())
    assert printed.getvalue() == EXPECTED


def test_under_training_the_guides_module_leaves_a_record_for_the_optimizer() -> None:
    with contextlib.redirect_stdout(io.StringIO()):
        program = asyncio.run(main())
    synalinks.wait(program(Name(name="Ada"), training=True))
    state = program.trainable_variables[0]
    record = {"name": "Ada"}, {"greeting": "[A precise, formal academic.] hello Ada"}
    assert [(r["inputs"], r["outputs"], r["reward"]) for r in state.get("current_predictions")] == [
        (*record, None)
    ]


def test_the_guides_module_is_made_again_from_its_config() -> None:
    module = Personalize(persona="Terse.", trainable=False)
    again = Personalize.from_config({**module.get_config(), "name": "again"})
    assert again.persona == "Terse." and not again.trainable and again.state.get("persona") == "Terse."
