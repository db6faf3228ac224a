"""How an LMDB store is made, and how it proves that it is the store its directory speaks of.

A store is made beside its place and moved there whole, so no path ever names a half-made one,
whenever the process dies or the disk fills up. Its identity stands in the data itself; the
`MANIFEST` repeats it and remembers the last commit, so that lost data is told from no data.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from pathlib import Path

import msgspec

from eventcore.backends import filesystem, rules
from eventcore.backends.lmdb_environment import Environment, Settings, Txn
from eventcore.backends.lmdb_file import DATA, LOCK
from eventcore.errors import CorruptLog, StorageError

_FORMAT_KEY = b"format"
_DRAFT = ".draft."


class Identity(msgspec.Struct, frozen=True):
    """What the store says of itself under `format` in `meta`."""

    format: int
    log_id: str
    created: float


def prepare(path: Path, map_size: int, *, may_create: bool) -> filesystem.Manifest | None:
    """Make the store if nothing is there, and return the manifest it has, if it has one."""
    if not (path / DATA).exists():
        manifest = filesystem.read_manifest(path, "lmdb") if path.is_dir() else None
        if manifest is not None:
            return manifest
        if not may_create:
            raise filesystem.store_missing(path)
        if path.is_dir():
            # Perhaps a mount point, which cannot be replaced: the data file is moved into it.
            filesystem.make_private_directory(path, leftovers=(_DRAFT, LOCK))
            _make(path, path / f"{_DRAFT}{os.getpid()}.{threading.get_ident()}", map_size, _move_data)
        else:
            draft = path.with_name(f".{path.name}.{os.getpid()}.{threading.get_ident()}")
            _make(path, draft, map_size, os.rename)
    return filesystem.read_manifest(path, "lmdb")


def _move_data(draft: Path, path: Path) -> None:
    """Move the data file of a draft into a directory, unless there is one; its manifest is written anew."""
    try:
        os.link(draft / DATA, path / DATA)
    except FileExistsError:
        pass  # Another process was first: its store it is.
    except OSError:  # A file system without links.
        os.rename(draft / DATA, path / DATA)
    filesystem.sync_directory(path)


def _make(path: Path, draft: Path, map_size: int, move: Callable[[Path, Path], None]) -> None:
    """Make a whole store under another name and move it to `path`."""
    filesystem.remove_tree(draft)
    filesystem.make_private_directory(draft)
    try:
        environment = Environment(Settings(draft, map_size, read_only=False))
        try:
            compare_manifest(environment, None, identify(environment, read_only=False), read_only=False)
        finally:
            environment.close()
        try:
            move(draft, path)
        except OSError as error:
            if not (path / DATA).exists():  # Otherwise another process was first: its store it is.
                raise filesystem.os_failure(f"create a store at {path}", error) from error
        filesystem.sync_directory(path.parent)
    except StorageError as error:
        raise type(error)(str(error).replace(str(draft), str(path))) from error
    finally:
        filesystem.remove_tree(draft)


def identify(environment: Environment, read_only: bool) -> Identity:
    """Return what the store says of itself, writing it into a new one."""
    tables = environment.databases
    fresh = Identity(filesystem.FORMAT, rules.new_log_id(), time.time())

    def find(txn: Txn) -> bytes | None:
        found = txn.get(_FORMAT_KEY, db=tables.meta)
        return bytes(found) if found is not None else None

    def write(txn: Txn) -> bytes:
        found = find(txn)
        if found is None:
            found = msgspec.msgpack.encode(fresh)
            txn.put(_FORMAT_KEY, found, db=tables.meta)
        return found

    stored = environment.read(find)
    path = environment.settings.path
    if stored is None:
        if read_only:
            raise CorruptLog(f"cannot open {path}: its creation was never finished; open it once for writing")
        stored = environment.write(write)
    try:
        fields = msgspec.msgpack.decode(stored, type=dict[str, object])
        filesystem.check_format(path, fields.get("format"))
        return msgspec.convert(fields, Identity)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise CorruptLog(
            f"cannot open {path}: its identity is damaged ({error}); restore a backup"
        ) from error


def compare_manifest(
    environment: Environment, manifest: filesystem.Manifest | None, identity: Identity, read_only: bool
) -> None:
    """Refuse data that is not what its manifest speaks of; write a manifest that is missing."""
    path = environment.settings.path
    if manifest is None:
        if not read_only:
            try:
                write_manifest(environment, identity)
            except OSError as error:
                raise filesystem.os_failure(f"write the manifest of {path}", error) from error
        return
    if manifest.log_id != identity.log_id:
        raise CorruptLog(
            f"cannot open {path}: its data ({identity.log_id}) is not the store its MANIFEST names "
            f"({manifest.log_id}); put the files that belong together back"
        )
    last = environment.ask(lambda env: env.info())["last_txnid"]
    if last < manifest.head:
        raise CorruptLog(
            f"cannot open {path}: it ends at commit {last} and its MANIFEST has seen commit {manifest.head}, so an "
            "older copy took its place; restore the newer one, or delete MANIFEST to accept the loss"
        )


def write_manifest(environment: Environment, identity: Identity) -> None:
    """Write the manifest, with the last commit there is now."""
    head = environment.ask(lambda env: env.info())["last_txnid"]
    manifest = filesystem.Manifest(identity.format, "lmdb", identity.log_id, identity.created, head)
    filesystem.write_manifest(environment.settings.path, manifest)
