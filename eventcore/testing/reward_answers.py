"""Answers made of a target, as a reward may be fooled by them: emptied, doubled, one off, or with everything in it.

Drawn answers hardly ever come near a target, and what a reward gets wrong is mostly there. Nothing is scored here:
what a reward may pay for such an answer is for `eventcore.testing.rewards` to judge.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple, cast

from eventcore.errors import EventcoreError
from eventcore.models.conversion import is_data_model
from eventcore.models.json_data_model import JsonDataModel

Path = tuple[str, ...]
MOST = 8
"""How many other texts or items an answer with everything in it is made of."""


class Emptied(NamedTuple):
    """A target that says less.

    Attributes:
        paths: The fields that were emptied. One that was empty before is not among them.
        rest: The fields that would never be emptied in this way.
        answer: What is left.
    """

    paths: tuple[Path, ...]
    rest: tuple[Path, ...]
    answer: Any


def json_of(answer: Any) -> Any:
    """Return an answer as JSON; None and dicts are themselves."""
    return answer.get_json() if is_data_model(answer) else answer


def leaves(told: Any, inside: Path = ()) -> Iterator[tuple[Path, Any]]:
    """The fields of an answer and of the data models in it, as (path, value); a list is one field."""
    for field, value in cast("dict[str, Any]", told).items() if isinstance(told, dict) else ():
        path = (*inside, field)
        if isinstance(value, dict) and value:
            yield from leaves(value, path)
        else:
            yield path, value


def like(answer: Any, changes: dict[Path, Any]) -> Any:
    """Return an answer with some fields changed; None if that says the same, or its schema does not allow it."""
    told = json_of(answer)
    for path, value in changes.items():
        told = _changed(told, path, value)
    if told == json_of(answer):
        return None
    if not is_data_model(answer):
        return told
    try:
        return JsonDataModel(schema=answer.get_schema(), json=told)
    except EventcoreError:
        return None


def _changed(told: Any, path: Path, value: Any) -> Any:
    return {**told, path[0]: _changed(told[path[0]], path[1:], value)} if path else value


def with_words_of(truth: Any, prediction: Any, paths: Iterable[Path]) -> Any:
    """Return the target with what the prediction says in some fields; None as in `like`."""
    said = dict(_fields(json_of(prediction)))
    return like(truth, {path: said[path] for path in paths if path in said})


def near(truth: Any) -> Iterator[Any]:
    """Answers that say the target's words twice."""
    for path, value in leaves(json_of(truth)):
        twice = (
            value * 2 if isinstance(value, list) else f"{value} {value}" if isinstance(value, str) else value
        )  # pyright: ignore[reportUnknownVariableType]
        if value and twice != value and (found := like(truth, {path: twice})) is not None:
            yield found


def one_off(truth: Any) -> Iterator[Any]:
    """Answers that differ from the target by one in a number, or in its sign."""
    for path, value in leaves(json_of(truth)):
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            for other in (value + 1, value - 1, -value):
                if (found := like(truth, {path: other})) is not None:
                    yield found


def everything(truth: Any, others: Sequence[Any]) -> Iterator[Any]:
    """Answers with the target's words first and those of many others behind them: in one field, and in all."""
    said = [dict(leaves(json_of(other))) for other in others]
    changes: dict[Path, Any] = {}
    for path, value in leaves(json_of(truth)):
        more = _more(value, [each[path] for each in said if path in each])
        if more and (found := like(truth, {path: _joined(value, more)})) is not None:
            changes[path] = _joined(value, more)
            yield found
    if len(changes) > 1 and (found := like(truth, changes)) is not None:
        yield found


def _more(value: Any, others: list[Any]) -> list[Any]:
    if isinstance(value, list):
        items: list[Any] = [
            item for other in others if isinstance(other, list) for item in cast("list[Any]", other)
        ]
        known = cast("list[Any]", value)
    else:
        items, known = (
            [other for other in others if isinstance(value, str) and isinstance(other, str)],
            [value, ""],
        )
    return [item for place, item in enumerate(items) if item not in known and item not in items[:place]][
        :MOST
    ]


def _joined(value: Any, more: list[Any]) -> Any:
    return [*value, *more] if isinstance(value, list) else " ".join([value, *more])


def emptied(truth: Any) -> dict[str, Emptied]:
    """Return the ways in which a target can be emptied, field by field and in all fields at once.

    The keys say how and where, alike for all targets. Only where it says something: a target of blanks and signs may
    be the same as nothing to whoever compares words.
    """
    told = dict(_fields(json_of(truth)))
    found: dict[str, Emptied] = {}
    for word, empty in _EMPTY.items():
        free = {
            path: empty(value)
            for path, value in told.items()
            if empty(value) is not _KEPT and _allowed(truth, path, value, empty(value))
        }
        whole = [path for path in free if not any(path[:cut] in free for cut in range(1, len(path)))]
        named = {".".join(path): (path,) for path in free}
        for where, paths in {**named, "": tuple(whole)}.items():
            answer = like(truth, {path: free[path] for path in paths})
            if answer is None or not any(_says(told[path]) for path in paths):
                continue
            now = tuple(path for path in paths if told[path] != free[path])
            less = Emptied(now, _beside(truth, paths), answer)
            if not any(
                known[:2] == less[:2] and json_of(known[2]) == json_of(answer) for known in found.values()
            ):
                found[f"{word} {where}"] = less
    return found


def _beside(truth: Any, paths: Sequence[Path]) -> tuple[Path, ...]:
    return tuple(
        path for path, _ in leaves(json_of(truth)) if not any(path[: len(each)] == each for each in paths)
    )


def _fields(told: Any) -> Iterator[tuple[Path, Any]]:
    """Fields as in `leaves`, with the data models in them as a whole first: such a field may be optional too."""
    for field, value in cast("dict[str, Any]", told).items() if isinstance(told, dict) else ():
        yield (field,), value
        if isinstance(value, dict):
            for path, inner in _fields(value):
                yield (field, *path), inner


_KEPT = object()


def _nothing(value: Any) -> Any:
    return (
        "" if isinstance(value, str) else [] if isinstance(value, list) else None if value is None else _KEPT
    )


def _blank(value: Any) -> Any:
    return " " if isinstance(value, str) else _nothing(value)


_EMPTY: dict[str, Callable[[Any], Any]] = {"empty": _nothing, "blank": _blank, "null": lambda value: None}


def _allowed(truth: Any, path: Path, value: Any, empty: Any) -> bool:
    """Whether a field may be empty; a plain dict says nothing of which of its fields are optional."""
    if empty is None and not is_data_model(truth):
        return False
    return empty == value or like(truth, {path: empty}) is not None


def _says(value: Any) -> bool:
    if isinstance(value, bool) or value is None:
        return value is not None
    return any(letter.isalnum() for letter in json.dumps(value, ensure_ascii=False))
