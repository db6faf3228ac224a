"""Law: a program gives what evaluating its graph by hand gives, for any graph.

The graph is drawn as plain data; the model evaluates it by recursion from the output, without levels,
schedules or structures.
"""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

import eventcore as ec
from tests.modules.samples import Add, Number


class Total(ec.Module):
    """Adds up the numbers that are there; None when none is, or when one is 13."""

    def call(self, inputs: Any) -> Any:
        there = [item.get("number") for item in inputs if item is not None]
        return None if not there or 13 in there else Number(number=sum(there))

    async def compute_output_spec(self, inputs: Any) -> Any:
        return Number


class Split(ec.Module):
    """Sends its input left or right."""

    def call(self, inputs: Any) -> Any:
        if inputs is None:
            return None
        return (
            {"even": inputs, "odd": None} if inputs.get("number") % 2 == 0 else {"even": None, "odd": inputs}
        )

    async def compute_output_spec(self, inputs: Any) -> Any:
        return {"even": Number, "odd": Number}


@st.composite
def graphs(draw: st.DrawFn) -> tuple[int, list[tuple[Any, ...]], list[int]]:
    """Draw (number of inputs, steps, outputs); a value is an input or what a step gave, by number."""
    inputs = draw(st.integers(1, 3))
    steps: list[tuple[Any, ...]] = []
    count = inputs
    for _ in range(draw(st.integers(0, 10))):
        one = st.integers(0, count - 1)
        step = draw(
            st.one_of(
                st.tuples(st.just("add"), one, st.integers(0, 3)),
                st.tuples(st.just("total"), st.lists(one, min_size=1, max_size=4)),
                st.tuples(st.just("split"), one, st.sampled_from(["even", "odd"])),
                st.tuples(st.just("or"), one, one),
            )
        )
        steps.append(step)
        count += 1
    outputs = draw(st.lists(st.integers(0, count - 1), min_size=1, max_size=4))
    return inputs, steps, outputs


def by_hand(number: int, inputs: list[int | None], steps: list[tuple[Any, ...]]) -> int | None:
    if number < len(inputs):
        return inputs[number]
    kind, *rest = steps[number - len(inputs)]
    if kind == "total":
        there = [value for index in rest[0] if (value := by_hand(index, inputs, steps)) is not None]
        return None if not there or 13 in there else sum(there)
    value = by_hand(rest[0], inputs, steps)
    if kind == "add":
        return None if value is None else value + rest[1]
    if kind == "split":
        return value if value is not None and (value % 2 == 0) == (rest[1] == "even") else None
    other = by_hand(rest[1], inputs, steps)
    return value if value is not None else other


def built(inputs: int, steps: list[tuple[Any, ...]], outputs: list[int]) -> Any:
    adders = [Add(amount, name=f"add_{amount}") for amount in range(4)]
    values: list[Any] = [ec.Input(data_model=Number, name=f"x{n}") for n in range(inputs)]
    starts = list(values)

    async def build() -> None:
        for kind, *rest in steps:
            if kind == "add":
                values.append(await adders[rest[1]](values[rest[0]]))
            elif kind == "total":
                values.append(await Total()([values[index] for index in rest[0]]))
            elif kind == "split":
                values.append((await Split()(values[rest[0]]))[rest[1]])
            else:
                values.append(await First()([values[rest[0]], values[rest[1]]]))

    ec.wait(build())
    return ec.Program(inputs=starts, outputs=[values[index] for index in outputs])


class First(ec.Module):
    """Returns the first that is there."""

    def call(self, inputs: Any) -> Any:
        return next((item for item in inputs if item is not None), None)

    async def compute_output_spec(self, inputs: Any) -> Any:
        return Number


@settings(max_examples=150)
@given(graphs(), st.lists(st.one_of(st.none(), st.integers(0, 30)), min_size=3, max_size=3))
def test_a_program_gives_what_its_graph_gives_by_hand(graph: Any, numbers: list[int | None]) -> None:
    inputs, steps, outputs = graph
    program = built(inputs, steps, outputs)
    data = numbers[:inputs]
    given_models = [None if number is None else Number(number=number) for number in data]
    for _ in range(2):
        result = ec.wait(program(given_models))
        found = [result] if len(outputs) == 1 else result
        shown = [None if item is None else item.get("number") for item in found]
        assert shown == [by_hand(number, data, steps) for number in outputs]
        program = type(program).from_config(program.get_config())
