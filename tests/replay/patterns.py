"""Concurrent programs of every kind, the events of which depend on the order in which their tasks go on.

Each pattern is a coroutine function of a `World`. Its calls take a random time and give a random answer, and each
task writes what it got to a variable that all of them share, chained to what stood there, so that another order of
going on is another log. `python -m tests.replay.patterns STORE RUN PATTERN` runs one, or resumes it.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import random
import sys
import threading
from collections.abc import AsyncIterator, Callable, Coroutine
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import eventcore as ec

chance = random.SystemRandom()
LATENCY = 0.006
"""Seconds a call takes at most; a commit takes about as long."""


class Board(ec.DataModel):
    """What the tasks of a pattern share."""

    chain: str = ""
    count: int = 0
    seen: list[str] = ec.Field(default_factory=list)


class World:
    """What a pattern works with.

    Attributes:
        calls: Calls that were made, by name.
        board: The shared variable.
        url: A server on 127.0.0.1 that answers late and at random.
    """

    def __init__(self, url: str = "") -> None:
        self.calls: list[str] = []
        self.url = url
        self.board = ec.Variable(data_model=Board, name="board")

        @ec.effect(name="ask")
        async def ask(name: str) -> int:
            self.calls.append(name)
            await self.late()
            if name.startswith("bad"):
                raise LookupError(f"{name} {chance.randrange(1000)}")
            return chance.randrange(1000)

        @ec.effect(name="look")
        def look(name: str) -> int:
            self.calls.append(name)
            return chance.randrange(1000)

        self.ask: Callable[[str], Coroutine[Any, Any, int]] = ask
        self.look: Callable[[str], int] = look

    async def late(self) -> None:
        """Take a random time, or none."""
        await asyncio.sleep(chance.choice([0, 0, chance.random() * LATENCY, LATENCY / 2]))

    def note(self, text: object) -> str:
        """Write to the board, after what stands there."""
        before = self.board.get("chain")
        chained = hashlib.blake2b(f"{before}|{text}".encode(), digest_size=8).hexdigest()
        self.board.update({"chain": chained, "count": self.board.get("count") + 1})
        self.board.get("seen").append(str(text)[:30])
        return chained

    async def step(self, name: str) -> str:
        """Ask, and note the answer; the request depends on the board."""
        answer = await self.ask(f"{name}/{self.board.get('chain')[:4]}")
        return self.note(f"{name}={answer}")


async def gather_five_deep(world: World) -> None:
    async def level(depth: int, name: str) -> None:
        await world.step(name)
        if depth < 5:
            await asyncio.gather(*(level(depth + 1, f"{name}{child}") for child in range(2)))
            await world.step(f"{name}-end")

    await asyncio.gather(*(level(1, name) for name in "ab"))


async def task_group(world: World) -> None:
    async with asyncio.TaskGroup() as group:
        for name in "abcdef":
            group.create_task(world.step(name))
        await world.step("body")
        async with asyncio.TaskGroup() as inner:
            for name in "uvw":
                inner.create_task(world.step(name))
    world.note("joined")


async def task_group_that_fails(world: World) -> None:
    async def fails(name: str) -> None:
        try:
            await world.step(name)
        finally:
            world.note(f"left {name}")

    for turn in range(4):
        try:
            async with asyncio.TaskGroup() as group:
                for name in ("a", f"bad{turn}", "c", "d", f"bad-{turn}"):
                    group.create_task(fails(f"{name}{turn}" if name in "acd" else name))
        except ExceptionGroup as errors:
            world.note(sorted(str(error) for error in errors.exceptions))


async def wait_for(world: World) -> None:
    async def hurried(name: str) -> None:
        for turn in range(3):
            try:
                await asyncio.wait_for(world.step(f"{name}{turn}"), LATENCY * 2)
            except TimeoutError:
                world.note(f"{name}{turn} too late")

    await asyncio.gather(*(hurried(name) for name in "abcdef"))


async def timeout(world: World) -> None:
    async def hurried(name: str) -> None:
        for turn in range(3):
            limit = ec.timeout(LATENCY / 2)
            try:
                async with limit:
                    await world.step(f"{name}{turn}")
                    await world.step(f"{name}{turn}+")
                    async with ec.timeout(LATENCY / 3):
                        await world.step(f"{name}{turn}++")
            except TimeoutError:
                world.note(f"{name}{turn} too late {limit.expired()}")

    await asyncio.gather(*(hurried(name) for name in "abcdef"))


async def first_completed_and_cancel(world: World) -> None:
    async def racer(name: str) -> str:
        try:
            await world.step(name)
            await world.step(f"{name}+")
        except asyncio.CancelledError:
            world.note(f"{name} cancelled")
            raise
        return name

    for turn in range(4):
        racers = [asyncio.create_task(racer(f"{name}{turn}"), name=f"{name}{turn}") for name in "abcde"]
        done, pending = await asyncio.wait(racers, return_when=asyncio.FIRST_COMPLETED)
        world.note(sorted(task.get_name() for task in done))
        for task in sorted(pending, key=lambda task: task.get_name()):
            task.cancel()
        await asyncio.gather(*pending, return_exceptions=True)


async def first_exception(world: World) -> None:
    for turn in range(4):
        tasks = [
            asyncio.create_task(world.step(f"{name}{turn}"), name=name) for name in ("a", "bad", "c", "bad2")
        ]
        done, pending = await asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION)
        world.note([len(done), len(pending)])
        for task in tasks:
            task.cancel()
        world.note([type(end).__name__ for end in await asyncio.gather(*tasks, return_exceptions=True)])


async def as_completed(world: World) -> None:
    for turn in range(2):
        for first in asyncio.as_completed(
            [asyncio.create_task(world.step(f"{name}{turn}")) for name in "abcdef"]
        ):
            world.note(await first)


async def exceptions(world: World) -> None:
    async def careful(name: str) -> None:
        try:
            await world.step(f"bad{name}")
        except LookupError as error:
            world.note(error)
        finally:
            await world.step(f"after {name}")

    await asyncio.gather(*(careful(name) for name in "abcdef"))
    ends = await asyncio.gather(
        *(world.step(f"bad{n}" if n % 2 else f"{n}") for n in range(8)), return_exceptions=True
    )
    world.note([str(end) for end in ends])
    with contextlib.suppress(LookupError):
        await asyncio.gather(world.step("bad"), *(world.step(f"left{n}") for n in range(4)))
    world.note("gave up on the others")
    await world.step("while they go on")


async def shield(world: World) -> None:
    async def outer(name: str) -> None:
        kept = asyncio.ensure_future(world.step(f"kept {name}"))
        try:
            await asyncio.shield(kept)
        except asyncio.CancelledError:
            world.note(f"{name} cancelled, kept goes on")
            await kept

    tasks = [asyncio.create_task(outer(name)) for name in "abcdef"]
    await world.step("meanwhile")
    for task in tasks[::2]:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def queues(world: World) -> None:
    jobs: asyncio.Queue[str | None] = asyncio.Queue(3)
    found: asyncio.PriorityQueue[str] = asyncio.PriorityQueue()

    async def producer(name: str) -> None:
        for number in range(4):
            await jobs.put(f"{name}{number} {await world.step(name)}")

    async def consumer(name: str) -> None:
        while (job := await jobs.get()) is not None:
            await found.put(f"{await world.step(name)} {job}")
            jobs.task_done()
        jobs.task_done()

    consumers = [asyncio.create_task(consumer(name)) for name in "xyz"]
    await asyncio.gather(*(producer(name) for name in "ab"))
    for _ in consumers:
        await jobs.put(None)
    await jobs.join()
    while not found.empty():
        world.note(await found.get())


async def semaphores(world: World) -> None:
    few, lock = asyncio.Semaphore(2), asyncio.Lock()
    arrived, condition = asyncio.Event(), asyncio.Condition()
    inside = 0

    async def worker(name: str) -> None:
        nonlocal inside
        async with few:
            await world.step(name)
            async with lock:
                await world.step(f"{name} alone")
        async with condition:
            inside += 1
            condition.notify_all()
            await condition.wait_for(lambda: inside >= 3)
        world.note(f"{name} past the condition")
        if name == "c":
            arrived.set()
        await arrived.wait()
        await world.step(f"{name} free")

    await asyncio.gather(*(worker(name) for name in "abcdef"))


async def barriers(world: World) -> None:
    run = world.board.run

    async def worker(name: str) -> None:
        for turn in range(3):
            await world.step(f"{name}{turn}")
            await run.barrier()
            world.note(f"{name}{turn} durable {world.look(name) >= 0}")

    await asyncio.gather(*(worker(name) for name in "abcde"))


async def generators(world: World) -> None:
    async def answers(name: str) -> AsyncIterator[str]:
        for number in range(3):
            yield await world.step(f"{name}{number}")
            await asyncio.sleep(0)

    async def reader(name: str) -> None:
        async for answer in answers(name):
            world.note(answer)
            for _ in range(int(answer[0], 16)):
                await asyncio.sleep(0)

    await asyncio.gather(*(reader(name) for name in "abcd"))


async def sleeps(world: World) -> None:
    async def sleeper(name: str) -> None:
        for turn in range(3):
            await ec.sleep(len(name) / 1000)
            world.note(f"{name}{turn}")
            await world.step(name)

    await asyncio.gather(*(sleeper(name) for name in ("a", "bb", "ccc", "dddd")))


async def clock_and_names(world: World) -> None:
    async def worker(name: str) -> None:
        world.note(f"{name} {ec.now().isoformat()} {ec.uuid()} {ec.random(name).random()}")
        await world.step(name)
        world.note(world.look(name))

    await asyncio.gather(*(worker(name) for name in "abcde"))


async def threads(world: World) -> None:
    def work(name: str) -> str:
        for turn in range(3):
            threading.Event().wait(chance.choice([0, chance.random() * LATENCY / 2]))
            with world.board.run.lock:  # what is read is what is written after
                world.note(f"{name}{turn}")
            world.look(f"{name}{turn}")
        if name == "c":
            raise LookupError(name)
        return name

    async def worker(name: str) -> None:
        try:
            world.note(await ec.to_thread(work, name))
        except LookupError as error:
            world.note(f"raised {error}")
        with world.board.run.lock:
            before = world.note(name)
        await world.ask(f"{name} {len(before)}")

    await asyncio.gather(*(worker(name) for name in "abcdefgh"), ticking(world))


async def ticking(world: World) -> None:
    for turn in range(4):
        answer = await world.ask(f"tick {turn}")
        with world.board.run.lock:
            world.note(f"tick {answer}")


async def threads_that_are_given_up(world: World) -> None:
    go_on = threading.Event()

    def work(name: str) -> None:
        world.look(name)
        go_on.wait(LATENCY)
        with world.board.run.lock:
            world.note(name)

    async def worker(name: str) -> None:
        try:
            async with ec.timeout(LATENCY / 2):
                await ec.to_thread(work, name)
        except TimeoutError:
            world.note(f"{name} given up")

    await asyncio.gather(*(worker(name) for name in "abcd"))
    await ec.sleep(LATENCY * 2)


async def mixed(world: World) -> None:
    """A little of everything, in an order that the answers decide."""
    kinds = (task_group, first_completed_and_cancel, exceptions, shield, timeout, semaphores)

    async def branch(name: str) -> None:
        for _ in range(2):
            kind = kinds[int((await world.step(name))[:2], 16) % len(kinds)]
            world.note(kind.__name__)
            await kind(world)

    await asyncio.gather(*(branch(name) for name in "ab"))


async def httpx_client(world: World) -> None:
    import httpx

    async with httpx.AsyncClient(limits=httpx.Limits(max_connections=4)) as client:

        @ec.effect(name="fetch", ignore=["client"])
        async def fetch(number: int, client: httpx.AsyncClient) -> Any:
            world.calls.append(f"fetch {number}")
            return (await client.get(f"{world.url}/{number}")).json()

        async def worker(name: int) -> None:
            for turn in range(2):
                world.note(await fetch(name * 10 + turn, client))

        await asyncio.gather(*(worker(name) for name in range(6)))


async def aiohttp_client(world: World) -> None:
    import aiohttp

    async with aiohttp.ClientSession() as session:

        @ec.effect(name="fetch", ignore=["session"])
        async def fetch(number: int, session: aiohttp.ClientSession) -> Any:
            world.calls.append(f"fetch {number}")
            async with session.get(f"{world.url}/{number}") as response:
                return json.loads(await response.text())

        async def worker(name: int) -> None:
            for turn in range(2):
                world.note(await fetch(name * 10 + turn, session))

        async with asyncio.TaskGroup() as group:
            for name in range(6):
                group.create_task(worker(name))


PATTERNS: dict[str, Callable[[World], Coroutine[Any, Any, None]]] = {
    pattern.__name__: pattern
    for pattern in (
        gather_five_deep, task_group, task_group_that_fails, wait_for, timeout, first_completed_and_cancel,
        first_exception, as_completed, exceptions, shield, queues, semaphores, barriers, generators, sleeps,
        clock_and_names, threads, threads_that_are_given_up, mixed, httpx_client, aiohttp_client,
    )
}  # fmt: skip


class _Late(BaseHTTPRequestHandler):
    """Answers every request after a random time, with a random number."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        threading.Event().wait(chance.random() * LATENCY)
        body = json.dumps([self.path, chance.randrange(1000)]).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


@contextlib.contextmanager
def late_server() -> Any:
    """A server on 127.0.0.1; its URL."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Late)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), name="server", daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def is_answered(run: ec.Run, again: Any) -> bool:
    """Whether all that happened was compared with the log by `again`, and nothing left it."""
    compared: Any = run.replaying
    return again is not None and compared is again and not again.broken


def run_pattern(store: ec.Store, name: str, pattern: str, url: str = "") -> dict[str, Any]:
    """Run a pattern in a run, resumed if it is there; what came of it."""
    with store.run(name, seed=3, resume=True) as run:
        again = run.replaying
        world = World(url)
        asyncio.run(PATTERNS[pattern](world))
        run.flush()
        return {
            "found": [run.state.digest, run.head],
            "calls": len(world.calls),
            "replayed": is_answered(run, again),
        }


def main() -> None:
    """Run one pattern and print what came of it."""
    place, name, pattern, url = sys.argv[1:]
    with ec.open(place) as store:
        print(json.dumps(run_pattern(store, name, pattern, url)))


if __name__ == "__main__":
    main()
