"""The candidates of one variable, findable by what they are.

The lists themselves are the variable's (`seed_candidates`, `candidates`, `best_candidates`); this keeps where
each candidate lies, by the digest of its fields, so that finding one does not take longer as an epoch grows.
"""

from __future__ import annotations

import hashlib
from typing import Any

from eventcore.history import events as e
from eventcore.history.population import candidate_fields, candidate_key, entry_fields
from eventcore.variables import Variable

PLACES = ("best_candidates", "candidates", "seed_candidates")


def part_of(fields: dict[str, Any]) -> str:
    """Digest (16 hex digits) of a candidate's fields."""
    return hashlib.blake2b(candidate_key(fields), digest_size=8).hexdigest()


def present_part(variable: Variable) -> str:
    """Digest of what a variable holds now."""
    return part_of(candidate_fields(variable.raw_value()))


class Candidates:
    """Finds the candidates of one variable."""

    def __init__(self, variable: Variable) -> None:
        self.variable = variable
        self._known: dict[str, tuple[str, int]] = {}
        self._sizes: tuple[int, ...] = ()
        self._origins: dict[str, int] = {}

    def find(self, part: str) -> tuple[str, int] | None:
        """Return (list, index) of a candidate, None if it is not kept."""
        self._refresh()
        return self._known.get(part)

    def _refresh(self) -> None:
        """Learn what was appended; begin anew when a list shrank or the best candidates changed."""
        value = self.variable.raw_value()
        sizes = tuple(len(value[place]) for place in PLACES)
        if sizes == self._sizes:
            return
        grown = (
            self._sizes
            and sizes[0] == self._sizes[0]
            and sizes[1] >= self._sizes[1]
            and sizes[2] == self._sizes[2]
        )
        if not grown:
            self._known = {}
            for index, entry in enumerate(value["seed_candidates"]):
                self._known[part_of(entry_fields(entry, value))] = ("seed_candidates", index)
        begin = self._sizes[1] if grown else 0
        for index in range(begin, sizes[1]):
            self._known[part_of(entry_fields(value["candidates"][index], value))] = ("candidates", index)
        if not grown:
            for index, entry in enumerate(value["best_candidates"]):
                self._known[part_of(entry_fields(entry, value))] = ("best_candidates", index)
        self._sizes = sizes

    def forget(self) -> None:
        """Learn everything anew at the next look: the population was chosen."""
        self._sizes = ()

    def add_present(self, reward: float, count: int) -> None:
        """Add what the variable holds as a candidate, or fold the reward into an equal one's mean."""
        part = present_part(self.variable)
        found = self.find(part)
        equal_to = -1
        if found is not None and found[0] == "best_candidates":
            equal_to = found[1]
        elif found is not None and found[0] == "candidates":
            equal_to = len(self.variable.peek("best_candidates")) + found[1]
        seq = self.variable.record_step(e.CandidateAdded, float(reward), count, equal_to)
        self._origins.setdefault(part, seq)

    def origin(self, fields: dict[str, Any]) -> int:
        """Return the event that first scored a candidate in this process, 0 if it was scored before."""
        return self._origins.get(part_of(fields), 0)

    def choose(self, place: str, index: int, reason: str) -> None:
        """Write a candidate into the variable, unless the variable holds it already."""
        value = self.variable.raw_value()
        entry = entry_fields(value[place][index], value)
        present = candidate_fields(value)
        if candidate_key(entry) != candidate_key({name: present[name] for name in entry}):
            self.variable.record_step(e.CandidateChosen, place, index, reason)
