"""The data models training relies on, and the questions asked about them.

`Trainable` holds the bookkeeping of an optimizer beside what is learnt; subclassing it is what makes a
variable trainable. What optimizers *do* with these fields is not decided here.
"""

from __future__ import annotations

from typing import Any

from eventcore.models.algebra import contains_schema
from eventcore.models.conversion import missing_defaults as missing_defaults
from eventcore.models.conversion import shared_schema
from eventcore.models.data_model import DataModel
from eventcore.models.field import Field


class Prediction(DataModel):
    """What a module was given, what it answered, and how good that was."""

    inputs: dict[str, Any] = Field(description="The inputs of the module.")
    outputs: dict[str, Any] = Field(description="The outputs of the module.")
    reward: float | None = Field(default=None, description="The reward of the prediction, once it is known.")


class Trainable(DataModel):
    """The state of a variable that an optimizer may rewrite."""

    examples: list[Prediction] = Field(default=[], description="The few-shot examples in use.")
    current_predictions: list[Prediction] = Field(
        default=[], description="The predictions made during the current batch."
    )
    predictions: list[Prediction] = Field(default=[], description="The predictions of the epoch.")
    seed_candidates: list[Any] = Field(default=[], description="The candidates to start from.")
    candidates: list[Any] = Field(default=[], description="The candidates proposed during the epoch.")
    best_candidates: list[Any] = Field(default=[], description="The best candidates so far.")
    history: list[Any] = Field(default=[], description="The best candidates selected over time.")
    nb_visit: int = Field(default=0, description="How many times it was used in the current batch.")
    cumulative_reward: float = Field(default=0.0, description="The sum of the rewards of the current batch.")


class Instructions(Trainable):
    """The instructions a language model is given."""

    instructions: str | None = Field(default=None, description="The instructions for the language model.")


BOOKKEEPING: tuple[str, ...] = tuple(Trainable.keys())
"""The nine fields of `Trainable`, in order; what a subclass adds is what is learnt."""


def is_trainable(value: Any) -> bool:
    """Tell whether a data model, class or instance, has every field of `Trainable`, unaltered."""
    return has_fields_of(value, Trainable)


def is_prediction(value: Any) -> bool:
    """Tell whether a data model has every field of `Prediction`, unaltered."""
    return has_fields_of(value, Prediction)


def is_instructions(value: Any) -> bool:
    """Tell whether a data model has every field of `Instructions`, unaltered."""
    return has_fields_of(value, Instructions)


def has_fields_of(value: Any, model: type[DataModel]) -> bool:
    """Tell whether every property of `model`, with its full schema, is among those of `value`."""
    return contains_schema(shared_schema(value), model.__declaration__.schema)
