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
from eventcore.testing.scheduling import run_coroutine

Told = dict[str, Any]


def told_of(bench: Bench, subject: ModuleSubject) -> Told:
    """Use the module and tell what it answered, what its variables hold and which effects it performed."""
    examples = subject.examples()
    answers = [outputs_json(bench.answer(example, training=True)) for example in examples]

    async def at_once() -> list[Any]:
        return await asyncio.gather(*[bench.call(example, training=True) for example in examples])

    answers += [outputs_json(answer) for answer in run_coroutine(at_once)]
    bench.run.flush()
    told: Told = {
        "answers": answers,
        "digest": bench.run.state.digest,
        "values": {variable.path: variable.get_json() for variable in bench.module.variables},
        "effects": sum(1 for _ in bench.events("EffectStarted")),
    }
    plain: Told = json.loads(json.dumps(told))
    return plain


@contextlib.contextmanager
def recorded_use(subject: ModuleSubject) -> Generator[tuple[Run, Told]]:
    """Use a fresh instance in a run of its own, and hand out the run and what was told."""
    with subject.bench() as bench:
        told = told_of(bench, subject)
        yield bench.run, told


def used_again(subject: ModuleSubject, source: Run, first: Told | None, when: str, tally: Tally) -> None:
    """Use a fresh instance over a copy of a recorded use.

    Args:
        subject: The module.
        source: The recorded run.
        first: What was told of it; None where only its log is known.
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
                told = told_of(Bench(store, run, subject.make()), subject)
                lengths = length_judged(run, head)
        except Diverged as error:
            raise CheckFailed(f"{when}, the same calls {error.divergence or error}") from error
    for fine, otherwise in lengths:
        tally.require(fine, f"{when}, the same calls {otherwise}")
    wrong = changed_part(first["values"], told["values"]) if first is not None else ""
    tally.require(
        told["digest"] == digest, f"{when}, the same calls end in another state: {wrong or 'see its log'}"
    )
    for place, answer in enumerate(told["answers"] if first is not None else ()):
        before = first["answers"][place] if first is not None else None
        tally.require(
            answer == before, f"{when}, call {place} is answered {shown(answer)}, and before {shown(before)}"
        )


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
