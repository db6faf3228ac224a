"""What goes through `serialize_object` and `deserialize_object`, and what is refused."""

from __future__ import annotations

import dataclasses
import enum
import json
import sys
from typing import Any

import msgspec
import pytest

import eventcore as ec
from eventcore.errors import ConfigMismatch, InvalidValue, UnknownClass, WrongType
from eventcore.saving import (
    CustomObjectScope,
    deserialize_object,
    deserialize_synalinks_object,
    get_custom_objects,
    get_registered_name,
    get_registered_object,
    register_serializable,
    register_synalinks_serializable,
    serialize_object,
    serialize_synalinks_object,
)
from tests.saving.samples import Chain, Greet, Greeting, Name, Persona, Rename


def through_json(value: Any) -> Any:
    return deserialize_object(json.loads(json.dumps(serialize_object(value))))


class Holder(ec.Module):
    """Keeps what it was given."""

    def __init__(self, given: Any = None, *, other: Any = None, name: str | None = None) -> None:
        super().__init__(name=name)
        self.given, self.other = given, other

    async def call(self, inputs: Any) -> Any:
        return inputs


def given_back(value: Any) -> Any:
    """The value after a module that got it as an argument was saved and loaded."""
    return through_json(Holder(value)).get_config()["given"]


PLAIN: list[Any] = [
    None, True, 0, -(2**63), 2**64 - 1, 2**70, 1.5, -0.0, "text", "", [], {}, [1, [2, {"a": None}]],
    (1, 2), ((), [()]), {"t": (1, [2])}, b"\x00\xff", bytearray(b"x"), slice(1, None, 2), ..., {1, 2}, frozenset({"a"}),
    {1: "a", (2, 3): b"b", None: 4}, {False: 5}, {"class_name": "x"}, {"class_name": "x", "config": {}},
    {"class_name": "x", "config": {}, "live": True}, [{"class_name": "__tuple__", "config": {"items": []}}],
    float("inf"), float("-inf"), "\N{SNOWMAN}", {"live": True}, {"__place__": [1]},
]  # fmt: skip


@pytest.mark.parametrize("value", PLAIN, ids=repr)
def test_plain_values_come_back_equal_and_of_the_same_type(value: Any) -> None:
    for found in (through_json(value), given_back(value), given_back([value])[0]):
        assert found == value
        assert type(found) is type(value)
        assert repr(found) == repr(value)


def test_nan_comes_back_as_nan() -> None:
    assert str(through_json(float("nan"))) == "nan"


def test_plain_json_is_itself() -> None:
    value: Any = {"a": [1, 2.5, None, True, "x", {"b": {}}]}
    assert serialize_object(value) == value


def test_a_module_has_the_documented_shape() -> None:
    greet = Greet("loud", name="g", description="d")
    written = serialize_object(greet)
    assert written["module"] == "tests.saving.samples"
    assert written["class_name"] == written["registered_name"] == "Greet"
    assert written["config"] == {"persona": "loud", "name": "g", "description": "d", "trainable": True}
    assert serialize_object(ec.Identity(name="i"))["module"] == "eventcore"
    assert serialize_object(ec.Identity(name="i2"))["registered_name"] is None


def test_data_models_come_back() -> None:
    model = Persona(persona="x", habits={"a": [1]})
    assert given_back(model) == model
    assert type(given_back(model)) is Persona
    as_json = model.to_json_data_model(name="named")
    found = given_back(as_json)
    assert (found, found.name) == (as_json, "named")
    symbolic = Persona.to_symbolic_data_model(name="sym")
    back = given_back(symbolic)
    assert (back.get_schema(), back.name) == (symbolic.get_schema(), "sym")
    assert given_back(Persona) is Persona
    assert given_back({"model": [Persona, Greeting]}) == {"model": [Persona, Greeting]}


def test_an_initializer_and_a_class_of_ours_come_back() -> None:
    empty = ec.initializers.Empty(data_model=Persona)
    found = given_back(empty)
    assert found() == empty()
    assert given_back(ec.initializers.Empty) is ec.initializers.Empty


def test_nested_modules_come_back_with_their_names_and_inner_names() -> None:
    outer: Any = Rename(Greet("inner"), times=2)
    found = given_back(outer)
    assert [m.name for m in [found, found.inner, *found.own]] == [
        m.name for m in [outer, outer.inner, *outer.own]
    ]


def test_an_object_passed_twice_is_one_object_afterwards() -> None:
    shared = Greet("shared")
    found = given_back([shared, {"again": shared}])
    assert found[0] is found[1]["again"]


def test_what_is_an_object_already_is_returned_as_it_is() -> None:
    greet = Greet()
    assert deserialize_object(greet) is greet


def test_a_module_in_its_own_arguments_is_refused() -> None:
    given: list[Any] = []
    holder = Holder(name="self")
    given.append(holder)
    holder2 = Holder(given, other=holder)
    assert through_json(holder2).given[0].name == "self"
    object.__setattr__(holder, "get_config", lambda: {"given": holder})
    with pytest.raises(InvalidValue, match="among its own arguments"):
        serialize_object(holder)


def test_containers_that_contain_themselves_are_refused() -> None:
    endless: list[Any] = []
    endless.append(endless)
    with pytest.raises(InvalidValue, match="contains itself"):
        serialize_object(endless)
    knot: dict[str, Any] = {}
    knot["knot"] = knot
    with pytest.raises(InvalidValue, match="contains itself"):
        serialize_object(knot)


# --- functions and classes of one's own ---------------------------------------------------------


@register_serializable()
def shout(text: str) -> str:
    return text.upper()


def unregistered(text: str) -> str:
    return text


@register_synalinks_serializable(package="mine", name="Point")
@dataclasses.dataclass
class Point:
    x: int
    y: list[int]


class Size(msgspec.Struct):
    width: int


@register_serializable()
class Mood(enum.Enum):
    GLAD = "glad"
    SAD = "sad"


class Plain:
    def get_config(self) -> dict[str, Any]:
        return {}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Plain:
        return cls(**config)


def test_registered_functions_classes_and_enums_come_back() -> None:
    assert given_back(shout) is shout
    assert given_back(Point(1, [2])) == Point(1, [2])
    assert given_back(Point) is Point
    assert given_back([Mood.SAD, Mood]) == [Mood.SAD, Mood]
    assert get_registered_name(Point) == "mine>Point"
    assert get_registered_name(shout) == "Custom>shout"
    assert get_registered_name(Plain) == "Plain"
    assert get_registered_object("mine>Point") is Point
    assert get_registered_object("mine>Nothing") is None
    assert serialize_object(Point(1, []))["registered_name"] == "mine>Point"


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (lambda text: text, "a lambda"),
        (unregistered, "the function .unregistered"),
        (len, "the function .len"),
        (Plain(), "Plain"),
        (Plain, "Plain"),
        (Size, "Size"),
        (Size(1), "Size"),
        (object(), "object"),
        (1j, "complex"),
        ("half \ud800", "surrogate"),
        ({"\ud800": 1}, "surrogate"),
        (iter([]), "list_iterator"),
    ],
)
def test_what_no_other_process_could_make_again_is_refused_when_it_is_saved(value: Any, said: str) -> None:
    with pytest.raises(InvalidValue, match=said):
        serialize_object(value)
    with pytest.raises(InvalidValue, match=rf"Holder/given.*{said}"):
        serialize_object(Holder(value))


def test_a_variable_as_an_argument_is_refused() -> None:
    with pytest.raises(InvalidValue, match="pass the module that owns it"):
        serialize_object(Holder([Greet().state]))


@pytest.mark.parametrize("wrong", [7, "text", lambda: None])
def test_only_classes_and_named_functions_can_be_registered(wrong: Any) -> None:
    with pytest.raises(WrongType):
        register_serializable()(wrong)


def test_a_get_config_that_fails_or_returns_no_dict_is_named() -> None:
    class Broken(Holder):
        def get_config(self) -> Any:
            return self.missing  # type: ignore[attr-defined]

    class Listed(Holder):
        def get_config(self) -> Any:
            return [1]

    with pytest.raises(InvalidValue, match="get_config raised AttributeError"):
        serialize_object(Broken())
    with pytest.raises(WrongType, match="must return a dict"):
        serialize_object(Listed())


def test_custom_objects_come_before_what_is_registered() -> None:
    written = serialize_object(Greet("x", name="g"))
    other = type("Greet", (Greet,), {"__module__": "elsewhere"})
    for name in ("Greet", "tests.saving.samples.Greet"):
        assert type(deserialize_object(written, {name: other})) is other
    with CustomObjectScope({"Greet": other}):
        assert type(deserialize_object(written)) is other
    assert type(deserialize_object(written)) is Greet
    get_custom_objects()["Greet"] = other
    try:
        assert type(deserialize_object(written)) is other
    finally:
        del get_custom_objects()["Greet"]


def test_a_custom_object_is_a_class_or_function_by_name() -> None:
    with pytest.raises(WrongType, match="as a custom object"):
        deserialize_object(None, {"Greet": 3})


def test_the_guides_spelling_is_the_same_function() -> None:
    assert serialize_synalinks_object is serialize_object
    assert deserialize_synalinks_object is deserialize_object


# --- what is found, and what is not --------------------------------------------------------------

HOSTILE: list[Any] = [
    {"module": "os", "class_name": "system", "config": {"command": "true"}, "registered_name": "system"},
    {"module": None, "class_name": "os.system", "config": {}},
    {"module": "subprocess", "class_name": "Popen", "config": {"args": "true"}},
    {"module": None, "class_name": "subprocess:Popen", "config": {}},
    {"module": "antigravity", "class_name": "geohash", "config": {}},
    {"module": "antigravity", "class_name": "function", "config": "geohash", "registered_name": "geohash"},
    {"module": "builtins", "class_name": "function", "config": "eval", "registered_name": "Custom>eval"},
    {"module": "builtins", "class_name": "eval", "config": {}},
    {
        "class_name": "__class__",
        "config": {"module": "antigravity", "class_name": "x", "registered_name": None},
    },
    {"module": "eventcore", "class_name": "open", "config": {}},
    {"module": "eventcore.cli", "class_name": "main", "config": {}},
    {"module": "eventcore", "class_name": "errors.os", "config": {}},
]


@pytest.mark.parametrize("config", HOSTILE, ids=repr)
def test_nothing_is_imported_or_called_because_a_config_names_it(config: Any) -> None:
    for given in (config, {"deep": [config]}, serialize_holder(config)):
        before = set(sys.modules)
        with pytest.raises(UnknownClass, match="nothing is imported because a file says so"):
            deserialize_object(given)
        assert set(sys.modules) == before
    assert "antigravity" not in sys.modules


def serialize_holder(config: Any) -> Any:
    return {
        "module": __name__,
        "class_name": "Holder",
        "config": {"given": {**config, "live": True}, "name": "h"},
        "registered_name": "Holder",
    }


@pytest.mark.parametrize(
    "config",
    [
        {"class_name": 3, "config": {}},
        {"class_name": "Greet"},
        {"module": 3, "class_name": "Greet", "config": {}},
        {"module": "tests.saving.samples", "class_name": "Greet", "config": [1]},
        {"module": "tests.saving.samples", "class_name": "Greet", "config": None, "unsaved": "why"},
        {"class_name": "__tuple__", "config": {}},
        {"class_name": "__tuple__", "config": None},
        {"class_name": "__bytes__", "config": {"value": "*"}},
        {"class_name": "__bytes__", "config": {"value": 3}},
        {"class_name": "__dict__", "config": {"items": [[1]]}},
        {"class_name": "__dict__", "config": {"items": [[[], 1]]}},
        {"class_name": "__set__", "config": {"items": [[]]}},
        {"class_name": "__int__", "config": {"value": "x"}},
        {"class_name": "__slice__", "config": {"start": 1}},
        {"class_name": "__data_model__", "config": {"schema": 3, "json": {}, "name": "x"}},
        {"class_name": "__data_model__", "config": {"nothing": 3}},
        {"class_name": "__symbolic_data_model__", "config": {}},
        {"class_name": "__data_model_class__", "config": {}},
        {"class_name": "__enum__", "config": {**{"module": __name__, "class_name": "Mood"}, "member": "ODD"}},
    ],
    ids=repr,
)
def test_json_that_is_no_object_is_refused_with_an_error_of_ours(config: Any) -> None:
    with pytest.raises(ec.EventcoreError) as caught:
        deserialize_object(config)
    assert str(caught.value).startswith("cannot ")


def test_arguments_a_class_does_not_take_today_are_named() -> None:
    written = serialize_object(Greet("x", name="g"))
    written["config"]["colour"] = "red"
    with pytest.raises(TypeError, match=r"cannot make Greet of .* from its config.*colour"):
        deserialize_object(written)


def test_a_data_model_whose_fields_changed_is_a_mismatch_but_its_words_may() -> None:
    written = serialize_object(Name)
    written["config"]["schema"]["description"] = "other words"
    written["config"]["schema"]["properties"]["name"]["title"] = "Other"
    assert deserialize_object(written) is Name
    written["config"]["schema"]["properties"]["surname"] = {"type": "string"}
    with pytest.raises(ConfigMismatch, match="surname"):
        deserialize_object(written)


def test_a_program_of_subclasses_is_an_object_like_any_other() -> None:
    program = Chain([Greet("a")], name="c")
    ec.wait(program(Name(name="Ada")))
    written = json.loads(json.dumps(serialize_object(program)))
    program_again = deserialize_object(written)
    assert [v.path for v in program_again.variables] == [v.path for v in program.variables]


@pytest.fixture(autouse=True)
def no_names_left() -> None:
    ec.clear_session(free_memory=False)
