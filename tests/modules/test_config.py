"""A module is made again from its config: constructor arguments are kept without being asked for."""

from __future__ import annotations

from typing import Any

import pytest

import eventcore as ec
from eventcore.errors import ConfigMismatch, InvalidValue
from eventcore.modules.construction import restoring
from tests.modules.samples import Greet, Mirror, Name, Number


class Base(ec.Module):
    def call(self, inputs: Any) -> Any:
        return inputs


class Everything(Base):
    def __init__(
        self, first: int, second: Any = 2, *, third: Any = None, name: str | None = None, **rest: Any
    ) -> None:
        super().__init__(name=name)
        self.given = (first, second, third, rest)


def test_arguments_are_kept_by_name_however_they_were_passed() -> None:
    module = Everything(1, [2, {"a": 3}], third=Number, extra=5)
    config = module.get_config()
    assert config == {
        "first": 1,
        "second": [2, {"a": 3}],
        "third": Number,
        "extra": 5,
        "name": "everything",
        "description": "",
        "trainable": True,
    }
    assert Everything.from_config({**config, "name": "again"}).given == module.given


def test_kept_arguments_do_not_change_with_what_was_passed_in() -> None:
    given = [1, {"a": [2]}]
    module = Everything(1, given)
    given.append(3)
    given[1]["a"].append(4)  # type: ignore[index]
    assert module.get_config()["second"] == [1, {"a": [2]}]


def test_a_constructor_without_name_description_and_trainable_gets_them_back_all_the_same() -> None:
    class Bare(Base):
        def __init__(self, size: int) -> None:
            super().__init__()
            self.size = size
            self.state = self.add_variable(data_model=Number, name=f"state_{self.name}")

    first = Bare(3)
    Bare(4)
    first.trainable = False
    config = first.get_config()
    ec.clear_session()
    again = Bare.from_config(config)
    other = Bare(5)
    assert (again.name, again.size, again.trainable) == ("bare", 3, False)
    assert again.state.path == "bare/state_bare" and other.trainable


def test_arguments_that_have_no_name_say_so_when_the_config_is_asked_for() -> None:
    class Many(Base):
        def __init__(self, *things: Any) -> None:
            super().__init__()

    assert Many().get_config()["name"] == "many"
    with pytest.raises(InvalidValue, match="'things' has no keyword"):
        Many(1, 2).get_config()


def test_a_classes_own_config_wins() -> None:
    class Own(Everything):
        def get_config(self) -> dict[str, Any]:
            return {"first": 42, "name": self.name}

    assert Own.from_config(Own(1, name="own").get_config()).given[0] == 42


def test_a_clone_has_the_config_another_name_and_its_own_variables() -> None:
    greet = Greet(persona="terse", trainable=False)
    named, unnamed = greet.clone(name="other"), greet.clone()
    assert (named.name, unnamed.name) == ("other", "greet_1")
    assert named.state.get("persona") == "terse" and not named.trainable
    assert {v.path for v in named.variables}.isdisjoint(v.path for v in greet.variables)


class Nested(Base):
    def __init__(self, name: str | None = None) -> None:
        super().__init__(name=name)
        self.parts = [Greet(), Greet()]
        self.mirror = Mirror()

    async def call(self, inputs: Any) -> Any:
        return await self.mirror(inputs)


def paths(module: ec.Module) -> list[str]:
    return [variable.path for variable in module.variables]


def test_modules_made_inside_a_constructor_get_their_automatic_names_again() -> None:
    Greet()
    nested = Nested(name="nested")
    ec.wait(nested(Name(name="a")))
    expected, build = paths(nested), nested.get_build_config()
    assert expected[0] == "nested/greet_1/persona_greet_1" and build is not None
    ec.clear_session()
    Greet()
    Greet()
    with restoring(Nested, names=build["names"]):
        again = Nested(name="nested")
    assert again.parts[0].name == "greet_1"
    again.build_from_config(build)
    assert paths(again) == expected and again.built and again.mirror.built


def test_building_from_a_config_that_fits_another_module_is_refused() -> None:
    nested = Nested()
    ec.wait(nested(Name(name="a")))
    build = nested.get_build_config()
    assert build is not None

    class Smaller(Base):
        pass

    with pytest.raises(ConfigMismatch, match="it holds 0 modules, and held 3 then"):
        Smaller().build_from_config(build)


def test_building_from_a_config_inside_a_running_loop_works_when_build_waits_for_nothing() -> None:
    mirror = Mirror()
    ec.wait(mirror(Name(name="a")))
    build = mirror.get_build_config()
    assert build is not None

    async def main() -> None:
        again = Mirror(name="again")
        again.build_from_config(build)
        assert again.built and len(again.variables) == 1

    ec.wait(main())
