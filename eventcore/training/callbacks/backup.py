"""`BackupAndRestore`: a training that was killed goes on where it was, when the same script is run again.

What is kept is every value: the program's variables and the optimizer's, so that the population and everything
tried so far is still there. The run has the history; this is only what the next process needs to go on.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Iterator
from typing import Any, NamedTuple

import msgspec

from eventcore.errors import InvalidValue
from eventcore.history.scope import current_run
from eventcore.saving import portable
from eventcore.saving.state_tree import get_state_tree, set_state_tree
from eventcore.training.callbacks.callback import Callback, Logs
from eventcore.training.callbacks.checkpoint import batches_or_epoch

VALUES = "latest.variables.json"
METADATA = "training_metadata.json"
_BEFORE = ".bkp"
_KIND = "backup"
_OPTIMIZER = ("optimizer_trainable_variables", "optimizer_non_trainable_variables")
_METRICS = "metrics_variables"


class _Metadata(msgspec.Struct):
    """What a backup says beside the values.

    Attributes:
        epoch: The epoch to begin with.
        batch: Batches of that epoch that were done; they are done again.
        digest: Of the values' file, so that no values are taken for another moment's.
        optimizer: Name of the optimizer then.
        run: Name of the run then.
        seq: Its head then.
    """

    epoch: int
    batch: int
    digest: str
    optimizer: str
    run: str
    seq: int


class _Found(NamedTuple):
    metadata: _Metadata
    tree: dict[str, Any]


class BackupAndRestore(Callback):
    """Backs training up after every epoch, or every so many batches, and goes on from the backup if there is one.

    A training interrupted within an epoch does that epoch again, with what had been learnt until the backup. The
    same program has to be compiled the same way; if it was not, `fit` says what differs and changes nothing.

    Args:
        backup_dir: A directory of its own for this training; made if it is not there.
        save_freq: "epoch", or a number of batches.
        double_checkpoint: Keep the backup before the last one too.
        delete_checkpoint: Delete the backup when training is done, so that the next one begins anew.

    Raises:
        InvalidValue: Another `save_freq`; when training begins, a backup that is damaged.
        ConfigMismatch: When training begins: the backup is of another program or optimizer.
        StorageError: The directory cannot be written.
    """

    def __init__(
        self,
        backup_dir: str | os.PathLike[str],
        save_freq: int | str = "epoch",
        double_checkpoint: bool = False,
        delete_checkpoint: bool = True,
    ) -> None:
        super().__init__()
        self.backup_dir = os.fspath(backup_dir)
        if not self.backup_dir:
            raise InvalidValue("cannot back up to an empty path: pass a directory")
        self.save_freq = batches_or_epoch(save_freq, type(self).__name__)
        self.double_checkpoint = double_checkpoint
        self.delete_checkpoint = delete_checkpoint
        self._epoch = self._batches = 0

    def on_train_begin(self, logs: Logs) -> None:
        """Take up the backup, if there is one."""
        self._epoch = self._batches = 0
        found = self._find()
        if found is None:
            return
        optimizer = self.program.optimizer
        optimizer.build(self.program.trainable_variables)
        place = f"the backup of run {found.metadata.run!r} at seq {found.metadata.seq} in {self.backup_dir}"
        tree = {**found.tree, _METRICS: get_state_tree(self.program).get(_METRICS, {})}
        for part in _OPTIMIZER:
            tree[part] = _renamed(tree.get(part, {}), found.metadata.optimizer, optimizer.name)
        set_state_tree(self.program, tree, place)
        self.program.trainer.resume_epoch = found.metadata.epoch

    def on_epoch_begin(self, epoch: int, logs: Logs) -> None:
        """Take note of the epoch."""
        self._epoch = epoch

    def on_train_batch_end(self, batch: int, logs: Logs) -> None:
        """Back up if it is due."""
        self._batches += 1
        if isinstance(self.save_freq, int) and self._batches % self.save_freq == 0:
            self._back_up(self._epoch, batch + 1)

    def on_epoch_end(self, epoch: int, logs: Logs) -> None:
        """Back up: the epoch is over, whatever the frequency."""
        self._back_up(epoch + 1, 0)

    def on_train_end(self, logs: Logs) -> None:
        """Delete the backup: training is done."""
        if self.delete_checkpoint:
            for path in self._paths():
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(path)
            with contextlib.suppress(OSError):
                os.rmdir(self.backup_dir)  # unless something else is in it

    # --- the files -----------------------------------------------------------------------------

    def _path(self, name: str) -> str:
        return os.path.join(self.backup_dir, name)

    def _paths(self) -> list[str]:
        return [self._path(name + end) for name in (METADATA, VALUES) for end in ("", _BEFORE)]

    def _back_up(self, epoch: int, batch: int) -> None:
        """Write the values, then what makes them count; whenever it is interrupted, one backup is whole."""
        run = current_run()
        head = run.flush()
        values = portable.encode({**portable.head(portable.VARIABLES), **get_state_tree(self.program)})
        optimizer = getattr(self.program.optimizer, "name", "")
        metadata = _Metadata(epoch, batch, _digest(values), optimizer, run.name, head)
        described = portable.encode({**portable.head(_KIND), **msgspec.to_builtins(metadata)})
        for name in (VALUES, METADATA):
            with contextlib.suppress(FileNotFoundError):
                os.replace(self._path(name), self._path(name + _BEFORE))
        portable.write_file(self._path(VALUES), values, overwrite=True)
        portable.write_file(self._path(METADATA), described, overwrite=True)
        if not self.double_checkpoint:
            for name in (METADATA, VALUES):
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(self._path(name + _BEFORE))

    def _find(self) -> _Found | None:
        """Return the newest whole backup, None if there never was one.

        Raises:
            InvalidValue: There are files, and no two of them belong together.
        """
        described = list(self._metadata())
        values = [data for end in ("", _BEFORE) if (data := self._bytes(VALUES + end)) is not None]
        for metadata in described:
            for data in values:
                if _digest(data) == metadata.digest:
                    found = portable.parse(data, self._path(VALUES), portable.VARIABLES)
                    tree = {key: value for key, value in found.items() if key not in portable.FIRST_MEMBERS}
                    return _Found(metadata, tree)
        if described:
            raise InvalidValue(
                f"cannot go on from the backup in {self.backup_dir}: its files do not belong together, some were lost "
                "or changed; delete the directory to begin anew"
            )
        return None

    def _metadata(self) -> Iterator[_Metadata]:
        for end in ("", _BEFORE):
            data = self._bytes(METADATA + end)
            if data is None:
                continue
            path = self._path(METADATA + end)
            try:
                yield msgspec.convert(portable.parse(data, path, _KIND), _Metadata)
            except msgspec.ValidationError as error:
                raise InvalidValue(
                    f"cannot go on from the backup in {self.backup_dir}: {path} is damaged ({error}); "
                    "delete the directory to begin anew"
                ) from error

    def _bytes(self, name: str) -> bytes | None:
        path = self._path(name)
        return portable.read_file(path) if os.path.lexists(path) else None


def _digest(data: bytes) -> str:
    return hashlib.blake2b(data, digest_size=16).hexdigest()


def _renamed(branch: Any, before: str, now: str) -> Any:
    """Rename the steps of a tree that carry the optimizer's name: a new process may number it otherwise."""
    if before == now or not before or not isinstance(branch, dict):
        return branch
    return {
        (now if key == before else f"iterations_{now}" if key == f"iterations_{before}" else key): (
            _renamed(value, before, now) if key == before else value
        )
        for key, value in branch.items()
    }
