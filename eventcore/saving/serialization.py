"""The public names around objects and JSON, the guide's spelling of them included; the work is next door."""

from eventcore.saving.reading import deserialize_object as deserialize_object
from eventcore.saving.registry import CustomObjectScope as CustomObjectScope
from eventcore.saving.registry import get_custom_objects as get_custom_objects
from eventcore.saving.registry import get_registered_name as get_registered_name
from eventcore.saving.registry import get_registered_object as get_registered_object
from eventcore.saving.registry import register_serializable as register_serializable
from eventcore.saving.writing import serialize_object as serialize_object

serialize_synalinks_object = serialize_object
deserialize_synalinks_object = deserialize_object
register_synalinks_serializable = register_serializable

__all__ = [
    "CustomObjectScope",
    "deserialize_object",
    "deserialize_synalinks_object",
    "get_custom_objects",
    "get_registered_name",
    "get_registered_object",
    "register_serializable",
    "register_synalinks_serializable",
    "serialize_object",
    "serialize_synalinks_object",
]
