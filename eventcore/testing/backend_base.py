"""What the tests of a storage backend stand on: how a store is opened, and blocks that name themselves."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from eventcore.history.backend import Backend, Block, Posting, RunRow

ALL = 2**62
"""Beyond any head."""


def block(first: int, last: int, size: int = 20) -> Block:
    """Make a block whose bytes say which one it is."""
    text = f"{first}-{last};".encode()
    return Block(first, last, (text * (size // len(text) + 1))[:size])


class BackendUnderTest:
    """Gives the tests a store to work on.

    Attributes:
        can_open_read_only: `open(place, read_only=True)` opens an existing store for reading.
        can_open_twice: A place may be opened again while it is open.
    """

    can_open_read_only: bool = True
    can_open_twice: bool = True

    def open(self, place: str, **options: object) -> Backend:
        """Open the backend at `place`, creating the store if there is none."""
        raise TypeError(
            "cannot run the conformance suite: define `open(self, place, **options)` in the subclass"
        )

    def place(self, tmp_path: Path) -> str:
        """Return where the tests may keep a store; nothing is there yet."""
        return str(tmp_path / "store")

    @pytest.fixture
    def backend(self, tmp_path: Path) -> Iterator[Backend]:
        """Open an empty store and close it afterwards."""
        backend = self.open(self.place(tmp_path))
        yield backend
        backend.close()


def everything(backend: Backend, row: RunRow) -> tuple[list[Block], list[int], list[Posting], int]:
    """Read all a run owns, of its index only variable 1."""
    run = row.id
    return (
        list(backend.blocks(run, 1, ALL)),
        backend.snapshot_seqs(run),
        backend.postings(run, 1),
        backend.indexed_to(run),
    )
