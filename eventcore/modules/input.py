"""`Input`: where data enters a graph."""

from __future__ import annotations

from typing import Any

from eventcore.errors import InvalidValue
from eventcore.models.conversion import schema_of
from eventcore.models.symbolic import SymbolicDataModel
from eventcore.models.trainable import is_trainable, missing_defaults
from eventcore.modules.internals import core_of
from eventcore.modules.module import Module
from eventcore.modules.tracing import recorded


class InputModule(Module):
    """A place where data enters a program.

    Args:
        schema: JSON schema of the data.
        optional: Whether a program's caller may leave it out.
        name: Its name, by which data can be passed.
        description: What it is, in words.
        data_model: A data model instead of `schema`.

    Raises:
        InvalidValue: Neither schema nor data model, or a `Trainable` with fields that have no default.
    """

    accepts_any_input = True

    def __init__(
        self,
        schema: dict[str, Any] | None = None,
        optional: bool = False,
        name: str | None = None,
        description: str | None = None,
        data_model: Any = None,
    ) -> None:
        super().__init__(name=name, description=description)
        self.schema = input_schema(schema, data_model)
        self.optional = optional
        core = core_of(self)
        core.input_schema = self.schema
        core.built = core.locked = True
        core.recorded = False

    def symbolic(self, name: str | None = None) -> SymbolicDataModel:
        """Make the symbolic data model that stands for the data."""
        spec = SymbolicDataModel(schema=self.schema, name=name if name is not None else self.name)
        found: SymbolicDataModel = recorded(self, (), {}, spec)
        return found

    def call(self, inputs: Any = None) -> Any:
        """Pass the data on."""
        return inputs

    def get_config(self) -> dict[str, Any]:
        """Return what `from_config` needs."""
        return {
            "schema": self.schema,
            "optional": self.optional,
            "name": self.name,
            "description": self.description,
        }


def Input(  # noqa: N802 - a constructor in all but name, spelt as Keras users know it
    schema: dict[str, Any] | None = None,
    data_model: Any = None,
    optional: bool = False,
    name: str | None = None,
) -> SymbolicDataModel:
    """Start a graph: a symbolic data model that stands for the data a program will be called with.

    Args:
        schema: JSON schema of the data.
        data_model: What the data looks like: a data model class, a msgspec Struct, a dataclass, a pydantic model,
            anything with `get_schema()`.
        optional: Whether a program's caller may leave it out.
        name: Its name, by which data can be passed in a dict.

    Raises:
        InvalidValue: Neither schema nor data model, or a `Trainable` with fields that have no default.
    """
    return InputModule(schema=schema, data_model=data_model, optional=optional, name=name).symbolic()


def input_schema(schema: dict[str, Any] | None, data_model: Any) -> dict[str, Any]:
    """Return the schema of an input, refusing what no placeholder could be made of.

    Raises:
        InvalidValue: Neither was given, or a `Trainable` has fields without a default.
    """
    if schema is None and data_model is None:
        raise InvalidValue("cannot make an Input: received neither. Pass `data_model=` or `schema=`.")
    found = schema_of(data_model if data_model is not None else schema)
    lacking = missing_defaults(found) if is_trainable(found) else []
    if lacking:
        raise InvalidValue(
            f"cannot make an Input of {found.get('title', 'a Trainable')}: every field of a Trainable needs a default, "
            f"and {', '.join(lacking)} has none. Write e.g. `{lacking[0]}: str = Field(default=...)`."
        )
    return found
