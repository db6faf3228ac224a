"""The shipped conformance suite, bound to the three shipped backends and to their wrappers."""

from __future__ import annotations

from typing import Any

from eventcore.backends.lmdb import LmdbBackend
from eventcore.backends.memory import MemoryBackend
from eventcore.backends.sqlite import SqliteBackend
from eventcore.backends.wrappers import Faulty
from eventcore.history.backend import Backend
from eventcore.testing.backends import BackendConformance


class TestMemory(BackendConformance):
    def open(self, place: str, **options: Any) -> Backend:
        return MemoryBackend.open(place, **options)


class TestLmdb(BackendConformance):
    def open(self, place: str, **options: Any) -> Backend:
        return LmdbBackend.open(place, **options)


class TestSqlite(BackendConformance):
    def open(self, place: str, **options: Any) -> Backend:
        return SqliteBackend.open(place, **options)


class TestAWrapperWithoutFaults(BackendConformance):
    def open(self, place: str, **options: Any) -> Backend:
        return Faulty(MemoryBackend.open(place, **options))
