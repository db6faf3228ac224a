"""A language model that is told more and more useful hints, by another call of the same model.

    EVENTCORE_MODEL=ollama/llama3.2 python -m eventcore.examples.hints

A module wraps a `Generator` and owns a list of hints beside it; both its hints and the generator's instructions are
trained by `OMEGA`, which asks the model to rewrite what did badly. Any model litellm knows will do. Every call is in
the log with its cost, in a store in this folder.
"""

from __future__ import annotations

import os
import sys
from typing import Any

import msgspec

import eventcore as ec
from eventcore.examples.docstrings import LABELS, labelled_texts
from eventcore.examples.intents import Intent, Text, pieces, similarity
from eventcore.examples.personalize import heading
from eventcore.saving import register_serializable

DEFAULT_STORE = "eventcore-hints.lmdb"
TEXTS = 48
"""How many texts are used: half to learn from, a quarter to choose by, a quarter to measure with."""


class Hints(ec.Trainable):
    """What helps to tell what a sentence is about."""

    hints: list[str] = ec.Field(
        default=[], description="Short hints, each a sentence that helps to choose the right label."
    )


class HintedText(ec.DataModel):
    """A sentence, and what helps to label it."""

    text: str = ec.Field(description="What somebody says.")
    labels: list[str] = ec.Field(description="The labels to choose from.")
    hints: list[str] = ec.Field(description="Hints that help to choose.")


class Hinted(ec.Module):
    """Labels a text by asking a model, which is told the hints.

    Args:
        language_model: The model, its name, or a function; None for the default model.
        name: Name of the module.
        description: What it is for.
        trainable: Whether optimizers may rewrite the hints and the instructions.
    """

    def __init__(
        self,
        language_model: Any = None,
        name: str | None = None,
        description: str | None = None,
        trainable: bool = True,
    ) -> None:
        super().__init__(name=name, description=description, trainable=trainable)
        self.memory = self.add_variable(data_model=Hints, name="hints_" + self.name)
        self.generator = ec.Generator(
            data_model=Intent,
            language_model=language_model,
            instructions="Say what the text is about: answer with one of the labels, exactly as it is written.",
            name="generator_" + self.name,
        )

    async def call(self, inputs: Any, training: bool = False) -> Any:
        """Label one text; None if the model gave no usable answer."""
        if inputs is None:
            return None
        hints = list(self.memory.get("hints"))
        asked = HintedText(text=inputs.get("text"), labels=list(LABELS), hints=hints)
        answer = await self.generator(asked.to_json_data_model(), training=training)
        if answer is not None and training:
            record = {"inputs": inputs.get_json(), "outputs": answer.get_json(), "reward": None}
            self.memory.get("current_predictions").append(record)
        return answer


@register_serializable()
def apart(one: dict[str, Any], other: dict[str, Any], embedding_model: Any = None) -> float:
    """How different two candidates read, from 0 to 1; no embedding model is needed for that."""
    left, right = (pieces(str(sorted(fields.items()))) for fields in (one, other))
    return 1.0 - similarity(left, right)


class Learned(msgspec.Struct, frozen=True):
    """What a training did.

    Attributes:
        before: Accuracy on the held-out texts before.
        after: The same, after.
        program: The trained program.
    """

    before: float
    after: float
    program: ec.Program


async def build(language_model: Any) -> ec.Program:
    """Build the program and compile it."""
    inputs = ec.Input(data_model=Text)
    outputs = await Hinted(language_model, name="hinted")(inputs)
    program = ec.Program(
        inputs=inputs, outputs=outputs, name="hints", description="Says what a text is about, with a label."
    )
    optimizer = ec.OMEGA(
        language_model=language_model, distance_function=apart, merging_rate=0.3, population_size=4
    )
    program.compile(reward=ec.ExactMatch(), optimizer=optimizer)
    return program


async def train(language_model: Any, epochs: int = 3, verbose: Any = "auto") -> Learned:
    """Train in the current run, and measure on held-out texts before and after.

    Args:
        language_model: The model, its name, or a function.
        epochs: How often all texts are seen.
        verbose: As in `fit`.
    """
    program = await build(language_model)
    found = labelled_texts()[:TEXTS]
    xs = [Text(text=item.text) for item in found]
    ys = [Intent(label=item.label) for item in found]
    half, quarter = TEXTS // 2, TEXTS // 4
    before = await program.evaluate(xs[-quarter:], ys[-quarter:], verbose=0)
    await program.fit(
        xs[:half],
        ys[:half],
        batch_size=8,
        minibatch_size=6,
        epochs=epochs,
        verbose=verbose,
        validation_data=(xs[half:-quarter], ys[half:-quarter]),
        max_concurrency=8,
    )
    after = await program.evaluate(xs[-quarter:], ys[-quarter:], verbose=0)
    return Learned(before["reward"], after["reward"], program)


def report(run: ec.Run, learned: Learned) -> None:
    """Print what the model is told now, how well it does, and what it cost."""
    hints = learned.program.get_variable(name="hints_hinted").get_json()["hints"]
    told = learned.program.get_variable(name="state_generator_hinted").get_json()["instructions"]
    print(
        f"On {TEXTS // 4} texts never seen in training: {learned.before:.0%} right before, {learned.after:.0%} after"
    )
    print("instructions:", told)
    print("hints:" if hints else "hints: none")
    for hint in hints:
        print("  -", hint)
    print("what each variable cost:")
    spent = run.cost(by="variable")
    assert isinstance(spent, dict)
    for variable, amount in spent.items():
        print(f"  {variable}: {amount.calls} calls, {amount.tokens} tokens, ${amount.cost:.4f}")


def main(path: str = DEFAULT_STORE) -> int:
    """Train with the model that `EVENTCORE_MODEL` names, in a store at `path`; return the exit code."""
    name = os.environ.get("EVENTCORE_MODEL")
    if not name:
        print(
            "name a model: EVENTCORE_MODEL=ollama/llama3.2 python -m eventcore.examples.hints",
            file=sys.stderr,
        )
        return 2
    heading(f"Hints for {name}")
    with ec.open(path) as store, store.run("hints", seed=7) as run:
        learned = ec.wait(train(ec.LanguageModel(name)))
        report(run, learned)
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:2]))
