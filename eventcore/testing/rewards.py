"""`check_reward`: what a training relies on when it is told how good a prediction is.

    ec.testing.check_reward(MyReward, MyAnswer)

A reward is asked directly, alone and in company; no program and no model is involved.
"""

from __future__ import annotations

import asyncio
import copy
import json
import math
from collections.abc import Callable, Collection, Sequence
from random import Random
from typing import Any, cast

from eventcore.errors import InvalidValue
from eventcore.models.conversion import is_data_model, schema_of
from eventcore.models.json_data_model import JsonDataModel
from eventcore.saving.serialization import deserialize_object, serialize_object
from eventcore.testing.attributes import described
from eventcore.testing.checks import (
    BoundCheck,
    Check,
    DoesNotApply,
    Expected,
    Report,
    Tally,
    bound,
    run_checks,
)
from eventcore.testing.elsewhere import by_name, elsewhen, importable, tell_back, told_elsewhere
from eventcore.testing.module_subject import workbench
from eventcore.testing.scheduling import run_coroutine
from eventcore.testing.schema_strategies import draw, json_values
from eventcore.training.rewards import get
from eventcore.training.rewards.base import Reward

Factory = Callable[[], Any]
Pair = tuple[Any, Any]
EXAMPLES = 10
SLACK = 1e-9


class RewardSubject:
    """What the checks of rewards are about.

    Args:
        factory: Makes a fresh reward: a class, or a function that returns a reward or a reward function.
        answers: What is scored: a data model class or schema, or pairs of target and prediction.
        number: Decides what is drawn.

    Raises:
        InvalidValue: No pair was given.
    """

    def __init__(self, factory: Factory, answers: Any, number: int = 0) -> None:
        self.factory = factory
        self.number = number
        self.pairs: list[Pair] = _pairs_of(answers, number)

    @property
    def name(self) -> str:
        """What is checked, in words."""
        return getattr(self.factory, "__qualname__", None) or repr(self.factory)

    def make(self) -> Reward:
        """Make a reward."""
        return get(self.factory())


def _pairs_of(answers: Any, number: int) -> list[Pair]:
    if isinstance(answers, (list, tuple)):
        given: list[Pair] = [(truth, prediction) for truth, prediction in cast("Sequence[Pair]", answers)]
        if not given:
            raise InvalidValue("cannot check a reward without answers: pass a data model, or pairs")
        return given
    schema = schema_of(answers)
    drawn = [JsonDataModel(schema=schema, json=value) for value in draw(json_values(schema), 60, number)]
    different = list({json.dumps(answer.get_json(), sort_keys=True): answer for answer in drawn}.values())
    rng = Random(number)
    truths = different[: EXAMPLES + 2]
    pairs: list[Pair] = [(truth, rng.choice(different)) for truth in truths]
    return [*pairs, *((truth, truth) for truth in truths[:4])]


async def score(reward: Reward, pairs: Sequence[Pair]) -> list[Any]:
    """Score pairs one after the other, in batches of one where the reward wants batches."""
    found: list[Any] = []
    for truth, prediction in pairs:
        if reward.scores_batches:
            found += await reward([truth], [prediction])
        else:
            found.append(await reward(truth, prediction))
    return found


def scored(reward: Reward, pairs: Sequence[Pair]) -> list[Any]:
    """Score pairs in an event loop of its own."""
    return run_coroutine(lambda: score(reward, pairs))


def gives_finite_numbers(subject: RewardSubject, tally: Tally) -> None:
    """Score every pair."""
    with workbench(subject.number):
        for pair, value in zip(subject.pairs, scored(subject.make(), subject.pairs), strict=True):
            fine = isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
            tally.require(
                fine,
                f"{_shown(pair)} is rewarded {value!r}: return a finite float, or None for an example that failed",
            )


def _shown(pair: Pair) -> str:
    return f"target {json_of(pair[0])!r} with prediction {json_of(pair[1])!r}"


def json_of(answer: Any) -> Any:
    """Return an answer as JSON; None and dicts are themselves."""
    return answer.get_json() if is_data_model(answer) else answer


def same_pair_same_reward(subject: RewardSubject, tally: Tally) -> None:
    """Score twice, and again later with other random numbers."""
    with workbench(subject.number):
        reward = subject.make()
        with elsewhen(1, 0):
            first = scored(reward, subject.pairs)
        with elsewhen(2, 1):
            second = scored(reward, subject.pairs)
            third = scored(subject.make(), list(reversed(subject.pairs)))[::-1]
    for pair, values in zip(subject.pairs, zip(first, second, third, strict=True), strict=True):
        tally.require(
            values[0] == values[1] == values[2],
            f"{_shown(pair)} is rewarded {values[0]!r}, at another time {values[1]!r}, in another order {values[2]!r}",
        )


def nothing_is_changed(subject: RewardSubject, tally: Tally) -> None:
    """Score plain dicts, and look at them and at the reward afterwards."""
    with workbench(subject.number):
        reward = subject.make()
        scored(reward, subject.pairs[:1])
        before = described(vars(reward))
        for truth, prediction in subject.pairs:
            given = [copy.deepcopy(json_of(truth)), copy.deepcopy(json_of(prediction))]
            kept = copy.deepcopy(given)
            scored(reward, [(given[0], given[1])])
            tally.require(given == kept, f"scoring changed what it was given: {kept!r} to {given!r}")
        tally.require(described(vars(reward)) == before, "scoring changed the attributes of the reward")


def missing_sides(subject: RewardSubject, tally: Tally) -> None:
    """Score against nothing, and score nothing."""
    with workbench(subject.number):
        reward = subject.make()
        truth, prediction = subject.pairs[0]
        for pair in ((truth, None), (None, prediction), (None, None)):
            (value,) = scored(reward, [pair])
            fine = value is None or (isinstance(value, (int, float)) and math.isfinite(value))
            tally.require(fine, f"{_shown(pair)} is rewarded {value!r}: return a finite float, or None")
        (nothing,), (perfect,) = scored(reward, [(truth, None)]), scored(reward, [(truth, truth)])
        tally.require(
            nothing is None or perfect is None or nothing <= perfect + SLACK,
            f"no prediction at all is rewarded {nothing!r}, a perfect one {perfect!r}",
        )


def nothing_beats_the_target(subject: RewardSubject, tally: Tally) -> None:
    """Compare each prediction with the target itself."""
    with workbench(subject.number):
        reward = subject.make()
        worse = 0
        for truth, prediction in subject.pairs:
            if json_of(truth) is None or json_of(truth) == json_of(prediction):
                continue
            mine, best = scored(reward, [(truth, prediction), (truth, truth)])
            tally.require(
                mine <= best + SLACK,
                f"{_shown((truth, prediction))} is rewarded {mine!r}, the target {best!r}",
            )
            worse += mine < best
        if tally.exercised and not worse:
            tally.fail("every prediction is rewarded like the target itself: there is nothing to learn from")
        if not tally.exercised:
            raise DoesNotApply("no pair has a target and another prediction")


def company_makes_no_difference(subject: RewardSubject, tally: Tally) -> None:
    """Score all pairs at once, in several orders."""
    with workbench(subject.number):
        reward = subject.make()
        alone = scored(reward, subject.pairs)
        for order in range(4):
            places = list(range(len(subject.pairs)))
            Random(order).shuffle(places)
            pairs = [subject.pairs[place] for place in places]
            together = run_coroutine(lambda pairs=pairs: _together(reward, pairs), order)  # type: ignore[misc]
            for place, value in zip(places, together, strict=True):
                tally.require(
                    value == alone[place],
                    f"{_shown(subject.pairs[place])} is rewarded {alone[place]!r} alone and {value!r} in company",
                )


async def _together(reward: Reward, pairs: list[Pair]) -> list[Any]:
    if reward.scores_batches:
        found: list[Any] = await reward(
            [truth for truth, _ in pairs], [prediction for _, prediction in pairs]
        )
        return found
    return await asyncio.gather(*[reward(truth, prediction) for truth, prediction in pairs])


def forms_make_no_difference(subject: RewardSubject, tally: Tally) -> None:
    """Score data models and plain dicts."""
    with workbench(subject.number):
        reward = subject.make()
        plain = [(json_of(truth), json_of(prediction)) for truth, prediction in subject.pairs]
        values = zip(subject.pairs, scored(reward, subject.pairs), scored(reward, plain), strict=True)
        for pair, mine, theirs in values:
            tally.require(
                mine == theirs, f"{_shown(pair)} is rewarded {mine!r} as data models, {theirs!r} as dicts"
            )


def config_round_trip(subject: RewardSubject, tally: Tally) -> None:
    """Make it again from its config, and score with both."""
    with workbench(subject.number):
        reward = subject.make()
        config = json.loads(json.dumps(serialize_object(reward)))
        before = scored(reward, subject.pairs)
    with workbench(subject.number):
        again: Any = deserialize_object(config)
        tally.require(type(again) is type(reward), f"from_config made a {type(again).__name__}")
        same = json.loads(json.dumps(serialize_object(again)))
        tally.require(same == config, f"the config changed on the way: {config} to {same}")
        after = scored(again, subject.pairs)
        tally.require(before == after, "the reward made from its config scores otherwise")


def hash_seed_independence(subject: RewardSubject, tally: Tally) -> None:
    """Score in processes with other hash seeds."""
    where = importable(subject.factory)
    if where is None:
        raise DoesNotApply("the factory cannot be imported by name, so no fresh process can make the reward")
    with workbench(subject.number):
        first = scored(subject.make(), subject.pairs)
    pairs = [[json_of(truth), json_of(prediction)] for truth, prediction in subject.pairs]
    for seed in (1, 2):
        told = told_elsewhere(tell, {"factory": where, "pairs": pairs}, seed)
        for pair, mine, theirs in zip(subject.pairs, first, told, strict=True):
            tally.require(
                mine == theirs, f"{_shown(pair)} is rewarded {mine!r}, and {theirs!r} with hash seed {seed}"
            )


def tell(given: dict[str, Any]) -> None:
    """Score in this process and print the rewards; the other side of `hash_seed_independence`."""
    factory = by_name(*given["factory"])
    pairs = [(truth, prediction) for truth, prediction in given["pairs"]]
    with workbench():
        tell_back(scored(get(factory()), pairs))


REWARD_CHECKS: tuple[Check[RewardSubject], ...] = (
    Check(
        "gives_finite_numbers",
        "Whatever the answer, the reward is a finite number: an example is not lost to a division by zero.",
        gives_finite_numbers,
    ),
    Check(
        "same_pair_same_reward",
        "The same answer is worth the same at any time and after any other, so candidates can be compared.",
        same_pair_same_reward,
    ),
    Check(
        "nothing_is_changed", "Scoring changes neither the answers nor the reward itself.", nothing_is_changed
    ),
    Check(
        "missing_sides",
        "A failed prediction or an absent target is no error, and nothing is worth no more than everything.",
        missing_sides,
    ),
    Check(
        "nothing_beats_the_target",
        "No prediction is worth more than the target itself, and some are worth less: training goes uphill.",
        nothing_beats_the_target,
    ),
    Check(
        "company_makes_no_difference",
        "An answer is worth the same alone and among others, in any place and order.",
        company_makes_no_difference,
    ),
    Check(
        "forms_make_no_difference",
        "Data models and plain dicts are worth the same.",
        forms_make_no_difference,
    ),
    Check("config_round_trip", "A reward loaded from a saved program scores as it did.", config_round_trip),
    Check(
        "hash_seed_independence",
        "Nothing depends on `hash()` or the order of a set, so scores are the same in every process.",
        hash_seed_independence,
    ),
)
"""Every check of rewards, in order."""


def check_reward(
    factory: Factory,
    answers: Any,
    expected_failed_checks: Expected = None,
    *,
    only: Collection[str] | None = None,
    seed: int = 0,
) -> Report:
    """Check a reward.

    Args:
        factory: Makes a fresh one: the class, or a function that returns a reward or a reward function.
        answers: What it scores: a data model class or a schema, or pairs of target and prediction.
        expected_failed_checks: Names of checks that are known to fail, best with the reason: `{name: reason}`.
        only: Run only these checks.
        seed: Decides what is drawn.

    Returns:
        What every check found; printing it gives a table.

    Raises:
        ChecksFailed: Something is wrong (an AssertionError whose message is the report).
        InvalidValue: A check of that name does not exist, or there are no answers.
    """
    subject = RewardSubject(factory, answers, seed)
    return run_checks(f"reward {subject.name}", REWARD_CHECKS, subject, expected_failed_checks, only)


def reward_checks_of(
    factory: Factory, answers: Any, expected_failed_checks: Expected = None, *, seed: int = 0
) -> list[BoundCheck[RewardSubject]]:
    """Return the checks one by one, for `parametrize_with_checks`; arguments as in `check_reward`."""
    return bound(REWARD_CHECKS, RewardSubject(factory, answers, seed), expected_failed_checks)
