"""A reward under test: how it is made, and the pairs of target and prediction it is asked about.

The checks of `eventcore.testing.rewards` stand on this. What cannot be checked at all is said once, in one sentence,
by `RewardSubject.prepare`; making the subject costs nothing.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Callable
from random import Random
from typing import Any, cast

from eventcore.errors import EventcoreError, InvalidValue
from eventcore.models.conversion import is_data_model, schema_of
from eventcore.models.json_data_model import JsonDataModel
from eventcore.testing.factories import named, require_factory, required_arguments
from eventcore.testing.reward_answers import json_of, leaves, near, one_off
from eventcore.training.rewards import get
from eventcore.training.rewards.base import Reward

Factory = Callable[..., Any]
Pair = tuple[Any, Any]
EXAMPLES = 10
"""How many targets are drawn, beside a few that are compared with themselves."""
FULL = 6
"""How many targets are chosen among those that were drawn because they leave no field open."""
NEAR = 6
"""How many predictions are made of the words of their targets, and how many of their numbers."""


class RewardSubject:
    """What the checks of rewards are about.

    Args:
        factory: Makes a fresh reward: a class, or a function without arguments that returns a reward or a reward
            function; or a reward function itself.
        answers: What is scored: a data model class or schema, or pairs of target and prediction.
        number: Decides what is drawn.
    """

    def __init__(self, factory: Factory, answers: Any, number: int = 0) -> None:
        self.factory = factory
        self.number = number
        self._answers = answers

    @property
    def name(self) -> str:
        """What is checked, in words."""
        return named(self.factory)

    @functools.cached_property
    def pairs(self) -> list[Pair]:
        """Targets with predictions.

        Raises:
            InvalidValue: The answers are neither pairs nor anything pairs can be drawn of.
        """
        if isinstance(self._answers, (list, tuple)):
            return _given(cast("list[Any]", self._answers))
        return _drawn(self._answers, self.number)

    def make(self) -> Reward:
        """Make a reward.

        Raises:
            InvalidValue: The factory makes none.
        """
        return made_by(self.factory)

    def prepare(self) -> None:
        """Try what every check needs: pairs, and a reward.

        A factory that raises is no matter of usage: that is left to the checks.

        Raises:
            InvalidValue: There are none; the message says what to pass instead.
        """
        assert self.pairs
        _require_factory(self.factory)
        try:
            made = _made(self.factory)
        except Exception:
            return
        _reward_of(self.factory, made)

    def adopt(self, told: Any) -> None:
        """Have the pairs here, for all checks: drawing them takes longer than most, and calls nothing of the user's."""
        assert self.pairs


def made_by(factory: Any) -> Reward:
    """Make a reward with a factory, or of a reward function.

    Raises:
        InvalidValue: It is neither.
    """
    _require_factory(factory)
    return _reward_of(factory, _made(factory))


def _made(factory: Any) -> Any:
    made = factory if _is_reward_function(factory) else factory()
    return made() if isinstance(made, type) and issubclass(made, Reward) else made


def _reward_of(factory: Any, made: Any) -> Reward:
    try:
        return get(made)
    except InvalidValue:
        raise InvalidValue(
            f"cannot check what {named(factory)} makes: received {made!r}; return a Reward or a function "
            "f(y_true, y_pred)"
        ) from None


def _require_factory(factory: Any) -> None:
    if not _is_reward_function(factory):
        require_factory(factory, Reward, "a reward", ", or a function f(y_true, y_pred)")


def _is_reward_function(factory: Any) -> bool:
    """Whether something is asked with a target and a prediction: of what makes a reward nothing is required."""
    return (
        not isinstance(factory, (type, Reward))
        and callable(factory)
        and len(required_arguments(factory)) == 2
    )


def _given(answers: list[Any]) -> list[Pair]:
    if not answers:
        raise InvalidValue("cannot check a reward without answers: pass a data model, or pairs")
    for place, pair in enumerate(answers):
        if not isinstance(pair, (list, tuple)) or len(cast("list[Any]", pair)) != 2:
            raise InvalidValue(
                f"cannot check a reward with {pair!r} (item {place} of the answers): pass pairs "
                "(target, prediction), or a data model class to draw them from"
            )
        for side in cast("list[Any]", pair):
            if side is not None and not isinstance(side, dict) and not is_data_model(side):
                raise InvalidValue(
                    f"cannot check a reward with {side!r} (in pair {place} of the answers): a target or a prediction "
                    "is a data model, a dict or None"
                )
    pairs: list[Pair] = [(truth, prediction) for truth, prediction in answers]
    if not any(map(is_complete, pairs)):
        raise InvalidValue(
            "cannot check a reward with pairs of which each lacks a side: pass at least one with a target and a "
            "prediction (a reward that needs no target can be given any)"
        )
    return pairs


def is_complete(pair: Pair) -> bool:
    """Whether a pair has a target and a prediction."""
    return pair[0] is not None and pair[1] is not None


def _drawn(answers: Any, number: int) -> list[Pair]:
    # Imported here: processes that are told their pairs need no hypothesis, which takes longer than they do.
    from hypothesis.errors import Unsatisfiable

    from eventcore.testing.schema_strategies import draw, json_values

    try:
        schema = schema_of(answers)
        values = draw(json_values(schema), 60, number)
    except (EventcoreError, Unsatisfiable) as error:
        raise InvalidValue(
            f"cannot draw answers to check a reward with from {answers!r}: pass a data model class, a JSON schema, or "
            f"a list of pairs (target, prediction) ({error})"
        ) from None
    drawn = [JsonDataModel(schema=schema, json=value) for value in values]
    different = list({json.dumps(answer.get_json(), sort_keys=True): answer for answer in drawn}.values())
    rng = Random(number)
    truths = different[: EXAMPLES + 2]
    pairs: list[Pair] = [(truth, rng.choice(different)) for truth in truths]
    # Many that are drawn are all but empty, and nothing is to be found or missed in those.
    full = sorted(different, key=_left_open)[:FULL]
    pairs += [(truth, full[place - 1]) for place, truth in enumerate(full)]
    words, numbers = (
        [(truth, answer) for truth in different for answer in made(truth)] for made in (near, one_off)
    )
    return [*pairs, *((truth, truth) for truth in truths[:4]), *words[:NEAR], *numbers[:NEAR]]


def _left_open(answer: JsonDataModel) -> int:
    return sum(not value for _, value in leaves(answer.get_json()))


def shown_pair(pair: Pair) -> str:
    """A pair for a message."""
    return f"target {json_of(pair[0])!r} with prediction {json_of(pair[1])!r}"
