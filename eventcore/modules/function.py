"""`Lambda`: a plain function as a module."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from eventcore.errors import WrongType
from eventcore.models.conversion import schema_of
from eventcore.models.json_data_model import JsonDataModel
from eventcore.modules.module import Module


class Lambda(Module):
    """Wraps a function of the inputs.

    Args:
        function: Called with the inputs, plain or async. Returns a data model, or a dict if the schema is given.
        schema: JSON schema of what it returns.
        data_model: A data model instead of `schema`.
        name: Its name.
        description: What it is for; the first line of the function's docstring when absent.
        trainable: As in `Module`.

    Raises:
        WrongType: `function` cannot be called.
    """

    def __init__(
        self,
        function: Callable[..., Any],
        *,
        schema: dict[str, Any] | None = None,
        data_model: Any = None,
        name: str | None = None,
        description: str | None = None,
        trainable: bool = True,
    ) -> None:
        if not callable(function):
            raise WrongType(f"cannot make a Lambda of {function!r}: it cannot be called. Pass a function.")
        if description is None:
            description = (inspect.getdoc(function) or "").split("\n", 1)[0]
        super().__init__(name=name, description=description, trainable=trainable)
        self._function = function
        given = data_model if data_model is not None else schema
        self._output_schema = None if given is None else schema_of(given)

    async def call(self, inputs: Any, **kwargs: Any) -> Any:
        """Call the function; an inactive input gives None without calling it."""
        if inputs is None:
            return None
        found = self._function(inputs, **self._accepted(kwargs))
        if inspect.isawaitable(found):
            found = await found
        if isinstance(found, dict) and self._output_schema is not None:
            return JsonDataModel(schema=self._output_schema, json=found)
        return found

    async def compute_output_spec(self, inputs: Any, **kwargs: Any) -> Any:
        """Say what was declared, else run the function on placeholders."""
        if self._output_schema is not None:
            return self._output_schema
        return await super().compute_output_spec(inputs, **kwargs)

    def _accepted(self, kwargs: dict[str, Any]) -> dict[str, Any]:
        parameters = inspect.signature(self._function).parameters
        if any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values()):
            return kwargs
        return {key: value for key, value in kwargs.items() if key in parameters}
