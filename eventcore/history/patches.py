"""In-place changes of containers: the closed set of operations a `ValuePatched` event can carry.

Each operation is one change of one list or dict with plain arguments. The recording views emit
them, `apply` carries them out with `perform`, on live values and on replayed ones alike. Nothing
here records, validates or wraps: `perform` gets decoded JSON and a `wrap` function that turns a
plain container into whatever the state is made of.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

Wrap = Callable[[Any, Any], Any]
"""(plain value, container it enters) -> the value in the form the state keeps."""

SET = 0  # dict: key, value; list: index, value
DELETE = 1  # dict: key; list: index
MERGE = 2  # dict: map
CLEAR = 3  # both
APPEND = 4  # list: value
EXTEND = 5  # list: values
INSERT = 6  # list: index, value
SPLICE = 7  # list: start, stop, step, values (a slice assignment)
REORDER = 8  # list: old index of every new place (sort, reverse)
REPEAT = 9  # list: times (`*=`)
DROP = 10  # list: start, stop, step (a slice deletion)

NAMES = {
    SET: "set",
    DELETE: "delete",
    MERGE: "merge",
    CLEAR: "clear",
    APPEND: "append",
    EXTEND: "extend",
    INSERT: "insert",
    SPLICE: "splice",
    REORDER: "reorder",
    REPEAT: "repeat",
    DROP: "drop",
}

# The base classes' own methods: a recording view overrides them, and here nothing may record again.
_dict_set, _dict_del, _dict_clear = dict.__setitem__, dict.__delitem__, dict.clear
_list_set, _list_del, _list_clear = list.__setitem__, list.__delitem__, list.clear


def perform(container: Any, op: int, args: list[Any], wrap: Wrap) -> None:
    """Carry out one operation on one container.

    Args:
        container: The dict or list to change; a subclass is changed through its base class.
        op: One of the constants above.
        args: Decoded arguments, in the order of the constant's comment.
        wrap: Applied to every value that enters.

    Raises:
        LookupError: A key or index is not there: the log does not fit the state.
    """
    if isinstance(container, dict):
        _perform_dict(container, op, args, wrap)
    else:
        _perform_list(container, op, args, wrap)


def _perform_dict(container: dict[str, Any], op: int, args: list[Any], wrap: Wrap) -> None:
    if op == SET:
        _dict_set(container, args[0], wrap(args[1], container))
    elif op == MERGE:
        dict.update(container, {key: wrap(value, container) for key, value in args[0].items()})
    elif op == DELETE:
        _dict_del(container, args[0])
    elif op == CLEAR:
        _dict_clear(container)
    else:
        raise LookupError(f"operation {NAMES.get(op, op)} does not exist for an object")


def _perform_list(container: list[Any], op: int, args: list[Any], wrap: Wrap) -> None:
    if op == APPEND:
        list.append(container, wrap(args[0], container))
    elif op == SET:
        _list_set(container, args[0], wrap(args[1], container))
    elif op == EXTEND:
        list.extend(container, [wrap(value, container) for value in args[0]])
    elif op == INSERT:
        list.insert(container, args[0], wrap(args[1], container))
    elif op == DELETE:
        _list_del(container, args[0])
    elif op == SPLICE:
        start, stop, step, values = args
        _list_set(container, slice(start, stop, step), [wrap(value, container) for value in values])
    elif op == REORDER:
        _list_set(container, slice(None), [list.__getitem__(container, old) for old in args[0]])
    elif op == REPEAT:
        copies = [
            wrap(plain(item), container) for _ in range(args[0] - 1) for item in list.__iter__(container)
        ]
        list.extend(container, copies) if args[0] > 0 else _list_clear(container)
    elif op == DROP:
        _list_del(container, slice(*args))
    elif op == CLEAR:
        _list_clear(container)
    else:
        raise LookupError(f"operation {NAMES.get(op, op)} does not exist for a list")


def plain(value: Any) -> Any:
    """Return an independent plain copy of a JSON value (dict and list subclasses become the built-ins)."""
    if isinstance(value, dict):
        return {key: plain(item) for key, item in dict.items(value)}
    if isinstance(value, list):
        return [plain(item) for item in list.__iter__(value)]
    return value
