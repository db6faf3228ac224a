"""Whether what a module was made with survives `get_config` and `from_config`: as attributes, values and answers.

The module is made as the factory makes it, and with one argument changed at a time, as far as the constructor accepts
what is tried. An argument that nothing can be seen of is found by its name: it is missing in the config.
"""

from __future__ import annotations

import functools
import inspect
import json
import typing
from collections.abc import Iterator, Mapping
from typing import Any, cast

from eventcore.modules.construction import BASE_ARGUMENTS, signature_of
from eventcore.modules.internals import core_of
from eventcore.modules.module import Module
from eventcore.programs.program import Program
from eventcore.saving.serialization import deserialize_object, serialize_object
from eventcore.testing.attributes import changed_attributes, plain_attributes
from eventcore.testing.checks import Tally
from eventcore.testing.module_elsewhere import Told, asked, difference
from eventcore.testing.module_inputs import shown
from eventcore.testing.module_subject import Bench, ModuleSubject, workbench

NOT_KEPT = (*BASE_ARGUMENTS, "hooks")
"""Arguments that are compared elsewhere, or belong to the process."""


def judge_arguments(subject: ModuleSubject, tally: Tally) -> None:
    """Compare the module with the one made from its config, and again with other arguments, one at a time."""
    with workbench(subject.number):
        module = subject.make()
        args, kwargs = core_of(module).arguments
        forgotten = _forgotten(module)
    _judge(subject, subject.factory, "as the factory makes it", forgotten, tally)
    if not isinstance(module, Program):
        for changes in _variations(module):
            made = f"made with {', '.join(f'{name}={value!r}' for name, value in changes.items())}"
            _judge(subject, functools.partial(_made_with, subject, changes), made, forgotten, tally)
    # What was passed was compared, and may be in the config under another name.
    unseen = [name for name in forgotten if name not in {**_by_name(type(module), args), **kwargs}]
    tally.require(
        not unseen or _makes_itself(type(module)),
        f"`__init__` of {type(module).__name__} takes {_listed(unseen)}, and `get_config` does not return it: a "
        "saved program loses what is passed for it (what no file can hold, such as a client, is made where it is "
        'needed; else say so: expected_failed_checks={"config_round_trip": "why"})',
    )


def _listed(names: list[str]) -> str:
    return ", ".join(map(repr, names))


def _forgotten(module: Any) -> list[str]:
    """Name the arguments of the constructor that its config does not hold even when they are passed."""
    cls = type(module)
    own: Any = cls.get_config
    if own.__module__.startswith("eventcore."):
        return []
    args, kwargs = core_of(module).arguments
    kinds = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    named = {name: each for name, each in signature_of(cls).parameters.items() if each.kind in kinds}
    defaults = {name: each.default for name, each in named.items() if each.default is not each.empty}
    try:
        config: Mapping[str, Any] = cls(**{**defaults, **_by_name(cls, args), **kwargs}).get_config()
    except Exception:
        # A constructor may tell an argument that was passed from one that was left out.
        config = module.get_config()
        named = {name: each for name, each in named.items() if name in kwargs}
    return [name for name in named if name not in config and name not in NOT_KEPT]


def _makes_itself(cls: type[Any]) -> bool:
    """Whether `from_config` is the class's own, and may get its arguments from anywhere."""
    own: Any = cls.from_config
    base: Any = Module.from_config
    return own.__func__ is not base.__func__


def _by_name(cls: type[Any], args: tuple[Any, ...]) -> dict[str, Any]:
    return dict(signature_of(cls).bind_partial(*args).arguments) if args else {}


def _made_with(subject: ModuleSubject, changes: dict[str, Any]) -> Any:
    """Make the module as the factory does, but for some arguments; modules among the others are made anew."""
    with workbench(subject.number):
        module = subject.make()
    args, kwargs = core_of(module).arguments
    return type(module)(**{**_by_name(type(module), args), **kwargs, **changes})


class _Use:
    """What can be seen of one module, new and after one call."""

    def __init__(self, subject: ModuleSubject, make: Any) -> None:
        with workbench(subject.number) as (store, run):
            module = make()
            self.config = json.dumps(serialize_object(module))
            self.attributes = plain_attributes(module)
            bench = Bench(store, run, module)
            self.told: Told = asked(bench, subject.examples(1)[0], "training:0/asked/0")


def _judge(subject: ModuleSubject, make: Any, made: str, forgotten: list[str], tally: Tally) -> None:
    try:
        one, twice = _Use(subject, make), _Use(subject, make)
    except Exception:
        if make is subject.factory:
            raise
        # Not every value is one the class accepts; what it accepts has to survive.
        return
    again = _Use(subject, lambda: deserialize_object(json.loads(one.config)))
    why = (
        f"; `get_config` does not return {_listed(forgotten)}"
        if forgotten
        else "; does `get_config` hold it?"
    )
    itself = changed_attributes(one.attributes, twice.attributes)
    lost = [name for name in changed_attributes(one.attributes, again.attributes) if name not in itself]
    for name in lost:
        tally.fail(
            f"{made}, its attribute {name} is {one.attributes.get(name, 'absent')}, and made again from its config "
            f"{again.attributes.get(name, 'absent')}{why}"
        )
    if not any(difference(one.told, twice.told)):
        mine, theirs = difference(one.told, again.told)
        tally.require(
            not mine and not theirs,
            f"{made}, {subject.shown(0)} {mine}; made again from its config, it {theirs}{why}",
        )
    tally.require(
        one.config == again.config or json.loads(one.config) == json.loads(again.config),
        f"{made}, its config is {shown(json.loads(one.config)['config'])}, and made again from it "
        f"{shown(json.loads(again.config)['config'])}",
    )


def _variations(module: Any) -> Iterator[dict[str, Any]]:
    cls = type(module)
    args, kwargs = core_of(module).arguments
    given = {**_by_name(cls, args), **kwargs}
    try:
        hints = typing.get_type_hints(cls.__init__)
    except (NameError, TypeError):
        hints = {}
    for name, parameter in signature_of(cls).parameters.items():
        if name in NOT_KEPT or parameter.kind is inspect.Parameter.POSITIONAL_ONLY:
            continue
        for value in _others(given.get(name, parameter.default), hints.get(name)):
            yield {name: value}


def _others(value: Any, hint: Any) -> list[Any]:
    """Return another value of the same type, or one that the annotation names."""
    if typing.get_origin(hint) is typing.Literal:
        return [choice for choice in typing.get_args(hint) if choice != value][:1]
    if isinstance(value, bool):
        return [not value]
    if isinstance(value, str):
        return [f"{value} otherwise".strip()]
    if isinstance(value, (int, float)):
        return [value + 1]
    if isinstance(value, (list, tuple)) and value:
        parts = cast("list[Any]", value)
        return [parts[:-1]]
    if value is None or value is inspect.Parameter.empty:
        options = [hint, *typing.get_args(hint)]
        return [other for kind, other in ((str, "otherwise"), (int, 3), (bool, True)) if kind in options][:1]
    return []
