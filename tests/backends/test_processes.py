"""Several processes on one store: exactly one writer wins, readers miss nothing, a kill loses nothing acknowledged."""

from __future__ import annotations

import random
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from eventcore.backends.lmdb import LmdbBackend
from eventcore.history.backend import Block
from tests.backends.child import ALL, opened, payload
from tests.backends.processes import CHILD, Child

SCHEMES = ["lmdb", "sqlite"]


def test_of_two_processes_writing_one_run_exactly_one_wins_each_seq(tmp_path: Path) -> None:
    """I10."""
    url = f"lmdb:{tmp_path / 'store'}"
    store = opened(url)
    run = store.create_run("a", writer="both").id
    with Child("race", url, 60) as one, Child("race", url, 60) as two:
        assert one.read() == two.read() == "ready"
        one.go()
        two.go()
        won = [
            {int(line.split()[1]) for line in child.rest() if line.startswith("won")} for child in (one, two)
        ]
    assert won[0] | won[1] == set(range(1, 61))
    assert won[0] & won[1] == set()
    pids = [b"%d" % one.process.pid, b"%d" % two.process.pid]
    for block in store.blocks(run, 1, ALL):
        assert block.first_seq in won[pids.index(block.data)]
    assert store.head(run) == 60
    store.close()


@pytest.mark.parametrize("scheme", SCHEMES)
def test_two_processes_read_everything_while_one_writes(tmp_path: Path, scheme: str) -> None:
    url = f"{scheme}:{tmp_path / 'store'}"
    store = opened(url)
    run = store.create_run("a", writer="me").id
    with Child("follow", url, 300) as one, Child("follow", url, 300) as two:
        assert one.read() == two.read() == "ready"
        for seq in range(1, 301):
            store.append(run, seq - 1, 1, [Block(seq, seq, payload(seq))])
        assert one.read() == two.read() == "complete"
    store.close()


@pytest.mark.slow
@pytest.mark.parametrize("scheme", SCHEMES)
def test_a_kill_loses_nothing_acknowledged(tmp_path: Path, scheme: str) -> None:
    url = f"{scheme}:{tmp_path / 'store'}"
    rng = random.Random(11)
    for _ in range(6):
        with Child("append_for_ever", url) as child:
            acknowledged = [int(child.read()) for _ in range(rng.randrange(1, 60))]
            child.kill()
        store = opened(url)
        row = store.run("a")
        assert row is not None
        assert row.head >= acknowledged[-1]
        read = list(store.blocks(row.id, 1, ALL))
        assert [block.first_seq for block in read] == list(range(1, row.head + 1))
        for block in read:
            size = 300 + ((block.first_seq - 1) * 7919) % 9000
            assert block.data == payload(block.first_seq, size)
        assert list(store.problems()) == []
        store.close()


@pytest.mark.parametrize("scheme", SCHEMES)
def test_a_kill_while_a_store_is_made_leaves_a_store_or_nothing(tmp_path: Path, scheme: str) -> None:
    for number in range(8):
        place = tmp_path / f"store{number}"
        with Child("append_for_ever", f"{scheme}:{place}") as child:
            # From before the interpreter is up until after the first commit.
            try:
                child.process.wait(timeout=0.05 + number * 0.02)
            except subprocess.TimeoutExpired:
                child.kill()
        store = opened(f"{scheme}:{place}")
        run = store.run("a")
        if run is not None:
            assert len(list(store.blocks(run.id, 1, ALL))) == run.head
        assert list(store.problems()) == []
        store.close()


def test_two_containers_whose_processes_have_the_same_number_are_told_why(tmp_path: Path) -> None:
    """In a namespace of their own both are process 1, and LMDB then cannot tell them apart."""
    if shutil.which("unshare") is None:
        pytest.skip("there is no unshare command")
    path = tmp_path / "store"
    LmdbBackend.open(str(path)).close()
    command = ["unshare", "--pid", "--fork", "--mount-proc", sys.executable, str(CHILD)]

    def container(name: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [*command, name, f"lmdb:{path}"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    with container("hold") as first:
        assert first.stdout is not None
        if first.stdout.readline() != "open\n":
            pytest.skip("namespaces are not allowed here")
        with container("try_to_write") as second:
            out, _ = second.communicate()
        first.communicate("\n")
    assert out.startswith("StoreBusy")
    assert "container" in out
