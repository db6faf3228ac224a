"""What a backend must know of the place it keeps its files in: kind of file system, permissions, manifest.

Nothing here opens a data file of a live store: closing any descriptor of a lock file drops
the locks this process holds on it, and other processes then overwrite what it reads.
"""

from __future__ import annotations

import ctypes
import errno
import os
import shutil
import stat
import sys
from pathlib import Path

import msgspec

from eventcore.errors import (
    CorruptLog,
    NotFound,
    StorageError,
    StoreReadOnly,
    UnknownFormat,
    UnsafeFileSystem,
)

FORMAT = 1
"""Version of the layout the backends of this release write."""

MANIFEST = "MANIFEST"

# Magic numbers of statfs(2): file systems whose locks or shared maps do not hold between hosts.
_NETWORK_MAGIC = {
    0x6969: "NFS",
    0x517B: "SMB",
    0xFE534D42: "SMB2",
    0xFF534D42: "CIFS",
    0x564C: "NCP",
    0x01021997: "9P",
    0x5346414F: "AFS",
    0x6B414653: "AFS",
    0x73757245: "Coda",
    0x00C36400: "Ceph",
    0x0BD00BD0: "Lustre",
    0x47504653: "GPFS",
    0x19830326: "BeeGFS",
    0xAAD7AAEA: "PanFS",
    0x7461636F: "OCFS2",
    0x01161970: "GFS2",
    0xBACBACBC: "VMware shared folder",
    0x786F4256: "VirtualBox shared folder",
    0x6A656A63: "virtiofs",
}
_FUSE_MAGIC = 0x65735546
# FUSE is also used for local file systems, so there the mount's own name decides.
_NETWORK_FUSE = (
    "sshfs",
    "s3fs",
    "gcsfuse",
    "goofys",
    "rclone",
    "glusterfs",
    "ceph",
    "davfs",
    "blobfuse",
    "smb",
    "nfs",
)


class Manifest(msgspec.Struct, frozen=True):
    """The small JSON file beside a store's data that survives when the data does not.

    Attributes:
        format: Version of the layout.
        engine: Scheme of the backend that owns the directory.
        log_id: Identity of the store.
        created: Seconds since 1970.
        head: The engine's own number of the last commit when the store was last closed.
    """

    format: int
    engine: str
    log_id: str
    created: float
    head: int = 0


def existing_parent(path: Path) -> Path:
    """Return the path itself or its nearest ancestor that exists."""
    while not path.exists() and path != path.parent:
        path = path.parent
    return path


def statfs_type(path: Path) -> int | None:
    """Return the magic number of the file system under `path`, or None where it cannot be asked."""
    if not sys.platform.startswith("linux"):
        return None
    try:
        libc = ctypes.CDLL(None, use_errno=True)
        buffer = (ctypes.c_long * 64)()
        if libc.statfs(os.fsencode(path), ctypes.byref(buffer)) != 0:
            return None
    except (OSError, AttributeError):
        return None
    return int(buffer[0]) & 0xFFFFFFFF


def mount_type(path: Path) -> str:
    """Return the type of the mount `path` lies on as the kernel spells it, or an empty string."""
    try:
        device = os.stat(path).st_dev
        lines = Path("/proc/self/mountinfo").read_text().splitlines()
    except OSError:
        return ""
    wanted = f"{os.major(device)}:{os.minor(device)}"
    for line in lines:
        fields, _, rest = line.partition(" - ")
        if fields.split()[2] == wanted:
            return rest.split()[0]
    return ""


def network_name(path: Path) -> str | None:
    """Return the name of the network file system `path` lies on, or None for a local one."""
    place = existing_parent(path)
    magic = statfs_type(place)
    if magic is None:
        return None
    if magic == _FUSE_MAGIC:
        kind = mount_type(place)
        return kind if any(word in kind for word in _NETWORK_FUSE) else None
    return _NETWORK_MAGIC.get(magic)


def refuse_network(path: Path, *, force: bool) -> str | None:
    """Refuse a network file system unless forced, and return a warning for `facts()` when forced.

    Raises:
        UnsafeFileSystem: The path lies on one and `force` is False.
    """
    name = network_name(path)
    if name is None:
        return None
    if not force:
        raise UnsafeFileSystem(
            f"cannot keep a store at {path}: it lies on a network file system ({name}), where locks do not hold "
            "between hosts and commits can be lost; use a local disk, or force=True if only one host ever opens it"
        )
    return f"the store lies on a network file system ({name}): safe only while one host opens it"


def make_directories(path: Path) -> None:
    """Create a directory and those above it, durably: a store is lost with any directory on its path.

    Raises:
        OSError: The file system refused.
    """
    if path.is_dir():
        return
    make_directories(path.parent)
    path.mkdir(exist_ok=True)
    sync_directory(path.parent)


def make_private_directory(path: Path, leftovers: tuple[str, ...] = ()) -> None:
    """Create a directory only its owner may enter, or accept an empty one and make it so.

    Args:
        path: The directory.
        leftovers: How names begin that a creation may have left there which a kill or a power cut ended.

    Raises:
        StorageError: It cannot be created, or it holds files of somebody else.
    """
    try:
        make_directories(path.parent)
        try:
            path.mkdir(mode=0o700)
        except FileExistsError:
            strange = sorted(name for name in os.listdir(path) if not name.startswith(leftovers))
            if strange:
                raise StorageError(
                    f"cannot create a store at {path}: the directory holds other files ({', '.join(strange[:3])}); "
                    "name a path that does not exist yet, or an empty directory"
                ) from None
            path.chmod(0o700)
        sync_directory(path.parent)
    except StorageError:
        raise
    except OSError as error:
        raise os_failure(f"create a store at {path}", error) from error


def os_failure(action: str, error: OSError) -> StorageError:
    """Translate an operating system error into the error tree, with what would work."""
    code = error.errno
    text = f"cannot {action}: {error.strerror or error}"
    if code in (errno.EACCES, errno.EPERM) and action.startswith(("open", "read")):
        return StorageError(f"{text}; ask its owner for permission")
    if code in (errno.EROFS, errno.EACCES, errno.EPERM):
        return StoreReadOnly(
            f"{text}; nothing may be written there, open it with read_only=True or elsewhere"
        )
    if code in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return StorageError(f"{text}; nothing was written, free some space and try again")
    return StorageError(text)


def sync_directory(path: Path) -> None:
    """Make the names in a directory durable, where the system can."""
    try:
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_DIRECTORY", 0))
    except OSError:
        return
    try:
        os.fsync(descriptor)
    except OSError:
        pass  # Some file systems refuse to sync a directory; the rename is then as durable as they make it.
    finally:
        os.close(descriptor)


def sync_file(path: Path) -> None:
    """Make a finished file durable.

    Raises:
        OSError: The file system refused.
    """
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def remove_tree(directory: Path) -> None:
    """Remove what was begun and could not be finished, as far as it goes."""
    shutil.rmtree(directory, ignore_errors=True)


def write_manifest(directory: Path, manifest: Manifest) -> None:
    """Replace the manifest atomically and durably; a link in its place is replaced, never followed.

    Raises:
        OSError: The file system refused.
    """
    temporary = directory / f".{MANIFEST}.{os.getpid()}"
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | getattr(os, "O_NOFOLLOW", 0)
    descriptor = os.open(temporary, flags, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(msgspec.json.format(msgspec.json.encode(manifest), indent=2) + b"\n")
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, directory / MANIFEST)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    sync_directory(directory)


def read_manifest(directory: Path, engine: str) -> Manifest | None:
    """Return the manifest of a store's directory, or None without one.

    Raises:
        CorruptLog: It is a link, no JSON, or of another engine.
        UnknownFormat: A newer eventcore wrote it.
        StorageError: It cannot be read.
    """
    path = directory / MANIFEST
    try:
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0))
    except FileNotFoundError:
        return None
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise CorruptLog(
                f"cannot open {directory}: its MANIFEST is a symbolic link; restore the file"
            ) from error
        raise os_failure(f"read {path}", error) from error
    with os.fdopen(descriptor, "rb") as file:
        raw = file.read(1 << 20)
    try:
        fields = msgspec.json.decode(raw, type=dict[str, object])
        check_format(directory, fields.get("format"))
        manifest = msgspec.convert(fields, Manifest)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise CorruptLog(
            f"cannot open {directory}: its MANIFEST is damaged ({error}); "
            "restore it from a backup, or delete it to have it rewritten from the data"
        ) from error
    if manifest.engine != engine:
        raise StorageError(f"cannot open {directory} as {engine}: it is a store of {manifest.engine!r}")
    return manifest


def check_format(place: object, version: object) -> None:
    """Refuse a layout this release does not know.

    Raises:
        UnknownFormat: The version is newer than `FORMAT`, or none at all.
    """
    if isinstance(version, int) and 1 <= version <= FORMAT:
        return
    raise UnknownFormat(
        f"cannot open {place}: it is written in format {version!r} and this eventcore knows formats up to {FORMAT}; "
        "upgrade eventcore"
    )


def refuse_file(path: Path, engine: str) -> None:
    """Refuse a path that is a file where a directory is needed.

    Raises:
        StorageError: The path is not a directory; the message guesses what was meant.
    """
    try:
        mode = os.stat(path).st_mode
    except FileNotFoundError:
        if path.is_symlink():
            raise StorageError(
                f"cannot open {path}: it is a symbolic link to something that is gone"
            ) from None
        return
    except OSError as error:
        raise os_failure(f"open {path}", error) from error
    if stat.S_ISDIR(mode):
        return
    # Its first bytes would tell an SQLite file, but to open and close one drops the locks this process holds on it.
    raise StorageError(
        f"cannot open {path} as a store of {engine}: it is a file and such a store is a directory; "
        f"name a directory, or a path that does not exist yet; an SQLite file is opened as sqlite:{path}"
    )


def store_missing(path: Path) -> NotFound:
    """Build the refusal of a store that is not there and may not be created."""
    return NotFound(
        f"cannot open {path}: there is no store; give the path of one, or open it for writing to begin one"
    )
