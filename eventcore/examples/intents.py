"""A classifier that learns from its own right answers: no model, no network, no key.

    python -m eventcore.examples.intents

It says what a sentence is about by similarity: to the name of each label, and to the few-shot examples in its
trainable variable. Untrained it has no examples and goes by the names alone. `RandomFewShot` tries sets of its own
past answers as examples and keeps the set that does best, and the log says where each of them came from.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from functools import lru_cache
from itertools import accumulate, pairwise
from typing import Any

import msgspec

import eventcore as ec
from eventcore.examples.docstrings import LABELS, labelled_texts
from eventcore.examples.personalize import heading
from eventcore.history.events import CandidateProposed
from eventcore.optimizers import RandomFewShot
from eventcore.training.rewards import ExactMatch

HELD_OUT = 120
"""Texts that training never sees; the accuracy is measured on them."""

VALIDATION = 74
"""Texts that proposals are scored on."""

_WORD = re.compile(r"[a-z]+")

IDLE = frozenset(
    _WORD.findall(
        "a an and are as at be by can for from given if in into is it its not of on or return returned returns "
        "that the this to use used using when which with"
    )
)
"""Words that are in every text and tell nothing."""


class Text(ec.DataModel):
    """A sentence."""

    text: str = ec.Field(description="What somebody says.")


class Intent(ec.DataModel):
    """What it is about."""

    label: str = ec.Field(description="One of the labels.")


class Memory(ec.Trainable):
    """What the classifier goes by: its few-shot examples, and the labels it chooses from."""

    labels: list[str] = ec.Field(
        default=list(LABELS), description="The labels, each a word that says what it is for."
    )


class Classifier(ec.Module):
    """Labels a text by its similarity to the labels' names and to its examples.

    Args:
        name: Name of the module.
        description: What it is for.
        trainable: Whether optimizers may choose its examples.
    """

    def __init__(
        self, name: str | None = None, description: str | None = None, trainable: bool = True
    ) -> None:
        super().__init__(name=name, description=description, trainable=trainable)
        self.memory = self.add_variable(data_model=Memory, name="memory_" + self.name)

    async def call(self, inputs: Any, training: bool = False) -> Any:
        """Label one text."""
        if inputs is None:
            return None
        grams = pieces(inputs.get("text"))
        scores = {label: similarity(grams, pieces(label)) for label in self.memory.get("labels")}
        for example in self.memory.get("examples"):
            label = example["outputs"]["label"]
            if label in scores:
                scores[label] += similarity(grams, pieces(example["inputs"]["text"])) ** 2
        result = Intent(label=max(scores, key=lambda label: scores[label]))
        if training:
            record = {"inputs": inputs.get_json(), "outputs": result.get_json(), "reward": None}
            self.memory.get("current_predictions").append(record)
        return result


@lru_cache(maxsize=4096)
def pieces(text: str) -> dict[str, float]:
    """Return how often each word of a text, and each four or five letters in a row, occurs; of length 1."""
    counts: Counter[str] = Counter()
    for word in _WORD.findall(text.lower()):
        if word not in IDLE:
            padded = f" {word} "
            counts[padded] += 1
            for size in (4, 5):
                counts.update(padded[at : at + size] for at in range(len(padded) - size + 1))
    length = math.sqrt(sum(count * count for count in counts.values())) or 1.0
    return {piece: count / length for piece, count in counts.items()}


def similarity(one: dict[str, float], other: dict[str, float]) -> float:
    """Return the cosine of two texts' pieces: 0.0 for nothing in common, 1.0 for the same."""
    if len(one) > len(other):
        one, other = other, one
    return sum(weight * other.get(piece, 0.0) for piece, weight in one.items())


class Part(msgspec.Struct, frozen=True):
    """Part of the texts, with what they are about."""

    x: list[Text]
    y: list[Intent]


class Learned(msgspec.Struct, frozen=True):
    """What a training did.

    Attributes:
        before: Accuracy on the held-out texts before.
        after: The same, after.
        curve: Accuracy on the validation texts: untrained, then after each epoch.
        program: The trained program.
    """

    before: float
    after: float
    curve: list[float]
    program: ec.Program


def data() -> tuple[Part, Part, Part]:
    """Return the texts to learn from, those the search is judged by, and those held out until it is over."""
    found = labelled_texts()
    known = len(found) - HELD_OUT - VALIDATION
    ends = (0, known, known + VALIDATION, len(found))
    return tuple(  # type: ignore[return-value]  # three ends, three parts
        Part(
            [Text(text=item.text) for item in found[start:stop]],
            [Intent(label=item.label) for item in found[start:stop]],
        )
        for start, stop in pairwise(ends)
    )


async def build() -> ec.Program:
    """Build the program: a text in, its label out."""
    inputs = ec.Input(data_model=Text)
    outputs = await Classifier(name="classifier")(inputs)
    return ec.Program(
        inputs=inputs, outputs=outputs, name="intents", description="Says what a text is about."
    )


async def train(epochs: int = 8, verbose: Any = "auto") -> Learned:
    """Train in the current run, and measure on held-out texts before and after.

    Args:
        epochs: How often all texts are seen.
        verbose: As in `fit`.
    """
    program = await build()
    optimizer = RandomFewShot(nb_min_examples=24, nb_max_examples=48, population_size=4)
    program.compile(reward=ExactMatch(), optimizer=optimizer)
    known, validation, held_out = data()
    start = await program.evaluate(validation.x, validation.y, verbose=0)
    before = await program.evaluate(held_out.x, held_out.y, verbose=0)
    history = await program.fit(
        known.x,
        known.y,
        batch_size=16,
        minibatch_size=32,
        epochs=epochs,
        verbose=verbose,
        validation_data=(validation.x, validation.y),
    )
    after = await program.evaluate(held_out.x, held_out.y, verbose=0)
    curve = [start["reward"], *history.history["val_reward"]]
    return Learned(before["reward"], after["reward"], curve, program)


class Source(msgspec.Struct, frozen=True):
    """Where one of the winner's examples came from.

    Attributes:
        seq: Event that recorded the answer, 0 if it is not in this run.
        rollout: Identity of the rollout that gave it.
        text: The text.
        label: The answer, which is the example's label now.
        reward: What it scored.
    """

    seq: int
    rollout: str
    text: str
    label: str
    reward: float


def winner(run: ec.Run, program: ec.Program) -> tuple[int, list[Source]]:
    """Trace the examples the program ended with to the rollouts they came from.

    Returns:
        Seq of the proposal (0 if nothing proposed won) and the sources, in the order of the examples.
    """
    memory = program.get_variable(name="memory_classifier")
    examples = memory.get_json()["examples"]
    for seq, event in run.events(variable=memory, kind="CandidateProposed"):
        assert isinstance(event, CandidateProposed)
        if event.fields.get("examples") == examples:
            answered = _answers(run, memory, set(event.sources))
            pairs = zip(event.sources, examples, strict=True)
            return seq, [_source(rollout, example, answered) for rollout, example in pairs]
    return 0, []


def _answers(run: ec.Run, memory: ec.Variable, rollouts: set[str]) -> dict[str, int]:
    """Return the seq of each rollout's answer."""
    events = run.events(variable=memory, kind="PredictionAppended")
    return {event.rollout: seq for seq, event in events if event.rollout in rollouts}


def _source(rollout: str, example: dict[str, Any], answered: dict[str, int]) -> Source:
    text, label = example["inputs"]["text"], example["outputs"]["label"]
    return Source(answered.get(rollout, 0), rollout, text, label, example["reward"])


def report(run: ec.Run, learned: Learned, shown: int = 6) -> None:
    """Print the learning curve, the accuracy, and where the winner's examples came from."""
    print("Right on the validation texts: the set of examples tried in each epoch, and the best so far")
    for epoch, (tried, best) in enumerate(zip(learned.curve, accumulate(learned.curve, max), strict=True)):
        name = f"epoch {epoch}" if epoch else "untrained"
        print(f"  {name:<9} {tried:4.0%}  {best:4.0%} {'#' * round(best * 60)}")
    print(
        f"On {HELD_OUT} texts that were never seen in training: {learned.before:.0%} right untrained, "
        f"{learned.after:.0%} trained"
    )
    proposal, sources = winner(run, learned.program)
    print(f"The winner: {len(sources)} examples, proposed by event {proposal}, each an answer of its own:")
    for source in sources[:shown]:
        text = source.text if len(source.text) <= 56 else source.text[:53] + "..."
        print(f"  event {source.seq:<5} {source.rollout}  {source.label:<8} {text}")
    if len(sources) > shown:
        print(f"  and {len(sources) - shown} more")


def main() -> Learned:
    """Train in the current run, and say what was learned."""
    heading(f"Learning what a text is about: {', '.join(LABELS)}")
    learned = ec.wait(train())
    report(learned.program.trainable_variables[0].run, learned)
    return learned


if __name__ == "__main__":
    main()
