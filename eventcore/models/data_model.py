"""`DataModel`: a class whose instances are JSON objects of a declared shape.

The class itself does little: `eventcore.models.declaration` works out the fields,
`eventcore.models.validation` judges values, `eventcore.models.operators` combines models. It keeps
attributes as the objects the annotations promise and makes JSON of them on demand.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any, Self, dataclass_transform

import msgspec

from eventcore.errors import InvalidValue, UnknownField
from eventcore.history.values import JsonDict, copy_json
from eventcore.models.declaration import Declaration, defining_frames
from eventcore.models.field import Field
from eventcore.models.naming import auto_name
from eventcore.models.operands import ClassOperators, Operators
from eventcore.saving.registry import register_class

if TYPE_CHECKING:
    from eventcore.models.json_data_model import JsonDataModel
    from eventcore.models.symbolic import SymbolicDataModel


@dataclass_transform(kw_only_default=True, field_specifiers=(Field,))
class ModelMeta(ClassOperators):
    """Reads the fields off a data model class, and gives the class itself the operators."""

    __declaration__: Declaration

    def __new__(
        mcs, name: str, bases: tuple[type, ...], namespace: dict[str, Any], **kwargs: Any
    ) -> ModelMeta:
        """Make the class and its declaration."""
        cls = super().__new__(mcs, name, bases, namespace, **kwargs)
        declaration = Declaration(cls, defining_frames())
        type.__setattr__(cls, "__declaration__", declaration)
        declaration.settle()
        known: type[Any] = cls
        register_class(known)
        return cls


class DataModel(Operators, metaclass=ModelMeta):
    """A JSON object with declared fields; subclass it and annotate the fields.

    Values are validated on construction and on attribute assignment. Types are strict: `"3"` is no int
    and `True` is no int; an int is accepted for a float and stored as one. Nothing passed in is aliased.

    Args:
        **values: The fields; those with a default may be left out.

    Raises:
        SchemaMismatch: A field is missing, unknown or of the wrong type.
    """

    def __init__(self, /, **values: Any) -> None:
        declaration = type(self).__declaration__
        declaration.fill(self, declaration.validator.check(values, type(self).__name__))

    @classmethod
    def get_schema(cls) -> JsonDict:
        """Give the JSON schema, as a copy of its own."""
        schema: JsonDict = copy_json(cls.__declaration__.schema)
        return schema

    @classmethod
    def prettify_schema(cls) -> str:
        """Write the JSON schema for people."""
        return prettify(cls.__declaration__.schema)

    @classmethod
    def keys(cls) -> list[str]:
        """List the fields, in declared order."""
        return list(cls.__declaration__.specs)

    @classmethod
    def to_symbolic_data_model(cls, name: str | None = None) -> SymbolicDataModel:
        """Make the placeholder that stands for such a value in a graph."""
        from eventcore.models.symbolic import SymbolicDataModel

        return SymbolicDataModel(schema=cls.get_schema(), name=name)

    @classmethod
    def from_config(cls, config: JsonDict) -> Self:
        """Make an instance from what `get_config` gave."""
        return cls(**config)

    def get_config(self) -> JsonDict:
        """Give what `from_config` needs: the JSON."""
        return self.get_json()

    def get_json(self) -> JsonDict:
        """Give the JSON, as a copy of its own; fields that are None are kept.

        Raises:
            SchemaMismatch: A list or dict of this instance was changed in place to something that does not fit.
        """
        declaration = type(self).__declaration__
        values = vars(self)
        if values.keys() != declaration.specs.keys():  # private attributes besides
            values = {name: values[name] for name in declaration.specs if name in values}
        return declaration.validator.check(values, type(self).__name__)

    def prettify_json(self) -> str:
        """Write the JSON for people."""
        return prettify(self.get_json())

    def get(self, key: str, default: Any = None) -> Any:
        """Give the JSON of one field, or `default` when there is no such field."""
        return self[key] if key in type(self).__declaration__.specs else default

    def __getitem__(self, key: str) -> Any:
        declaration, name = type(self).__declaration__, type(self).__name__
        if key not in declaration.specs:
            raise UnknownField(
                f"cannot find {key!r} in {name}; its fields are: {', '.join(declaration.specs)}."
            )
        return declaration.validator.check_field(key, vars(self)[key], name)

    def to_json_data_model(self, name: str | None = None) -> JsonDataModel:
        """Make the immutable value that flows between modules."""
        name = auto_name("json_data_model") if name is None else name
        return _json_data_model().trusted(type(self).__declaration__.schema, self.get_json(), name)

    def __setattr__(self, name: str, value: Any) -> None:
        declaration = type(self).__declaration__
        if name.startswith("_"):
            object.__setattr__(self, name, value)
            return
        checked = declaration.validator.check_field(name, value, type(self).__name__)
        lift = declaration.lifters.get(name)
        vars(self)[name] = checked if lift is None else lift(copy_json(checked))

    def __delattr__(self, name: str) -> None:
        if name in type(self).__declaration__.specs:
            raise InvalidValue(
                f"cannot delete the field {name!r} of {type(self).__name__}: every field has a value; assign another."
            )
        object.__delattr__(self, name)

    def __eq__(self, other: object) -> bool:
        if type(other) is not type(self):
            return NotImplemented
        return canonical_bytes(self.get_json()) == canonical_bytes(other.get_json())

    __hash__ = None  # type: ignore[assignment]  # it can change

    def __repr__(self) -> str:
        attributes = vars(self)
        shown = [
            f"{name}={attributes[name]!r}" for name in type(self).__declaration__.specs if name in attributes
        ]
        return f"{type(self).__name__}({', '.join(shown)})"


@cache
def _json_data_model() -> type[JsonDataModel]:
    """The class, which stands above this module; remembered, since an import statement costs more than it."""
    from eventcore.models.json_data_model import JsonDataModel

    return JsonDataModel


def prettify(value: Any) -> str:
    """Write JSON for people: two spaces of indentation, keys as they come."""
    return msgspec.json.format(msgspec.json.encode(value), indent=2).decode()


def canonical_bytes(value: Any) -> bytes:
    """Encode JSON so that equal values, and only they, have equal bytes: 1, 1.0 and true differ."""
    return msgspec.json.encode(value, order="sorted")
