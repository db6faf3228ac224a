"""Initializers: callables that produce a variable's first value."""

from __future__ import annotations

from typing import Any

from eventcore.errors import InvalidValue
from eventcore.models.conversion import json_of, schema_of
from eventcore.models.validation import validator_for
from eventcore.saving.registry import register_class


class Initializer:
    """Produces a first value: the defaults of a data model, overlaid with the JSON given.

    Args:
        schema: JSON schema of the value.
        json: Fields that differ from the defaults; None for none.
        data_model: A data model, class or instance, instead of `schema` (and of `json`, for an instance).

    Raises:
        InvalidValue: Neither `schema` nor `data_model`.
    """

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        register_class(cls)

    def __init__(
        self, schema: dict[str, Any] | None = None, json: Any = None, data_model: Any = None
    ) -> None:
        if data_model is None and schema is None:
            raise InvalidValue(
                f"cannot make {type(self).__name__}: received no schema; pass data_model= or schema="
            )
        self._schema: dict[str, Any] = schema_of(data_model if data_model is not None else schema)
        if json is None and data_model is not None and not isinstance(data_model, type):
            json = json_of(data_model)
        self._json = json

    def __call__(self) -> dict[str, Any]:
        """Return the value: a new dict each time, checked against the schema."""
        checker = validator_for(self._schema)
        return checker.check({**checker.defaults(), **(self._json or {})}, type(self).__name__)

    def get_json(self) -> dict[str, Any]:
        """Return the value it produces."""
        return self()

    def get_schema(self) -> dict[str, Any]:
        """Return the JSON schema of what it produces."""
        return validator_for(self._schema).schema()

    def get_config(self) -> dict[str, Any]:
        """Return what `from_config` needs."""
        return {"schema": self.get_schema(), "json": self._json}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Initializer:
        """Make an initializer from its config."""
        return cls(**config)

    def clone(self) -> Initializer:
        """Return another one like it."""
        return type(self).from_config(self.get_config())


class Empty(Initializer):
    """The defaults of a data model, and nothing else."""


register_class(Initializer)
