"""The owner of every surviving word is the event that planted it, in any history.

Every edit plants words that were never used before, between common words that repeat. The model is a map from
planted word to the seq of its event, and nothing else: it knows nothing of how texts are compared. Histories mix
updates, assignments, in-place edits, edits from outside, candidates proposed from one or several parents, scored,
selected, chosen, made and edited in place and written back by hand, forks, snapshots and their loss.
"""

from __future__ import annotations

import copy
from random import Random
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from eventcore.history import events as e
from eventcore.history import patches as p
from eventcore.history import store as stores
from eventcore.history.nodes import MISSING, Earlier, value_of
from eventcore.history.provenance import Provenance
from eventcore.history.run import Run
from eventcore.history.scope import process_scope

COMMON = ["the", "a", "of", "answer", "user", "the"]
OWN = ("text", "notes", "examples")
PLACES = ("seed_candidates", "candidates", "best_candidates", "history")


class Owner:
    """Somebody who lives at a path of a run."""


class Gardener:
    """Makes a random history of one variable and remembers which event planted which word."""

    def __init__(self, seed: int, url: str = "memory:") -> None:
        self.random = Random(seed)
        self.store = stores.open(url)
        self.run: Run = self.store.run("main")
        self.planted: dict[str, int] = {}
        self.next_word = 0
        self.fresh: list[str] = []
        self.forks = 0
        self.scored: list[int] = []
        self.owner = Owner()
        value = {
            "text": self.text(),
            "notes": [self.text(), self.text()],
            "examples": [{"q": self.text(), "a": {"b": self.text()}}],
            "current_predictions": [], "predictions": [], "seed_candidates": [], "candidates": [],
            "best_candidates": [], "history": [], "nb_visit": 0, "cumulative_reward": 0.0,
        }  # fmt: skip
        declared = e.VariableDeclared(
            *self.run.stamp(),
            0,
            "v",
            {"type": "object"},
            copy.deepcopy(value),
            True,
            True,
            None,
            None,
            "",
            -1,
        )
        self.run.declare(self.owner, declared)
        self.sow(self.run.head)

    # --- words ---------------------------------------------------------------------------------

    def plant(self) -> str:
        self.next_word += 1
        word = f"w{self.next_word}"
        self.fresh.append(word)
        return word

    def text(self) -> str:
        words = [self.plant()]
        for _ in range(self.random.randint(0, 4)):
            words.append(self.random.choice(COMMON) if self.random.random() < 0.5 else self.plant())
        self.random.shuffle(words)
        return " ".join(words)

    def edited(self, text: str) -> str:
        """Plant, pull out, replace and move words of a text."""
        words = text.split()
        for _ in range(self.random.randint(1, 3)):
            at = self.random.randrange(len(words) + 1)
            what = self.random.random()
            if what < 0.4 or not words:
                words.insert(at, self.plant())
            elif what < 0.6:
                del words[at % len(words)]
            elif what < 0.75:
                words[at % len(words)] = self.plant()
            elif what < 0.9:
                words.insert(at, words.pop(self.random.randrange(len(words))))
            else:
                words.insert(at, self.random.choice(COMMON))
        return self.random.choice([" ", "  ", "\n"]).join(words)

    def edited_list(self, items: list[Any], texts: bool) -> list[Any]:
        """Edit, add, drop and move items, and put two texts into one."""
        items = [self.edited_value(item) if self.random.random() < 0.4 else item for item in items]
        for _ in range(self.random.randint(0, 2)):
            at = self.random.randrange(len(items) + 1)
            what = self.random.random()
            if what < 0.4 or not items:
                items.insert(at, self.text() if texts else {"q": self.text()})
            elif what < 0.6:
                del items[at % len(items)]
            elif what < 0.8 or len(items) < 2 or not texts:
                self.random.shuffle(items)
            else:
                items[:2] = [f"{items[0]} {items[1]}"]
        return items

    def edited_value(self, value: Any, texts: bool = True) -> Any:
        if isinstance(value, str):
            return self.edited(value)
        if isinstance(value, list):
            return self.edited_list(copy.deepcopy(value), texts)
        return {
            name: self.edited_value(item) if self.random.random() < 0.5 else item
            for name, item in value.items()
        }

    def sow(self, seq: int) -> None:
        for word in self.fresh:
            self.planted[word] = seq
        self.fresh = []

    # --- events --------------------------------------------------------------------------------

    @property
    def value(self) -> dict[str, Any]:
        return self.run.state.variables["v"]

    def record(self, kind: type[e.Event], *fields: Any) -> int:
        make: Any = kind
        seq = self.run.record(make(*self.run.stamp(), 0, *copy.deepcopy(fields)))
        self.sow(seq)
        return seq

    def update(self) -> None:
        names = self.random.sample(OWN, self.random.randint(1, 2))
        self.record(
            e.VariableUpdated,
            {name: self.edited_value(self.value[name], name == "notes") for name in names},
            -1,
        )

    def assign(self) -> None:
        value = self.value
        self.record(
            e.VariableAssigned,
            value | {name: self.edited_value(value[name], name == "notes") for name in OWN},
            -1,
        )

    def edit_from_outside(self) -> None:
        value = self.value
        if value["examples"] and "q" in value["examples"][0] and self.random.random() < 0.5:
            path: list[Any] = ["examples", 0, "q"]
            self.record(e.EditedFromOutside, path, self.edited(value["examples"][0]["q"]), "by hand")
        else:
            self.record(e.EditedFromOutside, ["text"], self.edited(value["text"]), "by hand")

    def patch(self) -> None:
        notes = self.value["notes"]
        size = len(notes)
        at = self.random.randrange(size + 1)
        order = self.random.sample(range(size), size)
        allowed: list[tuple[int, list[Any]]] = [
            (p.APPEND, [self.text()]), (p.EXTEND, [[self.text(), self.text()]]), (p.INSERT, [at, self.text()]),
            (p.REORDER, [order]), (p.SPLICE, [at, at + 2, None, self.edited_list(notes[at : at + 2], True)]),
        ]  # fmt: skip
        if size:
            allowed += [(p.SET, [at % size, self.edited(notes[at % size])]), (p.DELETE, [at % size])] * 2
            allowed += [(p.DROP, [at, at + 2, None]), (p.CLEAR, [])]
        if 0 < size < 4:
            allowed.append((p.REPEAT, [2]))
        op, args = self.random.choice(allowed)
        kept = str(args)
        self.fresh = [word for word in self.fresh if word in kept.replace("'", " ").replace(",", " ").split()
                      or any(word in str(arg).split() for arg in args)]  # fmt: skip
        self.record(e.ValuePatched, ["notes"], op, args, -1)

    def patch_inside(self) -> None:
        examples = self.value["examples"]
        if examples and "a" in examples[0]:
            args = ["b", self.edited(examples[0]["a"].get("b", ""))]
            self.record(e.ValuePatched, ["examples", 0, "a"], p.SET, args, -1)
        elif examples:
            self.record(e.ValuePatched, ["examples", 0], p.MERGE, [{"a": {"b": self.text()}}], -1)

    def add(self) -> None:
        seq = self.record(e.CandidateAdded, 0.5, 4, -1)
        self.scored.append(seq)

    def propose(self) -> None:
        parents = self.random.sample(self.scored, min(len(self.scored), self.random.randint(0, 2)))
        values = [self.run.at(parent).variables["v"] for parent in parents] or [self.value]
        crossed = {name: self.random.choice(values)[name] for name in OWN}
        if len(values) == 2:  # words of both in one text
            first = values[0]["text"].split()
            crossed["text"] = " ".join(
                [*first, *(word for word in values[1]["text"].split() if word not in first)]
            )
        fields = {
            name: self.edited_value(item, name == "notes") if self.random.random() < 0.6 else item
            for name, item in crossed.items()
        }
        self.scored.append(self.record(e.CandidateProposed, fields, "mutation", parents, []))

    def choose(self) -> None:
        value = self.value
        place = self.random.choice(PLACES)
        if value[place]:
            self.record(e.CandidateChosen, place, self.random.randrange(len(value[place])), "best so far")

    def write_back(self) -> None:
        """Write a candidate's fields as a user's own optimizer does, by an update."""
        value = self.value
        pool = [*value["best_candidates"], *value["candidates"], *value["history"]]
        if pool:
            entry = self.random.choice(pool)
            self.record(e.VariableUpdated, {name: entry[name] for name in OWN if name in entry}, -1)

    # --- candidates by hand ----------------------------------------------------------------------

    def entry(self) -> dict[str, Any]:
        """Make a candidate as a user's own optimizer does: of what the variable holds, or of another one."""
        value = self.value
        pool = [entry for place in PLACES for entry in value[place]]
        if pool and self.random.random() < 0.3:
            found: dict[str, Any] = copy.deepcopy(self.random.choice(pool))
            return found
        made: dict[str, Any] = {}
        for name in self.random.sample(OWN, self.random.randint(1, 3)):
            other = self.random.choice(pool) if pool else value
            what = self.random.random()
            made[name] = other.get(name, value[name]) if what < 0.3 else value[name]
            if what > 0.6:
                made[name] = self.edited_value(made[name], name == "notes")
        return made | ({"reason": self.text()} if self.random.random() < 0.3 else {})

    def edited_entry(self, entry: dict[str, Any]) -> dict[str, Any]:
        return {
            name: self.edited_value(item, name == "notes") if isinstance(item, (str, list)) else item
            for name, item in entry.items()
        }

    def patch_candidates(self) -> None:
        place = self.random.choice(PLACES)
        held = self.value[place]
        size = len(held)
        at = self.random.randrange(size + 1)
        ops: list[Any] = [
            lambda: (p.APPEND, [self.entry()]),
            lambda: (p.EXTEND, [[self.entry(), self.entry()]]),
            lambda: (p.INSERT, [at, self.entry()]),
            lambda: (p.SPLICE, [at, at + 1, None, [self.entry(), self.entry()]]),
            lambda: (p.SPLICE, [at, at + 1, None, [*map(self.edited_entry, held[at : at + 1])]]),
        ]
        if size:
            ops += [
                lambda: (p.SET, [at % size, self.edited_entry(held[at % size])]),
                lambda: (p.SET, [at % size, self.entry()]),
                lambda: (p.DELETE, [at % size]),
                lambda: (p.REORDER, [self.random.sample(range(size), size)]),
            ]
        op, args = self.random.choice(ops)()
        self.record(e.ValuePatched, [place], op, args, -1)

    def patch_inside_a_candidate(self) -> None:
        place = self.random.choice(PLACES)
        held = self.value[place]
        if held:
            at = self.random.randrange(len(held))
            fields = {
                name: self.value[name]
                if self.random.random() < 0.5
                else self.edited_value(held[at].get(name, self.value[name]), name == "notes")
                for name in self.random.sample(OWN, self.random.randint(1, 2))
            }
            if len(fields) == 1 and self.random.random() < 0.5:
                ((name, item),) = fields.items()
                if self.random.random() < 0.5:
                    self.record(e.EditedFromOutside, [place, at, name], item, "by hand")
                else:
                    self.record(e.ValuePatched, [place, at], p.SET, [name, item], -1)
            else:
                self.record(e.ValuePatched, [place, at], p.MERGE, [fields], -1)

    def rewrite_candidates(self) -> None:
        """Write whole lists anew, and perhaps a field along with them."""
        place = self.random.choice(PLACES)
        entries = [*self.value[place], self.entry()]
        self.random.shuffle(entries)
        written: dict[str, Any] = {place: entries[:6]}
        if self.random.random() < 0.5:
            written = self.random.choice([written | {"text": self.text()}, {"text": self.text()} | written])
        if self.random.random() < 0.5:
            self.record(e.VariableUpdated, written, -1)
        else:
            self.record(e.VariableAssigned, self.value | written, -1)
        self.fresh = []

    def select(self) -> None:
        value = self.value
        size = len(value["best_candidates"]) + len(value["candidates"])
        if size:
            kept = self.random.sample(range(size), self.random.randint(1, min(3, size)))
            self.record(e.PopulationSelected, kept)
            if self.random.random() < 0.5:
                self.record(e.BestRemembered, 0)

    def clear(self) -> None:
        self.record(e.PredictionsCleared)

    def predict(self) -> None:
        rollout = f"training:0/{self.run.head}/0"
        self.run.record(e.PredictionAppended(1, rollout, 0, 0, {"said": self.text(), "reward": None}, -1))
        self.sow(self.run.head)
        if self.random.random() < 0.6:
            self.record(e.RewardsAttributed, [(rollout, 1.0)])
            self.record(e.PredictionsArchived)

    def other(self) -> None:
        self.record(e.FieldRead, "text")

    def snapshot(self) -> None:
        self.run.snapshot()

    def fork(self) -> None:
        """Go on in a fork, somewhere in the past; what was planted after that is gone."""
        at = self.random.randint(max(self.planted.get("w1", 1), self.run.head - 6), self.run.head)
        self.forks += 1
        self.run = self.run.fork(f"fork{self.forks}", at=at)
        self.scored = [seq for seq in self.scored if seq <= at]
        self.planted = {word: seq for word, seq in self.planted.items() if seq <= at}

    STEPS = (
        update, update, assign, edit_from_outside, patch, patch, patch_inside, add, add, propose, propose, choose,
        choose, write_back, select, clear, predict, other, snapshot, fork, patch_candidates, patch_candidates,
        patch_inside_a_candidate, rewrite_candidates, write_back,
    )  # fmt: skip

    def grow(self, steps: int) -> None:
        for _ in range(steps):
            self.random.choice(self.STEPS)(self)
            assert not self.fresh or not any(word in str(self.value) for word in self.fresh)
            self.fresh = []

    # --- the law -------------------------------------------------------------------------------

    def check(self, seq: int) -> int:
        """Compare the owner of every planted word with the map, and return how many there were."""
        blame = self.run.blame("v", at=seq)
        value = self.run.at(seq).variables["v"]
        texts: dict[str, str] = {}
        words = 0
        for piece in blame.pieces:
            if isinstance(piece.value, str):
                texts[piece.pointer] = texts.get(piece.pointer, "") + piece.value
                for word in piece.value.split():
                    if word in self.planted:
                        assert piece.seq == self.planted[word], (word, piece, self.planted[word])
                        words += 1
            assert 0 < piece.seq <= seq
            assert all(piece.seq <= copied <= seq for copied in piece.copies)
        for pointer, text in texts.items():
            place: Any = value
            for step in pointer[1:].split("/"):
                place = place[int(step)] if isinstance(place, list) else place[step]
            assert place == text
        return words


def grown(seed: int, steps: int, url: str = "memory:") -> Gardener:
    gardener = Gardener(seed, url)
    gardener.grow(steps)
    return gardener


@settings(max_examples=150, deadline=None)
@given(st.integers(0, 2**32), st.integers(1, 40))
def test_every_planted_word_belongs_to_the_event_that_planted_it(seed: int, steps: int) -> None:
    gardener = grown(seed, steps)
    try:
        assert gardener.check(gardener.run.head) > 0
        gardener.check(gardener.random.randint(gardener.planted["w1"], gardener.run.head))
    finally:
        gardener.store.close()
        process_scope.run = None


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32), st.integers(1, 40))
def test_a_value_that_knows_its_origins_is_the_value_the_fold_gives(seed: int, steps: int) -> None:
    gardener = grown(seed, steps)
    try:
        run = gardener.run
        provenance = Provenance(0, None, 0, lambda at, field: Earlier(at, (field,), MISSING))
        for seq, event in run.reader().concerning(0, 1, run.head):
            provenance.apply(seq, event)
            if seq % 5 == 0 or seq == run.head:
                value = run.at(seq).variables["v"]
                assert value_of(provenance.root) == value
                assert list(provenance.root) == list(value)
    finally:
        gardener.store.close()
        process_scope.run = None


class Careless(Gardener):
    """A gardener who never takes a snapshot."""

    def snapshot(self) -> None:
        pass


def everybody(gardener: Gardener) -> list[Any]:
    """Return every owner and copy there is, asked for at once and one field at a time."""
    run = gardener.run
    pointers = ("", *(f"/{name}" for name in (*OWN, *PLACES, "predictions")))
    return [run.blame("v", pointer).pieces for pointer in pointers]


@settings(max_examples=80, deadline=None)
@given(st.integers(0, 2**32), st.integers(1, 40))
def test_owners_are_the_same_with_snapshots_and_without(seed: int, steps: int) -> None:
    found: list[Any] = []
    for kind in (Gardener, Careless):
        gardener = kind(seed)
        gardener.STEPS = (*Gardener.STEPS, *[lambda self: self.snapshot()] * 4)  # type: ignore[assignment]
        try:
            gardener.grow(steps)
            found.append(everybody(gardener))
        finally:
            gardener.store.close()
            process_scope.run = None
    assert found[0] == found[1]
