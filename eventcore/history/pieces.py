"""Cutting a value that is too large for one event: what is declared empty is filled by the events after it.

A variable grows by small events without a bound, and has to be declared whole when it comes to live in
another run. Nothing here records anything.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from eventcore.history import patches as p
from eventcore.history.state import size_of

PIECE = 2 * 1024 * 1024
"""Payload bytes an event made here has at most, unless a single text is longer."""

Piece = tuple[list[str | int], int, list[Any]]
"""Path, operation and arguments of a `ValuePatched` event."""


def in_pieces(value: dict[str, Any]) -> tuple[dict[str, Any], list[Piece]]:
    """Return a value with all its fields, large ones empty, and the changes that fill them in order."""
    first: dict[str, Any] = {}
    pieces: list[Piece] = []
    room = PIECE
    for field, item in value.items():
        size = size_of(item)
        if size <= room:
            first[field] = item
            room -= size
            continue
        first[field] = _empty(item)
        pieces += _filling([field], item) if isinstance(item, (dict, list)) else [([], p.SET, [field, item])]
    return first, pieces


def _empty(item: Any) -> Any:
    return {} if isinstance(item, dict) else [] if isinstance(item, list) else ""


def _filling(path: list[str | int], container: Any) -> Iterator[Piece]:
    """Yield the changes that fill an empty container, in batches; what is too large for one goes in by itself."""
    named = isinstance(container, dict)
    places = dict.items(container) if isinstance(container, dict) else enumerate(list.__iter__(container))
    batch: list[tuple[Any, Any]] = []
    used = 0
    for place, item in places:
        size = size_of(item)
        if batch and used + size > PIECE:
            yield _batch(path, named, batch)
            batch, used = [], 0
        if size > PIECE and isinstance(item, (dict, list)):
            yield _batch(path, named, [(place, _empty(item))])
            yield from _filling([*path, place], item)
        else:
            batch.append((place, item))
            used += size
    if batch:
        yield _batch(path, named, batch)


def _batch(path: list[str | int], named: bool, batch: list[tuple[Any, Any]]) -> Piece:
    if named:
        return path, p.MERGE, [dict(batch)]
    return path, p.EXTEND, [[item for _, item in batch]]
