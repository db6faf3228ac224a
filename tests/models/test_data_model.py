"""`DataModel` and `Field`: declaring, constructing, reading, assigning, comparing, inheriting."""

from __future__ import annotations

import copy
import gc
import json
import pickle
import weakref
from enum import Enum
from typing import Any, ClassVar, Literal, Optional, Union

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eventcore.errors import ImmutableValue, InvalidValue, SchemaMismatch, UnknownField
from eventcore.models import DataModel, Field, JsonDataModel, SymbolicDataModel, Validator
from eventcore.models.data_model import ModelMeta


class Tone(Enum):
    CALM = "calm"
    LOUD = "loud"


class Voice(DataModel):
    """How it sounds."""

    tone: Tone = Tone.CALM
    volume: float = Field(default=1, ge=0, le=11)


class Guest(DataModel):
    name: str
    age: int | None = None
    voice: Voice = Voice()
    tags: list[str] = Field(default=[])
    notes: dict[str, Any] = Field(default_factory=dict)
    friends: list[Guest] = Field(default=[])
    mood: Literal["good", "bad"] = "good"


def made(model: Any, **values: Any) -> Any:
    """Construct past the type checker, which knows the fields and would refuse what the tests try."""
    return model(**values)


def declare(annotation: Any, **namespace: Any) -> Any:
    """Declare a model with one field called `value`."""
    annotations = {"value": annotation} if annotation is not None else {}
    return ModelMeta(
        "Declared", (DataModel,), {"__annotations__": annotations, "__module__": __name__, **namespace}
    )


def test_fields_are_attributes_and_nested_models_are_instances() -> None:
    guest: Guest = made(
        Guest, name="Ada", voice={"tone": "loud"}, friends=[Guest(name="Bob"), {"name": "Cy"}]
    )
    assert guest.name == "Ada"
    assert guest.voice == Voice(tone=Tone.LOUD, volume=1.0)
    assert guest.voice.tone is Tone.LOUD
    assert [type(friend) for friend in guest.friends] == [Guest, Guest]
    assert guest.friends[1].voice.tone is Tone.CALM
    assert Guest.keys() == ["name", "age", "voice", "tags", "notes", "friends", "mood"]


def test_json_is_complete_and_keeps_none() -> None:
    assert Guest(name="Ada").get_json() == {
        "name": "Ada",
        "age": None,
        "voice": {"tone": "calm", "volume": 1.0},
        "tags": [],
        "notes": {},
        "friends": [],
        "mood": "good",
    }


def test_json_is_a_copy_and_nothing_passed_in_is_aliased() -> None:
    tags, voice, notes = ["a"], Voice(), {"deep": [1]}
    guest = Guest(name="Ada", tags=tags, voice=voice, notes=notes)
    tags.append("b")
    voice.volume = 7
    notes["deep"].append(2)
    guest.get_json()["tags"].append("c")
    guest.get("notes")["deep"].append(3)
    assert guest.tags == ["a"]
    assert guest.voice.volume == 1.0
    assert guest.notes == {"deep": [1]}


def test_defaults_are_not_shared_between_instances() -> None:
    first, second = Guest(name="a"), Guest(name="b")
    first.tags.append("x")
    first.notes["k"] = 1
    first.voice.volume = 3
    assert second.get_json()["tags"] == []
    assert second.notes == {}
    assert second.voice.volume == 1.0
    assert Guest.get_schema()["properties"]["tags"]["default"] == []


@pytest.mark.parametrize(
    ("values", "pointer"),
    [
        ({}, "/name"),
        ({"name": 3}, "/name"),
        ({"name": "x", "age": "3"}, "/age"),
        ({"name": "x", "age": True}, "/age"),
        ({"name": "x", "age": 1.0}, "/age"),
        ({"name": "x", "tags": "abc"}, "/tags"),
        ({"name": "x", "tags": ["a", 1]}, "/tags/1"),
        ({"name": "x", "voice": {"volume": 12}}, "/voice/volume"),
        ({"name": "x", "voice": {"tone": "shrill"}}, "/voice/tone"),
        ({"name": "x", "voice": None}, "/voice"),
        ({"name": "x", "mood": "ugly"}, "/mood"),
        ({"name": "x", "notes": {"a": float("inf")}}, "/notes/a"),
        ({"name": "x", "notes": {1: 2}}, "/notes"),
        ({"name": "x", "friends": [{"name": "y", "friends": [{}]}]}, "/friends/0/friends/0/name"),
        ({"name": "x", "nmae": "y"}, "/nmae"),
    ],
)
def test_what_does_not_fit_is_refused_with_its_place(values: dict[str, Any], pointer: str) -> None:
    with pytest.raises(SchemaMismatch) as caught:
        Guest(**values)
    assert caught.value.pointer == pointer
    assert isinstance(caught.value, ValueError)
    assert "cannot accept Guest" in str(caught.value)


def test_an_instance_with_more_fields_does_not_fit_a_field_of_its_base_class() -> None:
    class Loud(Voice):
        echo: bool = True

    with pytest.raises(SchemaMismatch, match="the unknown field 'echo'"):
        Guest(name="x", voice=Loud())


def test_assignment_is_validated_and_leaves_the_old_value_when_refused() -> None:
    guest = Guest(name="Ada")
    guest.age = 36
    guest.voice = {"tone": "loud"}  # type: ignore[assignment]
    assert guest.voice.tone is Tone.LOUD
    for name, value in [("age", "36"), ("voice", {"volume": -1}), ("unknown", 1)]:
        with pytest.raises(SchemaMismatch):
            setattr(guest, name, value)
    assert guest.age == 36
    assert guest.voice == Voice(tone=Tone.LOUD)
    with pytest.raises(InvalidValue, match="cannot delete"):
        del guest.age


def test_a_container_changed_to_what_does_not_fit_is_found_when_json_is_made() -> None:
    guest = Guest(name="Ada")
    guest.tags.append(3)  # type: ignore[arg-type]
    with pytest.raises(SchemaMismatch) as caught:
        guest.get_json()
    assert caught.value.pointer == "/tags/0"


def test_a_nested_change_shows_in_the_json() -> None:
    guest = Guest(name="Ada", friends=[Guest(name="Bob")])
    guest.friends[0].voice.volume = 2
    assert guest.get_json()["friends"][0]["voice"]["volume"] == 2.0


def test_fields_are_read_by_key_too() -> None:
    guest = Guest(name="Ada", voice=Voice(volume=2))
    assert guest["name"] == guest.get("name") == "Ada"
    assert guest.get("voice") == {"tone": "calm", "volume": 2.0}
    assert guest.get("nothing", 5) == 5
    with pytest.raises(KeyError, match="its fields are: name, age"):
        guest["nothing"]
    with pytest.raises(UnknownField):
        guest["nothing"]


def test_instances_compare_by_class_and_value() -> None:
    assert Guest(name="a") == Guest(name="a")
    assert Guest(name="a") != Guest(name="b")
    assert Voice() != Guest(name="a")
    with pytest.raises(TypeError):
        hash(Voice())

    class Number(DataModel):
        value: Any

    assert Number(value=1) != Number(value=1.0)
    assert Number(value=1) != Number(value=True)


def test_instances_copy_and_pickle() -> None:
    guest = Guest(name="Ada", friends=[Guest(name="Bob")])
    deep = copy.deepcopy(guest)
    assert deep == guest == pickle.loads(pickle.dumps(guest))
    deep.friends[0].name = "Cy"
    assert guest.friends[0].name == "Bob"
    assert Guest.from_config(guest.get_config()) == guest


def test_the_repr_names_the_fields() -> None:
    assert repr(Voice(volume=2)) == "Voice(tone=<Tone.CALM: 'calm'>, volume=2.0)"
    assert json.loads(Voice().prettify_json()) == Voice().get_json()
    assert json.loads(Voice.prettify_schema()) == Voice.get_schema()


def test_it_converts_to_a_value_and_to_a_placeholder() -> None:
    guest = Guest(name="Ada")
    value = guest.to_json_data_model(name="guest")
    assert isinstance(value, JsonDataModel)
    assert (value.name, value.get_json(), value.get_schema()) == (
        "guest",
        guest.get_json(),
        Guest.get_schema(),
    )
    placeholder = Guest.to_symbolic_data_model(name="later")
    assert isinstance(placeholder, SymbolicDataModel)
    assert (placeholder.name, placeholder.get_schema()) == ("later", Guest.get_schema())
    with pytest.raises(ImmutableValue):
        value["name"] = "Bob"


def test_private_attributes_and_class_variables_are_no_fields() -> None:
    class Counted(DataModel):
        kind: ClassVar[str] = "counted"
        _cache: int = 0
        count: int = 0

        @property
        def twice(self) -> int:
            return self.count * 2

        def more(self) -> int:
            return self.count + 1

    counted = Counted(count=2)
    counted._cache = 5
    assert Counted.keys() == ["count"]
    assert (counted.twice, counted.more(), counted._cache, Counted.kind) == (4, 3, 5, "counted")
    assert counted.get_json() == {"count": 2}
    assert not hasattr(Counted, "count")


def test_inherited_fields_come_first_and_defaults_can_be_overridden() -> None:
    class Base(DataModel):
        """Only of the base."""

        first: int = Field(default=1, description="The first.", ge=0)
        second: str

    class Other(DataModel):
        other: bool = False

    class Child(Base, Other):
        third: float = 0.5
        first = 5
        second: str = "given"

    assert Child.keys() == ["other", "first", "second", "third"]
    assert Child().get_json() == {"other": False, "first": 5, "second": "given", "third": 0.5}
    described = Child.get_schema()["properties"]["first"]
    assert (described["description"], described["default"], described["minimum"]) == ("The first.", 5, 0)
    assert "description" not in Child.get_schema()
    with pytest.raises(SchemaMismatch):
        Child(first=-1)
    with pytest.raises(SchemaMismatch):
        made(Base, first=1)


def test_annotating_again_without_a_default_makes_the_field_required_again() -> None:
    class Base(DataModel):
        value: int = 1

    class Strict(Base):
        value: int  # pyright: ignore[reportGeneralTypeIssues]  # which sees the danger, too

    with pytest.raises(SchemaMismatch, match="received nothing"):
        made(Strict)


def test_a_factory_is_called_for_each_instance_and_what_it_gives_is_checked() -> None:
    numbers = iter([1, 2, "three"])

    class Numbered(DataModel):
        number: int = Field(default_factory=lambda: next(numbers))

    class Outer(DataModel):
        inner: Numbered

    assert Numbered().number == 1
    assert made(Outer, inner={}).inner.number == 2
    assert "required" not in Numbered.get_schema()
    with pytest.raises(SchemaMismatch, match="/number"):
        Numbered()


def test_local_and_later_classes_resolve() -> None:
    class Tree(DataModel):
        left: Optional[Tree] = None  # noqa: UP045 - the older spelling
        leaf: Leaf | None = None

    with pytest.raises(InvalidValue, match="define or import that name"):
        Tree()

    class Leaf(DataModel):
        value: int

    tree = Tree(left=Tree(leaf=Leaf(value=1)))
    assert tree.left is not None
    assert tree.left.leaf == Leaf(value=1)


def test_classes_nested_in_classes_resolve() -> None:
    class Outer(DataModel):
        class Inner(DataModel):
            value: int = 1

        inner: Inner = Inner()

    assert Outer().inner.value == 1


def test_an_unresolved_name_is_said_when_the_class_is_used() -> None:
    class Lost(DataModel):
        field: NoSuchThing  # type: ignore[name-defined]  # noqa: F821

    with pytest.raises(InvalidValue, match="NoSuchThing"):
        Lost.get_schema()


def test_fields_may_have_names_of_methods() -> None:
    names = {"keys": list[str], "prefix": str, "get": int}
    odd_model: Any = ModelMeta(
        "Odd", (DataModel,), {"__annotations__": names, "__module__": __name__, "get": 1}
    )
    odd = odd_model(keys=["k"], prefix="p")
    assert (odd.keys, odd.prefix, odd.get) == (["k"], "p", 1)
    assert odd.get_json() == {"keys": ["k"], "prefix": "p", "get": 1}
    assert (odd + odd).keys() == ["keys", "prefix", "get", "keys_1", "prefix_1", "get_1"]


@pytest.mark.parametrize("name", ["get_json", "get_schema"])
def test_two_names_are_taken(name: str) -> None:
    with pytest.raises(InvalidValue, match="choose another name"):
        ModelMeta("Odd", (DataModel,), {"__annotations__": {name: int}, "__module__": __name__})


@pytest.mark.parametrize(
    ("annotation", "namespace", "words"),
    [
        (int, {"value": None}, "default does not fit"),
        (
            int,
            {"value": Field(default=3, min_length=3)},
            "min_length=3; allowed for values of type string, array",
        ),
        (None, {"value": Field(default=3)}, "without an annotation"),
        (str, {"value": Field(default="", pattern="(")}, "pattern"),
        (set[int], {}, "received set; allowed: list"),
        (bytes, {}, "received the annotation bytes"),
        (dict[int, str], {}, "dict keys of type int"),
        (Voice | Guest, {}, r"typing.Union\[A, B\]"),
        ("Voice | Guest", {}, r"typing.Union\[A, B\]"),
    ],
)
def test_mistakes_in_a_declaration_are_said_where_it_is_written(
    annotation: Any, namespace: dict[str, Any], words: str
) -> None:
    with pytest.raises(InvalidValue, match=words):
        declare(annotation, **namespace)


def test_mistakes_in_a_field_are_said_where_it_is_written() -> None:
    with pytest.raises(InvalidValue, match="both default and default_factory"):
        Field(default=1, default_factory=int)
    with pytest.raises(InvalidValue, match="keyword 'minimum'"):
        Field(minimum=3)


def test_constraints_hold() -> None:
    class Tight(DataModel):
        number: int = Field(gt=0, lt=10, multiple_of=3)
        ratio: float = Field(default=0.5, ge=0, le=1)
        word: str = Field(default="ab", min_length=2, max_length=3, pattern="^a")
        words: list[str] = Field(default=["x"], min_items=1, max_items=2)
        table: dict[str, int] = Field(default={}, max_length=1)
        maybe: Optional[int] = Field(default=None, ge=5)  # noqa: UP045 - the older spelling

    assert Tight(number=3, maybe=5).number == 3
    refused: list[dict[str, Any]] = [
        {"number": 0},
        {"number": 4},
        {"number": 12},
        {"number": 3, "ratio": 1.5},
        {"number": 3, "word": "a"},
        {"number": 3, "word": "abcd"},
        {"number": 3, "word": "ba"},
        {"number": 3, "words": []},
        {"number": 3, "words": ["a", "b", "c"]},
        {"number": 3, "table": {"a": 1, "b": 2}},
        {"number": 3, "maybe": 4},
    ]
    for values in refused:
        with pytest.raises(SchemaMismatch):
            made(Tight, **values)


def test_a_union_of_models_gives_the_one_that_fits() -> None:
    class Cat(DataModel):
        meow: int

    class Dog(DataModel):
        bark: int

    class Owner(DataModel):
        pet: Union[Cat, Dog, str, None] = None  # noqa: UP007 - `Cat | Dog` is an operator
        pets: dict[str, Cat | None] = Field(default={})
        pair: tuple[Cat, int] | None = None

    assert made(Owner, pet={"bark": 1}).pet == Dog(bark=1)
    assert Owner(pet=Cat(meow=2)).pet == Cat(meow=2)
    assert Owner(pet="fish").pet == "fish"
    owner = made(Owner, pets={"a": {"meow": 1}, "b": None}, pair=(Cat(meow=3), 4))
    assert owner.pets == {"a": Cat(meow=1), "b": None}
    assert owner.pair == (Cat(meow=3), 4)
    assert owner.get_json()["pair"] == [{"meow": 3}, 4]


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-5, 15)
    | st.sampled_from([0.5, 1.0, "", "a", "calm", "loud", "good"]),
    lambda inner: (
        st.lists(inner, max_size=2)
        | st.dictionaries(st.sampled_from(["name", "tone", "volume", "friends"]), inner, max_size=3)
    ),
    max_leaves=6,
)
VOICES = st.fixed_dictionaries(
    {}, optional={"tone": st.sampled_from(["calm", "loud"]) | JSON, "volume": st.integers(-1, 12) | JSON}
)
GUESTS = st.fixed_dictionaries(
    {"name": st.text("ab", max_size=2) | JSON},
    optional={
        "age": st.none() | st.integers(0, 5) | JSON,
        "voice": VOICES | JSON,
        "tags": st.lists(st.text("ab", max_size=2), max_size=2) | JSON,
        "notes": JSON,
        "friends": st.lists(
            st.fixed_dictionaries({"name": st.just("b")}, optional={"voice": VOICES}), max_size=2
        )
        | JSON,
        "mood": st.sampled_from(["good", "bad"]) | JSON,
    },
)
FROM_TEXT = Validator(json.loads(json.dumps(Guest.get_schema())))


@given(GUESTS)
def test_a_model_accepts_exactly_what_its_schema_read_back_from_text_accepts(values: dict[str, Any]) -> None:
    try:
        expected = FROM_TEXT.check(values)
    except SchemaMismatch as refused:
        with pytest.raises(SchemaMismatch) as caught:
            Guest(**values)
        assert caught.value.pointer == refused.pointer
        return
    guest = Guest(**values)
    assert json.dumps(guest.get_json()) == json.dumps(expected)
    assert Guest(**guest.get_json()) == guest
    assert JsonDataModel(data_model=guest) == JsonDataModel(schema=Guest.get_schema(), json=expected)


def test_an_ellipsis_says_that_there_is_no_default() -> None:
    class Needed(DataModel):
        value: int = Field(...)

    class Given(DataModel):
        value: int = Field(3)

    assert Needed.get_schema()["required"] == ["value"]
    assert made(Given).value == 3


def test_a_class_made_in_a_function_is_let_go_with_what_surrounded_it() -> None:
    class Big:
        pass

    def define() -> tuple[weakref.ref[Any], weakref.ref[Any]]:
        surrounding = Big()

        class Local(DataModel):
            other: Local | None = None

        Local(other=Local()).get_json()
        return weakref.ref(Local), weakref.ref(surrounding)

    model, surrounding = define()
    assert surrounding() is None
    gc.collect()
    assert model() is None


def test_reading_a_recording_view_into_a_model_calls_none_of_its_methods() -> None:
    class View(dict[str, Any]):
        def __getitem__(self, key: str) -> Any:
            raise AssertionError("a read was recorded")

        get = items = keys = values = __iter__ = __getitem__  # type: ignore[assignment]

    assert made(Guest, **{"name": "Ada", "voice": View(volume=2), "notes": View(a=1)}).get_json()[
        "notes"
    ] == {"a": 1}
