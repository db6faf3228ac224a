"""Where a fresh process finds what is under test: a class, a function, a lambda, also of the script that was started.

What is told is JSON: the module and the name, or the line of the module where the code of a lambda stands, with the
plain values it encloses. Nothing is pickled. What cannot be told, and why, is said by `why_not`.
"""

from __future__ import annotations

import ast
import functools
import importlib
import json
import os
import runpy
import sys
import types
from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeAlias, cast

from eventcore.errors import InvalidValue


class NotThere(InvalidValue):
    """Another process cannot find what it was told of; an inner signal, for what is then not tried."""


Whereabouts: TypeAlias = dict[str, Any]
"""JSON that another process of the same program finds something by."""

STARTED = "__mp_main__"
"""What a script that was started is called in another process; the name multiprocessing gives it, too."""

_starting = False


def whereabouts(thing: Any) -> Whereabouts | None:
    """Return how a fresh process finds a class, function, lambda or partial; None where it cannot."""
    try:
        return _told(thing)
    except InvalidValue:
        return None


def why_not(thing: Any) -> str:
    """Return why a fresh process cannot find something; "" where it can."""
    try:
        _told(thing)
    except InvalidValue as reason:
        return str(reason)
    return ""


def _told(thing: Any) -> Whereabouts:
    if isinstance(thing, functools.partial):
        partial = cast("functools.partial[Any]", thing)
        return {
            "partial": _told(partial.func),
            "args": [_value(value) for value in partial.args],
            "keywords": {name: _value(value) for name, value in partial.keywords.items()},
        }
    name, home = getattr(thing, "__qualname__", ""), getattr(thing, "__module__", "")
    if not name or not home:
        raise InvalidValue(f"{thing!r} has no name; pass a class or a function")
    place = _home(home)
    if "<" not in name and _attribute(sys.modules[home], name) == thing:
        return {"home": place, "name": name}
    if isinstance(thing, types.FunctionType):
        return {"home": place, "code": _code_place(thing), **_enclosed(thing)}
    raise InvalidValue(f"{name!r} is not found in {home!r} by that name; define it at the top of a module")


def _home(name: str) -> Whereabouts:
    module = sys.modules.get(name)
    if module is None:
        raise InvalidValue(f"the module {name!r} is not imported")
    if name not in ("__main__", STARTED):
        return {"module": name}
    spec = getattr(module, "__spec__", None)
    if spec is not None and spec.name not in ("__main__", STARTED):
        return {"started": spec.name.removesuffix(".__main__"), "file": ""}
    file = getattr(module, "__file__", None)
    if not file or not os.path.exists(file):
        raise InvalidValue("what was typed in cannot be found by another process; put it into a file")
    if not _guarded(file):
        raise InvalidValue(
            f"another process cannot run {os.path.basename(file)} again without doing its work: put that under "
            'if __name__ == "__main__":'
        )
    return {"started": "", "file": os.path.abspath(file)}


@functools.cache
def _guarded(file: str) -> bool:
    """Whether a script does its work only where it is the one that was started."""
    with open(file, "rb") as source:
        tree = ast.parse(source.read())
    return any(isinstance(node, ast.If) and "__name__" in ast.unparse(node.test) for node in tree.body)


def _code_place(function: types.FunctionType) -> Whereabouts:
    code = function.__code__
    used = {name for each in _codes(code) for name in each.co_names if name in function.__globals__}
    return {
        "line": code.co_firstlineno,
        "qualname": code.co_qualname,
        "does": _does(code),
        "uses": sorted(used),
    }


def _does(code: types.CodeType) -> str:
    """What tells two lambdas of one line apart."""
    constants = [value for value in code.co_consts if not isinstance(value, types.CodeType)]
    return repr((code.co_code.hex(), code.co_names, code.co_freevars, constants))


def _enclosed(function: types.FunctionType) -> Whereabouts:
    try:
        contents = [cell.cell_contents for cell in function.__closure__ or ()]
    except ValueError:
        raise InvalidValue(f"{function.__qualname__!r} encloses a name that has no value yet") from None
    keywords: Mapping[str, Any] = function.__kwdefaults__ or {}
    return {
        "closure": [_value(value) for value in contents],
        "defaults": [_value(value) for value in function.__defaults__ or ()],
        "kwdefaults": {name: _value(value) for name, value in keywords.items()},
    }


def _value(value: Any) -> Whereabouts:
    """Tell a value: JSON as it is, a module, or where it is found."""
    if isinstance(value, types.ModuleType):
        return {"import": value.__name__}
    if callable(value) and hasattr(value, "__qualname__"):
        return {"at": _told(value)}
    try:
        same = json.loads(json.dumps(value)) == value
    except (TypeError, ValueError):
        same = False
    if not same:
        raise InvalidValue(f"{value!r} cannot be told to another process; enclose plain values, or none")
    return {"json": value}


def _attribute(module: Any, name: str) -> Any:
    found = module
    for step in name.split("."):
        found = getattr(found, step, None)
    return found


# --- in the other process ------------------------------------------------------------------------


def found_at(where: Whereabouts) -> Any:
    """Return what `whereabouts` told of, in a process of the same program.

    Raises:
        NotThere: It cannot be had there: its file cannot be imported, does its work when it is run again, or changed.
    """
    try:
        return _found(where)
    except NotThere:
        raise
    except Exception as error:
        raise NotThere(f"{type(error).__name__}: {error}") from error


def being_started() -> bool:
    """Whether this process is running the script that was started again, to find something in it."""
    return _starting


def _found(where: Whereabouts) -> Any:
    if "partial" in where:
        keywords = {name: _valued(value) for name, value in where["keywords"].items()}
        return functools.partial(found_at(where["partial"]), *map(_valued, where["args"]), **keywords)
    home = where["home"]
    module = _started(home) if "started" in home else importlib.import_module(home["module"])
    if "name" in where:
        found = _attribute(module, where["name"])
        if found is None:
            raise NotThere(
                f"cannot find {where['name']!r} in {module.__name__!r}: it is not there when it is imported"
            )
        return found
    return _made(module, where)


def _made(module: types.ModuleType, where: Whereabouts) -> Any:
    code = _code_at(module, where["code"])
    used = {name for each in _codes(code) for name in each.co_names}
    missing = [name for name in where["code"]["uses"] if name in used and name not in vars(module)]
    if missing:
        raise NotThere(
            f"{code.co_qualname!r} uses {missing[0]!r}, which {module.__name__!r} has only where it is started: make "
            "it inside the function, or above `if __name__`"
        )
    cells = tuple(types.CellType(_valued(value)) for value in where["closure"])
    function = types.FunctionType(code, vars(module), code.co_name, None, cells)
    function.__defaults__ = tuple(_valued(value) for value in where["defaults"]) or None
    function.__kwdefaults__ = {name: _valued(each) for name, each in where["kwdefaults"].items()}
    return function


def _code_at(module: types.ModuleType, place: Whereabouts) -> types.CodeType:
    """Find the code of a function by its line; where several stand there, by what they do."""
    there = [
        code
        for code in _codes(_code_of(module))
        if (code.co_firstlineno, code.co_qualname) == (place["line"], place["qualname"])
    ]
    same = [code for code in there if _does(code) == place["does"]]
    # One alone may do otherwise: pytest rewrites what asserts.
    if same or len(there) == 1:
        return (same or there)[0]
    raise NotThere(
        f"cannot find {place['qualname']!r} at line {place['line']} of {module.__name__!r}: the file says something "
        "else there"
    )


def _codes(code: types.CodeType) -> Iterator[types.CodeType]:
    yield code
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from _codes(constant)


def _code_of(module: types.ModuleType) -> types.CodeType:
    spec = module.__spec__
    get_code: Callable[[str], types.CodeType | None] | None = getattr(spec and spec.loader, "get_code", None)
    code = get_code(spec.name) if get_code is not None and spec is not None else None
    if code is None:
        with open(str(module.__file__), "rb") as source:
            code = compile(source.read(), str(module.__file__), "exec", dont_inherit=True)
    return code


def _valued(told: Whereabouts) -> Any:
    if "import" in told:
        return importlib.import_module(told["import"])
    return found_at(told["at"]) if "at" in told else told["json"]


def _started(home: Whereabouts) -> types.ModuleType:
    """Run the script that was started, without its work; once in a process."""
    global _starting
    known = sys.modules.get(STARTED)
    held = getattr(
        known, "__file__", None
    )  # multiprocessing names `python -c` so, too, and any script there is
    if known is not None and held and (home["started"] or os.path.abspath(held) == home["file"]):
        return known
    module = types.ModuleType(STARTED)
    sys.modules["__main__"] = sys.modules[STARTED] = module
    _starting = True
    try:
        if home["started"]:
            found = runpy.run_module(home["started"], run_name=STARTED, alter_sys=True)
        else:
            found = runpy.run_path(home["file"], run_name=STARTED)
    except SystemExit as error:
        raise NotThere(f"the script ends the process when it is run again ({error.code!r})") from None
    finally:
        _starting = False
    vars(module).update(found)
    module.__file__ = found.get("__file__") or home["file"]
    sys.modules["__main__"] = sys.modules[STARTED] = module
    return module
