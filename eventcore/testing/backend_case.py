"""A failing history of `BackendMachine`, saved as a log of what should have happened.

It is a run of eventcore, written by a backend that is known: after each step it holds what the model says the
store should hold. The faulty store is not copied: it is what cannot be trusted.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec

from eventcore.backends.memory import MemoryBackend
from eventcore.history.store import open as open_store
from eventcore.testing.cases import StepTaken, case_path, how_to_show, imported, why_not_saved

RUN = "case"
"""Name of the run in a saved case."""


class Step(msgspec.Struct):
    """What was done last."""

    number: int = 0
    taken: str = ""


class ShouldHold(msgspec.Struct):
    """What the store should hold, by the names of its runs."""

    runs: dict[str, Any] = {}


def origin(machine: Any) -> list[str]:
    """Return the lines of a program that import and make a machine."""
    factory = getattr(machine, "factory", None)
    if factory is None:
        imports, name = imported(machine, machine.__qualname__)
        return [*imports, f"state = {name}()"]
    imports, name = imported(factory, "url_factory")
    return [
        "from eventcore.testing.backend_machine import machine_of",
        *imports,
        f"state = machine_of({name})()",
    ]


def save(machine: Any, steps: Iterable[StepTaken]) -> str:
    """Save what should have happened as a store of its own; returns how to look at it."""
    path = case_path(machine.__name__)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open_store(path) as store, store.run(RUN):
            _write(machine, steps)
    except Exception as error:
        return why_not_saved(path, error)
    return how_to_show(path, RUN)


def _write(machine: Any, steps: Iterable[StepTaken]) -> None:
    """Take the steps again on a backend in memory, and record after each what the model says."""
    from eventcore.variables import Variable

    names = {"open": _in_memory, "open_reader": _in_memory, "_reopen": _nothing, "alone": "it is a model"}
    reference = type("Reference", (machine,), names)()
    reference.fates = list(machine.latest.fates) if machine.latest is not None else []
    last, held = Variable(data_model=Step, name="step"), Variable(data_model=ShouldHold, name="should_hold")
    reference.begin()
    try:
        for number, (rule, arguments) in enumerate(steps, start=1):
            given = ", ".join(f"{name}={value!r}" for name, value in arguments.items())
            failed = ""
            try:
                getattr(reference, rule)(**arguments)
            except Exception as error:  # a rule that somebody added, which finds fault with the model as well
                failed = f" failed: {type(error).__name__}: {error}"
            last.update({"number": number, "taken": f"{rule}({given}){failed}"})
            held.update({"runs": {run.name: _told(run) for run in reference.model.values()}})
            if failed:
                break
    finally:
        reference.teardown()


def _in_memory(machine: Any, place: str) -> MemoryBackend:
    return MemoryBackend.open("")


def _nothing(machine: Any) -> None:
    """In place of opening again: what is in memory would be gone, and the model is as it was."""


def _told(run: Any) -> dict[str, Any]:
    """Return what the model knows of one run, as JSON."""
    return {
        "id": run.id,
        "parent": run.parent,
        "forked_at": run.forked_at,
        "head": run.head,
        "epoch": run.epoch,
        "writer": run.writer,
        "meta": run.meta.hex(),
        "blocks": [f"{one.first_seq}-{one.last_seq}: {_bytes(one.data)}" for one in run.blocks],
        "snapshots": {str(seq): _bytes(data) for seq, data in sorted(run.snapshots.items())},
        "postings": {
            f"variable {variable} to {seq}": _bytes(data)
            for (variable, seq), data in sorted(run.postings.items())
        },
    }


def _bytes(data: bytes) -> str:
    return data.hex() if len(data) <= 24 else f"{data[:16].hex()}... ({len(data)} bytes)"
