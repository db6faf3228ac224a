"""`check_optimizer`: what users of an optimizer rely on, checked in one line.

    ec.testing.check_optimizer(MyOptimizer)

Trainings are real and small; a check compares the log of one with what the law says, or two trainings with each
other. This module is the list of checks; they stand by theme in the `optimizer_…` modules beside it.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from eventcore.testing.checks import LIMIT, BoundCheck, Check, Expected, Report, Way, bound, run_checks
from eventcore.testing.optimizer_conduct import (
    cost_is_linear,
    counts_its_steps,
    only_trainable_variables_touched,
    second_fit_continues,
)
from eventcore.testing.optimizer_populations import history_only_grows, population_is_capped
from eventcore.testing.optimizer_repetition import (
    hash_seed_independence,
    latency_independence,
    same_seed_same_run,
)
from eventcore.testing.optimizer_resuming import resumes_at_every_event
from eventcore.testing.optimizer_saving import config_round_trip, state_survives_saving
from eventcore.testing.optimizer_subject import Factory, OptimizerSubject
from eventcore.testing.optimizer_winners import (
    bad_rewards_never_win,
    joint_choice,
    never_worse_than_the_best,
)

OPTIMIZER_CHECKS: tuple[Check[OptimizerSubject], ...] = (
    Check(
        "never_worse_than_the_best",
        "A training ends with values at least as good on the held-out data as any it validated.",
        never_worse_than_the_best,
    ),
    Check(
        "joint_choice",
        "What a training ends with was evaluated as it stands, never put together from parts that did well apart.",
        joint_choice,
    ),
    Check(
        "population_is_capped",
        "After every epoch each variable keeps one to `population_size` candidates, all different, each with a score.",
        population_is_capped,
    ),
    Check(
        "history_only_grows",
        "The history is the sequence of what was chosen, and never takes a word back.",
        history_only_grows,
    ),
    Check(
        "counts_its_steps",
        "It counts its batches and epochs, which seeds and names are made of.",
        counts_its_steps,
    ),
    Check(
        "bad_rewards_never_win",
        "NaN, infinite and missing rewards, and examples that fail, are nobody's zero and nobody's victory.",
        bad_rewards_never_win,
    ),
    Check(
        "only_trainable_variables_touched",
        "It writes the variables it is asked to train; frozen ones and the program's own state stay as they are.",
        only_trainable_variables_touched,
    ),
    Check(
        "second_fit_continues",
        "A second `fit` goes on with the population and the history there are, and loses nothing of what was won.",
        second_fit_continues,
    ),
    Check(
        "same_seed_same_run",
        "The run's seed decides everything: neither the clock nor global random numbers do.",
        same_seed_same_run,
    ),
    Check(
        "latency_independence",
        "Who finishes first decides nothing, so a slow model trains to the same values as a quick one.",
        latency_independence,
    ),
    Check(
        "hash_seed_independence",
        "Nothing depends on `hash()` or the order of a set, so a training can be repeated in another process.",
        hash_seed_independence,
    ),
    Check(
        "resumes_at_every_event",
        "Killed after any event and started again, a training ends as if left alone, and asks nothing twice.",
        resumes_at_every_event,
    ),
    Check(
        "cost_is_linear",
        "What a training writes grows with the number of examples, not with its square.",
        cost_is_linear,
    ),
    Check("config_round_trip", "`get_config` and `from_config` make the same optimizer.", config_round_trip),
    Check(
        "state_survives_saving",
        "What it learned is in variables: a saved program goes on counting and choosing where it stopped.",
        state_survives_saving,
    ),
)
"""Every check of optimizers, in order."""


def check_optimizer(
    factory: Factory,
    expected_failed_checks: Expected = None,
    *,
    variables: Mapping[str, Any] | None = None,
    only: Collection[str] | None = None,
    seed: int = 0,
    limit: float | None = LIMIT,
    isolated: bool = True,
) -> Report:
    """Check an optimizer.

    Args:
        factory: Makes a fresh one: the class, or a function without arguments.
        expected_failed_checks: Names of checks that are known to fail, best with the reason: `{name: reason}`.
        variables: Trainable data models it can work on, by name; None for two, of texts, a number and a choice.
        only: Run only these checks.
        seed: Seed of the trainings.
        limit: Seconds each check may take; None for no limit.
        isolated: Each check in a process of its own; as in `check_module`.

    Returns:
        What every check found; printing it gives a table.

    Raises:
        ChecksFailed: Something is wrong (an AssertionError whose message is the report).
        InvalidValue: A check of that name does not exist, or the factory or `variables` cannot be checked.
    """
    subject = OptimizerSubject(factory, variables, seed)
    way = Way("check_optimizer", limit, isolated)
    return run_checks(
        f"optimizer {subject.name}", OPTIMIZER_CHECKS, subject, expected_failed_checks, only, way
    )


def optimizer_checks_of(
    factory: Factory,
    expected_failed_checks: Expected = None,
    *,
    variables: Mapping[str, Any] | None = None,
    seed: int = 0,
    limit: float | None = LIMIT,
    isolated: bool = True,
) -> list[BoundCheck[OptimizerSubject]]:
    """Return the checks one by one, for `parametrize_with_checks`; arguments as in `check_optimizer`."""
    way = Way("check_optimizer", limit, isolated)
    return bound(OPTIMIZER_CHECKS, OptimizerSubject(factory, variables, seed), expected_failed_checks, way)
