"""What a module under test is given: the many ways to say it, and the examples they come to.

An example is a data model, or a list or dict of them for a module of several inputs. How a module's `call` wants such
an example, as one argument or as several, is read from its signature. Nothing is called here.
"""

from __future__ import annotations

import inspect
import json
import typing
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, cast

from eventcore.errors import EventcoreError, InvalidValue
from eventcore.models.conversion import is_data_model, json_of, schema_of
from eventcore.models.data_model import DataModel
from eventcore.models.json_data_model import JsonDataModel
from eventcore.models.schema import is_record_class
from eventcore.modules.internals import core_of
from eventcore.modules.structure import check_fit, is_schema, map_structure
from eventcore.programs.program import Program
from eventcore.replay.rollouts import example_digest
from eventcore.testing.whereabouts import found_at, whereabouts

if TYPE_CHECKING:
    from hypothesis.strategies import SearchStrategy

EXAMPLES = 8
"""How many different inputs a check uses where the input has that many."""
LONGEST = 160
"""Letters of a value in a message."""

CHOICES = (
    "pass `inputs=` a list of data models (for several inputs of tuples or dicts of them), a data model class, a tuple "
    "or dict of classes, a JSON schema or a hypothesis strategy"
)


def shown(value: Any) -> str:
    """A JSON value for a message: shortened in the middle where it is long."""
    text = json.dumps(value, ensure_ascii=False, default=repr)
    text = "".join(each if each.isprintable() else repr(each)[1:-1] for each in text)
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 40]} … {text[-35:]}"


def changed_part(one: Any, other: Any, where: str = "") -> str:
    """Say where the second of two JSON values differs first, what is there and what was; "" if nowhere."""
    if isinstance(one, dict) and isinstance(other, dict):
        pairs = [(key, one.get(key), other.get(key)) for key in {**one, **other}]  # pyright: ignore[reportUnknownVariableType]
    elif isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
        pairs = [(key, mine, theirs) for key, (mine, theirs) in enumerate(zip(one, other, strict=True))]
    else:
        return "" if one == other else f"{where.lstrip('.') or 'it'} is {shown(other)} and was {shown(one)}"
    found = (changed_part(mine, theirs, f"{where}.{key}") for key, mine, theirs in pairs)
    return next(filter(None, found), "")


def mapped(example: Any, change: Callable[[Any], Any]) -> Any:
    """Apply a function to every data model of an example; lists and dicts keep their shape."""
    if isinstance(example, list):
        return [mapped(part, change) for part in cast("list[Any]", example)]
    if isinstance(example, dict):
        return {key: mapped(part, change) for key, part in cast("dict[str, Any]", example).items()}
    return change(example)


def example_json(example: Any) -> Any:
    """Return an example as plain JSON."""
    return mapped(example, lambda part: part.get_json() if hasattr(part, "get_json") else part)


# --- told to another process ------------------------------------------------------------------------


def examples_told(examples: list[Any]) -> list[Any]:
    """Return examples as JSON from which another process of this program makes them."""
    return [mapped(example, _leaf_told) for example in examples]


def examples_from(told: list[Any]) -> list[Any]:
    """Return the examples another process told of."""
    return [_example_from(example) for example in told]


def _leaf_told(part: Any) -> Any:
    where = None if isinstance(part, JsonDataModel) else whereabouts(type(part))
    schema = None if where is not None else part.get_schema()
    return {"model": where, "schema": schema, "json": json_of(part)}


def _example_from(told: Any) -> Any:
    if isinstance(told, list):
        return [_example_from(part) for part in told]
    if told.keys() != {"model", "schema", "json"}:
        return {key: _example_from(part) for key, part in told.items()}
    if told["model"] is None:
        return JsonDataModel(schema=told["schema"], json=told["json"])
    return found_at(told["model"])(**told["json"])


# --- how `call` takes them -------------------------------------------------------------------------


def call_arguments(module: Any, example: Any) -> tuple[list[Any], dict[str, Any]]:
    """Return the arguments, by place and by name, that a module is called with on an example."""
    if isinstance(module, Program) or not isinstance(example, (list, dict)):
        return [example], {}
    names, hints, any_number = _parameters(type(module))
    as_one = (
        bool(names) and typing.get_origin(hints.get(names[0])) is not None and not _model_in(hints[names[0]])
    )
    if isinstance(example, list):
        several = any_number or (len(names) > 1 and not as_one)
        return (cast("list[Any]", example), {}) if several else ([example], {})
    by_name = len(names) > 1 and cast("dict[str, Any]", example).keys() <= set(names)
    return ([], cast("dict[str, Any]", example)) if by_name else ([example], {})


def inputs_by_name(module: Any, example: Any) -> list[dict[str, Any]]:
    """Return several inputs as one dict of them by the names `call` gives them, and as one of all their fields."""
    told: Any = example_json(example)
    if isinstance(example, list):
        several = len(call_arguments(module, example)[0]) > 1
        names = _parameters(type(module))[0] if several else []
        told = dict(zip(names, cast("list[Any]", told), strict=False))
    elif not isinstance(example, dict):
        return []
    parts = [part for part in told.values() if isinstance(part, dict)]
    joined: dict[str, Any] = {key: value for part in parts for key, value in part.items()}
    return [told, joined] if len(joined) == sum(map(len, parts)) else [told]


def _parameters(cls: Any) -> tuple[list[str], dict[str, Any], bool]:
    """Return the names of the inputs of `call`, all annotations, and whether it takes any number of inputs."""
    try:
        hints = typing.get_type_hints(cls.call)
    except (NameError, TypeError):
        hints = {}
    found = list(inspect.signature(cls.call).parameters.values())[1:]
    by_place = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    names = [each.name for each in found if each.kind in by_place and each.name != "training"]
    return names, hints, any(each.kind is inspect.Parameter.VAR_POSITIONAL for each in found)


def _required(cls: Any) -> list[str]:
    parameters = inspect.signature(cls.call).parameters
    return [name for name in _parameters(cls)[0] if parameters[name].default is inspect.Parameter.empty]


def _model_in(hint: Any) -> Any:
    """Return the data model class of an annotation, perhaps one of several options; None without one."""
    origin = typing.get_origin(hint)
    options = [hint] if origin is None else typing.get_args(hint) if _is_union(origin) else []
    found = [option for option in options if is_record_class(option) and option is not DataModel]
    return found[0] if found else None


def _is_union(origin: Any) -> bool:
    return origin is typing.Union or getattr(origin, "__name__", "") == "UnionType"


def _shape_of_hint(hint: Any) -> Any:
    """Return a data model class, or two of them for a list of any length; None where it says nothing."""
    if typing.get_origin(hint) in (list, Sequence):
        inner = _model_in(typing.get_args(hint)[0])
        return None if inner is None else [inner, inner]
    if typing.get_origin(hint) is tuple:
        parts = [_model_in(part) for part in typing.get_args(hint) if part is not Ellipsis]
        parts = parts * 2 if Ellipsis in typing.get_args(hint) else parts
        return parts if parts and None not in parts else None
    return _model_in(hint)


def shape_of(module: Any) -> Any:
    """Return what a module says it takes: a class or schema, a list or dict of them; None where it says nothing."""
    known = core_of(module).input_schema
    if known is None and isinstance(module, Program):
        known = module.input_schema
    if known is not None:
        parts: Any = cast("list[Any]", known) if isinstance(known, list) else None
        return parts[0] if parts is not None and len(parts) == 1 else known
    cls: Any = type(module)
    names, hints, any_number = _parameters(cls)
    wanted = _required(cls) or names[:1]
    if any_number or not wanted:
        return None
    shapes = [_shape_of_hint(hints.get(name)) for name in wanted]
    return shapes[0] if len(shapes) == 1 else shapes


# --- examples --------------------------------------------------------------------------------------


def examples_of(given: Any, module: Any, name: str, number: int) -> list[Any]:
    """Return different examples for a module.

    Args:
        given: What the user passed; None to take it from the module.
        module: The module.
        name: What messages call it.
        number: Decides what is drawn.

    Raises:
        InvalidValue: There is nothing to take examples from, or they are nothing the module takes.
    """
    own = shape_of(module)
    if given is None:
        if not _is_whole(own):
            raise InvalidValue(
                f"cannot tell what {name} takes: {CHOICES}, or annotate the arguments of `call` with data model classes"
            )
        given = own
    found = [_example(value, place, own) for place, value in enumerate(_values(given, number))]
    if not module.accepts_any_input:
        for place, example in enumerate(found):
            if not call_arguments(module, example)[1]:
                _require_fit(example, place, own, name)
    return list({example_digest(example_json(example)): example for example in found}.values())


def _is_whole(shape: Any) -> bool:
    if isinstance(shape, list) or (isinstance(shape, dict) and not is_schema(shape)):
        parts = list(cast("Any", shape).values() if isinstance(shape, dict) else cast("list[Any]", shape))
        return bool(parts) and all(_is_whole(part) for part in parts)
    return isinstance(shape, type) or is_schema(shape)


def _values(given: Any, number: int) -> list[Any]:
    """Return the values the user gave, or values drawn as the user says."""
    if isinstance(given, (list, tuple)) and not given:
        raise InvalidValue(f"cannot check a module without inputs: received {given!r}; {CHOICES}")
    if isinstance(given, (list, tuple)) and not _is_whole(list(cast("Sequence[Any]", given))):
        return list(cast("Sequence[Any]", given))
    if not isinstance(given, type) and is_data_model(given):
        return [given]
    # Imported here: processes that are told their examples need no hypothesis, which takes longer than they do.
    from hypothesis.errors import HypothesisException

    from eventcore.testing.schema_strategies import draw

    try:
        return draw(_strategy(given), 6 * EXAMPLES, number)
    except (EventcoreError, HypothesisException) as error:
        raise InvalidValue(f"cannot draw inputs from {given!r}: {CHOICES} ({error})") from None


def _strategy(shape: Any) -> SearchStrategy[Any]:
    from hypothesis import strategies as st

    from eventcore.testing.schema_strategies import from_model

    if isinstance(shape, st.SearchStrategy):
        return cast("st.SearchStrategy[Any]", shape)
    if isinstance(shape, (list, tuple)):
        return st.tuples(*[_strategy(part) for part in cast("Sequence[Any]", shape)])
    if isinstance(shape, dict) and not is_schema(shape) and _is_whole(shape):
        named = cast("dict[str, Any]", shape)
        return st.fixed_dictionaries({key: _strategy(part) for key, part in named.items()})
    return from_model(shape)


def _example(value: Any, place: int, own: Any) -> Any:
    """Bring a value into the shape of an example: data models in lists and dicts."""
    if isinstance(value, (list, tuple)):
        parts = list(cast("Sequence[Any]", value))
        inner: list[Any] = (
            own if isinstance(own, list) and len(cast("Any", own)) == len(parts) else [None] * len(parts)
        )
        return [_example(part, place, shape) for part, shape in zip(parts, inner, strict=True)]
    if not isinstance(value, type) and is_data_model(value):
        return value
    if isinstance(value, Mapping) and not isinstance(own, type) and not is_schema(own):
        named = cast("Mapping[str, Any]", value)
        shapes: dict[str, Any] = cast("dict[str, Any]", own) if isinstance(own, dict) else {}
        return {key: _example(part, place, shapes.get(key)) for key, part in named.items()}
    if isinstance(value, Mapping):
        try:
            return JsonDataModel(schema=schema_of(own), json=dict(cast("Mapping[str, Any]", value)))
        except EventcoreError as error:
            raise InvalidValue(f"cannot use example {place}, {shown(value)}: {error}") from None
    raise InvalidValue(f"cannot use example {place}, {value!r}: {CHOICES}")


def _require_fit(example: Any, place: int, own: Any, name: str) -> None:
    """Hold an example against what a module says it takes, as a call does."""
    try:
        check_fit(example, map_structure(lambda leaf: None if leaf is None else schema_of(leaf), own), name)
    except EventcoreError as error:
        raise InvalidValue(f"cannot use example {place}, {shown(example_json(example))}: {error}") from None
