"""The fold: live, replayed, from any snapshot and through any fork, the values are the same (I1, I2, I3, I4).

The model is a list of plain dicts, one per seq, changed by the methods Python's own lists and dicts have. It shares
no line with the engine: not the events' meaning, not the copying, not the digest.
"""

from __future__ import annotations

import copy
import json
import tempfile
from pathlib import Path
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from eventcore.history import events as e
from eventcore.history import patches as p
from eventcore.history import store as stores
from eventcore.history.backend import StoredSnapshot
from eventcore.history.run import Run
from eventcore.history.scope import process_scope
from eventcore.history.state import State
from tests.history.jsonvalues import objects, same, text, values

Values = dict[str, Any]


class Owner:
    """What a variable would be to the run: somebody who lives at a path."""


class World:
    """One run and what the model says of it: the values of all variables after each seq, from 0 on."""

    def __init__(self, run: Run, past: list[Values]) -> None:
        self.run = run
        self.past = past
        self.numbers: dict[str, int] = {}
        self.owners: dict[str, Owner] = {}
        self.note()

    @property
    def now(self) -> Values:
        return self.past[-1]

    def note(self) -> None:
        """Take note that whatever was appended since changed nothing."""
        while len(self.past) <= self.run.head:
            self.past.append(self.past[-1])

    def record(self, event: e.Event, after: Values) -> None:
        seq = self.run.record(event, 64)
        assert seq == len(self.past)
        self.past.append(after)


def containers(value: Any, path: tuple[str | int, ...] = ()) -> list[tuple[tuple[str | int, ...], Any]]:
    found: list[tuple[tuple[str | int, ...], Any]] = []
    if isinstance(value, (dict, list)):
        found.append((path, value))
        for step, item in value.items() if isinstance(value, dict) else enumerate(value):
            found += containers(item, (*path, step))
    return found


@st.composite
def changes(draw: st.DrawFn, place: Any) -> tuple[int, list[Any]]:
    """One in-place change that `place` allows; carried out on it here, by its own methods."""
    if isinstance(place, dict):
        allowed = [p.SET, p.MERGE, p.CLEAR]
    else:
        allowed = [p.APPEND, p.EXTEND, p.INSERT, p.SPLICE, p.REORDER, p.REPEAT, p.DROP, p.CLEAR]
    if place:
        allowed += [p.DELETE] if isinstance(place, dict) else [p.SET, p.DELETE]
    op: int = draw(st.sampled_from(allowed))
    args = draw(_arguments(place, op))
    _carry_out(place, op, copy.deepcopy(args))
    return op, args


def _arguments(place: Any, op: int) -> st.SearchStrategy[list[Any]]:
    size = len(place)
    ends = st.none() | st.integers(-size - 1, size + 1)
    steps = st.sampled_from([1, 1, 2, -1, -2])
    several = st.lists(values, max_size=3)
    if isinstance(place, dict):
        keys = st.sampled_from(sorted(place)) if place else text
        by_op: dict[int, st.SearchStrategy[list[Any]]] = {
            p.SET: st.tuples(text, values).map(list),
            p.MERGE: objects.map(lambda changed: [changed]),
            p.CLEAR: st.just([]),
            p.DELETE: keys.map(lambda key: [key]),
        }
        return by_op[op]
    index = st.integers(0, max(0, size - 1))
    by_op = {
        p.APPEND: values.map(lambda value: [value]),
        p.EXTEND: several.map(lambda items: [items]),
        p.INSERT: st.tuples(st.integers(0, size), values).map(list),
        p.SPLICE: st.tuples(ends, ends, st.just(1), several).map(list),
        p.REORDER: st.permutations(range(size)).map(lambda order: [list(order)]),
        p.REPEAT: st.integers(-1, 3 if size < 8 else 1).map(lambda times: [times]),
        p.DROP: st.tuples(ends, ends, steps).map(list),
        p.CLEAR: st.just([]),
        p.SET: st.tuples(index, values).map(list),
        p.DELETE: index.map(lambda place: [place]),
    }
    return by_op[op]


def _carry_out(place: Any, op: int, args: list[Any]) -> None:
    if op == p.SET:
        place[args[0]] = args[1]
    elif op == p.MERGE:
        place.update(args[0])
    elif op == p.DELETE:
        del place[args[0]]
    elif op == p.CLEAR:
        place.clear()
    elif op == p.APPEND:
        place.append(args[0])
    elif op == p.EXTEND:
        place.extend(args[0])
    elif op == p.INSERT:
        place.insert(*args)
    elif op == p.SPLICE:
        place[args[0] : args[1]] = args[3]
    elif op == p.REORDER:
        place[:] = [place[old] for old in args[0]]
    elif op == p.REPEAT:
        place[:] = [copy.deepcopy(item) for _ in range(args[0]) for item in place]
    elif op == p.DROP:
        del place[args[0] : args[1] : args[2]]


def plain(state: State) -> Values:
    return {path: state.variables[path] for path in state.names()}


def canonical(value: Any) -> str:
    return json.dumps(value, sort_keys=True)


class FoldMachine(RuleBasedStateMachine):
    """Runs and forks of one store under random events, snapshots, damage and reopening."""

    kind = "memory"

    @initialize()
    def begin(self) -> None:
        process_scope.run = None
        self.folder = tempfile.TemporaryDirectory()
        place = "memory:" if self.kind == "memory" else f"{self.kind}:{Path(self.folder.name) / 'store'}"
        self.store = stores.open(place)
        self.worlds = [World(self.store.run("main"), [{}])]
        self.declare_in(self.worlds[0], "a", {"x": [1, {"y": 2}]})

    def teardown(self) -> None:
        self.store.close()
        process_scope.run = None
        self.folder.cleanup()

    def world(self, data: st.DataObject) -> World:
        return data.draw(st.sampled_from(self.worlds))

    def variable(self, data: st.DataObject) -> tuple[World, str]:
        world = data.draw(st.sampled_from([world for world in self.worlds if world.numbers]))
        return world, data.draw(st.sampled_from(sorted(world.numbers)))

    @rule(data=st.data(), path=st.sampled_from(["a", "m/a", "m/b", "n/a"]), value=objects, some=st.booleans())
    def declare(self, data: st.DataObject, path: str, value: dict[str, Any], some: bool) -> None:
        self.declare_in(self.world(data), path, {**value, "current_predictions": []} if some else value)

    def declare_in(self, world: World, path: str, value: dict[str, Any]) -> None:
        world.owners[path] = owner = Owner()  # the one before is gone
        number = world.run.state.next_number
        event = e.VariableDeclared(
            *world.run.stamp(),
            number,
            path,
            {"type": "object"},
            copy.deepcopy(value),
            True,
            True,
            None,
            None,
            "",
            -1,
        )
        world.numbers[path] = world.run.declare(owner, event).number
        world.past.append({**{k: v for k, v in world.now.items() if k != path}, path: value})

    @rule(data=st.data(), payload=objects)
    def update(self, data: st.DataObject, payload: dict[str, Any]) -> None:
        world, path = self.variable(data)
        event = e.VariableUpdated(*world.run.stamp(), world.numbers[path], payload, -1)
        world.record(event, {**world.now, path: {**world.now[path], **payload}})

    @rule(data=st.data(), value=objects)
    def assign(self, data: st.DataObject, value: dict[str, Any]) -> None:
        world, path = self.variable(data)
        event = e.VariableAssigned(*world.run.stamp(), world.numbers[path], value, -1)
        world.record(event, {**world.now, path: value})

    @rule(data=st.data())
    def patch(self, data: st.DataObject) -> None:
        world, path = self.variable(data)
        value = copy.deepcopy(world.now[path])
        steps, place = data.draw(st.sampled_from(containers(value)))
        op, args = data.draw(changes(place))
        event = e.ValuePatched(*world.run.stamp(), world.numbers[path], list(steps), op, args, -1)
        world.record(event, {**world.now, path: value})

    @rule(data=st.data(), record=objects, rollout=st.none() | text)
    def predict(self, data: st.DataObject, record: dict[str, Any], rollout: str | None) -> None:
        world, path = self.variable(data)
        before = world.now[path].get("current_predictions")
        if not isinstance(before, list):
            return
        event = e.PredictionAppended(1, rollout, 0, world.numbers[path], record, -1)
        after = {**world.now[path], "current_predictions": [*before, record]}
        world.record(event, {**world.now, path: after})

    @rule(data=st.data(), value=values)
    def edit_from_outside(self, data: st.DataObject, value: Any) -> None:
        world, path = self.variable(data)
        changed = copy.deepcopy(world.now[path])
        places = [(steps, place) for steps, place in containers(changed) if place]
        if not places:
            return
        steps, place = data.draw(st.sampled_from(places))
        last = data.draw(st.sampled_from(sorted(place) if isinstance(place, dict) else range(len(place))))
        place[last] = copy.deepcopy(value)
        event = e.EditedFromOutside(*world.run.stamp(), world.numbers[path], [*steps, last], value, "by hand")
        world.record(event, {**world.now, path: changed})

    @rule(data=st.data())
    def read(self, data: st.DataObject) -> None:
        world, path = self.variable(data)
        world.run.record_read(world.numbers[path], "x", None, 0)
        world.note()

    @rule(data=st.data())
    def lock_and_label(self, data: st.DataObject) -> None:
        world = self.world(data)
        world.record(e.TrackerLocked(*world.run.stamp(), "m"), world.now)
        world.record(e.LabelSet(*world.run.stamp(), "good", world.run.head), world.now)

    @rule(data=st.data())
    def flush(self, data: st.DataObject) -> None:
        run = self.world(data).run
        assert run.flush() == run.head == run.durable

    @rule(data=st.data())
    def snapshot(self, data: st.DataObject) -> None:
        run = self.world(data).run
        assert run.snapshot() == run.head
        assert run.head in self.store.backend.snapshot_seqs(run.number)

    @rule(data=st.data())
    def lose_all_snapshots(self, data: st.DataObject) -> None:
        run = self.world(data).run
        for seq in self.store.backend.snapshot_seqs(run.number):
            self.store.backend.drop_snapshot(run.number, seq)

    @rule(data=st.data(), garbage=st.binary(max_size=30), flip=st.booleans())
    def damage_a_snapshot(self, data: st.DataObject, garbage: bytes, flip: bool) -> None:
        run, backend = self.world(data).run, self.store.backend
        seqs = backend.snapshot_seqs(run.number)
        if not seqs:
            return
        run.flush()
        seq = data.draw(st.sampled_from(seqs))
        row = self.store.row(run.number)
        stored = backend.snapshot(run.number, seq)
        assert stored is not None
        if flip and stored.data:
            place = data.draw(st.integers(0, len(stored.data) - 1))
            garbage = stored.data[:place] + bytes([stored.data[place] ^ 4]) + stored.data[place + 1 :]
        backend.append(run.number, row.head, row.epoch, (), StoredSnapshot(seq, garbage))

    @precondition(lambda self: len(self.worlds) < 4)
    @rule(data=st.data())
    def fork(self, data: st.DataObject) -> None:
        world = self.world(data)
        at = data.draw(st.integers(0, world.run.head))
        child = World(world.run.fork(at=at), world.past[: at + 1])
        child.numbers = {path: child.run.state.slot(path).number for path in child.now}
        assert (child.run.forked_at, child.run.parent and child.run.parent.name) == (at, world.run.name)
        self.worlds.append(child)

    @precondition(lambda self: self.kind != "memory")
    @rule()
    def reopen(self) -> None:
        self.store.close()
        self.store = stores.open(self.store.url)
        for world in self.worlds:
            world.run = self.store.reopen(world.run.name)
            world.note()

    @rule(data=st.data())
    def look_back(self, data: st.DataObject) -> None:
        world = self.world(data)
        seq = data.draw(st.integers(0, world.run.head))
        state = world.run.at(seq)
        assert same(_sorted(plain(state)), _sorted(world.past[seq]))
        other = data.draw(st.integers(0, world.run.head))
        equal = canonical(world.past[seq]) == canonical(world.past[other])
        assert (state.digest == world.run.at(other).digest) == equal

    @invariant()
    def live_equals_the_model(self) -> None:
        for world in getattr(self, "worlds", ()):
            assert world.run.head == len(world.past) - 1
            assert same(_sorted(plain(world.run.state)), _sorted(world.now))

    @invariant()
    def live_has_the_digest_of_the_log(self) -> None:
        for world in getattr(self, "worlds", ())[-1:]:
            assert world.run.state.digest == world.run.at(world.run.head).digest


def _sorted(value: Any) -> Any:
    """The same JSON with its keys in order: a dict of JSON has none."""
    if isinstance(value, dict):
        return {key: _sorted(value[key]) for key in sorted(value)}
    return [_sorted(item) for item in value] if isinstance(value, list) else value


class MemoryMachine(FoldMachine):
    kind = "memory"


class LmdbMachine(FoldMachine):
    kind = "lmdb"


class SqliteMachine(FoldMachine):
    kind = "sqlite"


TestFoldInMemory = MemoryMachine.TestCase
TestFoldInMemory.settings = settings(max_examples=40, stateful_step_count=40)
TestFoldInLmdb = LmdbMachine.TestCase
TestFoldInLmdb.settings = settings(max_examples=10, stateful_step_count=30)
TestFoldInSqlite = SqliteMachine.TestCase
TestFoldInSqlite.settings = settings(max_examples=6, stateful_step_count=30)
