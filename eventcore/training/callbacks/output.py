"""Lines for a person who looks on. Whoever cannot be told is no reason to end a training."""

from __future__ import annotations

from typing import IO


def write_line(file: IO[str], line: str) -> bool:
    """Write a line, in ASCII where the file takes nothing else; returns False if the file takes no more."""
    try:
        try:
            file.write(line + "\n")
        except UnicodeEncodeError:
            file.write(line.encode("ascii", "backslashreplace").decode() + "\n")
        file.flush()
    except (OSError, ValueError):  # closed, or nobody reads any more
        return False
    return True
