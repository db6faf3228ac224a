"""Saving: programs to files and back. What is registered, and only that, can be made again.

The registry stands below data models and modules, and everything else here above them; so the names are
imported when they are first used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from eventcore.saving.construction import program_from_run as program_from_run
    from eventcore.saving.portable import program_from_json as program_from_json
    from eventcore.saving.portable import to_json as to_json
    from eventcore.saving.program_files import load_program as load_program
    from eventcore.saving.program_files import save_program as save_program
    from eventcore.saving.program_record import describe_program as describe_program
    from eventcore.saving.serialization import CustomObjectScope as CustomObjectScope
    from eventcore.saving.serialization import deserialize_object as deserialize_object
    from eventcore.saving.serialization import deserialize_synalinks_object as deserialize_synalinks_object
    from eventcore.saving.serialization import get_custom_objects as get_custom_objects
    from eventcore.saving.serialization import get_registered_name as get_registered_name
    from eventcore.saving.serialization import get_registered_object as get_registered_object
    from eventcore.saving.serialization import register_serializable as register_serializable
    from eventcore.saving.serialization import (
        register_synalinks_serializable as register_synalinks_serializable,
    )
    from eventcore.saving.serialization import serialize_object as serialize_object
    from eventcore.saving.serialization import serialize_synalinks_object as serialize_synalinks_object
    from eventcore.saving.state_tree import get_state_tree as get_state_tree
    from eventcore.saving.state_tree import load_variables as load_variables
    from eventcore.saving.state_tree import save_variables as save_variables
    from eventcore.saving.state_tree import set_state_tree as set_state_tree

__all__ = [
    "CustomObjectScope",
    "describe_program",
    "deserialize_object",
    "deserialize_synalinks_object",
    "get_custom_objects",
    "get_registered_name",
    "get_registered_object",
    "get_state_tree",
    "load_program",
    "load_variables",
    "program_from_json",
    "program_from_run",
    "register_serializable",
    "register_synalinks_serializable",
    "save_program",
    "save_variables",
    "serialize_object",
    "serialize_synalinks_object",
    "set_state_tree",
    "to_json",
]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'eventcore.saving' has no attribute {name!r}")
    from eventcore.saving import (
        construction,
        portable,
        program_files,
        program_record,
        serialization,
        state_tree,
    )

    homes = (serialization, program_files, program_record, construction, portable, state_tree)
    found = next(vars(home)[name] for home in homes if name in vars(home))
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return [*__all__]
