"""What a check says to whoever runs it, beside what it found."""

from __future__ import annotations


class DoesNotApply(Exception):
    """The subject has nothing a check could be about, or it cannot be tried here; an inner signal."""
