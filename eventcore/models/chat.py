"""Data models for conversations with language models.

The shape providers share; what a particular provider wants is the business of the language models.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Any

from eventcore.models.data_model import DataModel
from eventcore.models.field import Field
from eventcore.models.trainable import has_fields_of


class ChatRole(StrEnum):
    """Who speaks."""

    SYSTEM = "system"
    USER = "user"
    ASSISTANT = "assistant"
    TOOL = "tool"


class ToolCall(DataModel):
    """A language model's wish to have a tool called."""

    id: str = Field(description="The identity of the call, which the tool's answer repeats.")
    name: str = Field(description="The name of the tool.")
    arguments: dict[str, Any] = Field(default={}, description="The arguments of the call.")


class ChatMessage(DataModel):
    """One message of a conversation."""

    role: ChatRole = Field(description="Who speaks.")
    content: str | list[Any] | dict[str, Any] | None = Field(default=None, description="What is said.")
    tool_call_id: str | None = Field(default=None, description="The tool call this message answers.")
    tool_calls: list[ToolCall] | None = Field(default=None, description="The tool calls wished for.")


class ChatMessages(DataModel):
    """A conversation."""

    messages: list[ChatMessage] = Field(default=[], description="The messages, oldest first.")


def is_chat_message(value: Any) -> bool:
    """Tell whether a data model has every field of `ChatMessage`, unaltered."""
    return has_fields_of(value, ChatMessage)


def is_chat_messages(value: Any) -> bool:
    """Tell whether a data model has the field of `ChatMessages`, unaltered."""
    return has_fields_of(value, ChatMessages)


def is_tool_call(value: Any) -> bool:
    """Tell whether a data model has every field of `ToolCall`, unaltered."""
    return has_fields_of(value, ToolCall)
