"""What an optimizer is tried on: what cannot be checked is said once, and variables of one's own change nothing."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from random import Random
from typing import Any

import pytest

import eventcore as ec
from eventcore.errors import InvalidValue
from eventcore.testing import ChecksFailed, check_optimizer
from eventcore.testing.optimizer_subject import OptimizerSubject
from eventcore.testing.optimizers import OPTIMIZER_CHECKS
from tests.mutants.optimizers import Climber, OrdersByHash, ProposesNothing


class Counsel(ec.Trainable):
    """Two fields, so that there is an order."""

    first: str = "Look."
    second: str = "Think."
    third: str = "Act."
    fourth: str = "Rest."


class NoDefault(ec.Trainable):
    """A field nothing is known of."""

    text: str


def of_five() -> Any:
    return 5


def broken() -> Any:
    raise KeyError("size")


@pytest.mark.parametrize(
    ("factory", "variables", "words"),
    [
        (
            Climber(),
            None,
            "one instance of Climber, which all checks would share: pass what makes one, the class Climber",
        ),
        (5, None, "cannot make an optimizer with 5: pass the class, or a function without arguments"),
        (of_five, None, "cannot check what of_five makes: received 5; pass the class of an optimizer"),
        (lambda: Climber, None, "received the class Climber, no instance; pass the class"),
        (
            broken,
            None,
            "cannot check broken: making one raised KeyError: 'size'; pass what works without arguments",
        ),
        (
            Climber,
            [],
            "cannot train the variables []: pass data models that derive from `Trainable`, by name",
        ),
        (Climber, {}, "cannot train the variables {}: pass data models"),
        (Climber, 5, "cannot train the variables 5: pass data models"),
        (Climber, {"a": int}, "cannot train the variable 'a': received int, which is no data model; pass"),
        (Climber, {"a": ec.DataModel}, "received DataModel, which lacks the fields of `Trainable`; pass"),
        (Climber, {"a": NoDefault}, "received NoDefault, whose field 'text' has no default; pass"),
        (Climber, {"asked": Counsel}, "cannot name a variable 'asked'"),
        (Climber, {"a/b": Counsel}, "cannot name a variable 'a/b'"),
    ],
)
def test_what_cannot_be_checked_is_said_before_any_check_runs(
    factory: Any, variables: Any, words: str
) -> None:
    with pytest.raises(InvalidValue) as caught:
        check_optimizer(factory, variables=variables)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_what_can_be_checked_is_prepared_without_a_word() -> None:
    OptimizerSubject(Climber).prepare()
    OptimizerSubject(lambda: Climber(population_size=2), {"counsel": Counsel}).prepare()


@pytest.mark.slow
def test_variables_of_ones_own_do_not_hide_that_a_set_decides() -> None:
    with pytest.raises(ChecksFailed) as caught:
        check_optimizer(OrdersByHash, variables={"counsel": Counsel}, only=["hash_seed_independence"])
    assert "in another process with hash seed" in str(caught.value)


@pytest.mark.slow
def test_a_data_model_no_other_process_finds_is_given_by_its_schema() -> None:
    class Local(Counsel):
        """Defined in a function."""

    with pytest.raises(ChecksFailed):
        check_optimizer(OrdersByHash, variables={"counsel": Local}, only=["hash_seed_independence"])
    report = check_optimizer(Climber, variables={"counsel": Local}, only=["hash_seed_independence"])
    assert report["hash_seed_independence"].status == "passed"


@pytest.mark.slow
def test_a_lambda_is_tried_in_fresh_processes_too() -> None:
    only = ["hash_seed_independence", "state_survives_saving"]
    report = check_optimizer(lambda: Climber(population_size=3), variables={"counsel": Counsel}, only=only)
    assert [(outcome.status, outcome.message) for outcome in report.outcomes] == [("passed", "")] * 2


@pytest.mark.slow
def test_what_no_other_process_finds_is_said() -> None:
    class Local(Climber):
        """Defined in a function."""

    report = check_optimizer(Local, only=["hash_seed_independence", "state_survives_saving"])
    assert report["hash_seed_independence"].status == "not applicable"
    assert "in this process only" in report["state_survives_saving"].message


NEEDS_NO_CANDIDATE = ("counts_its_steps", "cost_is_linear")
"""The first is about batches; the second says so, too, but takes its time."""


@pytest.mark.slow
@pytest.mark.parametrize(
    "check",
    [
        pytest.param(check.name, marks=[] if check.name == "joint_choice" else pytest.mark.campaign)
        for check in OPTIMIZER_CHECKS
        if check.name not in NEEDS_NO_CANDIDATE
    ],
)
def test_an_optimizer_that_proposes_nothing_exercises_nothing(check: str) -> None:
    with pytest.raises(ChecksFailed, match=r"exercised nothing: it proposed no candidate in [0-9]+ batches"):
        check_optimizer(ProposesNothing, only=[check])


class Rarely(Climber):
    """Proposes something in one batch of twenty."""

    def climb(self, step: int, variable: Any, rng: Random) -> None:
        """Rarely."""
        if rng.random() < 0.05:
            super().climb(step, variable, rng)


@pytest.mark.campaign
@pytest.mark.timeout(300)
def test_an_optimizer_that_rarely_proposes_anything_is_not_refused() -> None:
    assert check_optimizer(Rarely).ok


class OfOneValue(Climber):
    """Knows one other value, whatever the seed."""

    async def propose_new_candidates(
        self,
        step: int,
        trainable_variables: Sequence[Any],
        x: Any,
        y: Any,
        y_pred: Any,
        training: bool = True,
    ) -> None:
        """That one."""
        for variable in trainable_variables:
            self.propose(variable, {"first": "Listen."}, "the only one")


@pytest.mark.campaign
@pytest.mark.timeout(300)
def test_an_optimizer_that_knows_one_other_value_is_not_refused() -> None:
    make: Callable[[], Any] = OfOneValue
    assert check_optimizer(make, variables={"counsel": Counsel}).ok
