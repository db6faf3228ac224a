"""The file of a cassette: a run without keys or traces of the machine, whole or not there; and what is no cassette."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import warnings
from pathlib import Path
from typing import Any

import pytest

import eventcore as ec
from eventcore.errors import CallNotRecorded, CorruptLog, InvalidValue, NotFound, StorageError
from eventcore.testing import cassette
from eventcore.testing.model_server import ModelServer, Request, refuse, say
from tests.language_models.samples import QUIET
from tests.testing.calls import Asked, over_http

pytestmark = [*QUIET, pytest.mark.usefixtures("eventcore_run")]


# --- the file -------------------------------------------------------------------------------------


def test_a_cassette_is_a_run_that_the_command_line_reads_and_that_has_no_side_files(
    place: Path, asked: Asked
) -> None:
    with cassette(place):
        asked.ask("a")
    for command in (["log"], ["show"], ["verify"]):
        done = subprocess.run(
            [sys.executable, "-m", "eventcore", *command, f"sqlite:{place}"],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        if command == ["log"]:
            assert 'ask  {"question":"a"}' in done.stdout and '"a 1"' in done.stdout
    assert [path.name for path in place.parent.iterdir()] == [place.name]
    assert place.stat().st_size < 20_000


def test_any_run_of_any_store_can_be_played(tmp_path: Path, place: Path, asked: Asked) -> None:
    for url in (f"lmdb:{tmp_path / 'runs.lmdb'}", f"sqlite:{tmp_path / 'runs.sqlite'}"):
        with ec.open(url) as store:
            for name in ("one", "two"):
                with store.run(name):
                    asked.ask(name)
        count = len(asked.calls)
        with cassette(url, mode="none", run="two"):
            assert asked.ask("two").startswith("two")
        assert len(asked.calls) == count
        with pytest.raises(NotFound, match="one, two; pass run="), cassette(url, mode="none"):
            pass


def test_nothing_of_the_machine_is_in_the_file(place: Path, asked: Asked, tmp_path: Path) -> None:
    with cassette(place):
        asked.ask("a")
    kept = place.read_bytes()
    for text in (str(tmp_path), __file__, os.getcwd(), sys.argv[0], "test_cassettes"):
        assert text.encode() not in kept


def test_no_key_is_in_any_byte_of_the_file(
    place: Path, server: ModelServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys = ("a-key-that-looks-like-nothing", "one-kept-in-the-environment", "a-token-in-a-header")
    monkeypatch.setenv("SOME_GATEWAY_API_KEY", keys[1])

    def answer(request: Request) -> Any:
        if "refuse" in str(request.body):
            return refuse(401, message=f"wrong key: {request.headers['authorization']} {keys[1]}")
        return say(f"you sent {request.headers['authorization']} and {request.headers['x-auth-token']}")

    server.answer = answer
    model = over_http(server.url, api_key=keys[0], extra_headers={"X-Auth-Token": keys[2]})
    with cassette(place) as made, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        ec.wait(model(f"hello {keys[1]}"))
        ec.wait(model("refuse me"))
    assert made.recorded == 2
    seen = str([(request.headers, request.body) for request in server.requests])
    assert keys[0] in seen and keys[2] in seen
    with ec.open(f"sqlite:{place}", read_only=True) as store:
        events = repr([record.event for record in store["cassette"].events()])
    assert "[redacted]" in events
    for key in keys:
        assert key not in events and key.encode() not in place.read_bytes()


def test_a_block_left_by_an_error_keeps_what_was_paid_for(place: Path, asked: Asked) -> None:
    with pytest.raises(AssertionError, match="my test"), cassette(place):
        asked.ask("a")
        raise AssertionError("my test")
    with cassette(place, mode="none"):
        assert asked.ask("a") == "a 1"


def test_a_disk_that_refuses_leaves_the_file_as_it_was_and_shows_the_first_error(
    place: Path, asked: Asked, monkeypatch: pytest.MonkeyPatch
) -> None:
    with cassette(place):
        asked.ask("a")
    before = place.read_bytes()

    def refused(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("shutil.copyfile", refused)
    with pytest.raises(StorageError, match="cannot record in"), cassette(place, mode="new_episodes"):
        asked.ask("b")
    with pytest.raises(ValueError, match="mine") as caught, cassette(place, mode="new_episodes"):
        asked.ask("b")
        raise ValueError("mine")
    assert "cannot record in" in caught.value.__notes__[0]
    assert place.read_bytes() == before and [path.name for path in place.parent.iterdir()] == [place.name]


# --- bad input ------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["nonce", "", "ONCE", 1, True])
def test_a_mode_that_is_none_is_refused_with_those_there_are(place: Path, mode: Any) -> None:
    with pytest.raises(InvalidValue, match="none, once, new_episodes, all"):
        cassette(place, mode=mode)


def test_a_mode_misspelled_in_the_environment_says_where(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EVENTCORE_RECORD", "rewrite")
    with pytest.raises(InvalidValue, match=r"'rewrite' in \$EVENTCORE_RECORD"):
        cassette(place)


@pytest.mark.parametrize(
    ("content", "error"),
    [
        (b"interactions:\n- request: {}\n", CorruptLog),
        (b"", CorruptLog),
        (b"SQLite format 3\0cut", StorageError),
    ],
)
def test_a_file_that_is_no_cassette_is_refused_and_left_alone(
    place: Path, content: bytes, error: type[Exception]
) -> None:
    place.parent.mkdir()
    place.write_bytes(content)
    for mode in ("none", "once", "new_episodes"):
        with pytest.raises(error, match=r"it\.sqlite"), cassette(place, mode=mode):
            pass
    assert place.read_bytes() == content


def test_a_database_of_another_program_is_refused(place: Path) -> None:
    place.parent.mkdir()
    connection = sqlite3.connect(place)
    connection.execute("CREATE TABLE t (x)")
    connection.close()
    with pytest.raises(StorageError, match="another program"), cassette(place):
        pass


def test_a_cassette_of_another_test_says_that_none_of_its_calls_is_asked(place: Path, asked: Asked) -> None:
    @ec.effect(name="another")
    def another(x: int) -> int:
        return x

    with cassette(place):
        another(1)
    with (
        cassette(place),
        pytest.raises(CallNotRecorded, match="none of its 1 calls has this request") as caught,
    ):
        asked.ask("a")
    assert "nearest" not in str(caught.value)


def test_two_cassettes_at_once_are_refused_and_the_first_goes_on(
    place: Path, tmp_path: Path, asked: Asked
) -> None:
    with cassette(place) as outer:
        with pytest.raises(InvalidValue, match="inside another"), cassette(tmp_path / "other.sqlite"):
            pass
        asked.ask("a")
    assert outer.recorded == 1
    with cassette(tmp_path / "other.sqlite"):
        asked.ask("a")
    assert len(asked.calls) == 2


def test_a_cassette_that_could_not_be_opened_leaves_none_in_use(place: Path, asked: Asked) -> None:
    place.parent.mkdir()
    place.write_bytes(b"no store")
    with pytest.raises(StorageError), cassette(place):
        pass
    assert asked.ask("a") == "a 1"


@pytest.mark.parametrize("name", ["it.yaml", "folder/it", "memory:"])
def test_a_place_that_cannot_be_recorded_in_is_refused(tmp_path: Path, name: str) -> None:
    wanted = name if name == "memory:" else str(tmp_path / name)
    with pytest.raises(InvalidValue, match=r"\.sqlite or \.db"):
        cassette(wanted, mode="all")


def test_a_folder_that_cannot_be_written_is_said_before_the_call_is_made(
    tmp_path: Path, asked: Asked
) -> None:
    (tmp_path / "file").write_text("in the way")
    with (
        cassette(tmp_path / "file" / "it.sqlite", mode="once"),
        pytest.raises(StorageError, match="cannot record in"),
    ):
        asked.ask("a")
    assert asked.calls == []


def test_a_cassette_in_a_folder_nobody_may_write_to_is_played(asked: Asked) -> None:
    code = (
        "import os, sys, urllib.parse\n"  # another user may not be able to read Python's library
        "import eventcore as ec, eventcore.backends.sqlite\n"
        "from eventcore.testing import cassette\n"
        "@ec.effect(name='ask')\n"
        "def ask(question: str) -> str:\n"
        "    raise SystemExit('asked')\n"
        "playing = cassette(sys.argv[1], mode='none')\n"
        "if os.getuid() == 0:\n"
        "    os.setgid(65534); os.setuid(65534)\n"
        "assert not os.access(os.path.dirname(sys.argv[1]), os.W_OK)\n"
        "with playing:\n"
        "    print(ask('a'))\n"
    )
    folder = Path(tempfile.mkdtemp(prefix="read-only-"))  # pytest's own are closed to other users
    try:
        with cassette(folder / "it.sqlite", mode="all"):
            asked.ask("a")
        folder.chmod(0o555)
        done = subprocess.run(
            [sys.executable, "-c", code, str(folder / "it.sqlite")],
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.stdout == "a 1\n", done.stderr
        assert [path.name for path in folder.iterdir()] == ["it.sqlite"]
    finally:
        folder.chmod(0o755)
        shutil.rmtree(folder)
