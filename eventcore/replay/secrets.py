"""Keeping secrets out of an append-only log: they are cut out before an event is made."""

from __future__ import annotations

import re
from typing import Any, TypeGuard

REDACTED = "[redacted]"

_NAMES = re.compile(
    r"^(?:.*[_\-. ]|.*[a-z0-9](?=[A-Z]))?"
    r"(?i:api[_-]?key|authorization|cookie|password|passwd|passphrase|secret|(?:access|secret|private)[_-]?key"
    r"|(?:access|auth|bearer|refresh|session|security|id|ad)[_-]?token)$"
)
_VALUES = re.compile(
    r"(?i:bearer\s+[a-z0-9._~+/-]{8,}=*)"
    r"|\bsk-[A-Za-z0-9_-]{8,}"
    r"|\b(?:ghp|gho|ghs|github_pat|hf|xox[abprs]|gsk|AIza)[_-]?[A-Za-z0-9_-]{16,}"
    r"|\bAKIA[0-9A-Z]{16}\b"
    r"|\beyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}"
    r"|-----BEGIN [A-Z ]*PRIVATE KEY-----[^-]*(?:-----END [A-Z ]*PRIVATE KEY-----)?"
    r"|(?<=://)[^\s/:@]+:[^\s/@]+(?=@)"
    r"|(?<=[?&])(?i:api[_-]?key|(?:access_)?token|sig|signature)=[^&\s]+"
)


def redacted_text(text: str) -> str:
    """Return a text with what looks like a key replaced."""
    return _VALUES.sub(REDACTED, text)


def redacted(value: Any) -> Any:
    """Return a JSON value with secrets replaced: by the name they stand under, and by what they look like."""
    if isinstance(value, str):
        return redacted_text(value)
    if isinstance(value, dict):
        return {
            key: REDACTED if isinstance(key, str) and item and _NAMES.match(key) else redacted(item)
            for key, item in value.items()
        }
    if are_pairs(value):
        return [[name, REDACTED if _tells(name, item) else redacted(item)] for name, item in value]
    if isinstance(value, (list, tuple)):
        return [redacted(item) for item in value]
    return value


def are_pairs(value: Any) -> TypeGuard[list[tuple[str, Any]]]:
    """Whether a value is a list of pairs of a name and something, the other form headers come in.

    A pair alone is not: two words, such as the labels of a choice, are no name and its value.
    """
    return isinstance(value, (list, tuple)) and bool(value) and all(map(_is_pair, value))


def _is_pair(item: Any) -> bool:
    return isinstance(item, (list, tuple)) and len(item) == 2 and isinstance(item[0], str)


def _tells(name: str, item: Any) -> bool:
    """Whether the second of a pair is a secret by the first. Only text is: a number beside a word may be a score."""
    return isinstance(item, str) and bool(item) and _NAMES.match(name) is not None
