"""Random histories on each backend agree with a model of plain dicts (`eventcore.testing.backend_machine`)."""

from __future__ import annotations

from hypothesis import settings

from eventcore.backends.lmdb import LmdbBackend
from eventcore.backends.memory import MemoryBackend
from eventcore.backends.sqlite import SqliteBackend
from eventcore.history.backend import Backend
from eventcore.testing.backend_machine import BackendMachine


class MemoryMachine(BackendMachine):
    def open(self, place: str) -> Backend:
        return MemoryBackend.open("")


class LmdbMachine(BackendMachine):
    def open(self, place: str) -> Backend:
        return LmdbBackend.open(place, map_size=2**17)


class SqliteMachine(BackendMachine):
    def open(self, place: str) -> Backend:
        return SqliteBackend.open(place)


TestMemoryMachine = MemoryMachine.TestCase
TestMemoryMachine.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)

# The map begins at 128 KB, so that it is grown many times on the way.
TestLmdbMachine = LmdbMachine.TestCase
TestLmdbMachine.settings = settings(max_examples=25, stateful_step_count=40, deadline=None)

TestSqliteMachine = SqliteMachine.TestCase
TestSqliteMachine.settings = settings(max_examples=25, stateful_step_count=40, deadline=None)
