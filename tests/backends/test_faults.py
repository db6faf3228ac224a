"""Each write and sync of a store fails in turn, in a real process: what was acknowledged is there afterwards."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from eventcore.testing.interposed import FAULTS, compiled
from tests.backends.processes import said


@pytest.fixture(scope="session")
def shim(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The library that makes calls fail, compiled once."""
    library = compiled(FAULTS, tmp_path_factory.mktemp("shim"))
    if library is None:
        pytest.skip("there is no C compiler that compiles the shim")
    return str(library)


@pytest.mark.slow
@pytest.mark.campaign
@pytest.mark.parametrize("code", [errno.EIO, errno.ENOSPC, 0], ids=["EIO", "ENOSPC", "short"])
@pytest.mark.parametrize("scheme", ["lmdb", "sqlite"])
def test_nothing_acknowledged_is_lost_whichever_call_fails(
    shim: str, tmp_path: Path, scheme: str, code: int
) -> None:
    for call in range(1, 42, 5):
        store = tmp_path / f"store{call}"
        lines = said(
            "survive",
            f"{scheme}:{store}",
            LD_PRELOAD=shim,
            FAULT_PATH=str(store),
            FAULT_CALL=str(call),
            FAULT_ERRNO=str(code),
        )
        assert lines[-1].startswith("complete after"), (call, lines)
        # One failed call is at most one failed operation.
        assert int(lines[-1].split()[2]) <= 1, (call, lines)


@pytest.mark.slow
@pytest.mark.parametrize("scheme", ["lmdb", "sqlite"])
def test_a_disk_that_fails_for_a_while_loses_nothing(shim: str, tmp_path: Path, scheme: str) -> None:
    for call in (12, 17, 23):
        store = tmp_path / f"store{call}"
        lines = said(
            "survive",
            f"{scheme}:{store}",
            LD_PRELOAD=shim,
            FAULT_PATH=str(store),
            FAULT_CALL=str(call),
            FAULT_TIMES="5",
            FAULT_ERRNO=str(errno.EIO),
        )
        assert lines[-1].startswith("complete after"), (call, lines)
