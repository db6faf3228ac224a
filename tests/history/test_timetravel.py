"""Looking back: states as of a seq, the history of a place, and the difference between two seqs."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from eventcore.errors import InvalidValue, NotFound, WrongType
from eventcore.history import events as e
from eventcore.history import store as stores
from eventcore.history.run import Run
from eventcore.history.timetravel import Difference, word_diff
from eventcore.models import Field
from eventcore.models.trainable import Trainable
from eventcore.variables import Variable
from tests.history.jsonvalues import objects, same


class Owner:
    """Somebody who lives at a path of a run."""


living: list[Owner] = []


@pytest.fixture(autouse=True)
def _nobody_lives_on() -> Iterator[None]:
    yield
    living.clear()


def declared(run: Run, path: str, value: dict[str, Any]) -> Owner:
    owner = Owner()
    number = run.state.next_number
    schema = {"type": "object"}
    run.declare(
        owner,
        e.VariableDeclared(
            *run.stamp(), number, path, schema, copy.deepcopy(value), True, True, None, None, "", -1
        ),
    )
    living.append(owner)
    return owner


# --- diff --------------------------------------------------------------------------------------


def place_of(value: Any, steps: list[str]) -> Any:
    for step in steps:
        value = value[int(step)] if isinstance(value, list) else value[step]
    return value


def applied(differences: list[Difference], before: dict[str, Any]) -> dict[str, Any]:
    """Apply differences in order, as RFC 6902 applies a patch; an applier that knows nothing of how they are made."""
    after = copy.deepcopy(before)
    for difference in differences:
        assert difference.op in ("add", "remove", "replace")
        if difference.pointer == "":
            if difference.op == "remove":
                assert after.pop(difference.variable) == difference.before
            else:
                after[difference.variable] = copy.deepcopy(difference.after)
            continue
        steps = [step.replace("~1", "/").replace("~0", "~") for step in difference.pointer[1:].split("/")]
        holder = place_of(after[difference.variable], steps[:-1])
        last: Any = int(steps[-1]) if isinstance(holder, list) else steps[-1]
        if difference.op != "add":
            assert same(holder[last], difference.before)
        if difference.op == "remove":
            del holder[last]
        elif difference.op == "add" and isinstance(holder, list):
            holder.insert(last, copy.deepcopy(difference.after))
        else:
            holder[last] = copy.deepcopy(difference.after)
    return after


changed = st.dictionaries(
    st.sampled_from(["a", "b/c", "~", ""]),
    st.recursive(
        st.sampled_from(
            [None, True, 1, 1.0, 0.0, "x", "a long text of more than forty characters, in words"]
        ),
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(["p", "q/", "0"]), inner),
        max_leaves=10,
    ),
    max_size=4,
)


@given(changed, changed, st.booleans())
@example({"a": [1, 2, 3, 4]}, {"a": [1, 4]}, False)
@example({"a": [[1], [2], [3]]}, {"a": [[2, 5], [3]]}, False)
def test_applying_the_differences_to_one_state_gives_the_other(
    a: dict[str, Any], b: dict[str, Any], more: bool
) -> None:
    with stores.open("memory:") as store:
        run = store.run("diff")
        declared(run, "v", a)
        first = run.head
        run.record(e.VariableAssigned(0, None, 0, 0, b, -1))
        if more:
            declared(run, "w", b)
        before, after = dict(run.at(first).variables), dict(run.at(run.head).variables)
        assert same(sorted_keys(applied(run.diff(first, run.head), before)), sorted_keys(after))
        assert same(sorted_keys(applied(run.diff(run.head, first), after)), sorted_keys(before))
        assert run.diff(first, first) == []


def sorted_keys(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: sorted_keys(value[key]) for key in sorted(value)}
    return [sorted_keys(item) for item in value] if isinstance(value, list) else value


words = st.lists(st.sampled_from(["the", "pirate", "shouts.", " ", "\n", "  ", "é", "a"]), max_size=30).map(
    "".join
)


@given(words | st.text(max_size=60), words | st.text(max_size=60))
def test_the_words_of_a_difference_join_back_to_both_texts(a: str, b: str) -> None:
    found = word_diff(a, b)
    assert "".join(word.text for word in found if word.op in "=-") == a
    assert "".join(word.text for word in found if word.op in "=+") == b
    assert all(word.op in "=-+" and word.text for word in found)


def test_long_texts_that_differ_everywhere_are_compared_in_reasonable_time() -> None:
    import time

    a = " ".join(f"word{n % 50}" for n in range(20_000))
    b = " ".join(f"word{n % 49}" for n in range(20_000))
    started = time.perf_counter()
    found = word_diff(a, b)
    assert time.perf_counter() - started < 5
    assert "".join(word.text for word in found if word.op in "=+") == b


def test_a_short_change_of_a_long_text_is_shown_as_words() -> None:
    run = stores.open("memory:").run("words")
    declared(run, "m/prompt", {"text": "You are a helpful assistant who answers in one short sentence."})
    first = run.head
    run.record(
        e.VariableUpdated(
            0, None, 0, 0, {"text": "You are a helpful pirate who answers in one short sentence."}, -1
        )
    )
    (difference,) = run.diff(first, run.head)
    assert (difference.variable, difference.pointer, difference.op) == ("m/prompt", "/text", "replace")
    assert [(word.op, word.text) for word in difference.words][1:3] == [("-", "assistant"), ("+", "pirate")]
    assert run.diff(first, run.head, variable="prompt") == [difference]


# --- history -----------------------------------------------------------------------------------


@given(st.lists(objects, min_size=1, max_size=6), st.integers(0, 8))
def test_history_tells_every_change_with_before_and_after(payloads: list[dict[str, Any]], start: int) -> None:
    with stores.open("memory:") as store:
        run = store.run("history")
        declared(run, "v", {})
        expected: list[tuple[int, Any, Any]] = [(run.head, None, {})]
        now: dict[str, Any] = {}
        for payload in payloads:
            run.record_read(0, "x", None, 0)
            seq = run.record(e.VariableUpdated(0, None, 0, 0, payload, -1))
            after = {**now, **payload}
            if not same(after, now):
                expected.append((seq, now, after))
            now = after
        found = [
            (change.seq, change.before, change.after)
            for change in run.history("v", start=min(start, run.head))
        ]
        assert same(found, [entry for entry in expected if entry[0] >= min(start, run.head)])


class Deep(msgspec.Struct):
    """A place inside a place."""

    rows: list[dict[str, list[int]]] = []
    word: str = ""


def test_history_of_a_place_tells_only_its_changes_with_line_rollout_and_cause() -> None:
    from eventcore.history.scope import caused_by, in_rollout

    run = stores.open("memory:").run("place")
    variable = Variable({"rows": [{"a": [1]}]}, data_model=Deep, name="v")
    variable.update({"word": "elsewhere"})
    with in_rollout("r1"), caused_by(2):
        variable.get("rows")[0]["a"].append(2)
    variable.get("rows").insert(0, {})
    del variable.get("rows")[0]
    changes = list(run.history(variable, "/rows/0/a"))
    assert [(change.kind, change.before, change.after) for change in changes] == [
        ("VariableDeclared", None, [1]),
        ("ValuePatched", [1], [1, 2]),
        ("ValuePatched", [1, 2], None),
        ("ValuePatched", None, [1, 2]),
    ]
    assert (changes[1].rollout, changes[1].cause) == ("r1", 2)
    assert changes[1].source is not None
    assert "test_timetravel.py" in changes[1].source
    assert [change.after for change in run.history("v", "/word")] == ["", "elsewhere"]


def test_history_goes_through_forks_and_through_replaced_variables() -> None:
    run = stores.open("memory:").run("one")
    declared(run, "v", {"n": 1})
    run.record(e.VariableUpdated(0, None, 0, 0, {"n": 2}, -1))
    at = run.head
    run.record(e.VariableUpdated(0, None, 0, 0, {"n": 99}, -1))
    fork = run.fork("two", at=at)
    fork.record(e.VariableUpdated(0, None, 0, 0, {"n": 3}, -1))
    living.clear()
    declared(fork, "v", {"n": 4})
    assert [change.after for change in fork.history("v", "/n")] == [1, 2, 3, 4]
    assert [change.after for change in run.history("v", "/n")] == [1, 2, 99]


def test_events_are_filtered_by_variable_kind_and_seq() -> None:
    run = stores.open("memory:").run("filters")
    declared(run, "m/one", {})
    declared(run, "m/two", {})
    for n in range(10):
        run.record(e.VariableUpdated(0, None, 0, n % 2, {"n": n}, -1))
    updates = list(run.events(kind="VariableUpdated", variable="one"))
    assert [record.event.payload["n"] for record in updates] == [0, 2, 4, 6, 8]  # type: ignore[attr-defined]
    assert [record.seq for record in run.events(4, 6)] == [4, 5, 6]
    assert list(run.events(kind=e.VariableUpdated, variable="m/one")) == updates
    assert {record.kind for record in run.events(stop=3)} == {"RunStarted", "VariableDeclared"}
    with pytest.raises(InvalidValue, match="kinds are"):
        list(run.events(kind="Nonsense"))
    with pytest.raises(NotFound, match="did you mean"):
        list(run.events(variable="m/on"))


@pytest.mark.parametrize("position", [-1, 10**9, True, 1.5, None, "²"])
def test_a_seq_that_is_not_there_is_refused_with_those_that_are(position: Any) -> None:
    run = stores.open("memory:").run("short")
    with pytest.raises((InvalidValue, NotFound, WrongType), match=r"run 'short'"):
        run.at(position)


def test_a_label_stands_for_the_seq_it_was_set_to() -> None:
    run = stores.open("memory:").run("labels")
    declared(run, "v", {"n": 1})
    run.record(e.LabelSet(0, None, 0, "good", run.head))
    run.record(e.VariableUpdated(0, None, 0, 0, {"n": 2}, -1))
    assert run.at("good").variables["v"] == {"n": 1}
    assert run.fork(at="good").state.variables["v"] == {"n": 1}
    with pytest.raises(NotFound, match=r"'bad'.*it has: good"):
        run.at("bad")


def test_a_state_is_a_value_that_does_not_change_when_the_run_goes_on() -> None:
    run = stores.open("memory:").run("value")
    declared(run, "v", {"items": [1]})
    for state in (run.state, run.at(run.head)):
        digest = state.digest
        state.variables["v"]["items"].append("mine")
        run.record(e.VariableUpdated(0, None, 0, 0, {"items": [2]}, -1))
        assert state.digest == digest
        assert state.variables["v"]["items"] != [1, "mine"]


# --- across runs, and what was taken back ----------------------------------------------------------


def test_two_runs_are_compared_by_the_paths_of_their_variables() -> None:
    with stores.open("memory:") as store, store.run("a") as run:
        declared(run, "v", {"n": 1})
        fork = run.fork("b")
        fork.record(e.VariableUpdated(*fork.stamp(), 0, {"n": 2}, -1))
        (found,) = run.diff(run.head, fork.head, other=fork)
        assert (found.variable, found.pointer, found.before, found.after) == ("v", "/n", 1, 2)
        assert run.diff(run.head, run.head, other=fork) == []
        with pytest.raises(InvalidValue, match="run 'a'"):
            run.diff(fork.head, fork.head, other=fork)


@pytest.mark.parametrize("pointer", ["", "/n"])
def test_history_shows_that_a_resumed_run_took_something_back(disk: str, pointer: str) -> None:
    from eventcore.history.state import encode_state

    with stores.open(disk) as store, store.run("a") as run:
        declared(run, "v", {"n": 0})
        run.record(e.VariableUpdated(*run.stamp(), 0, {"n": 1}, -1))
        kept, state = run.head, encode_state(run.state)
        run.record(e.VariableUpdated(*run.stamp(), 0, {"n": 2}, -1))
    living.clear()
    with stores.open(disk) as store, store.reopen("a") as run:
        run.record(e.StateRestored(*run.stamp(), kept, state))
        run.record(e.VariableUpdated(*run.stamp(), 0, {"n": 3}, -1))
        found = list(run.history("v", pointer))
        values = [change.after if pointer else change.after["n"] for change in found]
        assert values == [0, 1, 2, 1, 3]
        assert [change.kind for change in found][3] == "StateRestored"


# --- how they show themselves ------------------------------------------------------------------


def test_differences_and_changes_say_what_they_are() -> None:
    with stores.open("memory:") as store, store.run("a") as run:
        declared(run, "v", {"text": "one <b>two</b> three", "n": 1})
        first = run.head
        for number in range(30):
            run.record(e.VariableUpdated(*run.stamp(), 0, {"n": number, "text": f"one \x1b[31m{number}"}, -1))
        diff = run.diff(first, run.head)
        assert repr(diff).splitlines()[0] == f"Diff(a@{first} to a@{run.head}: 2 differences)"
        assert "~ v/n  1 -> 29" in repr(diff)
        assert repr(run.diff(first, first)) == f"Diff(a@{first} to a@{first}: no difference)"
        history = run.history("v", "/text")
        assert len(repr(history).splitlines()) == 22 and "… and more" in repr(history)
        assert len(list(history)) == 31 and list(history) == []
        for shown in (diff, history, run, run.state, run.history("v"), run.diff(0, run.head)):
            page = shown._repr_html_()
            assert "\x1b" not in page and "\x1b" not in repr(shown)
            assert "<b>two" not in page and "<script" not in page
        assert "<ins" in diff._repr_html_() and "&lt;b&gt;two" in history._repr_html_()


def test_a_page_of_a_large_run_stays_small() -> None:
    with stores.open("memory:") as store, store.run("a") as run:
        for number in range(300):
            declared(run, f"v{number}", {"text": "x" * 10_000})
        for shown in (run, run.diff(0, run.head)):
            assert len(shown._repr_html_()) < 100_000 and "… and 20" in shown._repr_html_()


class Sheet(Trainable):
    d: dict[str, int | None] = Field(default={})
    text: str = ""


def test_what_was_deleted_is_told_from_null() -> None:
    with stores.open("memory:").run("main") as run:
        variable = Variable(data_model=Sheet, name="v")
        variable["d"]["x"] = None
        variable["d"].pop("x")
        variable["d"]["x"] = 5
        seen = [(c.existed, c.before, c.exists, c.after) for c in run.history("v", "/d/x")]
    assert seen == [(False, None, True, None), (True, None, False, None), (False, None, True, 5)]
    rows = repr(run.history("v", "/d/x")).splitlines()[1:]
    assert [row.split()[4] for row in rows] == ["null", "(deleted)", "5"]
    page = run.history("v", "/d/x")._repr_html_()
    assert page.count("(deleted)") == 1 and page.index(">null<") < page.index("(deleted)") < page.index(">5<")
    whole = repr(run.history("v", "/d")).splitlines()
    assert "+ /x  null" in whole[2] and "- /x  null" in whole[3] and "+ /x  5" in whole[4]
    assert "(deleted)" in run.history("v", "/d")._repr_html_()


def test_a_row_of_a_whole_value_shows_what_changed_in_it() -> None:
    with stores.open("memory:").run("main") as run:
        variable = Variable(data_model=Sheet, name="v")
        variable.update({"text": "word " * 40 + "old" + " word" * 40})
        variable.update({"text": "word " * 40 + "new" + " word" * 40})
        variable.update({"text": "short", "d": {"a": 1, "b": 2, "c": 3}})
    rows = repr(run.history("v")).splitlines()[1:]
    assert "~ /text" in rows[2] and "[-old-]{+new+}" in rows[2] and len(rows[2]) < 300
    assert "+ /d/a  1; + /d/b  2; + /d/c  3; … and 1 more" in rows[3]
    assert "[-old-]{+new+}" in repr(run.history("v", "/text"))
    assert "[-old-]{+new+}" in repr(run.diff(rows_seq(rows[1]), rows_seq(rows[2])))


def rows_seq(row: str) -> int:
    return int(row.split()[0])


def test_a_state_shows_the_names_of_its_variables() -> None:
    with stores.open("memory:").run("main") as run:
        assert repr(run.state).startswith("State(0 variables; digest ")
        kept = [Variable(data_model=Sheet, name="first")]
        assert repr(run.state).startswith("State(1 variable: first; digest ")
        kept += [Variable(data_model=Sheet, name=f"v{number}") for number in range(12)]
        assert repr(run.at(run.head)).startswith("State(13 variables: first, v0, v1, ") and "v8, …; " in repr(
            run.state
        )


def test_what_a_variable_is_comes_before_what_training_keeps_in_it() -> None:
    with stores.open("memory:").run("main") as run:
        kept = [Variable(data_model=Sheet, name=name) for name in ("a", "b")]
        start = run.head
        for variable in kept:
            variable["predictions"].append({"inputs": {}, "outputs": {}, "reward": 1.0})
            variable.update({"nb_visit": 1, "text": "new"})
            variable["examples"].append({"inputs": {}, "outputs": {}, "reward": 1.0})
        places = [found.variable + found.pointer for found in run.diff(start, run.head)]
    assert set(places[:4]) == {"a/text", "a/examples/0", "b/text", "b/examples/0"}
    assert set(places[4:]) == {"a/predictions/0", "a/nb_visit", "b/predictions/0", "b/nb_visit"}
