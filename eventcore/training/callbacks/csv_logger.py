"""`CSVLogger`: the logs of every epoch as a row of a CSV file, for tools that read those.

The file is a copy for other programs; the run itself has the same numbers and many more.
"""

from __future__ import annotations

import contextlib
import csv
import os
import warnings
from typing import IO, Any

from eventcore.errors import InvalidValue, StorageError
from eventcore.training.callbacks.callback import Callback, Logs


class CSVLogger(Callback):
    """Writes a row per epoch: the epoch (0 is the first) and every log; a number an epoch lacks is left empty.

    Args:
        filepath: Where to.
        separator: Between the columns, one character.
        append: Go on below what is there, in its columns.

    Raises:
        InvalidValue: A separator that is not one character; when training begins, a file to be appended to that has
            other columns.
        StorageError: The file cannot be written.
    """

    def __init__(self, filepath: str | os.PathLike[str], separator: str = ",", append: bool = False) -> None:
        super().__init__()
        if len(separator) != 1 or separator in '"\r\n':
            raise InvalidValue(
                f"cannot separate columns by {separator!r}: pass one character, such as ',' or ';'"
            )
        self.filepath = os.fspath(filepath)
        self.separator = separator
        self.append = append
        self._file: IO[str] | None = None
        self._columns: list[str] = []
        self._left_out: set[str] = set()

    def on_train_begin(self, logs: Logs) -> None:
        """Open the file; the columns are what can be logged."""
        self.close()
        self._columns, self._left_out = [], set()
        found = self._columns_there() if self.append else []
        wanted = ["epoch", *self.params.get("metrics", ())]
        lacking = [name for name in wanted if name not in found]
        if found and lacking:
            raise InvalidValue(
                f"cannot append to {self.filepath}: it has the columns {', '.join(found)} and lacks "
                f"{', '.join(lacking)}; pass append=False, or another path"
            )
        try:
            os.makedirs(os.path.dirname(os.path.abspath(self.filepath)), exist_ok=True)
            mode = "a" if found else "w"
            self._file = open(self.filepath, mode, newline="", encoding="utf-8")  # noqa: SIM115
        except OSError as error:
            raise self._refused(error) from error
        self._columns = found or (wanted if "metrics" in self.params else [])
        if self._columns and not found:
            self._write(self._columns)

    def _columns_there(self) -> list[str]:
        try:
            with open(self.filepath, newline="", encoding="utf-8-sig") as file:
                return next(csv.reader(file, delimiter=self.separator), [])
        except FileNotFoundError:
            return []
        except (OSError, UnicodeDecodeError, csv.Error) as error:
            raise StorageError(f"cannot append to {self.filepath}: {error}; pass another path") from error

    def on_epoch_end(self, epoch: int, logs: Logs) -> None:
        """Write a row."""
        if not self._columns:
            self._columns = ["epoch", *logs]
            self._write(self._columns)
        extra = [name for name in logs if name not in self._columns and name not in self._left_out]
        if extra:
            self._left_out.update(extra)
            warnings.warn(
                f"{self.filepath} has no column for {', '.join(extra)}: a callback that adds to the logs says so "
                "in its `adds`",
                stacklevel=3,
            )
        row = {**logs, "epoch": epoch}
        self._write([row.get(name, "") for name in self._columns])

    def _write(self, row: list[Any]) -> None:
        if self._file is None:
            return
        try:
            csv.writer(self._file, delimiter=self.separator).writerow(row)
            self._file.flush()
        except OSError as error:
            broken, self._file = self._file, None
            with contextlib.suppress(OSError):
                broken.close()
            raise self._refused(error) from error

    def _refused(self, error: OSError) -> StorageError:
        return StorageError(
            f"cannot write the logs to {self.filepath}: {error.strerror or error}; pass another path"
        )

    def close(self) -> None:
        """Close the file."""
        file, self._file = self._file, None
        try:
            if file is not None:
                file.close()
        except OSError as error:
            raise self._refused(error) from error
