"""`check_reward`: what a training relies on when it is told how good a prediction is.

    ec.testing.check_reward(MyReward, MyAnswer)

A reward is asked directly, alone and in company; no program and no model is involved. What it is and what it is asked
about is `eventcore.testing.reward_subject`.
"""

from __future__ import annotations

import asyncio
import copy
import json
import math
from collections.abc import Callable, Collection, Sequence
from random import Random
from typing import Any

from eventcore.saving.serialization import deserialize_object, serialize_object
from eventcore.testing.attributes import described
from eventcore.testing.checks import (
    LIMIT,
    BoundCheck,
    Check,
    CheckFailed,
    DoesNotApply,
    Expected,
    Report,
    Tally,
    Way,
    bound,
    run_checks,
)
from eventcore.testing.elsewhere import elsewhen, tell_back, told_elsewhere
from eventcore.testing.isolation import in_a_fork
from eventcore.testing.module_subject import workbench
from eventcore.testing.reward_answers import (
    Emptied,
    Path,
    emptied,
    everything,
    json_of,
    leaves,
    with_words_of,
)
from eventcore.testing.reward_subject import (
    Factory,
    Pair,
    RewardSubject,
    is_complete,
    made_by,
    shown_pair,
)
from eventcore.testing.scheduling import run_coroutine
from eventcore.testing.whereabouts import found_at, whereabouts, why_not
from eventcore.training.rewards.base import Reward

SLACK = 1e-9
TARGETS = 12
"""How many targets are compared with an answer that has everything in it."""


async def score(reward: Reward, pairs: Sequence[Pair]) -> list[Any]:
    """Score pairs one after the other, in batches of one where the reward wants batches.

    Raises:
        CheckFailed: The reward raised; the message says of which pair.
    """
    return [await _one(reward, pair) for pair in pairs]


async def _one(reward: Reward, pair: Pair) -> Any:
    truth, prediction = pair
    try:
        if reward.scores_batches:
            return (await reward([truth], [prediction]))[0]
        return await reward(truth, prediction)
    except Exception as error:
        raise CheckFailed(f"{shown_pair(pair)} raises {type(error).__name__}: {error}") from error


def scored(reward: Reward, pairs: Sequence[Pair]) -> list[Any]:
    """Score pairs in an event loop of its own."""
    return run_coroutine(lambda: score(reward, pairs))


def written(values: Sequence[Any]) -> list[str]:
    """Rewards as they are compared: every number exactly, NaN equal to itself, and what is no number at all as well."""
    return [repr(float(value) + 0.0) if _is_number(value) else repr(value) for value in values]


def scored_afresh(
    subject: RewardSubject, pairs: Sequence[Pair], make: Callable[[], Reward] | None = None
) -> list[str]:
    """Score with a fresh reward in a fork of this process, so that nothing is remembered here.

    The run is opened there as well: a reward that asks a model writes into it, and no store outlives a fork.
    """

    def work() -> list[str]:
        with workbench(subject.number):
            return written(scored((make or subject.make)(), pairs))

    return in_a_fork(work)


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _is_finite(value: Any) -> bool:
    return _is_number(value) and math.isfinite(value)


def gives_finite_numbers(subject: RewardSubject, tally: Tally) -> None:
    """Score every pair."""
    with workbench(subject.number):
        for pair, value in zip(subject.pairs, scored(subject.make(), subject.pairs), strict=True):
            tally.require(
                _is_finite(value),
                f"{shown_pair(pair)} is rewarded {value!r}: return a finite float, or None for an example that failed",
            )


def same_pair_same_reward(subject: RewardSubject, tally: Tally) -> None:
    """Score twice, later with other random numbers, and in other orders where nothing was scored before."""
    pairs, count = subject.pairs, len(subject.pairs)
    orders = {"after other answers": list(reversed(range(count)))}
    orders["after these answers in yet another order"] = Random(7).sample(range(count), count)
    found = {
        how: dict(zip(order, scored_afresh(subject, [pairs[place] for place in order]), strict=True))
        for how, order in orders.items()
    }
    with workbench(subject.number):
        reward = subject.make()
        with elsewhen(1, 0):
            first = written(scored(reward, pairs))
        with elsewhen(2, 1):
            found["at another time"] = dict(enumerate(written(scored(reward, pairs))))
    # In a run of its own: modules of a reward may have names of their own, and a run has a name once.
    with workbench(subject.number), elsewhen(2, 1):
        found["by another instance, later"] = dict(enumerate(written(scored(subject.make(), pairs))))
    for place, pair in enumerate(pairs):
        others = {how: values[place] for how, values in found.items() if values[place] != first[place]}
        told = "".join(f", {value} {how}" for how, value in others.items())
        tally.require(not others, f"{shown_pair(pair)} is rewarded {first[place]}{told}")


def nothing_is_changed(subject: RewardSubject, tally: Tally) -> None:
    """Score plain dicts, and look at them and at the reward afterwards."""
    with workbench(subject.number):
        reward = subject.make()
        scored(reward, subject.pairs[:1])
        before = _attributes(reward)
        for truth, prediction in subject.pairs:
            given = [copy.deepcopy(json_of(truth)), copy.deepcopy(json_of(prediction))]
            kept = copy.deepcopy(given)
            scored(reward, [(given[0], given[1])])
            tally.require(given == kept, f"scoring changed what it was given: {kept!r} to {given!r}")
        after = _attributes(reward)
        changed = [name for name in before | after if before.get(name) != after.get(name)]
        told = "; ".join(f"{name} was {before.get(name)} and is {after.get(name)}" for name in changed)
        tally.require(not changed, f"scoring changed the attributes of the reward: {told}")


def _attributes(reward: Reward) -> dict[str, str]:
    return {name: described(value) for name, value in vars(reward).items()}


def missing_sides(subject: RewardSubject, tally: Tally) -> None:
    """Score against nothing, and score nothing."""
    with workbench(subject.number):
        reward = subject.make()
        truth, prediction = next(filter(is_complete, subject.pairs))
        for pair in ((truth, None), (None, prediction), (None, None)):
            (value,) = scored(reward, [pair])
            fine = value is None or _is_finite(value)
            tally.require(fine, f"{shown_pair(pair)} is rewarded {value!r}: return a finite float, or None")
        (nothing,), (perfect,) = scored(reward, [(truth, None)]), scored(reward, [(truth, truth)])
        if _is_finite(nothing) and _is_finite(perfect):
            tally.require(
                nothing <= perfect + SLACK,
                f"no prediction at all is rewarded {nothing!r}, a perfect one {perfect!r} (target {json_of(truth)!r})",
            )


def nothing_beats_the_target(subject: RewardSubject, tally: Tally) -> None:
    """Compare each prediction with the target itself."""
    with workbench(subject.number):
        reward = subject.make()
        worse = 0
        pairs = [pair for pair in subject.pairs if _may_be_worse(*pair)]
        if not pairs:
            raise DoesNotApply("no pair has a target and another prediction")
        for truth, prediction in pairs:
            mine, best = scored(reward, [(truth, prediction), (truth, truth)])
            if not _is_number(mine) or not _is_number(best):
                if mine is not None and best is not None:
                    tally.fail(
                        f"{shown_pair((truth, prediction))} is rewarded {mine!r}, the target {best!r}: no numbers"
                    )
                worse += mine is None and best is not None
                continue
            tally.require(
                not mine > best + SLACK,
                f"{shown_pair((truth, prediction))} is rewarded {mine!r}, the target {best!r}",
            )
            worse += mine < best
        if tally.exercised and not worse:
            tally.fail(
                "every prediction is rewarded like the target itself: there is nothing to learn from; if they are "
                "too far from what the reward looks at, pass pairs of your own: answers=[(target, prediction), …]"
            )
        _judge_everything(reward, pairs, tally)
        _judge_silence(reward, pairs, tally)


def _tried(reward: Reward, pairs: Sequence[Pair]) -> list[float] | None:
    """Score pairs nobody passed or drew; None where the reward cannot read them, which it need not."""
    try:
        values = scored(reward, pairs)
    except CheckFailed:
        return None
    return values if all(map(_is_finite, values)) else None


def _judge_everything(reward: Reward, pairs: Sequence[Pair], tally: Tally) -> None:
    """Compare a prediction that has the words of the target and many others with the target."""
    others = [answer for pair in pairs for answer in pair]
    for place, truth in enumerate([truth for truth, _ in pairs][:TARGETS]):
        for answer in everything(truth, others[place:] + others[:place]):
            found = _tried(reward, [(truth, answer), (truth, truth)])
            if found is not None:
                tally.require(
                    not found[0] > found[1] + SLACK,
                    f"{shown_pair((truth, answer))} is rewarded {found[0]!r}, the target {found[1]!r}: an answer that "
                    "says everything wins",
                )


def _judge_silence(reward: Reward, pairs: Sequence[Pair], tally: Tally) -> None:
    """Compare predictions that say nothing, or nothing in one field, with the target."""
    ways: dict[str, list[tuple[Pair, Emptied]]] = {}
    for truth, prediction in pairs:
        for way, silent in emptied(truth).items():
            ways.setdefault(way, []).append(((truth, prediction), silent))
    for cases in ways.values():
        wrong = _silence_wins(reward, cases, tally)
        if wrong:
            tally.fail(wrong)


def _silence_wins(reward: Reward, cases: Sequence[tuple[Pair, Emptied]], tally: Tally) -> str:
    """Say how a prediction without some fields is always worth as much as the target; "" if it is not, or may be.

    It may be where the reward looks at other fields too: what is missing is then an extra. And it may be where a reward
    only sets limits, to length or to what must not be said: then one of two different answers suits the other's target.
    """
    wrong, told_apart, ignored = "", set[Path](), set[Path]()
    for (truth, prediction), silent in cases:
        told_apart.update(silent.rest)
        elsewhere = with_words_of(truth, prediction, silent.rest)
        if elsewhere is not None:
            found = _tried(reward, [(truth, elsewhere), (truth, truth)])
            if found is None:
                continue
            if abs(found[0] - found[1]) > SLACK:
                return ""
            ignored.update(_differing(truth, elsewhere))
        other = with_words_of(truth, prediction, silent.paths)
        if other is None:
            continue
        found = _tried(reward, [(truth, truth), (truth, other), (other, truth), (truth, silent.answer)])
        if found is None or max(found[1:3]) > found[0] - SLACK:
            continue
        tally.count()
        if found[3] < found[0] - SLACK:
            return ""
        wrong = wrong or (
            f"{shown_pair((truth, silent.answer))} is rewarded {found[3]!r}, as much as the target, and with other "
            f"words it is {found[1]!r}: an answer that says nothing wins"
        )
    return wrong if told_apart <= ignored else ""


def _differing(one: Any, other: Any) -> set[Path]:
    mine, theirs = dict(leaves(json_of(one))), dict(leaves(json_of(other)))
    return {path for path in mine if mine[path] != theirs.get(path)}


def _may_be_worse(truth: Any, prediction: Any) -> bool:
    return json_of(truth) is not None and json_of(truth) != json_of(prediction)


def company_makes_no_difference(subject: RewardSubject, tally: Tally) -> None:
    """Score all pairs at once, in several orders."""
    with workbench(subject.number):
        reward = subject.make()
        alone = written(scored(reward, subject.pairs))
        for order in range(4):
            places = list(range(len(subject.pairs)))
            Random(order).shuffle(places)
            pairs = [subject.pairs[place] for place in places]
            together = run_coroutine(lambda pairs=pairs: _together(reward, pairs), order)  # type: ignore[misc]
            for place, value in zip(places, written(together), strict=True):
                tally.require(
                    value == alone[place],
                    f"{shown_pair(subject.pairs[place])} is rewarded {alone[place]} alone and {value} in company",
                )


async def _together(reward: Reward, pairs: list[Pair]) -> list[Any]:
    if reward.scores_batches:
        found: list[Any] = await reward(
            [truth for truth, _ in pairs], [prediction for _, prediction in pairs]
        )
        return found
    return await asyncio.gather(*[_one(reward, pair) for pair in pairs])


def forms_make_no_difference(subject: RewardSubject, tally: Tally) -> None:
    """Score data models and plain dicts."""
    plain = [(json_of(truth), json_of(prediction)) for truth, prediction in subject.pairs]
    mine, theirs = scored_afresh(subject, subject.pairs), scored_afresh(subject, plain)
    for pair, one, other in zip(subject.pairs, mine, theirs, strict=True):
        tally.require(one == other, f"{shown_pair(pair)} is rewarded {one} as data models, {other} as dicts")


def config_round_trip(subject: RewardSubject, tally: Tally) -> None:
    """Make it again from its config, and score with both."""
    with workbench(subject.number):
        reward = subject.make()
        config = json.loads(json.dumps(serialize_object(reward)))
    with workbench(subject.number):
        again: Any = deserialize_object(config)
        tally.require(type(again) is type(reward), f"from_config made a {type(again).__name__}")
        same = json.loads(json.dumps(serialize_object(again)))
        tally.require(same == config, f"the config changed on the way: {config} to {same}")
    before = scored_afresh(subject, subject.pairs)
    after = scored_afresh(subject, subject.pairs, lambda: deserialize_object(config))
    for pair, mine, theirs in zip(subject.pairs, before, after, strict=True):
        tally.require(
            mine == theirs,
            f"{shown_pair(pair)} is rewarded {mine}, and {theirs} by the one made from its config",
        )


def hash_seed_independence(subject: RewardSubject, tally: Tally) -> None:
    """Score in processes with other hash seeds."""
    where = whereabouts(subject.factory)
    if where is None:
        raise DoesNotApply(f"no fresh process can make the reward: {why_not(subject.factory)}")
    plain = [(json_of(truth), json_of(prediction)) for truth, prediction in subject.pairs]
    first = scored_afresh(subject, plain)
    for seed in (1, 2):
        told = told_elsewhere(tell, {"factory": where, "pairs": plain}, seed)
        for pair, mine, theirs in zip(subject.pairs, first, told, strict=True):
            tally.require(
                mine == theirs, f"{shown_pair(pair)} is rewarded {mine}, and {theirs} with hash seed {seed}"
            )


def tell(given: dict[str, Any]) -> None:
    """Score in this process and print the rewards; the other side of `hash_seed_independence`."""
    factory = found_at(given["factory"])
    pairs = [(truth, prediction) for truth, prediction in given["pairs"]]
    with workbench():
        tell_back(written(scored(made_by(factory), pairs)))


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
        "No prediction is worth more than the target; some, and empty ones, are worth less: training goes uphill.",
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
    limit: float | None = LIMIT,
    isolated: bool = True,
) -> Report:
    """Check a reward.

    Args:
        factory: Makes a fresh one: the class, or a function without arguments that returns a reward or a reward
            function. A reward function itself, `f(y_true, y_pred)`, will do as well.
        answers: What it scores: a data model class or a schema, or pairs of target and prediction.
        expected_failed_checks: Names of checks that are known to fail, best with the reason: `{name: reason}`.
        only: Run only these checks.
        seed: Decides what is drawn.
        limit: Seconds each check may take; None for no limit.
        isolated: Each check in a process of its own; as in `check_module`.

    Returns:
        What every check found; printing it gives a table.

    Raises:
        ChecksFailed: Something is wrong (an AssertionError whose message is the report).
        InvalidValue: A check of that name does not exist, there are no answers, or the factory makes no reward.
    """
    subject = RewardSubject(factory, answers, seed)
    way = Way("check_reward", limit, isolated)
    return run_checks(f"reward {subject.name}", REWARD_CHECKS, subject, expected_failed_checks, only, way)


def reward_checks_of(
    factory: Factory,
    answers: Any,
    expected_failed_checks: Expected = None,
    *,
    seed: int = 0,
    limit: float | None = LIMIT,
    isolated: bool = True,
) -> list[BoundCheck[RewardSubject]]:
    """Return the checks one by one, for `parametrize_with_checks`; arguments as in `check_reward`."""
    way = Way("check_reward", limit, isolated)
    return bound(REWARD_CHECKS, RewardSubject(factory, answers, seed), expected_failed_checks, way)
