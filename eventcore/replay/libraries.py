"""Which files are a library's: Python's own, or an installed package's, whose lines nobody who runs a script wrote."""

from __future__ import annotations

import os
import sysconfig

_STANDARD = [sysconfig.get_path(place) for place in ("stdlib", "platstdlib")]
_LIBRARIES = (
    "<frozen",
    *{os.path.join(place, "") for folder in _STANDARD for place in (folder, os.path.realpath(folder))},
)
_PACKAGES = tuple(os.sep + name + os.sep for name in ("site-packages", "dist-packages"))


def is_librarys(filename: str) -> bool:
    """Whether a file is Python's own or an installed package's."""
    return filename.startswith(_LIBRARIES) or any(folder in filename for folder in _PACKAGES)
