"""What tests of eventcore and of its extensions are built from, shipped so that others can use it.

One line each for authors of modules, optimizers, rewards and backends:

    ec.testing.check_module(MyModule, inputs=MyInput)

Names are imported from their homes when they are first used: the checks and machines need hypothesis, the
conformance suite of backends needs pytest; both are in the extra `testing`.
"""

from __future__ import annotations

import importlib as _importlib
from typing import TYPE_CHECKING
from typing import Any as _Any

if TYPE_CHECKING:
    from eventcore.testing import strategies as strategies
    from eventcore.testing.checks import Check as Check
    from eventcore.testing.checks import CheckFailed as CheckFailed
    from eventcore.testing.checks import ChecksFailed as ChecksFailed
    from eventcore.testing.checks import Report as Report
    from eventcore.testing.modules import check_module as check_module
    from eventcore.testing.modules import module_checks_of as module_checks_of

_HOMES = {
    "Check": "checks",
    "CheckFailed": "checks",
    "ChecksFailed": "checks",
    "Report": "checks",
    "check_module": "modules",
    "module_checks_of": "modules",
}

__all__ = [
    "Check",
    "CheckFailed",
    "ChecksFailed",
    "Report",
    "check_module",
    "module_checks_of",
    "strategies",
]


def __getattr__(name: str) -> _Any:
    if name not in __all__:
        raise AttributeError(f"module 'eventcore.testing' has no attribute {name!r}")
    home = _importlib.import_module(f"eventcore.testing.{_HOMES.get(name, name)}")
    found = getattr(home, name) if name in _HOMES else home
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return [*__all__]
