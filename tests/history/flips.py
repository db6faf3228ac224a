"""Flip bits of a stored run one by one and say what reading gave; run in a process of its own, which may die of it.

    python flips.py KIND FOLDER TIMES SEED

Makes a store in FOLDER, then prints one line of JSON: how many flips gave a wrong value, an error that is not
ours, an error that `verify` does not report; and how many gave an error at all.
"""

from __future__ import annotations

import json
import random
import shutil
import sys
from pathlib import Path
from typing import Any

import msgspec

from eventcore.errors import EventcoreError
from eventcore.history import store as stores
from eventcore.history.store import Store
from eventcore.variables import Variable


class Held(msgspec.Struct):
    """What is stored."""

    number: int = 0
    text: str = ""
    items: list[int] = []


def fill(url: str) -> None:
    """Write two runs and a fork, with snapshots and an index, in many commits."""
    rng = random.Random(1)
    with stores.open(url) as store:
        for name, changes in (("long", 1500), ("short", 200)):
            with store.run(name) as run:
                rare, often = (Variable(data_model=Held, name=name) for name in ("rare", "often"))
                for change in range(changes):
                    often.update({"number": change, "text": f"{rng.getrandbits(160):x}"})
                    if change % 20 == 0:
                        rare.get("items").append(change)
                    if change % 100 == 99:
                        run.flush()
                run.snapshot()
        with store["long"].fork("other", at=700):
            Variable({"number": 7}, data_model=Held, name="new")


def everything(store: Store) -> dict[str, Any]:
    """Read all that was stored, through every way of reading."""
    found: dict[str, Any] = {}
    for name in store.runs():
        run = store[name]
        last = run.head
        found[name] = {
            "states": [dict(run.at(seq).variables) for seq in range(0, last + 1, max(1, last // 4))],
            "state": dict(run.state.variables),
            "history": [(change.seq, change.after) for change in run.history("rare", "/items")],
            "events": [msgspec.to_builtins(record.event) for record in run.events()],
        }
    return found


def flipped(kind: str, source: Path, target: Path, rng: random.Random) -> None:
    """Copy a closed store with one bit flipped."""
    data = bytearray((source / "data.mdb" if kind == "lmdb" else source).read_bytes())
    data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    if kind == "lmdb":
        target.mkdir()
        shutil.copy(source / "MANIFEST", target / "MANIFEST")
        (target / "data.mdb").write_bytes(data)
    else:
        target.write_bytes(data)


def judged(url: str, truth: dict[str, Any]) -> str:
    """Return what became of one damaged store."""
    try:
        store = stores.open(url, read_only=True)
    except EventcoreError:
        return "reported"
    with store:
        try:
            outcome = "harmless" if everything(store) == truth else "wrong"
        except EventcoreError:
            outcome = "refused"
        try:
            reported = bool(store.verify())
        except EventcoreError:
            reported = True
    if outcome == "refused":
        return "reported" if reported else "unreported"
    return outcome


def main(kind: str, folder: str, times: int, seed: int) -> None:
    """Damage, read, count, print."""
    source, rng = Path(folder) / "whole", random.Random(seed)
    fill(f"{kind}:{source}")
    with stores.open(f"{kind}:{source}", read_only=True) as store:
        truth = everything(store)
        assert store.verify() == []
    counts: dict[str, int] = dict.fromkeys(("wrong", "unreported", "reported", "harmless"), 0)
    for number in range(times):
        target = Path(folder) / "damaged" / str(number)
        target.parent.mkdir(exist_ok=True)
        flipped(kind, source, target, rng)
        counts[judged(f"{kind}:{target}", truth)] += 1
        shutil.rmtree(target.parent)
    print(json.dumps(counts))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
