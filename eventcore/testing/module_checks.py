"""The checks of one module on its own: what it declares, reads, writes and records when it is called.

What training, saving, repetition and concurrency do to it is in the two modules beside this one. `MODULE_CHECKS` of
`eventcore.testing.modules` is the whole list.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

from eventcore.errors import EventcoreError, TrackerLocked
from eventcore.history.population import BOOKKEEPING
from eventcore.history.scope import in_run
from eventcore.models.conversion import missing_defaults
from eventcore.models.data_model import DataModel
from eventcore.models.validation import validator_for
from eventcore.modules.structure import leaves
from eventcore.testing.attributes import changed_attributes, changes_told, plain_attributes
from eventcore.testing.checks import Check, DoesNotApply, Tally
from eventcore.testing.module_inputs import call_arguments, changed_part, shown
from eventcore.testing.module_records import one_record_per_use
from eventcore.testing.module_subject import (
    ModuleSubject,
    outputs_json,
    program_around,
    read_fields,
)
from eventcore.testing.scheduling import run_coroutine

Module = ModuleSubject


REPEATS = 5
"""How often answers that follow a value must do so again; a coin would do it once in 30,000 times."""


class Late(DataModel):
    """What is added where nothing may be added any more."""

    value: int = 0


def defaults_complete(subject: Module, tally: Tally) -> None:
    """Make the module twice, and every trainable value from nothing."""
    with subject.bench(built=True) as bench:
        first = bench.module
        tally.require(isinstance(first.name, str), "the module has no name")
        for variable in first.variables:
            if not variable.eligible:
                continue
            missing = missing_defaults(variable.get_schema())
            tally.require(
                not missing,
                f"fields {missing} of trainable variable {variable.path!r} have no default; an optimizer needs one",
            )
            filled = validator_for(variable.get_schema()).check({}, variable.path)
            tally.require(
                set(filled) >= set(BOOKKEEPING),
                f"{variable.path!r} lacks bookkeeping fields when it is filled",
            )
    with subject.bench() as bench:
        tally.require(
            bench.module is not first, "the factory returned the same instance twice: it must make a new one"
        )


def variables_discovered(subject: Module, tally: Tally) -> None:
    """Compare what was declared in the log with what the module lists."""
    with subject.bench() as bench:
        bench.answer(subject.examples(1)[0])
        declared = Counter(event.path for event in bench.events("VariableDeclared"))
        listed = Counter(variable.path for variable in bench.module.variables)
        if not declared and not listed:
            raise DoesNotApply("the module has no variables")
        for path in declared:
            tally.require(
                path in listed,
                f"variable {path!r} is declared in the log and not among `variables`: assign it to an attribute of "
                "the module (or to a list, tuple or dict in one), so that optimizers and saving find it",
            )
        twice = sorted(path for path, count in listed.items() if count > 1)
        tally.require(not twice, f"variables {twice} are listed twice")
        split = [v.path for v in (*bench.module.trainable_variables, *bench.module.non_trainable_variables)]
        tally.require(
            Counter(split) == listed,
            "`trainable_variables` and `non_trainable_variables` are not `variables`",
        )
        for name, path in [(variable.name, variable.path) for variable in bench.module.variables]:
            found = bench.module.get_variable(name=path)
            tally.require(found.name == name, f"`get_variable(name={path!r})` gave another variable")


def locks_after_first_call(subject: Module, tally: Tally) -> None:
    """Call the module, then try to change its set of variables; call it on everything else."""
    with subject.bench() as bench:
        module, examples = bench.module, subject.examples()
        bench.answer(examples[0])
        tally.require(module.built, "the first call did not build the module: does it override `__call__`?")
        before = [variable.path for variable in module.variables]
        seq = bench.run.head
        try:
            module.add_variable(data_model=Late, name="added_late")
        except TrackerLocked:
            tally.count()
        else:
            tally.fail("a variable could be added after the first call")
        for example in [*examples, *examples[:1]]:
            for training in (False, True):
                bench.answer(example, training=training)
                tally.count()
        late = [event.path for event in bench.events("VariableDeclared", start=seq + 1)]
        tally.require(not late, f"variables {late} were made in a later call; make them in __init__ or build")
        tally.require(
            [variable.path for variable in module.variables] == before,
            "the set of variables changed after the first call",
        )


_TELLING = frozenset(BOOKKEEPING) - {"examples", "predictions", "candidates", "history"}
"""The bookkeeping fields whose names mean nothing else: a memory of a conversation has a history, too."""


def trainable_iff_trainable(subject: Module, tally: Tally) -> None:
    """Hold every variable against its schema, freeze the module and thaw it again."""
    with subject.bench(built=True) as bench:
        module = bench.module
        variables = list(module.variables)
        if not variables:
            raise DoesNotApply("the module has no variables")
        for variable in variables:
            some = set(variable.get_schema()["properties"]) & set(BOOKKEEPING)
            tally.require(
                not (variable.requested and some & _TELLING) or some == set(BOOKKEEPING),
                f"the data model of {variable.path!r} has the bookkeeping fields {sorted(some)} but not all nine: "
                "derive it from `Trainable`, else it is silently not trained; or pass trainable=False",
            )
            tally.require(
                not variable.trainable or (variable.eligible and variable.requested),
                f"{variable.path!r} is trainable although its data model is not, or it was not asked for",
            )
            listed = any(variable is mine for mine in module.trainable_variables)
            tally.require(
                listed == variable.trainable,
                f"{variable.path!r} says trainable={variable.trainable} and `trainable_variables` says {listed}",
            )
        _freezing(module, tally)


def _freezing(module: Any, tally: Tally) -> None:
    before = [variable.path for variable in module.trainable_variables]
    was = module.trainable
    module.trainable = False
    tally.require(
        not module.trainable_variables and not any(variable.trainable for variable in module.variables),
        "after `module.trainable = False` it still has trainable variables",
    )
    module.trainable = was
    after = [variable.path for variable in module.trainable_variables]
    tally.require(
        after == before, f"freezing and thawing changed the trainable variables: {before} to {after}"
    )


def reads_are_events(subject: Module, tally: Tally) -> None:
    """Change each field of each variable, and see whether an answer follows a field nobody read."""
    with subject.bench(built=True) as bench:
        own = [(v, field) for v in bench.module.variables for field in read_fields(v)]
        if not own:
            raise DoesNotApply("the module has no variables with fields of their own")
        example = subject.examples(1)[0]
        for variable, field in own:
            seen = _answers_by_value(subject, variable.path, field, example)
            if len(seen) < 2:
                continue
            tally.count()
            for answer, read in seen[1:]:
                follows = answer != seen[0][0] and not (read and seen[0][1])
                if follows and _again(subject, variable.path, field, example, seen):
                    tally.fail(
                        f"the answer depends on {field!r} of {variable.path!r}, and the log does not say that it was "
                        "read: use `variable.get(field)`; `get_json()` is for display and records nothing"
                    )
        if not tally.exercised:
            raise DoesNotApply("no field of a variable can hold a second value")


def _again(subject: Module, path: str, field: str, example: Any, seen: list[tuple[Any, bool]]) -> bool:
    """Whether the answers are the same again for each value: a recorded clock or lottery would change them too."""
    return all(_answers_by_value(subject, path, field, example) == seen for _ in range(REPEATS))


def _answers_by_value(subject: Module, path: str, field: str, example: Any) -> list[tuple[Any, bool]]:
    """Return (answer, whether the field was read) for a few values of a field, in fresh places."""
    found: list[tuple[Any, bool]] = []
    for number in range(3):
        with subject.bench(built=True) as bench:
            variable = bench.module.get_variable(name=path)
            if number and not _changed(variable, field, number):
                continue
            start = bench.run.head
            try:
                answer = outputs_json(bench.answer(example))
            except EventcoreError:
                raise
            except Exception as error:
                answer = repr(error)
            reads = [
                event.field
                for event in bench.events("FieldRead", start=start + 1)
                if event.variable == variable.number
            ]
            found.append((answer, field in reads or None in reads))
    return found


def _changed(variable: Any, field: str, number: int) -> bool:
    """Write another value into a field; False where the schema allows no other."""
    from eventcore.testing.schema_strategies import draw, json_values

    schema = variable.get_schema()
    part = {**schema["properties"][field]}
    if "$defs" in schema:
        part["$defs"] = schema["$defs"]
    before = variable.get_json().get(field)
    others = [value for value in draw(json_values(part), 12, number) if value not in (before, None)]
    if not others:
        return False
    variable.update({field: max(others, key=lambda value: len(repr(value)))})
    return True


def writes_are_events(subject: Module, tally: Tally) -> None:
    """Call the module and compare its state with its log, and its attributes with what they were."""
    with subject.bench() as bench:
        module, examples = bench.module, subject.examples()
        bench.answer(examples[0])
        before = plain_attributes(module)
        for example in examples:
            for training in (False, True):
                bench.answer(example, training=training)
                tally.count()
        changed = changes_told(before, plain_attributes(module))
        if changed:
            tally.fail(
                f"calls changed {changed}: what outlives a call belongs in a variable, where the log has it"
            )
        bench.run.flush()
        logged = bench.run.at(bench.run.head)
        wrong = changed_part(dict(logged.variables.items()), dict(bench.run.state.variables.items()))
        tally.require(
            logged.digest == bench.run.state.digest,
            f"the state is not what the log says: {wrong or 'beside the variables'}",
        )


def none_in_none_out(subject: Module, tally: Tally) -> None:
    """Give the module what an inactive branch gives."""
    with subject.bench() as bench:
        example = subject.examples(1)[0]
        by_place, by_name = call_arguments(bench.module, example)
        if len(by_place) != 1 or by_name or isinstance(example, (list, dict)):
            raise DoesNotApply(
                "the module takes several inputs; what one None among them means is its own affair"
            )
        bench.answer(example)
        bench.run.flush()
        before = {variable.path: variable.get_json() for variable in bench.module.variables}
        answer = bench.answer(None, training=True, rollout="training:0/inactive/0")
        tally.require(
            all(part is None for part in leaves(answer)),
            f"an input of None (an inactive branch) was answered by {shown(outputs_json(answer))}; return None",
        )
        after = {variable.path: variable.get_json() for variable in bench.module.variables}
        wrong = changed_part(before, after)
        tally.require(not wrong, f"an input of None (an inactive branch) changed a variable: {wrong}")


def tracing_is_free_of_side_effects(subject: Module, tally: Tally) -> None:
    """Build a graph with the module and see whether anything happened."""
    with subject.bench() as bench:
        example, module = subject.examples(1)[0], bench.module
        bench.answer(example)
        if isinstance(module, _program_class()):
            raise DoesNotApply("a program is a graph already")
        bench.run.flush()
        values, head = {each.path: each.get_json() for each in module.variables}, bench.run.head
        before = plain_attributes(module)
        run_coroutine(lambda: program_around(module, example))
        bench.run.flush()
        wrong = changed_part(values, {each.path: each.get_json() for each in module.variables})
        tally.require(not wrong, f"tracing changed the state: {wrong}")
        kinds = sorted({type(event).__name__ for event in bench.events(start=head + 1)} - _HARMLESS)
        tally.require(not kinds, f"tracing recorded {', '.join(kinds)}")
        changed = changes_told(before, plain_attributes(module))
        tally.require(not changed, f"tracing changed {changed}; keep state in variables")
    _first_trace(subject, tally)


_HARMLESS = frozenset({"TrackerLocked", "ProgramDeclared", "SourceSeen"})


def _program_class() -> type[Any]:
    from eventcore.programs.program import Program

    return Program


def _first_trace(subject: Module, tally: Tally) -> None:
    """A module traced before its first call begins with the values it was made with."""
    with subject.bench() as bench:
        example = subject.examples(1)[0]
        before = {variable.path: variable.get_json() for variable in bench.module.variables}
        attributes = plain_attributes(bench.module)
        run_coroutine(lambda: program_around(bench.module, example))
        for variable in bench.module.variables:
            if variable.path in before:
                tally.require(
                    variable.get_json() == before[variable.path],
                    f"tracing changed {variable.path!r}: {changed_part(before[variable.path], variable.get_json())}",
                )
        tally.count()
        after = plain_attributes(bench.module)
        changed = [
            name for name in changed_attributes(attributes, after) if name in attributes and name in after
        ]
        # What `build` sets for the first time is made, not changed.
        moved = [name for name in changed if attributes[name] not in (None, "None")]
        tally.require(not moved, f"tracing changed {', '.join(moved)}; keep state in variables")


def instances_share_nothing(subject: Module, tally: Tally) -> None:
    """Use one instance and look at another, and at one made afterwards."""
    with subject.bench(built=True) as bench, subject.bench(built=True) as beside:
        used, other = bench.module, beside.module
        if not used.variables:
            raise DoesNotApply("the module has no variables")
        mine = {id(variable) for variable in used.variables}
        shared = [variable.path for variable in other.variables if id(variable) in mine]
        tally.require(not shared, f"two instances hold the same variables: {shared}")
        before = [variable.get_json() for variable in other.variables]
        attributes = plain_attributes(other)
        tally.require(
            [variable.get_json() for variable in used.variables] == before,
            "two instances made alike begin with different values: "
            + changed_part(before, [variable.get_json() for variable in used.variables]),
        )
        with in_run(bench.run):
            for example in subject.examples():
                bench.answer(example, training=True)
        tally.require(
            [variable.get_json() for variable in other.variables][: len(before)] == before,
            "using one instance changed the variables of another: "
            + changed_part(before, [variable.get_json() for variable in other.variables][: len(before)]),
        )
        changed = changes_told(attributes, plain_attributes(other))
        tally.require(not changed, f"using one instance changed {changed} of another")
    with subject.bench(built=True) as later:
        late = [variable.get_json() for variable in later.module.variables]
        tally.require(
            late == before,
            f"an instance made after another was used begins with other values: {changed_part(before, late)}",
        )


CHECKS: tuple[Check[ModuleSubject], ...] = (
    Check(
        "defaults_complete",
        "The module can be made again and again, and every trainable value from nothing, before any data is seen.",
        defaults_complete,
    ),
    Check(
        "variables_discovered",
        "Every variable the module makes is listed once, so optimizers, saving and summaries see it.",
        variables_discovered,
    ),
    Check(
        "locks_after_first_call",
        "After the first call the set of variables is final: every batch and every save sees the same one.",
        locks_after_first_call,
    ),
    Check(
        "trainable_iff_trainable",
        "What is meant to be trained is, nothing else is, and freezing the module freezes all of it.",
        trainable_iff_trainable,
    ),
    Check(
        "reads_are_events",
        "No answer depends on a value the log does not say was read, so `blame` and lineage are complete.",
        reads_are_events,
    ),
    Check(
        "writes_are_events",
        "What outlives a call is in variables and passed through events, so nothing is lost when the run resumes.",
        writes_are_events,
    ),
    Check(
        "one_record_per_use",
        "Under training each use leaves one record of its own inputs and outputs, without a reward; else none.",
        one_record_per_use,
    ),
    Check(
        "none_in_none_out",
        "A branch that was not taken gives nothing, records nothing and changes nothing.",
        none_in_none_out,
    ),
    Check(
        "tracing_is_free_of_side_effects",
        "Building a graph changes no variable and no attribute, so a program can be built before it is used.",
        tracing_is_free_of_side_effects,
    ),
    Check(
        "instances_share_nothing",
        "Two instances share no state: using or training one leaves the other as it was made.",
        instances_share_nothing,
    ),
)
