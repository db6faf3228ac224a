"""What `check_module` may be given for inputs, and what it says where that is nothing to check with."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import strategies as st

import eventcore as ec
from eventcore.errors import InvalidValue
from eventcore.testing import check_module
from eventcore.testing.module_inputs import call_arguments, shown
from eventcore.testing.module_subject import ModuleSubject
from tests.mutants.sound_modules import Greeter, Greeting, Name, Persona, entry

FEW = [
    "locks_after_first_call",
    "one_record_per_use",
    "none_in_none_out",
    "save_and_load",
    "config_round_trip",
]


class Other(ec.DataModel):
    """Another input."""

    place: str


class Both(ec.Module):
    """Takes two inputs."""

    def __init__(self, name: str | None = None) -> None:
        super().__init__(name=name)
        self.state = self.add_variable(data_model=Persona, name="persona")

    async def call(self, who: Name, where: Other, training: bool = False) -> Any:
        """Greet somebody somewhere."""
        if who is None or where is None:
            return None
        answer = Greeting(greeting=f"{self.state.get('persona')}: {who.get('name')} in {where.get('place')}")
        if training:
            self.state.get("current_predictions").append(entry(who, answer))
        return answer


class Several(ec.Module):
    """Takes a list."""

    async def call(self, inputs: list[Name], training: bool = False) -> Any:
        """Greet all."""
        if inputs is None or not all(inputs):
            return None
        return Greeting(greeting=" and ".join(each.get("name") for each in inputs))


class Named(ec.Module):
    """Takes a dict."""

    async def call(self, inputs: Any, training: bool = False) -> Any:
        """Greet."""
        if inputs is None or None in inputs.values():
            return None
        return Greeting(greeting=f"{inputs['who'].get('name')} in {inputs['where'].get('place')}")


class Unsaid(ec.Module):
    """Does not say what it takes."""

    async def call(self, inputs: Any, training: bool = False) -> Any:
        """Repeat it."""
        return inputs


def program_of_two() -> Any:
    who, where = ec.Input(data_model=Name), ec.Input(data_model=Other)

    async def made() -> Any:
        return await Both(name="both")(who, where)

    from eventcore.testing.scheduling import run_coroutine

    return ec.Program(inputs=[who, where], outputs=run_coroutine(made), name="two")


def program_by_name() -> Any:
    from eventcore.testing.scheduling import run_coroutine

    named = {"who": ec.Input(data_model=Name), "where": ec.Input(data_model=Other)}

    async def made() -> Any:
        return await Both(name="both")(named["who"], named["where"])

    return ec.Program(inputs=named, outputs=run_coroutine(made), name="by_name")


PAIRS = [(Name(name="Ada"), Other(place="Rome")), (Name(name="Bob"), Other(place="Oslo"))]
BY_NAME = [{"who": who, "where": where} for who, where in PAIRS]
DRAWN = st.tuples(st.builds(Name, name=st.text(max_size=3)), st.just(Other(place="here")))


@pytest.mark.parametrize(
    ("factory", "inputs"),
    [
        pytest.param(Both, None, id="two annotated arguments"),
        pytest.param(Both, PAIRS, id="tuples"),
        pytest.param(Both, (Name, Other), id="two classes"),
        pytest.param(Both, {"who": Name, "where": Other}, id="classes by the names of arguments"),
        pytest.param(Both, DRAWN, id="a strategy of tuples"),
        pytest.param(Both, [({"name": "Ada"}, {"place": "Rome"})], id="tuples of plain dicts"),
        pytest.param(Several, None, id="an annotated list"),
        pytest.param(Several, [[Name(name="Ada"), Name(name="Bob")]], id="a list in the list"),
        pytest.param(Named, BY_NAME, id="dicts"),
        pytest.param(Named, {"who": Name, "where": Other}, id="classes by name"),
        pytest.param(program_of_two, None, id="a program of two inputs"),
        pytest.param(program_of_two, PAIRS, id="a program of two inputs with tuples"),
        pytest.param(program_by_name, None, id="a program of inputs by name"),
        pytest.param(program_by_name, BY_NAME, id="a program of inputs by name with dicts"),
        pytest.param(Greeter, Name.get_schema(), id="a schema"),
        pytest.param(Greeter, [{"name": "Ada"}], id="plain dicts"),
        pytest.param(Greeter, Name(name="Ada"), id="one data model"),
        pytest.param(Unsaid, Name, id="a class for a module that says nothing"),
    ],
)
def test_inputs_may_be_given_in_many_ways(factory: Callable[[], Any], inputs: Any) -> None:
    report = check_module(factory, inputs, only=FEW)
    assert report["locks_after_first_call"].status == "passed"


@pytest.mark.campaign
@pytest.mark.parametrize(
    ("factory", "inputs"),
    [(Both, None), (Several, None), (Named, BY_NAME), (program_of_two, None), (program_by_name, None)],
)
def test_modules_of_several_inputs_pass_every_check(factory: Callable[[], Any], inputs: Any) -> None:
    assert check_module(factory, inputs).ok


def test_an_example_of_several_inputs_is_passed_as_call_wants_it() -> None:
    assert call_arguments(Both(), [1, 2]) == ([1, 2], {})
    assert call_arguments(Both(), {"who": 1, "where": 2}) == ([], {"who": 1, "where": 2})
    assert call_arguments(Several(), [1, 2]) == ([[1, 2]], {})
    assert call_arguments(Named(), {"who": 1}) == ([{"who": 1}], {})
    assert call_arguments(program_of_two(), [1, 2]) == ([[1, 2]], {})


def fails() -> Any:
    raise RuntimeError("no instance")


@pytest.mark.parametrize(
    ("factory", "inputs", "said"),
    [
        pytest.param(Greeter, [], r"without inputs: received \[\]; pass `inputs=` a list", id="none"),
        pytest.param(Unsaid, None, "cannot tell what Unsaid takes: pass `inputs=`", id="unsaid"),
        pytest.param(Greeter, 5, "cannot draw inputs from 5: pass `inputs=`", id="a number"),
        pytest.param(Greeter, [5], "cannot use example 0, 5: pass `inputs=`", id="a list of numbers"),
        pytest.param(Greeter, [Other(place="Rome")], "example 0, .*'name'", id="another type"),
        pytest.param(Both, [Name(name="Ada")], "example 0, .*list of 2 data models", id="one for two"),
        pytest.param(Greeter, [{"nome": "Ada"}], "example 0, .*nome", id="a dict of other fields"),
        pytest.param(lambda: 5, Name, "received 5; return a module", id="makes a number"),
        pytest.param(
            lambda: Greeter, Name, r"received the class Greeter; .*`Greeter\(\)`", id="makes a class"
        ),
        pytest.param(5, Name, "cannot make a module with 5: pass the class", id="is a number"),
        pytest.param(lambda persona: Greeter(persona), Name, "which needs persona", id="needs an argument"),
    ],
)
def test_what_cannot_be_checked_is_one_clear_error(factory: Any, inputs: Any, said: str) -> None:
    with pytest.raises(InvalidValue, match=re.compile(said, re.DOTALL)):
        ModuleSubject(factory, inputs).prepare()
    with pytest.raises(InvalidValue, match=re.compile(said, re.DOTALL)):
        check_module(factory, inputs)


def test_an_instance_is_no_factory() -> None:
    with pytest.raises(
        InvalidValue, match=r"which all checks would share: pass what makes one, the class Greeter"
    ):
        ModuleSubject(Greeter(), Name).prepare()


def test_a_factory_that_raises_is_left_to_the_checks() -> None:
    ModuleSubject(fails, Name).prepare()
    ModuleSubject(functools.partial(Greeter, persona="dry"), Name).prepare()


def test_values_in_messages_are_short_and_can_be_read() -> None:
    assert shown({"name": "\x84ä"}) == '{"name": "\\x84ä"}'
    assert len(shown("long" * 100)) < 170 and " … " in shown("long" * 100)
