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
from eventcore.training.rewards import get
from eventcore.training.rewards.base import Reward

Factory = Callable[..., Any]
Pair = tuple[Any, Any]
EXAMPLES = 10
"""How many targets are drawn, beside a few that are compared with themselves."""
NEAR = 6
"""How many predictions are made of their targets."""


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
    return [(truth, prediction) for truth, prediction in answers]


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
    near = [(truth, answer) for truth in different for answer in _nearly(truth, schema)]
    return [*pairs, *((truth, truth) for truth in truths[:4]), *near[:NEAR]]


def _nearly(truth: JsonDataModel, schema: dict[str, Any]) -> list[JsonDataModel]:
    """Answers that say what the target says, and parts of it twice: drawn answers hardly ever come near one."""
    found: list[JsonDataModel] = []
    for field, value in truth.get_json().items():
        twice = (
            value * 2 if isinstance(value, list) else f"{value} {value}" if isinstance(value, str) else value
        )
        if not value or twice == value:
            continue
        try:
            found.append(JsonDataModel(schema=schema, json={**truth.get_json(), field: twice}))
        except EventcoreError:  # the schema allows no more
            continue
    return found


def silenced(truth: Any) -> Any:
    """Return an answer like the target with empty texts and lists; None if that says the same, or cannot be."""
    told = json_of(truth)
    return _like(truth, {field: "" if isinstance(told[field], str) else [] for field in _wordy(told)})


def with_words_of(truth: Any, prediction: Any) -> Any:
    """Return an answer like the target with the texts and lists of another; None as in `silenced`."""
    told, other = json_of(truth), json_of(prediction)
    if not isinstance(other, dict):
        return None
    return _like(truth, {field: other[field] for field in _wordy(told) if field in other})  # pyright: ignore[reportUnknownVariableType]


def _wordy(told: Any) -> list[str]:
    return [field for field, value in told.items() if isinstance(value, (str, list))]


def _like(truth: Any, changes: dict[str, Any]) -> Any:
    told = {**json_of(truth), **changes}
    if told == json_of(truth):
        return None
    if not is_data_model(truth):
        return told
    try:
        return JsonDataModel(schema=truth.get_schema(), json=told)
    except EventcoreError:  # the schema does not allow that
        return None


def shown_pair(pair: Pair) -> str:
    """A pair for a message."""
    return f"target {json_of(pair[0])!r} with prediction {json_of(pair[1])!r}"


def json_of(answer: Any) -> Any:
    """Return an answer as JSON; None and dicts are themselves."""
    return answer.get_json() if is_data_model(answer) else answer
