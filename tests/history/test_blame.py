"""Blame: which event wrote what is there, what led to it, and what happens with input that makes no sense."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

import pytest

import eventcore as ec
from eventcore.errors import InvalidValue, NotFound, UnknownFormat
from eventcore.examples import hints
from eventcore.history import codec
from eventcore.history import events as e
from eventcore.history import store as stores
from eventcore.history.run import Run
from eventcore.history.state import encode_state
from eventcore.history.timetravel import join_pointer
from tests.examples.test_hints import play

SCHEMA = {
    "type": "object",
    "properties": {
        "text": {"type": "string"},
        "count": {"type": "integer"},
        "notes": {"type": "array", "items": {"type": "string"}},
        "nested": {"type": "object"},
    },
}


def voice(**value: Any) -> ec.Variable:
    return ec.Variable(
        {"text": "one two", "count": 0, "notes": [], "nested": {}, **value}, SCHEMA, name="voice"
    )


@pytest.fixture
def run(url: str) -> Iterator[Run]:
    with stores.open(url) as store, store.run("main") as run:
        yield run


def owners(run: Run, pointer: str = "/text", **options: Any) -> list[tuple[Any, int]]:
    return [(piece.value, piece.seq) for piece in run.blame("voice", pointer, **options).pieces]


def test_words_keep_their_owners_through_updates(run: Run) -> None:
    variable = voice()
    declared = run.head
    variable.update({"text": "one big two"})
    first = run.head
    variable.update({"text": "zero one big two"})
    assert owners(run) == [("zero ", run.head), ("one ", declared), ("big ", first), ("two", declared)]
    assert owners(run, at=first) == [("one ", declared), ("big ", first), ("two", declared)]


def test_a_number_and_an_empty_list_have_owners_too(run: Run) -> None:
    variable = voice()
    declared = run.head
    variable.update({"count": 1})
    counted = run.head
    variable.update({"count": 1})
    assert owners(run, "/count") == [(1, counted)]
    assert owners(run, "/notes") == [([], declared)]
    variable["notes"].append("x")
    variable["notes"].pop()
    assert owners(run, "/notes") == [([], run.head)]


def test_items_keep_their_owners_where_they_go(run: Run) -> None:
    variable = voice()
    variable["notes"].append("first")
    appended = run.head
    variable["notes"].insert(0, "second")
    inserted = run.head
    variable["notes"].reverse()
    assert owners(run, "/notes") == [("first", appended), ("second", inserted)]
    variable.update({"notes": ["second", "third", "first"]})
    assert owners(run, "/notes") == [("second", inserted), ("third", run.head), ("first", appended)]


def test_a_field_of_an_object_inside_is_followed(run: Run) -> None:
    variable = voice(nested={"a": {"b": "deep water"}})
    declared = run.head
    variable["nested"]["a"]["b"] = "deep blue water"
    assert owners(run, "/nested/a/b") == [("deep ", declared), ("blue ", run.head), ("water", declared)]


def test_a_span_has_the_owners_it_has_in_the_whole(run: Run) -> None:
    variable = voice()
    declared = run.head
    variable.update({"text": "one big two"})
    assert owners(run, span=(3, 4)) == [(" ", declared)]
    (piece,) = run.blame("voice", "/text", (5, 6)).pieces
    assert (piece.value, piece.span, piece.seq) == ("i", (5, 6), run.head)
    assert owners(run, span="big") == [("big", run.head)]


class Prompt(ec.Trainable):
    text: str = ""
    note: str = ""


@pytest.mark.parametrize("snapshot", [False, True])
def test_a_candidate_made_by_hand_owns_its_new_words_and_a_copy_of_it_none(run: Run, snapshot: bool) -> None:
    prompt = ec.Variable(data_model=Prompt, name="prompt")
    prompt.update({"text": "AAA bbb ccc"})
    written = run.head
    prompt.get("candidates").append({"text": "AAA bbb ccc DDD"})
    added = run.head
    if snapshot:
        run.snapshot()
    prompt.update({"text": "zzz"})
    prompt.update({"text": "AAA bbb ccc DDD"})
    expected = [("AAA bbb ccc ", written, (run.head, added)), ("DDD", added, (run.head,))]
    assert [
        (piece.value, piece.seq, piece.copies) for piece in run.blame("prompt", "/text").pieces
    ] == expected
    entry = [(piece.value, piece.seq) for piece in run.blame("prompt", "/candidates/0/text").pieces]
    assert entry == [("AAA bbb ccc ", written), ("DDD", added)]


@pytest.mark.parametrize("back", ["update", "assign"])
def test_an_exact_copy_kept_among_the_candidates_leads_to_who_wrote_it(run: Run, back: str) -> None:
    prompt = ec.Variable(data_model=Prompt, name="prompt")
    prompt.update({"text": "AAA bbb ccc"})
    written = run.head
    prompt.get("candidates").append({"text": prompt.get("text"), "why": "the first"})
    prompt.get("best_candidates").append(prompt.get("candidates")[0])
    added = run.head
    prompt.get("candidates").clear()
    prompt.update({"text": "zzz"})
    kept = {"text": prompt.get("best_candidates")[-1]["text"]}
    prompt.update(kept) if back == "update" else prompt.assign(prompt.get_json() | kept)
    assert [(piece.value, piece.seq) for piece in run.blame("prompt", "/text").pieces] == [
        ("AAA bbb ccc", written)
    ]
    (why,) = run.blame("prompt", "/best_candidates/0/why").pieces
    assert why.seq < why.copies[0] == added


def test_words_that_an_update_moves_to_another_field_are_the_updates(run: Run) -> None:
    prompt = ec.Variable(data_model=Prompt, name="prompt")
    prompt.update({"text": "AAA bbb ccc"})
    prompt.update({"note": prompt.get("text"), "text": ""})
    assert [piece.seq for piece in run.blame("prompt", "/note").pieces] == [run.head]


def test_a_list_of_candidates_may_hold_what_is_no_candidate(run: Run) -> None:
    listed = ec.Variable({"text": "one", "candidates": ["no object", {"text": "two"}]}, SCHEMA, name="listed")
    declared = run.head
    listed.get("candidates").append("nor this")
    added = run.head
    listed.update({"text": "two"})
    assert [piece.seq for piece in run.blame("listed", "/text").pieces] == [declared]
    assert [piece.seq for piece in run.blame("listed", "/candidates").pieces] == [declared, declared, added]


def test_a_fork_blames_its_parents_events(run: Run) -> None:
    variable = voice()
    declared = run.head
    variable.update({"text": "one big two"})
    updated = run.head
    fork = run.fork("fork", at=declared)
    fork.record(e.VariableUpdated(*fork.stamp(), 0, {"text": "one small two"}, -1))
    again = fork.fork("again", at=fork.head)
    assert owners(again) == [("one ", declared), ("small ", fork.head), ("two", declared)]
    assert owners(run) == [("one ", declared), ("big ", updated), ("two", declared)]


def test_without_snapshots_and_without_an_index_the_owners_are_the_same(disk: str) -> None:
    with stores.open(disk) as store, store.run("main") as run:
        variable = voice()
        for number in range(300):
            variable.update({"text": f"one w{number} two"} if number % 3 else {"count": number})
            if number % 50 == 0:
                run.snapshot()
        run.flush()
        before = [run.blame("voice", at=seq).pieces for seq in (run.head, 150, 51)]
        for seq in store.backend.snapshot_seqs(run.number):
            store.backend.drop_snapshot(run.number, seq)
        assert [run.blame("voice", at=seq).pieces for seq in (run.head, 150, 51)] == before


def test_what_a_bounded_log_no_longer_has_is_said_so() -> None:
    with stores.open("memory:", limit=200_000) as store, store.run("main") as run:
        variable = voice()
        noise = Random(1)
        for _ in range(3_000):
            variable.update({"notes": [noise.randbytes(150).hex()]})
        run.snapshot()
        variable.update({"count": 1})
        run.flush()
        assert run.first_stored > 10
        blame = run.blame("voice")
        assert {piece.pointer: piece.seq for piece in blame.pieces}["/text"] == 0
        assert {piece.pointer: piece.seq for piece in blame.pieces}["/count"] == run.head
        assert "older than the oldest event that was kept" in repr(blame)
        assert blame.evidence(0).call is None


def test_what_a_resumed_run_took_back_wrote_nothing(disk: str) -> None:
    with stores.open(disk) as store, store.run("main") as run:
        variable = voice()
        declared = run.head
        variable.update({"text": "one big two"})
        kept = run.head
        variable.update({"text": "one big lost two"})
    with stores.open(disk) as store:
        run = store.reopen("main")
        run.record(e.StateRestored(*run.stamp(), back_to=kept, state=encode_state(run.at(kept))))
        assert owners(run) == [("one ", declared), ("big ", kept), ("two", declared)]
        run.record(e.VariableUpdated(*run.stamp(), 0, {"text": "one big new two"}, -1))
        assert owners(run) == [("one ", declared), ("big ", kept), ("new ", run.head), ("two", declared)]
        lineage = run.why("voice").variables[0].lineage
        assert [step.candidate.fields["text"] for step in lineage] == [
            "one two",
            "one big two",
            "one big new two",
        ]


def test_a_log_of_a_newer_eventcore_is_refused_by_name(disk: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with stores.open(disk) as store, store.run("main"):
        voice().update({"text": "one big two"})
    monkeypatch.setattr(codec, "VOCABULARY", 0)
    with stores.open(disk, read_only=True) as store:
        run = store["main"]
        for look in (
            lambda: run.blame("voice"), lambda: run.why("voice"), lambda: run.seq("epoch:1"),
            lambda: run.labels(), lambda: run.bisect(lambda state: True),
        ):  # fmt: skip
            with pytest.raises(UnknownFormat, match="newer eventcore"):
                look()


# --- what led to it ----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def trained() -> Iterator[Run]:
    with ec.open("memory:") as store, store.run("hints", seed=7) as run:
        ec.wait(hints.train(play, verbose=0))
        yield run


def test_the_chain_behind_a_word_names_call_rewards_parents_and_copies(trained: Run) -> None:
    blame = trained.blame("hints_hinted", "/hints/0")
    (piece,) = blame.pieces
    origin = blame.origin(piece.seq)
    assert (origin.kind, origin.note, origin.epoch) == ("CandidateProposed", "mutation", 0)
    assert origin.step is not None and origin.parents[0].kind == "CandidateAdded"
    evidence = blame.evidence(piece.seq)
    assert evidence.call is not None and evidence.call.model == "play"
    assert evidence.call.answer["json"]["hints"] == ["Hint 1."]
    assert "Hint 1." not in str(evidence.call.request)
    assert len(evidence.rewards) == 8 and all(reward in (0.0, 1.0) for _, reward in evidence.rewards)
    kinds = [blame.origin(seq).kind for seq in piece.copies]
    assert kinds[-1] == "CandidateAdded" and set(kinds) <= {"CandidateAdded", "CandidateChosen"}


def test_blame_is_readable_in_a_console_and_in_a_notebook(trained: Run) -> None:
    blame = trained.blame("state_generator_hinted", "/instructions")
    text = repr(blame)
    assert "VariableDeclared" in text and "epoch 0" in text and "Read with care." in text
    page = blame._repr_html_()
    assert page.count("<span") == len(blame.pieces) and "<script" not in page
    assert [origin.seq for origin in blame.owners] == sorted({piece.seq for piece in blame.pieces})


def test_a_page_escapes_what_the_log_holds(run: Run) -> None:
    voice(text="<script>alert(1)</script> \x1b[31m")
    page = run.blame("voice", "/text")._repr_html_()
    assert "<script" not in page and "\x1b" not in page


# --- why ---------------------------------------------------------------------------------------


def test_why_tells_lineage_scores_cost_and_what_was_rejected(trained: Run) -> None:
    why = trained.why()
    assert [story.path.rsplit("/", 1)[-1] for story in why.variables] == [
        "hints_hinted",
        "state_generator_hinted",
    ]
    for story in why.variables:
        value = trained.state.variables[story.path]
        assert all(value[name] == item for name, item in story.winner.fields.items())
        kinds = [step.origin.kind for step in story.lineage]
        assert kinds[0] == "VariableDeclared" and set(kinds[1:]) == {"CandidateProposed"}
        assert story.lineage[-1].evidence.call is not None
        assert story.winner.score.count
        entries = [*value["best_candidates"], *value["candidates"]]
        (entry,) = [entry for entry in entries if all(entry[n] == v for n, v in story.winner.fields.items())]
        assert entry["evaluations"] == story.winner.score.count
        assert entry["reward"] == pytest.approx(story.winner.score.mean)
    scored = {event.variable for _, event in trained.events(kind="CandidateAdded") if event.equal_to < 0}  # type: ignore[attr-defined]
    assert len(scored) == 2
    spent = trained.cost()
    assert not isinstance(spent, dict) and why.spending.calls == spent.calls
    assert [epoch.epoch for epoch in why.epochs] == [0, 1, 2]
    text = repr(why)
    assert "tried and rejected: " in text and "epoch 1 step 2" in text
    page = why._repr_html_()
    assert "http" not in page and "<script" not in page and "<ins>" in page


def test_why_names_the_rollouts_of_examples() -> None:
    from eventcore.examples import intents

    with ec.open("memory:") as store, store.run("intents", seed=0) as run:
        learned = ec.wait(intents.train(1, verbose=0))
        memory = learned.program.get_variable(name="memory_classifier")
        (story,) = run.why(memory).variables
        examples = memory.get_json()["examples"]
        assert examples and [demo.value for demo in story.demos] == examples
        _, sources = intents.winner(run, learned.program)
        assert [demo.rollout for demo in story.demos] == [source.rollout for source in sources]
        written = run.blame(memory, "/examples/0/outputs").pieces
        assert {piece.seq for piece in written} == {sources[0].seq}
        assert run.blame(memory, "/examples/0/outputs").evidence(sources[0].seq).rewards == (
            (sources[0].rollout, sources[0].reward),
        )


def test_why_without_a_trainable_variable_names_what_there_is(run: Run) -> None:
    voice()
    with pytest.raises(NotFound, match=r"no variable of it is trainable .* name one of: voice"):
        run.why()
    (story,) = run.why("voice").variables
    assert [step.origin.kind for step in story.lineage] == ["VariableDeclared"]


def test_why_of_a_variable_nobody_evaluates_does_not_grow_with_its_history(run: Run) -> None:
    variable = voice()
    for number in range(200):
        variable.update({"text": f"number {number}"})
    (story,) = run.why("voice").variables
    assert 10 < len(story.lineage) < 100
    assert story.winner.fields["text"] == "number 199"


@pytest.mark.parametrize("field", ["", "a/b~c", "ключ", "k" * 300, "count"])
def test_a_field_nobody_touched_again_is_found_behind_many_events(tmp_path: Path, field: str) -> None:
    schema = {"type": "object", "properties": {field: {"type": "integer"}, "text": {"type": "string"}}}
    with stores.open(tmp_path / "runs.lmdb") as store, store.run("main") as run:
        busy = ec.Variable({field: 1, "text": ""}, schema, name="busy")
        other = ec.Variable({field: 1, "text": ""}, schema, name="other")
        busy.update({field: 2})
        touched = run.head
        for number in range(5_000):  # more than a stretch of the index covers
            busy.update({"text": f"{number} {'x' * 200}"})
            other.update({field: number})
        pointer = join_pointer("", field)
        assert [piece.seq for piece in run.blame("busy", pointer).pieces] == [touched]
        assert [piece.seq for piece in run.blame("other", pointer).pieces] == [run.head]
        row = run.store.row("main")
        snapshots = run.store.backend.snapshot_seqs(row.id)
        assert snapshots
        for seq in snapshots:
            run.store.backend.drop_snapshot(row.id, seq)
        assert [piece.seq for piece in run.blame("busy", pointer).pieces] == [touched]


# --- other processes, other runs -----------------------------------------------------------------


def test_words_keep_their_owners_when_a_later_process_goes_on(tmp_path: Path) -> None:
    written: list[int] = []
    for word in ("red", "green", "blue"):
        with (
            stores.open(tmp_path / "runs.lmdb") as store,
            store.reopen("main") if written else store.run("main") as run,
        ):
            variable = voice()
            variable.update({"text": f"{variable.get('text')} {word}", "nested": {word: [word]}})
            written.append(run.head)
            del variable  # as the end of its process would
    with stores.open(tmp_path / "runs.lmdb") as store:
        run = store["main"]
        assert owners(run)[-3:] == [("red ", written[0]), ("green ", written[1]), ("blue", written[2])]
        found = run.blame("voice", "/text", "red")
        assert [found.origin(seq).kind for seq in found.pieces[0].copies] == ["VariableDeclared"] * 2
        assert owners(run, "/nested/blue/0") == [("blue", written[2])]
        with run.fork("aside") as fork:
            variable = voice()
            variable.update({"text": variable.get("text") + " grey"})
            assert owners(fork)[-2:] == [("blue ", written[2]), ("grey", fork.head)]


def test_a_value_that_only_claims_to_have_been_there_belongs_to_who_declared_it(run: Run) -> None:
    voice(text="something else")
    claim = "run 'main' at seq 1"
    run.record(e.VariableDeclared(*run.stamp(), run.live.next_number, "other", SCHEMA, {"text": "a b"}, False,
                                  False, None, claim, "", -1))  # fmt: skip
    assert [piece.seq for piece in run.blame("other").pieces] == [run.head]


def test_what_was_brought_from_another_run_of_the_store_is_followed_there(url: str) -> None:
    with stores.open(url) as store:
        with store.run("first") as first:
            variable = voice()
            variable.update({"text": "one three two"})
            written = first.head
        with store.run("second") as second:
            variable.update({"count": 7})
            found = second.blame("voice", "/text")
            (owner,) = found.owners
            assert owner.kind == "VariableDeclared" and "from run 'first'" in owner.note
            (before,) = found.before(owner.seq)
            assert before.run == "first"
            assert [(piece.value, piece.seq) for piece in before.pieces][1] == ("three ", written)
            counted = second.blame("voice", "/count")
            assert counted.before(counted.owners[0].seq) == []


# --- bad input ---------------------------------------------------------------------------------


def test_a_fork_made_in_python_goes_on_through_its_parent_and_shows_it(run: Run) -> None:
    prompt = ec.Variable(data_model=Prompt, name="prompt")
    prompt.update({"text": "AAA bbb"})
    written = run.head
    with run.fork("f1", at=run.head) as fork:
        prompt.update({"text": "AAA bbb <ccc>"})
        first = fork.head
        with fork.fork("f2", at=fork.head) as second:
            prompt.update({"text": "AAA bbb <ccc> ddd"})
    blame = second.blame("prompt", "/text")
    shown, page = repr(blame), blame._repr_html_()
    for text in (shown, page.replace("&#x27;", "'")):
        assert "in run 'f1'" in text and "in run 'main'" in text
    rows = [line.split()[0] for line in shown.splitlines() if line.split()[0].isdecimal()]
    assert str(written) in rows and str(first) in rows
    assert "<ccc>" not in page and "&lt;ccc&gt;" in page
    why = second.why("prompt")
    (story,) = why.variables
    assert story.before is not None and story.before[0] == "f1"
    assert story.before[1].before is not None and story.before[1].before[0] == "main"
    assert [step.origin.seq for step in story.before[1].before[1].lineage][-1] == written
    lines = repr(why).splitlines()
    at = [lines.index(line) for line in ("    in run 'main'", "    in run 'f1'", "    then")]
    assert at == sorted(at) and any(line.lstrip().startswith(f"{written}  ") for line in lines[at[0] : at[1]])
    assert "Lineage in run &#x27;main&#x27;" in why._repr_html_()


def test_input_that_makes_no_sense_is_refused_in_words(run: Run) -> None:
    voice(notes=["a"])
    with pytest.raises(NotFound, match="did you mean voice"):
        run.blame("voise")
    with pytest.raises(NotFound, match="there is no 'txt'; there is: 'text', 'count'"):
        run.blame("voice", "/txt")
    with pytest.raises(NotFound, match="no item '1'; the list has items 0 to 0"):
        run.blame("voice", "/notes/1")
    with pytest.raises(NotFound, match="no 'x' in a value of type str"):
        run.blame("voice", "/text/x")
    with pytest.raises(NotFound, match="begin with '/'"):
        run.blame("voice", "text")
    for span in ((0, 99), (-1, 2), (3, 3), (4, 2)):
        with pytest.raises(InvalidValue, match="of a text of 7 characters; pass 0 <= start < end <= 7"):
            run.blame("voice", "/text", span)
    spans: list[Any] = [5, slice(0, 5), (1,), ("a", "b"), (0, 2.5), {0, 2}]
    for span in spans:
        with pytest.raises(InvalidValue, match=r"pass \(start, end\), or words"):
            run.blame("voice", "/text", span)
    with pytest.raises(InvalidValue, match="is no text but int"):
        run.blame("voice", "/count", (0, 1))
    with pytest.raises(NotFound, match="cannot find 'three' in the text"):
        run.blame("voice", "/text", "three")
    for seq in (run.head + 1, -1):
        with pytest.raises(InvalidValue, match="pass a seq from 0 to"):
            run.blame("voice", at=seq)
    with pytest.raises(NotFound):
        run.blame("voice", at=0)


def test_a_variable_that_was_not_there_yet_is_said_to_come_later(run: Run) -> None:
    with pytest.raises(NotFound, match="no variable of it is trainable at seq 1; it has no variables"):
        run.why()
    ec.Variable({"text": "one"}, SCHEMA, name="other", trainable=False)
    early = run.head
    with pytest.raises(NotFound, match=f"trainable at seq {early}; name one of: other"):
        run.why()
    ec.Variable(data_model=Prompt, name="voice")
    declared = run.head
    later = f"cannot find variable 'voice' at seq {early} of run 'main': it was declared at seq {declared}"
    asked: list[Any] = [
        lambda: run.blame("voice", at=early),
        lambda: run.why("voice", at=early),
        lambda: run.diff(1, early, "voice"),
    ]
    for ask in asked:
        with pytest.raises(NotFound, match=later):
            ask()
    assert [found.op for found in run.diff(early, declared, "voice")] == ["add"]
    with pytest.raises(
        NotFound, match=f"at seq {early}; 'voice' was declared at seq {declared}: pass a seq from"
    ):
        run.why(at=early)
    with pytest.raises(NotFound, match="did you mean voice"):
        run.blame("voise", at=early)


@pytest.mark.parametrize(
    ("before", "after", "changed"),
    [
        ("สวัสดีครับ", "สวัสดีค่ะ", "ค่ะ"),  # Thai
        ("ສະບາຍດີ", "ສະບາຍໃຈ", "ໃຈ"),  # Lao
        ("សួស្តីបង", "សួស្តីអូន", "អូន"),  # Khmer
        ("မင်္ဂလာပါ", "မင်္ဂလာရှိ", "ရှိ"),  # Burmese
        ("ﾊﾝｶｸｶﾅ", "ﾊﾝｶｸﾓｼﾞ", "ﾓｼﾞ"),  # halfwidth kana
        ("𠀀𠀁𠀂", "𠀀𠀁𠀃", "𠀃"),  # rare Han
        ("漢字", "漢語", "語"),
        ("one\u200btwo", "one\u200bsix", "six"),
        ("one\u0085two", "one\u0085six", "six"),
        ("one two, three", "one two; three", "; "),
        ('say "two" now', "say 'two' now", "''"),
    ],
)
def test_a_change_inside_what_has_no_blanks_owns_no_more_than_it_changed(
    before: str, after: str, changed: str
) -> None:
    with stores.open("memory:") as store, store.run("main") as run:
        variable = voice(text=before)
        declared = run.head
        variable.update({"text": after})
        found = owners(run)
        assert "".join(value for value, _ in found) == after
        new = "".join(value for value, seq in found if seq == run.head)
        assert new.replace(" ", "") == changed.strip()
        assert {seq for _, seq in found} == {declared, run.head}
