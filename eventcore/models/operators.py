"""The operators on data models, as functions; `eventcore.models.operands` makes methods of them.

Two values give a `JsonDataModel`; as soon as a class or a `SymbolicDataModel` takes part, the result is
a `SymbolicDataModel` of the schema the value will have. `None` stands for a branch that was not taken:

    operator            both     left only   right only   neither
    +  concat           merge    refused     refused      refused
    &  logical_and      merge    None        None         None
    |  logical_or       merge    left        right        None
    ^  logical_xor      None     left        right        None
    ~  logical_not      None     (of one operand, always)

Symbolic `|`, `^` and `~` have the schema of their (left) operand. What merging, masking and renaming do
to a schema is `eventcore.models.algebra`; graphs are none of this module's business but for one hook.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

from eventcore.errors import InvalidValue
from eventcore.history.values import JsonDict, describe, is_dict
from eventcore.models.algebra import (
    Keeps,
    contains_schema,
    factorized_json,
    factorized_schema,
    masked_json,
    masked_schema,
    merged_json,
    merged_schema,
    properties_of,
    renamed_schema,
)
from eventcore.models.conversion import json_of, shared_schema
from eventcore.models.naming import auto_name, title_of
from eventcore.models.words import base_name

if TYPE_CHECKING:
    from eventcore.models.json_data_model import JsonDataModel
    from eventcore.models.symbolic import SymbolicDataModel

Combined: TypeAlias = "JsonDataModel | SymbolicDataModel"
Recorder: TypeAlias = Callable[[str, tuple[Any, ...], dict[str, Any]], Any]

graph_recorder: Recorder | None = None
"""Set by the modules package. Called with the operator's name, its operands and its other arguments when
an operand is a symbolic model that a graph produced; what it returns is the result, unless it returns
`NotImplemented`, which means: compute it here (as a graph's own node does)."""


def concat(left: Any, right: Any, name: str | None = None) -> Combined:
    """Merge two data models into one with the fields of both; clashing keys of the right are numbered.

    Raises:
        InvalidValue: One of them is None.
    """
    if left is None or right is None:
        raise InvalidValue(
            f"cannot concatenate {describe(left)} and {describe(right)}; both must be there (`&` accepts None)."
        )
    recorded = _recorded("concat", (left, right), {"name": name})
    return _merged("concat", left, right, name) if recorded is NotImplemented else recorded


concatenate = concat


def logical_and(left: Any, right: Any, name: str | None = None) -> Combined | None:
    """Merge two data models; None when one of them is None."""
    if left is None or right is None:
        return None
    recorded = _recorded("and", (left, right), {"name": name})
    return _merged("and", left, right, name) if recorded is NotImplemented else recorded


def logical_or(left: Any, right: Any, name: str | None = None) -> Combined | None:
    """Merge two data models; when one of them is None, give the other."""
    if left is None and right is None:
        return None
    recorded = _recorded("or", (left, right), {"name": name})
    if recorded is not NotImplemented:
        return recorded  # type: ignore[no-any-return]
    if left is None or right is None:
        return _same("or", right if left is None else left, name)
    if _is_symbolic(left) or _is_symbolic(right):
        shared_schema(right)
        return _result("or", shared_schema(left), None, name)
    return _merged("or", left, right, name)


def logical_xor(left: Any, right: Any, name: str | None = None) -> Combined | None:
    """Give the one that is not None; None when both are there, or neither."""
    if left is None and right is None:
        return None
    recorded = _recorded("xor", (left, right), {"name": name})
    if recorded is not NotImplemented:
        return recorded  # type: ignore[no-any-return]
    if left is None or right is None:
        return _same("xor", right if left is None else left, name)
    schema, _ = shared_schema(left), shared_schema(right)
    return _result("xor", schema, None, name) if _is_symbolic(left) or _is_symbolic(right) else None


def logical_not(value: Any, name: str | None = None) -> Combined | None:
    """Give None; symbolically, something of the same schema."""
    if value is None:
        return None
    recorded = _recorded("not", (value,), {"name": name})
    if recorded is not NotImplemented:
        return recorded  # type: ignore[no-any-return]
    schema = shared_schema(value)
    return _result("not", schema, None, name) if _is_symbolic(value) else None


def contains(whole: Any, part: Any) -> bool:
    """Tell whether a key, or every property of another data model, is in `whole`."""
    if isinstance(part, str):
        return part in properties_of(shared_schema(whole))
    return contains_schema(shared_schema(whole), shared_schema(part))


def in_mask(
    value: Any,
    mask: Sequence[str] | None = None,
    pattern: str | None = None,
    recursive: bool = True,
    name: str | None = None,
) -> Combined | None:
    """Keep only the fields a mask or pattern matches.

    Names match by their base: without a number at the end, last word in the singular, so the mask
    `["answer"]` keeps `answer`, `answers` and `answer_2`.

    Args:
        value: What to mask; None gives None.
        mask: Field names.
        pattern: Regular expression, searched in the base name. A field is kept when either matches.
        recursive: Also in nested objects, in list items and in all definitions of the schema.
        name: Name of the result.

    Raises:
        InvalidValue: Neither mask nor pattern is given, or one cannot be used.
    """
    _check_given("in_mask", mask, pattern)
    return masked("in_mask", value, mask, pattern, recursive, name)


def out_mask(
    value: Any,
    mask: Sequence[str] | None = None,
    pattern: str | None = None,
    recursive: bool = True,
    name: str | None = None,
) -> Combined | None:
    """Remove the fields a mask or pattern matches; otherwise as `in_mask`."""
    _check_given("out_mask", mask, pattern)
    return masked("out_mask", value, mask, pattern, recursive, name)


def prefix(value: Any, prefix: str | None = None, name: str | None = None) -> Combined | None:
    """Put `prefix` and an underscore before every key; all fields become required. Not recursive."""
    word = _check_affix("prefix", prefix)
    return _renamed(
        "prefix", value, word, name, lambda key: f"{word}_{key}", lambda title: f"{title_of(word)} {title}"
    )


def suffix(value: Any, suffix: str | None = None, name: str | None = None) -> Combined | None:
    """Put an underscore and `suffix` behind every key; all fields become required. Not recursive."""
    word = _check_affix("suffix", suffix)
    return _renamed(
        "suffix", value, word, name, lambda key: f"{key}_{word}", lambda title: f"{title} {title_of(word)}"
    )


def factorize(value: Any, name: str | None = None) -> Combined | None:
    """Gather fields of the same base name into one list each: `answer, answer_1` become `answers`."""
    if value is None:
        return None
    recorded = _recorded("factorize", (value,), {"name": name})
    if recorded is not NotImplemented:
        return recorded  # type: ignore[no-any-return]
    schema = shared_schema(value)
    json = None if _is_symbolic(value) else factorized_json(json_of(value), schema)
    return _result("factorize", factorized_schema(schema), json, name)


def _recorded(operator: str, operands: tuple[Any, ...], arguments: dict[str, Any]) -> Any:
    if graph_recorder is not None and any(
        getattr(operand, "producer", None) is not None for operand in operands
    ):
        return graph_recorder(operator, operands, arguments)
    return NotImplemented


def _is_symbolic(operand: Any) -> bool:
    from eventcore.models.symbolic import SymbolicDataModel

    return isinstance(operand, (type, SymbolicDataModel))


def _result(operator: str, schema: JsonDict, json: JsonDict | None, name: str | None) -> Combined:
    """Wrap the outcome; `json` is None for a symbolic one. It is right by construction, so unchecked."""
    from eventcore.models.json_data_model import JsonDataModel
    from eventcore.models.symbolic import SymbolicDataModel

    name = auto_name(operator) if name is None else name
    return (
        SymbolicDataModel(schema=schema, name=name)
        if json is None
        else JsonDataModel.trusted(schema, json, name)
    )


def _same(operator: str, value: Any, name: str | None) -> Combined:
    return _result(operator, shared_schema(value), None if _is_symbolic(value) else json_of(value), name)


def _merged(operator: str, left: Any, right: Any, name: str | None) -> Combined:
    schema, renamed = merged_schema(shared_schema(left), shared_schema(right))
    symbolic = _is_symbolic(left) or _is_symbolic(right)
    return _result(
        operator, schema, None if symbolic else merged_json(json_of(left), json_of(right), renamed), name
    )


def _check_given(operator: str, mask: Any, pattern: Any) -> None:
    if mask is None and pattern is None:
        raise InvalidValue(
            f"cannot apply {operator}: received neither mask nor pattern; give a list of field names."
        )


def masked(
    operator: str, value: Any, mask: Any, pattern: Any, recursive: bool, name: str | None
) -> Combined | None:
    """Do the work of `in_mask` and `out_mask`; without mask and pattern, nothing matches."""
    if value is None:
        return None
    matches = _matcher(operator, mask, pattern)
    keeps: Keeps = matches if operator == "in_mask" else lambda key: not matches(key)
    arguments = {"mask": mask, "pattern": pattern, "recursive": recursive, "name": name}
    recorded = _recorded(operator, (value,), arguments)
    if recorded is not NotImplemented:
        return recorded  # type: ignore[no-any-return]
    json = None if _is_symbolic(value) else masked_json(json_of(value), keeps, recursive)
    assert json is None or is_dict(json)  # the mask of an object is an object
    return _result(operator, masked_schema(shared_schema(value), keeps, recursive), json, name)


def _matcher(operator: str, mask: Any, pattern: Any) -> Callable[[str], bool]:
    if isinstance(mask, str) or not all(isinstance(entry, str) for entry in mask or ()):
        raise InvalidValue(
            f"cannot apply {operator}: received the mask {mask!r}; allowed: a list of field names."
        )
    names = {base_name(entry) for entry in mask or ()}
    try:
        search = None if pattern is None else re.compile(pattern).search
    except (re.error, TypeError) as error:
        raise InvalidValue(
            f"cannot apply {operator}: received the pattern {pattern!r} ({error}); allowed: a regular expression."
        ) from None

    def matches(key: str) -> bool:
        base = base_name(key)
        return base in names or (search is not None and search(base) is not None)

    return matches


def _check_affix(operator: str, affix: Any) -> str:
    if not isinstance(affix, str) or not affix:
        raise InvalidValue(
            f"cannot apply {operator}: received {describe(affix)}; allowed: a text that is not empty."
        )
    return affix


def _renamed(
    operator: str,
    value: Any,
    affix: str,
    name: str | None,
    key_of: Callable[[str], str],
    title_of_field: Callable[[str], str],
) -> Combined | None:
    if value is None:
        return None
    recorded = _recorded(operator, (value,), {operator: affix, "name": name})
    if recorded is not NotImplemented:
        return recorded  # type: ignore[no-any-return]
    json = None if _is_symbolic(value) else {key_of(key): item for key, item in json_of(value).items()}
    return _result(operator, renamed_schema(shared_schema(value), key_of, title_of_field), json, name)
