"""Symbolic calls find out what a module returns without running it for real."""

from __future__ import annotations

from enum import Enum
from typing import Any, Literal, Optional

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import eventcore as ec
from eventcore.errors import TracingError, TrackerLocked
from eventcore.models.validation import validator_for
from eventcore.modules.node import history_of
from eventcore.modules.placeholders import placeholder
from tests.modules.samples import Counter, Greet, Greeting, Mirror, Name, Number


class Plain(ec.Module):
    def call(self, inputs: Any) -> Any:
        return inputs


def symbolic(module: ec.Module, model: Any = Name) -> Any:
    return ec.wait(module(ec.Input(data_model=model)))


def test_a_module_without_a_specification_is_run_on_placeholders() -> None:
    out = symbolic(Greet())
    assert isinstance(out, ec.SymbolicDataModel) and out.get_schema() == Greeting.get_schema()


def test_tracing_changes_no_variable_and_records_only_the_lock(run: ec.Run) -> None:
    """I15."""

    class Busy(Greet):
        async def call(self, inputs: Any, training: bool = False) -> Any:
            self.state.get("examples").append({"inputs": {}, "outputs": {}})
            self.state.get("current_predictions").append({"inputs": {}, "outputs": {}})
            self.state.assign({"persona": "changed"})
            self.counter["count"]
            return await super().call(inputs)

    busy = Busy()
    before, head, digest = [v.get_json() for v in busy.variables], run.head, run.state.digest
    symbolic(busy)
    assert [v.get_json() for v in busy.variables] == before and run.state.digest == digest
    assert [type(event).__name__ for _, event in run.events(start=head + 1)] == ["TrackerLocked"]


def test_a_specification_that_is_given_wins() -> None:
    class Says(ec.Module):
        def __init__(self, spec: Any) -> None:
            super().__init__()
            self.spec = spec

        def call(self, inputs: Any) -> Any:
            raise AssertionError("call must not run")

        async def compute_output_spec(self, inputs: Any) -> Any:
            return self.spec

    for spec in (Greeting, Greeting.get_schema(), Greeting.to_symbolic_data_model(), Greeting(greeting="")):
        assert symbolic(Says(spec)).get_schema() == Greeting.get_schema()
    out = symbolic(Says([Greeting, {"a": Name}]))
    assert out[0].keys() == ["greeting"] and out[1]["a"].keys() == ["name"]
    assert [history_of(o)[1] for o in (out[0], out[1]["a"])] == [0, 1]  # type: ignore[index]
    with pytest.raises(TracingError, match="compute_output_spec"):
        symbolic(Says(3))


def test_a_specification_may_be_a_plain_function_and_return_the_input_itself() -> None:
    class Same(Plain):
        def compute_output_spec(self, inputs: Any) -> Any:
            return inputs

    x = ec.Input(data_model=Name)
    y = ec.wait(Same()(x))
    assert y is not x and history_of(y)[0].module.name == "same"  # type: ignore[index]


def test_structures_of_outputs_stay_structures() -> None:
    class Shapes(ec.Module):
        def call(self, inputs: Any) -> Any:
            return {"a": [Name(name="x"), Number()], "b": (Greeting(greeting=""),)}

    out = symbolic(Shapes())
    assert [o.keys() for o in out["a"]] == [["name"], ["number"]] and isinstance(out["b"], tuple)


def test_nested_modules_are_built_for_real_and_called_on_paper(run: ec.Run) -> None:
    class Outer(ec.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = Mirror()
            self.greet = Greet()

        async def call(self, inputs: Any) -> Any:
            return await self.greet(await self.inner(inputs))

    outer = Outer()
    symbolic(outer)
    assert outer.inner.built and outer.inner.last.get_json() == {"name": ""}
    assert [v.name for v in outer.variables] == ["last_mirror", "persona_greet", "counter_greet"]
    assert set(run.state.names()) == {v.path for v in outer.variables}
    assert outer.greet.counter.get_json() == {"count": 0}


class Color(Enum):
    RED = "red"
    BLUE = "blue"


class Rich(ec.DataModel):
    text: str
    whole: int
    number: float
    flag: bool
    color: Color
    word: Literal["a", "b"]
    maybe: Optional[str]  # noqa: UP045 - the spelling users write
    nested: Name
    several: list[Name]
    table: dict[str, int]
    long: str = ec.Field(min_length=3)
    positive: int = ec.Field(gt=0)
    half: float = ec.Field(ge=0.5, lt=2)
    given: str = "given"


def test_placeholders_fit_their_schema_and_defaults_are_used() -> None:
    schema = Rich.get_schema()
    small, full = placeholder(schema), placeholder(schema, full=True)
    for value in (small, full):
        assert validator_for(schema).check(value) == value
        Rich(**value)
    assert small["given"] == "given" and small["several"] == [] and small["text"] == ""
    assert full["several"] == [{"name": "text"}] and full["text"] == "text"


def test_a_schema_that_refers_to_itself_has_placeholders() -> None:
    schema = {
        "type": "object",
        "properties": {"child": {"anyOf": [{"$ref": "#/$defs/Tree"}, {"type": "null"}]}},
        "$defs": {
            "Tree": {
                "type": "object",
                "properties": {"children": {"type": "array", "items": {"$ref": "#/$defs/Tree"}}},
                "required": ["children"],
            }
        },
    }
    for full in (False, True):
        value = placeholder(schema, full=full)
        validator_for(schema).check(value)


scalars = st.one_of(
    st.fixed_dictionaries({"type": st.just("string")}, optional={"minLength": st.integers(0, 6)}),
    st.fixed_dictionaries(
        {"type": st.sampled_from(["integer", "number"])},
        optional={
            "minimum": st.integers(-9, 3),
            "maximum": st.integers(4, 9),
            "multipleOf": st.sampled_from([1, 2]),
        },
    ),
    st.just({"type": "boolean"}),
    st.just({"type": "null"}),
    st.lists(st.one_of(st.text(max_size=3), st.integers(-3, 3)), min_size=1).map(
        lambda values: {"enum": values}
    ),
)
schemas = st.recursive(
    scalars,
    lambda inner: st.one_of(
        st.fixed_dictionaries(
            {"type": st.just("array"), "items": inner}, optional={"minItems": st.integers(0, 3)}
        ),
        st.fixed_dictionaries({"anyOf": st.lists(inner, min_size=1, max_size=3)}),
        st.dictionaries(st.sampled_from("abc"), inner).map(
            lambda properties: {"type": "object", "properties": properties, "required": sorted(properties)}
        ),
    ),
    max_leaves=8,
)


@settings(max_examples=200)
@given(st.dictionaries(st.sampled_from("abcd"), schemas), st.booleans())
def test_any_placeholder_fits_its_schema(properties: Any, full: bool) -> None:
    schema = {"type": "object", "properties": properties, "required": sorted(properties)}
    validator_for(schema).check(placeholder(schema, full=full))


def test_a_call_that_refuses_small_values_is_tried_with_full_ones() -> None:
    class Picky(ec.Module):
        def call(self, inputs: Any) -> Any:
            if not inputs.get("name"):
                raise ValueError("no name")
            return Greeting(greeting=inputs.get("name")[0])

    assert symbolic(Picky()).keys() == ["greeting"]


def test_a_call_that_returns_none_for_small_values_is_tried_with_full_ones() -> None:
    class Quiet(ec.Module):
        def call(self, inputs: Any) -> Any:
            return Greeting(greeting="x") if inputs.get("name") else None

    assert symbolic(Quiet()).keys() == ["greeting"]


def test_when_no_placeholder_helps_the_error_says_what_to_write_and_chains_the_cause() -> None:
    class Hard(ec.Module):
        def call(self, inputs: Any) -> Any:
            raise KeyError("needs the network")

    with pytest.raises(TracingError, match=r"Hard 'hard'.*KeyError.*compute_output_spec") as caught:
        symbolic(Hard())
    assert isinstance(caught.value.__cause__, KeyError)

    class Nothing(ec.Module):
        def call(self, inputs: Any) -> Any:
            return None

    with pytest.raises(TracingError, match="it returned None"):
        symbolic(Nothing())


def test_errors_about_the_program_come_out_as_themselves() -> None:
    class Late(ec.Module):
        def call(self, inputs: Any) -> Any:
            self.add_variable(data_model=Counter)

    with pytest.raises(TrackerLocked):
        symbolic(Late())


def test_symbolic_and_plain_arguments_may_be_mixed() -> None:
    class Pair(ec.Module):
        def call(self, inputs: Any, suffix: str = "") -> Any:
            return Greeting(greeting=inputs[0].get("name") + inputs[1].get("name") + suffix)

    x = ec.Input(data_model=Name)
    y = ec.wait(Pair()([x, Name(name="!")], suffix="?"))
    program = ec.Program(inputs=x, outputs=y)
    assert ec.wait(program(Name(name="hi"))).get("greeting") == "hi!?"


def test_a_module_is_called_in_a_graph_by_keyword_too() -> None:
    class Named(ec.Module):
        def call(self, *, question: Any, hint: Any) -> Any:
            return Greeting(greeting=question.get("name") + hint.get("name"))

    x, y = ec.Input(data_model=Name, name="x"), ec.Input(data_model=Name, name="y")
    program = ec.Program(inputs=[x, y], outputs=ec.wait(Named()(question=x, hint=y)))
    assert ec.wait(program([Name(name="a"), Name(name="b")])).get("greeting") == "ab"
