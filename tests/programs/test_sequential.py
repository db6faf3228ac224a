"""Sequential programs: with an input or without, changed while that is possible."""

from __future__ import annotations

from typing import Any

import pytest

import eventcore as ec
from eventcore.errors import InvalidValue, SchemaMismatch, TrackerLocked
from tests.modules.samples import Add, Greet, Mirror, Name, Number


def sequence(*modules: Any, **options: Any) -> Any:
    return ec.Sequential(list(modules), description="One after the other.", **options)


def test_it_passes_data_through_its_modules() -> None:
    program = sequence(ec.Input(data_model=Number), Add(1, name="a"), Add(10, name="b"))
    assert ec.wait(program(Number(number=1))).get("number") == 12
    assert [module.name for module in program.modules] == ["input_module", "a", "b"]


def test_without_an_input_it_is_built_by_the_first_data() -> None:
    program = sequence(Mirror(), Greet())
    assert program.input_schema is None and not program.built
    assert ec.wait(program(Name(name="Ada"))).get("greeting") == "[friendly] hello Ada"
    assert program.built and program.input_schema == Name.get_schema()
    assert [v.name for v in program.variables] == ["last_mirror", "persona_greet", "counter_greet"]
    assert ec.wait(program({"name": "Bob"})).get("greeting") == "[friendly] hello Bob"
    with pytest.raises(SchemaMismatch):
        ec.wait(program(Number(number=1)))


@pytest.mark.parametrize(
    ("args", "count"),
    [
        ((Number(number=1), Number(number=2)), 2),
        (([Number(number=1), Number(number=2), Number(number=3)],), 3),
        (({"a": Number(number=1)},), 1),
    ],
)
def test_without_an_input_several_inputs_are_refused_saying_what_would_work(args: Any, count: int) -> None:
    program = sequence(Add(1, name="a"), name="two")
    with pytest.raises(InvalidValue, match=rf"cannot build 'two': received {count} inputs.*`a \+ b`"):
        ec.wait(program(*args))
    assert not program.built
    assert ec.wait(program(Number(number=1))).get("number") == 2


def test_with_an_input_a_plain_dict_will_do_at_once() -> None:
    program = sequence(ec.Input(data_model=Name), Greet())
    assert ec.wait(program({"name": "Ada"})).get("greeting") == "[friendly] hello Ada"


def test_it_is_a_module_of_other_programs() -> None:
    inner = sequence(Add(1, name="a"), Add(2, name="b"), name="inner")
    x = ec.Input(data_model=Number)
    program = ec.Program(inputs=x, outputs=ec.wait(inner(x)))
    assert ec.wait(program(Number(number=0))).get("number") == 3


def test_any_number_of_instances_work() -> None:
    programs = [sequence(Mirror(), Greet()) for _ in range(3)]
    for program in programs:
        ec.wait(program(Name(name="a")))
    assert len({v.path for program in programs for v in program.variables}) == 9


def test_modules_may_be_added_and_popped_and_the_next_call_uses_the_new_sequence() -> None:
    program = sequence(ec.Input(data_model=Number), Add(1, name="a"))
    assert ec.wait(program(Number(number=0))).get("number") == 1
    program.add(Add(10, name="b"))
    assert ec.wait(program(Number(number=0))).get("number") == 11
    assert program.pop().name == "b"
    assert ec.wait(program(Number(number=0))).get("number") == 1


def test_after_the_first_call_modules_with_variables_neither_come_nor_go() -> None:
    program = sequence(Greet())
    ec.wait(program(Name(name="a")))
    before = program.variables
    with pytest.raises(TrackerLocked):
        program.add(Greet(name="late"))
    with pytest.raises(TrackerLocked):
        program.pop()
    assert program.variables == before and len(program.modules) == 1
    assert ec.wait(program(Name(name="a"))).get("greeting") == "[friendly] hello a"


def test_what_makes_no_sequence_is_refused() -> None:
    with pytest.raises(InvalidValue, match="description"):
        ec.Sequential([Add()])
    with pytest.raises(InvalidValue, match="no module"):
        sequence("text")
    with pytest.raises(InvalidValue, match="'same'"):
        sequence(Add(name="same"), Add(name="same"))
    with pytest.raises(InvalidValue, match="begun already"):
        sequence(ec.Input(data_model=Number), ec.Input(data_model=Number))
    with pytest.raises(InvalidValue, match="no modules"):
        sequence().pop()
    with pytest.raises(InvalidValue, match="no modules"):
        ec.wait(sequence()(Number(number=1)))
