"""What a module's records have to be: one for each use under training, of that use's inputs and outputs, unrewarded.

A use is a call that read a field of the variable and gave an answer. What a record holds of the inputs is the
module's own affair (they may have been changed first, or be kept by name); it may not contradict them.
"""

from __future__ import annotations

from typing import Any, cast

from eventcore.language_models.generator import Generator
from eventcore.models.conversion import is_data_model, json_of
from eventcore.testing.checks import Tally
from eventcore.testing.module_inputs import example_json, inputs_by_name, shown
from eventcore.testing.module_subject import Bench, ModuleSubject, outputs_json, read_fields


def one_record_per_use(subject: ModuleSubject, tally: Tally) -> None:
    """Call the module with and without training, and count the records of each call."""
    with subject.bench(built=True) as bench:
        trainable = {variable.number: variable for variable in bench.trainable()}
        bench.answer(subject.examples(1)[0])
        numbers = {variable.path: variable.number for variable in trainable.values()}
        bench.watch()
        for place, example in enumerate(subject.examples()):
            for training in (False, True):
                when = f"{subject.shown(place)}, called with training={training}:"
                for variable in trainable.values():
                    variable.update({"current_predictions": []})
                bench.calls.clear()
                start = bench.run.head
                answer = bench.answer(example, training=training)
                for variable in bench.module.trainable_variables:
                    read = own_reads(bench, variable, numbers[variable.path], start)
                    records = variable.get_json()["current_predictions"]
                    _judge_records(bench, variable, records, training, read, when, tally)
                    if bench.owner(variable) is bench.module:
                        _judge_contents(bench.module, records, example, outputs_json(answer), when, tally)


def own_reads(bench: Bench, variable: Any, number: int, start: int) -> int:
    """Count the reads since an event of what an optimizer writes into a variable."""
    fields = set(read_fields(variable))
    return sum(
        1
        for event in bench.events("FieldRead", start=start + 1)
        if event.variable == number and (event.field is None or event.field in fields)
    )


def _judge_records(
    bench: Bench, variable: Any, records: list[Any], training: bool, read: int, when: str, tally: Tally
) -> None:
    owner = bench.owner(variable)
    uses = sum(1 for call in bench.calls if call.module is owner and call.outputs is not None)
    where = f"variable {variable.path!r}"
    if not training:
        tally.require(
            not records, f"{when} {len(records)} records were appended to {where}, and 0 are wanted"
        )
        return
    if not read:
        tally.require(
            not records,
            f"{when} a record was appended to {where} without reading a field of it: what an optimizer proposes there "
            "has no effect, and is rewarded all the same",
        )
        return
    if not uses:
        tally.require(
            not records, f"{when} no answer was given, and {len(records)} records were appended to {where}"
        )
        return
    fine = len(records) == 1 if uses == 1 else 1 <= len(records) <= uses
    tally.require(fine, f"{when} {uses} uses of {where} left {len(records)} records; one for each is wanted")
    for record in records:
        tally.require(
            isinstance(record, dict) and {"inputs", "outputs", "reward"} <= record.keys(),
            f"{when} a record of {where} lacks inputs, outputs or reward: {shown(record)}",
        )
        reward = cast("dict[str, Any]", record)["reward"]
        tally.require(
            reward is None,
            f"{when} a record of {where} was appended with reward {reward!r}; it begins as None",
        )


def _judge_contents(
    module: Any, records: list[Any], example: Any, outputs: Any, when: str, tally: Tally
) -> None:
    """Hold a record of the module's own variable against what the call was given and what it gave."""
    for record in records:
        for what, wanted in (("inputs", inputs_told(module, example)), ("outputs", [outputs])):
            tally.require(
                bool(record[what]) or not any(wanted),
                f"{when} the record's {what} are {shown(record[what])}: an optimizer cannot see what was used; append "
                "the record when it is complete, as a variable keeps a copy",
            )
            wrong = contradictions(record[what], wanted)
            tally.require(
                not wrong,
                f"{when} the record's {what} are not this call's: {wrong} of {shown(record[what])} differ from "
                f"{shown(wanted[0])}",
            )


def inputs_told(module: Any, example: Any) -> list[Any]:
    """Return the forms in which a record may hold the inputs of a call: as given, by name, as the model was asked."""
    found = [example_json(example), *inputs_by_name(module, example)]
    if isinstance(module, Generator) and is_data_model(example):
        asked = module.asked(example)
        found += [json_of(asked)] if is_data_model(asked) else []
    return found


def contradictions(held: Any, wanted: list[Any]) -> list[str]:
    """Name what a record holds that contradicts every form that knows anything of it; nothing where none does."""
    found: list[list[str]] = []
    for form in wanted:
        if isinstance(held, dict) and isinstance(form, dict):
            known, wrong = _compared(cast("dict[str, Any]", held), cast("dict[str, Any]", form))
            if known and not wrong:
                return []
            found += [wrong] if known else []
    return min(found, key=len, default=[])


def _compared(held: dict[str, Any], wanted: dict[str, Any], prefix: str = "") -> tuple[int, list[str]]:
    """Count the fields both have, and name those that differ."""
    known = 0
    wrong: list[str] = []
    for key, value in held.items():
        # Where two models have a field of one name, what was joined of them has the second under a number.
        others = [wanted[name] for name in wanted if name == key or name.startswith(f"{key}_")]
        if key not in wanted:
            continue
        if isinstance(value, dict) and isinstance(wanted[key], dict):
            inner, differing = _compared(value, wanted[key], f"{prefix}{key}.")  # pyright: ignore[reportUnknownArgumentType]
            known, wrong = known + inner, wrong + differing
        elif not isinstance(wanted[key], dict):
            known += 1
            wrong += [] if value in others else [f"{prefix}{key}"]
    return known, wrong
