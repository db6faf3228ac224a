"""A program of any kind, saved and loaded, is the same program: classes, paths, values, flags, answers."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import eventcore as ec
from tests.modules.samples import Greet, Mirror, Name, Number
from tests.programs.test_subclassing import Loop, Mixed, MixedBySchema


class Nested(ec.Module):
    """Makes its parts itself and leaves their names to chance."""

    def __init__(self) -> None:
        super().__init__()
        self.parts = [Greet(), Greet()]
        self.mirror = Mirror()

    async def call(self, inputs: Any) -> Any:
        return await self.parts[0](await self.mirror(inputs))


def graph() -> Any:
    a, b = ec.Input(data_model=Name, name="a"), ec.Input(data_model=Name, name="b")

    async def outputs() -> Any:
        nested = await Nested()(a)
        return [await Greet()((await Mirror()(b)) & a), nested + b]

    return ec.Program(inputs=[a, b], outputs=ec.wait(outputs()))


class Parallel(ec.Program):
    """Its graph holds a graph with two modules side by side."""

    async def build(self, inputs: Any) -> None:
        x = ec.Input(schema=inputs.get_schema())
        inner = ec.Program(
            inputs=x, outputs=[await Greet(name="g1")(x), await Greet(name="g2")(x)], name="inner"
        )
        super().__init__(inputs=inputs, outputs=await ec.Concat()(await Wrapped(inner)(inputs)))


class Wrapped(ec.Module):
    def __init__(self, program: Any) -> None:
        super().__init__()
        self.program = program

    async def call(self, inputs: Any) -> Any:
        return await self.program(inputs)


def within_a_program() -> Any:
    x = ec.Input(data_model=Name)
    return ec.Program(inputs=x, outputs=ec.wait(Mixed()(x)))


PROGRAMS: dict[str, tuple[Any, Any]] = {
    "graph": (graph, [Name(name="a"), Name(name="b")]),
    "nested program": (within_a_program, Name(name="a")),
    "subclass": (Loop, Number(number=1)),
    "mixed": (Mixed, Name(name="a")),
    "mixed by schema": (MixedBySchema, Name(name="a")),
    "parallel inside": (Parallel, Name(name="a")),
    "sequence": (lambda: ec.Sequential([Mirror(), Nested()], description="d"), Name(name="a")),
    "sequence with input": (
        lambda: ec.Sequential([ec.Input(data_model=Name), Mirror(), Greet()], description="d"),
        Name(name="a"),
    ),
}


def shown(output: Any) -> Any:
    return [shown(item) for item in output] if isinstance(output, list) else output.get_json()


def state_of(program: Any) -> Any:
    return [(v.path, v.get_json(), v.trainable, v.description) for v in program.variables]


@pytest.mark.parametrize("kind", PROGRAMS)
@pytest.mark.parametrize("form", [".json", ".lmdb"])
def test_a_program_is_the_same_after_saving_and_loading(kind: str, form: str, tmp_path: Path) -> None:
    make, data = PROGRAMS[kind]
    program = make()
    ec.wait(program(data))
    for variable in program.trainable_variables:
        variable.update({"persona": f"changed {variable.path}"})
    program.save(tmp_path / f"p{form}")
    before, expected = state_of(program), shown(ec.wait(program(data)))

    async def load() -> Any:
        return ec.Program.load(tmp_path / f"p{form}")

    for loaded in (ec.Program.load(tmp_path / f"p{form}"), ec.wait(load())):
        assert type(loaded) is type(program) and loaded.description == program.description
        assert [module.name for module in loaded.modules] == [module.name for module in program.modules]
        assert state_of(loaded) == before
        assert shown(ec.wait(loaded(data))) == expected


@pytest.mark.parametrize("kind", PROGRAMS)
def test_a_clone_is_the_same_program_with_variables_of_its_own(kind: str) -> None:
    make, data = PROGRAMS[kind]
    program = make()
    expected = shown(ec.wait(program(data)))
    clone = program.clone(name="clone")
    assert shown(ec.wait(clone(data))) == expected
    mine, others = {v.path for v in program.variables}, {v.path for v in clone.variables}
    assert (
        len(mine) == len(others) and not mine & others and all(path.startswith("clone/") for path in others)
    )
    assert [type(module) for module in clone.modules] == [type(module) for module in program.modules]
    assert program.clone().name != program.name


class Twice(ec.Module):
    """Gives what it got, or the first of it, beside a copy, in tuples."""

    async def call(self, inputs: Any) -> Any:
        first = inputs[0] if isinstance(inputs, tuple) else inputs
        assert not isinstance(first, list)
        return first, (first.clone(), [first.clone()])


def tuples_out() -> Any:
    x = ec.Input(data_model=Name)
    first, rest = ec.wait(Twice()(x))
    return ec.Program(inputs=(x,), outputs=(first, [rest, {"again": rest}]))


def tuples_between() -> Any:
    x = ec.Input(data_model=Name)
    return ec.Program(inputs=x, outputs=ec.wait(Twice()(ec.wait(Twice()(x)))))


def structure_of(output: Any) -> Any:
    if isinstance(output, (list, tuple)):
        return type(output), [structure_of(item) for item in output]
    return (
        {key: structure_of(item) for key, item in output.items()}
        if type(output) is dict
        else output.get_json()
    )


@pytest.mark.parametrize(
    "make",
    [
        tuples_out,
        tuples_between,
        lambda: ec.Sequential([Twice(), Twice(name="last")], description="d"),
        lambda: ec.Sequential([ec.Input(data_model=Name), Twice(), Twice(name="last")], description="d"),
    ],
)
def test_tuples_are_still_tuples_after_saving_loading_and_cloning(make: Any, tmp_path: Path) -> None:
    program = make()
    expected = structure_of(ec.wait(program(Name(name="a"))))
    assert expected[0] is tuple
    program.save(tmp_path / "p.json")
    program.save(tmp_path / "p.lmdb")
    loaded = [ec.Program.load(tmp_path / name) for name in ("p.json", "p.lmdb")]
    for other in (*loaded, program.clone(name="clone")):
        assert structure_of(ec.wait(other(Name(name="a")))) == expected
    assert type(loaded[0].output_schema) is type(program.output_schema)
    loaded[0].save(tmp_path / "again.json")
    again = ec.Program.load(tmp_path / "again.json")
    assert structure_of(ec.wait(again(Name(name="a")))) == expected


class Tree(ec.Program):
    """Three levels of modules, each with a variable that can be trained."""

    def __init__(self, name: str | None = None) -> None:
        super().__init__(name=name)
        self.left = Wrapped(Greet(name="left"))
        self.right = Wrapped(Wrapped(Greet(name="right")))
        self.own = Greet(name="own")

    async def call(self, inputs: Any) -> Any:
        await self.left(inputs)
        await self.right(inputs)
        return await self.own(inputs)


def flagged(program: Any) -> list[Any]:
    found: list[Any] = [program, program.left, program.left.program, program.right, program.right.program]
    found += [program.right.program.program, program.own]
    return found + [v for v in program.variables if v.eligible]


@settings(max_examples=25)
@given(
    st.lists(st.tuples(st.integers(0, 9), st.booleans())),
    st.lists(st.tuples(st.integers(0, 9), st.booleans())),
)
def test_any_order_of_freezing_and_thawing_means_the_same_after_saving_and_loading(
    before: list[tuple[int, bool]], after: list[tuple[int, bool]]
) -> None:
    ec.clear_session(free_memory=False)
    with tempfile.TemporaryDirectory() as folder, ec.open("memory:") as store, store.run("law"):
        program = Tree()
        ec.wait(program(Name(name="a")))
        for index, flag in before:
            flagged(program)[index].trainable = flag
        program.save(f"{folder}/p.json")
        loaded = ec.Program.load(f"{folder}/p.json")
        for changes in ([], after):
            for index, flag in changes:
                flagged(program)[index].trainable = flag
                flagged(loaded)[index].trainable = flag
            assert [x.trainable for x in flagged(loaded)] == [x.trainable for x in flagged(program)]
            assert [v.trainable for v in loaded.variables] == [v.trainable for v in program.variables]
