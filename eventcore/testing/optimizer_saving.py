"""The checks that what an optimizer is survives a file: its config, and what it learned."""

from __future__ import annotations

import contextlib
import inspect
import json
import tempfile
from pathlib import Path
from typing import Any

from eventcore.errors import InvalidValue
from eventcore.programs.program import Program
from eventcore.saving.serialization import CustomObjectScope, deserialize_object, serialize_object
from eventcore.testing.checks import Tally
from eventcore.testing.elsewhere import tell_back, told_elsewhere
from eventcore.testing.module_subject import workbench
from eventcore.testing.optimizer_comparing import first_difference, require_same, require_same_way, told_of
from eventcore.testing.optimizer_search import Search, lengths, lively, nothing_tried, search, shown
from eventcore.testing.optimizer_subject import OptimizerSubject, Question
from eventcore.testing.scheduling import run_coroutine

FORMS = ("program.json", "program.lmdb")


# --- the config ------------------------------------------------------------------------------------


def config_round_trip(subject: OptimizerSubject, tally: Tally) -> None:
    """Make it again from its config, and train with both."""
    with workbench(subject.number):
        made = subject.make()
        config = json.loads(json.dumps(serialize_object(made)))
    with workbench(subject.number):
        again: Any = deserialize_object(config)
        tally.require(type(again) is type(made), f"from_config made a {type(again).__name__}")
        same = json.loads(json.dumps(serialize_object(again)))
        tally.require(same == config, f"the config changed on the way: {config} to {same}")
        for name in _visible(made, again):
            mine, theirs = getattr(made, name), getattr(again, name)
            tally.require(
                mine == theirs, f"{name} was {mine!r} and is {theirs!r} after its config: {shown(config)}"
            )
    _train_both(subject, config, tally)


def _visible(made: Any, again: Any) -> list[str]:
    """Names of what the constructor takes and both keep under the same name, as plain values."""
    names = ["population_size", "sampling_temperature", "name", "description"]
    for init in (vars(cls)["__init__"] for cls in type(made).__mro__[:-1] if "__init__" in vars(cls)):
        taken = inspect.signature(init).parameters.values()
        names += [one.name for one in taken if one.kind in (one.POSITIONAL_OR_KEYWORD, one.KEYWORD_ONLY)]
    kept = [name for name in dict.fromkeys(names) if name != "self" and _is_plain(getattr(made, name, made))]
    return [name for name in kept if _is_plain(getattr(again, name, again))]


def _is_plain(value: Any) -> bool:
    if isinstance(value, (list, tuple, set, frozenset)):
        return all(_is_plain(each) for each in value)
    if isinstance(value, dict):
        return all(_is_plain(each) for each in [*value, *value.values()])
    return value is None or isinstance(value, (bool, int, float, str))


def _train_both(subject: OptimizerSubject, config: Any, tally: Tally) -> None:
    whole = lively(subject, tally, "no training could tell them apart")
    second = search(whole.subject.other(lambda: deserialize_object(config)))
    apart = first_difference(whole, second, ("as it was made", "made from its config"))
    if apart:
        tally.fail(f"made from its config it trains another way, so something is lost in it: {apart}")
    tally.count(len(whole.evaluated))
    require_same(whole.values, second.values, "it was made from its config", tally)


# --- what it learned -------------------------------------------------------------------------------


def state_survives_saving(subject: OptimizerSubject, tally: Tally) -> None:
    """Train, save, load, and train on; beside it train on without."""
    for longer, last in lengths(subject):
        with tempfile.TemporaryDirectory(prefix="eventcore-check-") as folder:
            whole, before = _saved(longer, Path(folder), tally)
            after = whole.evaluated[before:]
            tried = {part for one in after for part in one.combination.items()}
            if not tried.intersection(whole.new):
                if not last:
                    continue
                if not whole.new:
                    tally.fail(nothing_tried(whole, "there was nothing to go on with"))
            for form in FORMS:
                _go_on(longer, whole, Path(folder) / form, tally)
            _go_on_elsewhere(longer, whole, Path(folder) / FORMS[0], tally)
            return


def _saved(subject: OptimizerSubject, folder: Path, tally: Tally) -> tuple[Search, int]:
    """Train, save, look at what was saved, and train on; returns all of it and how much was before."""
    with workbench(subject.number) as (_, run):
        found = Search(subject, run)
        found.fit(epochs=2)
        found.look()
        before = len(found.evaluated)
        for form in FORMS:
            found.program.save(str(folder / form))
            _look_at_saved(found, folder / form, tally)
        found.fit(epochs=2)
        found.look()
        return found, before


def _look_at_saved(found: Search, path: Path, tally: Tally) -> None:
    counted = (found.optimizer.iterations, found.optimizer.epochs)
    kept = {variable.path: variable.get_json() for variable in found.optimizer.variables}
    with workbench(found.subject.number):
        loaded = Program.load(str(path))
        after = {name: loaded.get_variable(name=name).get_json() for name in found.paths}
        require_same({name: found.values[name] for name in after}, after, f"loaded from {path.name}", tally)
        optimizer: Any = loaded.optimizer
        tally.require(
            type(optimizer) is type(found.optimizer),
            f"{path.name} holds a {type(optimizer).__name__}, not a {type(found.optimizer).__name__}",
        )
        run_coroutine(lambda: _ready(loaded))
        there = (optimizer.iterations, optimizer.epochs)
        tally.require(
            there == counted, f"it counted {counted} batches and epochs, and {there} loaded from {path.name}"
        )
        own = {variable.path: variable.get_json() for variable in optimizer.variables}
        require_same(kept, own, f"the optimizer is loaded from {path.name}", tally)


async def _ready(program: Any) -> None:
    with contextlib.suppress(Exception):
        await program(Question(number=0))


def _loaded(subject: OptimizerSubject, path: str) -> Search:
    """Load and train on, in a place of its own."""
    with workbench(subject.number) as (_, run):
        found = Search(subject, run, program=Program.load(path))
        found.fit(epochs=2)
        found.look()
        return found


def _go_on(subject: OptimizerSubject, whole: Search, path: Path, tally: Tally) -> None:
    """Do so in this process."""
    when = f"loaded from {path.name} and trained on"
    require_same_way(told_of(whole), told_of(_loaded(subject, str(path))), when, tally)


def _go_on_elsewhere(subject: OptimizerSubject, whole: Search, path: Path, tally: Tally) -> None:
    """Do so where nothing is left of what the optimizer did before, if it can be found there."""
    try:
        given = subject.told()
        if any("schema" in kind for kind in (given["variables"] or {}).values()):
            raise InvalidValue("its data models are defined where no other process finds them")
    except InvalidValue as reason:
        tally.note(f"loaded and trained on in this process only, as no fresh one can do it: {reason}")
        return
    learned = told_elsewhere(tell, {"subject": given, "saved": str(path)}, 0)
    when = f"loaded from {path.name} in a fresh process and trained on"
    require_same_way(told_of(whole), learned, when, tally)


def tell(given: dict[str, Any]) -> None:
    """Load and train on in this process, and tell what came of it; the other side of `state_survives_saving`."""
    subject = OptimizerSubject.found(given["subject"])
    classes = [type(subject.make()), *(kind for kind in subject.variables.values() if isinstance(kind, type))]
    with CustomObjectScope({cls.__qualname__: cls for cls in classes}):
        tell_back(told_of(_loaded(subject, given["saved"])))
