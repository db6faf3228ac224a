"""`add_variable`: what may start a variable, when it is downgraded, how it is found again."""

from __future__ import annotations

import dataclasses
from typing import Any

import msgspec
import pytest

import eventcore as ec
from eventcore.errors import InvalidValue
from eventcore.modules.summary import Table, print_tables
from eventcore.variables import Empty
from tests.modules.samples import Counter, Greet, Number, Persona


class Plain(ec.Module):
    def call(self, inputs: Any) -> Any:
        return inputs


@pytest.mark.parametrize(
    ("initializer", "data_model", "expected"),
    [
        (None, Number, 0),
        ({"number": 3}, Number, 3),
        (Number(number=4), Number, 4),
        (Number(number=5), None, 5),
        (Empty(data_model=Number), None, 0),
        (Empty, Number, 0),
        (Empty(data_model=Number, json={"number": 6}), Number, 6),
        (lambda: {"number": 7}, Number, 7),
        (lambda: Number(number=8), Number, 8),
        ({"number": 9}, Number.get_schema(), 9),
        ({"number": 10}, Number.to_symbolic_data_model(), 10),
    ],
)
def test_a_variable_starts_from_a_dict_a_data_model_an_initializer_or_a_callable(
    initializer: Any, data_model: Any, expected: int
) -> None:
    assert Plain().add_variable(initializer, data_model).get("number") == expected


def test_structs_and_dataclasses_describe_variables_too() -> None:
    class Struct(msgspec.Struct):
        number: int = 1

    @dataclasses.dataclass
    class Record:
        number: int = 2

    plain = Plain()
    assert plain.add_variable(data_model=Struct).get("number") == 1
    assert plain.add_variable(data_model=Record).get("number") == 2


def test_a_variable_without_a_name_gets_one_from_its_module_and_each_its_own() -> None:
    plain = Plain(name="plain")
    made = [plain.add_variable(data_model=Counter) for _ in range(3)]
    assert [v.name for v in made] == ["variable_plain", "variable_plain_1", "variable_plain_2"]
    assert made[0].path == "plain/variable_plain"


def test_asking_to_train_what_cannot_be_trained_is_downgraded_and_the_reason_is_in_log_and_summary(
    run: ec.Run,
) -> None:
    plain = Plain()
    counter = plain.add_variable(data_model=Counter, name="counter")
    assert (
        not counter.trainable
        and plain.trainable_variables == []
        and plain.non_trainable_variables == [counter]
    )
    lines: list[str] = []
    plain.summary(print_fn=lines.append)
    assert "does not contain the Trainable fields" in next(line for line in lines if "plain/counter" in line)
    event: Any = next(event for _, event in run.events(kind="VariableDeclared"))
    assert event.reason is not None and "Trainable" in event.reason


def test_a_trainable_without_defaults_is_refused_naming_the_fields() -> None:
    class Bad(ec.Trainable):
        weight: str
        bias: int
        fine: int = 0

    with pytest.raises(InvalidValue, match="weight, bias") as caught:
        Plain().add_variable({"weight": "w", "bias": 1}, Bad)
    assert "fine" not in str(caught.value)
    with pytest.raises(InvalidValue, match="weight, bias"):
        ec.Input(data_model=Bad)


def test_the_initializer_is_not_aliased() -> None:
    start: dict[str, Any] = {"examples": [], "persona": "x"}
    state = Plain().add_variable(start, Persona)
    start["persona"] = "y"
    start["examples"].append(1)
    assert state.get("persona") == "x" and state.get("examples") == []


def test_variables_are_found_by_name_path_and_index() -> None:
    class Two(ec.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a = Greet(name="a")
            self.b = Greet(name="b")
            self.same_1 = self.a.add_variable(data_model=Counter, name="same")
            self.same_2 = self.b.add_variable(data_model=Counter, name="same")

        def call(self, inputs: Any) -> Any:
            return inputs

    two = Two()
    assert two.get_variable(name="persona_b") is two.b.state
    assert two.get_variable("persona_b") is two.b.state
    assert two.get_variable(index=0) is two.variables[0]
    assert two.get_variable(index=-1) is two.variables[-1]
    assert two.get_variable(name="two/b/same") is two.same_2
    with pytest.raises(InvalidValue, match=r"two/a/same, two/b/same"):
        two.get_variable(name="same")


@pytest.mark.parametrize(
    "arguments", [{}, {"name": "x", "index": 0}, {"name": "nothing"}, {"index": 99}, {"index": -99}]
)
def test_a_variable_that_is_not_there_is_a_value_error_that_lists_what_is(arguments: Any) -> None:
    with pytest.raises(InvalidValue, match="persona_g"):
        Greet(name="g").get_variable(**arguments)


@pytest.mark.parametrize("name", ["a/b", "", 3])
def test_bad_names_are_refused(name: Any) -> None:
    with pytest.raises(InvalidValue):
        Plain(name=name)
    with pytest.raises(InvalidValue):
        Plain().add_variable(data_model=Counter, name=name)


def test_unknown_constructor_arguments_are_refused_naming_them() -> None:
    with pytest.raises(InvalidValue, match="color"):
        Plain(color="red")


def test_two_variables_of_one_path_are_an_error() -> None:
    plain = Plain()
    kept = plain.add_variable(data_model=Counter, name="same")
    with pytest.raises(InvalidValue, match="same"):
        plain.add_variable(data_model=Counter, name="same")
    assert plain.variables == [kept]


def test_the_description_is_the_first_line_of_the_classes_own_docstring() -> None:
    class Documented(Plain):
        """First line.

        More.
        """

    assert Documented().description == "First line." and Plain().description == ""
    assert Documented(description="given").description == "given"


def test_summary_says_of_every_variable_why_it_is_not_trained(capsys: pytest.CaptureFixture[str]) -> None:
    class Outer(ec.Module):
        def __init__(self) -> None:
            super().__init__()
            self.free = Greet(name="free")
            self.held = Greet(name="held", trainable=False)
            self.alone = Greet(name="alone")
            self.alone.state.trainable = False

        def call(self, inputs: Any) -> Any:
            return inputs

    Outer().summary()
    text = capsys.readouterr().out
    why = {line.split()[0]: line.rsplit("  ", 1)[1] for line in text.splitlines() if "persona_" in line}
    assert why == {
        "outer/free/persona_free": "yes",
        "outer/held/persona_held": "no: a module above it is frozen",
        "outer/alone/persona_alone": "no: frozen by itself",
    }
    assert "no: not asked for" in text and "6 variables, 1 trainable, 5 not trainable" in text


def test_reading_a_summary_or_a_repr_records_nothing(run: ec.Run) -> None:
    greet = Greet()
    head = run.head
    repr(greet)
    greet.summary(print_fn=lambda line: None)
    assert run.head == head


def test_on_a_terminal_the_table_is_drawn_with_rich(capsys: pytest.CaptureFixture[str]) -> None:
    tables = [Table("greet", ("variable", "trainable"), [("greet/[bold]", "yes")], "1 variable")]
    print_tables(tables, None, rich=True)
    text = capsys.readouterr().out
    assert "greet/[bold]" in text and "1 variable" in text
