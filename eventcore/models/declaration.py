"""What a `DataModel` class declares: its fields, resolved late, and the schema and validator made of them.

Annotations may be strings (`from __future__ import annotations`) and may name classes of the function
the model is defined in, even ones defined after it. So the defining frames are kept until every name
is found, and let go then.
"""

from __future__ import annotations

import inspect
import sys
import threading
import types
import typing
from collections.abc import Callable
from functools import cached_property
from typing import Any, ClassVar

from eventcore.errors import InvalidValue, UnresolvedAnnotation
from eventcore.history.values import JsonDict, copy_json
from eventcore.models.field import FieldInfo, FieldSpec
from eventcore.models.lifting import Lifter, lifter_of
from eventcore.models.schema import record_schema
from eventcore.models.validation import Validator

_FORBIDDEN = ("get_json", "get_schema")
_OPTIMIZED = inspect.CO_OPTIMIZED
_OWN = (__name__, "eventcore.models.data_model")
_lock = threading.RLock()


class Declaration:
    """The fields of one data model class.

    Args:
        cls: The class.
        frames: Where the class statement runs, innermost first.
    """

    def __init__(self, cls: type[Any], frames: list[types.FrameType]) -> None:
        self.cls = cls
        self._globals: dict[str, Any] = frames[0].f_globals if frames else vars(sys.modules[cls.__module__])
        self._frames = frames
        self._hints: dict[str, Any] | None = None
        self._annotated = _annotated_names(cls)
        for name in _FORBIDDEN:
            if name in self._annotated:
                raise InvalidValue(
                    f"cannot declare {cls.__name__}.{name}: every data model has a method of that name; "
                    "choose another name for the field."
                )
        self._infos = self._take_infos()
        self._known: dict[str, FieldSpec] | None = None

    def settle(self) -> None:
        """Work everything out now if all names are defined, so that errors appear where the class is written."""
        if self.resolve():
            try:
                _ = self.validator
            except UnresolvedAnnotation:
                pass

    def _take_infos(self) -> dict[str, FieldInfo]:
        """Move defaults off the class, where they would shadow what is not there."""
        infos: dict[str, FieldInfo] = {}
        inherited = self._inherited_names()
        for name, value in list(vars(self.cls).items()):
            declared = name in self._annotated
            if not declared and isinstance(value, FieldInfo) and name not in inherited:
                raise InvalidValue(
                    f"cannot declare {self.cls.__name__}.{name}: received Field(...) without an annotation; "
                    f"write `{name}: str = Field(...)`, for instance."
                )
            replaced = name in inherited and not callable(value) and not hasattr(type(value), "__get__")
            if declared or replaced:
                infos[name] = value if isinstance(value, FieldInfo) else FieldInfo(default=value)
                type.__delattr__(self.cls, name)
        return infos

    def _inherited_names(self) -> set[str]:
        return {
            name for base in self.cls.__mro__[1:] if (found := declaration_in(base)) for name in found.names
        }

    @property
    def names(self) -> set[str]:
        """The names this class itself declares."""
        return self._annotated

    def resolve(self) -> bool:
        """Try to find every name the annotations use; tell whether that worked."""
        with _lock:
            if self._hints is None:
                try:
                    self._hints = self._evaluated()
                except NameError:
                    return False
                self._frames = []
        return True

    def _evaluated(self) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for frame in reversed(self._frames):
            if frame.f_locals is not frame.f_globals:
                found.update(frame.f_locals)
        found[self.cls.__name__] = self.cls
        found.update({name: inner for name, inner in vars(self.cls).items() if isinstance(inner, type)})
        annotations = {name: text for name, text in _annotations(self.cls).items() if name in self._annotated}
        # A class of its own, so that the annotations of base classes are evaluated where *they* stand.
        probe = type(
            self.cls.__name__, (), {"__annotations__": annotations, "__module__": self.cls.__module__}
        )
        return typing.get_type_hints(probe, self._globals, found, include_extras=True)

    @property
    def specs(self) -> dict[str, FieldSpec]:
        """All fields, inherited ones first, in declared order.

        Raises:
            InvalidValue: An annotation names something that cannot be found.
        """
        if self._known is None:
            self._known = self._collected()
        return self._known

    def _collected(self) -> dict[str, FieldSpec]:
        specs: dict[str, FieldSpec] = {}
        for base in reversed(self.cls.__mro__):
            found = declaration_in(base)
            if found is not None:
                found.add_to(specs)
        return specs

    def add_to(self, specs: dict[str, FieldSpec]) -> None:
        """Put this class's own fields over the inherited ones in `specs`."""
        if not self.resolve() or self._hints is None:
            try:
                self._evaluated()
            except NameError as error:
                raise UnresolvedAnnotation(
                    f"cannot use {self.cls.__name__}: received an annotation in which {error}; "
                    "define or import that name before the model is first used."
                ) from None
        for name, annotation in (self._hints or {}).items():
            specs[name] = FieldSpec(name, annotation, self._infos.get(name, FieldInfo()))
        for name, info in self._infos.items():
            if name not in self._annotated:
                inherited = specs[name]
                specs[name] = FieldSpec(name, inherited.annotation, info.over(inherited.info))

    @cached_property
    def schema(self) -> JsonDict:
        """The JSON schema; shared, so copy it before giving it away."""
        return record_schema(self.cls)

    @cached_property
    def validator(self) -> Validator:
        """The validator of the schema."""
        try:
            return Validator(self.schema)
        except InvalidValue as error:
            raise InvalidValue(f"cannot declare {self.cls.__name__}: {error}") from None

    @cached_property
    def lifters(self) -> dict[str, Lifter]:
        """The fields whose attribute is not the plain JSON, with what makes one from the other."""
        made = {name: lifter_of(spec.annotation) for name, spec in self.specs.items()}
        return {name: lift for name, lift in made.items() if lift is not None}

    @cached_property
    def factories(self) -> dict[str, Callable[[], Any]]:
        """The fields that get their default from calling something."""
        return {
            name: spec.info.default_factory
            for name, spec in self.specs.items()
            if spec.info.default_factory is not None
        }

    def build(self, valid: JsonDict) -> Any:
        """Make an instance of JSON that has been checked, copying what it keeps."""
        instance: object = object.__new__(self.cls)
        self.fill(instance, copy_json(valid))
        return instance

    def fill(self, instance: object, valid: JsonDict) -> None:
        """Set the attributes of an instance from checked JSON that nobody else holds."""
        for name, factory in self.factories.items():
            if name not in valid:
                valid[name] = self.validator.check_field(name, factory(), self.cls.__name__)
        for name, lift in self.lifters.items():
            valid[name] = lift(valid[name])
        vars(instance).update({name: valid[name] for name in self.specs})


def declaration_in(cls: type[Any]) -> Declaration | None:
    """Give the declaration of exactly this class, if it has one."""
    found: Declaration | None = vars(cls).get("__declaration__")
    return found


def defining_frames() -> list[types.FrameType]:
    """Collect the frames of a class statement: class bodies outwards, then the function around them."""
    frame = inspect.currentframe()
    while frame is not None and frame.f_globals.get("__name__") in _OWN:
        frame = frame.f_back
    frames: list[types.FrameType] = []
    while frame is not None and frame.f_locals is not frame.f_globals:
        frames.append(frame)
        if frame.f_code.co_flags & _OPTIMIZED:  # a function; class bodies are not
            break
        frame = frame.f_back
    return frames or ([frame] if frame is not None else [])


def _annotations(cls: type[Any]) -> dict[str, Any]:
    if sys.version_info >= (3, 14):
        import annotationlib

        return annotationlib.get_annotations(cls, format=annotationlib.Format.FORWARDREF)
    return inspect.get_annotations(cls)


def _annotated_names(cls: type[Any]) -> set[str]:
    return {
        name
        for name, annotation in _annotations(cls).items()
        if not name.startswith("_") and not _is_class_variable(annotation)
    }


def _is_class_variable(annotation: Any) -> bool:
    if isinstance(annotation, str):
        return annotation.replace(" ", "").split("[")[0].rpartition(".")[2] == "ClassVar"
    return annotation is ClassVar or typing.get_origin(annotation) is ClassVar
