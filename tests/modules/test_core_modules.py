"""The modules that come with the library, on data and in graphs."""

from __future__ import annotations

from typing import Any, cast

import pytest

import eventcore as ec
from eventcore.errors import InvalidValue, WrongType
from eventcore.modules import Factorize, Prefix, Suffix
from tests.modules.samples import Greeting, Name, Number


class Left(ec.DataModel):
    left: int = 0


class Right(ec.DataModel):
    right: int = 0


L, R = Left(left=1), Right(right=2)
BOTH = {"left": 1, "right": 2}


@pytest.mark.parametrize(
    ("module", "inputs", "expected"),
    [
        (ec.Concat, [L, R], BOTH),
        (ec.Concat, [L, L], {"left": 1, "left_1": 1}),
        (ec.Concat, [L], {"left": 1}),
        (ec.And, [L, R], BOTH),
        (ec.And, [L, None], None),
        (ec.And, [None, R], None),
        (ec.Or, [L, R], BOTH),
        (ec.Or, [L, None], {"left": 1}),
        (ec.Or, [None, R], {"right": 2}),
        (ec.Or, [None, None], None),
        (ec.Or, [None, L, None], {"left": 1}),
        (ec.Xor, [L, R], None),
        (ec.Xor, [None, R], {"right": 2}),
        (ec.Not, L, None),
        (ec.Not, None, None),
        (ec.Identity, L, {"left": 1}),
        (ec.Identity, None, None),
        (Factorize, L, {"left": 1}),
    ],
)
def test_operators_as_modules_follow_the_table_of_the_operators(
    module: Any, inputs: Any, expected: Any
) -> None:
    out = ec.wait(module()(inputs))
    assert (out if out is None else out.get_json()) == expected


def test_concat_refuses_none_and_combinations_want_a_list() -> None:
    with pytest.raises(InvalidValue, match="must be there"):
        ec.wait(ec.Concat()([L, None]))
    for module in (ec.Concat, ec.And, ec.Or, ec.Xor):
        for bad in cast("list[Any]", [L, [], None]):
            with pytest.raises(InvalidValue, match="list of data models"):
                ec.wait(module()(bad))


def test_operators_take_whatever_comes_call_after_call() -> None:
    concat = ec.Concat()
    assert ec.wait(concat([L, R])).get_json() == BOTH
    assert ec.wait(concat([R, L, R])).get_json() == {"right": 2, "left": 1, "right_1": 2}


def test_masks_keep_and_remove_fields() -> None:
    both = L + R
    assert ec.wait(ec.InMask(mask=["left"])(both)).get_json() == {"left": 1}
    assert ec.wait(ec.OutMask(mask=["left"])(both)).get_json() == {"right": 2}
    assert ec.wait(ec.InMask(pattern="^r")(both)).get_json() == {"right": 2}
    assert ec.wait(ec.InMask(mask=["left"])(None)) is None
    assert ec.wait(Prefix("my")(L)).get_json() == {"my_left": 1}
    assert ec.wait(Suffix("x")(L)).get_json() == {"left_x": 1}


@pytest.mark.parametrize("bad", [None, [], "left", 3])
def test_a_mask_is_a_list_that_is_not_empty(bad: Any) -> None:
    for module in (ec.InMask, ec.OutMask):
        with pytest.raises(InvalidValue, match="non-empty list"):
            module(mask=bad)


@pytest.mark.parametrize(
    ("module", "inputs", "fields"),
    [
        (ec.Concat, (Left, Right), ["left", "right"]),
        (ec.And, (Left, Right), ["left", "right"]),
        (ec.Or, (Left, Left), ["left"]),
        (ec.Xor, (Left, Left), ["left"]),
    ],
)
def test_operators_as_modules_in_graphs(module: Any, inputs: tuple[Any, Any], fields: Any) -> None:
    symbolic = [ec.Input(data_model=model) for model in inputs]
    assert ec.wait(module()(symbolic)).keys() == fields


def test_config_brings_masks_and_affixes_back() -> None:
    for module in (
        ec.InMask(mask=["left"]),
        ec.OutMask(pattern="x", recursive=False),
        Prefix("p"),
        Suffix("s"),
    ):
        again = type(module).from_config(module.get_config())
        assert again.get_config() == module.get_config()


def greet(inputs: Any) -> Any:
    """Greet somebody."""
    return Greeting(greeting=f"hello {inputs.get('name')}")


def test_lambda_wraps_plain_and_async_functions() -> None:
    async def later(inputs: Any) -> Any:
        return greet(inputs)

    for function in (greet, later):
        assert ec.wait(ec.Lambda(function)(Name(name="a"))).get("greeting") == "hello a"
        assert ec.wait(ec.Lambda(function)(None)) is None
        assert ec.wait(ec.Lambda(function)(ec.Input(data_model=Name))).keys() == ["greeting"]
    assert ec.Lambda(greet).description == "Greet somebody."


def test_lambda_may_return_a_dict_where_the_schema_is_declared() -> None:
    double = ec.Lambda(lambda inputs: {"number": 2 * inputs.get("number")}, data_model=Number)
    assert ec.wait(double(Number(number=4))).get("number") == 8
    assert ec.wait(double(ec.Input(data_model=Number))).get_schema() == Number.get_schema()
    with pytest.raises(InvalidValue):
        ec.wait(ec.Lambda(lambda inputs: {"number": "x"}, data_model=Number)(Number()))


def test_lambda_passes_on_the_keywords_its_function_takes() -> None:
    flagged = ec.Lambda(lambda inputs, training=False: Number(number=int(training)))
    assert ec.wait(flagged(Number(), training=True)).get("number") == 1


def test_lambda_of_something_that_cannot_be_called_is_refused() -> None:
    with pytest.raises(WrongType):
        ec.Lambda(3)  # type: ignore[arg-type]
