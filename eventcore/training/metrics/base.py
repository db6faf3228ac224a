"""`Metric`: a number that sums up many predictions; its state is event-sourced variables."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Sequence
from contextvars import ContextVar
from typing import Any

from eventcore.errors import WrongType
from eventcore.models.naming import auto_name, snake_case
from eventcore.saving.registry import register_class
from eventcore.training.masking import Masks
from eventcore.variables import Variable, name_scope

_given_scope: ContextVar[str | None] = ContextVar("eventcore_metric_scope", default=None)
"""Scope of the state of a metric that is made from a config; one made by its class chooses its own."""


class Metric:
    """Base of metrics. Override `async update_state(self, y_true, y_pred)` and `result(self)`.

    Attributes:
        scope: First part of the paths of its state, unique among the metrics of a session.

    Args:
        name: Its name; None for the class's in snake case.
        in_mask: Look only at these fields, on both sides.
        out_mask: Leave these fields out, on both sides.
        in_mask_pattern: Like `in_mask`, by regular expression.
        out_mask_pattern: Like `out_mask`, by regular expression.
    """

    direction: str | None = None
    """"up" if more is better, "down" if less is, None if neither."""

    owner: weakref.ref[Any] | None = None
    """The trainer that updates it, set by `compile`."""

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        register_class(cls)

    def __init__(
        self,
        name: str | None = None,
        in_mask: Sequence[str] | None = None,
        out_mask: Sequence[str] | None = None,
        in_mask_pattern: str | None = None,
        out_mask_pattern: str | None = None,
    ) -> None:
        self.name = name if name is not None else snake_case(type(self).__name__)
        self.masks = Masks(in_mask, out_mask, in_mask_pattern, out_mask_pattern)
        self.scope: str = _given_scope.get() or auto_name(f"metric_{self.name}")
        self._variables: list[Variable] = []
        self._beginnings: list[dict[str, Any]] = []

    @property
    def variables(self) -> list[Variable]:
        """Its state."""
        return list(self._variables)

    def add_variable(
        self, initializer: Any = None, data_model: Any = None, name: str | None = None
    ) -> Variable:
        """Create a piece of state; arguments as in `Variable`, defaults are needed to reset it."""
        with name_scope(self.scope):
            variable = Variable(initializer, data_model, trainable=False, name=name)
        self._variables.append(variable)
        self._beginnings.append(variable.get_json())
        return variable

    async def update_state(self, y_true: Any, y_pred: Any) -> None:
        """Take one prediction in. Subclasses write this.

        Raises:
            WrongType: The subclass did not.
        """
        raise WrongType(
            f"cannot update {type(self).__name__}: it does not define async update_state(y_true, y_pred)"
        )

    def result(self) -> Any:
        """Return the value. Subclasses write this.

        Raises:
            WrongType: The subclass did not.
        """
        raise WrongType(f"cannot read {type(self).__name__}: it does not define result()")

    def reset_state(self) -> None:
        """Go back to the beginning."""
        for variable, beginning in zip(self._variables, self._beginnings, strict=True):
            if variable.get_json() != beginning:
                variable.assign(beginning)

    def get_config(self) -> dict[str, Any]:
        """Return what `from_config` needs."""
        return {"name": self.name, "scope": self.scope, **self.masks.get_config()}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Any:
        """Make a metric from its config, with nothing in it; its state has the paths it had."""
        arguments = dict(config)
        token = _given_scope.set(arguments.pop("scope", None))
        try:
            return cls(**arguments)
        finally:
            _given_scope.reset(token)


Function = Callable[..., Any]
