"""The logs of every epoch are rows that other programs can read."""

from __future__ import annotations

import csv
import math
import os
from pathlib import Path
from typing import Any

import pytest

from eventcore.errors import InvalidValue, StorageError
from eventcore.training.callbacks import Callback, CSVLogger
from tests.training.callbacks.samples import Dictates, compiled, fit


def rows_of(path: Path, separator: str = ",") -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file, delimiter=separator))


def test_there_is_a_row_per_epoch_and_a_column_per_log(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "log.csv"
    fit(compiled(["fair", "best"], metrics=["accuracy"]), epochs=2, callbacks=[CSVLogger(path)])
    rows = rows_of(path)
    assert list(rows[0]) == ["epoch", "reward", "accuracy", "val_reward", "val_accuracy"]
    assert [(row["epoch"], row["val_reward"]) for row in rows] == [("0", "0.5"), ("1", "1.0")]


def test_a_number_an_epoch_lacks_is_left_empty_and_has_its_column_from_the_beginning(tmp_path: Path) -> None:
    path = tmp_path / "log.csv"
    fit(compiled(["best"]), epochs=2, validation_freq=2, callbacks=[CSVLogger(path)])
    assert [row["val_reward"] for row in rows_of(path)] == ["", "1.0"]


def test_every_row_is_on_disk_when_its_epoch_is_over(tmp_path: Path) -> None:
    path = tmp_path / "log.csv"
    seen: list[int] = []

    class Looks(Callback):
        def on_epoch_end(self, epoch: int, logs: dict[str, Any]) -> None:
            seen.append(len(rows_of(path)))

    fit(compiled(), epochs=3, callbacks=[CSVLogger(path), Looks()])
    assert seen == [1, 2, 3]


def test_the_file_is_closed_also_when_training_fails(tmp_path: Path) -> None:
    class Breaks(Callback):
        def on_epoch_end(self, epoch: int, logs: dict[str, Any]) -> None:
            raise RuntimeError("broken")

    logger = CSVLogger(tmp_path / "log.csv")
    with pytest.raises(RuntimeError):
        fit(compiled(), callbacks=[logger, Breaks()])
    assert logger._file is None
    assert len(rows_of(tmp_path / "log.csv")) == 1


def test_it_begins_anew_or_goes_on_below(tmp_path: Path) -> None:
    path, program = tmp_path / "log.csv", compiled()
    fit(program, epochs=2, callbacks=[CSVLogger(path)])
    fit(program, epochs=1, callbacks=[CSVLogger(path)])
    assert [row["epoch"] for row in rows_of(path)] == ["0"]
    fit(program, initial_epoch=1, epochs=3, callbacks=[CSVLogger(path, append=True)])
    assert [row["epoch"] for row in rows_of(path)] == ["0", "1", "2"]


def test_appending_to_nothing_begins_a_file(tmp_path: Path) -> None:
    for name in ("none.csv", "empty.csv"):
        if name == "empty.csv":
            (tmp_path / name).touch()
        fit(compiled(), callbacks=[CSVLogger(tmp_path / name, append=True)])
        assert len(rows_of(tmp_path / name)) == 1


def test_appending_to_other_columns_is_refused_and_changes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "log.csv"
    path.write_text("epoch,loss\n0,1\n")
    with pytest.raises(InvalidValue, match="it has the columns epoch, loss and lacks reward, val_reward"):
        fit(compiled(), callbacks=[CSVLogger(path, append=True)])
    assert path.read_text() == "epoch,loss\n0,1\n"


def test_another_separator_is_used_throughout(tmp_path: Path) -> None:
    path = tmp_path / "log.tsv"
    fit(compiled(), callbacks=[CSVLogger(path, separator="\t")])
    assert rows_of(path, "\t")[0]["epoch"] == "0"


def test_numbers_that_are_none_are_written_as_they_are(tmp_path: Path) -> None:
    path = tmp_path / "log.csv"
    values = [math.nan, math.inf, -0.0]
    fit(compiled(), epochs=3, callbacks=[Dictates(mood=values), CSVLogger(path)])
    assert [row["mood"] for row in rows_of(path)] == ["nan", "inf", "-0.0"]


def test_logs_nobody_announced_are_left_out_with_one_warning(tmp_path: Path) -> None:
    class Secretly(Callback):
        def on_epoch_end(self, epoch: int, logs: dict[str, Any]) -> None:
            logs["surprise"] = 1

    path = tmp_path / "log.csv"
    with pytest.warns(UserWarning, match="has no column for surprise") as warned:
        fit(compiled(), epochs=3, callbacks=[Secretly(), CSVLogger(path)])
    assert len(warned) == 1
    assert list(rows_of(path)[0]) == ["epoch", "reward", "val_reward"]


def test_a_place_that_cannot_be_written_is_an_error_of_this_library(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match=r"cannot write the logs to .*: Is a directory"):
        fit(compiled(), callbacks=[CSVLogger(tmp_path)])
    (tmp_path / "latin.csv").write_bytes(b"\xff\xfe\xe9")
    with pytest.raises(StorageError, match="cannot append to"):
        fit(compiled(), callbacks=[CSVLogger(tmp_path / "latin.csv", append=True)])


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs a device that is always full")
def test_a_full_disk_is_an_error_of_this_library() -> None:
    with pytest.raises(StorageError, match="No space left on device"):
        fit(compiled(), callbacks=[CSVLogger("/dev/full")])


@pytest.mark.parametrize("separator", ["", ",,", '"', "\n"])
def test_a_separator_that_cannot_be_is_refused(separator: str) -> None:
    with pytest.raises(InvalidValue, match="pass one character"):
        CSVLogger("log.csv", separator=separator)
