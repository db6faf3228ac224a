"""Bisection: where a predicate turns, in how many states, and predicates that make no sense."""

from __future__ import annotations

import math
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eventcore.errors import InvalidValue, NotFound
from eventcore.history import events as e
from eventcore.history import store as stores
from eventcore.history.bisecting import Bisection
from eventcore.history.run import Run
from eventcore.history.state import State
from eventcore.variables import Variable

SCHEMA = {"type": "object", "properties": {"score": {"type": "number"}}}


@pytest.fixture
def run(url: str) -> Iterator[Run]:
    with stores.open(url) as store, store.run("main") as run:
        yield run


def scores(run: Run, values: list[float]) -> list[int]:
    variable = Variable({"score": 1.0}, SCHEMA, name="v")
    return [
        run.record(e.VariableUpdated(*run.stamp(), variable.number, {"score": value}, -1)) for value in values
    ]


def bad(state: State) -> bool | None:
    return state.variables["v"]["score"] < 0.5 if "v" in state.variables else None


def test_the_event_that_made_it_worse_is_found(run: Run) -> None:
    seqs = scores(run, [0.9, 0.8, 0.7, 0.4, 0.3, 0.2])
    turn = run.bisect(bad)
    assert turn == seqs[3]
    assert (turn.before, turn.after) == (False, True)
    assert dict(turn.tried)[turn] is True
    assert repr(turn) == f"Turn({seqs[3]}, False -> True, {len(turn.tried)} states tried)"


def test_it_searches_between_two_seqs(run: Run) -> None:
    seqs = scores(run, [0.1, 0.9, 0.1, 0.9])
    assert run.bisect(bad, start=seqs[1], stop=seqs[2]) == seqs[2]
    turn = run.bisect(bad, start=seqs[2])
    assert (turn, turn.after) == (seqs[3], False)


@given(st.integers(2, 5000), st.data())
def test_it_takes_no_more_than_log2_n_plus_1_states(count: int, data: st.DataObject) -> None:
    turned = data.draw(st.integers(2, count))
    asked: list[int] = []

    def ask(seq: int) -> bool:
        asked.append(seq)
        return seq >= turned

    assert Bisection(ask, 1, count).run() == turned
    assert len(asked) == len(set(asked)) <= math.ceil(math.log2(count)) + 1


@given(st.integers(2, 100_000))
def test_what_never_turns_is_learnt_as_early_as_the_bound_allows(count: int) -> None:
    asked: list[int] = []

    def ask(seq: int) -> bool:
        asked.append(seq)
        return True

    with pytest.raises(NotFound, match="never turns"):
        Bisection(ask, 1, count).run()
    spare = (
        2 ** math.ceil(math.log2(count)) - count
    )  # turns more than there are which the same looks could tell apart
    assert len(asked) <= math.ceil(math.log2(count)) + 1 - (spare + 1).bit_length() + 1
    assert asked[0] == count and asked[-1] == 1


@given(st.integers(3, 300), st.data())
def test_states_that_cannot_be_judged_are_gone_round(count: int, data: st.DataObject) -> None:
    turned = data.draw(st.integers(2, count))
    unknown = data.draw(st.sets(st.integers(1, count - 1)))

    def ask(seq: int) -> bool | None:
        return None if seq in unknown else seq >= turned

    try:
        found = Bisection(ask, 1, count).run()
    except NotFound as error:
        assert "could not be judged" in str(error)
        known = [seq for seq in range(1, count + 1) if seq not in unknown and seq < turned]
        last = max(known, default=0)
        assert any(seq in unknown for seq in range(last + 1, turned + 1)) or not known
    else:
        assert found == turned


def test_a_predicate_that_never_turns_is_said_to(run: Run) -> None:
    scores(run, [0.9, 0.8])
    with pytest.raises(NotFound, match="never turns: it is True at seq 1 and at seq"):
        run.bisect(lambda state: True)


def test_a_predicate_that_raises_is_named_with_the_seq(run: Run) -> None:
    scores(run, [0.9, 0.1])
    with pytest.raises(InvalidValue, match=r"raised ZeroDivisionError \(.*\) for the state at seq") as caught:
        run.bisect(lambda state: 1 / 0)
    assert isinstance(caught.value.__cause__, ZeroDivisionError)
    with pytest.raises(InvalidValue, match="let it return None where it cannot answer"):
        run.bisect(lambda state: state.variables["v"]["score"] < 2)


def test_seqs_that_are_not_there_are_refused(run: Run) -> None:
    scores(run, [0.9, 0.1])
    for options in ({"start": 99}, {"stop": 99}, {"start": -1}, {"stop": -1}):
        with pytest.raises(InvalidValue, match="pass a seq from 0 to"):
            run.bisect(bad, **options)
    with pytest.raises(InvalidValue, match="there is no event between them"):
        run.bisect(bad, start=2, stop=2)
