"""Which words of a text, and which items of a list, were there before: the ground blame stands on.

Pure functions over two sequences. A word that occurs once on either side is the same word wherever it stands, so
what was moved keeps its owner; repeated words are matched in order, between the ones that are certain. Nothing
here knows of events.
"""

from __future__ import annotations

import difflib
import re
from bisect import bisect_left
from collections import Counter
from collections.abc import Hashable, Sequence
from typing import Any

from eventcore.history.codec import encoder

EXACT = 1_000_000
"""Product of the lengths of two stretches up to which repeated words in them are matched exactly."""

NEW = -1
"""Stands for: it was not there before."""

_BLANK = "\\s\u200b\ufeff"
"""What stands between words: blanks, line ends, and the zero-width space that some scripts are divided by."""

_UNDIVIDED = (
    "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u1980-\u19ff\ua9e0-\ua9ff\uaa60-\uaa7f"  # Thai, Lao, Burmese, Khmer
    "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\uff66-\uff9f\U00020000-\U0003ffff"  # kana, Han
)
"""Scripts written without blanks: every character is a word, with the marks that belong to it."""

_MARKS = (
    "\u0e31\u0e34-\u0e3a\u0e47-\u0e4e\u0eb1\u0eb4-\u0ebc\u0ec8-\u0ece"
    "\u102b-\u103e\u1056-\u1059\u105e-\u1060\u1062-\u1064\u1067-\u106d\u1071-\u1074\u1082-\u108d\u108f\u109a-\u109d"
    "\u17b4-\u17d3\u17dd\u3099\u309a\uff9e\uff9f\ufe00-\ufe0f\U000e0100-\U000e01ef"
)

_PUNCTUATION = (
    "!-/:-@\\[-\\^`{-~\u00a1\u00a7\u00ab\u00b6\u00b7\u00bb\u00bf\u060c\u061b\u061f\u0964\u0965\u2010-\u2027\u2030-\u205e"
    "\u3001-\u3003\u3008-\u3011\uff01-\uff0f\uff1a-\uff20\uff3b-\uff40\uff5b-\uff65"
)

_WORD = re.compile(
    f"[{_UNDIVIDED}][{_MARKS}]*"
    f"|[^{_PUNCTUATION}{_BLANK}{_UNDIVIDED}](?:[^{_BLANK}{_UNDIVIDED}]*[^{_PUNCTUATION}{_BLANK}{_UNDIVIDED}])?"
    f"|[{_PUNCTUATION}]+"
)


def words(text: str) -> list[str]:
    """Cut a text into words.

    A word is what stands between blanks, without the punctuation it begins and ends with, which is a word of its own;
    or one character of a script that is written without blanks.
    """
    return _WORD.findall(text)


def word_spans(text: str) -> list[tuple[int, int]]:
    """Return where each word of a text begins and ends."""
    return [found.span() for found in _WORD.finditer(text)]


def key(value: Any) -> bytes:
    """Return the identity of a JSON value: equal values of equal types, equal keys."""
    return encoder.encode(value)


def matched(before: Sequence[Hashable], after: Sequence[Hashable]) -> list[int]:
    """Return for every item of `after` which item of `before` it is, `NEW` for none. No item is used twice.

    What occurs no more often than before was there before, wherever it stands now.

    O(n log n) but for stretches of repeated items. Source: the anchors are those of Bram Cohen's patience diff.
    """
    found = [NEW] * len(after)
    start, end = 0, 0
    shorter = min(len(before), len(after))
    while start < shorter and before[start] == after[start]:
        found[start] = start
        start += 1
    while end < shorter - start and before[-1 - end] == after[-1 - end]:
        end += 1
        found[-end] = len(before) - end
    old, new = range(start, len(before) - end), range(start, len(after) - end)
    if not old or not new:
        return found
    places = _single(before, old)
    certain = [(places[item], at) for item, at in _single(after, new).items() if item in places]
    for old_at, new_at in certain:
        found[new_at] = old_at
    _fill(before, after, found, _rising(certain), (old.stop, new.stop), (old.start, new.start))
    _find_moved(before, after, found)
    return found


def _find_moved(before: Sequence[Hashable], after: Sequence[Hashable], found: list[int]) -> None:
    """Match what is left of items that were not added to."""
    left = [at for at, old in enumerate(found) if old == NEW]
    if not left:
        return
    used = set(found)
    unused: dict[Hashable, list[int]] = {}
    for at in range(len(before) - 1, -1, -1):
        if at not in used:
            unused.setdefault(before[at], []).append(at)
    wanted = Counter(after[at] for at in left)
    for at in left:
        places = unused.get(after[at], [])
        if places and wanted[after[at]] <= len(places):
            found[at] = places.pop()
            wanted[after[at]] -= 1


def _single(items: Sequence[Hashable], places: range) -> dict[Hashable, int]:
    """Return where the items stand that occur once in a stretch, in order."""
    counts = Counter(items[at] for at in places)
    return {items[at]: at for at in places if counts[items[at]] == 1}


def _rising(pairs: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """Return the longest selection of pairs that rises on both sides; the second sides rise already."""
    tails: list[int] = []
    ends: list[int] = []
    before = [NEW] * len(pairs)
    for at, (old, _) in enumerate(pairs):
        length = bisect_left(tails, old)
        before[at] = ends[length - 1] if length else NEW
        tails[length : length + 1] = [old]
        ends[length : length + 1] = [at]
    chosen: list[tuple[int, int]] = []
    at = ends[-1] if ends else NEW
    while at != NEW:
        chosen.append(pairs[at])
        at = before[at]
    return chosen[::-1]


def _fill(
    before: Sequence[Hashable],
    after: Sequence[Hashable],
    found: list[int],
    anchors: list[tuple[int, int]],
    stop: tuple[int, int],
    start: tuple[int, int],
) -> None:
    """Match in order, between the anchors, what occurs more than once."""
    used = {old for old in found if old != NEW}
    low_old, low_new = start
    for old_at, new_at in [*anchors, stop]:
        old = [at for at in range(low_old, old_at) if at not in used]
        new = [at for at in range(low_new, new_at) if found[at] == NEW]
        if old and new:
            matcher = difflib.SequenceMatcher(
                None,
                [before[at] for at in old],
                [after[at] for at in new],
                autojunk=len(old) * len(new) > EXACT,
            )
            for block in matcher.get_matching_blocks():
                for offset in range(block.size):
                    found[new[block.b + offset]] = old[block.a + offset]
        low_old, low_new = old_at + 1, new_at + 1


def paired(before: Sequence[Any], after: Sequence[Any]) -> list[int]:
    """Return for every item of a new list which item of the old one it is or was made of, `NEW` for none.

    Equal items first; then those that share words with one that is left, the most alike first; then by place.
    """
    found = matched([key(item) for item in before], [key(item) for item in after])
    left = sorted(set(range(len(before))) - set(found))
    new = [at for at, old in enumerate(found) if old == NEW]
    if not left or not new:
        return found
    if len(left) * len(new) <= 4096:
        old_words = {at: Counter(all_words(before[at])) for at in left}
        alike: list[tuple[int, int, int, int]] = []
        for at in new:
            mine = Counter(all_words(after[at]))
            for old in left:
                shared = (mine & old_words[old]).total()
                if shared:
                    alike.append((-shared, abs(at - old), at, old))
        for _, _, at, old in sorted(alike):
            if found[at] == NEW and old in left:
                found[at] = old
                left.remove(old)
    for at in new:
        if found[at] == NEW and left and not any(all_words(after[at])):
            found[at] = left.pop(0)
    return found


def all_words(value: Any) -> list[str]:
    """Return the words of all texts in a JSON value, in order."""
    if isinstance(value, str):
        return words(value)
    if isinstance(value, dict):
        return [word for item in value.values() for word in all_words(item)]
    if isinstance(value, list):
        return [word for item in value for word in all_words(item)]
    return []
