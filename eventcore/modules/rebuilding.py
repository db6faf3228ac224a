"""Building again what was saved: the build config of a module and everything below it.

A module is made again in two steps: its constructor, from `get_config`, then its `build`, from here. Both
are needed before saved values find their variables, because a variable may be created in either.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any

from eventcore.errors import ConfigMismatch, InsideRunningLoop
from eventcore.history.values import copy_json
from eventcore.modules.building import ensure_built, finish, has_own_build, move
from eventcore.modules.internals import ready_core

if TYPE_CHECKING:
    from eventcore.modules.module import Module


def build_config(module: Module) -> dict[str, Any] | None:
    """Return what `rebuild` needs, None for a module that is not built and holds none that is."""
    core = ready_core(module, "make the build config of a module")
    inner = [build_config(child) for child in core.tracker.members("modules")]
    moved = core.parent_path != core.made_in
    if not core.built and not any(inner) and not core.given_names and not moved:
        return None
    config: dict[str, Any] = {"built": core.built, "input_schema": copy_json(core.input_schema)}
    if moved:
        config["parent_path"] = core.parent_path
    if core.given_names:
        config["names"] = list(core.given_names)
    if any(inner):
        config["modules"] = inner
    return config


def rebuild(module: Module, config: dict[str, Any]) -> None:
    """Build a module, and the modules below it, as they were built when the config was made.

    Raises:
        ConfigMismatch: It holds other modules now than it did then.
        InsideRunningLoop: Its `build` waits for something, and an event loop is running here.
    """
    core = ready_core(module, "build it from its config")
    if "parent_path" in config and not core.parent_path:  # a clone has a scope of its own
        move(core, config["parent_path"])
    if config.get("built", True) and not core.built:
        structure = copy_json(config.get("input_schema"))
        if has_own_build(type(module)):
            finish_now(ensure_built(module, structure), f"build '{core.path}'")
        else:
            finish(module, structure)
    inner = config.get("modules", [])
    held = core.tracker.members("modules")
    if inner and len(inner) != len(held):
        raise ConfigMismatch(
            f"cannot build '{core.path}' as it was saved: it holds {len(held)} modules, and held {len(inner)} then.",
            missing=tuple(child.name for child in held[len(inner) :]),
            unexpected=tuple(f"module {place}" for place in range(len(held), len(inner))),
        )
    for child, child_config in zip(held, inner, strict=False):
        if child_config is not None:
            child.build_from_config(child_config)


def finish_now(work: Coroutine[Any, Any, None], action: str) -> None:
    """Run a coroutine to its end from plain code.

    Inside a running event loop it is run only as far as it goes without waiting, which is all the way for a
    `build` that creates variables and sub-modules.

    Raises:
        InsideRunningLoop: It wants to wait, and an event loop is running here.
    """
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        asyncio.run(work)
        return
    try:
        work.send(None)
    except StopIteration:
        return
    work.close()
    raise InsideRunningLoop(
        f"cannot {action} here: it waits for something, and an event loop is already running. "
        "Do it before the loop starts, or in `asyncio.to_thread`."
    )
