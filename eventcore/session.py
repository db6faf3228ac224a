"""Starting over in one process: forget automatic names and who holds which path."""

from __future__ import annotations

import gc

from eventcore.history.scope import current_run, process_scope, scope
from eventcore.models.naming import clear_names


def clear_session(free_memory: bool = True) -> None:
    """Forget what this process named so far, so that a program can be built again as if for the first time.

    Automatic names begin anew and the current run lets its paths be declared again. Nothing in any log
    changes, and no random state is touched.

    Args:
        free_memory: Collect garbage afterwards.
    """
    clear_names()
    if scope().run is not None or process_scope.run is not None:
        current_run().forget_owners()
    if free_memory:
        gc.collect()
