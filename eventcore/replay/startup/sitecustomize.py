"""Begins a rerun before the first line of the script: Python imports this by its name when it starts.

The folder is put on the path of processes that run a script again (`eventcore.replay.rerunning`), and stays on that
of the processes the script starts: in those of a replay connections are refused too, whether they know eventcore or
not. Whatever `sitecustomize` the environment has of its own is imported afterwards.
"""

import os
import sys

_HERE = os.path.dirname(os.path.abspath(__file__))
_REFUSED = os.environ.get("EVENTCORE_REFUSED")


def _refuse_connections(event, arguments, file=_REFUSED, open=os.open, write=os.write, close=os.close):  # type: ignore[no-untyped-def]
    """Audit hook: nothing leaves this process. One byte in the file stands for each attempt."""
    if event in ("socket.connect", "socket.getaddrinfo", "socket.gethostbyname", "socket.sendto"):
        try:
            handle = open(file, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
            write(handle, b".")
            close(handle)
        except OSError:
            pass  # the replay is over: it counts no more
        raise ConnectionRefusedError(
            f"cannot connect in a replay: {event} {arguments[1:] or arguments}; calls go through effects, which are "
            "answered from the log"
        )


if _REFUSED:
    sys.addaudithook(_refuse_connections)

if os.environ.get("EVENTCORE_RERUN"):
    try:
        import eventcore as eventcore
    except ImportError:
        pass  # another Python, which will not come to the run

sys.path[:] = [place for place in sys.path if os.path.abspath(place or os.curdir) != _HERE]
_own = sys.modules.pop("sitecustomize")
try:
    import sitecustomize as sitecustomize  # type: ignore[import-not-found]
except ImportError:
    sys.modules["sitecustomize"] = _own
