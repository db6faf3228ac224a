"""From an object to JSON that says how to make it again: class, constructor arguments, how it was built.

Values of variables are not in it; they are saved beside it. What cannot be made again from such JSON is
refused here, when it is saved, not later, when it is needed.

An object becomes `{"module", "class_name", "config", "registered_name"}`; what JSON has no form for
(tuples, bytes, slices, data model classes, ...) becomes `{"class_name": "__tuple__", "config": ...}` and the
like. Inside a `config` there are two kinds of such dicts. What was put into it as an object is marked
`"live"` and is an object again before `from_config` sees it; what `get_config` had turned into JSON itself
(with `serialize_object`, as the guide shows) is handed to `from_config` as that same JSON.
"""

from __future__ import annotations

import base64
import enum
import math
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from eventcore.errors import EventcoreError, InvalidValue, WrongType
from eventcore.history.values import items_of, record_of
from eventcore.models.conversion import schema_of
from eventcore.models.json_data_model import JsonDataModel
from eventcore.models.schema import is_model_class, is_record_class
from eventcore.models.symbolic import SymbolicDataModel
from eventcore.modules.internals import core_of, is_module
from eventcore.modules.node import history_of
from eventcore.saving import registry
from eventcore.variables.variable import Variable

JsonDict = dict[str, Any]

LIVE = "live"
MAX_DEPTH = 200
_EXACT = frozenset({type(None), bool})
_INTEGERS = range(-(2**63), 2**64)


class _Writing:
    """What one outermost `serialize_object` has written so far."""

    def __init__(self) -> None:
        self.numbers: dict[int, int] = {}
        self.kept: list[object] = []  # an id means nothing once its object is gone
        self.open: list[Any] = []
        self.steps: list[str] = []
        self.depth = 0


_writing: ContextVar[_Writing | None] = ContextVar("eventcore_writing", default=None)


def serialize_object(obj: Any) -> Any:
    """Turn an object into JSON from which `deserialize_object` makes an equal one.

    Plain JSON stays itself, except for dicts that could be mistaken for an object; tuples stay apart from
    lists. A module says by `get_config` what its constructor needs, and how it was built goes along.

    Args:
        obj: Plain values, containers, data models (classes and instances), modules, and any other object of
            a registered class with `get_config` and `from_config`.

    Raises:
        InvalidValue: It, or something in it, could not be made again: a lambda, an object of a class that no
            other process would find, a container that contains itself.
    """
    if _writing.get() is not None:
        return _write(obj, live=False)
    token = _writing.set(_Writing())
    try:
        return _write(obj, live=False)
    finally:
        _writing.reset(token)


def _now() -> _Writing:
    found = _writing.get()
    assert found is not None
    return found


@contextmanager
def _inside(step: str) -> Generator[None]:
    writing = _now()
    writing.steps.append(step)
    writing.depth += 1
    try:
        if writing.depth > MAX_DEPTH:
            raise _refused(f"containers nested more than {MAX_DEPTH} deep, perhaps one that contains itself")
        yield
    finally:
        writing.depth -= 1
        writing.steps.pop()


def _refused(what: str, instead: str = "") -> InvalidValue:
    steps = _now().steps
    where = f" at {'/'.join(steps[:12])}" if steps else ""
    return InvalidValue(f"cannot save{where}: received {what}{'; ' + instead if instead else ''}")


def _write(value: Any, live: bool) -> Any:
    kind = type(value)
    if kind in _EXACT:
        return value
    if isinstance(value, enum.Enum):
        return _enum_member(value, live)
    if isinstance(value, str):
        return _text(str.__str__(value))
    if isinstance(value, int):
        number = int.__index__(value)
        return number if number in _INTEGERS else _special("__int__", live, value=str(number))
    if isinstance(value, float):
        number_ = float.__float__(value)
        return number_ if math.isfinite(number_) else _special("__float__", live, value=repr(number_))
    if isinstance(value, type):
        return _class(value, live)
    if isinstance(value, dict):
        return _dict(value, live)
    if isinstance(value, list):
        return _items(list.__iter__(value), live)
    for known, write in _SPECIAL:
        if isinstance(value, known):
            return write(value, live)
    if callable(value) and not hasattr(value, "get_config"):
        return _function(value, live)
    return _object(value, live)


def _text(value: str) -> str:
    try:
        value.encode()
    except UnicodeEncodeError:
        raise _refused(f"the text {value!r} with half a surrogate pair", "such text is no JSON") from None
    return value


def _items(items: Iterator[Any], live: bool) -> list[Any]:
    written: list[Any] = []
    for item in items:
        with _inside(str(len(written))):
            written.append(_write(item, live))
    return written


def _mark(written: JsonDict, live: bool) -> JsonDict:
    return {**written, LIVE: True} if live else written


def _special(special: str, live: bool, /, **config: Any) -> JsonDict:
    return _mark({"class_name": special, "config": config}, live)


def _dict(value: dict[Any, Any], live: bool) -> Any:
    items = list(items_of(value))
    if any(type(key) is not str for key, _ in items):
        return _pairs(items, live)
    if any(key == "class_name" for key, _ in items):
        # Inside a config, JSON that `get_config` made of an object goes through as it is.
        if live and value.get(LIVE) is not True and is_plain_json(value):
            return dict(items)
        return _pairs(items, live)
    written: JsonDict = {}
    for key, item in items:
        with _inside(key):
            written[_text(key)] = _write(item, live)
    return written


def _pairs(items: list[tuple[Any, Any]], live: bool) -> JsonDict:
    pairs: list[Any] = []
    for key, item in items:
        with _inside(str(key)[:40]):
            pairs.append([_write(key, live), _write(item, live)])
    return _special("__dict__", live, items=pairs)


def is_plain_json(value: Any, depth: int = 0) -> bool:
    """Whether a value is exactly what reading JSON gives: plain types, text keys, finite numbers."""
    kind = type(value)
    if depth > MAX_DEPTH:
        return False
    if kind is dict:
        return all(type(key) is str and is_plain_json(item, depth + 1) for key, item in value.items())
    if kind is list:
        return all(is_plain_json(item, depth + 1) for item in value)
    if kind is float:
        return math.isfinite(value)
    return kind in _EXACT or kind is str or (kind is int and value in _INTEGERS)


def _tuple(value: Any, live: bool) -> Any:
    if hasattr(value, "_fields"):
        raise _refused(f"the named tuple {value!r}", "pass a tuple, a dict or a data model")
    return _special("__tuple__", live, items=_items(iter(value), live))


def _set(value: Any, live: bool) -> Any:
    name = "__frozenset__" if isinstance(value, frozenset) else "__set__"
    return _special(name, live, items=sorted(_items(iter(value), live), key=repr))


def _bytes(value: Any, live: bool) -> Any:
    name = "__bytearray__" if isinstance(value, bytearray) else "__bytes__"
    return _special(name, live, value=base64.b64encode(bytes(value)).decode())


def _slice(value: Any, live: bool) -> Any:
    ends = {"start": value.start, "stop": value.stop, "step": value.step}
    return _special("__slice__", live, **{name: _write(end, live) for name, end in ends.items()})


def _json_data_model(value: JsonDataModel, live: bool) -> Any:
    return _special("__data_model__", live, schema=value.get_schema(), json=value.get_json(), name=value.name)


def _symbolic_data_model(value: SymbolicDataModel, live: bool) -> Any:
    written = _special(
        "__symbolic_data_model__",
        live,
        schema=value.get_schema(),
        name=value.name,
        record_history=value.record_history,
    )
    history = history_of(value)
    if history is not None:
        written["history"] = [history[0].module.name, history[1]]
    return written


def _variable(value: Variable, live: bool) -> Any:
    raise _refused(
        f"variable {value.path!r} as a constructor's argument",
        "pass the module that owns it, or a data model to make the variable of",
    )


_SPECIAL: list[tuple[Any, Callable[[Any, bool], Any]]] = [
    (tuple, _tuple),
    ((set, frozenset), _set),
    ((bytes, bytearray), _bytes),
    (slice, _slice),
    (type(...), lambda value, live: _special("__ellipsis__", live)),
    (JsonDataModel, _json_data_model),
    (SymbolicDataModel, _symbolic_data_model),
    (Variable, _variable),
]


# --- what has a name ---------------------------------------------------------------------------


STARTED = ("__main__", "__mp_main__")
"""What the script that was started is called: in its process, and in those that run it again beside it."""


def name_of(item: Any) -> JsonDict:
    """Return the three keys by which a class or function is found again."""
    module, name = item.__module__, registry.registered_name(item)
    if registry.is_own(module) and name is None:
        return {"module": registry.LIBRARY, "class_name": item.__qualname__, "registered_name": None}
    return {
        "module": None if module in STARTED else module,
        "class_name": item.__qualname__,
        "registered_name": name or item.__name__,
    }


def _require_registered(cls: type[Any], what: str) -> None:
    if not registry.is_registered(cls):
        raise _refused(
            f"{what} {cls.__module__}.{cls.__qualname__}, which no other process would find",
            "write @eventcore.saving.register_serializable() above it",
        )


def _class(cls: type[Any], live: bool) -> JsonDict:
    _require_registered(cls, "the class")
    if is_model_class(cls) or is_record_class(cls):
        return _special("__data_model_class__", live, **name_of(cls), schema=schema_of(cls))
    return _special("__class__", live, **name_of(cls))


def _enum_member(value: enum.Enum, live: bool) -> JsonDict:
    _require_registered(type(value), "a member of the enum")
    return _special("__enum__", live, **name_of(type(value)), member=value.name)


def _function(value: Any, live: bool) -> JsonDict:
    name = getattr(value, "__name__", None)
    if name == "<lambda>":
        raise _refused(
            "a lambda, which has no name to be found by",
            "write it as a function under @eventcore.saving.register_serializable()",
        )
    if registry.registered_name(value) is None:
        raise _refused(
            f"the function {name or value!r}, which no other process would find",
            "write @eventcore.saving.register_serializable() above it",
        )
    named = name_of(value)
    return _mark({**named, "class_name": "function", "config": named["class_name"]}, live)


def _object(value: Any, live: bool) -> JsonDict:
    cls, writing = type(value), _now()
    if any(value is held for held in writing.open):
        raise _refused(f"{cls.__name__}, which is among its own arguments")
    config = _config_of(value)
    _require_registered(cls, "an object of the class")
    named, outermost = name_of(cls), not any(is_module(held) for held in writing.open)
    nested = bool(writing.open)
    writing.open.append(value)
    try:
        with _inside(cls.__name__):
            written: JsonDict = {
                "module": named["module"],
                "class_name": named["class_name"],
                "config": {key: _entry(key, item) for key, item in config().items()},
                "registered_name": named["registered_name"],
            }
            if is_module(value):
                _write_build(value, written, outermost)
    finally:
        writing.open.pop()
    if nested and not is_record_class(cls):
        written["shared_object_id"] = _number(value)
    return _mark(written, live)


def _entry(key: Any, item: Any) -> Any:
    if type(key) is not str:
        raise _refused(f"a config with the key {key!r}", "get_config must return a dict with text keys")
    with _inside(key):
        return _write(item, live=True)


def _config_of(value: Any) -> Callable[[], dict[str, Any]]:
    """Return the function that gives the config; a data model's is its JSON."""
    own = getattr(value, "get_config", None)
    if own is None:
        fields = record_of(value)
        if fields is None:
            raise _refused(
                f"{value!r} ({type(value).__name__})",
                "pass JSON, data models, modules, or objects whose class has get_config and from_config",
            )
        return lambda: dict(fields)

    def config() -> dict[str, Any]:
        try:
            found = own()
        except EventcoreError:
            raise
        except Exception as error:
            raise InvalidValue(
                f"cannot save {type(value).__name__}: its get_config raised {type(error).__name__}: {error}"
            ) from error
        if not isinstance(found, dict):
            raise WrongType(
                f"cannot save {type(value).__name__}: its get_config returned {found!r}; it must return a dict"
            )
        return found

    return config


def _write_build(module: Any, written: JsonDict, outermost: bool) -> None:
    """Add where a module was made and how it was built. The outermost one speaks for all below it.

    A module inside another one's arguments is only made again by itself, not built: its parent builds it, in
    the place where it was built before. What the constructors below it were named is needed at once.
    """
    scope = core_of(module).made_in
    if scope or not outermost:
        written["scope"] = scope
    if outermost:
        build = module.get_build_config()
        if build is not None:
            written["build_config"] = _entry("build_config", build)
        compiled = getattr(module, "get_compile_config", None)
        found = compiled() if compiled is not None else None
        if found:
            written["compile_config"] = _entry("compile_config", found)
    elif core_of(module).given_names:
        written["inner_names"] = list(core_of(module).given_names)


def _number(value: object) -> int:
    writing = _now()
    if id(value) not in writing.numbers:
        writing.numbers[id(value)] = len(writing.numbers) + 1
        writing.kept.append(value)
    return writing.numbers[id(value)]
