"""`JsonDataModel`: the value that flows between modules during a call. It cannot be changed.

State that changes is a `Variable`'s business; a class with declared fields is a `DataModel`. This is
JSON together with the schema it fits, and every read of a container gives a copy.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, NoReturn

from eventcore.errors import ImmutableValue, InvalidValue, UnknownField
from eventcore.history.values import JsonDict, copy_json
from eventcore.models.conversion import json_of, shared_schema, validator_of
from eventcore.models.data_model import canonical_bytes, prettify
from eventcore.models.naming import auto_name
from eventcore.models.operands import Operators

if TYPE_CHECKING:
    from eventcore.models.symbolic import SymbolicDataModel


_set = object.__setattr__  # past the refusal of the class below


class JsonDataModel(Operators):
    """Immutable JSON with its schema.

    Args:
        schema: The JSON schema.
        json: The value; needs `schema` or `data_model`.
        data_model: A data model instance (gives both), or a class (gives the schema; `json` is needed).
        name: Defaults to `json_data_model`, `json_data_model_1`, and so on.

    Raises:
        InvalidValue: Value or schema is missing.
        SchemaMismatch: The value does not fit the schema.
    """

    __slots__ = ("__weakref__", "_json", "_name", "_schema")

    _json: JsonDict
    _schema: JsonDict
    _name: str

    def __init__(
        self,
        schema: JsonDict | None = None,
        json: Any = None,
        data_model: Any = None,
        name: str | None = None,
    ) -> None:
        if schema is None and data_model is None:
            raise InvalidValue(
                f"cannot make a JsonDataModel: received {'only json' if json is not None else 'nothing'}; "
                "give schema and json, or a data model instance."
            )
        if json is None:
            if data_model is None or isinstance(data_model, type):
                raise InvalidValue(
                    "cannot make a JsonDataModel: received a schema or class without json; give json, or an instance."
                )
            json = json_of(data_model)
        source = data_model if schema is None else schema
        name = auto_name("json_data_model") if name is None else name
        _set(self, "_schema", shared_schema(source))
        _set(self, "_json", validator_of(source).check(json, name))
        _set(self, "_name", name)

    @classmethod
    def trusted(cls, schema: JsonDict, json: JsonDict, name: str) -> JsonDataModel:
        """Make one of JSON that is known to fit. For eventcore's own use: nothing is copied or checked."""
        made = object.__new__(cls)
        _set(made, "_schema", schema)
        _set(made, "_json", json)
        _set(made, "_name", name)
        return made

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

    def get_json(self) -> JsonDict:
        """Give the JSON, as a copy of its own."""
        json: JsonDict = copy_json(self._json)
        return json

    def get(self, key: str, default: Any = None) -> Any:
        """Give one field, a container as a copy, or `default` when there is no such field."""
        found = self._json.get(key, default)
        return copy_json(found) if isinstance(found, (dict, list)) and key in self._json else found

    def __getitem__(self, key: str) -> Any:
        if key not in self._json:
            raise UnknownField(
                f"cannot find {key!r} in {self._name}; its fields are: {', '.join(self._json)}."
            )
        return copy_json(self._json[key])

    def __iter__(self) -> Iterator[str]:
        return iter(tuple(self._json))

    def keys(self) -> list[str]:
        """List the fields that have a value."""
        return list(self._json)

    def values(self) -> list[Any]:
        """List the values, as copies."""
        return list(self.get_json().values())

    def items(self) -> list[tuple[str, Any]]:
        """List fields and values, as copies."""
        return list(self.get_json().items())

    def clone(self, name: str | None = None) -> JsonDataModel:
        """Make an equal one of another name."""
        name = auto_name("clone_" + self._name) if name is None else name
        return JsonDataModel.trusted(self._schema, self._json, name)  # neither can change

    def to_symbolic_data_model(self, name: str | None = None) -> SymbolicDataModel:
        """Make the placeholder that stands for such a value in a graph."""
        from eventcore.models.symbolic import SymbolicDataModel

        return SymbolicDataModel(schema=self.get_schema(), name=name)

    def to_json_data_model(self, name: str | None = None) -> JsonDataModel:
        """Give itself, or a clone where another name is wanted."""
        return self if name is None else self.clone(name)

    def prettify_json(self) -> str:
        """Write the JSON for people."""
        return prettify(self._json)

    def prettify_schema(self) -> str:
        """Write the JSON schema for people."""
        return prettify(self._schema)

    def get_config(self) -> JsonDict:
        """Give what `from_config` needs."""
        return {"schema": self.get_schema(), "json": self.get_json(), "name": self._name}

    @classmethod
    def from_config(cls, config: JsonDict) -> JsonDataModel:
        """Make one of what `get_config` gave."""
        return cls(**config)

    def update(self, changes: Any) -> NoReturn:
        """Refuse: it cannot be changed.

        Raises:
            ImmutableValue: Always.
        """
        del changes
        self._refuse("update")

    def __setitem__(self, key: str, value: Any) -> NoReturn:
        self._refuse(f"set {key!r} of")

    def __delitem__(self, key: str) -> NoReturn:
        self._refuse(f"delete {key!r} of")

    def __setattr__(self, name: str, value: Any) -> NoReturn:
        self._refuse(f"set {name!r} of")

    def __delattr__(self, name: str) -> NoReturn:
        self._refuse(f"delete {name!r} of")

    def _refuse(self, what: str) -> NoReturn:
        raise ImmutableValue(
            f"cannot {what} {self._name}: a JsonDataModel cannot be changed; make a new one of its get_json(), "
            "or keep what changes in a Variable."
        )

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, JsonDataModel):
            return NotImplemented
        return self._schema == other._schema and canonical_bytes(self._json) == canonical_bytes(other._json)

    def __hash__(self) -> int:
        return hash(canonical_bytes(self._json))

    def __copy__(self) -> JsonDataModel:
        return self

    def __deepcopy__(self, memo: Any) -> JsonDataModel:
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        return JsonDataModel.trusted, (self._schema, self._json, self._name)

    def __repr__(self) -> str:
        return f"JsonDataModel(name={self._name!r}, json={self._json!r})"


def to_json_data_model(value: Any, name: str | None = None) -> JsonDataModel:
    """Turn a data model instance of any supported library into a `JsonDataModel`.

    Raises:
        WrongType: It is no data model instance.
    """
    if isinstance(value, JsonDataModel):
        return value.to_json_data_model(name)
    return JsonDataModel(data_model=value, name=name)
