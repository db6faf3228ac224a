"""Names for places in a run: labels, "epoch:2", "epoch:2/step:5", and times. `run.seq` resolves them all.

A label is an event like any other, so it moves and its moves are its history. An epoch or a step stands for its
end: the state it left behind. A time stands for the last event up to it.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator
from datetime import datetime
from typing import TYPE_CHECKING, Any

import msgspec

from eventcore.errors import InvalidValue, NotFound
from eventcore.history import events as e
from eventcore.history.codec import decode_block, read_header, read_payload

if TYPE_CHECKING:
    from eventcore.history.reading import Reader
    from eventcore.history.run_reader import RunReader

_STEP = re.compile(r"epoch:(\d+)(?:/step:(\d+))?")
_TIME = re.compile(r"\d{4}-\d\d-\d\d")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")

WINDOW = 65_536
"""Events looked at in one go when the newest of a kind is searched."""


class Labelled(msgspec.Struct, frozen=True):
    """A label was set or moved.

    Attributes:
        label: The label.
        position: The seq it points at since.
        seq: The event that set it.
        time: When, in microseconds since 1970.
    """

    label: str
    position: int
    seq: int
    time: int


def resolve(run: RunReader, position: str) -> int:
    """Return the seq a label, an epoch, a step of one, or a time stands for.

    Raises:
        NotFound: There is no such label, epoch or step; the message names the near ones.
        InvalidValue: A time that is none.
    """
    labels = run.state.labels
    if position in labels:
        return labels[position]
    step = _STEP.fullmatch(position)
    if step:
        return _end_of(run, position, int(step[1]), None if step[2] is None else int(step[2]))
    if _TIME.match(position):
        return _at_time(run, position)
    near = difflib.get_close_matches(position, labels, 3, 0.5)
    hint = f"did you mean {', '.join(near)}? " if near else ""
    raise NotFound(
        f"cannot find label {position!r} in run {run.name!r}; {hint}it has: {', '.join(labels) or 'none'}; "
        "'epoch:2', 'epoch:2/step:5' and times like 2026-01-31T12:00 work too"
    )


def check_label(name: Any) -> None:
    """Refuse what cannot be a label.

    Raises:
        InvalidValue: It is empty, has blanks around it or control characters, or stands for a place by itself.
    """
    wrong = not isinstance(name, str) or not name or name != name.strip() or bool(_CONTROL.search(name))
    if wrong or name.isdecimal() or name.startswith(("epoch:", "-")) or _TIME.match(name):
        raise InvalidValue(
            f"cannot use {name!r} as a label: pass a word such as 'best' that is no number, no time and does not "
            "begin with 'epoch:' or '-'"
        )


def moves(run: RunReader, name: str | None = None) -> list[Labelled]:
    """Return how labels were set and moved, oldest first. Reads the whole log, quickly.

    Args:
        run: The run.
        name: Only this label; None for all.
    """
    reader = run.reader()
    found = tagged(reader, (e.LabelSet,), reader.first_stored(), reader.head())
    return [
        Labelled(event.label, event.seq, seq, event.time)
        for seq, event in found
        if isinstance(event, e.LabelSet) and name in (None, event.label)
    ]


def tagged(
    reader: Reader, kinds: tuple[type[e.Event], ...], first: int, last: int
) -> Iterator[tuple[int, e.Event]]:
    """Yield the events of rare kinds, oldest first, decoding only blocks that can have one.

    An event begins with the head of its array and its tag, which is looked for in the block's bytes.
    """
    if first > last:
        return
    heads = [head for kind in kinds for head in heads_of(kind)]
    for block in reader.blocks(first, last):
        header = read_header(block.data)
        payload = read_payload(block.data, header)
        if any(head in payload for head in heads):
            for seq, event in enumerate(decode_block(block.data, header), header.first_seq):
                if first <= seq <= last and isinstance(event, kinds):
                    yield seq, event


def heads_of(kind: type[e.Event]) -> list[bytes]:
    """Return how events of a kind begin: the head of a short array and the tag, fields added later there or not."""
    tag, fields = kind.__struct_config__.tag, len(kind.__struct_fields__)
    assert isinstance(tag, int) and tag < 128 and fields < 15
    return [bytes((0x91 + fields - left_out, tag)) for left_out in range(len(kind.__struct_defaults__) + 1)]


def _end_of(run: RunReader, position: str, epoch: int, step: int | None) -> int:
    """Return the seq at which an epoch or a step ended; of several trainings, in the last that has it."""
    kind = e.EpochEnded if step is None else e.BatchEnded
    reader = run.reader()
    high, low = reader.head(), reader.first_stored()
    epochs: set[int] = set()
    while high >= low:
        start = max(low, high - WINDOW + 1)
        for seq, event in reversed(list(tagged(reader, (e.EpochEnded, kind), start, high))):
            if (
                isinstance(event, kind)
                and event.epoch == epoch
                and step in (None, getattr(event, "step", None))
            ):
                return seq
            epochs.add(event.epoch)  # type: ignore[attr-defined]
        high = start - 1
    known = f"epochs {min(epochs)} to {max(epochs)} ended" if epochs else "no epoch has ended in it"
    raise NotFound(
        f"cannot find {position!r} in run {run.name!r}: {known}; the first epoch is 0, the first step of each is 0"
    )


def _at_time(run: RunReader, position: str) -> int:
    """Return the last seq up to a time, 0 when the first event is later. O(log n) events are read."""
    try:
        moment = datetime.fromisoformat(position)
    except ValueError as error:
        raise InvalidValue(
            f"cannot read the time {position!r}: {error}; pass one like 2026-01-31 or 2026-01-31T12:00:00+01:00"
        ) from error
    wanted = round(moment.timestamp() * 1_000_000)
    reader = run.reader()
    low, high = reader.first_stored() - 1, reader.head()
    while low < high:
        middle = (low + high + 1) // 2
        if next(iter(reader.events_at([middle])))[1].time <= wanted:
            low = middle
        else:
            high = middle - 1
    return low
