"""What differs between providers: how models are called, and how a JSON answer is asked for.

litellm speaks to all of them; here is only what has to be decided before it is called. A schema goes to the
provider in a copy that obeys the provider's rules; the answer is held against the original.
"""

from __future__ import annotations

import os
import re
from typing import Any, cast

from eventcore.errors import InvalidValue
from eventcore.history.values import copy_json
from eventcore.language_models.litellm_library import provider_in_library

JsonDict = dict[str, Any]

JSON_SCHEMA = "json_schema"
"""The answer is asked for with `response_format`."""
TOOL = "tool"
"""The answer is asked for as the arguments of a tool the model has to call."""

FORMS: dict[str, str] = {
    **dict.fromkeys(
        [
            "anthropic", "azure", "azure_ai", "cerebras", "custom_openai", "databricks", "deepseek",
            "fireworks_ai", "gemini", "github", "hosted_vllm", "huggingface", "litellm_proxy", "llamafile",
            "lm_studio", "mistral", "moonshot", "nebius", "nvidia_nim", "ollama", "ollama_chat", "openai",
            "openai_like", "perplexity", "sambanova", "together_ai", "vertex_ai", "watsonx", "xai",
        ],
        JSON_SCHEMA,
    ),
    **dict.fromkeys(["bedrock", "bedrock_converse", "cohere", "cohere_chat", "groq", "openrouter"], TOOL),
}  # fmt: skip
"""How each provider is asked for JSON. Add an entry for one that is missing."""

_RENAMED = {"ollama": "ollama_chat", "vllm": "hosted_vllm", "doubleword": "openai"}
_ADDRESSES = {"doubleword": ("https://api.doubleword.ai/v1", "DOUBLEWORD_API_KEY")}
_SAYS_NOTHING = frozenset({"title", "description", "default", "examples", "deprecated", "$comment"})
_NOT_STRICT = frozenset(
    {"allOf", "not", "if", "then", "else", "prefixItems", "patternProperties", "dependentRequired"}
)
_DROPPED = frozenset(
    {"default", "examples", "uniqueItems", "minLength", "maxLength", "minProperties", "maxProperties"}
)
_FORMATS = frozenset({"date-time", "time", "date", "duration", "email", "hostname", "ipv4", "ipv6", "uuid"})


def resolved_model(model: str) -> str:
    """Return the name litellm knows a model by: `ollama/x` is called as `ollama_chat/x`, and so on."""
    provider, slash, name = model.partition("/")
    return f"{_RENAMED[provider]}/{name}" if slash and provider in _RENAMED else model


def address_of(model: str) -> JsonDict:
    """Return what has to be passed for a provider that litellm does not know by name."""
    base, variable = _ADDRESSES.get(model.partition("/")[0], ("", ""))
    if not base:
        return {}
    key = os.environ.get(variable)
    return {"api_base": base, **({"api_key": key} if key else {})}


def provider_of(model: str) -> str:
    """Return the provider of a model: what stands before the slash, or what litellm says."""
    prefix = model.partition("/")[0] if "/" in model else ""
    return prefix if prefix in FORMS else provider_in_library(model) or prefix


def structured_arguments(model: str, schema: JsonDict) -> JsonDict:
    """Return the arguments that make a model answer with JSON of a schema.

    Raises:
        InvalidValue: It is not known how the model's provider is asked.
    """
    provider = provider_of(model)
    form = FORMS.get(provider)
    if form is None:
        raise InvalidValue(
            f"cannot ask {model!r} for JSON: provider {provider!r} is not known. Known: {', '.join(sorted(FORMS))}. "
            "Teach it: eventcore.language_models.providers.FORMS[provider] = 'json_schema' or 'tool'."
        )
    name = _name_of(schema)
    if form == TOOL:
        function = {"name": name, "description": _purpose(schema), "parameters": _plain(schema)}
        chosen = {"type": "function", "function": {"name": name}}
        return {"tools": [{"type": "function", "function": function}], "tool_choice": chosen}
    strict = strict_schema(schema)
    sent = strict if strict is not None else _plain(schema)
    described = {"name": name, "schema": sent, "strict": strict is not None}
    if schema.get("description"):
        described["description"] = schema["description"]
    return {"response_format": {"type": "json_schema", "json_schema": described}}


def _name_of(schema: JsonDict) -> str:
    return re.sub(r"[^A-Za-z0-9_-]+", "_", str(schema.get("title", ""))).strip("_")[:64] or "answer"


def _purpose(schema: JsonDict) -> str:
    return str(schema.get("description") or "Give the answer.")


def _plain(schema: JsonDict) -> JsonDict:
    copied: JsonDict = copy_json(schema)
    return copied


class _NotStrict(Exception):
    """The schema allows what strict mode cannot promise."""


def strict_schema(schema: JsonDict) -> JsonDict | None:
    """Return a copy that OpenAI's strict mode accepts, or None when the schema has none.

    Every property is required there and no other is allowed, so an optional one may be null instead; such
    nulls are taken out of the answer again by `without_refused_nulls`. Open dicts and values of any type
    cannot be promised.
    """
    try:
        strict = _strict({key: value for key, value in schema.items() if key != "$defs"})
        definitions = {name: _strict(part) for name, part in schema.get("$defs", {}).items()}
    except _NotStrict:
        return None
    return {**strict, "$defs": definitions} if definitions else strict


def _strict(schema: Any) -> JsonDict:
    if not isinstance(schema, dict) or _NOT_STRICT & schema.keys():
        raise _NotStrict
    given = cast("JsonDict", schema)
    if not given.keys() - _SAYS_NOTHING:
        raise _NotStrict  # any value at all
    node = {key: value for key, value in given.items() if key not in _DROPPED}
    if node.get("format") not in _FORMATS:
        node.pop("format", None)
    if "const" in node:
        node["enum"] = [node.pop("const")]
    if "$ref" in node:
        return _strict_reference(node)
    options = node.pop("anyOf", None) or node.pop("oneOf", None)
    if options:
        node["anyOf"] = [_strict(option) for option in options]
    elif "properties" in node or node.get("type") == "object":
        return _strict_object(node)
    elif node.get("type") == "array":
        node["items"] = _strict(node.get("items"))
    return node


def _strict_reference(node: JsonDict) -> JsonDict:
    reference, said = {"$ref": node["$ref"]}, {key: node[key] for key in node if key != "$ref"}
    return {"anyOf": [reference], **said} if said else reference  # nothing may stand beside a $ref


def _strict_object(node: JsonDict) -> JsonDict:
    properties = cast("JsonDict", node.get("properties", {}))
    if node.get("additionalProperties", False) is not False or not properties:
        raise _NotStrict
    required = set(node.get("required", ()))
    made = {
        name: _strict(part) if name in required else _nullable(_strict(part))
        for name, part in properties.items()
    }
    return {**node, "properties": made, "required": list(made), "additionalProperties": False}


def _nullable(schema: JsonDict) -> JsonDict:
    if allows_null(schema, {}):
        return schema
    said: JsonDict = {key: schema[key] for key in ("title", "description") if key in schema}
    rest = {key: value for key, value in schema.items() if key not in said}
    options = rest["anyOf"] if set(rest) == {"anyOf"} else [rest]
    return {"anyOf": [*options, {"type": "null"}], **said}


def allows_null(schema: Any, root: JsonDict) -> bool:
    """Whether null is among the values a schema states by itself or in its alternatives."""
    if not isinstance(schema, dict):
        return schema is True
    parts = cast("JsonDict", schema)
    if "$ref" in parts:
        target = _target(parts["$ref"], root)
        return target is not None and target is not parts and allows_null(target, root)
    options = [*parts.get("anyOf", ()), *parts.get("oneOf", ())]
    if options:
        return any(allows_null(option, root) for option in options)
    if "enum" in parts or "const" in parts:
        return None in parts.get("enum", [parts.get("const", 0)])
    kind = parts.get("type")
    return kind is None or kind == "null" or (isinstance(kind, list) and "null" in kind)


def without_refused_nulls(value: Any, schema: JsonDict) -> Any:
    """Return an answer without the nulls that stand for "left out": where the schema takes no null."""
    return _pruned(value, schema, schema)


def _pruned(value: Any, schema: Any, root: JsonDict) -> Any:
    node = _followed(value, schema, root)
    if isinstance(value, list):
        return [_pruned(item, node.get("items", True), root) for item in value]
    if not isinstance(value, dict):
        return value
    properties, required = node.get("properties", {}), node.get("required", ())
    kept: JsonDict = {}
    for name, item in value.items():
        inner = properties.get(name, True)
        if item is None and name not in required and not allows_null(inner, root):
            continue
        kept[name] = _pruned(item, inner, root)
    return kept


def _followed(value: Any, schema: Any, root: JsonDict, depth: int = 0) -> JsonDict:
    """The part of a schema that describes a container: references and alternatives followed."""
    if not isinstance(schema, dict) or depth > 32:
        return {}
    parts = cast("JsonDict", schema)
    if "$ref" in parts:
        return _followed(value, _target(parts["$ref"], root), root, depth + 1)
    wanted = "array" if isinstance(value, list) else "object"
    found = [
        _followed(value, option, root, depth + 1)
        for option in [*parts.get("anyOf", ()), *parts.get("oneOf", ())]
    ]
    fitting = [option for option in found if option.get("type") == wanted]
    # Among several objects only the one whose fields are all there says which nulls may go.
    if isinstance(value, dict) and len(fitting) > 1:
        fitting = [option for option in fitting if set(value) <= set(option.get("properties", {}))]
    return fitting[0] if fitting else parts


def _target(reference: Any, root: JsonDict) -> Any:
    if reference == "#":
        return root
    return root.get("$defs", {}).get(str(reference).rpartition("/")[2])
