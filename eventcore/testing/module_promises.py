"""The check of what a module promises a graph: its answers have the structure and the schema found without data.

A program is built from what `compute_output_spec` says, or from what `call` returns for placeholders; whatever stands
behind the module was made for that. None is allowed in every place: a branch that was not taken, a call that failed.
"""

from __future__ import annotations

import json
from typing import Any, cast

from eventcore.models.conversion import schema_of
from eventcore.modules.fitting import misfits
from eventcore.modules.structure import is_schema, schemas_in
from eventcore.testing.checks import Check, Tally
from eventcore.testing.module_inputs import mapped, shown
from eventcore.testing.module_subject import ModuleSubject, outputs_json, symbolic_call
from eventcore.testing.module_training import drawn_fields
from eventcore.testing.scheduling import run_coroutine

CANDIDATES = 3
"""Values that are written into trainable variables, one after the other."""


def answers_fit_their_schema(subject: ModuleSubject, tally: Tally) -> None:
    """Ask for the promise as a graph does, and hold every answer against it; then with other values to train with."""
    with subject.bench() as bench:
        promises = _promises(bench.module, subject.examples())
        for place, (example, promised) in enumerate(zip(subject.examples(), promises, strict=True)):
            for training in (False, True):
                answer = bench.answer(example, training=training)
                _judge(subject, place, f"called with training={training}", answer, promised, tally)
        variables = bench.module.trainable_variables
        for number in range(1, CANDIDATES + 1 if variables else 0):
            for variable in variables:
                variable.update(drawn_fields(variable, number))
            for place in range(min(2, len(promises))):
                try:
                    answer = bench.answer(subject.examples()[place], training=True)
                except Exception:
                    continue  # The matter of works_with_any_candidate.
                when = "called after other values were written into its variables"
                _judge(subject, place, when, answer, promises[place], tally)
    if not tally.exercised:
        tally.note(
            f"the module answered None to all {len(promises)} examples, so no check could see an answer of it: pass "
            "inputs it answers, or a language model whose answers fit what it is asked for"
        )


def _judge(subject: ModuleSubject, place: int, when: str, answer: Any, promised: Any, tally: Tally) -> None:
    wrong = misfit(answer, promised, "the answer", tally)
    if wrong:
        tally.fail(
            f"{subject.shown(place)}, {when}: {wrong}; a graph is built from what `compute_output_spec` says, or "
            "without one from what `call` returns for placeholders: let it say what `call` returns"
        )


def _promises(module: Any, examples: list[Any]) -> list[Any]:
    """What is promised for each example: asked once for inputs of equal schemas."""
    given = [json.dumps(mapped(example, schema_of), sort_keys=True) for example in examples]
    known = {
        schema: promise_of(module, example)
        for schema, example in dict(zip(given, examples, strict=True)).items()
    }
    return [known[schema] for schema in given]


def promise_of(module: Any, example: Any) -> Any:
    """Return the schemas a module promises for inputs like an example, in the structure of its outputs."""
    return schemas_in(run_coroutine(lambda: symbolic_call(module, example)))


def misfit(answer: Any, promised: Any, where: str, tally: Tally) -> str:
    """Say where an answer is not what was promised, by the rule of graphs; "" if nowhere. Data models count."""
    if answer is None:
        return ""
    if promised is None:
        return f"{where} is {shown(outputs_json(answer))}, and nothing was promised"
    if isinstance(promised, dict) and is_schema(cast("dict[str, Any]", promised)):
        return _leaf_misfit(answer, cast("dict[str, Any]", promised), where, tally)
    mine, wanted = _parts(answer), _parts(promised)
    if mine.keys() != wanted.keys():
        names = ", ".join(map(repr, wanted))
        return f"{where} is {shown(outputs_json(answer))}, and {len(wanted)} outputs were promised, {names}"
    found = (misfit(mine[at], wanted[at], f"{where}[{at!r}]", tally) for at in wanted)
    return next(filter(None, found), "")


def _parts(outputs: Any) -> dict[Any, Any]:
    """The outputs of a structure by place or name; a data model has none."""
    if isinstance(outputs, (list, tuple)):
        return dict(enumerate(cast("list[Any]", outputs)))
    return {**cast("dict[Any, Any]", outputs)} if isinstance(outputs, dict) else {}


def _leaf_misfit(answer: Any, schema: dict[str, Any], where: str, tally: Tally) -> str:
    tally.count()
    if isinstance(answer, (list, tuple, dict)):
        return f"{where} is {shown(outputs_json(answer))}, and one data model was promised"
    found = misfits(schema_of(answer), schema)
    return (
        f"{where} is {shown(outputs_json(answer))}, {' and '.join(found)} that was promised" if found else ""
    )


CHECKS: tuple[Check[ModuleSubject], ...] = (
    Check(
        "answers_fit_their_schema",
        "Answers are what graphs are built with: the modules behind this one get the fields they were made for.",
        answers_fit_their_schema,
    ),
)
