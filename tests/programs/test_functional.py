"""Programs made of graphs: any order, any number of inputs and outputs, checked against their schemas."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

import eventcore as ec
from eventcore.errors import DuplicateName, GraphError, InvalidValue, SchemaMismatch
from eventcore.programs import Functional
from tests.modules.samples import Add, Greet, Greeting, Mirror, Name, Number


class Left(ec.DataModel):
    left: int = 0


class Right(ec.DataModel):
    right: int = 0


class Both(ec.Module):
    """Says what it was given."""

    def call(self, inputs: Any) -> Any:
        return None if inputs is None else Greeting(greeting=str(inputs.get_json()))


def greeting_program(**options: Any) -> Any:
    x = ec.Input(data_model=Name, name="who")
    return ec.Program(inputs=x, outputs=ec.wait(Greet()(x)), **options)


def test_program_with_inputs_and_outputs_is_a_functional() -> None:
    x = ec.Input(data_model=Name)
    y = ec.wait(Greet()(x))
    for program in (ec.Program(inputs=x, outputs=y), ec.Program(x, y), ec.Program(x, outputs=y)):
        assert isinstance(program, Functional) and program.description
    assert ec.Program(x, y).name == "functional_3"


def test_a_program_gives_its_description_name_and_parts() -> None:
    program = greeting_program(name="greeter", description="Greets.", trainable=False)
    assert (program.name, program.description, program.trainable) == ("greeter", "Greets.", False)
    assert [module.name for module in program.modules] == ["who", "greet"]
    assert program.get_module(name="greet") is program.get_module(index=1)
    assert program.input_schema == Name.get_schema() and program.output_schema == Greeting.get_schema()
    assert program.input_names == ["who"] and program.output_names == ["greet"]
    assert [x.name for x in program.inputs] == ["who"] and len(program.outputs) == 1
    assert program.trainable_variables == [] and len(program.variables) == 2
    with pytest.raises(InvalidValue, match="who, greet"):
        program.get_module(name="nothing")
    with pytest.raises(AttributeError):
        program.modules = []


@pytest.mark.parametrize("data", [Name(name="Ada"), {"name": "Ada"}, [Name(name="Ada")], [{"name": "Ada"}]])
def test_a_single_input_may_be_a_data_model_a_dict_or_alone_in_a_list(data: Any) -> None:
    assert ec.wait(greeting_program()(data)).get_json() == {"greeting": "[friendly] hello Ada"}


def test_inputs_are_checked_against_the_schema_on_data_and_on_symbolic_input() -> None:
    program = greeting_program()
    misfits: list[Any] = [Number(number=1), {"number": 1}, {"name": 1}, ec.Input(data_model=Number)]
    for bad in misfits:
        with pytest.raises(SchemaMismatch, match="name"):
            ec.wait(program(bad))
    for bad in ([Name(name="a"), Name(name="b")], "text", 3, Name):
        with pytest.raises(InvalidValue):
            ec.wait(program(bad))


def test_no_input_gives_no_output() -> None:
    program = greeting_program()
    ec.wait(program(Name(name="a")))
    assert ec.wait(program(None)) is None


def test_several_inputs_come_as_a_list_a_tuple_or_by_name() -> None:
    a, b = ec.Input(data_model=Left, name="a"), ec.Input(data_model=Right, name="b")
    program = ec.Program(inputs=[a, b], outputs=ec.wait(Both()(a + b)))
    expected = str({"left": 1, "right": 2})
    left, right = Left(left=1), Right(right=2)
    for data in (
        [left, right],
        (left, right),
        {"a": left, "b": right},
        {"b": {"right": 2}, "a": {"left": 1}},
        [{"left": 1}, right],
    ):
        assert ec.wait(program(data)).get("greeting") == expected
    for bad in (
        [left],
        left,
        [left, right, right],
        {"a": left},
        {"a": left, "c": right},
        {"a": left, "b": right, "c": left},
    ):
        with pytest.raises(InvalidValue):
            ec.wait(program(bad))
    with pytest.raises(SchemaMismatch, match="left"):
        ec.wait(program([right, left]))


def test_inputs_and_outputs_may_be_dicts() -> None:
    a, b = ec.Input(data_model=Left, name="a"), ec.Input(data_model=Right, name="b")
    program = ec.Program(inputs={"a": a, "b": b}, outputs={"sum": a + b, "first": ec.wait(Both()(a))})
    out = ec.wait(program({"a": Left(left=1), "b": Right(right=2)}))
    assert out.keys() == {"sum", "first"} and out["sum"].get_json() == {"left": 1, "right": 2}
    assert program.output_schema.keys() == {"sum", "first"}
    with pytest.raises(InvalidValue, match="b missing"):
        ec.wait(program({"a": Left(left=1)}))


def test_several_outputs_come_in_the_structure_they_were_given_in() -> None:
    x = ec.Input(data_model=Number)
    one, two = ec.wait(Add(1, name="one")(x)), ec.wait(Add(2, name="two")(x))
    out = ec.wait(ec.Program(inputs=x, outputs=[one, two])(Number(number=1)))
    assert [o.get("number") for o in out] == [2, 3]
    assert ec.wait(ec.Program(inputs=x, outputs=[one])(Number(number=1))).get("number") == 2
    assert ec.wait(ec.Program(inputs=x, outputs={"o": one})(Number(number=1)))["o"].get("number") == 2


def test_output_names_tell_two_outputs_of_one_module_apart() -> None:
    class Two(ec.Module):
        def call(self, inputs: Any) -> Any:
            return [Number(number=1), Number(number=2)]

    x = ec.Input(data_model=Name)
    outputs = ec.wait(Two()(x))
    program = ec.Program(inputs=x, outputs=outputs)
    assert program.output_names == ["two", "two_1"]
    assert [o.get("number") for o in ec.wait(program(Name(name="a")))] == [1, 2]


def test_an_optional_input_may_be_left_out_by_name() -> None:
    a = ec.Input(data_model=Left, name="a")
    b = ec.Input(data_model=Right, name="b", optional=True)
    program = ec.Program(inputs=[a, b], outputs=a | b)
    assert ec.wait(program({"a": Left(left=1)})).get_json() == {"left": 1}


@pytest.mark.parametrize("order", ["joined late", "joined early"])
def test_an_input_may_join_at_any_depth_in_any_order(order: str) -> None:
    def graph() -> Any:
        first = ec.Input(data_model=Left, name="first")
        second = ec.Input(data_model=Right, name="second")
        moved = ec.wait(ec.Identity(name="moved")(ec.wait(ec.Identity(name="before")(first))))
        joined = second + moved if order == "joined late" else moved + second
        return ec.Program(inputs=[second, first], outputs=joined)

    out = ec.wait(graph()([Right(right=2), Left(left=1)]))
    assert out.get_json() == {"left": 1, "right": 2}


def test_a_module_used_twice_runs_twice() -> None:
    x = ec.Input(data_model=Number)
    add = Add(10)
    y = ec.wait(add(ec.wait(add(x))))
    program = ec.Program(inputs=x, outputs=y)
    assert ec.wait(program(Number(number=1))).get("number") == 21
    assert [module.name for module in program.modules] == ["input_module", "add"]


def test_the_program_reports_each_variable_once_in_the_order_of_the_graph() -> None:
    x = ec.Input(data_model=Name)
    greet, mirror = Greet(), Mirror()
    y = ec.wait(greet(ec.wait(mirror(ec.wait(mirror(x))))))
    program = ec.Program(inputs=x, outputs=y)
    assert [v.name for v in program.variables] == ["last_mirror", "persona_greet", "counter_greet"]


def test_nested_programs_are_modules() -> None:
    inner = greeting_program(name="inner")
    x = ec.Input(data_model=Name, name="outer_input")
    outer = ec.Program(inputs=x, outputs=ec.wait(inner(x)), name="outer")
    assert ec.wait(outer(Name(name="Ada"))).get("greeting") == "[friendly] hello Ada"
    assert outer.variables == inner.variables and outer.output_names == ["inner"]


def test_a_graph_may_begin_in_the_middle_of_another() -> None:
    x = ec.Input(data_model=Number)
    middle = ec.wait(Add(1, name="first")(x))
    end = ec.wait(Add(10, name="second")(middle))
    program = ec.Program(inputs=middle, outputs=end)
    assert ec.wait(program(Number(number=1))).get("number") == 11
    assert [module.name for module in program.modules] == ["second"]


def test_operators_on_symbolic_data_models_are_modules_of_the_graph() -> None:
    a, b = ec.Input(data_model=Left, name="a"), ec.Input(data_model=Right, name="b")
    for symbolic, expected in [
        (a + b, {"left": 1, "right": 2}),
        (a & b, {"left": 1, "right": 2}),
        (a | b, {"left": 1, "right": 2}),
        (a ^ b, None),
        (~a, None),
        ((a + b).in_mask(mask=["left"]), {"left": 1}),
        ((a + b).out_mask(mask=["left"]), {"right": 2}),
        ((a + b).in_mask(), {}),
        ((a + b).out_mask(), {"left": 1, "right": 2}),
        ((a + b).prefix("my"), {"my_left": 1, "my_right": 2}),
        (a.suffix("x"), {"left_x": 1}),
        (a + Right(right=7), {"left": 1, "right": 7}),
        (Right(right=7) + a, {"right": 7, "left": 1}),
        ((a + a).factorize(), {"lefts": [1, 1]}),
    ]:
        program = ec.Program(inputs=[a, b], outputs=symbolic)
        out = ec.wait(program([Left(left=1), Right(right=2)]))
        assert (out if out is None else out.get_json()) == expected
        if out is not None and symbolic.name != "or":  # of two that are there `|` gives both
            assert list(out.get_schema()["properties"]) == list(program.output_schema["properties"])


def test_a_class_has_no_value_in_a_graph() -> None:
    with pytest.raises(InvalidValue, match=r"Input\(data_model=Right\)"):
        _ = ec.Input(data_model=Left) + Right


def test_none_on_an_inactive_branch_flows_through() -> None:
    class Choose(ec.Module):
        async def call(self, inputs: Any) -> Any:
            if inputs is None:
                return None
            return (inputs, None) if inputs.get("number") > 0 else (None, inputs)

        async def compute_output_spec(self, inputs: Any) -> Any:
            return inputs, inputs

    x = ec.Input(data_model=Number)
    up, down = ec.wait(Choose()(x))
    joined = ec.wait(Add(100, name="up")(up)) | ec.wait(Add(-100, name="down")(down))
    program = ec.Program(inputs=x, outputs=joined)
    assert ec.wait(program(Number(number=1))).get("number") == 101
    assert ec.wait(program(Number(number=-1))).get("number") == -101


def test_what_a_module_returns_must_have_the_structure_it_had_when_the_graph_was_built() -> None:
    class Fickle(ec.Module):
        def call(self, inputs: Any) -> Any:
            return [inputs] * (2 if inputs.get("number") == 0 else 3)

    x = ec.Input(data_model=Number)
    program = ec.Program(inputs=x, outputs=ec.wait(Fickle()(x)))
    with pytest.raises(InvalidValue, match="2 outputs"):
        ec.wait(program(Number(number=5)))


# --- what is no graph ----------------------------------------------------------------------------


def test_a_graph_that_does_not_lead_back_to_the_inputs_is_refused() -> None:
    x, other = ec.Input(data_model=Number, name="x"), ec.Input(data_model=Number, name="other")
    y = ec.wait(Add()(x))
    with pytest.raises(GraphError, match="depends on 'x'"):
        ec.Program(inputs=other, outputs=y)
    with pytest.raises(GraphError, match="connected to no module"):
        ec.Program(inputs=x, outputs=Number.to_symbolic_data_model(name="loose"))
    with pytest.raises(GraphError, match="twice"):
        ec.Program(inputs=[x, x], outputs=y)


def test_two_modules_of_one_name_are_refused() -> None:
    x = ec.Input(data_model=Number)
    y = ec.wait(Add(name="same")(ec.wait(Add(name="same")(x))))
    with pytest.raises(DuplicateName, match="'same'"):
        ec.Program(inputs=x, outputs=y)


@pytest.mark.parametrize("bad", [3, "x", Name, None, [], {}])
def test_inputs_and_outputs_that_are_not_symbolic_are_refused(bad: Any) -> None:
    x = ec.Input(data_model=Number)
    y = ec.wait(Add()(x))
    with pytest.raises(InvalidValue):
        ec.Program(inputs=bad, outputs=y)
    with pytest.raises(InvalidValue):
        ec.Program(inputs=x, outputs=bad)


def test_a_config_with_a_cycle_is_refused() -> None:
    x = ec.Input(data_model=Number)
    program = ec.Program(inputs=x, outputs=ec.wait(Add()(x)))
    config = program.get_config()
    config["modules"][1]["inbound_nodes"][0]["args"] = config["output_modules"] and [config["output_modules"]]
    with pytest.raises(GraphError, match="comes later"):
        Functional.from_config(config)


# --- concurrency ---------------------------------------------------------------------------------


class Meet(ec.Module):
    """Returns only when as many calls as there are seats have come."""

    seats = 3
    arrived = 0
    all_there: Any = None

    async def call(self, inputs: Any) -> Any:
        cls = Meet
        cls.arrived += 1
        if cls.arrived == cls.seats:
            cls.all_there.set()
        await cls.all_there.wait()
        return inputs

    async def compute_output_spec(self, inputs: Any) -> Any:
        return inputs


def test_the_modules_of_one_depth_run_concurrently() -> None:
    x = ec.Input(data_model=Number)
    program = ec.Program(inputs=x, outputs=[ec.wait(Meet()(x)) for _ in range(3)])

    async def main() -> None:
        Meet.arrived, Meet.all_there = 0, asyncio.Event()
        assert len(await program(Number(number=1))) == 3

    asyncio.run(main())


def test_when_a_module_fails_its_siblings_are_cancelled_and_awaited() -> None:
    ended: list[str] = []

    class Hangs(ec.Module):
        async def call(self, inputs: Any) -> Any:
            try:
                await asyncio.Event().wait()
            finally:
                ended.append(self.name)

        async def compute_output_spec(self, inputs: Any) -> Any:
            return inputs

    class Fails(ec.Module):
        async def call(self, inputs: Any) -> Any:
            await asyncio.sleep(0)
            raise LookupError(self.name)

        async def compute_output_spec(self, inputs: Any) -> Any:
            return inputs

    x = ec.Input(data_model=Number)
    modules = [Hangs(name="a"), Fails(name="b"), Fails(name="c"), Hangs(name="d")]
    program = ec.Program(inputs=x, outputs=[ec.wait(module(x)) for module in modules])

    async def main() -> None:
        with pytest.raises(LookupError, match="b"):
            await program(Number(number=1))
        assert sorted(ended) == ["a", "d"]
        assert len(asyncio.all_tasks()) == 1

    asyncio.run(main())


def test_cancelling_a_program_cancels_its_modules() -> None:
    events: dict[str, asyncio.Event] = {}
    ended: list[str] = []

    class Hangs(ec.Module):
        async def call(self, inputs: Any) -> Any:
            events["started"].set()
            try:
                await asyncio.Event().wait()
            finally:
                ended.append(self.name)

        async def compute_output_spec(self, inputs: Any) -> Any:
            return inputs

    x = ec.Input(data_model=Number)
    program = ec.Program(inputs=x, outputs=[ec.wait(Hangs(name=n)(x)) for n in "ab"])

    async def main() -> None:
        events["started"] = asyncio.Event()
        call = asyncio.ensure_future(program(Number(number=1)))
        await events["started"].wait()
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        assert sorted(ended) == ["a", "b"]

    asyncio.run(main())


def test_training_reaches_every_module_that_takes_it() -> None:
    seen: dict[str, bool] = {}

    class Sees(ec.Module):
        async def call(self, inputs: Any, training: bool = False) -> Any:
            seen[self.name] = training
            return inputs

    x = ec.Input(data_model=Number)
    y = ec.wait(Add(name="deaf")(ec.wait(Sees(name="first")(x))))
    program = ec.Program(inputs=x, outputs=ec.wait(Sees(name="last")(y)))
    seen.clear()
    ec.wait(program(Number(number=1), training=True))
    assert seen == {"first": True, "last": True}
    ec.wait(program(Number(number=1)))
    assert seen == {"first": False, "last": False}


# --- history -------------------------------------------------------------------------------------


def test_the_first_call_declares_the_program_in_the_run_once(run: ec.Run) -> None:
    program = greeting_program(name="greeter")
    for _ in range(3):
        ec.wait(program(Name(name="a")))
    declared: list[Any] = [event for _, event in run.events(kind="ProgramDeclared")]
    assert [event.program for event in declared] == ["greeter"]
    assert declared[0].config["class_name"] == "Functional"
    store = ec.open("memory:")
    with store.run("later") as later:
        ec.wait(program(Name(name="a")))
        assert "greeter" in later.state.programs
    store.close()


def test_a_program_that_only_became_a_part_of_another_is_not_declared(run: ec.Run) -> None:
    x = ec.Input(data_model=Name, name="outer_input")
    outer = ec.Program(inputs=x, outputs=ec.wait(greeting_program(name="inner")(x)), name="outer")
    ec.wait(outer(Name(name="a")))
    assert list(run.state.programs) == ["outer"]


def test_a_program_that_cannot_be_saved_runs_all_the_same_and_the_run_says_why(run: ec.Run) -> None:
    x = ec.Input(data_model=Number)
    y = ec.wait(ec.Lambda(lambda inputs: inputs)(x))
    program = ec.Program(inputs=x, outputs=y)
    assert ec.wait(program(Number(number=1))).get("number") == 1
    event: Any = next(event for _, event in run.events(kind="ProgramDeclared"))
    assert event.config["config"] is None and "lambda" in event.config["unsaved"]


def test_summary_lists_modules_and_variables(capsys: pytest.CaptureFixture[str]) -> None:
    program = greeting_program(name="greeter")
    assert program.summary() is None
    text = capsys.readouterr().out
    assert "Functional 'greeter'" in text and "Greet " in text and "greet/persona_greet" in text


@pytest.mark.parametrize(
    ("arguments", "options", "received"),
    [
        ((), {}, "received no input"),
        ((), {"training": True}, "received no input"),
        (({"name": "Ada"},), {"temperature": 1}, "the argument temperature"),
    ],
)
def test_a_call_without_input_or_with_an_argument_nobody_takes_is_refused(
    arguments: tuple[Any, ...], options: dict[str, Any], received: str
) -> None:
    with pytest.raises(InvalidValue, match=rf"{received}\. Pass its input \(who\) by position"):
        ec.wait(greeting_program()(*arguments, **options))
