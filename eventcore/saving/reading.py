"""From JSON that `serialize_object` wrote back to objects.

Classes are found in the registry and nowhere else. Nothing is imported, called or evaluated because the JSON
says so, apart from the `from_config` of a registered class.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from contextvars import ContextVar
from typing import Any

from eventcore.errors import ConfigMismatch, DuplicateName, EventcoreError, InvalidValue, WrongType
from eventcore.history.run import Run
from eventcore.history.scope import current_run, in_run
from eventcore.history.values import copy_json
from eventcore.models.conversion import schema_of
from eventcore.models.json_data_model import JsonDataModel
from eventcore.models.lifting import lifter_of
from eventcore.models.schema import is_record_class
from eventcore.models.symbolic import SymbolicDataModel
from eventcore.modules.construction import restoring
from eventcore.modules.module import Module
from eventcore.saving import registry
from eventcore.saving.comparison import same_structure
from eventcore.saving.memory_runs import run_in_memory
from eventcore.saving.writing import LIVE
from eventcore.variables.scope import at_path
from eventcore.variables.staying import Stay

JsonDict = dict[str, Any]


class _Session:
    """What one outermost `deserialize_object` has made so far."""

    def __init__(self) -> None:
        self.shared: dict[int, Any] = {}
        self.modules: list[Module] = []


_session: ContextVar[_Session | None] = ContextVar("eventcore_reading", default=None)


def deserialize_object(
    config: Any, custom_objects: Mapping[str, Any] | None = None, safe_mode: bool = True
) -> Any:
    """Make the object that `serialize_object` turned into JSON.

    A module's variables live in the current run; where other variables in use have their paths, in a run in
    memory until those are gone.

    Args:
        config: What `serialize_object` returned. What is an object already is returned as it is.
        custom_objects: Classes and functions by name, found before the registered ones.
        safe_mode: Has no effect, since there is no unsafe mode: nothing is ever imported or unpickled.

    Raises:
        UnknownClass: A class or function that no code of this process has defined.
        InvalidValue: It is no such JSON.
        ConfigMismatch: A class is not the one that was saved.
        WrongType: A class's `from_config` refuses the arguments.
    """
    del safe_mode
    with registry.CustomObjectScope(custom_objects) if custom_objects else nullcontext():
        if _session.get() is not None:
            return _read(config, in_config=False)
        try:
            return _read_all(config, None)
        except DuplicateName:
            run = current_run()
            return _read_all(config, run_in_memory(run.name, run.seed))


def _read_all(config: Any, home: Run | None) -> Any:
    """Make everything, in a run beside the current one if one is given."""
    session, stay = _Session(), Stay(always=False)
    token = _session.set(session)
    try:
        with nullcontext() if home is None else in_run(home):
            made = _read(config, in_config=False)
    finally:
        _session.reset(token)
    for module in session.modules if home is not None else ():
        for variable in module.variables:
            variable.stays = stay
    return made


def _read(value: Any, in_config: bool) -> Any:
    if isinstance(value, list):
        return [_read(item, in_config) for item in value]
    if not isinstance(value, dict):
        return value
    if "class_name" not in value:
        return {key: _read(item, in_config) for key, item in value.items()}
    if in_config and value.get(LIVE) is not True:
        return copy_json(value)  # `get_config` made it; `from_config` knows what to do with it
    name = value["class_name"]
    if not isinstance(name, str) or "config" not in value:
        raise InvalidValue(
            f"cannot make an object of a dict with the keys {', '.join(map(str, value))}: an object has class_name, "
            "as text, and config"
        )
    if name == "function":
        return _function(value)
    if name in _SPECIAL:
        return _special(name, value["config"], in_config)
    return _object(value)


def _special(name: str, config: Any, in_config: bool) -> Any:
    try:
        return _SPECIAL[name](config, lambda item: _read(item, in_config))
    except EventcoreError:
        raise
    except (KeyError, ValueError, TypeError, AttributeError) as error:
        raise InvalidValue(f"cannot read a saved {name.strip('_')} from {config!r}: {error!r}") from error


Reader = Callable[[Any], Any]


def _pairs(config: Any, read: Reader) -> dict[Any, Any]:
    return {read(key): read(item) for key, item in config["items"]}


def _number(config: Any, read: Reader) -> Any:
    return int(config["value"])


def _slice(config: Any, read: Reader) -> slice:
    return slice(read(config["start"]), read(config["stop"]), read(config["step"]))


def _decoded(config: Any) -> bytes:
    return base64.b64decode(config["value"], validate=True)


def _symbolic(config: Any, read: Reader) -> SymbolicDataModel:
    return SymbolicDataModel(
        schema=config["schema"], name=config["name"], record_history=config["record_history"]
    )


def _class(config: Any, read: Reader) -> type[Any]:
    found = registry.find(config["module"], config["class_name"], _registered(config))
    if not isinstance(found, type):
        raise InvalidValue(f"cannot use {found!r} as the class {config['class_name']!r}: it is none")
    return found


def _data_model_class(config: Any, read: Reader) -> type[Any]:
    cls = _class(config, read)
    if not same_structure(schema_of(cls), config["schema"]):
        raise ConfigMismatch(
            f"cannot use the data model {cls.__qualname__} of {cls.__module__}: its fields are not those it "
            f"had when it was saved ({', '.join(config['schema'].get('properties', ()))}); "
            "pass the old class in custom_objects, "
            "or load with the code that saved it"
        )
    return cls


def _enum_member(config: Any, read: Reader) -> Any:
    members: Mapping[str, Any] = getattr(_class(config, read), "__members__", {})
    if config["member"] not in members:
        raise InvalidValue(
            f"cannot find the member {config['member']!r} of {config['class_name']}; it has: {', '.join(members)}"
        )
    return members[config["member"]]


_SPECIAL: dict[str, Callable[[Any, Reader], Any]] = {
    "__int__": _number,
    "__float__": lambda config, read: float(config["value"]),
    "__dict__": _pairs,
    "__tuple__": lambda config, read: tuple(read(item) for item in config["items"]),
    "__set__": lambda config, read: {read(item) for item in config["items"]},
    "__frozenset__": lambda config, read: frozenset(read(item) for item in config["items"]),
    "__bytes__": lambda config, read: _decoded(config),
    "__bytearray__": lambda config, read: bytearray(_decoded(config)),
    "__slice__": _slice,
    "__ellipsis__": lambda config, read: ...,
    "__data_model__": lambda config, read: JsonDataModel(**config),
    "__symbolic_data_model__": _symbolic,
    "__class__": _class,
    "__data_model_class__": _data_model_class,
    "__enum__": _enum_member,
}


def _registered(value: JsonDict) -> str | None:
    """Return the name it was registered under; without a package it is only the class's own name again."""
    name = value.get("registered_name")
    return name if isinstance(name, str) and ">" in name else None


def _function(value: JsonDict) -> Any:
    found = registry.find(_module(value), str(value["config"]), _registered(value))
    if isinstance(found, type):
        raise InvalidValue(f"cannot use the class {found.__qualname__} as the function {value['config']!r}")
    return found


def _module(value: JsonDict) -> str | None:
    module = value.get("module")
    if module is not None and not isinstance(module, str):
        raise InvalidValue(f"cannot find a class of module {module!r}: a module is named by text, or null")
    return module


def _object(value: JsonDict) -> Any:
    session, number = _session.get(), value.get("shared_object_id")
    if session is not None and number in session.shared:
        return session.shared[number]
    cls = registry.find(_module(value), value["class_name"], _registered(value))
    if not isinstance(value["config"], dict):
        raise InvalidValue(
            f"cannot make {value['class_name']}: its config is {value['config']!r}, not a dict"
            + (f" ({value['unsaved']})" if "unsaved" in value else "")
        )
    made = _made(cls, value)
    if session is not None:
        if isinstance(number, int):
            session.shared[number] = made
        if isinstance(made, Module):
            session.modules.append(made)
    for key, method in (("build_config", "build_from_config"), ("compile_config", "compile_from_config")):
        if value.get(key) is not None and hasattr(made, method):
            getattr(made, method)(_read(value[key], in_config=True))
    return made


def _made(cls: Any, value: JsonDict) -> Any:
    config = {key: _read(item, in_config=True) for key, item in value["config"].items()}
    if isinstance(cls, type) and not hasattr(cls, "from_config") and is_record_class(cls):
        lift = lifter_of(cls)
        return config if lift is None else lift(config)
    if not hasattr(cls, "from_config"):
        raise InvalidValue(f"cannot make {value['class_name']}: its class has no from_config")
    try:
        with _in_scope(value), _as_before(cls, value):
            return cls.from_config(config)
    except TypeError as error:
        if isinstance(error, WrongType):
            raise
        raise WrongType(
            f"cannot make {value['class_name']} of {value.get('module') or '__main__'} from its config with the class "
            f"of that name in {cls.__module__}: {error}; the arguments saved are {', '.join(config) or 'none'}"
        ) from error


def _in_scope(value: JsonDict) -> AbstractContextManager[None]:
    """Where it was made; the paths of its variables begin with that."""
    scope = value.get("scope")
    return at_path(scope) if isinstance(scope, str) else nullcontext()


def _as_before(cls: Any, value: JsonDict) -> AbstractContextManager[None]:
    """What its constructor names automatically gets the name it had."""
    names = value.get("inner_names") or (value.get("build_config") or {}).get("names")
    if not names or not (isinstance(cls, type) and issubclass(cls, Module)):
        return nullcontext()
    return restoring(cls, names=[str(name) for name in names])
