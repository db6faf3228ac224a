"""Data models for values whose shape is not known in advance, and for embeddings.

Plain containers with a name, so that modules can say what they exchange. Conversations are
`eventcore.models.chat`.
"""

from __future__ import annotations

from typing import Any

from eventcore.models.data_model import DataModel
from eventcore.models.field import Field
from eventcore.models.trainable import has_fields_of


class GenericInputs(DataModel):
    """Inputs of any shape."""

    inputs: dict[str, Any] = Field(description="The inputs.")


class GenericOutputs(DataModel):
    """Outputs of any shape."""

    outputs: dict[str, Any] = Field(description="The outputs.")


class GenericIO(GenericInputs, GenericOutputs):
    """Inputs and outputs of any shape."""

    inputs: dict[str, Any] = Field(description="The inputs.")
    outputs: dict[str, Any] = Field(description="The outputs.")


class GenericResult(DataModel):
    """A result of any shape."""

    result: Any = Field(description="The result.")


class Stamp(DataModel):
    """When something was made."""

    created_at: str = Field(description="The time of creation, as ISO 8601 text.")


class EmbeddingRequest(DataModel):
    """What an embedding model is asked."""

    texts: str | list[str] = Field(description="The text, or the texts, to embed.")


class Embedding(DataModel):
    """The vector of one text."""

    embedding: list[float] = Field(description="The vector.")


class Embeddings(DataModel):
    """The vectors of several texts."""

    embeddings: list[list[float]] = Field(description="The vectors, in the order of the texts.")


def is_generic_inputs(value: Any) -> bool:
    """Tell whether a data model has the field of `GenericInputs`, unaltered."""
    return has_fields_of(value, GenericInputs)


def is_generic_outputs(value: Any) -> bool:
    """Tell whether a data model has the field of `GenericOutputs`, unaltered."""
    return has_fields_of(value, GenericOutputs)


def is_generic_io(value: Any) -> bool:
    """Tell whether a data model has the fields of `GenericIO`, unaltered."""
    return has_fields_of(value, GenericIO)


def is_generic_result(value: Any) -> bool:
    """Tell whether a data model has the field of `GenericResult`, unaltered."""
    return has_fields_of(value, GenericResult)


def is_stamp(value: Any) -> bool:
    """Tell whether a data model has the field of `Stamp`, unaltered."""
    return has_fields_of(value, Stamp)


def is_embedding_request(value: Any) -> bool:
    """Tell whether a data model has the field of `EmbeddingRequest`, unaltered."""
    return has_fields_of(value, EmbeddingRequest)


def is_embedding(value: Any) -> bool:
    """Tell whether a data model has the field of `Embedding`, unaltered."""
    return has_fields_of(value, Embedding)


def is_embeddings(value: Any) -> bool:
    """Tell whether a data model has the field of `Embeddings`, unaltered."""
    return has_fields_of(value, Embeddings)
