"""Using a module again over the log of its first use: what it does must be what is recorded, event by event.

Once its calls are made one after the other, and once all at the same time, as a training makes them. The second use
runs in memory, on a copy of the log; answers of effects come from there.
"""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
from collections.abc import Generator
from typing import Any

from eventcore.errors import Diverged
from eventcore.history.run import Run
from eventcore.history.store import open as open_store
from eventcore.models.naming import fresh_names
from eventcore.testing.checks import CheckFailed, Tally
from eventcore.testing.module_inputs import changed_part, shown
from eventcore.testing.module_subject import Bench, ModuleSubject, outputs_json
from eventcore.testing.module_training import drawn_fields
from eventcore.testing.own_lines import told_of_divergence
from eventcore.testing.scheduling import run_coroutine

Told = dict[str, Any]


ROUNDS = 2
"""How many times other values are written into trainable variables."""


def told_of(bench: Bench, subject: ModuleSubject, drawn: list[Told] | None = None) -> Told:
    """Use the module and tell what it answered, what its variables hold and which effects it performed.

    Args:
        bench: Where it is.
        subject: The module.
        drawn: Values by path that are written into its variables, one round after the other; None to draw them. What is
            drawn depends on the modules a process has imported, so another use is given those of the first.
    """
    examples = subject.examples()
    answers = [outputs_json(bench.answer(example, training=True)) for example in examples]

    async def at_once() -> list[Any]:
        return await asyncio.gather(*[bench.call(example, training=True) for example in examples])

    answers += [outputs_json(answer) for answer in run_coroutine(at_once)]
    rounds = _drawn(bench) if drawn is None else drawn
    answers += [_answer_with(bench, values, example) for values in rounds for example in examples[:2]]
    bench.run.flush()
    told: Told = {
        "answers": answers,
        "drawn": rounds,
        "digest": bench.run.state.digest,
        "values": {variable.path: variable.get_json() for variable in bench.module.variables},
        "effects": sum(1 for _ in bench.events("EffectStarted")),
    }
    plain: Told = json.loads(json.dumps(told))
    return plain


def _drawn(bench: Bench) -> list[Told]:
    """Draw values that differ from variable to variable: those of one kind then no longer say the same."""
    variables = list(enumerate(bench.module.trainable_variables))
    return [
        {variable.path: drawn_fields(variable, 1 + place + number) for place, variable in variables}
        for number in range(ROUNDS if variables else 0)
    ]


def _answer_with(bench: Bench, values: Told, example: Any) -> Any:
    for variable in bench.module.trainable_variables:
        if variable.path in values:
            variable.update(values[variable.path])
    try:
        return outputs_json(bench.answer(example, training=True))
    except Diverged:
        raise
    except Exception as error:  # whether it should raise is the matter of works_with_any_candidate
        return {"raised": type(error).__name__}


@contextlib.contextmanager
def recorded_use(subject: ModuleSubject) -> Generator[tuple[Run, Told]]:
    """Use a fresh instance in a run of its own, and hand out the run and what was told."""
    with subject.bench() as bench:
        told = told_of(bench, subject)
        yield bench.run, told


def used_again(subject: ModuleSubject, source: Run, first: Told, when: str, tally: Tally) -> None:
    """Use a fresh instance over a copy of a recorded use.

    Args:
        subject: The module.
        source: The recorded run.
        first: What was told of it.
        when: In words, for the message.
        tally: Counts.

    Raises:
        CheckFailed: It did something else, less or more than is recorded.
    """
    head, digest = source.head, source.at(source.head).digest
    with contextlib.redirect_stderr(io.StringIO()), open_store("memory:") as store:
        store.import_run(source)
        try:
            with store.run(source.name, resume=True) as run, fresh_names():
                told = told_of(Bench(store, run, subject.make()), subject, first["drawn"])
                lengths = length_judged(run, head)
        except Diverged as error:
            raise CheckFailed(f"{when}, the same calls {told_of_divergence(error)}") from error
    for fine, otherwise in lengths:
        tally.require(fine, f"{when}, the same calls {otherwise}")
    wrong = changed_part(first["values"], told["values"])
    tally.require(
        told["digest"] == digest, f"{when}, the same calls end in another state: {wrong or 'see its log'}"
    )
    for place, (before, answer) in enumerate(zip(first["answers"], told["answers"], strict=True)):
        tally.require(
            answer == before,
            f"{when}, {call_of(subject, place)} is answered {shown(answer)}, and before {shown(before)}",
        )


def call_of(subject: ModuleSubject, place: int) -> str:
    """Say in words which of the calls that are told of it is: each in turn, all at once, then two each round."""
    count = len(subject.examples())
    if place >= 2 * count:
        return f"{subject.shown((place - 2 * count) % min(2, count))}, called with other values in the variables,"
    return f"{subject.shown(place % count)}{', called at once with others,' if place >= count else ''}"


def length_judged(run: Run, head: int) -> list[tuple[bool, str]]:
    """Say of a run that was done again whether it did neither more nor less than its recorded events up to `head`.

    Returns:
        Two requirements: whether each is met, and in words what happened if not.
    """
    with run.lock:
        replaying: Any = run.replaying
        left = None if replaying is None else replaying.next_seq() or 0
    return [
        (left is not None, f"do more than the {head} events that are recorded"),
        (not left, f"end before seq {left} of {head}"),
    ]
