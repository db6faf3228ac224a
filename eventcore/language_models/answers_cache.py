"""Answers kept for equal requests: in memory, and in a folder if one is named.

Off unless asked for. What repeats a run without paying again is its log; this only spares equal requests of
different runs. Files are JSON, written beside and renamed, so a reader never sees half of one.
"""

from __future__ import annotations

import os
import threading
from collections import OrderedDict
from pathlib import Path
from typing import Any, cast

import msgspec

JsonDict = dict[str, Any]
_KEPT = 10_000


class AnswersCache:
    """A bounded map from the digest of a request to its answer.

    Args:
        folder: Where answers are kept beyond this process, or None.
    """

    def __init__(self, folder: str | os.PathLike[str] | None = None) -> None:
        self._folder = Path(folder) if folder is not None else None
        self._kept: OrderedDict[str, bytes] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, digest: str) -> JsonDict | None:
        """Return the answer of a request, a copy of its own, or None. A damaged file counts as none."""
        with self._lock:
            held = self._kept.get(digest)
            if held is not None:
                self._kept.move_to_end(digest)
        if held is None and self._folder is not None:
            try:
                held = (self._folder / f"{digest}.json").read_bytes()
            except OSError:
                return None
        try:
            found: Any = msgspec.json.decode(held) if held is not None else None
        except msgspec.DecodeError:
            return None
        return cast("JsonDict", found) if isinstance(found, dict) else None

    def put(self, digest: str, answer: JsonDict) -> None:
        """Keep an answer; the least recently used of the memory is dropped beyond 10,000."""
        written = msgspec.json.encode(answer)
        with self._lock:
            self._kept[digest] = written
            self._kept.move_to_end(digest)
            if len(self._kept) > _KEPT:
                self._kept.popitem(last=False)
        if self._folder is not None:
            self._folder.mkdir(parents=True, exist_ok=True)
            beside = self._folder / f"{digest}.{os.getpid()}.{threading.get_ident()}.part"
            beside.write_bytes(written)
            beside.replace(self._folder / f"{digest}.json")
