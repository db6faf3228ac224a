"""How runs, states, differences and changes look in a notebook: small pieces of HTML with nothing to load.

Everything that comes from a log is escaped. Long things are cut: a notebook keeps what it was shown.
"""

from __future__ import annotations

import html
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from eventcore.history.findings import DELETED, ROWS, SIGNS, Diff, History, brief, clock, words_of
from eventcore.history.timetravel import Word, join_pointer

if TYPE_CHECKING:
    from eventcore.history.run_reader import RunReader
    from eventcore.history.state import State

FIELD = 120
"""Characters of a value that are shown."""

CONTEXT = 60
"""Characters of unchanged text kept on either side of a change."""

SHOWN = 5 * ROWS
"""Rows of a table that are shown."""

_CELL = ' style="text-align:left;vertical-align:top;padding:2px 10px 2px 0"'
_HEAD = ' style="text-align:left;padding:2px 10px 2px 0;border-bottom:1px solid #8888"'
_REMOVED = ' style="background:#e5534b44"'
_ADDED = ' style="background:#3fb95044;text-decoration:none"'


def run_html(run: RunReader) -> str:
    """A run: what it is, its variables as they are now, and its labels."""
    state = run.state
    facts = [f"head {run.head}"]
    parent = getattr(run, "parent", None)
    if parent is not None:
        facts.append(f"forked from {parent.name} at {getattr(run, 'forked_at', None)}")
    facts.append(run.store.url)
    labels = [f"{label} → {seq}" for label, seq in state.labels.items()]
    parts = [_title(f"run {run.name}", ", ".join(facts)), _values(state)]
    if labels:
        parts.append(f"<div>labels: {_text(', '.join(labels[:SHOWN]))}</div>")
    return _box(parts)


def state_html(state: State) -> str:
    """A state: one row for each field of each variable."""
    count = len(state.names())
    title = _title("state", f"{count} variable{'' if count == 1 else 's'}, digest {state.digest[:12]}")
    return _box([title, _values(state)])


def diff_html(diff: Diff) -> str:
    """Differences: one row for each place, changed text word by word."""
    places = "no difference" if not diff else f"{len(diff)} difference{'' if len(diff) == 1 else 's'}"
    rows: list[list[str]] = []
    for found in diff[:SHOWN]:
        place = _code(found.variable + found.pointer)
        rows.append([SIGNS[found.op], place, _changed(found.op, found.before, found.after, found.words)])
    return _box(
        [_title(f"{diff.before} → {diff.after}", places), _table(["", "place", "change"], rows, len(diff))]
    )


def history_html(history: History) -> str:
    """Changes: one row for each, with what changed, and who did it."""
    found = history.first(SHOWN + 1)
    rows: list[list[str]] = []
    for change in found[:SHOWN]:
        op = "remove" if not change.exists else "replace" if change.existed else "add"
        value = _changed(op, change.before, change.after) + (f" {DELETED}" if op == "remove" else "")
        who = [change.rollout or "", change.origin or "", change.source or ""]
        rows.append(
            [
                str(change.seq),
                _text(clock(change.time)),
                _text(change.kind),
                value,
                _text("  ".join(filter(None, who))),
            ]
        )
    title = _title(history.variable + history.pointer, f"its changes in run {history.run}")
    return _box([title, _table(["seq", "time", "kind", "change", "by"], rows, len(found))])


def table_html(title: str, heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table of text under a title."""
    shown = [[_text(cell) for cell in row] for row in rows[:SHOWN]]
    return _box([_title(title, ""), _table(heads, shown, len(rows))])


def _values(state: State) -> str:
    rows: list[list[str]] = []
    count = 0
    for slot in state.live_slots():
        count += len(slot.value)
        for field, value in slot.value.items():
            if len(rows) < SHOWN:
                rows.append([_code(slot.path + join_pointer("", field)), _code(brief(value, FIELD))])
    return _table(["field", "value"], rows, count)


def _changed(op: str, before: Any, after: Any, words: tuple[Word, ...] = ()) -> str:
    if op == "add":
        return f"<ins{_ADDED}>{_text(brief(after, FIELD))}</ins>"
    if op == "remove":
        return f"<del{_REMOVED}>{_text(brief(before, FIELD))}</del>"
    found = words_of(before, after, words)
    if found:
        return words_html(found)
    if isinstance(before, dict) and isinstance(after, dict):
        return "<br>".join(_fields(before, after)) or _text(brief(after, FIELD))
    return (
        f"<del{_REMOVED}>{_text(brief(before, FIELD))}</del> <ins{_ADDED}>{_text(brief(after, FIELD))}</ins>"
    )


def _fields(before: dict[str, Any], after: dict[str, Any]) -> Iterable[str]:
    """The fields of a whole value that changed."""
    for field in dict.fromkeys([*before, *after]):
        old, new = before.get(field), after.get(field)
        if (field in before) == (field in after) and (old is new or old == new):
            continue
        if field not in before or (field in after and isinstance(new, dict)):
            yield f"{_code(field)} {_changed('add', None, new)}"
        else:
            gone = field not in after
            yield f"{_code(field)} {_changed('remove' if gone else 'replace', old, new)}" + (
                f" {DELETED}" if gone else ""
            )


def words_html(words: Sequence[Word]) -> str:
    """Compared text: what is gone and what is new are marked, long unchanged stretches are cut."""
    parts: list[str] = []
    for at, word in enumerate(words):
        if word.op == "-":
            parts.append(f"<del{_REMOVED}>{_text(word.text)}</del>")
        elif word.op == "+":
            parts.append(f"<ins{_ADDED}>{_text(word.text)}</ins>")
        else:
            head = "" if at == 0 else word.text[:CONTEXT]
            tail = "" if at == len(words) - 1 else word.text[-CONTEXT:]
            whole = len(word.text) <= len(head) + len(tail) + 3
            parts.append(_text(word.text if whole else f"{head} … {tail}"))
    return "".join(parts)


def _box(parts: Iterable[str]) -> str:
    return f'<div style="font-family:sans-serif;font-size:13px">{"".join(parts)}</div>'


def _title(name: str, facts: str) -> str:
    return f'<div><b>{_text(name)}</b> <span style="opacity:.7">{_text(facts)}</span></div>'


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]], count: int) -> str:
    if not rows:
        return ""
    head = "".join(f"<th{_HEAD}>{_text(name)}</th>" for name in heads)
    body = "".join("<tr>" + "".join(f"<td{_CELL}>{cell}</td>" for cell in row) + "</tr>" for row in rows)
    more = (
        f"<div>… and {'more' if count == SHOWN + 1 else count - len(rows)}</div>" if count > len(rows) else ""
    )
    return f'<table style="border-collapse:collapse"><tr>{head}</tr>{body}</table>{more}'


def _code(text: str) -> str:
    return f"<code>{_text(text)}</code>"


def _text(text: str) -> str:
    """Escape text for HTML; control characters become visible."""
    shown = "".join(char if char.isprintable() or char == "\n" else f"\\u{ord(char):04x}" for char in text)
    return html.escape(shown).replace("\n", "<br>")
