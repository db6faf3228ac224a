"""Conversations: what callers write turned into chat messages, and those into what providers read.

Inside eventcore a conversation is `ChatMessages`; the form providers share differs from it only where a tool
is called.
"""

from __future__ import annotations

from typing import Any, cast

import msgspec

from eventcore.errors import InvalidValue
from eventcore.models.chat import ChatMessages, is_chat_message, is_chat_messages
from eventcore.models.conversion import is_data_model, json_of
from eventcore.models.json_data_model import JsonDataModel
from eventcore.models.symbolic import SymbolicDataModel

JsonDict = dict[str, Any]


def as_conversation(value: Any) -> Any:
    """Turn a text, a message, a list of messages or a data model of messages into JSON of `ChatMessages`.

    Symbolic data models are returned as they are.

    Raises:
        InvalidValue: It is something else.
        SchemaMismatch: A message has an unknown role or field.
    """
    if isinstance(value, SymbolicDataModel):
        return value
    if isinstance(value, str):
        return _conversation([{"role": "user", "content": value}])
    if isinstance(value, (list, tuple)):
        return _conversation([_message(item) for item in value])
    if isinstance(value, dict):
        found = cast("JsonDict", value)
        return as_conversation(found["messages"]) if set(found) == {"messages"} else as_conversation([found])
    if is_data_model(value):
        if is_chat_messages(value):
            return _conversation(json_of(value)["messages"])
        if is_chat_message(value):
            return as_conversation([json_of(value)])
    raise InvalidValue(
        f"cannot send {value!r} to a language model: pass a text, ChatMessages, or a list of messages such as "
        "{'role': 'user', 'content': '…'}"
    )


def _conversation(messages: list[JsonDict]) -> JsonDataModel:
    return JsonDataModel(data_model=ChatMessages, json={"messages": messages}, name="messages")


def _message(item: Any) -> JsonDict:
    message = dict(json_of(item, "a chat message"))
    calls = message.get("tool_calls")
    if isinstance(calls, list):
        message["tool_calls"] = [_tool_call(call) for call in cast("list[Any]", calls)]
    return message


def _tool_call(call: Any) -> Any:
    """Read a tool call in the providers' form; one in ours is returned as it is."""
    function = cast("JsonDict", call).get("function") if isinstance(call, dict) else None
    if not isinstance(function, dict):
        return call
    arguments = cast("JsonDict", function).get("arguments", {})
    if isinstance(arguments, str):
        try:
            arguments = msgspec.json.decode(arguments) if arguments else {}
        except msgspec.DecodeError:
            raise InvalidValue(
                f"cannot read the arguments of the tool call {call!r}: they are no JSON"
            ) from None
    return {
        "id": call.get("id", ""),
        "name": cast("JsonDict", function).get("name", ""),
        "arguments": arguments,
    }


def for_provider(messages: list[JsonDict]) -> list[JsonDict]:
    """Write messages in the form providers share."""
    return [_for_provider(message) for message in messages]


def _for_provider(message: JsonDict) -> JsonDict:
    content = message.get("content")
    written: JsonDict = {
        "role": message["role"],
        "content": as_text(content) if isinstance(content, dict) else content,
    }
    if message.get("tool_call_id") is not None:
        written["tool_call_id"] = message["tool_call_id"]
    calls = message.get("tool_calls")
    if calls:
        written["tool_calls"] = [
            {
                "id": call["id"],
                "type": "function",
                "function": {"name": call["name"], "arguments": as_text(call["arguments"])},
            }
            for call in calls
        ]
    return written


def as_text(value: Any) -> str:
    """Write JSON on one line, keys as they come."""
    return msgspec.json.encode(value).decode()
