"""Concurrent programs, whatever they are made of, are run again to the same events without a call."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import eventcore as ec
from tests.replay.patterns import PATTERNS, World, is_answered, late_server, run_pattern

RECORDINGS = 20
ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with late_server() as found:
        yield found


def compare(
    place: Path, run: Callable[[ec.Store, str], dict[str, Any]], recordings: int = RECORDINGS
) -> None:
    """Record and run again, each time in a store opened anew and in a loop of its own."""
    for number in range(recordings):
        with ec.open(place / "runs.lmdb") as store:
            recorded = run(store, f"r{number}")
        with ec.open(place / "runs.lmdb") as store:
            again = run(store, f"r{number}")
        assert again == {**recorded, "calls": 0, "replayed": True}, number


@pytest.mark.parametrize("recordings", [3, pytest.param(RECORDINGS, marks=pytest.mark.campaign)])
@pytest.mark.parametrize("pattern", PATTERNS)
def test_a_program_run_again_does_the_same_without_a_call(
    pattern: str, recordings: int, tmp_path: Path, url: str
) -> None:
    compare(tmp_path, lambda store, name: run_pattern(store, name, pattern, url), recordings)


@pytest.mark.slow
@pytest.mark.parametrize("pattern", ["mixed", "task_group_that_fails", "threads"])
def test_a_fresh_process_with_other_hashes_does_the_same(pattern: str, tmp_path: Path) -> None:
    place = tmp_path / "runs.lmdb"
    with ec.open(place) as store:
        recorded = run_pattern(store, "r", pattern)
    for seed in ("0", "12345"):
        done = subprocess.run(
            [sys.executable, "-m", "tests.replay.patterns", str(place), "r", pattern, ""],
            cwd=ROOT,
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            timeout=120,
            check=True,
        )
        assert json.loads(done.stdout) == {**recorded, "calls": 0, "replayed": True}


@pytest.mark.campaign
def test_two_runs_in_one_loop_do_not_meet(tmp_path: Path) -> None:
    async def one(store: ec.Store, name: str, pattern: str) -> dict[str, Any]:
        with store.run(name, seed=3, resume=True) as run:
            again = run.replaying
            world = World()
            await PATTERNS[pattern](world)
            await run.barrier()
            return {
                # Not the head: an answer nobody waits for any more may be recorded before the barrier, or not.
                "found": [run.state.digest],
                "calls": len(world.calls),
                "replayed": is_answered(run, again),
            }

    def both(store: ec.Store, name: str) -> dict[str, Any]:
        async def main() -> list[dict[str, Any]]:
            return list(
                await asyncio.gather(one(store, f"{name}-a", "mixed"), one(store, f"{name}-b", "timeout"))
            )

        parts = asyncio.run(main())
        return {
            "found": [part["found"] for part in parts],
            "calls": sum(part["calls"] for part in parts),
            "replayed": all(part["replayed"] for part in parts),
        }

    compare(tmp_path, both)


async def spinning(turns: list[int]) -> None:
    while True:
        turns[0] += 1
        await asyncio.sleep(0)


async def ticking(turns: list[int]) -> None:
    while True:
        turns[1] += 1
        await asyncio.sleep(0.001)


@pytest.mark.campaign
@pytest.mark.parametrize("process_wide", [False, True])
def test_a_hosts_own_busy_tasks_hold_nobody_up(tmp_path: Path, process_wide: bool) -> None:
    def beside(store: ec.Store, name: str) -> dict[str, Any]:
        turns = [0, 0]

        async def main() -> dict[str, Any]:
            host = [asyncio.create_task(spinning(turns)), asyncio.create_task(ticking(turns))]
            try:
                with contextlib.ExitStack() as stack:
                    run = store.run(name, seed=3, resume=True)
                    if not process_wide:
                        stack.enter_context(run)
                    again = run.replaying
                    world = World()
                    await PATTERNS["mixed"](world)
                    await run.barrier()
                    return {
                        # Not the head: an answer nobody waits for any more may be recorded before the barrier, or not.
                        "found": [run.state.digest],
                        "calls": len(world.calls),
                        "replayed": is_answered(run, again),
                    }
            finally:
                for task in host:
                    task.cancel()
                await asyncio.gather(*host, return_exceptions=True)

        found = asyncio.run(main())
        assert turns[0] > 10
        return found

    compare(tmp_path, beside)
