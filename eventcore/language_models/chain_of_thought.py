"""`ChainOfThought`: a generator whose answer begins with the thoughts that lead to it."""

from __future__ import annotations

from typing import Any

from eventcore.errors import InvalidValue
from eventcore.language_models.generator import Generator, JsonDict
from eventcore.models.algebra import merged_schema
from eventcore.models.data_model import DataModel
from eventcore.models.field import Field


class Thinking(DataModel):
    """Thoughts that lead to an answer."""

    thinking: str = Field(description="Your step by step thinking.")


class ChainOfThought(Generator):
    """Thinks step by step in a field `thinking`, then answers.

    Takes what `Generator` takes; a schema or data model is needed.

    Args:
        reasoning_effort: As in `Generator`; "low" when absent, because the thinking is asked for already.
        **arguments: As in `Generator`.

    Raises:
        InvalidValue: No schema, or as in `Generator`.
    """

    def __init__(self, *, reasoning_effort: str | None = "low", **arguments: Any) -> None:
        super().__init__(reasoning_effort=reasoning_effort, **arguments)

    def answer_schema(self, schema: JsonDict | None) -> JsonDict | None:
        """Put `thinking` before the fields of the answer."""
        if schema is None:
            raise InvalidValue(
                "cannot make ChainOfThought without a schema: pass `data_model` or `schema`, the answer after the "
                "thinking"
            )
        merged, _ = merged_schema(Thinking.get_schema(), schema)
        described: JsonDict = {key: schema[key] for key in ("title", "description") if key in schema}
        return {**merged, **described}
