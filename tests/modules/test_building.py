"""`build` runs once, on the first call, with a schema; then the module is locked."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import pytest

import eventcore as ec
from eventcore.errors import InvalidValue, TracingError, TrackerLocked
from tests.modules.samples import Add, Counter, Greet, Greeting, Mirror, Name, Number


def locks(run: ec.Run) -> list[str]:
    return [cast("Any", event).module for _, event in run.events(kind="TrackerLocked")]


def test_build_is_given_the_json_schema_of_the_input() -> None:
    mirror = Mirror()
    ec.wait(mirror(Name(name="a")))
    assert mirror.seen_schema == Name.get_schema() and mirror.built


def test_build_runs_once_for_data_and_for_symbolic_input_alike() -> None:
    eager, symbolic = Mirror(), Mirror()
    ec.wait(eager(Name(name="a")))
    ec.wait(eager(Name(name="b")))
    ec.wait(symbolic(ec.Input(data_model=Name)))
    ec.wait(symbolic(Name(name="c")))
    assert (eager.builds, symbolic.builds) == (1, 1)
    assert eager.last.get_json() == {"name": "b"} and symbolic.last.get_json() == {"name": "c"}


@pytest.mark.parametrize("given", [Name, Name(name="a"), Name.get_schema(), Name.to_symbolic_data_model()])
def test_build_may_be_called_with_anything_that_has_a_schema(given: Any) -> None:
    mirror = Mirror()
    ec.wait(mirror.build(given))
    assert mirror.seen_schema["properties"] == Name.get_schema()["properties"]
    ec.wait(mirror(Name(name="a")))
    assert mirror.builds == 1


def test_a_plain_build_is_as_good_as_an_async_one() -> None:
    class Plain(ec.Module):
        def build(self, input_schema: Any) -> None:  # type: ignore[override]
            self.state = self.add_variable(data_model=Counter)

        def call(self, inputs: Any) -> Any:
            return inputs

    plain = Plain()
    ec.wait(plain(Name(name="a")))
    assert len(plain.variables) == 1


def test_several_inputs_give_build_the_schemas_in_their_structure() -> None:
    class Many(ec.Module):
        def build(self, input_schema: Any) -> None:  # type: ignore[override]
            self.schema = input_schema

        def call(self, *inputs: Any, **named: Any) -> Any:
            return None

    name, number = Name(name="a"), Number()
    for args, kwargs, expected in [
        (([name, number],), {}, [Name, Number]),
        ((name, number), {}, [Name, Number]),
        (({"x": name, "y": number},), {}, {"x": Name, "y": Number}),
        ((), {"x": name, "flag": True}, {"x": Name}),
        (((name, None),), {}, [Name, None]),
    ]:
        module = Many()
        ec.wait(module(*args, **kwargs))
        schemas = module.schema
        items = schemas.items() if isinstance(schemas, dict) else enumerate(schemas)
        assert len(schemas) == len(expected)
        for key, schema in items:
            model = expected[key]  # type: ignore[index]
            assert schema == (None if model is None else model.get_schema())


def test_super_build_runs_the_build_of_the_base_class_once() -> None:
    class Deeper(Mirror):
        async def build(self, input_schema: Any) -> None:
            await super().build(input_schema)
            self.more = self.add_variable(data_model=Counter, name="more")

    deeper = Deeper()
    ec.wait(deeper(Name(name="a")))
    assert deeper.builds == 1 and [v.name for v in deeper.variables] == ["last_deeper", "more"]


def test_a_build_that_asks_for_inputs_is_given_symbolic_ones() -> None:
    class Asks(ec.Module):
        async def build(self, inputs: Any) -> None:
            self.seen = inputs

        def call(self, inputs: Any) -> Any:
            return inputs

    asks = Asks()
    ec.wait(asks(Name(name="a")))
    assert isinstance(asks.seen, ec.SymbolicDataModel) and asks.seen.keys() == ["name"]


def test_calls_that_arrive_together_build_once_and_wait_for_it() -> None:
    events: dict[str, asyncio.Event] = {}

    class Slow(Mirror):
        async def build(self, input_schema: Any) -> None:
            events["started"].set()
            await events["release"].wait()
            await super().build(input_schema)

    slow = Slow()

    async def main() -> None:
        events.update(started=asyncio.Event(), release=asyncio.Event())
        started, release = events["started"], events["release"]
        calls = [asyncio.ensure_future(slow(Name(name=str(n)))) for n in range(5)]
        await started.wait()
        await asyncio.sleep(0)
        assert not any(call.done() for call in calls)
        release.set()
        assert [out.get("name") for out in await asyncio.gather(*calls)] == list("01234")

    asyncio.run(main())
    assert slow.builds == 1


def test_a_build_cancelled_by_one_caller_is_done_by_the_next() -> None:
    events: dict[str, asyncio.Event] = {}

    class Slow(Mirror):
        async def build(self, input_schema: Any) -> None:
            self.kept = self.add_variable(data_model=Counter, name="kept")
            await events["release"].wait()
            await super().build(input_schema)

    slow = Slow()

    async def main() -> None:
        release = events["release"] = asyncio.Event()
        first = asyncio.ensure_future(slow(Name(name="1")))
        await asyncio.sleep(0)
        second = asyncio.ensure_future(slow(Name(name="2")))
        await asyncio.sleep(0)
        first.cancel()
        release.set()
        assert (await second).get("name") == "2"
        assert first.cancelled()

    asyncio.run(main())
    assert [v.name for v in slow.variables] == ["kept", "last_slow"]


def test_a_build_that_fails_leaves_the_module_as_it_was_and_may_be_tried_again() -> None:
    class Flaky(ec.Module):
        tries = 0

        async def build(self, input_schema: Any) -> None:
            Flaky.tries += 1
            self.state = self.add_variable(data_model=Counter, name="state")
            if Flaky.tries == 1:
                raise ConnectionError("no")

        def call(self, inputs: Any) -> Any:
            return inputs

    flaky = Flaky()
    with pytest.raises(ConnectionError):
        ec.wait(flaky(Name(name="a")))
    assert not flaky.built and flaky.variables == [] and not hasattr(flaky, "state")
    ec.wait(flaky(Name(name="a")))
    assert [v.name for v in flaky.variables] == ["state"]


def test_a_build_that_calls_its_own_module_is_told_so() -> None:
    class Loop(ec.Module):
        async def build(self, input_schema: Any) -> None:
            await self(Name(name="a"))

    with pytest.raises(InvalidValue, match="inside its own `build`"):
        ec.wait(Loop()(Name(name="a")))


def test_every_module_locks_after_its_first_call_with_or_without_a_build(run: ec.Run) -> None:
    outer = Outer()
    ec.wait(outer(Name(name="a")))
    for module in (outer, outer.inner, outer.inner.inner):
        with pytest.raises(TrackerLocked, match=r"Create variables in `__init__` or `build`"):
            module.add_variable(data_model=Counter, name="late")
    assert locks(run) == ["outer", "outer/middle", "outer/middle/greet"]


class Middle(ec.Module):
    def __init__(self) -> None:
        super().__init__()
        self.inner = Greet()

    async def call(self, inputs: Any) -> Any:
        return await self.inner(inputs)


class Outer(ec.Module):
    def __init__(self) -> None:
        super().__init__()
        self.inner = Middle()

    async def call(self, inputs: Any) -> Any:
        return await self.inner(inputs)


def test_a_symbolic_call_locks_too(run: ec.Run) -> None:
    greet = Greet()
    ec.wait(greet(ec.Input(data_model=Name)))
    with pytest.raises(TrackerLocked):
        greet.add_variable(data_model=Counter)
    assert locks(run) == ["greet"]


def test_call_itself_may_not_add_variables() -> None:
    class Late(ec.Module):
        def call(self, inputs: Any) -> Any:
            self.add_variable(data_model=Counter)

    with pytest.raises(TrackerLocked):
        ec.wait(Late()(Name(name="a")))


class Branching(ec.Module):
    """Calls one of two modules that create their variables in `build`."""

    def __init__(self) -> None:
        super().__init__()
        self.short = Mirror(name="short")
        self.long = Mirror(name="long")

    async def call(self, inputs: Any) -> Any:
        return await (self.short if len(inputs.get("name")) < 3 else self.long)(inputs)


def test_a_branch_not_traced_is_built_by_the_first_call_on_data() -> None:
    branching = Branching()
    ec.wait(branching(ec.Input(data_model=Name)))
    assert branching.short.built and not branching.long.built
    ec.wait(branching(Name(name="long enough")))
    assert branching.long.built and len(branching.variables) == 2


def test_a_branch_first_taken_after_a_call_on_data_may_not_add_variables() -> None:
    branching = Branching()
    ec.wait(branching(Name(name="a")))
    with pytest.raises(
        TrackerLocked, match=r"'branching', which contains it, has been called.*await module.build\(schema\)"
    ):
        ec.wait(branching(Name(name="long enough")))
    assert [v.name for v in branching.variables] == ["last_short"]


def test_a_branch_built_beforehand_is_welcome_at_any_time() -> None:
    branching = Branching()
    ec.wait(branching.long.build(Name))
    ec.wait(branching(Name(name="a")))
    assert ec.wait(branching(Name(name="long enough"))).get("name") == "long enough"


def test_calls_in_flight_build_their_branches_before_the_set_is_final() -> None:
    events: dict[str, asyncio.Event] = {}

    class Waits(Branching):
        async def call(self, inputs: Any) -> Any:
            arrived.append(inputs)
            if len(arrived) == 2:
                events["both"].set()
            await events["both"].wait()
            return await super().call(inputs)

    branching = Waits()

    async def main() -> None:
        events["both"] = asyncio.Event()
        await asyncio.gather(branching(Name(name="a")), branching(Name(name="long enough")))

    arrived: list[Any] = []
    asyncio.run(main())
    assert len(branching.variables) == 2


# --- paths ---------------------------------------------------------------------------------------


class Parent(ec.Module):
    def __init__(self, name: str | None = None) -> None:
        super().__init__(name=name)
        self.child = Greet(name="child")

    async def build(self, input_schema: Any) -> None:
        self.made = Mirror(name="made")
        await self.made.build(input_schema)
        self.own = self.add_variable(data_model=Counter, name="own")

    async def call(self, inputs: Any) -> Any:
        return await self.child(await self.made(inputs))


def test_paths_lead_through_the_modules_above() -> None:
    parent = Parent()
    ec.wait(parent(Name(name="a")))
    assert [v.path for v in parent.variables] == [
        "parent/own",
        "parent/child/persona_child",
        "parent/child/counter_child",
        "parent/made/last_made",
    ]
    assert (parent.path, parent.child.path, parent.made.path) == ("parent", "parent/child", "parent/made")


def test_two_instances_of_a_class_have_paths_of_their_own() -> None:
    one, two = Parent(), Parent()
    ec.wait(one(Name(name="a")))
    ec.wait(two(Name(name="a")))
    assert two.path == "parent_1" and not {v.path for v in one.variables} & {v.path for v in two.variables}


def test_concurrent_builds_do_not_mix_their_scopes() -> None:
    class Slow(ec.Module):
        async def build(self, input_schema: Any) -> None:
            for number in range(3):
                await asyncio.sleep(0)
                inner = Mirror(name=f"inner_{number}")
                await inner.build(input_schema)
                setattr(self, inner.name, inner)

        def call(self, inputs: Any) -> Any:
            return inputs

    modules = [Slow(name=f"slow_{n}") for n in range(8)]

    async def main() -> None:
        await asyncio.gather(*(module(Name(name="a")) for module in modules))

    asyncio.run(main())
    for module in modules:
        assert [v.path for v in module.variables] == [
            f"{module.name}/inner_{n}/last_inner_{n}" for n in range(3)
        ]


def test_a_name_scope_around_a_module_is_part_of_its_path() -> None:
    with ec.name_scope("team"):
        greet = Greet()
    assert greet.path == "team/greet" and greet.variables[0].path == "team/greet/persona_greet"


def test_a_variable_cannot_be_made_while_call_is_traced() -> None:
    class Makes(ec.Module):
        def call(self, inputs: Any) -> Any:
            ec.Variable(data_model=Counter)
            return Greeting(greeting="")

    with pytest.raises(TracingError) as caught:
        ec.wait(Makes()(ec.Input(data_model=Name)))
    assert isinstance(caught.value.__cause__, TracingError)


def test_modules_without_state_lock_as_well(run: ec.Run) -> None:
    ec.wait(Add()(Number(number=1)))
    assert locks(run) == ["add"]
