"""The half of the conformance suite about what a store holds: runs, blocks, writers, snapshots, forks."""

# ruff: noqa: D102 - the name of a test is its sentence

from __future__ import annotations

import threading
import time

import pytest

from eventcore.errors import ConcurrentAppend, DuplicateName, InvalidValue, NotFound
from eventcore.history.backend import Backend, Block, Posting, StoredSnapshot
from eventcore.testing.backend_base import ALL, BackendUnderTest, block, everything


class ContentsConformance(BackendUnderTest):
    """What is written is read back, whole and in order, by the one writer that may write."""

    # -- runs ----------------------------------------------------------------------------------

    def test_a_new_store_has_an_identity_and_no_runs(self, backend: Backend) -> None:
        assert backend.runs() == []
        assert len(backend.log_id) >= 16
        int(backend.log_id, 16)
        assert backend.url

    def test_a_new_run_is_empty_and_held_by_its_creator(self, backend: Backend) -> None:
        row = backend.create_run("a", meta=b"\x00\xffmeta", writer="me")
        assert (row.name, row.parent, row.forked_at, row.head) == ("a", None, 0, 0)
        assert (row.epoch, row.writer, row.meta) == (1, "me", b"\x00\xffmeta")
        assert backend.run("a") == row
        assert backend.run(row.id) == row
        assert backend.runs() == [row]

    def test_runs_are_listed_oldest_first(self, backend: Backend) -> None:
        names = ["c", "a", "b", "Zürich", "名前", "a b/c:d", "x" * 600]
        ids = [backend.create_run(name).id for name in names]
        assert [row.name for row in backend.runs()] == names
        assert ids == sorted(set(ids))
        assert [backend.run(name) for name in names] == backend.runs()

    def test_a_name_is_taken_once(self, backend: Backend) -> None:
        backend.create_run("a")
        with pytest.raises(DuplicateName, match="'a'"):
            backend.create_run("a")
        assert len(backend.runs()) == 1

    def test_an_unusable_name_is_refused(self, backend: Backend) -> None:
        for name in ("", "a\0b", "\ud800", "x" * 5000):
            with pytest.raises(InvalidValue):
                backend.create_run(name)
        assert backend.runs() == []

    def test_a_run_that_is_not_there_is_none(self, backend: Backend) -> None:
        for key in ("nothing", "", "\ud800", 1, 0, -1, 2**40, 2**70):
            assert backend.run(key) is None

    def test_everything_asked_of_a_missing_run_is_not_found(self, backend: Backend) -> None:
        for run in (7, -1, 2**40):
            for ask in (
                lambda run=run: backend.head(run),
                lambda run=run: list(backend.blocks(run, 1, 9)),
                lambda run=run: backend.snapshot(run, 9),
                lambda run=run: backend.snapshot_seqs(run),
                lambda run=run: backend.drop_snapshot(run, 9),
                lambda run=run: backend.postings(run, 1),
                lambda run=run: backend.indexed_to(run),
                lambda run=run: backend.claim(run, "me"),
                lambda run=run: backend.append(run, 0, 1, [block(1, 1)]),
                lambda run=run: backend.delete_run(run),
            ):
                with pytest.raises(NotFound):
                    ask()

    # -- appending and reading --------------------------------------------------------------------

    def test_what_is_appended_is_read_back_byte_for_byte(self, backend: Backend) -> None:
        run = backend.create_run("a").id
        written = [
            block(1, 1, 0),
            block(2, 100, 3),
            Block(101, 101, bytes(range(256))),
            block(102, 357, 70_000),
        ]
        backend.append(run, 0, 1, written[:1])
        backend.append(run, 1, 1, written[1:3])
        backend.append(run, 101, 1, written[3:])
        assert list(backend.blocks(run, 1, ALL)) == written
        assert backend.head(run) == 357
        row = backend.run(run)
        assert row is not None
        assert row.head == 357

    def test_reading_a_range_gives_the_blocks_that_overlap_it(self, backend: Backend) -> None:
        run = backend.create_run("a").id
        written = [block(i * 10 + 1, i * 10 + 10) for i in range(9)]
        backend.append(run, 0, 1, written)
        for first in range(-1, 93, 3):
            for last in range(-1, 93, 3):
                expected = [
                    b for b in written if b.last_seq >= first and b.first_seq <= last and first <= last
                ]
                assert list(backend.blocks(run, first, last)) == expected

    def test_many_blocks_are_read_in_order(self, backend: Backend) -> None:
        run = backend.create_run("a").id
        written = [block(i + 1, i + 1, 10) for i in range(500)]
        backend.append(run, 0, 1, written)
        assert list(backend.blocks(run, 1, ALL)) == written
        assert list(backend.blocks(run, 65, 65)) == [written[64]]

    def test_large_blocks_are_read_in_order(self, backend: Backend) -> None:
        run = backend.create_run("a").id
        written = [block(i + 1, i + 1, 1_500_000) for i in range(7)]
        for each in written:
            backend.append(run, each.first_seq - 1, 1, [each])
        assert list(backend.blocks(run, 1, ALL)) == written

    def test_reading_and_appending_may_be_interleaved(self, backend: Backend) -> None:
        run = backend.create_run("a").id
        backend.append(run, 0, 1, [block(i, i) for i in range(1, 201)])
        seen: list[int] = []
        head = 200
        for each in backend.blocks(run, 1, 200):
            seen.append(each.first_seq)
            if each.first_seq % 20 == 0:
                backend.append(run, head, 1, [block(head + 1, head + 1)])
                head += 1
        assert seen == list(range(1, 201))

    def test_an_abandoned_reading_holds_nothing_up(self, backend: Backend) -> None:
        run = backend.create_run("a").id
        backend.append(run, 0, 1, [block(i, i) for i in range(1, 301)])
        left = [backend.blocks(run, 1, ALL) for _ in range(50)]
        assert [next(each).first_seq for each in left] == [1] * 50
        backend.append(run, 300, 1, [block(301, 301)])
        del left
        assert backend.head(run) == 301

    def test_runs_do_not_see_each_other(self, backend: Backend) -> None:
        runs = [backend.create_run(name).id for name in "abc"]
        for seq in range(1, 6):
            for run in runs:
                backend.append(
                    run,
                    seq - 1,
                    1,
                    [block(seq, seq, run + 10)],
                    StoredSnapshot(seq, b"%d" % run),
                    [Posting(1, seq, b"")],
                )
        for run in runs:
            assert list(backend.blocks(run, 1, ALL)) == [block(seq, seq, run + 10) for seq in range(1, 6)]
            assert backend.snapshot(run, ALL) == StoredSnapshot(5, b"%d" % run)
            assert backend.snapshot_seqs(run) == [1, 2, 3, 4, 5]
            assert len(backend.postings(run, 1)) == 5

    def test_blocks_with_a_gap_or_an_overlap_are_refused_whole(self, backend: Backend) -> None:
        run = backend.create_run("a").id
        backend.append(run, 0, 1, [block(1, 10)])
        for bad in (
            [block(12, 13)],
            [block(10, 11)],
            [block(11, 12), block(14, 15)],
            [block(11, 12), block(12, 13)],
            [Block(11, 10, b"")],
        ):
            with pytest.raises(InvalidValue):
                backend.append(run, 10, 1, bad)
        assert list(backend.blocks(run, 1, ALL)) == [block(1, 10)]

    def test_numbers_out_of_range_are_refused(self, backend: Backend) -> None:
        run = backend.create_run("a").id
        backend.append(run, 0, 1, [block(1, 10)])
        with pytest.raises(InvalidValue):
            backend.append(run, 10, 1, [], StoredSnapshot(11, b""))
        with pytest.raises(InvalidValue):
            backend.append(run, 10, 1, [], StoredSnapshot(-1, b""))
        with pytest.raises(InvalidValue):
            backend.append(run, 10, 1, [], None, [Posting(-1, 5, b"")])
        with pytest.raises(InvalidValue):
            backend.append(run, 10, 1, [], None, [Posting(2**32, 5, b"")])
        with pytest.raises(InvalidValue):
            backend.append(run, 10, 1, [], None, [Posting(1, 11, b"")])
        assert backend.snapshot_seqs(run) == []
        assert backend.indexed_to(run) == 0

    # -- one writer per run ------------------------------------------------------------------------

    def test_an_append_at_another_head_is_refused_and_says_what_it_found(self, backend: Backend) -> None:
        run = backend.create_run("a", writer="writer one").id
        backend.append(run, 0, 1, [block(1, 5)])
        for expected in (0, 4, 6):
            with pytest.raises(ConcurrentAppend, match="writer one") as caught:
                backend.append(run, expected, 1, [block(expected + 1, expected + 1)], StoredSnapshot(1, b"x"))
            assert (caught.value.expected, caught.value.actual) == (expected, 5)
        assert list(backend.blocks(run, 1, ALL)) == [block(1, 5)]
        assert backend.snapshot_seqs(run) == []

    def test_a_claim_shuts_the_earlier_writer_out_and_both_are_named(self, backend: Backend) -> None:
        row = backend.create_run("a", writer="writer one")
        newer = backend.claim(row.id, "writer two", expected_epoch=1)
        assert (newer.epoch, newer.writer) == (2, "writer two")
        with pytest.raises(ConcurrentAppend, match=r"writer one.*writer two"):
            backend.append(row.id, 0, 1, [block(1, 1)])
        backend.append(row.id, 0, 2, [block(1, 1)])
        assert backend.head(row.id) == 1

    def test_a_claim_of_another_epoch_is_refused(self, backend: Backend) -> None:
        row = backend.create_run("a", writer="writer one")
        backend.claim(row.id, "writer two")
        with pytest.raises(ConcurrentAppend, match=r"writer three.*writer two"):
            backend.claim(row.id, "writer three", expected_epoch=1)
        found = backend.run("a")
        assert found is not None
        assert (found.epoch, found.writer) == (2, "writer two")

    def test_a_release_keeps_the_epoch_and_frees_the_name(self, backend: Backend) -> None:
        row = backend.create_run("a", writer="writer one")
        released = backend.claim(row.id, "", expected_epoch=1)
        assert (released.epoch, released.writer) == (1, "")
        assert backend.run("a") == released
        assert backend.claim(row.id, "writer two", expected_epoch=1).epoch == 2

    def test_of_racing_threads_exactly_one_wins_each_append(self, backend: Backend) -> None:
        run = backend.create_run("a", writer="all").id
        outcomes: list[list[bool]] = [[], [], [], []]

        def race(mine: list[bool], size: int) -> None:
            for seq in range(1, 26):
                try:
                    backend.append(run, seq - 1, 1, [block(seq, seq, size)])
                    mine.append(True)
                except ConcurrentAppend:
                    mine.append(False)
                    until = time.monotonic() + 20
                    while backend.head(run) < seq and time.monotonic() < until:
                        pass

        threads = [threading.Thread(target=race, args=(mine, 20 + i)) for i, mine in enumerate(outcomes)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert [sum(won) for won in zip(*outcomes, strict=True)] == [1] * 25
        written = list(backend.blocks(run, 1, ALL))
        assert [each.first_seq for each in written] == list(range(1, 26))
        for each in written:
            winner = next(i for i, mine in enumerate(outcomes) if mine[each.first_seq - 1])
            assert each == block(each.first_seq, each.first_seq, 20 + winner)

    def test_threads_read_while_one_writes(self, backend: Backend) -> None:
        run = backend.create_run("a").id
        errors: list[BaseException] = []
        done = threading.Event()

        def follow() -> None:
            try:
                while True:
                    last = done.is_set()
                    seqs = [each.first_seq for each in backend.blocks(run, 1, ALL)]
                    assert seqs == list(range(1, len(seqs) + 1))
                    if last:
                        assert len(seqs) == 100
                        return
            except BaseException as error:
                errors.append(error)

        threads = [threading.Thread(target=follow) for _ in range(3)]
        for thread in threads:
            thread.start()
        for seq in range(1, 101):
            backend.append(run, seq - 1, 1, [block(seq, seq, 300)])
        done.set()
        for thread in threads:
            thread.join()
        assert errors == []

    # -- snapshots and index -----------------------------------------------------------------------

    def test_the_newest_snapshot_before_a_seq_is_found(self, backend: Backend) -> None:
        run = backend.create_run("a").id
        backend.append(run, 0, 1, [block(1, 10)], StoredSnapshot(10, b"ten"))
        backend.append(run, 10, 1, [block(11, 30)], StoredSnapshot(20, b"twenty" * 9999))
        backend.append(run, 30, 1, [], StoredSnapshot(30, b""))
        assert backend.snapshot_seqs(run) == [10, 20, 30]
        expected = {-1: None, 0: None, 9: None, 10: 10, 19: 10, 20: 20, 29: 20, 30: 30, ALL: 30, 2**70: 30}
        for seq, at in expected.items():
            found = backend.snapshot(run, seq)
            assert (found.seq if found is not None else None) == at
        assert backend.snapshot(run, 25) == StoredSnapshot(20, b"twenty" * 9999)

    def test_a_snapshot_may_be_replaced_and_dropped(self, backend: Backend) -> None:
        run = backend.create_run("a").id
        backend.append(run, 0, 1, [block(1, 10)], StoredSnapshot(10, b"first"))
        backend.append(run, 10, 1, [], StoredSnapshot(10, b"second"))
        assert backend.snapshot(run, 10) == StoredSnapshot(10, b"second")
        backend.append(run, 10, 1, [], StoredSnapshot(0, b"zero"))
        backend.drop_snapshot(run, 10)
        backend.drop_snapshot(run, 10)
        backend.drop_snapshot(run, 2**70)
        assert backend.snapshot(run, 10) == StoredSnapshot(0, b"zero")
        assert list(backend.blocks(run, 1, ALL)) == [block(1, 10)]

    def test_postings_come_by_variable_in_order(self, backend: Backend) -> None:
        run = backend.create_run("a").id
        assert backend.indexed_to(run) == 0
        assert backend.postings(run, 3) == []
        backend.append(run, 0, 1, [block(1, 300)], None, [Posting(3, 256, b"b"), Posting(4, 250, b"x")])
        backend.append(
            run, 300, 1, [block(301, 302)], None, [Posting(3, 300, b"c"), Posting(2**32 - 1, 299, b"z")]
        )
        assert backend.postings(run, 3) == [Posting(3, 256, b"b"), Posting(3, 300, b"c")]
        assert backend.postings(run, 4) == [Posting(4, 250, b"x")]
        assert backend.postings(run, 2**32 - 1) == [Posting(2**32 - 1, 299, b"z")]
        assert backend.postings(run, -1) == backend.postings(run, 2**40) == []
        assert backend.indexed_to(run) == 300
        backend.append(run, 302, 1, [], None, [Posting(3, 300, b"replaced")])
        assert backend.postings(run, 3)[1] == Posting(3, 300, b"replaced")

    # -- forks -------------------------------------------------------------------------------------

    def test_a_fork_begins_after_its_parents_seq_and_shares_nothing_of_its_own(
        self, backend: Backend
    ) -> None:
        parent = backend.create_run("parent").id
        backend.append(parent, 0, 1, [block(1, 10)], StoredSnapshot(10, b"state"))
        fork = backend.create_run("fork", parent=parent, forked_at=7, meta=b"m")
        assert (fork.parent, fork.forked_at, fork.head) == (parent, 7, 7)
        assert backend.head(fork.id) == 7
        assert list(backend.blocks(fork.id, 1, ALL)) == []
        assert backend.snapshot(fork.id, ALL) is None
        backend.append(fork.id, 7, 1, [block(8, 9)], StoredSnapshot(7, b"own"))
        assert backend.head(fork.id) == 9
        assert list(backend.blocks(fork.id, 1, ALL)) == [block(8, 9)]
        assert list(backend.blocks(parent, 1, ALL)) == [block(1, 10)]
        grandchild = backend.create_run("grandchild", parent=fork.id, forked_at=9)
        assert backend.run("grandchild") == grandchild

    def test_a_fork_needs_a_parent_that_reaches_its_seq(self, backend: Backend) -> None:
        parent = backend.create_run("parent").id
        backend.append(parent, 0, 1, [block(1, 10)])
        with pytest.raises(NotFound):
            backend.create_run("fork", parent=parent, forked_at=11)
        with pytest.raises(NotFound):
            backend.create_run("fork", parent=parent + 100, forked_at=1)
        with pytest.raises(InvalidValue):
            backend.create_run("fork", parent=parent, forked_at=-1)
        with pytest.raises(InvalidValue):
            backend.create_run("fork", forked_at=3)
        assert backend.create_run("at the start", parent=parent, forked_at=0).head == 0
        assert len(backend.runs()) == 2

    # -- deleting ----------------------------------------------------------------------------------

    def test_a_deleted_run_is_gone_with_all_it_owned(self, backend: Backend) -> None:
        kept = backend.create_run("kept")
        row = backend.create_run("a")
        for run in (kept.id, row.id):
            backend.append(
                run, 0, 1, [block(1, 1), block(2, 2)], StoredSnapshot(1, b"s"), [Posting(1, 1, b"p")]
            )
        before = everything(backend, kept)
        backend.delete_run(row.id)
        assert backend.run("a") is None
        assert backend.run(row.id) is None
        with pytest.raises(NotFound):
            backend.append(row.id, 2, 1, [block(3, 3)])
        with pytest.raises(NotFound):
            backend.delete_run(row.id)
        assert everything(backend, kept) == before
        again = backend.create_run("a")
        assert again.id != row.id
        assert everything(backend, again) == ([], [], [], 0)
        assert list(backend.problems()) == []

    def test_a_run_others_read_through_is_kept(self, backend: Backend) -> None:
        parent = backend.create_run("parent").id
        backend.append(parent, 0, 1, [block(1, 10)])
        fork = backend.create_run("the fork", parent=parent, forked_at=7).id
        with pytest.raises(InvalidValue, match="the fork"):
            backend.delete_run(parent)
        assert list(backend.blocks(parent, 1, ALL)) == [block(1, 10)]
        backend.delete_run(fork)
        backend.delete_run(parent)
        assert backend.runs() == []

    def test_reading_a_run_deleted_meanwhile_does_not_end_as_if_complete(self, backend: Backend) -> None:
        run = backend.create_run("a").id
        backend.append(run, 0, 1, [block(i, i) for i in range(1, 1001)])
        reading = backend.blocks(run, 1, ALL)
        seen = [next(reading)]
        backend.delete_run(run)
        try:
            seen.extend(reading)
        except NotFound:
            return
        assert len(seen) == 1000
