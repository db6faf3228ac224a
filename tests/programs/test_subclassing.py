"""Programs with a class of their own, alone or mixed with a graph."""

from __future__ import annotations

from typing import Any

import pytest

import eventcore as ec
from eventcore.errors import InvalidValue, SchemaMismatch, TrackerLocked
from eventcore.programs import Functional
from tests.modules.samples import Add, Counter, Greet, Mirror, Name, Number


class Loop(ec.Program):
    """Adds until it is enough."""

    def __init__(self, enough: int = 10, name: str | None = None, description: str | None = None) -> None:
        super().__init__(name=name, description=description)
        self.enough = enough
        self.add = Add(3)
        self.calls = self.add_variable(data_model=Counter, name=f"calls_{self.name}")

    async def call(self, inputs: Any, training: bool = False) -> Any:
        while inputs.get("number") < self.enough:
            inputs = await self.add(inputs)
            self.calls.update({"count": self.calls.get("count") + 1})
        return inputs


class Mixed(ec.Program):
    """Makes its graph when it knows its input."""

    def __init__(
        self, name: str | None = None, description: str | None = None, trainable: bool = True
    ) -> None:
        super().__init__(name=name, description=description, trainable=trainable)

    async def build(self, inputs: Any) -> None:
        mirrored = await Mirror(name=f"mirror_{self.name}")(inputs)
        outputs = await Greet(name=f"greet_{self.name}")(mirrored)
        super().__init__(
            inputs=inputs,
            outputs=outputs,
            name=self.name,
            description=self.description,
            trainable=self.trainable,
        )


class MixedBySchema(ec.Program):
    async def build(self, input_schema: Any) -> None:
        inputs = ec.Input(schema=input_schema)
        super().__init__(inputs=inputs, outputs=await Greet()(inputs))


def test_a_subclassed_program_works_on_first_data() -> None:
    loop = Loop()
    assert ec.wait(loop(Number(number=1))).get("number") == 10
    assert loop.calls.get("count") == 3
    assert [module.name for module in loop.modules] == ["add"] and loop.get_module("add") is loop.add
    assert loop.input_schema == Number.get_schema() and loop.outputs == []


def test_a_subclassed_program_is_checked_and_locked_like_any_other() -> None:
    loop = Loop()
    ec.wait(loop(Number(number=1)))
    with pytest.raises(SchemaMismatch):
        ec.wait(loop(Name(name="a")))
    with pytest.raises(TrackerLocked):
        loop.more = Greet()


def test_any_number_of_subclassed_programs_live_together() -> None:
    loops = [Loop() for _ in range(3)]
    for loop in loops:
        ec.wait(loop(Number(number=1)))
    assert [loop.calls.path for loop in loops] == [
        "loop/calls_loop",
        "loop_1/calls_loop_1",
        "loop_2/calls_loop_2",
    ]


def test_tracing_a_subclassed_program_leaves_its_variables_alone() -> None:
    loop = Loop()
    x = ec.Input(data_model=Number)
    program = ec.Program(inputs=x, outputs=ec.wait(loop(x)))
    assert loop.calls.get("count") == 0
    assert ec.wait(program(Number(number=7))).get("number") == 10


@pytest.mark.parametrize("make", [Mixed, MixedBySchema])
def test_a_mixed_program_works_on_first_data_and_in_any_number(make: Any) -> None:
    programs = [make() for _ in range(3)]
    for program in programs:
        assert ec.wait(program(Name(name="Ada"))).get("greeting") == "[friendly] hello Ada"
        assert len(program.inputs) == 1 and len(program.trainable_variables) == 1
        assert ec.wait(program({"name": "Bob"})).get("greeting") == "[friendly] hello Bob"
        assert type(program) is make and not isinstance(program, Functional)
    assert len({v.path for program in programs for v in program.variables}) == sum(
        len(p.variables) for p in programs
    )
    assert all(v.path.startswith(f"{p.name}/") for p in programs for v in p.variables)


def test_a_mixed_program_works_on_symbolic_input_and_when_built_by_hand() -> None:
    mixed = Mixed()
    x = ec.Input(data_model=Name)
    program = ec.Program(inputs=x, outputs=ec.wait(mixed(x)))
    assert ec.wait(program(Name(name="Ada"))).get("greeting") == "[friendly] hello Ada"
    by_hand = Mixed()
    ec.wait(by_hand.build(ec.Input(data_model=Name, name="given")))
    assert by_hand.input_names == ["given"]
    assert ec.wait(by_hand({"name": "Ada"})).get("greeting") == "[friendly] hello Ada"


def test_a_frozen_mixed_program_keeps_what_its_build_makes_frozen() -> None:
    mixed = Mixed(trainable=False)
    ec.wait(mixed(Name(name="a")))
    assert mixed.trainable_variables == [] and len(mixed.variables) == 3
    mixed.trainable = True
    assert len(mixed.trainable_variables) == 1


def test_a_module_keeps_its_first_name() -> None:
    class Renames(ec.Program):
        async def build(self, inputs: Any) -> None:
            super().__init__(inputs=inputs, outputs=await Add()(inputs), name="other")

    with pytest.raises(InvalidValue, match="keeps its first name"):
        ec.wait(Renames()(Number(number=1)))


def test_half_a_graph_is_refused() -> None:
    with pytest.raises(InvalidValue, match="no outputs"):
        ec.Program(inputs=ec.Input(data_model=Number))
    with pytest.raises(InvalidValue, match="no inputs"):
        ec.Program(outputs=ec.Input(data_model=Number))
