"""What a call accepts, what it passes on, and who hears of it."""

from __future__ import annotations

import asyncio
import dataclasses
from typing import Any

import msgspec
import pytest

import eventcore as ec
from eventcore.errors import InvalidValue, SchemaMismatch
from eventcore.modules import current_call
from tests.modules.samples import Add, Greet, Mirror, Name, Number


class Echo(ec.Module):
    """Returns and remembers what it was given."""

    async def call(self, inputs: Any, training: bool = False, **kwargs: Any) -> Any:
        self.seen = (inputs, training, kwargs)
        return inputs


def test_a_data_model_instance_arrives_as_a_json_data_model_named_for_the_module() -> None:
    echo = Echo()
    out = ec.wait(echo(Name(name="a")))
    assert isinstance(out, ec.JsonDataModel) and out.name == "inputs_echo" and out.get_json() == {"name": "a"}


def test_structs_and_dataclasses_are_as_good_as_data_models() -> None:
    class Struct(msgspec.Struct):
        name: str

    @dataclasses.dataclass
    class Record:
        name: str

    for value in (Struct("a"), Record("a")):
        assert ec.wait(Echo()(value)).get_json() == {"name": "a"}


def test_a_plain_dict_is_accepted_once_the_schema_is_known_and_held_against_it() -> None:
    echo = Echo()
    with pytest.raises(InvalidValue, match="not known yet"):
        ec.wait(echo({"name": "a"}))
    ec.wait(echo.build(Name))
    assert ec.wait(echo({"name": "a"})).get("name") == "a"
    with pytest.raises(SchemaMismatch, match="name"):
        ec.wait(echo({"name": 3}))
    with pytest.raises(SchemaMismatch):
        ec.wait(echo({"name": "a", "other": 1}))


def test_lists_tuples_and_dicts_of_data_models_keep_their_shape() -> None:
    echo = Echo()
    out = ec.wait(echo([Name(name="a"), (Number(number=1), None), {"k": Name(name="b")}]))
    assert isinstance(out, list) and isinstance(out[1], tuple)
    assert out[0].get("name") == "a" and out[1][0].get("number") == 1 and out[1][1] is None
    assert out[2]["k"].get("name") == "b"


@pytest.mark.parametrize("bad", ["text", 3, 2.5, True, b"x", object(), Name, [Name(name="a"), 3], {"a": 1}])
def test_anything_else_is_refused_with_what_was_received(bad: Any) -> None:
    with pytest.raises(InvalidValue, match="cannot call Echo 'echo"):
        ec.wait(Echo()(bad))


def test_keyword_arguments_are_passed_on_and_data_models_in_them_converted() -> None:
    echo = Echo()
    ec.wait(echo(Name(name="a"), flag=3, other=Name(name="b"), many=[Name(name="c")]))
    _, _, kwargs = echo.seen
    assert kwargs["flag"] == 3
    assert isinstance(kwargs["other"], ec.JsonDataModel) and isinstance(kwargs["many"][0], ec.JsonDataModel)


def test_inputs_are_held_against_what_the_module_was_built_with() -> None:
    greet = Greet()
    ec.wait(greet(Name(name="a")))
    with pytest.raises(SchemaMismatch, match="without the field 'name'"):
        ec.wait(greet(Number(number=1)))

    class Wrong(ec.DataModel):
        name: int

    with pytest.raises(SchemaMismatch, match="'name' is integer instead of string"):
        ec.wait(greet(Wrong(name=1)))

    class More(ec.DataModel):
        other: int
        name: str

    assert ec.wait(greet(More(other=1, name="b"))).get("greeting") == "[friendly] hello b"


def test_symbolic_inputs_are_held_against_it_too() -> None:
    greet = Greet()
    ec.wait(greet(ec.Input(data_model=Name)))
    with pytest.raises(SchemaMismatch, match="without the field 'name'"):
        ec.wait(greet(ec.Input(data_model=Number)))


def test_a_missing_one_of_several_inputs_is_refused() -> None:
    echo = Echo()
    ec.wait(echo([Name(name="a"), Number()]))
    with pytest.raises(InvalidValue, match="2 data models"):
        ec.wait(echo([Name(name="a")]))
    echo = Echo()
    ec.wait(echo({"x": Name(name="a"), "y": Number()}))
    with pytest.raises(InvalidValue, match="keys x, y"):
        ec.wait(echo({"x": Name(name="a")}))


def test_none_is_passed_to_call_as_the_sign_of_an_inactive_branch() -> None:
    greet = Greet()
    assert ec.wait(greet(None)) is None
    ec.wait(greet(Name(name="a")))
    assert ec.wait(greet(None)) is None
    assert greet.counter.get("count") == 1


def test_a_module_with_a_build_is_not_built_from_none() -> None:
    mirror = Mirror()
    assert ec.wait(mirror(None)) is None and not mirror.built
    assert ec.wait(mirror(Name(name="a"))).get("name") == "a"
    assert ec.wait(mirror(None)) is None


def test_a_call_without_inputs_builds_and_runs() -> None:
    class Clock(ec.Module):
        async def build(self, input_schema: Any) -> None:
            assert input_schema is None
            self.ticks = self.add_variable(data_model=Number, name="ticks")

        async def call(self) -> Any:
            self.ticks.update({"number": self.ticks.get("number") + 1})
            return self.ticks.to_json_data_model()

    clock = Clock()
    ec.wait(clock())
    assert ec.wait(clock()).get("number") == 2


def test_a_variable_may_be_passed_as_the_data_model_it_holds_now() -> None:
    greet = Greet()
    state = greet.add_variable({"name": "Ada"}, Name, name="who")
    assert ec.wait(greet(state)).get("greeting") == "[friendly] hello Ada"


def test_call_may_be_plain_or_async_and_return_any_structure_of_data_models() -> None:
    class Shapes(ec.Module):
        def call(self, inputs: Any) -> Any:
            return {"a": [Name(name="x")], "b": (None, Number(number=1))}

    out = ec.wait(Shapes()(Name(name="a")))
    assert out["a"][0].name == "outputs_shapes" and out["b"][0] is None and out["b"][1].get("number") == 1


@pytest.mark.parametrize("bad", ["text", 3, [1], {"greeting": "hello"}, Name])
def test_call_returning_anything_else_is_an_error_naming_the_module(bad: Any) -> None:
    class Bad(ec.Module):
        def call(self, inputs: Any) -> Any:
            return bad

    with pytest.raises(InvalidValue, match="`call` of Bad 'bad'"):
        ec.wait(Bad()(Name(name="a")))


def test_a_class_without_call_says_so() -> None:
    class Nothing(ec.Module):
        pass

    with pytest.raises(InvalidValue, match="Nothing: the class has no `call`"):
        ec.wait(Nothing()(Name(name="a")))


# --- training ------------------------------------------------------------------------------------


class Nest(ec.Module):
    def __init__(self, inner: ec.Module) -> None:
        super().__init__()
        self.inner = inner

    async def call(self, inputs: Any) -> Any:
        return await self.inner(inputs)


def test_training_is_what_was_said_here_else_what_was_said_above_else_the_default() -> None:
    echo = Echo()
    ec.wait(echo(Name(name="a")))
    assert echo.seen[1] is False
    ec.wait(echo(Name(name="a"), training=True))
    assert echo.seen[1] is True
    nest = Nest(echo)
    ec.wait(nest(Name(name="a"), training=True))
    assert echo.seen[1] is True
    ec.wait(nest(Name(name="a")))
    assert echo.seen[1] is False

    class Overrides(Nest):
        async def call(self, inputs: Any) -> Any:
            return await self.inner(inputs, training=False)

    ec.wait(Overrides(echo)(Name(name="a"), training=True))
    assert echo.seen[1] is False


def test_training_is_not_forced_on_a_call_that_does_not_take_it() -> None:
    assert ec.wait(Add()(Number(number=1), training=True)).get("number") == 2


def test_concurrent_calls_have_contexts_of_their_own() -> None:
    class Asks(ec.Module):
        async def call(self, inputs: Any, training: bool = False) -> Any:
            await asyncio.sleep(0)
            context = current_call()
            assert context is not None and context.module is self and context.training is training
            return Number(number=int(training))

    asks = Asks()

    async def main() -> None:
        nest = Nest(asks)
        out = await asyncio.gather(*(nest(Number(number=n), training=n % 2 == 0) for n in range(6)))
        assert [o.get("number") for o in out] == [1, 0, 1, 0, 1, 0]

    asyncio.run(main())
    assert current_call() is None


# --- hooks ---------------------------------------------------------------------------------------


class Listener(ec.Hook):
    def __init__(self) -> None:
        self.heard: list[tuple[Any, ...]] = []

    def on_call_begin(self, call_id: Any, parent_call_id: Any, inputs: Any, kwargs: Any) -> None:
        self.heard.append(("begin", call_id, parent_call_id, inputs, dict(kwargs)))

    def on_call_end(self, call_id: Any, parent_call_id: Any, outputs: Any, exception: Any) -> None:
        self.heard.append(("end", call_id, parent_call_id, outputs, exception))


def test_hooks_hear_begin_and_end_with_the_ids_of_the_call_and_its_parent() -> None:
    inner, outer = Listener(), Listener()
    echo = Echo()
    echo.add_hook(inner)
    nest = Nest(echo)
    nest.add_hook(outer)
    assert inner.module is echo
    given = Name(name="a")
    out = ec.wait(nest(given))
    (begin, end), (inner_begin, inner_end) = outer.heard, inner.heard
    assert begin[0] == "begin" and begin[2] is None and begin[3] is given and begin[4] == {}
    assert end == ("end", begin[1], None, out, None)
    assert inner_begin[2] == begin[1] and inner_end[1] == inner_begin[1] != begin[1]


def test_hooks_hear_of_an_exception_and_it_goes_on() -> None:
    class Fails(ec.Module):
        def call(self, inputs: Any) -> Any:
            raise LookupError("no")

    listener = Listener()
    fails = Fails(hooks=[listener])
    with pytest.raises(LookupError):
        ec.wait(fails(Name(name="a")))
    assert isinstance(listener.heard[1][4], LookupError) and listener.heard[1][3] is None


def test_hooks_do_not_hear_of_tracing() -> None:
    inner, outer = Listener(), Listener()
    echo = Echo(hooks=[inner])
    nest = Nest(echo)
    nest.add_hook(outer)
    ec.wait(nest(ec.Input(data_model=Name)))
    assert inner.heard == [] and len(outer.heard) == 2


def test_something_that_is_no_hook_is_refused() -> None:
    with pytest.raises(TypeError, match="on_call_begin"):
        Echo(hooks=[object()])


# --- where it is recorded ------------------------------------------------------------------------


def test_a_program_built_before_the_run_is_recorded_in_the_run_that_is_current_when_it_is_called(
    run: ec.Run,
) -> None:
    nest = Nest(Greet())
    ec.wait(nest(Name(name="a")))
    store = ec.open("memory:")
    with store.run("later") as later:
        ec.wait(nest(Name(name="b")))
        kinds = [type(event).__name__ for _, event in later.events()]
        assert kinds.count("VariableDeclared") == 2 and kinds.count("TrackerLocked") == 2
        assert {v.run for v in nest.variables} == {later}
        assert later.state.variables["greet/counter_greet"] == {"count": 2}
        ec.wait(nest(Name(name="c")))
        kinds = [type(event).__name__ for _, event in later.events()]
        assert kinds.count("VariableDeclared") == 2 and kinds.count("TrackerLocked") == 2
    assert run.state.variables["greet/counter_greet"] == {"count": 1}
    store.close()
