"""Begins a rerun before the first line of the script: Python imports this by its name when it starts.

The folder is put on the path of processes that run a script again (`eventcore.replay.rerunning`). Whatever
`sitecustomize` the environment has of its own is imported afterwards.
"""

import os
import sys

_HERE = os.path.dirname(os.path.abspath(__file__))

if os.environ.get("EVENTCORE_RERUN"):
    import eventcore as eventcore

sys.path[:] = [place for place in sys.path if os.path.abspath(place or os.curdir) != _HERE]
_own = sys.modules.pop("sitecustomize")
try:
    import sitecustomize as sitecustomize  # type: ignore[import-not-found]
except ImportError:
    sys.modules["sitecustomize"] = _own
