"""What a power cut may leave of files, worked out from the recorded calls of the process that wrote them.

A disk promises only what was synced: contents by fsync, fdatasync or a write through an O_DSYNC descriptor, names by
fsync of their directory. Everything since may be there or not, contents by sectors of 512 bytes and in any order,
names operation by operation. Stricter than any file system in use: none loses a synced file's name, but POSIX allows
it. One thing is taken as given, as LMDB does: a sector is written whole or not at all.
"""

from __future__ import annotations

import random
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import IntEnum
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple, TypeAlias

from eventcore.errors import InvalidValue

SECTOR = 512
_HEAD = struct.Struct("=IIIIQqq")


class Kind(IntEnum):
    """The kinds of records, as in `powercut.c`."""

    CREATE = 1
    WRITE = 2
    TRUNCATE = 3
    ALLOCATE = 4
    SYNC = 5
    RENAME = 6
    LINK = 7
    UNLINK = 8
    MKDIR = 9
    MAPPED = 10
    MARK = 11
    UNKNOWN = 12


class Call(NamedTuple):
    """One recorded call.

    Attributes:
        kind: What it does.
        inode: The file, where one is meant by its number.
        offset: Where it writes.
        size: The new size, or for a write whether it is durable when it returns.
        path: The name it is about.
        other: The second name of a rename or link.
        data: What it writes, or what the writer says.
    """

    kind: Kind
    inode: int
    offset: int
    size: int
    path: str
    other: str
    data: bytes


def read_trace(trace: Path) -> list[Call]:
    """Return all recorded calls in the order they happened."""
    raw, at, calls = trace.read_bytes(), 0, list[Call]()
    while at < len(raw):
        kind, path, other, data, inode, offset, size = _HEAD.unpack_from(raw, at)
        ends = [at := at + _HEAD.size, at := at + path, at := at + other, at := at + data]
        parts = [raw[start:stop] for start, stop in pairwise(ends)]
        call = Call(Kind(kind), inode, offset, size, parts[0].decode(), parts[1].decode(), parts[2])
        if call.kind is Kind.UNKNOWN:
            raise InvalidValue(
                f"cannot simulate a call on {call.path or call.inode}: it is of an unknown kind"
            )
        calls.append(call)
    return calls


class Piece(NamedTuple):
    """A change of a file's content that was not synced as a whole.

    Attributes:
        offset: Where it writes; for a change of size, -1.
        data: What it writes.
        size: The size it sets, or -1; `grow` says whether it may only grow.
        grow: An allocation.
        durable: It survives although what was before it need not.
    """

    offset: int
    data: bytes
    size: int = -1
    grow: bool = False
    durable: bool = False

    def apply(self, content: bytearray) -> None:
        """Change `content` accordingly."""
        end = self.size if self.size >= 0 else self.offset + len(self.data)
        if len(content) < end:
            content.extend(bytes(end - len(content)))
        if self.size < 0:
            content[self.offset : end] = self.data
        elif not self.grow:
            del content[end:]

    def sectors(self) -> Iterator[Piece]:
        """Cut a write where sectors of the disk end."""
        at, stop = self.offset, self.offset + len(self.data)
        while at < stop:
            end = min(stop, (at // SECTOR + 1) * SECTOR)
            yield Piece(at, self.data[at - self.offset : end - self.offset])
            at = end


@dataclass(eq=False)
class File:
    """A file: its durable content, and what was done since."""

    content: bytearray = field(default_factory=bytearray)
    pending: list[Piece] = field(default_factory=list)
    size: int = 0
    mapped: bool = False

    def change(self, piece: Piece) -> None:
        """Note a change."""
        end = piece.size if piece.size >= 0 else piece.offset + len(piece.data)
        self.size = end if piece.size >= 0 and not piece.grow else max(self.size, end)
        if piece.durable and not self.pending:
            piece.apply(self.content)
        else:
            self.pending.append(piece)

    def sync(self) -> None:
        """Make everything so far durable."""
        for piece in self.pending:
            piece.apply(self.content)
        self.pending.clear()


@dataclass(eq=False)
class Directory:
    """A directory: the names it durably has, and those it has now."""

    durable: dict[str, Node] = field(default_factory=dict)
    now: dict[str, Node] = field(default_factory=dict)


Node: TypeAlias = "File | Directory"


class Naming(NamedTuple):
    """A change of names that is not durable yet: each name gets a node or, with None, loses it."""

    changes: tuple[tuple[Directory, str, Node | None], ...]


class Disk:
    """Follows calls, and cuts the power after any of them."""

    def __init__(self, root: Path) -> None:
        self.root = Directory()
        self._place = str(root)
        self._by_inode: dict[int, Node] = {root.stat().st_ino: self.root}
        self._pending: list[Naming] = []

    # -- following ---------------------------------------------------------------------------

    def follow(self, call: Call) -> None:
        """Take over one more call."""
        node = self._by_inode.get(call.inode)
        if call.kind in (Kind.CREATE, Kind.MKDIR):
            made = self._by_inode[call.inode] = File() if call.kind is Kind.CREATE else Directory()
            self._name(call.path, made)
        elif call.kind is Kind.UNLINK:
            self._name(call.path, None)
        elif call.kind is Kind.LINK:
            self._name(call.other, self._find(call.path))
        elif call.kind is Kind.RENAME:
            self._rename(call.path, call.other)
        elif call.kind is Kind.SYNC and isinstance(node, Directory):
            self._sync_names(node)
        elif call.kind is not Kind.MARK:
            if not isinstance(node, File):
                raise InvalidValue(
                    f"cannot follow {call.kind.name} on inode {call.inode}: its creation was not seen"
                )
            self._content(node, call)

    def _content(self, file: File, call: Call) -> None:
        if call.kind is Kind.WRITE:
            file.change(Piece(call.offset, call.data, durable=bool(call.size)))
        elif call.kind is Kind.SYNC:
            file.sync()
        elif call.kind is Kind.MAPPED:
            file.mapped = True
        else:
            file.change(Piece(-1, b"", call.size, grow=call.kind is Kind.ALLOCATE))

    def _parent(self, path: str) -> tuple[Directory, str]:
        *folders, name = path[len(self._place) :].strip("/").split("/")
        at = self.root
        for folder in folders:
            below = at.now[folder]
            assert isinstance(below, Directory), path
            at = below
        return at, name

    def _find(self, path: str) -> Node:
        folder, name = self._parent(path)
        return folder.now[name]

    def _name(self, path: str, node: Node | None) -> None:
        self._change([(*self._parent(path), node)])

    def _rename(self, path: str, other: str) -> None:
        moved = self._find(path)
        self._change([(*self._parent(path), None), (*self._parent(other), moved)])

    def _change(self, changes: list[tuple[Directory, str, Node | None]]) -> None:
        for folder, name, node in changes:
            _set(folder.now, name, node)
        self._pending.append(Naming(tuple(changes)))

    def _sync_names(self, folder: Directory) -> None:
        """Make durable what happened in a directory; a move between two is so once its end is."""
        waiting: list[Naming] = []
        for naming in self._pending:
            if naming.changes[-1][0] is not folder:
                waiting.append(naming)
                continue
            for place, name, node in naming.changes:
                _set(place.durable, name, node)
        self._pending = waiting

    # -- cutting the power ---------------------------------------------------------------------

    def cut(self, chance: random.Random, place: Path, flying: Call | None = None) -> int:
        """Write what a power cut might leave into an empty folder.

        Args:
            chance: Decides.
            place: The folder.
            flying: The next call. A write that is to be durable when it returns may have been under way.

        Returns:
            How many files and names it changed.
        """
        file = self._by_inode.get(flying.inode) if flying and flying.kind is Kind.WRITE else None
        names, lost = _kept_names(self._pending, chance)
        remains = Remains(chance)
        if flying is None or not isinstance(file, File):
            _write_out(self.root, names, remains, place)
        else:
            file.pending.append(Piece(flying.offset, flying.data))
            _write_out(self.root, names, remains, place)
            file.pending.pop()
        return lost + remains.lost

    def whole(self, place: Path) -> None:
        """Write everything as it is without a power cut, apart from what went through maps."""
        _write_out(self.root, {}, None, place)

    def unlike(self, root: Path) -> list[str]:
        """Return the files below a folder that are not what the calls made of them, apart from those with maps."""
        made = dict(_files(self.root, ""))
        found = {str(path.relative_to(root)): path for path in root.rglob("*") if path.is_file()}
        return sorted(
            name
            for name in made.keys() | found.keys()
            if name not in made
            or (
                (name not in found or _current(made[name]) != found[name].read_bytes())
                and not made[name].mapped
            )
        )


def _set(names: dict[str, Node], name: str, node: Node | None) -> None:
    if node is None:
        names.pop(name, None)
    else:
        names[name] = node


_Names: TypeAlias = "dict[Directory, dict[str, Node]]"


def _kept_names(pending: list[Naming], chance: random.Random) -> tuple[_Names, int]:
    """Keep some changes of names, and count the others. One that builds on another is lost with it."""
    likely = chance.choice((0.0, 0.5, 0.9, 1.0))
    names: _Names = {}
    lost: set[tuple[int, str]] = set()
    count = 0
    for naming in pending:
        keys = {(id(folder), name) for folder, name, _ in naming.changes}
        if keys & lost or chance.random() >= likely:
            lost |= keys
            count += 1
            continue
        for folder, name, node in naming.changes:
            _set(names.setdefault(folder, dict(folder.durable)), name, node)
    return names, count


class Remains:
    """Chooses which unsynced changes of contents survive, in one of five ways per power cut.

    Attributes:
        lost: How many files lost something.
    """

    def __init__(self, chance: random.Random) -> None:
        self.lost = 0
        self._chance = chance
        self._way = chance.choice((self._none, self._sectors, self._writes, self._first, self._last))
        self._likely = chance.choice((0.1, 0.5, 0.9))
        self._stretched = chance.random() < 0.5

    def content(self, file: File) -> bytes:
        """Return what a file holds afterwards."""
        if file.mapped:
            return self._anything(file.size)
        if not file.pending:
            return bytes(file.content)
        content = bytearray(file.content)
        for piece in self._way(file.pending):
            piece.apply(content)
        self.lost += content != _current(file)
        if self._stretched and len(content) < file.size:
            content.extend(bytes(file.size - len(content)))  # The size was written and the data were not.
        return bytes(content)

    def _anything(self, size: int) -> bytes:
        """Return what a file may hold that was written through a map."""
        return self._chance.choice((b"", bytes(size), self._chance.randbytes(size)))

    def _none(self, pending: list[Piece]) -> Iterator[Piece]:
        return (piece for piece in pending if piece.durable)

    def _sectors(self, pending: list[Piece]) -> Iterator[Piece]:
        for piece in pending:
            if piece.durable:
                yield piece
                continue
            for part in piece.sectors() if piece.size < 0 else (piece,):
                if self._chance.random() < self._likely:
                    yield part

    def _writes(self, pending: list[Piece]) -> Iterator[Piece]:
        return (piece for piece in pending if piece.durable or self._chance.random() < self._likely)

    def _first(self, pending: list[Piece]) -> Iterator[Piece]:
        """The first ones, of the last of which only a part."""
        kept = self._chance.randint(0, len(pending))
        for place, piece in enumerate(pending):
            if place < kept - 1 or piece.durable:
                yield piece
            elif place == kept - 1:
                yield from self._sectors([piece])

    def _last(self, pending: list[Piece]) -> Iterator[Piece]:
        """The last ones: nothing says that a disk writes in order."""
        lost = self._chance.randint(0, len(pending))
        return (piece for place, piece in enumerate(pending) if place >= lost or piece.durable)


def _write_out(folder: Directory, names: _Names, remains: Remains | None, place: Path) -> None:
    found = folder.now if remains is None else names.get(folder, folder.durable)
    for name, node in found.items():
        path = place / name
        if isinstance(node, Directory):
            path.mkdir()
            _write_out(node, names, remains, path)
        elif remains is None:
            path.write_bytes(_current(node))
        else:
            path.write_bytes(remains.content(node))


def _files(folder: Directory, before: str) -> Iterator[tuple[str, File]]:
    for name, node in folder.now.items():
        if isinstance(node, File):
            yield before + name, node
        else:
            yield from _files(node, f"{before}{name}/")


def _current(file: File) -> bytes:
    content = bytearray(file.content)
    for piece in file.pending:
        piece.apply(content)
    return bytes(content)
