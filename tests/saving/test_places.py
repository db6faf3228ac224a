"""Where a program is saved: its own store, another one, one with runs in it; nothing there is ever lost."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

import eventcore as ec
from eventcore.errors import DuplicateName, InvalidValue, NotFound, StoreBusy
from tests.saving.samples import Chain, Name, Rename, account, graph, used, values

STORES = ["runs", "runs.lmdb", "runs.sqlite", "runs.db"]


def url(path: Path) -> str:
    return f"sqlite:{path}" if path.suffix in (".sqlite", ".db") else f"lmdb:{path}"


def events(run: ec.Run) -> list[tuple[int, str]]:
    return [(record.seq, repr(record.event)) for record in run.events()]


@pytest.mark.parametrize("form", STORES)
def test_saving_into_its_own_store_adds_a_snapshot_and_the_record_and_nothing_else(
    form: str, tmp_path: Path
) -> None:
    with ec.open(url(tmp_path / form)) as store, store.run("a") as run:
        program = used(graph())
        before = events(run)
        program.save(tmp_path / form)
        after = events(run)
        assert after[: len(before)] == before
        assert [kind.partition("(")[0] for _, kind in after[len(before) :]] in ([], ["ProgramDeclared"])
        assert run.durable == run.head
        assert store.backend.snapshot_seqs(run.number)[-1] == run.head
        program.save(tmp_path / form)
        assert events(run) == after


def test_the_same_store_is_recognised_by_other_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "link").symlink_to("runs.lmdb")
    monkeypatch.chdir(tmp_path)
    with ec.open("runs.lmdb") as store, store.run("a"):
        program = used(graph())
        for name in ("runs.lmdb", "./runs.lmdb/", "lmdb:runs.lmdb", str(tmp_path / "runs.lmdb"), "link"):
            program.save(name)
        assert store.runs() == ["a"]


@pytest.mark.parametrize("form", STORES)
def test_another_store_gets_the_whole_history_with_a_snapshot(form: str, tmp_path: Path, run: ec.Run) -> None:
    program = used(graph(), "Ada", "Bob")
    program.save(tmp_path / form)
    with ec.open(url(tmp_path / form), read_only=True) as store:
        copy = store["test"]
        assert events(copy) == events(run)
        assert copy.seed == 7
        assert copy.state.digest == run.state.digest
        assert store.backend.snapshot_seqs(copy.number) == [copy.head]
        assert store.verify() == []


@pytest.mark.parametrize("form", STORES)
def test_saving_again_continues_what_the_first_save_left(form: str, tmp_path: Path, run: ec.Run) -> None:
    program = used(graph())
    program.save(tmp_path / form)
    for round_ in range(3):
        used(program, f"name {round_}")
        program.save(tmp_path / form)
    with ec.open(url(tmp_path / form), read_only=True) as store:
        assert store.runs() == ["test"]
        assert events(store["test"]) == events(run)
        assert store.verify() == []
        paths = [variable.path for variable in program.variables]
        assert [len(list(store["test"].history(p))) for p in paths] == [
            len(list(run.history(p))) for p in paths
        ]


def test_the_runs_that_are_there_stay(tmp_path: Path) -> None:
    with ec.open(tmp_path / "runs") as store, store.run("mine") as other:
        used(graph("elsewhere"))
        kept = events(other)
    program = used(graph())
    program.save(tmp_path / "runs")
    with ec.open(tmp_path / "runs", read_only=True) as store:
        assert store.runs() == ["mine", "test"]
        assert events(store["mine"])[: len(kept)] == kept
    assert account(ec.Program.load(tmp_path / "runs", run="test")) == account(program)


def test_another_run_of_the_same_name_is_never_replaced(tmp_path: Path) -> None:
    with ec.open(tmp_path / "runs") as store, store.run("test") as other:
        used(graph("elsewhere"))
        kept = events(other)
    with pytest.raises(DuplicateName, match="there is another run of that name there") as caught:
        used(graph()).save(tmp_path / "runs", overwrite=True)
    assert "another path" in str(caught.value)
    with ec.open(tmp_path / "runs", read_only=True) as store:
        assert events(store["test"])[: len(kept)] == kept


def test_a_saved_run_that_was_continued_there_is_not_replaced(tmp_path: Path) -> None:
    program = used(graph())
    program.save(tmp_path / "runs")
    with ec.open(tmp_path / "runs") as store, store.reopen("test") as continued:
        events_there = continued.head
    with pytest.raises(DuplicateName):
        program.save(tmp_path / "runs")
    used(program, *"abcdefgh")
    with pytest.raises(DuplicateName):
        program.save(tmp_path / "runs")
    with ec.open(tmp_path / "runs", read_only=True) as store:
        assert store["test"].head == events_there


def test_without_overwrite_nothing_that_is_there_is_touched(tmp_path: Path) -> None:
    program = used(graph())
    for form in ("p.lmdb", "p.sqlite", "p.json"):
        program.save(tmp_path / form)
        used(program)
        with pytest.raises(InvalidValue, match="overwrite=True"):
            program.save(tmp_path / form, overwrite=False)
        assert values(ec.Program.load(tmp_path / form)) != values(program)


def test_a_run_being_written_there_is_not_continued(tmp_path: Path) -> None:
    program = used(graph())
    program.save(tmp_path / "runs")
    with ec.open(tmp_path / "runs") as store:
        store.reopen("test")
        with pytest.raises(StoreBusy, match="is being written by"):
            program.save(tmp_path / "runs")


@pytest.mark.parametrize("name", ["p.txt", "p.v2", "p.json.bak", "p.pkl", "p.lmdb2", ""])
def test_any_other_suffix_is_refused_before_anything_is_written(
    name: str, tmp_path: Path, run: ec.Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    program = used(graph())
    head = run.head
    with pytest.raises(InvalidValue, match=r"\.lmdb .*\.sqlite or \.db .*\.json"):
        program.save(name)
    with pytest.raises((InvalidValue, NotFound)):
        ec.Program.load(name)
    assert os.listdir(tmp_path) == []
    assert run.head == head


def test_nothing_is_saved_to_memory(run: ec.Run) -> None:
    with pytest.raises(InvalidValue, match="nothing outlives it"):
        graph().save("memory:")


def test_a_json_file_does_not_replace_a_file_that_is_none_of_ours(tmp_path: Path) -> None:
    precious = tmp_path / "data.json"
    precious.write_text('{"rows": [1, 2, 3]}')
    with pytest.raises(InvalidValue, match="is nothing eventcore saved"):
        graph().save(precious)
    assert precious.read_text() == '{"rows": [1, 2, 3]}'
    (tmp_path / "empty.json").touch()
    graph("other").save(tmp_path / "empty.json")
    assert ec.Program.load(tmp_path / "empty.json").name == "other"


def test_a_json_file_is_replaced_as_a_whole_and_leaves_nothing_beside_it(tmp_path: Path) -> None:
    program = used(graph())
    program.save(tmp_path / "deep" / "p.json")
    used(program)
    program.save(tmp_path / "deep" / "p.json")
    assert os.listdir(tmp_path / "deep") == ["p.json"]
    assert values(ec.Program.load(tmp_path / "deep" / "p.json")) == values(program)


def test_a_program_whose_variables_are_spread_over_runs_is_brought_together(tmp_path: Path) -> None:
    program = used(graph())
    with ec.open(tmp_path / "second").run("second") as second:
        program.variables[0].update({"persona": "moved alone"})
        program.save(tmp_path / "p.lmdb")
        assert {variable.run for variable in program.variables} == {second}
    loaded = ec.Program.load(tmp_path / "p.lmdb")
    assert account(loaded) == account(program)


def test_a_long_run_in_bounded_memory_is_saved_from_the_state_it_has(tmp_path: Path) -> None:
    from eventcore.history.store import Store
    from eventcore.history.urls import open_backend

    store = Store(open_backend("memory:", limit=200_000), "memory:")
    with store.run("bounded") as run:
        program = used(graph())
        for turn in range(400):
            program.variables[0].update({"persona": f"{turn} " * 500})
            run.flush()
        assert run.reader().first_stored() > 1
        program.save(tmp_path / "p.lmdb")
        program.save(tmp_path / "p.json")
    for form in ("p.lmdb", "p.json"):
        assert account(ec.Program.load(tmp_path / form)) == account(program)


def test_several_programs_of_one_run_are_told_apart_by_the_last_save(tmp_path: Path) -> None:
    first, second = used(graph("first")), Chain([Rename()], name="second")
    ec.wait(second(Name(name="Ada")))
    for program in (first, second, first):
        program.save(tmp_path / "both")
        assert account(ec.Program.load(tmp_path / "both")) == account(program)


def test_a_program_of_a_closed_store_can_still_be_saved_elsewhere(tmp_path: Path) -> None:
    store = ec.open(tmp_path / "runs")
    with store.run("a"):
        program = used(graph())
    store.close()
    for form in ("p.json", "p.lmdb", "p.sqlite", "runs"):
        program.save(tmp_path / form)
        with ec.open("memory:").run("b"):
            assert account(ec.Program.load(tmp_path / form)) == account(program)


def test_a_program_saved_while_another_run_is_current_goes_with_its_own_run(tmp_path: Path) -> None:
    with ec.open(tmp_path / "first").run("first") as first:
        program = used(graph())
    head = first.head
    program.save(tmp_path / "copy")
    assert first.head == head
    with ec.open(tmp_path / "copy", read_only=True) as store:
        assert store.runs() == ["first"]


def test_a_value_that_grew_beyond_one_event_is_loaded_moved_and_saved(tmp_path: Path) -> None:
    program = used(graph())
    state = program.variables[0]
    for turn in range(10):
        state.get("predictions").append({"inputs": {"text": f"{turn}" * 1_000_000}, "outputs": {}})
    for turn in range(3):
        state.get("habits")[f"habit {turn}"] = {"deep": [turn, "x" * 3_000_000]}
    expected = account(program)
    for form in ("p.lmdb", "p.sqlite", "p.json"):
        program.save(tmp_path / form)
        with ec.open("memory:").run("b") as run:
            loaded = ec.Program.load(tmp_path / form)
            assert account(loaded) == expected
            assert run.at(run.head).variables[state.path] == state.get_json()
            assert run.store.verify() == []
