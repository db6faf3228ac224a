"""`wait` runs a coroutine from plain code, and says `await` where a loop is running."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import textwrap

import pytest

import eventcore as ec
from eventcore.errors import InsideRunningLoop, WrongType


async def answer() -> int:
    await asyncio.sleep(0)
    return 42


def test_wait_returns_what_the_coroutine_returns() -> None:
    assert ec.wait(answer()) == 42


def test_wait_raises_what_the_coroutine_raises() -> None:
    async def fail() -> None:
        raise KeyError("x")

    with pytest.raises(KeyError):
        ec.wait(fail())


def test_wait_inside_a_running_loop_says_await_and_leaves_no_unawaited_coroutine() -> None:
    async def inside() -> None:
        with pytest.raises(InsideRunningLoop, match="await"):
            ec.wait(answer())

    asyncio.run(inside())


def test_wait_refuses_what_cannot_be_awaited() -> None:
    with pytest.raises(WrongType, match="42"):
        ec.wait(42)  # type: ignore[arg-type]


def test_an_interrupt_lets_the_coroutine_clean_up_and_comes_out_as_keyboard_interrupt() -> None:
    code = textwrap.dedent("""
        import asyncio, os, signal
        import eventcore as ec

        async def work():
            asyncio.get_running_loop().call_soon(os.kill, os.getpid(), signal.SIGINT)
            try:
                await asyncio.Event().wait()
            finally:
                print("cleaned up")

        try:
            ec.wait(work())
        except KeyboardInterrupt:
            print("interrupted")
    """)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split("\n")[:2] == ["cleaned up", "interrupted"]
