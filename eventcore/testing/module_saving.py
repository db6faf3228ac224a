"""The checks of a module that is saved, loaded, rebuilt, forked and read back from its log."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

from eventcore.history.scope import in_run
from eventcore.history.state import State, apply
from eventcore.modules.module import Module as AnyModule
from eventcore.programs.program import Program
from eventcore.saving.construction import program_from_run
from eventcore.saving.serialization import deserialize_object, serialize_object
from eventcore.testing.checks import Check, Tally
from eventcore.testing.module_arguments import judge_arguments
from eventcore.testing.module_inputs import changed_part, shown
from eventcore.testing.module_replay import recorded_use, used_again
from eventcore.testing.module_subject import (
    Bench,
    ModuleSubject,
    called,
    outputs_json,
    program_around,
    workbench,
)
from eventcore.testing.module_training import drawn_fields
from eventcore.testing.scheduling import run_coroutine

INSTANCES = 8
"""How many times more a program is loaded before a difference is put down to the file."""


def values_of(module: Any) -> dict[str, Any]:
    """Return the value of every variable by its name; paths differ when the same module lies elsewhere."""
    return {variable.name: variable.get_json() for variable in module.variables}


def _shapes(module: Any) -> list[tuple[str, Any, bool]]:
    return [(variable.path, variable.get_schema(), variable.trainable) for variable in module.variables]


def _used(bench: Bench, subject: ModuleSubject) -> None:
    """Give the variables a past: calls, and values nobody would guess."""
    for example in subject.examples(3):
        bench.answer(example, training=True)
    for number, variable in enumerate(bench.module.trainable_variables):
        variable.update(drawn_fields(variable, number + 1))


def config_round_trip(subject: ModuleSubject, tally: Tally) -> None:
    """Make the module again from its config, and compare the two; then with other arguments."""
    with subject.bench() as bench:
        example = subject.examples(1)[0]
        bench.answer(example)
        module = bench.module
        text = json.dumps(serialize_object(module))
        shapes, expected = _shapes(module), _first_values(subject)
    with workbench(subject.number):
        again: Any = deserialize_object(json.loads(text))
        tally.require(
            type(again) is type(module),
            f"from_config made a {type(again).__name__}, of the config of a {type(module).__name__}",
        )
        for fact in ("name", "description", "trainable"):
            mine, theirs = getattr(module, fact), getattr(again, fact)
            tally.require(
                mine == theirs, f"made from its config, its {fact} is {theirs!r} and not {mine!r}: {_CONFIG}"
            )
        if not again.built:
            called(again, example)
        tally.require(
            _shapes(again) == shapes, f"made from its config, it has {_other_shapes(_shapes(again), shapes)}"
        )
        changed = changed_part(json.loads(text), serialize_object(again))
        tally.require(not changed, f"the config is another one after a round: {changed}")
    with workbench(subject.number):
        fresh: Any = deserialize_object(json.loads(text))
        found = values_of(fresh) if isinstance(fresh, AnyModule) else {}
        wrong = {name: value for name, value in expected.items() if found.get(name) != value}
        tally.require(
            not wrong, f"made from its config, it begins with {_difference(wrong, found)}: {_CONFIG}"
        )
    judge_arguments(subject, tally)


_CONFIG = "`get_config` has to hold every argument, and `from_config` to use it"


def _other_shapes(found: list[tuple[str, Any, bool]], wanted: list[tuple[str, Any, bool]]) -> str:
    mine, theirs = {each[0]: each for each in wanted}, {each[0]: each for each in found}
    for path in {**mine, **theirs}:
        if path not in theirs:
            return f"no variable {path!r}"
        if path not in mine:
            return f"a variable {path!r} it had not"
        if mine[path] != theirs[path]:
            what = "another schema" if mine[path][1] != theirs[path][1] else f"trainable={theirs[path][2]}"
            return f"{what} for variable {path!r}"
    return "its variables in another order"


def _first_values(subject: ModuleSubject) -> dict[str, Any]:
    """Return the values a fresh instance begins with."""
    with subject.bench() as bench:
        return values_of(bench.module)


def save_and_load(subject: ModuleSubject, tally: Tally) -> None:
    """Save the module in a program, in each form, load it, and compare values and answers."""
    example = subject.examples(1)[0]
    with tempfile.TemporaryDirectory(prefix="eventcore-check-") as folder, subject.bench() as bench:
        program = run_coroutine(lambda: program_around(bench.module, example))
        _used(bench, subject)
        bench.run.flush()
        answers: dict[str, Any] = {}
        for form in ("portable.json", "store.lmdb"):
            path = Path(folder) / form
            program.save(str(path))
            answers[form] = _loaded_as(subject, program, path, tally)
            tally.require(
                answers[form] is not None or _silent(program, example),
                f"loaded from {form}, it gives no answer to {subject.shown(0)}",
            )
        first, other = answers["portable.json"], answers["store.lmdb"]
        now = outputs_json(called(program, example))
        wrong = f"and from store.lmdb {shown(other)}" if other != first else ""
        wrong = wrong or (f"and before it was saved {shown(now)}" if now != first else "")
        path = Path(folder) / "portable.json"
        if wrong and any(_loaded_answer(subject, path, example, more) != first for more in range(INSTANCES)):
            tally.note(
                "loaded several times it gives several answers, as recorded clocks and random numbers do, so "
                "answers were not compared"
            )
            return
        tally.require(
            not wrong, f"loaded from portable.json, {subject.shown(0)} is answered {shown(first)}, {wrong}"
        )


def _loaded_as(subject: ModuleSubject, program: Any, path: Path, tally: Tally) -> Any:
    """Load a program, compare its values with those of the one that was saved, and return its answer."""
    expected = values_of(program)
    names = [variable.path for variable in program.trainable_variables]
    with workbench(subject.number):
        loaded = Program.load(str(path))
        held = values_of(loaded)
        tally.require(held == expected, f"values changed in {path.name}: {_difference(expected, held)}")
        found = [variable.path for variable in loaded.trainable_variables]
        tally.require(found == names, f"trainable variables changed in {path.name}: {names} to {found}")
        return outputs_json(called(loaded, subject.examples(1)[0]))


def _loaded_answer(subject: ModuleSubject, path: Path, example: Any, more: int) -> Any:
    """Answer in a run of another seed, of which `ec.random` is made."""
    with workbench(subject.number + more):
        return outputs_json(called(Program.load(str(path)), example))


def _silent(program: Any, example: Any) -> bool:
    return called(program, example) is None


def _difference(one: dict[str, Any], other: dict[str, Any]) -> str:
    wrong = [name for name in {**one, **other} if one.get(name) != other.get(name)]
    return "; ".join(changed_part(one.get(name), other.get(name), name) for name in wrong[:3])


def fork_round_trip(subject: ModuleSubject, tally: Tally) -> None:
    """Fork the run, go on in the fork, and look at both."""
    with subject.bench() as bench:
        program = run_coroutine(lambda: program_around(bench.module, subject.examples(1)[0]))
        for example in subject.examples(3):
            called(program, example, training=True)
        bench.run.flush()
        head, digest, expected = bench.run.head, bench.run.state.digest, values_of(program)
        with bench.run.fork("beside") as fork:
            again: Any = program_from_run(fork)
            tally.require(
                values_of(again) == expected,
                f"a fork's program begins with other values: {_difference(expected, values_of(again))}",
            )
            with in_run(fork):
                for example in subject.examples(3):
                    called(again, example, training=True)
            fork.flush()
            tally.require(
                fork.state.digest == fork.at(fork.head).digest, "the fork's state is not what its log says"
            )
        tally.require(
            bench.run.head == head,
            f"what happened in a fork was written into its parent, which ends at seq {bench.run.head} and not {head}",
        )
        tally.require(
            bench.run.state.digest == digest,
            f"what happened in a fork changed its parent: {_difference(expected, values_of(program))}",
        )


def state_is_the_fold(subject: ModuleSubject, tally: Tally) -> None:
    """Fold the log again, from the beginning, after every call; then run the calls again over their log."""
    with subject.bench() as bench:
        state, seq = State(), 0
        for example in [*subject.examples(), *subject.examples(2)]:
            bench.answer(example, training=True)
            head = bench.run.flush()
            if head > seq:
                for record in bench.run.events(seq + 1):
                    apply(state, record.event)
                seq = head
            tally.require(
                state.digest == bench.run.state.digest, f"the log folded up to event {seq} is another state"
            )
            live = {variable.path: variable.get_json() for variable in bench.module.variables}
            held = {path: state.variables[path] for path in live}
            tally.require(held == live, f"the log and the variables differ: {_difference(held, live)}")
    with recorded_use(subject) as (source, first):
        used_again(subject, source, first, "replayed", tally)


CHECKS: tuple[Check[ModuleSubject], ...] = (
    Check(
        "config_round_trip",
        "`get_config` and `from_config` make the same module: same class, arguments, variables and first values.",
        config_round_trip,
    ),
    Check(
        "save_and_load",
        "A program with the module comes back from every form of file with its values, and answers as before.",
        save_and_load,
    ),
    Check(
        "fork_round_trip",
        "A fork goes on from the same values, and nothing done in it reaches the run it came from.",
        fork_round_trip,
    ),
    Check(
        "equal_state_from_replay",
        "The log alone gives the state, folded again, and the same calls over their log do nothing else than it says.",
        state_is_the_fold,
    ),
)
