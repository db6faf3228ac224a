"""The packages integrated here, kept to themselves: no cache in the home directory, no threads, no look-ups."""

from __future__ import annotations

import os
import tempfile

os.environ.setdefault("DSPY_CACHEDIR", os.path.join(tempfile.gettempdir(), "eventcore-tests-dspy"))
os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")

try:
    import tqdm  # type: ignore[import-untyped]
except ImportError:
    pass
else:
    tqdm.tqdm.monitor_interval = (
        0  # a thread that never ends: a divergence would wait for what it may still do
    )
