"""What names a store, and what is said of a name that cannot."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from eventcore.errors import InvalidValue, NotFound, StorageError
from eventcore.history import store as stores


@pytest.mark.parametrize("url", ["", "a\0b", 3, b"runs.lmdb", ["runs.lmdb"], object()])
def test_what_is_no_path_is_refused(url: Any) -> None:
    with pytest.raises(InvalidValue, match=r"cannot open a store at .*pass a path such as 'runs.lmdb'"):
        stores.open(url)


def test_an_unknown_scheme_is_refused_naming_the_known_ones() -> None:
    with pytest.raises(InvalidValue, match=r"scheme 'carrier\+pigeon': known are lmdb:, memory:, sqlite:"):
        stores.open("carrier+pigeon:loft")


def test_a_file_given_as_a_path_is_refused_telling_how_sqlite_is_opened(tmp_path: Path) -> None:
    path = tmp_path / "runs.of.mine"
    with stores.open(f"sqlite:{path}") as store:
        store.run("kept").flush()
        with pytest.raises(StorageError, match=rf"it is a file.*opened as sqlite:{path}"):
            stores.open(path)
    with stores.open(f"sqlite:{path}") as store:
        assert store.runs() == ["kept"]


@pytest.mark.parametrize("name", ["runs.sqlite", "runs.sqlite3", "runs.db", "RUNS.DB"])
@pytest.mark.parametrize("form", [str, Path])
def test_a_path_with_a_suffix_of_sqlite_is_an_sqlite_file(tmp_path: Path, name: str, form: Any) -> None:
    path = tmp_path / name
    with stores.open(form(path)) as store:
        assert store.url == f"sqlite:{path}"
        store.run("kept").flush()
        assert path.is_file()
        with stores.open(f"sqlite:{path}", read_only=True) as same:  # while it is open
            assert same.runs() == ["kept"]
    with stores.open(form(path), read_only=True) as store:
        assert store.runs() == ["kept"]


def test_an_lmdb_store_whose_name_has_a_suffix_of_sqlite_is_opened_as_what_it_is(tmp_path: Path) -> None:
    path = tmp_path / "runs.db"
    with stores.open(f"lmdb:{path}") as store:
        store.run("kept").flush()
    with stores.open(path) as store:
        assert (store.url, store.runs()) == (f"lmdb:{path}", ["kept"])
    assert path.is_dir()


@pytest.mark.parametrize("name", ["runs", "runs.lmdb", "db", "runs.db.old", "sqlite", "runs.database"])
def test_a_path_with_another_suffix_or_none_is_an_lmdb_directory(tmp_path: Path, name: str) -> None:
    with stores.open(tmp_path / name) as store:
        assert store.url == f"lmdb:{tmp_path / name}"
    assert (tmp_path / name).is_dir()


@pytest.mark.parametrize("scheme", ["lmdb", "sqlite"])
def test_a_store_that_is_not_there_is_named_when_only_read(tmp_path: Path, scheme: str) -> None:
    with pytest.raises(NotFound, match=r"there is no store; give the path of one"):
        stores.open(f"{scheme}:{tmp_path / 'nothing'}", read_only=True)
    assert list(tmp_path.iterdir()) == []
