"""Names for places in a run: labels, "epoch:2", "epoch:2/step:5", and times. `run.seq` resolves them all.

A label is an event like any other, so it moves and its moves are its history. An epoch or a step stands for its
end: the state it left behind. A time stands for the last event up to it; one without a zone is local, and "15m" is
fifteen minutes ago.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import msgspec

from eventcore.errors import InvalidValue, NotFound, WrongType
from eventcore.history import events as e
from eventcore.history.codec import decode_block, read_header, read_payload

if TYPE_CHECKING:
    from eventcore.history.reading import Reader
    from eventcore.history.run_reader import RunReader

_STEP = re.compile(r"epoch:(\d+)(?:/step:(\d+))?")
_TIME = re.compile(r"\d{4}-\d\d-\d\d")
_AGO = re.compile(r"(\d{1,9}(?:\.\d{1,9})?)([smhd])")
_SECONDS = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}
_NUMBER = re.compile(r"-?\d+")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")

_NEWEST = frozenset({"head", "now"})

Position = int | str | datetime
"""Whatever stands for a seq: the number, a label, "epoch:2", "epoch:2/step:5", or a time."""

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


def resolve(run: RunReader, position: Any) -> int:
    """Return the seq that a seq, a label, an epoch, a step of one, or a time stands for; the first may not be there.

    Raises:
        NotFound: There is no such label, epoch or step; the message names the near ones.
        InvalidValue: A time that is none.
        WrongType: Nothing of these.
    """
    if isinstance(position, datetime):
        return _at_time(run, position)
    if isinstance(position, int) and not isinstance(position, bool):
        return int(position)
    if not isinstance(position, str):
        raise WrongType(
            f"cannot go to {position!r} in run {run.name!r}: received a value of type {type(position).__name__}; pass "
            "a seq, a label, 'epoch:N', 'epoch:N/step:M', or a time as text or as a datetime"
        )
    if _NUMBER.fullmatch(position):
        return int(position) if len(position) < 20 else -1  # no log is as long
    return _named(run, position)


def _named(run: RunReader, position: str) -> int:
    labels = run.state.labels
    if position in labels:
        return labels[position]
    step = _STEP.fullmatch(position)
    if step:
        return _end_of(run, position, int(step[1]), None if step[2] is None else int(step[2]))
    time = moment(position)
    if time is not None:
        return _at_time(run, time)
    near = difflib.get_close_matches(position, labels, 3, 0.5)
    hint = f"did you mean {', '.join(near)}? " if near else ""
    raise NotFound(
        f"cannot find label {position!r} in run {run.name!r}; {_elsewhere(run, position)}{hint}it has: "
        f"{', '.join(labels) or 'none'}; 'epoch:2', 'epoch:2/step:5' and times like 2026-01-31T12:00 or 15m, which is "
        "15 minutes ago, work too"
    )


def _elsewhere(run: RunReader, label: str) -> str:
    """Say that a run this one was forked from has the label: it was set after the fork."""
    child: Any = run
    while (parent := getattr(child, "parent", None)) is not None:
        seq = parent.state.labels.get(label)
        if seq is not None:
            shared = "" if seq > child.forked_at else ", an event this run shares: pass that seq"
            return f"run {parent.name!r}, which it was forked from, has it since, at seq {seq}{shared}; "
        child = parent
    return ""


def check_label(name: Any) -> None:
    """Refuse what cannot be a label.

    Raises:
        InvalidValue: It is empty, has blanks around it or control characters, stands for a place by itself, or
            looks as if it did.
    """
    wrong = _wrong_with(name)
    if wrong is not None:
        raise InvalidValue(f"cannot use {name!r} as a label: {wrong}; pass a word such as 'best'")


def _wrong_with(name: Any) -> str | None:
    """Say why something cannot be a label."""
    if not isinstance(name, str):
        return f"it is of type {type(name).__name__}, not text"
    reasons = (
        (not name, "it is empty"),
        (_CONTROL.search(name), "it has control characters, such as a line break"),
        (name != name.strip(), "it begins or ends with a blank"),
        (name.startswith("-"), "it begins with '-', as options do"),
        (name.startswith("epoch:"), "'epoch:' begins the name of an epoch or a step"),
        (_TIME.match(name) or _AGO.fullmatch(name), "it is a time"),
        (_is_number(name), "it is a number, as seqs are"),
        ("@" in name, "'@' stands between a run and a seq"),
        (name.lower() in _NEWEST, "it reads as the newest event, and would stay where it is set"),
    )
    return next((reason for wrong, reason in reasons if wrong), None)


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


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


def moment(text: str) -> datetime | None:
    """Return the time a text stands for: a date, ISO 8601, or how long ago it is ("90s", "15m", "2h", "3d").

    Returns:
        A time, without a zone where the text has none: it is local then. None for a text that is no time.

    Raises:
        InvalidValue: It begins like a date and is none, or is longer ago than there are times.
    """
    ago = _AGO.fullmatch(text)
    if ago is None and not _TIME.match(text):
        return None
    try:
        if ago is not None:
            return datetime.now(UTC) - timedelta(seconds=float(ago[1]) * _SECONDS[ago[2]])
        return datetime.fromisoformat(text)
    except (ValueError, OverflowError) as error:
        raise InvalidValue(
            f"cannot read the time {text!r}: {error}; pass one like 2026-01-31 or 2026-01-31T12:00:00+01:00, or how "
            "long ago: 90s, 15m, 2h, 3d"
        ) from error


def _microseconds(time: datetime) -> int:
    """Return a time in microseconds since 1970; one without a zone is local."""
    try:
        return round(time.timestamp() * 1_000_000)
    except (
        ValueError,
        OverflowError,
        OSError,
    ):  # a local time at either end of the calendar: the zone is all the same
        return round(time.replace(tzinfo=UTC).timestamp() * 1_000_000)


def _at_time(run: RunReader, time: datetime) -> int:
    """Return the last seq up to a time, 0 when the first event is later. O(log n) events are read."""
    wanted = _microseconds(time)
    reader = run.reader()
    low, high = reader.first_stored() - 1, reader.head()
    while low < high:
        middle = (low + high + 1) // 2
        if next(iter(reader.events_at([middle])))[1].time <= wanted:
            low = middle
        else:
            high = middle - 1
    return low
