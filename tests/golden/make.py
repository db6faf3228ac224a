"""Write the golden stores of the present format: `python tests/golden/make.py FOLDER`.

Run once, when a format is released, into `tests/golden/format-N`; what a release wrote is never written again. The
stores hold events of every kind, a fork, snapshots and an index, beside `expected.json`: for each run its head and
the digest of the state at every seventh seq, and the canonical values at the head.
"""

from __future__ import annotations

import json
import struct
import sys
import typing
from pathlib import Path
from typing import Any

from eventcore.history import events as e
from eventcore.history import index
from eventcore.history import store as stores
from eventcore.history.codec import FORMAT
from eventcore.history.run import Run
from eventcore.history.state import encode_state
from eventcore.history.store import Store

TRAINABLE: dict[str, Any] = {
    "instructions": "You are a pirate who shouts.",
    "examples": [],
    "current_predictions": [],
    "predictions": [],
    "seed_candidates": [{"instructions": "seed"}],
    "candidates": [],
    "best_candidates": [],
    "history": [],
    "nb_visit": 0,
    "cumulative_reward": 0.0,
}
PLAIN: dict[str, Any] = {"count": 0, "nested": {"a/b": [1, 2.5, None, True, "ä\U0001f600"], "big": 2**64 - 1}}


class Owner:
    """Who lives at a path."""


def sample(kind: Any) -> Any:
    """A small value of a field's type."""
    known: dict[Any, Any] = {int: 3, float: 0.5, str: "text", bool: True, Any: {"any": [1]}}
    if kind in known:
        return known[kind]
    origin, inner = typing.get_origin(kind), typing.get_args(kind)
    if origin is list:
        return [sample(inner[0])]
    if origin is tuple:
        return tuple(map(sample, inner))
    if origin is dict:
        return {"key": sample(inner[1])}
    return sample(next(one for one in inner if one is not type(None)))


def declare(run: Run, owner: Owner, path: str, value: dict[str, Any]) -> int:
    number = run.state.next_number
    schema = {"type": "object", "title": path}
    stamp = (1_700_000_000_000_000, None, 0)
    event = e.VariableDeclared(*stamp, number, path, schema, value, True, True, None, None, "golden", -1)
    return run.declare(owner, event).number


def fill(run: Run, owner: Owner, other: Owner) -> None:
    """Record events of every kind, in an order that folds."""
    trainable, plain = declare(run, owner, "m/state", TRAINABLE), declare(run, other, "m/count", PLAIN)
    head = (1_700_000_000_000_001, "rollout-1", 2)
    training: list[e.Event] = [
        e.PredictionAppended(*head, trainable, {"inputs": {"x": 1}, "outputs": {"y": 2}, "reward": None}, 0),
        e.PredictionAppended(1, "rollout-0", 0, trainable, {"inputs": {}, "outputs": {}, "reward": None}, 0),
        e.RewardsAttributed(*head, trainable, [("rollout-1", 0.5), ("rollout-0", 1.0)]),
        e.PredictionsArchived(*head, trainable),
        e.CandidateProposed(
            *head, trainable, {"instructions": "Whisper.", "examples": [{"a": 1}]}, "s", [1], ["r"]
        ),
        e.CandidateAdded(*head, trainable, 0.75, 2, -1),
        e.CandidateAdded(*head, trainable, 0.25, 2, 0),
        e.PopulationSelected(*head, trainable, [0]),
        e.BestRemembered(*head, trainable, 0),
        e.CandidateChosen(*head, trainable, "seed_candidates", 0, "why"),
        e.PredictionsClosed(*head, trainable, 0, "left over"),
    ]
    changes: list[e.Event] = [
        e.VariableUpdated(*head, plain, {"count": 1, "text": "word " * 300}, 0),
        e.ValuePatched(*head, plain, ["nested", "a/b"], 4, ["appended"], 0),
        e.ValuePatched(*head, plain, ["nested", "a/b"], 7, [1, 3, 1, [[], {}]], 0),
        e.ValuePatched(*head, plain, ["nested", "a/b"], 8, [[1, 0, 2, 3, 4, 5]], 0),
        e.ValuePatched(*head, plain, ["nested"], 2, [{"merged": {"x": -0.0}}], 0),
        e.ValuePatched(*head, plain, ["nested", "merged"], 1, ["x"], 0),
        e.EditedFromOutside(*head, plain, ["nested", "by hand"], [1], "a note"),
        e.FieldRead(*head, plain, "count"),
        e.VariableAssigned(*head, plain, {"count": 7, "nested": {"a/b": [[1], [2]]}}, 0, "a file"),
        e.TrainabilityChanged(*head, trainable, False, True, "frozen"),
        e.SourceSeen(*head, 0, "train.py:1 in main"),
        e.TrackerLocked(*head, "m"),
        e.ProgramDeclared(*head, "program", {"class": "Program"}),
        e.LabelSet(*head, "good", 5),
    ]
    for event in training + changes:
        run.record(event, 64)
    by_hand = {type(event) for event in training + changes}
    by_hand |= {e.RunStarted, e.VariableDeclared, e.StateRestored}
    for kind in e.KINDS.values():
        if kind not in by_hand:
            hints = typing.get_type_hints(kind, dict(vars(e)))
            fields = {name: sample(hints[name]) for name in kind.__struct_fields__}
            if "variable" in fields:
                fields["variable"] = trainable
            run.record(kind(**fields), 64)
    run.snapshot()
    before = run.head
    run.record(e.VariableUpdated(*head, plain, {"count": 8}, 0), 64)
    run.record(e.StateRestored(*head, before, encode_state(run.at(before))), 64)
    for n in range(60):
        run.record(e.ValuePatched(*head, plain, ["nested", "a/b"], 4, [n], 0), 64)


def build(store: Store) -> dict[str, Any]:
    """Fill a store and return what is expected of it for ever."""
    owner, other = Owner(), Owner()
    main = store.run("main", seed=7)
    fill(main, owner, other)
    fork = main.fork("fork", at=20)
    fork.record(e.VariableUpdated(3, None, 0, 1, {"count": 99}, -1), 64)
    fork.snapshot()
    fork.record(e.VariableUpdated(4, None, 0, 1, {"count": 100}, -1), 64)
    expected: dict[str, Any] = {}
    for run in (main, fork):
        run.flush()
        expected[run.name] = {
            "head": run.head,
            "kinds": [record.kind for record in run.events()],
            "digests": {seq: run.at(seq).digest for seq in range(0, run.head + 1, 7)},
            "values": dict(run.state.variables),
        }
    return expected


def main(folder: Path) -> None:
    """Write the stores, the blocks alone, and what is expected."""
    index.CHUNK = 16
    sys.argv = ["make.py"]
    folder.mkdir(parents=True)
    expected: dict[str, Any] = {}
    packed = b""
    for kind in ("lmdb", "sqlite"):
        with stores.open(f"{kind}:{folder / ('store.' + kind)}") as store:
            expected[kind] = build(store)
            if kind == "lmdb":
                blocks = store.backend.blocks(store["main"].number, 1, 10**6)
                packed = b"".join(struct.pack("<I", len(block.data)) + block.data for block in blocks)
    (folder / "store.lmdb" / "lock.mdb").unlink()
    (folder / "store.sqlite.lock").unlink(missing_ok=True)
    (folder / "main.blocks").write_bytes(packed)
    assert expected["lmdb"] == expected["sqlite"]
    about = {"format": FORMAT, "vocabulary": e.VOCABULARY, "runs": expected["lmdb"]}
    text = json.dumps(about, indent=1, sort_keys=True, ensure_ascii=False)
    (folder / "expected.json").write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
