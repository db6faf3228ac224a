"""The modules and rewards that eventcore itself ships pass every check of the harness."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

import eventcore as ec
from eventcore.saving import register_serializable
from eventcore.testing import FakeLanguageModel, check_module, check_reward
from tests.mutants.sound_modules import Greeter, Greeting, Name, Stats


class Colour(ec.DataModel):
    """What stands beside a name."""

    colour: str = ""


def model() -> FakeLanguageModel:
    """A model made up."""
    return FakeLanguageModel(name="fake")


def decision() -> Any:
    """One of two labels."""
    return ec.Decision(
        question="Is it a name?", labels=["yes", "no"], language_model=model(), name="decision"
    )


def critique() -> Any:
    """A model looks at its own answer."""
    return ec.SelfCritique(language_model=model(), name="critique")


def with_inputs() -> Any:
    """What was asked stands beside the answer."""
    return ec.Generator(data_model=Greeting, language_model=model(), return_inputs=True, name="generator")


def concat() -> Any:
    """All fields of both."""
    return ec.Concat(name="concat")


def both() -> Any:
    """Both or nothing."""
    return ec.And(name="and")


def masked() -> Any:
    """One field."""
    return ec.InMask(mask=["name"], name="mask")


def identity() -> Any:
    """What it is given."""
    return ec.Identity(name="identity")


def sequential() -> Any:
    """One module after another."""
    generator = ec.Generator(data_model=Stats, language_model=model(), name="generator")
    return ec.Sequential([Greeter(name="greeter"), generator], name="steps", description="Greets and counts.")


def program() -> Any:
    """A graph of two branches that come together."""
    inputs = ec.Input(data_model=Name)
    branches = [Greeter(name="short"), Greeter(name="long")]
    branch = ec.Branch(
        question="Is it long?", labels=["no", "yes"], branches=branches, language_model=model(), name="branch"
    )
    short, long = ec.wait(branch(inputs))
    return ec.Program(inputs=inputs, outputs=short | long, name="program", description="Greets in two ways.")


def two_outputs() -> Any:
    """A graph with a list of outputs."""
    inputs = ec.Input(data_model=Name)
    generator = ec.Generator(data_model=Stats, language_model=model(), name="generator")
    outputs = [ec.wait(Greeter(name="greeter")(inputs)), ec.wait(generator(inputs))]
    return ec.Program(
        inputs=inputs, outputs=outputs, name="program", description="Greets and counts at once."
    )


MODULES: list[tuple[Callable[[], Any], Any]] = [
    (decision, Name),
    (critique, Name),
    (with_inputs, Name),
    (concat, (Name, Colour)),
    (both, (Name, Colour)),
    (masked, Name),
    (identity, Name),
    (sequential, Name),
    (program, None),
    (two_outputs, None),
]


@pytest.mark.campaign
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.parametrize(("factory", "inputs"), MODULES, ids=[factory.__name__ for factory, _ in MODULES])
def test_a_shipped_module_passes_every_check(factory: Any, inputs: Any, seed: int) -> None:
    assert check_module(factory, inputs, seed=seed).ok


@register_serializable()
def letters(texts: list[str]) -> list[list[float]]:
    """A vector of each text: how often it has letters of each of some kinds."""
    return [
        [1.0, *(float(sum(ord(each) % 7 == kind for each in text)) for kind in range(7))] for text in texts
    ]


def cosine() -> Any:
    """By a small embedding."""
    return ec.rewards.CosineSimilarity(embedding_model=ec.EmbeddingModel(function=letters, name="letters"))


def of_one_field() -> Any:
    """Only the greeting counts."""
    return ec.rewards.ExactMatch(in_mask=["greeting"])


def judge() -> Any:
    """A model says how good it is, whatever that is."""
    return ec.rewards.LMAsJudge(language_model=model())


JUDGED = {
    "nothing_beats_the_target": "a model that makes up its mind pays the target no more than anything else"
}


@pytest.mark.campaign
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.parametrize("factory", [cosine, of_one_field, judge])
def test_a_shipped_reward_passes_every_check(factory: Any, seed: int) -> None:
    expected = JUDGED if factory is judge else None
    assert check_reward(factory, Greeting, expected, seed=seed).ok
