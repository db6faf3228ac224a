"""What can be learnt of an LMDB data file without handing it to LMDB.

LMDB maps the file and trusts it: a truncated one kills the process with SIGBUS, an empty one
opens as an empty store. So the file is looked at first, before the environment is open. Once
it is, a check runs in a child process: closing a descriptor here could drop LMDB's own locks.
"""

from __future__ import annotations

import importlib
import importlib.util
import json
import os
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from eventcore.backends.filesystem import os_failure
from eventcore.errors import CorruptLog, StorageError

DATA = "data.mdb"
LOCK = "lock.mdb"

_MAGIC = 0xBEEFC0DE
_HEADER = 16
_META_PAGE = 0x08
_BYTES_READ = 160

_CHECK = """
import json, sys
try:
    from lmdb.verify import verify
    found = [str(error) for error in (verify(sys.argv[1]) or ())]
except Exception as error:
    found = ["%s: %s" % (type(error).__name__, error)]
print(json.dumps(found))
"""

# For releases of py-lmdb without a verifier: read everything, and let a crash be the finding.
_WALK = """
import json, lmdb, os, sys
path = os.path.dirname(sys.argv[1])
with lmdb.open(path, readonly=True, max_dbs=16, create=False) as env, env.begin() as txn:
    for name in [bytes(key) for key, _ in txn.cursor()]:
        for _ in txn.cursor(db=env.open_db(name, txn=txn, create=False)):
            pass
print(json.dumps([]))
"""


class Meta(NamedTuple):
    """One of the two pages that say what is committed.

    Attributes:
        txnid: Number of the commit.
        last_page: Highest page number the commit uses or has used.
        page_size: Bytes per page.
    """

    txnid: int
    last_page: int
    page_size: int


def _parse_meta(page: bytes) -> Meta | None:
    """Return what a meta page says, or None if it is none of LMDB's 64-bit version 1 format."""
    if len(page) < _BYTES_READ:
        return None
    (flags,) = struct.unpack_from("=H", page, _HEADER - 6)
    magic, version = struct.unpack_from("=II", page, _HEADER)
    (page_size,) = struct.unpack_from("=I", page, _HEADER + 24)
    last_page, txnid = struct.unpack_from("=QQ", page, _HEADER + 120)
    if magic != _MAGIC or version != 1 or not flags & _META_PAGE or not 512 <= page_size <= 65536:
        return None
    return Meta(txnid, last_page, page_size)


def check_before_open(directory: Path, *, expected: bool, verify: bool) -> None:
    """Refuse a data file that would crash the process or pass for an empty store.

    Must run while no environment of the directory is open in this process.

    Args:
        directory: The store.
        expected: The manifest says there is data, so an absent or empty file is a loss.
        verify: Also check every page.

    Raises:
        CorruptLog: The file is empty, truncated or not LMDB's.
        StorageError: It cannot be read.
    """
    path = directory / DATA
    try:
        with open(path, "rb") as file:
            first = file.read(_BYTES_READ)
            meta = _parse_meta(first)
            if meta is not None:
                file.seek(meta.page_size)
                second = _parse_meta(file.read(_BYTES_READ))
                meta = max(meta, second) if second is not None else None
            # Taken last: a live writer extends the file before its meta page says so.
            size = os.fstat(file.fileno()).st_size
    except FileNotFoundError:
        if expected:
            raise CorruptLog(
                f"cannot open {directory}: its {DATA} is gone; restore it from a backup"
            ) from None
        return
    except OSError as error:
        raise os_failure(f"read {path}", error) from error
    if size == 0:
        if expected:
            raise CorruptLog(
                f"cannot open {path}: it is empty though the store has data; restore it from a backup"
            )
        return
    if sys.maxsize < 2**32:
        return
    if meta is None:
        raise CorruptLog(
            f"cannot open {path} ({size} bytes): its first pages are cut off or damaged; restore it from a backup"
        )
    needed = (meta.last_page + 1) * meta.page_size
    if size < needed or verify:
        _refuse_broken(path, size, needed)


def _refuse_broken(path: Path, size: int, needed: int) -> None:
    """Refuse a file whose reachable pages are not all there; free pages at the end may be missing."""
    errors = verify_file(path)
    if not errors:
        return
    shown = "; ".join(errors[:3])
    reason = f"it was truncated: {size} bytes of {needed}" if size < needed else "its pages are damaged"
    raise CorruptLog(f"cannot open {path}: {reason} ({shown}); restore it from a backup")


def verify_file(path: Path) -> list[str]:
    """Check every page of a file this process has not opened, and return what is wrong."""
    if importlib.util.find_spec("lmdb.verify") is None:
        return verify_in_child(path)
    verify: Callable[[str], list[str]] = importlib.import_module("lmdb.verify").verify
    try:
        return list(verify(str(path)))
    except Exception as error:
        return [f"{type(error).__name__}: {error}"]


def verify_in_child(path: Path) -> list[str]:
    """Check every page of a file that may be open here, in another process, and return what is wrong.

    Raises:
        StorageError: The child process could not be started.
    """
    code = _CHECK if importlib.util.find_spec("lmdb.verify") is not None else _WALK
    try:
        done = subprocess.run(
            [sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=False
        )
    except OSError as error:
        raise StorageError(f"cannot check {path}: no process could be started for it ({error})") from error
    if done.returncode != 0:
        lines = done.stderr.strip().splitlines()
        return [f"the check ended with status {done.returncode}: {lines[-1] if lines else 'no message'}"]
    found = json.loads(done.stdout)
    return [str(error) for error in found]
