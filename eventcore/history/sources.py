"""Which line of the user's code did it.

Writes carry the number of a source line; the line itself is in the log once (`SourceSeen`). Frames of
this package are passed over, so the line is always the caller's own.
"""

from __future__ import annotations

import os
import sys
from types import CodeType, FrameType

_HERE = os.path.dirname(os.path.dirname(os.path.realpath(__file__)))
_OWN = tuple(
    os.path.join(folder, "")
    for folder in {
        _HERE,
        os.path.dirname(os.path.dirname(os.path.abspath(__file__))),
        # In a checkout the two folders below lie beside the package; they are links inside it.
        os.path.realpath(os.path.join(_HERE, "backends")),
        os.path.realpath(os.path.join(_HERE, "optimizers")),
    }
)
_SHIPPED_EXAMPLES = os.path.join(_HERE, "examples", "")

# Keyed by id with the code object kept alive: hashing a code object hashes all its constants.
_is_own: dict[int, tuple[CodeType, bool]] = {}


def user_frame(depth: int = 1) -> FrameType | None:
    """Return the nearest frame, `depth` above the caller, that is not this package's code."""
    frame: FrameType | None = sys._getframe(depth + 1)
    while frame is not None:
        code = frame.f_code
        known = _is_own.get(id(code))
        if known is None:
            known = _is_own[id(code)] = (code, _belongs(code.co_filename))
        if not known[1]:
            return frame
        frame = frame.f_back
    return None


def is_users(filename: str) -> bool:
    """Whether a file is not this package's, nor the machinery it runs on."""
    return not _belongs(filename)


def _belongs(filename: str) -> bool:
    if filename.startswith(_SHIPPED_EXAMPLES):
        return False
    return filename.startswith(_OWN) or filename.startswith("<frozen") or "/asyncio/" in filename


class Sources:
    """The table of source lines of one run, as far as this process has met them.

    Attributes:
        places: Address of an instruction -> number of the line; only of the user's code. The bytecode lies inside
            its code object, so the object's id and an offset add up to a number no other live place has.
        latest: The place found last: code object, offset of the instruction, number of the line. A loop mostly
            comes from the same one again.
    """

    __slots__ = ("_by_line", "_codes", "latest", "places")

    def __init__(self, lines: list[str]) -> None:
        self._by_line = {line: number for number, line in enumerate(lines)}
        self.places: dict[int, int] = {}
        self._codes: list[CodeType] = []
        self.latest: tuple[CodeType | None, int, int] = (None, 0, -1)

    def find(self, frame: FrameType) -> int | None:
        """Return the number of the line a frame stands at, None if it is new."""
        number = self.places.get(id(frame.f_code) + frame.f_lasti)
        if number is not None:
            self.latest = frame.f_code, frame.f_lasti, number
        return number

    def learn(self, frame: FrameType) -> tuple[int, str | None]:
        """Return (number, the line in words if it must be recorded first)."""
        code = frame.f_code
        line = f"{code.co_filename}:{frame.f_lineno} in {code.co_qualname}"
        line = line.encode("utf-8", "replace").decode()  # the path of a file need not be valid text
        known = self._by_line.get(line)
        number = len(self._by_line) if known is None else known
        self._by_line[line] = number
        self.places[id(code) + frame.f_lasti] = number
        self._codes.append(code)
        return number, (line if known is None else None)
