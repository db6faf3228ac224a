"""Laws: what can be saved comes back equal, for random values and random programs, in every form (L28)."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

from hypothesis import given, note, settings
from hypothesis import strategies as st

import eventcore as ec
from eventcore.saving import deserialize_object, serialize_object
from tests.saving.samples import Chain, Greet, Name, Rename, account

text = st.text(st.characters(exclude_categories=["Cs"]), max_size=6)
scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | text
    | st.binary(max_size=4)
    | st.just(...)
    | st.builds(slice, st.none() | st.integers(-3, 3), st.integers(-3, 3), st.none())
)
keys = text | st.sampled_from(["class_name", "config", "live", "module", "shared_object_id", "__value__"])
hashable = st.recursive(
    st.none() | st.integers() | text | st.binary(max_size=3),
    lambda inner: st.tuples(inner, inner) | st.frozensets(inner, max_size=2),
    max_leaves=3,
)
nested = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.tuples(inner, inner)
        | st.dictionaries(keys, inner, max_size=3)
        | st.dictionaries(hashable, inner, max_size=2)
        | st.sets(hashable, max_size=2)
    ),
    max_leaves=12,
)


def same(one: Any, other: Any) -> bool:
    """Equality that tells types, signs of zero and the order of dicts apart."""
    if type(one) is not type(other):
        return False
    if isinstance(one, dict):
        return len(one) == len(other) and all(
            same(a, b) and same(one[a], other[b]) for a, b in zip(one, other, strict=True)
        )
    if isinstance(one, (list, tuple)):
        return len(one) == len(other) and all(map(same, one, other))
    return bool(one == other) and (isinstance(one, (set, frozenset)) or repr(one) == repr(other))


@given(nested)
def test_any_value_comes_back_equal_through_json_text(value: Any) -> None:
    written = json.loads(json.dumps(serialize_object(value)))
    note(repr(written))
    assert same(deserialize_object(written), value)


class Keeper(ec.Module):
    """Keeps its argument."""

    def __init__(self, kept: Any = None, name: str | None = None) -> None:
        super().__init__(name=name)
        self.kept = kept

    async def call(self, inputs: Any) -> Any:
        return inputs


@given(nested)
def test_any_constructor_argument_comes_back_equal_even_nested_and_written_twice(value: Any) -> None:
    keeper = Keeper({"own": value, "inner": [Keeper(value, name="inner")]}, name="outer")
    written = json.loads(json.dumps(serialize_object(keeper)))
    found = deserialize_object(written)
    config = found.get_config()
    assert same(config["kept"]["own"], value)
    assert same(config["kept"]["inner"][0].get_config()["kept"], value)
    assert serialize_object(found) == serialize_object(keeper)
    assert same(deserialize_object(serialize_object({"raw": written})), {"raw": written})


finite = st.floats(allow_nan=False, allow_infinity=False)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | finite | text,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(text, inner, max_size=3),
    max_leaves=6,
)


def module_from(draw: Any, pool: list[ec.Module]) -> ec.Module:
    """A new module of random class and arguments, or one that is in use already."""
    if pool and draw(st.booleans()):
        used: ec.Module = draw(st.sampled_from(pool))
        return used
    kind = draw(st.sampled_from(["flagged", "nested", "nested", "keeper"]))
    if kind == "keeper":
        made: ec.Module = Keeper(draw(nested))
    elif kind == "flagged":
        made = Rename(times=1, trainable=draw(st.booleans()))
    else:
        inner = Greet(draw(text), draw(json_values)) if draw(st.booleans()) else None
        made = Rename(inner, times=draw(st.integers(0, 2)), description=draw(st.none() | text))
    pool.append(made)
    return made


@st.composite
def programs(draw: st.DrawFn) -> Any:
    ec.clear_session(free_memory=False)
    pool: list[ec.Module] = []
    links = [module_from(draw, pool) for _ in range(draw(st.integers(0, 3)))]
    kind = draw(st.sampled_from(["chain", "sequence", "graph"]))
    if kind == "graph":
        value: Any = ec.Input(data_model=Name, name="entrance")
        start = value
        for link in links:
            value = ec.wait(link(value))
        value = ec.wait(ec.Identity(name="exit")(value))
        program: Any = ec.Program(inputs=start, outputs=value, name="graph", description=draw(text))
    elif kind == "sequence" and len(set(map(id, links))) == len(links) and links:
        program = ec.Sequential(links, name="sequence", description=draw(text) or "x")
    else:
        program = Chain(tuple(links), note=draw(nested), name="chain", trainable=draw(st.booleans()))
    if draw(st.booleans()):
        ec.wait(program(Name(name="Ada"), training=True))
    for variable in program.variables:
        if draw(st.booleans()):
            variable.trainable = False
        if variable.get_schema()["title"] == "Persona":
            habits = draw(st.dictionaries(text, json_values, max_size=2))
            variable.update({"persona": draw(text), "habits": habits})
        elif variable.get_schema()["title"] == "Stats":
            variable.update({"by_name": draw(st.dictionaries(text, json_values, max_size=2))})
    for module in program.modules:
        if draw(st.booleans()):
            module.trainable = draw(st.booleans())
    return program


@settings(max_examples=15)
@given(st.data())
def test_any_program_comes_back_equal_from_every_form(data: st.DataObject) -> None:
    store = ec.open("memory:")
    with store.run("law"), tempfile.TemporaryDirectory() as folder:
        program = data.draw(programs())
        expected, arguments = account(program), serialize_object(program)
        for form in ("p.lmdb", "p.sqlite", "p.json"):
            program.save(Path(folder) / form)
            loaded = ec.Program.load(Path(folder) / form)
            assert account(loaded) == expected
            assert serialize_object(loaded) == arguments
            del loaded
        assert account(program) == expected
        with ec.open("memory:").run("elsewhere") as run:
            loaded = ec.Program.load(Path(folder) / "p.lmdb")
            assert account(loaded) == expected
            assert {path: run.state.variables[path] for path in run.state.names()} == {
                variable.path: variable.get_json() for variable in program.variables
            }
            assert ec.wait(loaded(Name(name="Eve"))).get_json() is not None
    store.close()
