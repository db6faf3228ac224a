"""`SymbolicDataModel`: a placeholder with a schema and no value, from which graphs of modules are built.

It says what a value will look like. Asking it for that value is refused with a hint, because that
happens when a module's `call` is run on placeholders and branches on data.
"""

from __future__ import annotations

from typing import Any, NoReturn

from eventcore.errors import InvalidValue
from eventcore.history.values import JsonDict, copy_json
from eventcore.models.algebra import properties_of, same_properties
from eventcore.models.conversion import shared_schema, validator_of
from eventcore.models.data_model import prettify
from eventcore.models.naming import auto_name
from eventcore.models.operands import Operators


class SymbolicDataModel(Operators):
    """A data model known by its schema alone.

    Args:
        data_model: A data model (class or instance), or anything with a schema.
        schema: The JSON schema.
        record_history: Whether graphs note what produced it.
        name: Defaults to `symbolic_data_model`, `symbolic_data_model_1`, and so on.

    Attributes:
        producer: Set by the graph layer: which module, which of its calls and which of its outputs
            this is. None when no graph produced it.

    Raises:
        InvalidValue: Neither schema nor data model is given, or their properties differ.
    """

    producer: object | None

    def __init__(
        self,
        data_model: Any = None,
        schema: JsonDict | None = None,
        record_history: bool = True,
        name: str | None = None,
    ) -> None:
        if data_model is None and schema is None:
            raise InvalidValue(
                "cannot make a SymbolicDataModel: received nothing; give data_model or schema."
            )
        source = data_model if schema is None else schema
        own = shared_schema(source)
        if (
            data_model is not None
            and schema is not None
            and not same_properties(own, shared_schema(data_model))
        ):
            raise InvalidValue(
                "cannot make a SymbolicDataModel: received a schema and a data model with different properties; "
                "give one of them."
            )
        validator_of(source)  # so that what cannot be used is refused here
        self._schema = own
        self._name = auto_name("symbolic_data_model") if name is None else name
        self.record_history = record_history
        self.producer = None

    @property
    def name(self) -> str:
        """The name, for people."""
        return self._name

    def get_schema(self) -> JsonDict:
        """Give the JSON schema, as a copy of its own."""
        schema: JsonDict = copy_json(self._schema)
        return schema

    def shared_schema(self) -> JsonDict:
        """Give the JSON schema itself, for eventcore to read."""
        return self._schema

    def prettify_schema(self) -> str:
        """Write the JSON schema for people."""
        return prettify(self._schema)

    def keys(self) -> list[str]:
        """List the fields a value will have."""
        return list(properties_of(self._schema))

    def clone(self, name: str | None = None) -> SymbolicDataModel:
        """Make an equal one of another name, not produced by any graph."""
        name = auto_name("clone_" + self._name) if name is None else name
        return SymbolicDataModel(schema=self._schema, record_history=self.record_history, name=name)

    def to_symbolic_data_model(self, name: str | None = None) -> SymbolicDataModel:
        """Give itself, or a clone where another name is wanted."""
        return self if name is None else self.clone(name)

    def get_config(self) -> JsonDict:
        """Give what `from_config` needs."""
        return {"name": self._name, "schema": self.get_schema(), "record_history": self.record_history}

    @classmethod
    def from_config(cls, config: JsonDict) -> SymbolicDataModel:
        """Make one of what `get_config` gave."""
        return cls(**config)

    def get_json(self) -> NoReturn:
        """Refuse: there is no value yet.

        Raises:
            InvalidValue: Always.
        """
        self._refuse("the JSON")

    def prettify_json(self) -> NoReturn:
        """Refuse, as `get_json`."""
        self._refuse("the JSON")

    def get(self, key: str, default: Any = None) -> NoReturn:
        """Refuse, as `get_json`."""
        del default
        self._refuse(f"{key!r}")

    def values(self) -> NoReturn:
        """Refuse, as `get_json`."""
        self._refuse("the values")

    def items(self) -> NoReturn:
        """Refuse, as `get_json`."""
        self._refuse("the items")

    def update(self, changes: Any) -> NoReturn:
        """Refuse, as `get_json`."""
        del changes
        self._refuse("a writable state")

    def __getitem__(self, key: str) -> NoReturn:
        self._refuse(f"{key!r}")

    def _refuse(self, what: str) -> NoReturn:
        raise InvalidValue(
            f"cannot read {what} of {self._name}: it is a placeholder in a graph and has no value. If a module's "
            "call() was being traced, give the module a compute_output_spec() that says what it returns."
        )

    def __repr__(self) -> str:
        return f"SymbolicDataModel(name={self._name!r}, fields={self.keys()!r})"
