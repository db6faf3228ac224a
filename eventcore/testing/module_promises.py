"""The check of what a module promises a graph: its answers have the structure and the schema found without data.

A program is built from what `compute_output_spec` says, or from what `call` returns for placeholders; whatever stands
behind the module was made for that. None is allowed in every place: a branch that was not taken, a call that failed.
"""

from __future__ import annotations

import json
from typing import Any, cast

from eventcore.errors import SchemaMismatch
from eventcore.models.conversion import schema_of
from eventcore.models.validation import validator_for
from eventcore.modules.input import Input
from eventcore.modules.structure import is_schema, schemas_in
from eventcore.testing.checks import Check, DoesNotApply, Tally
from eventcore.testing.module_inputs import call_arguments, mapped, shown
from eventcore.testing.module_subject import ModuleSubject, outputs_json
from eventcore.testing.scheduling import run_coroutine


def answers_fit_their_schema(subject: ModuleSubject, tally: Tally) -> None:
    """Ask for the promise as a graph does, and hold every answer against it."""
    promises: dict[str, Any] = {}
    answered = False
    with subject.bench() as bench:
        for place, example in enumerate(subject.examples()):
            given = json.dumps(mapped(example, schema_of), sort_keys=True)
            if given not in promises:
                promises[given] = promise_of(bench.module, example)
            for training in (False, True):
                answer = outputs_json(bench.answer(example, training=training))
                answered = answered or answer is not None
                wrong = misfit(answer, promises[given], "the answer", tally)
                if wrong:
                    tally.fail(
                        f"{subject.shown(place)}, called with training={training}: {wrong}; a graph is built from "
                        "what `compute_output_spec` says, or without one from what `call` returns for placeholders: "
                        "let it say what `call` returns"
                    )
    if not answered:
        raise DoesNotApply("the module answered none of the examples")


def promise_of(module: Any, example: Any) -> Any:
    """Return the schemas a module promises for inputs like an example, in the structure of its outputs."""

    async def work() -> Any:
        by_place, by_name = call_arguments(
            module, mapped(example, lambda part: Input(schema=schema_of(part)))
        )
        return await module(*by_place, **by_name)

    return schemas_in(run_coroutine(work))


def misfit(answer: Any, promised: Any, where: str, tally: Tally) -> str:
    """Say where an answer is not what was promised; "" if nowhere. Every data model that is compared counts."""
    if answer is None:
        return ""
    if promised is None:
        return f"{where} is {shown(answer)}, and nothing was promised"
    if isinstance(promised, dict) and is_schema(cast("dict[str, Any]", promised)):
        return _leaf_misfit(answer, cast("dict[str, Any]", promised), where, tally)
    mine, wanted = _parts(answer), _parts(promised)
    if mine.keys() != wanted.keys():
        return f"{where} is {shown(answer)}, and {len(wanted)} outputs were promised, {', '.join(map(repr, wanted))}"
    found = (misfit(mine[at], wanted[at], f"{where}[{at!r}]", tally) for at in wanted)
    return next(filter(None, found), "")


def _parts(outputs: Any) -> dict[Any, Any]:
    """The outputs of a structure by place or name; a data model has none."""
    if isinstance(outputs, (list, tuple)):
        return dict(enumerate(cast("list[Any]", outputs)))
    return {**cast("dict[Any, Any]", outputs)}


def _leaf_misfit(answer: Any, schema: dict[str, Any], where: str, tally: Tally) -> str:
    tally.count()
    fields = ", ".join(schema.get("properties", {})) or "none"
    if not isinstance(answer, dict):
        return f"{where} is {shown(answer)}, and one data model with fields {fields} was promised"
    try:
        validator_for(schema).check(answer, where)
    except SchemaMismatch as error:
        return f"{where} is {shown(answer)}, and a data model with fields {fields} was promised ({error})"
    return ""


CHECKS: tuple[Check[ModuleSubject], ...] = (
    Check(
        "answers_fit_their_schema",
        "Answers are what graphs are built with: the modules behind this one get the fields they were made for.",
        answers_fit_their_schema,
    ),
)
