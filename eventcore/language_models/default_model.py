"""`DefaultModel`: the model that is used where none is given, and what a caller may pass instead of a model.

Language models and embedding models have one each; what a model is and how it is called is theirs to say.
"""

from __future__ import annotations

from typing import Any, Generic, TypeVar

from eventcore.errors import InvalidValue, WrongType
from eventcore.models.naming import auto_name

M = TypeVar("M")


class DefaultModel(Generic[M]):
    """The default of one kind of model.

    Args:
        kind: The class of the models.
        name: Its name in snake case: automatic names begin with it, and arguments are called so.
        example: Name of a model of this kind, for messages.
    """

    def __init__(self, kind: type[M], name: str, example: str) -> None:
        self._kind = kind
        self._name = name
        self._example = example
        self._model: M | None = None

    def set(self, model: Any) -> None:
        """Set the model that is used where none is given; None takes it away again."""
        self._model = None if model is None else self.meant(model, self._name)

    def get(self) -> M | None:
        """Return the model that is used where none is given, or None."""
        return self._model

    def meant(self, value: Any, role: str) -> M:
        """Return the model a caller means: a model, the name of one, a function, or None for the default.

        Raises:
            InvalidValue: None, and there is no default.
            WrongType: Something else.
        """
        if isinstance(value, self._kind):
            return value
        if value is None:
            return self._given(role)
        # Named here, so that the module it is made in counts it among no automatic names: loaded from a config,
        # that module is given the model ready-made.
        make: Any = self._kind
        if isinstance(value, str):
            made: M = make(model=value, name=auto_name(self._name))
            return made
        if callable(value):
            made = make(function=value, name=auto_name(self._name))
            return made
        raise WrongType(
            f"cannot use {value!r} as {role}: pass {self._article} {self._kind.__name__}, its name, or a function"
        )

    def _given(self, role: str) -> M:
        if self._model is None:
            raise InvalidValue(
                f"cannot work without {self._article} {self._name.replace('_', ' ')}: pass {role}={self._example!r} "
                f"(or another name, {self._article} {self._kind.__name__} or a function), or call "
                f"set_default_{self._name} first"
            )
        return self._model

    @property
    def _article(self) -> str:
        return "an" if self._name[0] in "aeiou" else "a"
