"""The operators on data models, as modules: what a graph is made of when it says `x1 + x2`.

What an operator does to values and schemas is decided in `eventcore.models.operators`; each class here
calls it. They have no state, and take whatever data models come.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any, ClassVar, cast

from eventcore.errors import InvalidValue
from eventcore.history.scope import in_tracing
from eventcore.models import operators
from eventcore.models.data_model import DataModel
from eventcore.models.symbolic import SymbolicDataModel
from eventcore.modules.building import finish
from eventcore.modules.function import Lambda as Lambda
from eventcore.modules.module import Module
from eventcore.modules.structure import schemas_in
from eventcore.modules.tracing import recorded


class Identity(Module):
    """Returns its inputs."""

    accepts_any_input = True

    def call(self, inputs: Any) -> Any:
        """Return `inputs`."""
        return inputs

    def compute_output_spec(self, inputs: Any) -> Any:
        """Return `inputs`."""
        return inputs


class _Combination(Module):
    """Combines a list of data models, two at a time from the left."""

    accepts_any_input = True
    operator: ClassVar[Callable[..., Any]]

    def call(self, inputs: Any) -> Any:
        """Combine the data models of a list."""
        return self._combined(inputs)

    def compute_output_spec(self, inputs: Any) -> Any:
        """Combine the schemas of a list."""
        return self._combined(_loose(inputs))

    def _combined(self, inputs: Any) -> Any:
        if not isinstance(inputs, (list, tuple)) or not inputs:
            raise InvalidValue(
                f"cannot call {type(self).__name__} '{self.path}': received {inputs!r}. Pass a list of data models."
            )
        items = cast("list[Any]", inputs)
        operator = functools.partial(type(self).operator, name=self.name)
        return items[0] if len(items) == 1 else functools.reduce(operator, items)


class Concat(_Combination):
    """Merges data models (`+`); a clashing key of a later one becomes `key_1`. None is refused."""

    operator = staticmethod(operators.concat)


class And(_Combination):
    """Merges data models (`&`); None if one of them is None."""

    operator = staticmethod(operators.logical_and)


class Or(_Combination):
    """Merges the data models that are there (`|`), or returns the only one that is."""

    operator = staticmethod(operators.logical_or)


class Xor(_Combination):
    """Returns the data model that is there if the other is None (`^`)."""

    operator = staticmethod(operators.logical_xor)


class _Change(Module):
    """Changes one data model."""

    accepts_any_input = True

    def call(self, inputs: Any) -> Any:
        """Change `inputs`."""
        return self._changed(inputs)

    def compute_output_spec(self, inputs: Any) -> Any:
        """Change the schema of `inputs`."""
        return self._changed(_loose(inputs))

    def _changed(self, inputs: Any) -> Any:
        return operators.logical_not(inputs, name=self.name)


class Not(_Change):
    """Returns None (`~`): what depends on it becomes inactive."""


class _Mask(_Change):
    """Chooses fields by name.

    Args:
        mask: Field names, matched without a number at the end and with the last word in the singular.
        pattern: Regular expression searched in the base name; a field matches if either does.
        recursive: Whether nested objects and list items are masked too.
        name: Its name.
        description: What it is for.
        trainable: As in `Module`.

    Raises:
        InvalidValue: The mask is no non-empty list, and there is no pattern.
    """

    def __init__(
        self,
        mask: Sequence[str] | None = None,
        pattern: str | None = None,
        recursive: bool = True,
        name: str | None = None,
        description: str | None = None,
        trainable: bool = True,
    ) -> None:
        super().__init__(name=name, description=description, trainable=trainable)
        empty = not isinstance(mask, (list, tuple)) or not mask
        if empty and (mask is not None or pattern is None):
            raise InvalidValue(
                f"cannot make {type(self).__name__}: received mask={mask!r}. Pass a non-empty list of field names."
            )
        self._mask = None if mask is None else list(mask)
        self._pattern = pattern
        self._recursive = recursive


class InMask(_Mask):
    """Keeps only the fields a mask names."""

    def _changed(self, inputs: Any) -> Any:
        return operators.in_mask(inputs, self._mask, self._pattern, self._recursive, name=self.name)


class OutMask(_Mask):
    """Removes the fields a mask names."""

    def _changed(self, inputs: Any) -> Any:
        return operators.out_mask(inputs, self._mask, self._pattern, self._recursive, name=self.name)


class Prefix(_Change):
    """Puts a word before every key.

    Args:
        prefix: The word.
        name: Its name.
        description: What it is for.
        trainable: As in `Module`.
    """

    def __init__(
        self, prefix: str, name: str | None = None, description: str | None = None, trainable: bool = True
    ) -> None:
        super().__init__(name=name, description=description, trainable=trainable)
        self._prefix = prefix

    def _changed(self, inputs: Any) -> Any:
        return operators.prefix(inputs, self._prefix, name=self.name)


class Suffix(_Change):
    """Puts a word behind every key.

    Args:
        suffix: The word.
        name: Its name.
        description: What it is for.
        trainable: As in `Module`.
    """

    def __init__(
        self, suffix: str, name: str | None = None, description: str | None = None, trainable: bool = True
    ) -> None:
        super().__init__(name=name, description=description, trainable=trainable)
        self._suffix = suffix

    def _changed(self, inputs: Any) -> Any:
        return operators.suffix(inputs, self._suffix, name=self.name)


class Factorize(_Change):
    """Gathers similar keys into one list."""

    def _changed(self, inputs: Any) -> Any:
        return operators.factorize(inputs, name=self.name)


_COMBINATIONS: dict[str, type[_Combination]] = {"concat": Concat, "and": And, "or": Or, "xor": Xor}
_CHANGES: dict[str, type[_Change]] = {
    **{"not": Not, "in_mask": InMask, "out_mask": OutMask},
    **{"prefix": Prefix, "suffix": Suffix, "factorize": Factorize},
}


def _loose(value: Any) -> Any:
    """Copy symbolic data models without what produced them, so that combining them records no node."""
    if isinstance(value, SymbolicDataModel):
        return SymbolicDataModel(schema=value.get_schema(), name=value.name)
    if isinstance(value, (list, tuple)):
        return [_loose(item) for item in cast("list[Any]", value)]
    return value


def record_operator(operator: str, operands: tuple[Any, ...], arguments: dict[str, Any]) -> Any:
    """Add an operator on the outputs of a graph to the graph; `eventcore.models.operators` calls this.

    Raises:
        InvalidValue: An operand has no value when the program runs.
    """
    if in_tracing():
        return NotImplemented
    name = arguments.get("name")
    given = [_operand(operand) for operand in operands]
    settings = {key: value for key, value in arguments.items() if key != "name"}
    kept = _method_mask(operator, settings)
    module = _COMBINATIONS[operator]() if operator in _COMBINATIONS else _CHANGES[operator](**kept)
    inputs = given if operator in _COMBINATIONS else given[0]
    spec: Any = module.compute_output_spec(inputs)
    finish(module, schemas_in(inputs))
    if isinstance(spec, SymbolicDataModel) and name is not None:
        spec = SymbolicDataModel(schema=spec.get_schema(), name=name)
    return recorded(module, (inputs,), {}, spec)


def _method_mask(operator: str, settings: dict[str, Any]) -> dict[str, Any]:
    """The method forms allow no mask at all; a pattern that never matches says the same."""
    if operator in ("in_mask", "out_mask") and not settings.get("mask") and settings.get("pattern") is None:
        return {**settings, "mask": None, "pattern": r"(?!)"}
    return settings


def _operand(operand: Any) -> Any:
    if isinstance(operand, type):
        raise InvalidValue(
            f"cannot combine the output of a graph with the class {operand.__name__}: it has no value when the "
            f"program runs. Use `Input(data_model={operand.__name__})` or an instance."
        )
    return operand.to_json_data_model() if isinstance(operand, DataModel) else operand


operators.graph_recorder = record_operator
