"""Python types to JSON schema, in the shape language-model providers and users read.

Keys stand in sorted order, properties in declared order, each with a title and what its `Field` says;
`description` is the class's own docstring; nested classes go to `$defs`. Nothing here checks values:
that is `eventcore.models.validation`, which reads the schemas made here.
"""

from __future__ import annotations

import collections.abc
import dataclasses
import enum
import inspect
import sys
import types
import typing
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal, TypeGuard, TypeVar, Union, cast

import msgspec

from eventcore.errors import InvalidValue
from eventcore.history.values import JsonDict, canonical
from eventcore.models.field import MISSING, FieldInfo, FieldSpec
from eventcore.models.naming import title_of

_SCALARS: dict[Any, JsonDict] = {
    Any: {},
    object: {},
    None: {"type": "null"},
    type(None): {"type": "null"},
    bool: {"type": "boolean"},
    int: {"type": "integer"},
    float: {"type": "number"},
    str: {"type": "string"},
}
_LISTS = (list, collections.abc.Sequence, collections.abc.MutableSequence)
_DICTS = (dict, collections.abc.Mapping, collections.abc.MutableMapping)
_KEYWORDS: dict[str, dict[str, str]] = {
    "gt": {"integer": "exclusiveMinimum", "number": "exclusiveMinimum"},
    "ge": {"integer": "minimum", "number": "minimum"},
    "lt": {"integer": "exclusiveMaximum", "number": "exclusiveMaximum"},
    "le": {"integer": "maximum", "number": "maximum"},
    "multiple_of": {"integer": "multipleOf", "number": "multipleOf"},
    "min_length": {"string": "minLength", "array": "minItems", "object": "minProperties"},
    "max_length": {"string": "maxLength", "array": "maxItems", "object": "maxProperties"},
    "pattern": {"string": "pattern"},
}


def is_model_class(value: object) -> TypeGuard[type[Any]]:
    """Tell whether it is a class made with `DataModel`'s metaclass."""
    return isinstance(value, type) and "__declaration__" in vars(value)


def is_record_class(value: object) -> TypeGuard[type[Any]]:
    """Tell whether it is a class whose instances are objects with fields: a data model of any library."""
    if not isinstance(value, type):
        return False
    cls = cast("type[Any]", value)
    if is_model_class(cls) or issubclass(cls, msgspec.Struct) or dataclasses.is_dataclass(cls):
        return True
    return is_pydantic_class(cls)


def is_pydantic_class(value: object) -> TypeGuard[type[Any]]:
    """Tell whether it is a pydantic model class; pydantic is never imported for that."""
    pydantic = sys.modules.get("pydantic")
    return pydantic is not None and isinstance(value, type) and issubclass(value, pydantic.BaseModel)


def record_schema(cls: type[Any]) -> JsonDict:
    """Make the JSON schema of a record class.

    Raises:
        InvalidValue: An annotation has no JSON counterpart.
    """
    builder = SchemaBuilder()
    top = builder.object_of(cls)
    return ordered({**top, "$defs": builder.definitions} if builder.definitions else top)


def ordered(schema: JsonDict) -> JsonDict:
    """Sort the keys of one schema, leaving what is inside them alone."""
    return dict(sorted(schema.items()))


class SchemaBuilder:
    """Builds schemas of annotations, collecting the definitions of the classes met on the way."""

    def __init__(self) -> None:
        self._definitions: JsonDict = {}
        self._names: dict[Any, str] = {}

    @property
    def definitions(self) -> JsonDict:
        """The `$defs`, by name in sorted order."""
        return ordered(self._definitions)

    def object_of(self, cls: type[Any]) -> JsonDict:
        """Make the schema of a record class, without `$defs`."""
        if is_pydantic_class(cls):
            return self._adopted(cls.model_json_schema())
        properties: JsonDict = {}
        required: list[str] = []
        for spec in specs_of(cls):
            try:
                properties[spec.name], needed = self._property(spec)
            except InvalidValue as error:
                raise type(error)(f"cannot declare the field {cls.__name__}.{spec.name}: {error}") from None
            if needed:
                required.append(spec.name)
        result: JsonDict = {"additionalProperties": False, "properties": properties}
        result |= {"title": cls.__name__, "type": "object"}
        if required:
            result["required"] = required
        description = own_docstring(cls)
        if description:
            result["description"] = description
        return ordered(result)

    def _property(self, spec: FieldSpec) -> tuple[JsonDict, bool]:
        annotation, info = split_annotation(spec.annotation)
        info = spec.info.over(info)
        result = constrained(self.of(annotation), info.constraints)
        result["title"] = info.title if info.title is not None else title_of(spec.name)
        if info.description is not None:
            result["description"] = inspect.cleandoc(info.description).strip()
        if info.examples is not None:
            result["examples"] = canonical(info.examples, "the examples")
        if info.default is not MISSING:
            result["default"] = canonical(info.default, "the default")
        for keyword, value in info.extra.items():
            result[keyword] = canonical(value, f"the schema keyword {keyword!r}")
        return ordered(result), info.required

    def of(self, annotation: Any) -> JsonDict:
        """Make the schema of any annotation; classes become references."""
        annotation, info = split_annotation(annotation)
        if info.constraints or info.description is not None or info.title is not None:
            inner = constrained(self.of(annotation), info.constraints)
            said = {"title": info.title, "description": info.description}
            return ordered({**inner, **{key: text for key, text in said.items() if text is not None}})
        known = _scalar(annotation)
        if known is not None:
            return dict(known)
        origin = typing.get_origin(annotation) or annotation
        arguments = typing.get_args(annotation)
        if origin is Union or origin is types.UnionType:
            return {"anyOf": [self.of(option) for option in arguments]}
        if origin is Literal:
            return _choice(arguments)
        if origin in _LISTS:
            return {"items": self.of(arguments[0]) if arguments else {}, "type": "array"}
        if origin in _DICTS:
            return self._dict(arguments)
        if isinstance(origin, type):
            return self._class(cast("type[Any]", origin), arguments)
        raise _refused_annotation(annotation)

    def _dict(self, arguments: Sequence[Any]) -> JsonDict:
        key, value = arguments if len(arguments) == 2 else (str, Any)
        of_value = self.of(value)
        result: JsonDict = {"additionalProperties": of_value or True, "type": "object"}
        of_key = self.of(key)
        if of_key not in ({}, {"type": "string"}):
            if of_key.get("type", "string") != "string":
                raise InvalidValue(f"received dict keys of type {_shown(key)}; allowed: str.")
            result["propertyNames"] = of_key
        return ordered(result)

    def _class(self, cls: type[Any], arguments: Sequence[Any]) -> JsonDict:
        if issubclass(cls, enum.Enum):
            values = [canonical(member.value, "an enum member") for member in cls]
            return self._reference(cls, lambda: ordered({**_choice(values), "title": cls.__name__}))
        if is_record_class(cls):
            return self._reference(cls, lambda: self.object_of(cls))
        if cls is tuple:
            return self._tuple(arguments)
        if cls in (set, frozenset):
            raise InvalidValue(f"received {cls.__name__}; allowed: list (JSON has no sets).")
        raise _refused_annotation(cls)

    def _tuple(self, arguments: Sequence[Any]) -> JsonDict:
        if not arguments or (len(arguments) == 2 and arguments[1] is ...):
            return {"items": self.of(arguments[0]) if arguments else {}, "type": "array"}
        leading = [self.of(argument) for argument in arguments]
        size = len(leading)
        return {"items": False, "maxItems": size, "minItems": size, "prefixItems": leading, "type": "array"}

    def _reference(self, cls: type[Any], make: typing.Callable[[], JsonDict]) -> JsonDict:
        if cls not in self._names:
            name = self._names[cls] = self._free(cls.__name__)
            self._definitions[name] = {}  # taken: the class may contain itself
            self._definitions[name] = make()
        return {"$ref": f"#/$defs/{self._names[cls]}"}

    def _free(self, name: str) -> str:
        count, free = 1, name
        while free in self._definitions:
            count += 1
            free = f"{name}_{count}"
        return free

    def _adopted(self, schema: JsonDict) -> JsonDict:
        """Take over a schema made elsewhere: its definitions join ours, its objects become closed."""
        foreign: JsonDict = dict(schema.get("$defs", {}))
        names = {name: self._free(name) for name in foreign}
        for name, definition in foreign.items():
            self._definitions[names[name]] = closed(renamed_references(definition, names))
        top = {key: value for key, value in schema.items() if key != "$defs"}
        if set(top) == {"$ref"}:
            top = foreign[top["$ref"].removeprefix("#/$defs/")]
        return closed(renamed_references(top, names))


def closed(schema: JsonDict) -> JsonDict:
    """Forbid unknown fields where an object with properties does not say, and sort its keys."""
    if schema.get("type") == "object" and "properties" in schema:
        return ordered({"additionalProperties": False, **schema})
    return ordered(schema)


def renamed_references(schema: Any, names: Mapping[str, str]) -> Any:
    """Copy a schema, with references to definitions that got another name following it."""
    if isinstance(schema, dict):
        parts = cast("JsonDict", schema)
        result = {key: renamed_references(value, names) for key, value in parts.items() if key != "$ref"}
        if "$ref" in parts:
            target = str(parts["$ref"])
            name = target.removeprefix("#/$defs/")
            result["$ref"] = f"#/$defs/{names.get(name, name)}" if name != target else target
        return {key: result[key] for key in parts}
    if isinstance(schema, list):
        return [renamed_references(item, names) for item in cast("list[Any]", schema)]
    return schema


def split_annotation(annotation: Any) -> tuple[Any, FieldInfo]:
    """Take aliases and `Annotated` off an annotation, keeping what `Field` and `Meta` say in it."""
    info = FieldInfo()
    while True:
        if typing.get_origin(annotation) is Annotated:
            for said in annotation.__metadata__:
                info = _said(said).over(info)
            annotation = annotation.__origin__
        elif typing.get_origin(annotation) is typing.Final:
            annotation = typing.get_args(annotation)[0]
        elif hasattr(annotation, "__supertype__"):  # a NewType
            annotation = annotation.__supertype__
        elif type(annotation).__name__ == "TypeAliasType":
            annotation = annotation.__value__
        elif isinstance(annotation, TypeVar):
            annotation = annotation.__bound__ or Any
        else:
            return annotation, info


def _said(metadata: Any) -> FieldInfo:
    if isinstance(metadata, FieldInfo):
        return metadata
    if not isinstance(metadata, msgspec.Meta):
        return FieldInfo()
    constraints = {name: getattr(metadata, name) for name in _KEYWORDS}
    return FieldInfo(
        title=metadata.title,
        description=metadata.description,
        examples=None if metadata.examples is None else tuple(metadata.examples),
        constraints={name: bound for name, bound in constraints.items() if bound is not None},
        extra=metadata.extra_json_schema or {},
    )


def constrained(schema: JsonDict, constraints: Mapping[str, Any]) -> JsonDict:
    """Write constraints into a schema, into the alternatives they apply to where there are several.

    Raises:
        InvalidValue: A constraint applies to none.
    """
    result = dict(schema)
    for name, bound in constraints.items():
        keywords = _KEYWORDS[name]
        options: list[JsonDict] = result.get("anyOf", [result])
        if not any(option.get("type") in keywords for option in options):
            raise InvalidValue(
                f"received {name}={bound!r}; allowed for values of type {', '.join(keywords)}."
            )
        bounded = [
            ordered({**option, keywords[option["type"]]: bound}) if option.get("type") in keywords else option
            for option in options
        ]
        result = {**result, "anyOf": bounded} if "anyOf" in result else bounded[0]
    return ordered(result)


def _choice(values: Sequence[Any]) -> JsonDict:
    plain = [canonical(value, "a literal") for value in values]
    names: dict[Any, str] = {bool: "boolean", int: "integer", float: "number", str: "string"}
    kinds = {names.get(type(value)) for value in plain}
    result: JsonDict = {"const": plain[0]} if len(plain) == 1 else {"enum": plain}
    kind = kinds.pop() if len(kinds) == 1 else None
    return {**result, "type": kind} if kind is not None else result


def specs_of(cls: type[Any]) -> list[FieldSpec]:
    """List the fields of a record class that is no pydantic model, in declared order."""
    if is_model_class(cls):
        specs: list[FieldSpec] = list(vars(cls)["__declaration__"].specs.values())
        return specs
    if issubclass(cls, msgspec.Struct):
        return _struct_specs(cls)
    hints = typing.get_type_hints(cls, include_extras=True)
    return [_dataclass_spec(field, hints[field.name]) for field in dataclasses.fields(cls)]


def _dataclass_spec(field: dataclasses.Field[Any], annotation: Any) -> FieldSpec:
    missing = dataclasses.MISSING
    default = MISSING if field.default is missing else field.default
    factory = None if field.default_factory is missing else field.default_factory
    return FieldSpec(field.name, annotation, _plain_default(default, factory))


def _struct_specs(cls: type[msgspec.Struct]) -> list[FieldSpec]:
    config = cls.__struct_config__
    if config.array_like:
        raise InvalidValue(
            f"cannot use {cls.__name__} as a data model: it is array_like; allowed: a Struct whose JSON is an object."
        )
    specs = [] if config.tag is None else [FieldSpec(str(config.tag_field), Literal[config.tag], FieldInfo())]
    for field in msgspec.structs.fields(cls):
        default = MISSING if field.default is msgspec.NODEFAULT else field.default
        factory = None if field.default_factory is msgspec.NODEFAULT else field.default_factory
        specs.append(FieldSpec(field.encode_name, field.type, _plain_default(default, factory)))
    return specs


def _plain_default(default: Any, factory: Any) -> FieldInfo:
    if factory in (list, dict):
        return FieldInfo(default=factory())
    return FieldInfo(default=default, default_factory=factory)


def own_docstring(cls: type[Any]) -> str:
    """Give the docstring written in the class itself, not an inherited or generated one."""
    text = vars(cls).get("__doc__")
    if not isinstance(text, str) or (dataclasses.is_dataclass(cls) and text.startswith(f"{cls.__name__}(")):
        return ""
    return inspect.cleandoc(text)


def _refused_annotation(annotation: Any) -> InvalidValue:
    if hasattr(annotation, "get_schema"):
        return InvalidValue(
            "received an annotation that combines data models (`A | B` on data models is an operator); "
            "allowed: typing.Union[A, B] or typing.Optional[A]."
        )
    return InvalidValue(
        f"received the annotation {_shown(annotation)}; allowed: str, int, float, bool, None, Any, list, dict, "
        "tuple, Literal, Enum, Optional, Union, and classes that are data models, Structs or dataclasses."
    )


def _shown(annotation: Any) -> str:
    return str(annotation.__name__) if inspect.isclass(annotation) else str(annotation)


def _scalar(annotation: Any) -> JsonDict | None:
    try:
        return _SCALARS.get(annotation)
    except TypeError:  # not hashable, so none of them
        return None
