"""The checks of a module that is used again: at another time, by another process, by many at once.

A module whose answers depend on the clock, on unrecorded randomness or on the order of a set cannot be replayed; one
whose calls meddle with each other gives one example another's answer.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections import Counter
from typing import Any

from eventcore.models.json_data_model import JsonDataModel
from eventcore.testing.checks import Check, DoesNotApply, Tally
from eventcore.testing.elsewhere import by_name, elsewhen, importable
from eventcore.testing.module_subject import Bench, ModuleSubject, example_json, outputs_json
from eventcore.testing.scheduling import run_coroutine

PATIENCE = 60.0
"""Seconds a fresh process may take."""

Told = dict[str, Any]


def told_by(subject: ModuleSubject) -> Told:
    """Use a fresh instance and tell what it answered, what it recorded, and what its variables hold."""
    with subject.bench() as bench:
        answers = [outputs_json(bench.answer(example, training=True)) for example in subject.examples()]
        bench.run.flush()
        effects = sorted(
            event.kind for event in bench.events("EffectStarted") if event.kind in ("now", "uuid")
        )
        told: Told = {
            "answers": answers,
            "digest": bench.run.state.digest,
            "values": {variable.path: variable.get_json() for variable in bench.module.variables},
            "effects": effects,
        }
        plain: Told = json.loads(json.dumps(told))
        return plain


def no_unrecorded_nondeterminism(subject: ModuleSubject, tally: Tally) -> None:
    """Do the same again later, with other random numbers, and in processes with other hash seeds."""
    with elsewhen(1, 0):
        first = told_by(subject)
    with elsewhen(2, 1):
        second = told_by(subject)
    if first["effects"] or second["effects"]:
        # What `ec.now` and `ec.uuid` answer is recorded and differs between two live runs, as it should.
        raise DoesNotApply(
            "the module asks the clock through recorded effects; only a replay can compare its runs"
        )
    _compare(first, second, "at another time and with other random numbers", tally)
    where = importable(subject.factory)
    if where is None:
        tally.note(
            "other hash seeds were not tried: the factory cannot be imported by name in a fresh process"
        )
        return
    for seed in ("1", "2"):
        _compare(first, _in_a_process(subject, where, seed), f"in a process with hash seed {seed}", tally)


def _compare(one: Told, other: Told, when: str, tally: Tally) -> None:
    for place, (mine, theirs) in enumerate(zip(one["answers"], other["answers"], strict=True)):
        tally.require(mine == theirs, f"example {place} is answered {mine!r}, and {when} {theirs!r}")
    tally.require(
        one["values"] == other["values"], f"the variables hold {one['values']}, and {when} {other['values']}"
    )
    tally.require(one["digest"] == other["digest"], f"the state is another one {when}")


def _in_a_process(subject: ModuleSubject, where: tuple[str, str], hash_seed: str) -> Told:
    examples = subject.examples()
    given = {
        "path": sys.path,
        "factory": where,
        "examples": [example_json(example) for example in examples],
        "schemas": [_schema_of(example) for example in examples],
        "number": subject.number,
    }
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            f"import sys, json; g = json.load(sys.stdin); sys.path[:] = g['path']; {_CODE}",
        ],
        input=json.dumps(given),
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
        env={**os.environ, "PYTHONHASHSEED": hash_seed},
    )
    if done.returncode:
        raise AssertionError(f"the module does not work in a fresh process:\n{done.stderr}")
    told: Told = json.loads(done.stdout.splitlines()[-1])
    return told


_CODE = "from eventcore.testing.module_repetition import tell; tell(g)"


def _schema_of(example: Any) -> Any:
    return [part.get_schema() for part in example] if isinstance(example, list) else example.get_schema()


def tell(given: dict[str, Any]) -> None:
    """Use a module in this process and print what happened; the other side of `_in_a_process`."""
    factory = by_name(*given["factory"])
    examples = [
        [JsonDataModel(schema=s, json=j) for s, j in zip(schema, value, strict=True)]
        if isinstance(schema, list)
        else JsonDataModel(schema=schema, json=value)
        for schema, value in zip(given["schemas"], given["examples"], strict=True)
    ]
    told = told_by(ModuleSubject(factory, examples, given["number"]))
    sys.stdout.write("\n" + json.dumps(told) + "\n")


def concurrency_safe(subject: ModuleSubject, tally: Tally) -> None:
    """Call the module on all examples at once, in several orders, and compare with one after the other."""
    examples = subject.examples()
    if len(examples) < 2:
        raise DoesNotApply("there is only one input")
    forwards = _one_by_one(subject, list(range(len(examples))))
    backwards = _one_by_one(subject, list(reversed(range(len(examples)))))
    stateless = forwards[0] == backwards[0]
    commutes = forwards[1] == backwards[1]
    if not stateless:
        tally.note("answers depend on the order of the calls, so those of concurrent calls were not compared")
    for order in range(5):
        answers, values, records = _at_once(subject, order)
        for place, answer in enumerate(answers):
            tally.require(
                not stateless or answer == forwards[0][place],
                f"called at once with others, example {place} is answered {answer!r} and not {forwards[0][place]!r}",
            )
        tally.require(
            not commutes or values == forwards[1],
            f"after concurrent calls the variables hold {values}, after the same calls in turn {forwards[1]}: "
            "an update was lost between reading and writing",
        )
        tally.require(
            records == forwards[2], f"concurrent calls left other records: {records} and not {forwards[2]}"
        )


Outcome = tuple[list[Any], Any, Counter[str]]


def _one_by_one(subject: ModuleSubject, order: list[int]) -> Outcome:
    with subject.bench() as bench:
        examples = subject.examples()
        answers = [None] * len(examples)
        for place in order:
            answers[place] = outputs_json(bench.answer(examples[place], training=True))
        return answers, *_left(bench)


def _at_once(subject: ModuleSubject, order: int) -> Outcome:
    with subject.bench() as bench:
        examples = subject.examples()

        async def work() -> list[Any]:
            return await asyncio.gather(*[bench.call(example, training=True) for example in examples])

        answers = [outputs_json(answer) for answer in run_coroutine(work, order)]
        return answers, *_left(bench)


def _left(bench: Bench) -> tuple[Any, Counter[str]]:
    """Return the variables' values without their records, and the records as a multiset."""
    values: dict[str, Any] = {}
    records: Counter[str] = Counter()
    for variable in bench.module.variables:
        value = variable.get_json()
        for record in value.pop("current_predictions", []) if variable.eligible else []:
            records[f"{variable.path}: {json.dumps(record, sort_keys=True)}"] += 1
        values[variable.path] = value
    return values, records


CHECKS: tuple[Check[ModuleSubject], ...] = (
    Check(
        "no_unrecorded_nondeterminism",
        "The same calls give the same answers and state at any time and in any process, so a run can be replayed.",
        no_unrecorded_nondeterminism,
    ),
    Check(
        "concurrency_safe",
        "Examples that go through the module at the same time get the answers and leave the state they would alone.",
        concurrency_safe,
    ),
)
