"""`SelfCritique`: a language model judges what it is given, in words and on a scale.

The scales are enums, so a model can give no value between two marks; `on_unit_scale` makes any of them
comparable.
"""

from __future__ import annotations

from enum import Enum, IntEnum
from typing import Any

from eventcore.errors import InvalidValue
from eventcore.language_models.generator import Generator, JsonDict
from eventcore.models.schema import SchemaBuilder
from eventcore.saving.registry import register_class


@register_class
class Score(float, Enum):
    """From 0.0 to 1.0 in steps of 0.1."""

    VERY_BAD = 0.0
    BAD = 0.1
    POOR = 0.2
    WEAK = 0.3
    BELOW_AVERAGE = 0.4
    AVERAGE = 0.5
    ABOVE_AVERAGE = 0.6
    GOOD = 0.7
    VERY_GOOD = 0.8
    EXCELLENT = 0.9
    PERFECT = 1.0


@register_class
class Rating(IntEnum):
    """From 1 to 5."""

    VERY_POOR = 1
    POOR = 2
    FAIR = 3
    GOOD = 4
    EXCELLENT = 5


def _scale(name: str, marks: list[float]) -> Any:
    """Make a scale that is too fine for its marks to have names worth reading."""
    kind: Any = IntEnum if isinstance(marks[0], int) else Enum
    options = {} if kind is IntEnum else {"type": float}
    members = {f"MARK_{place}": mark for place, mark in enumerate(marks)}
    made: Any = kind(name, members, module=__name__, **options)
    return register_class(made)


FineScore = _scale("FineScore", [mark / 20 for mark in range(21)])
"""From 0.0 to 1.0 in steps of 0.05."""
Rating10 = _scale("Rating10", list(range(1, 11)))
"""From 1 to 10."""
Rating20 = _scale("Rating20", list(range(1, 21)))
"""From 1 to 20."""


def marks_of(score_type: Any) -> list[float]:
    """The marks of a scale, lowest first.

    Raises:
        InvalidValue: It is no enum of at least two numbers.
    """
    values = [member.value for member in score_type] if isinstance(score_type, type(Score)) else []
    numbers = [value for value in values if isinstance(value, (int, float)) and not isinstance(value, bool)]
    if len(numbers) < 2 or len(numbers) != len(values):
        raise InvalidValue(
            f"cannot judge on the scale {score_type!r}: pass an enum of numbers, such as Score or Rating"
        )
    return sorted(float(number) for number in numbers)


def on_unit_scale(mark: float, score_type: Any = Score) -> float:
    """Move a mark of a scale to 0.0 … 1.0."""
    marks = marks_of(score_type)
    return (float(mark) - marks[0]) / (marks[-1] - marks[0])


class SelfCritique(Generator):
    """Judges its input: `{"critique", "reward"}`, beside the input's own fields.

    Args:
        return_reward: Ask for the mark too, not only for words.
        return_inputs: Return the input's fields as well.
        score_type: The scale: an enum of numbers (`Score`, `FineScore`, `Rating`, `Rating10`, `Rating20`).
        **arguments: As in `Generator`, but for the schema.

    Raises:
        InvalidValue: No usable scale, or as in `Generator`.
    """

    def __init__(
        self,
        *,
        return_reward: bool = True,
        return_inputs: bool = True,
        score_type: Any = None,
        **arguments: Any,
    ) -> None:
        self._rewarded = bool(return_reward)
        self._scale: Any = Score if score_type is None else score_type
        marks_of(self._scale)
        for refused in ("schema", "data_model"):
            if arguments.get(refused) is not None:
                raise InvalidValue(
                    f"cannot make SelfCritique with `{refused}`: its answer is a critique and a mark"
                )
        super().__init__(return_inputs=return_inputs, **arguments)

    @property
    def score_type(self) -> Any:
        """The scale of its marks; `on_unit_scale` makes them comparable."""
        return self._scale

    def answer_schema(self, schema: JsonDict | None) -> JsonDict | None:
        """Return the schema of the judgement."""
        properties: JsonDict = {
            "critique": {
                "description": "Your step by step critique: what is good, what is wrong or missing.",
                "title": "Critique",
                "type": "string",
            }
        }
        if self._rewarded:
            builder = SchemaBuilder()
            builder.of(self._scale)
            scale = next(iter(builder.definitions.values()))
            properties["reward"] = {
                **scale,
                "description": "The mark that follows from the critique; the highest is the best.",
                "title": "Reward",
            }
        return {
            "additionalProperties": False,
            "description": "A critique of the input.",
            "properties": properties,
            "required": list(properties),
            "title": "Critique",
            "type": "object",
        }

    def first_instructions(self, schema: JsonDict | None) -> str | None:
        """Return what the model is told when the constructor was given no instructions."""
        return (
            "Judge the input critically and fairly. Say what is right and what is wrong, then give your mark."
        )
