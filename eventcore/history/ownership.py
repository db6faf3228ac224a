"""Who holds a run for writing, in words that survive the process that wrote them.

The writer epoch in the backend is what refuses a second writer; this module only tells people who the
other one is, and whether it is still alive on this machine.
"""

from __future__ import annotations

import os
import platform
import re
import time
import uuid

from eventcore._version import __version__

_WRITER = re.compile(r"^process (\d+) started (\S+) on (\S+), eventcore (\S+), opening ([0-9a-f]+)$")


def describe_self() -> str:
    """Describe this process and this opening."""
    pid = os.getpid()
    host, opening = platform.node() or "-", uuid.uuid4().hex[:12]
    return f"process {pid} started {_started(pid)} on {host}, eventcore {__version__}, opening {opening}"


def is_self(writer: str) -> bool:
    """Whether the described writer is this very process."""
    found = _WRITER.match(writer)
    return found is not None and int(found[1]) == os.getpid() and is_alive(writer)


def is_alive(writer: str) -> bool:
    """Whether the described writer is a process running on this machine now.

    A writer on another machine counts as gone: the writer epoch still refuses it if it is not.
    """
    found = _WRITER.match(writer)
    if found is None or found[3] != (platform.node() or "-"):
        return False
    started = _started(int(found[1]))
    return started != "?" and started == found[2]


def in_words(writer: str) -> str:
    """Describe a writer for people: which process, since when, and where if that is elsewhere."""
    found = _WRITER.match(writer)
    if found is None:
        return writer
    since = _time_of(found[2]) if is_alive(writer) else ""
    here = found[3] == (platform.node() or "-")
    return f"process {found[1]}{since}" if here else f"process {found[1]} on {found[3]}"


def _time_of(started: str) -> str:
    """When a process of this machine started, from its token; "" if the machine does not say."""
    try:
        with open("/proc/stat") as file:
            booted = next(int(line.split()[1]) for line in file if line.startswith("btime "))
        moment = booted + int(started) / os.sysconf("SC_CLK_TCK")
    except (OSError, ValueError, StopIteration):
        return ""
    return time.strftime(" (started %Y-%m-%d %H:%M:%S)", time.localtime(moment))


def _started(pid: int) -> str:
    """A token that tells this process from a later one with the same number; "?" if there is none."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            fields = file.read().rpartition(b")")[2].split()
        # A zombie has been killed; that its parent has not asked for it yet keeps nobody waiting.
        return "?" if fields[0] in (b"Z", b"X") else fields[19].decode()
    except FileNotFoundError:
        if os.path.isdir("/proc/self"):
            return "?"
    except OSError:
        return "?"
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return "?"
    except PermissionError:
        pass
    return "unknown"
