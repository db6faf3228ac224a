"""What goes behind the views (`heapq`, `list.append(view, x)`) never reaches the log, a snapshot or another run."""

from __future__ import annotations

import heapq
from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from eventcore.errors import UnrecordedMutation
from eventcore.history import store as stores
from eventcore.variables import Variable


class Held(msgspec.Struct):
    """Containers of any content, and a number to write many events with."""

    items: list[Any] = []
    table: dict[str, Any] = {}
    count: int = 0


Change = Callable[[Any], Any]


@pytest.mark.parametrize(
    ("behind", "then"),
    [
        (lambda v: list.extend(v, [0] * 5), lambda v: v.__setitem__(7, "x")),
        (lambda v: list.extend(v, [0] * 5), lambda v: v.pop()),
        (lambda v: list.append(v, 0), lambda v: v.reverse()),
        (lambda v: list.append(v, 0), lambda v: v.__setitem__(slice(None, None, -1), [1] * 4)),
        (lambda v: list.reverse(v), lambda v: v[0].append(1)),
        (lambda v: dict.__setitem__(v[1], "new", 1), lambda v: v[1].pop("new")),
        (lambda v: list.append(v[2], 1), lambda v: v[2].__setitem__(0, 1)),
    ],
    ids=["index", "pop", "reorder", "slice", "another kind", "key", "nested index"],
)
def test_a_change_that_only_fits_what_went_behind_the_views_is_refused_and_the_log_stays_foldable(
    url: str, behind: Change, then: Change
) -> None:
    """I14: an event that cannot be folded would cost the whole run."""
    store = stores.open(url)
    run = store.run("behind")
    state = Variable({"items": [1, {"a": 2}, []]}, data_model=Held, name="state")
    items = state.get("items")
    behind(items)
    with pytest.raises(UnrecordedMutation, match=r"variable 'state', field 'items'.*restored"):
        then(items)
    assert state.get_json()["items"] == [1, {"a": 2}, []]
    state.get("items").append(3)
    run.flush()
    assert run.at(run.head).variables["state"]["items"] == [1, {"a": 2}, [], 3]
    assert store.verify() == []


def test_no_snapshot_is_taken_of_what_went_behind_the_views(url: str) -> None:
    """I2, I14: a snapshot is a cache of the fold, also while something waits to be reported."""
    store = stores.open(url)
    run = store.run("behind")
    state = Variable({"items": [3, 1, 2]}, data_model=Held, name="state")
    items = state.get("items")
    heapq.heapify(items)
    for count in range(12_000):
        state.update({"count": count})
    with pytest.raises(UnrecordedMutation, match="'items'"):
        run.flush()
    assert run.at(run.head).variables["state"]["items"] == [3, 1, 2]
    assert state.get_json()["items"] == [3, 1, 2]
    assert store.verify() == []


def test_snapshots_go_on_while_a_container_is_held_and_changed_by_its_methods(disk: str) -> None:
    """I2: only what nobody noted keeps a snapshot from being taken."""
    store = stores.open(disk)
    run = store.run("held")
    state = Variable(data_model=Held, name="state")
    items = state.get("items")
    for count in range(9_000):
        items.append(count)
        if count % 100 == 0:
            del items[:]
    run.flush()
    assert store.backend.snapshot_seqs(run.number)
    assert store.verify() == []


def test_moving_to_another_run_is_a_barrier() -> None:
    """I14: neither run gets to believe what no event says."""
    store = stores.open("memory:")
    old = store.run("old")
    state = Variable({"items": [3, 1, 2]}, data_model=Held, name="state")
    heapq.heapify(state.get("items"))
    new = store.run("new")
    with pytest.raises(UnrecordedMutation, match="'items'"):
        state.update({"count": 1})
    state.update({"count": 1})
    assert old.state.variables["state"] == old.at(old.head).variables["state"]
    assert new.at(new.head).variables["state"] == {"items": [3, 1, 2], "table": {}, "count": 1}
