"""The half of the conformance suite about a store's life: closing, opening again, copying, describing itself."""

# ruff: noqa: D102 - the name of a test is its sentence

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from eventcore.errors import DuplicateName, NotFound, StoreClosed, StoreReadOnly
from eventcore.history.backend import Backend, Bounded, Posting, StoredSnapshot, SupportsBackup
from eventcore.testing.backend_base import ALL, BackendUnderTest, block, everything


class LifecycleConformance(BackendUnderTest):
    """Closing is final, opening again finds everything, optional abilities do what they say."""

    # -- closing and opening -----------------------------------------------------------------------

    def test_a_closed_backend_refuses_everything_and_may_be_closed_again(self, tmp_path: Path) -> None:
        backend = self.open(self.place(tmp_path))
        run = backend.create_run("a").id
        backend.append(run, 0, 1, [block(i, i) for i in range(1, 300)])
        reading = backend.blocks(run, 1, ALL)
        next(reading)
        backend.close()
        backend.close()
        for use in (
            backend.runs,
            lambda: backend.run("a"),
            lambda: backend.head(run),
            lambda: backend.create_run("b"),
            lambda: backend.claim(run, "me"),
            lambda: backend.append(run, 299, 1, [block(300, 300)]),
            lambda: list(backend.blocks(run, 1, 9)),
            lambda: backend.snapshot(run, 1),
            lambda: backend.snapshot_seqs(run),
            lambda: backend.drop_snapshot(run, 1),
            lambda: backend.postings(run, 1),
            lambda: backend.indexed_to(run),
            lambda: backend.delete_run(run),
            lambda: list(reading),
        ):
            with pytest.raises(StoreClosed):
                use()

    def test_what_was_appended_is_there_after_reopening(self, tmp_path: Path) -> None:
        place = self.place(tmp_path)
        backend = self.open(place)
        if not backend.durable:
            backend.close()
            pytest.skip("the backend says that it is not durable")
        row = backend.create_run("a", meta=b"meta", writer="me")
        written = [block(1, 256, 20_000), block(257, 300)]
        backend.append(row.id, 0, 1, written, StoredSnapshot(300, b"s"), [Posting(1, 300, b"p")])
        fork = backend.create_run("fork", parent=row.id, forked_at=5)
        log_id = backend.log_id
        backend.close()
        backend = self.open(place)
        assert backend.log_id == log_id
        found = backend.run("a")
        assert found is not None
        assert (found.id, found.head, found.epoch, found.writer, found.meta) == (
            row.id,
            300,
            1,
            "me",
            b"meta",
        )
        assert found.created == row.created
        assert backend.run("fork") == fork
        assert everything(backend, row) == (written, [300], [Posting(1, 300, b"p")], 300)
        backend.append(row.id, 300, 1, [block(301, 301)])
        assert backend.create_run("b").id > fork.id
        assert list(backend.problems()) == []
        backend.close()

    def test_a_number_is_not_given_again_after_reopening(self, tmp_path: Path) -> None:
        place = self.place(tmp_path)
        backend = self.open(place)
        if not backend.durable:
            backend.close()
            pytest.skip("the backend says that it is not durable")
        first = backend.create_run("a").id
        backend.delete_run(first)
        backend.close()
        backend = self.open(place)
        assert backend.create_run("a").id != first
        backend.close()

    def test_a_store_opened_for_reading_refuses_writes(self, tmp_path: Path) -> None:
        if not self.can_open_read_only:
            pytest.skip("the backend cannot be opened for reading only")
        place = self.place(tmp_path)
        writer = self.open(place)
        run = writer.create_run("a").id
        writer.append(run, 0, 1, [block(1, 10)], StoredSnapshot(10, b"s"))
        reader = self.open(place, read_only=True)
        assert reader.read_only
        assert list(reader.blocks(run, 1, ALL)) == [block(1, 10)]
        for write in (
            lambda: reader.create_run("b"),
            lambda: reader.claim(run, "me"),
            lambda: reader.append(run, 10, 1, [block(11, 11)]),
            lambda: reader.drop_snapshot(run, 10),
            lambda: reader.delete_run(run),
        ):
            with pytest.raises(StoreReadOnly):
                write()
        writer.append(run, 10, 1, [block(11, 11)])
        assert reader.head(run) == 11
        writer.close()
        assert reader.head(run) == 11
        reader.close()

    def test_a_place_opened_twice_is_one_store(self, tmp_path: Path) -> None:
        if not self.can_open_twice:
            pytest.skip("the backend cannot be opened twice")
        place = self.place(tmp_path)
        one, two = self.open(place), self.open(place)
        run = one.create_run("a").id
        two.append(run, 0, 1, [block(1, 3)])
        assert one.head(run) == 3
        one.close()
        two.append(run, 3, 1, [block(4, 4)])
        assert two.log_id == one.log_id
        assert len(list(two.blocks(run, 1, ALL))) == 2
        two.close()

    # -- optional abilities --------------------------------------------------------------------------

    def test_a_backup_is_a_store_of_its_own(self, backend: Backend, tmp_path: Path) -> None:
        if not isinstance(backend, SupportsBackup):
            pytest.skip("the backend does not copy itself")
        run = backend.create_run("a", writer="me").id
        written = [block(i, i, 3000) for i in range(1, 101)]
        backend.append(run, 0, 1, written, StoredSnapshot(100, b"s"), [Posting(1, 100, b"p")])
        target = str(tmp_path / "copies" / "backup")
        backend.backup(target)
        backend.append(run, 100, 1, [block(101, 101)])
        with pytest.raises(DuplicateName):
            backend.backup(target)
        copy = self.open(target)
        assert copy.log_id == backend.log_id
        assert list(copy.blocks(run, 1, ALL)) == written
        assert copy.snapshot(run, ALL) == StoredSnapshot(100, b"s")
        copy.append(run, 100, 1, [block(101, 105)])
        assert backend.head(run) == 101
        assert list(copy.problems()) == []
        copy.close()

    def test_a_bounded_backend_says_where_it_begins(self, backend: Backend) -> None:
        if not isinstance(backend, Bounded):
            pytest.skip("the backend keeps everything")
        run = backend.create_run("a").id
        assert backend.first_seq(run) == 1
        backend.append(run, 0, 1, [block(1, 10)])
        assert backend.first_seq(run) == 1
        with pytest.raises(NotFound):
            backend.first_seq(run + 100)

    def test_a_sound_store_has_no_problems_and_describes_itself_in_json(self, backend: Backend) -> None:
        run = backend.create_run("a").id
        for seq in range(1, 80):
            backend.append(
                run, seq - 1, 1, [block(seq, seq)], StoredSnapshot(seq, b"s"), [Posting(seq % 3, seq, b"p")]
            )
        fork = backend.create_run("fork", parent=run, forked_at=30).id
        backend.append(fork, 30, 1, [block(31, 40)])
        assert list(backend.problems()) == []
        facts = backend.facts()
        assert msgspec.json.decode(msgspec.json.encode(facts)) == facts
        assert isinstance(facts.get("warnings", []), list)
