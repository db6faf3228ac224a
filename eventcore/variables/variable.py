"""`Variable`: JSON state of a module, every read and mutation of which is an event.

A variable lives in one run at a time. Whatever is done to it becomes an event of that run first, and
the run's fold changes the value; nothing here writes the value itself. Used while another run is
current, it moves there with its present value.
"""

from __future__ import annotations

import weakref
from collections.abc import ItemsView, Iterator, KeysView, ValuesView
from sys import _getframe
from typing import Any

from eventcore.errors import InvalidValue, TracingError, WrongType
from eventcore.history import events as e
from eventcore.history import patches as p
from eventcore.history.patches import plain
from eventcore.history.run import Run
from eventcore.history.scope import Scope, current, current_run, entered_scope, process_scope
from eventcore.history.slots import PREDICTIONS
from eventcore.history.state import size_of
from eventcore.history.values import canonical, is_text
from eventcore.models.naming import auto_name
from eventcore.models.operands import Operators
from eventcore.models.trainable import is_trainable
from eventcore.models.validation import Validator, validator_for
from eventcore.variables.binding import Binding, View
from eventcore.variables.first_value import as_dict, completed, described, first_value, require_defaults
from eventcore.variables.scope import check_name, current_path
from eventcore.variables.staying import Stay
from eventcore.variables.views import RecordingDict, RecordingList, path_of

_MISSING = object()
_VIEWS = RecordingDict, RecordingList
_ENTERING = frozenset({p.SET, p.MERGE, p.APPEND, p.EXTEND, p.INSERT, p.REORDER})
"""Operations that take nothing away."""


class Variable(Operators):
    """JSON state with a schema, declared in the current run when it is made.

    Args:
        initializer: First value: a dict (copied, defaults filled in), a data model instance, or a callable
            that returns one of them. None for the data model's defaults.
        data_model: What the value must be: a DataModel class, a msgspec Struct, a dataclass, a pydantic model,
            anything with `get_schema()`, or a JSON schema. None to take it from the initializer.
        trainable: Whether optimizers are asked to rewrite it; without the `Trainable` fields it is not, silently.
        name: Its name, without "/"; None for `variable`, `variable_1`, …
        description: What it is for; None for the schema's description.

    Raises:
        SchemaMismatch: The first value does not fit the schema.
        InvalidValue: No schema, or a bad name, or a Trainable without defaults; or made inside the call of an effect.
        DuplicateName: The path is in use in the current run.
        TracingError: Made inside `call` while a graph is traced.

    Attributes:
        stays: Why it does not move to the run it is used in, None for one that does.
    """

    def __init__(
        self,
        initializer: Any = None,
        data_model: Any = None,
        trainable: bool = True,
        name: str | None = None,
        description: str | None = None,
    ) -> None:
        self._name = check_name(name if name is not None else auto_name("variable"), "variable")
        scope = current_path()
        self._path = f"{scope}/{self._name}" if scope else self._name
        self.data_model = data_model
        self._schema, value = first_value(initializer, data_model, self._path)
        self._validator: Validator = validator_for(self._schema)
        self._measure = self._validator.scalars_size
        self._myself = weakref.ref(self)
        self._description = described(
            description if description is not None else self._schema.get("description", ""), self._path
        )
        self._where = f"variable {self._path!r}"
        self.requested = bool(trainable)
        self.eligible = is_trainable(self._schema)
        self.own_trainable = self.requested and self.eligible
        self.downgrade_reason = self._downgrade()
        if self.eligible:
            require_defaults(self._schema, self._where)
        self._frozen_by: dict[int, Any] = {}
        self.stays: Stay | None = None
        here = current.get(process_scope)
        if here.overlay is not None:
            raise TracingError(
                f"cannot create {self._where} while a graph is traced: call() runs on placeholders then; "
                "create it in __init__ or in build(self, input_schema)"
            )
        if here.effect is not None:
            raise self._refusal(f"create {self._where}", here)
        self._begin(current_run(), self._validator.check(value, self._where))

    def _downgrade(self) -> str | None:
        if not self.requested or self.eligible:
            return None
        title = self._schema.get("title", "its schema")
        return f"trainable was asked for, but data model {title!r} does not contain the Trainable fields"

    def _begin(self, run: Run, value: dict[str, Any]) -> None:
        """Declare in the first run; a value an earlier process left there under the same schema goes on."""
        origin = None
        left = run.inherited(self._path)
        if left is not None and left.schema == self._schema:
            value = plain(left.value)
            self.own_trainable = left.own and self.own_trainable
            origin = f"run {run.name!r} at seq {run.head}"
        slot = run.declare(self, self._declaration(run, value, origin))
        self._binding = Binding(self, self._path, run, slot)
        self._run = run
        self._number = slot.number
        self._root = self._binding.root

    def _declaration(self, run: Run, value: dict[str, Any], origin: str | None) -> e.VariableDeclared:
        source = run.source(size_of(value) if origin is None else 0)
        return e.VariableDeclared(
            *run.stamp(), run.live.next_number, self._path, self._schema, value, self.trainable,
            self.own_trainable, self.downgrade_reason, origin, self._description, source,
        )  # fmt: skip

    # --- identity ------------------------------------------------------------------------------

    @property
    def name(self) -> str:
        """Its name."""
        return self._name

    @property
    def path(self) -> str:
        """Its path: the names of the modules above it and its own, joined by slashes."""
        return self._path

    @property
    def description(self) -> str:
        """What it is for, in words."""
        return self._description

    @property
    def number(self) -> int:
        """Its number in the run it lives in: how events refer to it."""
        return self._number

    @property
    def run(self) -> Run:
        """The run it lives in."""
        return self._run

    @property
    def schema(self) -> dict[str, Any]:
        """A copy of its JSON schema."""
        return self._validator.schema()

    def get_schema(self) -> dict[str, Any]:
        """Return a copy of its JSON schema."""
        return self._validator.schema()

    def __repr__(self) -> str:
        kind = "trainable" if self.trainable else "non-trainable"
        return f"Variable({self._path!r}, {kind}, fields={list(self._root)})"

    # --- where it lives ------------------------------------------------------------------------

    def adopt(self, origin: str | None = None) -> None:
        """Live in the current run from now on, with the present value.

        Declares the variable there unless it lives there already; the event says which run it came from.

        Args:
            origin: What the event says instead, where the value came from further away.

        Raises:
            DuplicateName: The path is in use there.
        """
        run = current_run()
        if run is not self._run and current.get(process_scope).effect is None and not self._stays_out_of(run):
            self._move(run, origin)

    def _stays_out_of(self, run: Run) -> bool:
        """Whether it goes on living where it does while `run` is current: see `stays`."""
        if self.stays is not None and not self.stays.out_of(run, self._path):
            self.stays = None
        return self.stays is not None

    def _move(self, run: Run, origin: str | None = None) -> None:
        if not run.writable:
            run.record(e.FieldRead(*run.stamp(), 0, None))  # raises, saying why it cannot be written
        old = self._run
        old.live  # noqa: B018 - catches up after an interrupt before the value is copied
        self._binding.check()
        value = plain(self._root)
        run.require_free(self._path, self)
        origin = origin or f"run {old.name!r} of {old.store.url} at seq {old.head}"
        slot = run.declare(self, self._declaration(run, value, origin))
        self._binding.move(run, slot)
        self._run = run
        self._number = slot.number

    def _enter(self, here: Scope, writing: bool) -> dict[str, Any]:
        """Return the value to use here: a scratch copy while tracing, else the live value in the current run."""
        if here.overlay is not None:
            if id(self) not in here.overlay:
                here.overlay[id(self)] = plain(self._root)
            scratch: dict[str, Any] = here.overlay[id(self)]
            return scratch
        if here.effect is not None:
            if writing:
                raise self._refusal(f"write to {self._where}", here)
            self._run.live  # noqa: B018 - catches up after an interrupt
            return self._root  # where it is: to move would be a write
        run = current_run()
        if run is not self._run and (writing or run.writable):
            if self._stays_out_of(run):
                run = self._run
            else:
                self._move(run)
        if writing and not run.owns(self._path, self):
            run.require_free(self._path, self)
            run.guards.pop(id(self._binding), None)
            self._move_back(run)
        self._run.live  # noqa: B018 - catches up after an interrupt
        return self._root

    def _refusal(self, doing: str, here: Scope) -> InvalidValue:
        return InvalidValue(
            f"cannot {doing} inside effect {here.effect!r}: that one is answered from the log when the run is "
            "replayed, and what it writes would be missing; return it, and write it where the effect is called"
        )

    def _move_back(self, run: Run) -> None:
        """Declare again in the same run: another variable of the same path took the place and is gone."""
        slot = run.declare(
            self, self._declaration(run, plain(self._root), f"the object before, in {run.name!r}")
        )
        self._binding.move(run, slot)
        self._number = slot.number

    # --- reading -------------------------------------------------------------------------------

    def get(self, field: str, default: Any = None) -> Any:
        """Return one field; the read is an event.

        Containers come back as the stored ones: changing them in place is recorded.

        Args:
            field: Name of the field.
            default: Returned when there is no such field.
        """
        here = entered_scope(process_scope)
        run = self._run
        if here.run is not run or here.overlay is not None:
            root = self._enter(here, writing=False)
            if here.overlay is not None:
                return root.get(field, default)
            run = self._run
        if type(field) is not str or field not in self._root:
            if not isinstance(field, str) or not is_text(field):
                return default  # no field can have this name, so there is nothing to record
            field = str.__str__(field)
        run.record_read(self._number, field, here.rollout, here.cause)
        # After the record: that is where the value catches up with the log when an interrupt left it behind.
        value = dict.get(self._root, field, _MISSING)
        if value is _MISSING:
            return default
        if isinstance(value, _VIEWS):
            self._binding.expose(field)
        return value

    def __getitem__(self, field: str) -> Any:
        value = self.get(field, _MISSING)
        if value is _MISSING:
            raise KeyError(f"{self._where} has no field {field!r}; it has: {', '.join(self._root)}")
        return value

    def get_json(self) -> dict[str, Any]:
        """Return an independent plain copy of the whole value. Records nothing."""
        here = current.get(process_scope)
        if here.overlay is None:
            self._run.live  # noqa: B018 - catches up after an interrupt
        root = self._root if here.overlay is None else self._enter(here, writing=False)
        with self._run.lock:  # another thread may be writing
            copied: dict[str, Any] = plain(root)
        return copied

    def _whole(self) -> dict[str, Any]:
        here = current.get(process_scope)
        self._enter(here, writing=False)
        if here.overlay is None:
            self._run.record_read(self._number, None, here.rollout, here.cause)
        return self.get_json()

    def __iter__(self) -> Iterator[str]:
        """Field names, in order; records nothing."""
        return iter(self.keys())

    def keys(self) -> KeysView[str]:
        """Field names; records nothing."""
        return dict.fromkeys(self._root).keys()

    def values(self) -> ValuesView[Any]:
        """Plain copies of all values; one read of the whole is recorded."""
        return self._whole().values()

    def items(self) -> ItemsView[str, Any]:
        """Field names with plain copies of the values; one read of the whole is recorded."""
        return self._whole().items()

    # --- writing -------------------------------------------------------------------------------

    def update(self, changes: Any) -> None:
        """Merge fields into the value, all or nothing, as one event.

        Args:
            changes: A dict of fields (or a data model). A field set to its own live container is left out.

        Raises:
            SchemaMismatch: An unknown field or a value that does not fit; nothing is written then.
        """
        here = entered_scope(process_scope)
        run = self._run
        if (
            here.run is run
            and here.plain
            and type(changes) is dict
            and run.owners.get(self._path) is self._myself
        ):
            scalars: dict[str, Any] = changes.copy()
            measure = self._measure  # to call it as an attribute is slow in Python 3.11
            size = measure(scalars)
            if size:
                binding = self._binding
                event = run.record_update(binding.slot, scalars, size, here, _getframe(1))
                if binding.exposed:
                    binding.note(event, scalars)
                return
        self._update(here, changes)

    def _update(self, here: Scope, changes: Any) -> None:
        """Do the work of `update` where its short way does not lead."""
        if here.run is not self._run or not here.plain or not self._run.owns(self._path, self):
            root = self._enter(here, writing=True)
            if here.overlay is not None:
                root.update(self._validator.check_update(changes, self._where))
                return
        given = changes if isinstance(changes, dict) else as_dict(changes, self._where)
        live = [field for field, value in given.items() if self._is_live(field, value)]
        if live:
            given = {field: value for field, value in given.items() if field not in live}
        payload = self._validator.check_update(given, self._where)
        if not payload:
            return
        run, size = self._run, _size(payload)
        event = e.VariableUpdated(*run.stamp(), self._number, payload, run.source(size))
        self._binding.note(event, payload)
        run.record(event, size)

    def _is_live(self, field: object, value: object) -> bool:
        return isinstance(value, (RecordingDict, RecordingList)) and self._root.get(field) is value  # type: ignore[call-overload]

    def assign(self, value: Any) -> Any:
        """Replace the whole value, as one event; fields left out take their defaults.

        Args:
            value: A dict, a data model instance, or a Variable.

        Returns:
            `value`.

        Raises:
            SchemaMismatch: It does not fit; nothing is written then.
        """
        self._replace(value, None)
        return value

    def restore(self, value: Any, origin: str) -> None:
        """Replace the whole value by one that was saved; the event says where it came from."""
        self._replace(value, origin)

    def _replace(self, value: Any, origin: str | None) -> None:
        here = current.get(process_scope)
        root = self._enter(here, writing=True)
        whole = completed(self.data_model, as_dict(value, self._where))
        checked = self._validator.check(whole, self._where)
        if here.overlay is not None:
            root.clear()
            root.update(checked)
            return
        run, size = self._run, size_of(checked) if origin is None else 0  # what was saved may come in pieces
        event = e.VariableAssigned(*run.stamp(), self._number, checked, run.source(size), origin)
        self._binding.note(event, None)
        if origin is None:
            run.record(event, size)
        else:
            run.record_in_pieces(event)

    def patch(self, view: View, op: int, args: list[Any]) -> None:
        """Record an in-place change of one of its containers; the views call this.

        Raises:
            StaleView: The container was replaced since it was read.
            SchemaMismatch: The change would break the schema; nothing is written then.
        """
        here = current.get(process_scope)
        self._enter(here, writing=True)
        run = self._run
        with run.lock:
            path = path_of(view)
            checked = self._check_patch(view, path, op, args)
            self._binding.require_fit(view, path, op, checked)
            size = size_of(checked) + 16
            source = run.source(size)
            if op == p.APPEND and path == [PREDICTIONS] and self.eligible:
                event: e.Event = e.PredictionAppended(*run.stamp(), self._number, checked[0], source)
            else:
                event = e.ValuePatched(*run.stamp(), self._number, path, op, checked, source)
            self._binding.note(event, (path[0],) if path else None)
            run.record(event, size)
        run.wait_for_room()

    def _check_patch(self, view: View, path: list[str | int], op: int, args: list[Any]) -> list[Any]:
        """Check only what enters, unless the container's own rules (sizes, required keys) need the whole field."""
        checked = self._check_entering(view, path, op, args)
        if isinstance(view, list):
            touched: list[str | int] = [0]
        else:
            touched = list(checked[0]) if op == p.MERGE else list(view) if op == p.CLEAR else [checked[0]]
        deleting = op not in _ENTERING
        if not all(
            self._validator.item_suffices((*path, place), deleting=deleting, where=self._where)
            for place in touched
        ):
            self._rehearse(path, op, checked)
        return checked

    def _check_entering(self, view: View, path: list[str | int], op: int, args: list[Any]) -> list[Any]:
        check = self._validator.check_at
        if op == p.MERGE or (op == p.SET and isinstance(view, dict)):
            entering = args[0] if op == p.MERGE else {args[0]: args[1]}
            keys: Any = canonical(dict.fromkeys(entering), self._where)  # plain strings, or refused
            values = {
                key: check((*path, key), value, self._where)
                for key, value in zip(keys, entering.values(), strict=True)
            }
            return [values] if op == p.MERGE else [*values, *values.values()]
        if op in (p.SET, p.INSERT, p.APPEND):
            place = args[0] if op != p.APPEND else len(view)
            return [*args[:-1], check((*path, place), args[-1], self._where)]
        if op in (p.EXTEND, p.SPLICE):
            return [*args[:-1], [check((*path, len(view)), value, self._where) for value in args[-1]]]
        if op == p.DELETE and isinstance(view, dict):
            return [canonical(args[0], self._where)]
        return args

    def _rehearse(self, path: list[str | int], op: int, args: list[Any]) -> None:
        """Carry the change out on a copy of the field and check the outcome."""
        field = str(path[0])
        copied: Any = {field: plain(self._root[field])}
        place = copied
        for step in path:
            place = place[step]
        p.perform(place, op, args, _keep)
        self._validator.check_field(field, copied[field], self._where)

    # --- training ------------------------------------------------------------------------------

    def raw_value(self) -> dict[str, Any]:
        """Return the live value itself, unrecorded: for the engine's own reading, never to be changed."""
        return self._enter(current.get(process_scope), writing=False)

    def peek(self, field: str) -> Any:
        """Return one live field, unrecorded: for the engine's own reading, never to be changed."""
        return self.raw_value()[field]

    def record_step(self, kind: type[e.Event], *fields: Any) -> int:
        """Record a step of training that concerns this variable: an event of `kind` with these fields."""
        self._enter(current.get(process_scope), writing=True)
        run = self._run
        self._binding.check()
        event = kind(*run.stamp(), self._number, *fields)  # type: ignore[call-arg]
        seq = run.record(event, 32)
        self._binding.expose_anew()
        return seq

    def record_patch(self, path: list[str | int], op: int, args: list[Any]) -> int:
        """Record an in-place change of a container without handing the container out."""
        self._enter(current.get(process_scope), writing=True)
        run = self._run
        view: Any = self._binding.slot.container(path)
        checked = self._check_patch(view, path, op, args)
        self._binding.require_fit(view, path, op, checked)
        event = e.ValuePatched(*run.stamp(), self._number, path, op, checked, -1)
        self._binding.note(event, (path[0],))
        seq = run.record(event, size_of(checked) + 16)
        return seq

    def record_proposal(
        self, fields: dict[str, Any], strategy: str, parents: list[int], sources: list[str]
    ) -> int:
        """Record and write an optimizer's proposal.

        Raises:
            SchemaMismatch: A field does not fit; nothing is written then.
        """
        self._enter(current.get(process_scope), writing=True)
        checked = self._validator.check_update(fields, self._where)
        run = self._run
        event = e.CandidateProposed(*run.stamp(), self._number, checked, strategy, parents, sources)
        seq = run.record(event, _size(checked) + 64)
        self._binding.note(event, None)
        return seq

    # --- trainability --------------------------------------------------------------------------

    @property
    def trainable(self) -> bool:
        """Whether optimizers may rewrite it: asked for, able to, not frozen itself and nothing above it frozen.

        Setting it sets the variable's own flag; a frozen module above goes on holding it.
        """
        return self.own_trainable and not self._frozen_by

    @trainable.setter
    def trainable(self, value: bool) -> None:
        if not isinstance(value, bool):
            raise WrongType(f"cannot set trainable of {self._where} to {value!r}: pass True or False")
        own, before = value and self.eligible, self.own_trainable
        self.requested = self.requested or value
        self.own_trainable = own
        if own != before:
            self._record_trainability("thawed itself" if own else "frozen itself")

    def freeze(self, by: object) -> None:
        """Hold it frozen on behalf of `by` (a module); its own flag survives."""
        before = self.trainable
        self._frozen_by[id(by)] = by
        if before:
            self._record_trainability(f"frozen by {getattr(by, 'name', by)!r}")

    def thaw(self, by: object) -> None:
        """Let go of what `freeze` held."""
        if self._frozen_by.pop(id(by), None) is not None and self.trainable:
            self._record_trainability(f"thawed by {getattr(by, 'name', by)!r}")

    def _record_trainability(self, reason: str) -> None:
        run = self._run
        if run.writable and run.usable and run.owns(self._path, self):
            stamp = run.stamp()
            run.record(
                e.TrainabilityChanged(*stamp, self._number, self.trainable, self.own_trainable, reason)
            )

    # --- as a data model -----------------------------------------------------------------------

    def to_json_data_model(self, name: str | None = None) -> Any:
        """Return the present value as a JsonDataModel; one read of the whole is recorded."""
        from eventcore.models.json_data_model import JsonDataModel

        return JsonDataModel(schema=self.get_schema(), json=self._whole(), name=name or self._name)

    def to_symbolic_data_model(self, name: str | None = None) -> Any:
        """Return its schema as a SymbolicDataModel."""
        from eventcore.models.symbolic import SymbolicDataModel

        return SymbolicDataModel(schema=self.get_schema(), name=name or self._name)


def _size(payload: dict[str, Any]) -> int:
    size = 0
    for field, value in payload.items():
        size += len(field) + size_of(value)
    return size


def _keep(value: Any, container: Any) -> Any:
    return value
