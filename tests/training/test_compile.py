"""What `compile` takes is the program's own: nothing that learns or counts is shared by two programs."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from typing import Any

import pytest

import eventcore as ec
from eventcore import metrics, optimizers
from eventcore.errors import InvalidValue
from tests.training.programs import Answer, Echo, Question, program_of


@pytest.fixture(autouse=True)
def _fresh() -> Iterator[None]:
    ec.clear_session()
    with ec.open("memory:") as store, store.run("compile", seed=1):
        yield


def two() -> tuple[Any, Any]:
    return program_of(Echo(name="one"), "first"), program_of(Echo(name="other"), "second")


def data(keys: str, told: str) -> tuple[list[Question], list[Answer]]:
    return [Question(key=key) for key in keys], [Answer(key=key) for key in told]


def test_a_metric_given_to_two_programs_counts_for_each_alone() -> None:
    first, second = two()
    accuracy = metrics.MeanMetricWrapper(lambda y_true, y_pred: float(y_true == y_pred), name="hits")
    first.compile(reward="exact_match", metrics=[accuracy], optimizer="random_few_shot")
    second.compile(reward="exact_match", metrics=[accuracy], optimizer="random_few_shot")
    assert first.metrics == [accuracy]
    assert [metric.name for metric in second.metrics] == ["hits"]
    assert second.metrics[0] is not accuracy
    for program, told in ((first, "ab"), (second, "ax")):
        x, y = data("ab", told)
        ec.wait(program.compute_metrics(x, y, y))
    ec.wait(second.compute_metrics(*data("a", "a"), data("b", "b")[1]))
    assert accuracy.result() == 1.0
    assert second.metrics[0].result() == 2 / 3


def test_a_metric_stays_the_same_object_when_its_program_is_compiled_again() -> None:
    first, second = two()
    accuracy = metrics.Accuracy()
    first.compile(reward="exact_match", metrics=[accuracy])
    first.compile(reward="exact_match", metrics=[accuracy])
    assert first.metrics[0] is accuracy
    first.compile(reward="exact_match")
    second.compile(reward="exact_match", metrics=[accuracy])
    assert second.metrics[0] is accuracy


def test_an_optimizer_trains_one_program_alone() -> None:
    first, second = two()
    optimizer = optimizers.RandomFewShot(name="mine")
    first.compile(reward="exact_match", optimizer=optimizer)
    first.compile(reward="exact_match", optimizer=optimizer)
    with pytest.raises(InvalidValue, match=r"'second' with optimizer 'mine': it trains program 'first'"):
        second.compile(reward="exact_match", optimizer=optimizer)
    assert not second.compiled
    first.compile(reward="exact_match", optimizer="random_few_shot")
    second.compile(reward="exact_match", optimizer=optimizer)
    assert second.optimizer is optimizer


def test_an_optimizer_is_free_again_when_its_program_is_gone() -> None:
    """As when a notebook's cell is run again."""
    optimizer = optimizers.RandomFewShot()
    for _ in range(2):
        program = program_of(Echo(name="one"))
        program.compile(reward="exact_match", optimizer=optimizer)
        assert optimizer.program is program
        del program
    gc.collect()
    assert optimizer.program is None


def test_compiling_as_another_program_was_makes_an_optimizer_like_its_own() -> None:
    first, second = two()
    first.compile(reward="exact_match", optimizer=optimizers.RandomFewShot(population_size=3))
    second.compile_from_config(first.get_compile_config())
    assert second.optimizer is not first.optimizer
    assert second.optimizer.name != first.optimizer.name
    assert second.optimizer.population_size == 3
    for program in (first, second):
        ec.wait(program.fit(*data("abcdef", "abcdef"), batch_size=2, verbose=0))
        assert program.optimizer.epochs == 1
