"""`Module`: the building block of programs, with state the framework knows about.

This class is the public face; what its methods mean is decided next door: attributes in `tracker`, who
owns and freezes what in `ownership`, `build` and locks in `building`, calls in `calling`, symbolic calls
in `tracing`, constructor arguments and names in `construction`.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterable
from typing import Any, ClassVar, Self, cast

from eventcore.errors import InvalidValue
from eventcore.models.naming import auto_name
from eventcore.modules import building, construction, ownership
from eventcore.modules.calling import call_module, refuse_missing_call
from eventcore.modules.declaring import declare_variable
from eventcore.modules.hooks import Hook, checked_hooks
from eventcore.modules.internals import ModuleCore, core_of, ready_core
from eventcore.modules.picking import pick
from eventcore.modules.tracker import Tracker, never_walk
from eventcore.saving.registry import register_class
from eventcore.variables.scope import check_name, name_scope
from eventcore.variables.variable import Variable
from eventcore.variables.views import RecordingDict, RecordingList

_PLAIN = (str, int, float, bool, type(None))


class Module:
    """A callable with variables, written by deriving a class and defining `call`.

    State is created with `add_variable` in `__init__`, or in `build(self, input_schema)` when it depends on
    the inputs. The first call runs `build` and locks the module: its set of variables is then final.

    Args:
        trainable: False freezes every variable below, until `trainable` is set to True.
        name: Its name; made from the class's when absent.
        description: What it is for; the first line of the class's docstring when absent.
        hooks: Told when a call begins and ends.

    Raises:
        InvalidValue: The name is empty or holds a slash, or an argument is unknown.
    """

    accepts_any_input: ClassVar[bool] = False
    """True for a class whose `call` takes whatever data model comes; inputs are then not checked."""

    def __new__(cls, *args: Any, **kwargs: Any) -> Self:
        """Make the bookkeeping before any constructor runs, and keep the constructor's arguments."""
        self = super().__new__(cls)
        arguments = construction.kept_arguments(args, kwargs)
        core = ModuleCore(self, Tracker(self), arguments, construction.take_restored(cls))
        object.__setattr__(self, "_core", core)
        return self

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if "__init__" in cls.__dict__:
            cls.__init__ = construction.constructor(cls.__init__)  # type: ignore[method-assign]
        if "build" in cls.__dict__:
            cls.build = building.build_once(cls.__dict__["build"])  # type: ignore[method-assign]
        register_class(cls)

    @construction.constructor
    def __init__(
        self,
        *,
        trainable: bool = True,
        name: str | None = None,
        description: str | None = None,
        hooks: Iterable[Hook] | None = None,
        **unknown: Any,
    ) -> None:
        core = core_of(self)
        if unknown:
            raise InvalidValue(
                f"cannot make {type(self).__name__}: received {', '.join(unknown)}. A module takes trainable, name, "
                "description and hooks."
            )
        if core.initialized:
            self._initialize_again(trainable, name, description)
            return
        known = core.restored
        name = name if name is not None or known is None else known.name
        if name is None:
            name = construction.automatic_name(core, type(self).__name__)
        check_name(name, "module")
        core.description = _description(self, description, known.description if known is not None else None)
        core.initialized = True
        construction.settle_name(self, name)
        core.hooks = checked_hooks(hooks)
        for hook in core.hooks:
            hook.set_module(self)
        if not trainable or (known is not None and known.trainable is False):
            ownership.set_trainable(self, False)

    def _initialize_again(self, trainable: bool, name: str | None, description: str | None) -> None:
        core = core_of(self)
        if name is not None and name != core.name:
            raise InvalidValue(f"cannot rename '{core.name}' to '{name}': a module keeps its first name.")
        if description is not None:
            core.description = description
        if not trainable and core.trainable:
            ownership.set_trainable(self, False)

    # --- what it is ----------------------------------------------------------------------------

    @property
    def name(self) -> str:
        """Its name."""
        return ready_core(self, "read the name of a module").name

    @property
    def description(self) -> str:
        """What it is for, in words."""
        return ready_core(self, "read the description of a module").description

    @property
    def path(self) -> str:
        """The scopes it was made in and its name, joined by `/`."""
        return ready_core(self, "read the path of a module").path

    @property
    def built(self) -> bool:
        """Whether its first call, or an explicit `build`, has happened."""
        return ready_core(self, "use a module").built

    @property
    def trainable(self) -> bool:
        """Its own flag. A variable below is trained only if every module above it says True."""
        return ready_core(self, "use a module").trainable

    @trainable.setter
    def trainable(self, value: bool) -> None:
        ready_core(self, "freeze a module")
        ownership.set_trainable(self, bool(value))

    # --- variables -----------------------------------------------------------------------------

    def add_variable(
        self,
        initializer: Any = None,
        data_model: Any = None,
        trainable: bool = True,
        name: str | None = None,
        description: str | None = None,
    ) -> Variable:
        """Create a variable of this module.

        A request for a trainable variable whose data model does not derive from `Trainable` is downgraded
        without an error; `summary()` and the log say so.

        Args:
            initializer: First value: a dict, a data model instance, an `Initializer` (class or instance) or
                another callable. None for the data model's defaults.
            data_model: What the value looks like: a data model class, a msgspec Struct, a dataclass, a pydantic
                model, anything with `get_schema()`, or a JSON schema. Taken from the initializer when absent.
            trainable: Whether optimizers may rewrite it.
            name: Its name, without `/`; made from the module's when absent.
            description: What it is for; the data model's description when absent.

        Raises:
            TrackerLocked: The module, or one that contains it, has been called.
            InvalidValue: The data model is trainable and has fields without a default, or the name is bad.
            SchemaMismatch: The first value breaks the schema.
            DuplicateName: The program has a variable of this path.
        """
        ready_core(self, "add a variable")
        return declare_variable(self, initializer, data_model, trainable, name, description)

    @property
    def variables(self) -> list[Variable]:
        """All variables: its own, then those of its sub-modules, each once."""
        ready_core(self, "list the variables of a module")
        return ownership.variables_below(self)

    @property
    def trainable_variables(self) -> list[Variable]:
        """The variables optimizers may rewrite now."""
        return [variable for variable in self.variables if variable.trainable]

    @property
    def non_trainable_variables(self) -> list[Variable]:
        """The variables optimizers leave alone now."""
        return [variable for variable in self.variables if not variable.trainable]

    def get_variable(self, name: str | None = None, index: int | None = None) -> Variable:
        """Find one variable, by name (or path, where the name is not unique) or by its place in `variables`.

        Raises:
            InvalidValue: Both or neither was given, or there is no such variable; the message lists them.
        """
        return cast("Variable", pick(self.variables, name, index, f"variable of '{self.name}'"))

    # --- calling -------------------------------------------------------------------------------

    async def build(self, input_schema: Any, /) -> None:
        """Create what depends on the inputs; override it, plain or async.

        Runs once, on the first call. It is given the JSON schema of the input, for several inputs a list or
        dict of schemas shaped like them. A `build` whose parameter is called `inputs` is given symbolic data
        models instead. Call it yourself, with a schema, a data model or a symbolic one, to build early.
        """

    build.__eventcore_default__ = True  # type: ignore[attr-defined]

    def call(self, *args: Any, **kwargs: Any) -> Any:
        """Do what the module is for; override it, plain or async, with `training=False` if it matters.

        It is given data models and returns one, or a list, tuple or dict of them. An input is None when the
        branch it comes from is inactive; return None then.
        """
        raise refuse_missing_call(self)

    async def compute_output_spec(self, *args: Any, **kwargs: Any) -> Any:
        """Say what `call` returns for symbolic inputs; override it where `call` cannot run without data.

        Returns:
            A data model class, a schema, a symbolic data model, or a list, tuple or dict of them.
        """
        from eventcore.modules.tracing import traced

        return await traced(self, args, kwargs)

    async def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Call the module; symbolic inputs add the call to a graph."""
        return await call_module(self, args, kwargs)

    def add_hook(self, hook: Hook) -> None:
        """Have `hook` told when a call begins and ends."""
        core = ready_core(self, "add a hook")
        core.hooks += checked_hooks([hook])
        hook.set_module(self)

    # --- making it again -----------------------------------------------------------------------

    def get_config(self) -> dict[str, Any]:
        """Return what `from_config` needs: the constructor's arguments, by name.

        Values may be any object that can be saved (data models, modules, ...); `saving.serialize_object` turns
        them into JSON.

        Raises:
            InvalidValue: The constructor was given arguments that cannot be passed by name.
        """
        core = ready_core(self, "make the config of a module")
        own = {"name": core.name, "description": core.description, "trainable": core.trainable}
        return construction.constructor_arguments(self) | own

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        """Make a module from its config: `cls(**config)`."""
        base = {key: config[key] for key in construction.BASE_ARGUMENTS if key in config}
        given = {
            key: value for key, value in config.items() if key not in base or construction.takes(cls, key)
        }
        with construction.restoring(cls, **base):
            return cls(**given)

    def clone(self, name: str | None = None) -> Self:
        """Make another module with the same config, fresh variables, and another name.

        Modules among its arguments are cloned as well; they keep their names, below the clone's in the path.
        """
        name = auto_name(type(self).__name__) if name is None else name
        with name_scope(name):
            config = {key: _cloned(value) for key, value in self.get_config().items()}
        return type(self).from_config({**config, "name": name})

    def get_build_config(self) -> dict[str, Any] | None:
        """Return what `build_from_config` needs, None before the module is built."""
        from eventcore.modules.rebuilding import build_config

        return build_config(self)

    def build_from_config(self, config: dict[str, Any]) -> None:
        """Build the module as it was built before it was saved."""
        from eventcore.modules.rebuilding import rebuild

        rebuild(self, config)

    def summary(self, print_fn: Any = None) -> None:
        """Print a table of the variables: path, fields, whether trained and if not why.

        Args:
            print_fn: Called with each line of plain text instead of printing.
        """
        from eventcore.modules.summary import print_summary

        print_summary(self, print_fn)

    # --- attributes ----------------------------------------------------------------------------

    def __setattr__(self, name: str, value: Any) -> None:
        core = self.__dict__.get("_core")
        plain = type(value) in _PLAIN
        if core is None or (plain and not core.tracker.holds(name)) or _is_descriptor(type(self), name):
            object.__setattr__(self, name, value)
            return
        core.tracker.assign(self, name, value)

    def __delattr__(self, name: str) -> None:
        core = self.__dict__.get("_core")
        if core is None or name not in self.__dict__ or not core.tracker.holds(name):
            object.__delattr__(self, name)
            return
        core.tracker.delete(self, name)

    def __repr__(self) -> str:
        core = core_of(self)
        if not core.initialized:
            return f"<{type(self).__name__} (not initialized)>"
        state = "built" if core.built else "not built"
        return f"<{type(self).__name__} name={core.name!r} {state}, {len(self.variables)} variables>"


Module.build = building.build_once(Module.build)  # type: ignore[method-assign]
register_class(Module)
ownership.track_type(Variable, "variables")
ownership.track_type(Module, "modules")
never_walk(RecordingDict)
never_walk(RecordingList)


def _cloned(value: Any) -> Any:
    if isinstance(value, Module):
        return value.clone(name=value.name)
    if isinstance(value, dict):
        return {key: _cloned(item) for key, item in cast("dict[Any, Any]", value).items()}
    if type(value) in (list, tuple, set):
        return type(value)(_cloned(item) for item in value)
    return value


def _is_descriptor(cls: type, name: str) -> bool:
    return hasattr(getattr(cls, name, None), "__set__")


def _description(module: Module, given: str | None, known: str | None) -> str:
    if given is not None:
        return given
    if known is not None:
        return known
    docstring = inspect.cleandoc(type(module).__dict__.get("__doc__") or "")
    return docstring.split("\n", 1)[0].strip()
