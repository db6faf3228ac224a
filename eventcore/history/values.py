"""What a value may be: strict JSON, so that memory, log and file always say the same thing.

Everything that enters the state passes through `canonical`, which gives back plain built-in
objects that share nothing with what was passed in. It knows no schema: whether a value *fits* a
variable is the business of `eventcore.models.validation`, which reuses the parts below.

Refused, because a JSON reader elsewhere would not read the same value back: NaN and infinities,
integers beyond 64 bits, lone surrogates, sets, bytes, keys that are not strings, containers that
contain themselves.
"""

from __future__ import annotations

import dataclasses
import enum
import sys
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeAlias, TypeGuard

import msgspec

from eventcore.errors import SchemaMismatch

Json: TypeAlias = "bool | int | float | str | list[Json] | dict[str, Json] | None"
JsonDict: TypeAlias = dict[str, Any]
Path: TypeAlias = tuple[str | int, ...]

INT_MIN = -(2**63)
INT_MAX = 2**64 - 1
MAX_DEPTH = 200
"""Containers inside containers. JSON libraries give up at 254; a container that contains itself gets here."""

ALLOWED = "null, true, false, a 64-bit int, a finite float, str, list, or dict with str keys"


# The plain built-ins, given types that strict checkers can follow from `Any`.
_type: Callable[[Any], type[Any]] = type
_list_items: Callable[[Any], Iterator[Any]] = vars(list)["__iter__"]
_tuple_items: Callable[[Any], Iterator[Any]] = vars(tuple)["__iter__"]


def is_dict(value: object) -> TypeGuard[dict[Any, Any]]:
    """Tell whether it is a dict, in a way that strict checkers can follow."""
    return isinstance(value, dict)


def is_list(value: object) -> TypeGuard[list[Any]]:
    """Tell whether it is a list, in a way that strict checkers can follow."""
    return isinstance(value, list)


class Refused(Exception):  # an inner signal, never seen by users: it becomes a SchemaMismatch at the surface
    """A value breaks a rule; each container it passes on the way out adds its step to `steps`."""

    def __init__(self, received: str, allowed: str = ALLOWED) -> None:
        super().__init__(received)
        self.received = received
        self.allowed = allowed
        self.steps: list[str | int] = []

    def mismatch(self, where: str, prefix: Path = ()) -> SchemaMismatch:
        """Say it the way users read it, with `prefix` put before the collected steps."""
        pointer = pointer_of((*prefix, *reversed(self.steps)))
        place = f" at {_shortened(pointer, 120)}" if pointer else ""
        text = f"cannot accept {where}{place}: received {self.received}; allowed: {self.allowed}."
        return SchemaMismatch(text, pointer)


def pointer_of(path: Iterable[str | int]) -> str:
    """Write a path as a JSON pointer (RFC 6901): `""` for the whole, `"/examples/0"` for a part."""
    return "".join("/" + str(step).replace("~", "~0").replace("/", "~1") for step in path)


def describe(value: Any) -> str:
    """Name a received value in a few words, without trusting its `repr`."""
    kind = _type(value)
    if value is None or kind is bool:
        return repr(value)
    if kind is str:
        return f"str {_shortened(value)}"
    if kind is int:
        bits = value.bit_length()
        return f"int {value}" if bits <= 64 else f"an int of {bits} bits"
    if kind is float:
        return f"float {value}"
    if issubclass(kind, (list, tuple, set, frozenset, dict)):
        size = len(value)
        return f"{kind.__name__} of {size} {'item' if size == 1 else 'items'}"
    if issubclass(kind, type):
        return f"the class {value.__qualname__}"
    return f"an object of type {kind.__qualname__}"


def _shortened(text: str, limit: int = 60) -> str:
    return ascii(text) if len(text) <= limit else ascii(text[:limit]) + "…"


def canonical(value: Any, where: str = "value") -> Json:
    """Turn a value into plain JSON that shares nothing with it.

    Tuples become lists; subclasses of `dict`, `list`, `str`, ... (recording views among them) become
    the plain type; an enum member becomes its value; anything with `get_json()`, a dataclass, a
    msgspec `Struct` or a pydantic model becomes a dict. Reading a recording view here records nothing.

    Args:
        value: What to convert.
        where: How error messages call it.

    Returns:
        `None`, `bool`, `int`, `float`, `str`, `list` or `dict`, of exactly these types at any depth.

    Raises:
        SchemaMismatch: It is not strict JSON; the message has the JSON pointer, received, allowed.
    """
    kind = _type(value)
    if value is None or kind is bool or (kind is str and value.isascii()):
        known: Json = value
        return known
    try:
        result: Json = plain(value, 0)
    except Refused as refused:
        raise refused.mismatch(where) from None
    return result


def plain(value: Any, depth: int) -> Any:
    """Do the work of `canonical`, raising `Refused`; `depth` counts the containers around `value`."""
    kind = _type(value)
    if kind is str:
        return _text(value)
    if value is None or kind is bool:
        return value
    if kind is int:
        if INT_MIN <= value <= INT_MAX:
            return value
        raise Refused(describe(value), "an int of 64 bits (-2**63 to 2**64-1)")
    if kind is float:
        if value - value == 0.0:  # NaN and the infinities give NaN here
            return value
        raise Refused(describe(value), "a finite float")
    if kind is dict or issubclass(kind, dict):
        return _plain_dict(value, depth + 1)
    if kind is list or issubclass(kind, list):
        return _plain_list(_list_items(value), depth + 1)
    if issubclass(kind, tuple):
        return _plain_list(_tuple_items(value), depth + 1)
    return _converted(value, depth)


def is_text(text: str) -> bool:
    """Whether UTF-8 can encode it: it holds no lone surrogate."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _text(text: str) -> str:
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError:
            raise Refused(f"{describe(text)} with a lone surrogate", "text that UTF-8 can encode") from None
    return text


def _plain_dict(value: dict[Any, Any], depth: int) -> Any:
    check_depth(depth)
    result: dict[str, Json] = {}
    key: Any = ""
    try:
        for key, item in items_of(value):
            if type(key) is not str:
                key = _key(key)
            elif not key.isascii():
                _key(key)
            result[key] = plain(item, depth)
    except Refused as refused:
        if isinstance(key, str):
            refused.steps.append(key)
        raise
    return result


def _plain_list(items: Iterator[Any], depth: int) -> Any:
    check_depth(depth)
    result: list[Json] = []
    try:
        for item in items:
            result.append(plain(item, depth))
    except Refused as refused:
        refused.steps.append(len(result))
        raise
    return result


def items_of(value: dict[Any, Any]) -> Iterable[tuple[Any, Any]]:
    """Iterate over a dict's items past any overridden method, so that a recording view records nothing."""
    # An OrderedDict keeps its order beside the dict's own, so there the plain method would lie.
    kind: type[Any] = OrderedDict if issubclass(type(value), OrderedDict) else dict
    items: Iterable[tuple[Any, Any]] = kind.items(value)
    return items


def _key(key: Any) -> str:
    if isinstance(key, str):
        return _text(str.__str__(key))
    raise Refused(f"a dict with the key {_named(key)}", "dict keys of type str")


def _named(key: object) -> str:
    return f"{key!r} ({type(key).__name__})" if type(key) in (int, float, bool, type(None)) else describe(key)


def check_depth(depth: int) -> None:
    """Refuse containers nested too deep; `depth` counts those around."""
    if depth > MAX_DEPTH:
        raise Refused(
            f"containers nested more than {MAX_DEPTH} deep (a container that contains itself is one)",
            f"at most {MAX_DEPTH} levels",
        )


def _converted(value: Any, depth: int) -> Any:
    """Convert what is not JSON by type but has one meaning as JSON."""
    check_depth(depth + 1)
    if isinstance(value, enum.Enum):
        return plain(value.value, depth + 1)
    if isinstance(value, str):
        return _text(str.__str__(value))
    if isinstance(value, int):
        return plain(int.__index__(value), depth)
    if isinstance(value, float):  # numpy.float64 is one
        return plain(float.__float__(value), depth)
    record = record_of(value)
    if record is None:
        raise Refused(describe(value))
    return plain(record, depth + 1)


def record_of(value: Any) -> Any:
    """Give the fields of a model-like instance as a dict, or None when it is not one."""
    kind = _type(value)
    if hasattr(kind, "get_json"):
        return value.get_json()
    if isinstance(value, msgspec.Struct):
        config = value.__struct_config__
        tag = {} if config.tag is None else {config.tag_field: config.tag}
        return tag | {f.encode_name: getattr(value, f.name) for f in msgspec.structs.fields(value)}
    if dataclasses.is_dataclass(kind):
        return {f.name: getattr(value, f.name) for f in dataclasses.fields(value)}
    pydantic = sys.modules.get("pydantic")  # never imported for the user: if they use it, it is there
    if pydantic is not None and isinstance(value, pydantic.BaseModel):
        return value.model_dump(mode="json", by_alias=True)  # as its JSON schema
    return None


def copy_json(value: Any) -> Any:
    """Copy plain JSON deeply. The value must be canonical already; C code does the walking."""
    return msgspec.msgpack.decode(msgspec.msgpack.encode(value))


def walk(value: Json, path: Path = ()) -> Iterator[tuple[Path, Json]]:
    """Yield every place of a JSON value with its path, containers before their contents."""
    yield path, value
    if isinstance(value, dict):
        for key, item in value.items():
            yield from walk(item, (*path, key))
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from walk(item, (*path, index))
