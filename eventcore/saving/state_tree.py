"""The values of a program alone: as a tree, and as a `.variables.json` file.

A tree has parts (what is trained, what is not, the optimizer's state, the metrics'); in each, the names of a
variable's path lead to its JSON. A path that is also the beginning of another stands in one piece (`"a/b"`).
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

from eventcore.errors import ConfigMismatch, InvalidValue, SchemaMismatch
from eventcore.models.validation import validator_for
from eventcore.saving import portable
from eventcore.saving.program_record import variables_of
from eventcore.variables.variable import Variable

JsonDict = dict[str, Any]

SUFFIX = ".variables.json"
PARTS = (
    "trainable_variables",
    "non_trainable_variables",
    "optimizer_trainable_variables",
    "optimizer_non_trainable_variables",
    "metrics_variables",
)


def _parts(program: Any) -> dict[str, list[Variable]]:
    """Sort the variables of a program into the parts of a tree; the optimizer's only where there is one."""
    own = program.variables
    parts = {
        "trainable_variables": [variable for variable in own if variable.trainable],
        "non_trainable_variables": [variable for variable in own if not variable.trainable],
    }
    known = {id(variable) for variable in own}
    beside = [variable for variable in variables_of(program) if id(variable) not in known]
    optimizer = getattr(program, "optimizer", None) if beside else None
    of_optimizer = {id(variable) for variable in getattr(optimizer, "variables", ())}
    if of_optimizer:
        theirs = [variable for variable in beside if id(variable) in of_optimizer]
        parts["optimizer_trainable_variables"] = [variable for variable in theirs if variable.trainable]
        parts["optimizer_non_trainable_variables"] = [
            variable for variable in theirs if not variable.trainable
        ]
    parts["metrics_variables"] = [variable for variable in beside if id(variable) not in of_optimizer]
    return parts


def get_state_tree(program: Any) -> JsonDict:
    """Return the values of all variables as independent plain copies, by part and path.

    Raises:
        InvalidValue: Two variables share a path.
    """
    parts = _parts(program)
    paths = [variable.path for variables in parts.values() for variable in variables]
    if len(set(paths)) < len(paths):
        twice = sorted({path for path in paths if paths.count(path) > 1})
        raise InvalidValue(
            f"cannot make a tree of '{program.name}': two variables have the path {', '.join(twice)}"
        )
    tree: JsonDict = {part: {} for part in parts}
    for part, variables in parts.items():
        for variable in variables:
            _plant(tree[part], variable, paths)
    return tree


def _plant(branch: JsonDict, variable: Variable, paths: list[str]) -> None:
    own = variable.path
    whole = any(path.startswith(own + "/") or own.startswith(path + "/") for path in paths)
    steps = [own] if whole else own.split("/")
    for step in steps[:-1]:
        branch = branch.setdefault(step, {})
    branch[steps[-1]] = variable.get_json()


def set_state_tree(program: Any, tree: JsonDict, origin: str = "a state tree") -> None:
    """Set the values of all variables, all or none. A variable is found by its path, under either part.

    Args:
        program: The program.
        tree: As `get_state_tree` returns it.
        origin: Where the values come from; the events say so.

    Raises:
        InvalidValue: A part of another name.
        ConfigMismatch: The tree lacks variables, has others, or values that do not fit; all are listed, and
            nothing was changed.
    """
    unknown = [key for key in tree if key not in PARTS] if isinstance(tree, dict) else [repr(tree)]
    if unknown:
        raise InvalidValue(
            f"cannot set a state tree with the part {', '.join(map(str, unknown))}; its parts are {', '.join(PARTS)}"
        )
    have = {variable.path: variable for variable in variables_of(program)}
    found: JsonDict = {}
    unexpected: list[str] = []
    for part in PARTS:
        for path, value in _leaves(tree.get(part, {}), "", have):
            found[path] = value
            if path not in have:
                unexpected.append(path)
    missing = [path for path in have if path not in found]
    _require_fit(program, have, found, tuple(missing), tuple(unexpected))
    for path, variable in have.items():
        if variable.get_json() != found[path]:
            variable.restore(found[path], origin)


def _leaves(branch: Any, prefix: str, have: dict[str, Variable]) -> Iterator[tuple[str, Any]]:
    """Yield (path, value): a known path is a variable, another one is gone into while names of variables may follow.

    A tree does not say where paths end and values begin. Off the known paths, what holds nothing but filled dicts
    is taken for a scope, so that what is unexpected is told by its whole path.
    """
    if prefix in have or not isinstance(branch, dict):
        yield prefix, branch
        return
    scope = bool(branch) and all(isinstance(inner, dict) and inner for inner in branch.values())
    if prefix and not scope and not any(path.startswith(prefix + "/") for path in have):
        yield prefix, branch
        return
    for step, inner in branch.items():
        yield from _leaves(inner, f"{prefix}/{step}" if prefix else step, have)


def _require_fit(
    program: Any,
    have: dict[str, Variable],
    found: JsonDict,
    missing: tuple[str, ...],
    unexpected: tuple[str, ...],
) -> None:
    wrong: list[str] = []
    for path, variable in have.items():
        if path not in found:
            continue
        try:
            validator_for(variable.get_schema()).check(found[path], f"variable {path!r}")
        except SchemaMismatch as error:
            wrong.append(str(error))
    if not (missing or unexpected or wrong):
        return
    parts = [f"missing: {', '.join(missing)}"] if missing else []
    parts += [f"unexpected: {', '.join(unexpected)}"] if unexpected else []
    parts += wrong
    raise ConfigMismatch(
        f"cannot load variables into '{program.name}': {'; '.join(parts)}. Nothing was changed",
        missing,
        unexpected,
    )


def save_variables(program: Any, filepath: str | os.PathLike[str], overwrite: bool = True) -> None:
    """Save the values of all variables to a `.variables.json` file.

    Raises:
        InvalidValue: Another suffix, or something else is at the path.
        StorageError: It cannot be written; what was there is untouched.
    """
    path = _checked(filepath, "save variables to")
    tree = get_state_tree(program)
    portable.write_file(path, portable.encode({**portable.head(portable.VARIABLES), **tree}), overwrite)


def load_variables(program: Any, filepath: str | os.PathLike[str]) -> None:
    """Load the values of all variables from a `.variables.json` file, all or none.

    Raises:
        InvalidValue: Another suffix, or a file that is none of ours.
        NotFound: No such file.
        ConfigMismatch: It lacks variables, has others, or values that do not fit; nothing was changed.
    """
    path = _checked(filepath, "load variables from")
    found = portable.parse(portable.read_file(path), path, portable.VARIABLES)
    tree = {key: value for key, value in found.items() if key not in portable.FIRST_MEMBERS}
    set_state_tree(program, tree, os.path.abspath(path))


def _checked(filepath: str | os.PathLike[str], action: str) -> str:
    path = os.fspath(filepath)
    if not path.endswith(SUFFIX):
        raise InvalidValue(f"cannot {action} {path!r}: the name must end in {SUFFIX}")
    return path
