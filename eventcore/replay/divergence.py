"""The first point at which code that is run again does something its log does not say, in words and as a value."""

from __future__ import annotations

import difflib
import re
import sys
from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from eventcore.history import events as e
from eventcore.history.codec import encoder
from eventcore.history.sources import user_frame
from eventcore.history.timetravel import Difference, value_differences

NOT_COMPARED = frozenset({"time", "source", "latency"})
"""What may differ: when, how long, and on which line (a comment above it moves it)."""

_NEAR = 200
_SHOWN = 300
_FIELD = 120
_WORD = 60
_HEADER = ("event", "rollout", "cause", "digest")

JsonDict = dict[str, Any]


class Divergence(msgspec.Struct, frozen=True):
    """Where code that was run again left its log.

    Attributes:
        seq: Seq of the recorded event it should have come to.
        cause: Seq of the event that led there, 0 for none.
        rollout: The rollout, or None.
        recorded: The recorded event by field, None past the log's end.
        replayed: What the code did instead, None if it did nothing (it ended, or waits).
        differences: Where the two differ, if they are events of one kind.
        nearest: For a request that was not recorded: the most similar one that was, its seq and where they differ.
        line: The user's source line, "" if the code did nothing.
        reason: In words.
    """

    seq: int
    cause: int
    rollout: str | None
    recorded: JsonDict | None
    replayed: JsonDict | None
    differences: list[Difference]
    nearest: tuple[int, list[Difference]] | None
    line: str
    reason: str

    def __str__(self) -> str:
        head = f"diverged at seq {self.seq}: {self.reason}"
        lines = [head]
        if self.rollout is not None:
            lines.append(f"  rollout   {self.rollout}")
        if self.cause:
            lines.append(f"  cause     seq {self.cause}")
        if self.line:
            lines.append(f"  line      {self.line}")
        if self.differences:
            lines += [line for difference in self.differences[:8] for line in shown(difference)]
        else:
            lines += [f"  recorded: {_event(self.recorded)}", f"  replayed: {_event(self.replayed)}"]
        if self.nearest is not None:
            lines.append(f"  nearest recorded request: seq {self.nearest[0]}")
            lines += [line for difference in self.nearest[1][:8] for line in shown(difference)]
        return "\n".join(lines)


def shown(difference: Difference, here: str = "replayed") -> list[str]:
    """Lines that show one difference; `here` names what stands beside the recorded."""
    if difference.words:
        words = [(word.op, word.text) for word in difference.words]
        changed = "".join(_marked(words, number) for number in range(len(words)))
        return [f"  {difference.pointer or '/'}", f"      {_cut(changed)}".replace("\n", "\n      ")]
    before, after = _pair(difference.before, difference.after)
    return [f"  {difference.pointer or '/'}", f"      recorded: {before}", f"      {here}: {after}"]


def _pair(before: Any, after: Any) -> tuple[str, str]:
    """Two values in short, so that they look different."""
    one, other = brief(before), brief(after)
    if one != other:
        return one, other
    texts = [value if isinstance(value, str) else _json(value) for value in (before, after)]
    return _where_they_differ(texts[0], texts[1]), _where_they_differ(texts[1], texts[0])


def _where_they_differ(text: str, other: str) -> str:
    same = next(
        (at for at, (one, two) in enumerate(zip(text, other, strict=False)) if one != two), len(other)
    )
    start = max(0, same - _WORD // 2)
    return f"… {text[start : start + _WORD]} …"


def _marked(words: Sequence[tuple[str, str]], number: int) -> str:
    op, text = words[number]
    if op == "=":
        return text if len(text) < 60 else f"{text[:25]} … {text[-25:]}"
    beside = words[max(0, number - 1) : number + 2]
    other = next((text for found, text in beside if {found, op} == {"-", "+"}), "")
    alike = _middle_out(other, _WORD) == _middle_out(text, _WORD)
    return f"[{op}{_where_they_differ(text, other) if alike else _middle_out(text, _WORD)}]"


def _cut(text: str) -> str:
    return text if len(text) <= 2 * _SHOWN else f"{text[:_SHOWN]} … {text[-_SHOWN:]}"


def brief(value: Any) -> str:
    """A JSON value in one line, long texts cut in the middle."""
    if value is None:
        return "nothing"
    return _elided(_json(value) if not isinstance(value, str) else value, _SHOWN)


def _event(fields: JsonDict | None) -> str:
    """An event in one line: its kind and what it says; what stands elsewhere or is empty is left out."""
    if fields is None:
        return "nothing"
    told = [
        f"{name} {_elided(_json(value), _FIELD)}"
        for name, value in fields.items()
        if name not in _HEADER and value not in (None, "", 0, [], {})
    ]
    return ", ".join([str(fields["event"]), *told])


def _elided(text: str, room: int) -> str:
    """Cut a text, and the middle out of words that are as long as a sentence."""
    short = re.sub(rf"[^\s,:{{}}\[\]]{{{_WORD + 1},}}", lambda found: _middle_out(found[0], _WORD), text)
    return short if len(short) <= room else f"{short[:room]} …"


def _middle_out(text: str, room: int) -> str:
    return text if len(text) <= room else f"{text[: room // 2]} … {text[-room // 2 :]}"


def as_fields(event: e.Event) -> JsonDict:
    """An event as a JSON map of what is compared, its kind first."""
    fields = {
        name: msgspec.to_builtins(getattr(event, name))
        for name in event.__struct_fields__
        if name not in NOT_COMPARED
    }
    return {"event": type(event).__name__, **fields}


def same(recorded: e.Event, replayed: e.Event) -> bool:
    """Whether two events say the same."""
    if type(recorded) is not type(replayed):
        return False
    one, other = _compared(recorded), _compared(replayed)
    if one != other:
        return False
    # 1, 1.0 and True are equal to Python, but not the same JSON; the order of keys says nothing.
    return encoder.encode(one) == encoder.encode(other) or _json(one) == _json(other)


def _compared(event: e.Event) -> list[Any]:
    return [getattr(event, name) for name in event.__struct_fields__ if name not in NOT_COMPARED]


def _json(value: Any) -> str:
    return msgspec.json.encode(value, order="sorted").decode()


def divergence(
    seq: int,
    recorded: e.Event | None,
    replayed: e.Event | None,
    coming: Iterable[tuple[int, e.Event]],
    reason: str = "",
) -> Divergence:
    """Describe a divergence.

    Args:
        seq: Seq of the recorded event.
        recorded: That event, None past the end.
        replayed: What the code did, None for nothing.
        coming: Recorded events from `seq` on, to look for a similar request.
        reason: In words; "" to say it from the events.
    """
    header = recorded if replayed is None else replayed
    one = None if recorded is None else as_fields(recorded)
    other = None if replayed is None else as_fields(replayed)
    alike = one is not None and other is not None and one["event"] == other["event"]
    found: list[Difference] = value_differences(one, other) if alike else []
    if any(difference.pointer.startswith("/request") for difference in found):
        found = [
            difference for difference in found if difference.pointer != "/digest"
        ]  # follows from the request
    nearest = None
    if isinstance(replayed, e.EffectStarted) and not alike:
        nearest = nearest_request(replayed, coming)
    line = "" if replayed is None else source_line()
    return Divergence(
        seq, 0 if header is None else header.cause, None if header is None else header.rollout,
        one, other, found, nearest, line, reason or _reason(recorded, replayed),
    )  # fmt: skip


def _reason(recorded: e.Event | None, replayed: e.Event | None) -> str:
    if recorded is None:
        return f"the log has ended, the code goes on with {_what(replayed)}"
    if replayed is None:
        return f"the log has {_what(recorded)}, the code has ended"
    if type(recorded) is type(replayed):
        return f"another {_what(recorded)}"
    return f"the log has {_what(recorded)}, the code does {_what(replayed)}"


def _what(event: e.Event | None) -> str:
    name = type(event).__name__
    return f"{name} ({event.kind})" if isinstance(event, e.EffectStarted) else name


def nearest_request(
    asked: e.EffectStarted, coming: Iterable[tuple[int, e.Event]]
) -> tuple[int, list[Difference]] | None:
    """Return the seq of the most similar request of the same kind, and where the two differ; None if there is none."""
    text = _json(asked.request)
    best: tuple[float, int, e.EffectStarted] | None = None
    seen = 0
    for seq, event in coming:
        if isinstance(event, e.EffectStarted) and event.kind == asked.kind:
            seen += 1
            matcher = difflib.SequenceMatcher(None, _json(event.request), text, autojunk=False)
            likeness = matcher.quick_ratio()
            if best is None or likeness > best[0]:
                best = (likeness, seq, event)
            if seen >= _NEAR:
                break
    return None if best is None else (best[1], value_differences(best[2].request, asked.request))


def source_line() -> str:
    """The user's line that is being executed, "" outside any."""
    frame = user_frame(1)
    if frame is None:
        return ""
    return f"{frame.f_code.co_filename}:{frame.f_lineno} in {frame.f_code.co_qualname}"


def say(text: str) -> None:
    """Tell the person at the terminal."""
    sys.stderr.write(f"eventcore: {text}\n")
