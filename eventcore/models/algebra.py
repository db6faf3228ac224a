"""Arithmetic of JSON schemas: comparing, containing, merging, masking and renaming their properties.

Every function takes schemas (and, where values follow the same change, values) and gives new ones that
share nothing with them. What the operators *mean*, and for whom, stands in `eventcore.models.operators`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, cast

from eventcore.history.values import Json, JsonDict, copy_json, is_dict, is_list
from eventcore.models.naming import title_of
from eventcore.models.schema import ordered, renamed_references
from eventcore.models.words import base_name, plural_name

_REFERENCE = "#/$defs/"
Keeps = Callable[[str], bool]


def properties_of(schema: JsonDict) -> JsonDict:
    """Give the properties of an object schema, an empty dict when it names none."""
    properties: JsonDict = schema.get("properties", {})
    return properties


def contains_schema(whole: JsonDict, part: JsonDict) -> bool:
    """Tell whether every property of `part`, with its full schema, is in `whole`."""
    own = properties_of(whole)
    seen: set[tuple[str, str]] = set()
    return all(
        key in own and _same(own[key], declared, whole.get("$defs", {}), part.get("$defs", {}), seen)
        for key, declared in properties_of(part).items()
    )


def same_properties(left: JsonDict, right: JsonDict) -> bool:
    """Tell whether two schemas have the same properties, whatever their titles and descriptions."""
    return contains_schema(left, right) and contains_schema(right, left)


def _same(left: Any, right: Any, lefts: JsonDict, rights: JsonDict, seen: set[tuple[str, str]]) -> bool:
    """Compare two schemas structurally, following references: definitions may bear different names."""
    if is_dict(left) and is_dict(right):
        return left.keys() == right.keys() and all(
            _same_target(left[key], right[key], lefts, rights, seen)
            if key == "$ref"
            else _same(left[key], right[key], lefts, rights, seen)
            for key in left
        )
    if is_list(left) and is_list(right):
        return len(left) == len(right) and all(
            _same(one, other, lefts, rights, seen) for one, other in zip(left, right, strict=True)
        )
    return type(left) is type(right) and bool(left == right)


def _same_target(
    left: Any, right: Any, lefts: JsonDict, rights: JsonDict, seen: set[tuple[str, str]]
) -> bool:
    if (left, right) in seen:
        return True
    seen.add((left, right))
    one, other = (str(ref).removeprefix(_REFERENCE) for ref in (left, right))
    if one not in lefts or other not in rights:
        return bool(left == right)
    return _same(lefts[one], rights[other], lefts, rights, seen)


def merged_schema(left: JsonDict, right: JsonDict) -> tuple[JsonDict, dict[str, str]]:
    """Merge two object schemas, left properties first.

    A key of `right` that is taken becomes `key_1`, `key_2`, ..., with a title to match. A definition of
    `right` whose name is taken by a different one gets another name, too.

    Returns:
        The schema, and the new name of each key of `right`.
    """
    left, right = copy_json(left), _with_free_definitions(copy_json(right), left.get("$defs", {}))
    needed = {*left.get("required", []), *right.get("required", [])}
    properties: JsonDict = dict(properties_of(left))
    originals = {key: key for key in properties}
    renamed: dict[str, str] = {}
    for key, declared in properties_of(right).items():
        new = free_key(key, properties)
        if new != key and is_dict(declared) and "title" in declared:
            declared = {**declared, "title": title_of(new)}
        properties[new] = declared
        originals[new] = key
        renamed[key] = new
    required = [key for key in properties if originals[key] in needed]
    result = _object(properties, required, left.get("title", right.get("title")))
    return with_used_definitions(result, {**left.get("$defs", {}), **right.get("$defs", {})}), renamed


def merged_json(left: JsonDict, right: JsonDict, renamed: Mapping[str, str]) -> JsonDict:
    """Merge two values as `merged_schema` merged their schemas."""
    result: JsonDict = copy_json(left)
    for key, value in copy_json(right).items():
        result[renamed[key] if key in renamed else free_key(key, result)] = value
    return result


def free_key(key: str, taken: Iterable[str]) -> str:
    """Give `key`, or `key_1`, `key_2`, ... where it is taken."""
    used = set(taken)
    count, free = 0, key
    while free in used:
        count += 1
        free = f"{key}_{count}"
    return free


def _with_free_definitions(schema: JsonDict, taken: JsonDict) -> JsonDict:
    own: JsonDict = schema.get("$defs", {})
    names: dict[str, str] = {}
    for name, definition in own.items():
        if name in taken and not _same(definition, taken[name], own, taken, set()):
            names[name] = free_key(name, {*taken, *own, *names.values()})
    if not names:
        return schema
    followed = cast("JsonDict", renamed_references(schema, names))
    followed["$defs"] = {names.get(name, name): definition for name, definition in followed["$defs"].items()}
    return followed


def _object(properties: JsonDict, required: list[str], title: str | None) -> JsonDict:
    result: JsonDict = {"additionalProperties": False, "properties": properties, "type": "object"}
    if required:
        result["required"] = required
    if title is not None:
        result["title"] = title
    return result


def with_used_definitions(schema: JsonDict, definitions: JsonDict) -> JsonDict:
    """Add the definitions that are referred to, directly or through each other, and no more."""
    waiting = list(references_in({key: value for key, value in schema.items() if key != "$defs"}))
    used: set[str] = set()
    while waiting:
        name = waiting.pop()
        if name in definitions and name not in used:
            used.add(name)
            waiting.extend(references_in(definitions[name]))
    kept = {name: definitions[name] for name in sorted(used)}
    bare = {key: value for key, value in schema.items() if key != "$defs"}
    return ordered({**bare, "$defs": kept} if kept else bare)


def references_in(schema: Any) -> Iterator[str]:
    """Yield the names of the definitions a schema refers to."""
    if is_dict(schema):
        for key, value in schema.items():
            if key == "$ref" and isinstance(value, str):
                yield value.removeprefix(_REFERENCE)
            else:
                yield from references_in(value)
    elif is_list(schema):
        for item in schema:
            yield from references_in(item)


def masked_schema(schema: JsonDict, keeps: Keeps, recursive: bool) -> JsonDict:
    """Keep the properties whose key is wanted, at every level if `recursive`, in all definitions too."""
    copied: JsonDict = copy_json(schema)
    definitions: JsonDict = copied.get("$defs", {})
    result = _masked(copied, keeps, recursive)
    result["additionalProperties"] = copied.get("additionalProperties", False)
    if recursive:
        definitions = {name: _masked_deeply(part, keeps) for name, part in definitions.items()}
    return with_used_definitions(result, definitions)


def _masked(schema: JsonDict, keeps: Keeps, recursive: bool) -> JsonDict:
    properties = {
        key: _masked_deeply(declared, keeps) if recursive else declared
        for key, declared in properties_of(schema).items()
        if keeps(key)
    }
    required = [key for key in schema.get("required", []) if key in properties]
    kept = {key: value for key, value in schema.items() if key not in ("properties", "required", "$defs")}
    return ordered({**kept, "properties": properties, **({"required": required} if required else {})})


def _masked_deeply(schema: Any, keeps: Keeps) -> Any:
    if is_list(schema):
        return [_masked_deeply(item, keeps) for item in schema]
    if not is_dict(schema):
        return schema
    parts: JsonDict = schema
    if "properties" in parts:
        parts = _masked(parts, keeps, recursive=True)
    result: JsonDict = {}
    for key, value in parts.items():
        if key == "default":
            result[key] = masked_json(value, keeps, recursive=True, nested=True)
        elif key in ("items", "prefixItems", "anyOf", "oneOf", "allOf", "additionalProperties"):
            result[key] = _masked_deeply(value, keeps)
        else:
            result[key] = value
    return result


def masked_json(value: Any, keeps: Keeps, recursive: bool, nested: bool = False) -> Json:
    """Keep the keys that are wanted, at every level and inside lists if `recursive`."""
    if nested and not recursive:
        copied: Json = copy_json(value)
        return copied
    if is_dict(value):
        return {
            key: masked_json(item, keeps, recursive, nested=True) for key, item in value.items() if keeps(key)
        }
    if is_list(value):
        return [masked_json(item, keeps, recursive, nested=True) for item in value]
    scalar: Json = value
    return scalar


def renamed_schema(
    schema: JsonDict, key_of: Callable[[str], str], title_of_field: Callable[[str], str]
) -> JsonDict:
    """Rename every property at the top, its title with it; all of them become required."""
    copied: JsonDict = copy_json(schema)
    properties: JsonDict = {}
    for key, declared in properties_of(copied).items():
        title = title_of_field(declared.get("title", title_of(key)))
        properties[key_of(key)] = ordered({**declared, "title": title})
    bare = {key: value for key, value in copied.items() if key != "required"}
    return ordered(
        {**bare, "properties": properties, **({"required": list(properties)} if properties else {})}
    )


def similar_keys(keys: Iterable[str]) -> dict[str, list[str]]:
    """Group keys that have the same base name, leaving out those that are alone, as plural: members."""
    groups: dict[str, list[str]] = {}
    for key in keys:
        groups.setdefault(base_name(key), []).append(key)
    return {plural_name(base): members for base, members in groups.items() if len(members) > 1}


def factorized_schema(schema: JsonDict) -> JsonDict:
    """Replace similar properties by one list each, where the first of them stood."""
    copied: JsonDict = copy_json(schema)
    declared = properties_of(copied)
    plurals = {key: (name, members) for name, members in similar_keys(declared).items() for key in members}
    properties: JsonDict = {}
    needed: list[str] = copied.get("required", [])
    required: list[str] = []
    for key in declared:
        name, members = plurals.get(key, (key, [key]))
        if name not in properties:
            properties[name] = _list_of([declared[member] for member in members], name, members)
            if any(member in needed for member in members):
                required.append(name)
        if key not in plurals:
            properties[key] = declared[key]
    bare = {key: value for key, value in copied.items() if key != "required"}
    return ordered({**bare, "properties": properties, **({"required": required} if required else {})})


def _list_of(declared: list[JsonDict], name: str, members: list[str]) -> JsonDict:
    items: list[Any] = []
    for key, schema in zip(members, declared, strict=True):
        item = schema.get("items", {}) if _is_the_list(schema, key, name) else schema
        bare = {
            keyword: value
            for keyword, value in item.items()
            if keyword not in ("title", "default", "description")
        }
        if bare not in items:
            items.append(bare)
    return {
        "items": items[0] if len(items) == 1 else {"anyOf": items},
        "title": title_of(name),
        "type": "array",
    }


def _is_the_list(schema: JsonDict, key: str, name: str) -> bool:
    """Tell whether a member is the plural itself and a list already, so that its items join in."""
    return key == name and schema.get("type") == "array"


def factorized_json(value: JsonDict, schema: JsonDict) -> JsonDict:
    """Gather the values of similar keys as `factorized_schema` gathered their properties."""
    declared = properties_of(schema)
    plurals = {key: name for name, members in similar_keys(declared).items() for key in members}
    result: JsonDict = {}
    for key, item in copy_json(value).items():
        name = plurals.get(key)
        if name is None:
            result[key] = item
        elif _is_the_list(declared[key], key, name):
            result.setdefault(name, []).extend(item)
        else:
            result.setdefault(name, []).append(item)
    return result
