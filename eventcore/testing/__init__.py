"""What tests of eventcore and of its extensions are built from, shipped so that others can use it.

One line each for authors of modules, optimizers, rewards and backends:

    ec.testing.check_module(MyModule, inputs=MyInput)
    ec.testing.check_optimizer(MyOptimizer)
    ec.testing.check_reward(MyReward, MyAnswer)
    ec.testing.check_backend(lambda place: f"mine:{place}")

Names are imported from their homes when they are first used: the checks and machines need hypothesis, the
conformance suite of backends needs pytest; both are in the extra `testing`.
"""

from __future__ import annotations

import importlib as _importlib
from typing import TYPE_CHECKING
from typing import Any as _Any

if TYPE_CHECKING:
    from eventcore.testing import strategies as strategies
    from eventcore.testing.backend_checks import backend_checks_of as backend_checks_of
    from eventcore.testing.backend_checks import check_backend as check_backend
    from eventcore.testing.backend_machine import BackendMachine as BackendMachine
    from eventcore.testing.checks import Check as Check
    from eventcore.testing.checks import CheckFailed as CheckFailed
    from eventcore.testing.checks import ChecksFailed as ChecksFailed
    from eventcore.testing.checks import Report as Report
    from eventcore.testing.fake_model import FakeLanguageModel as FakeLanguageModel
    from eventcore.testing.module_machine import ModuleMachine as ModuleMachine
    from eventcore.testing.module_machine import run_module_machine as run_module_machine
    from eventcore.testing.modules import check_module as check_module
    from eventcore.testing.modules import module_checks_of as module_checks_of
    from eventcore.testing.optimizers import check_optimizer as check_optimizer
    from eventcore.testing.optimizers import optimizer_checks_of as optimizer_checks_of
    from eventcore.testing.pytest_plugin import parametrize_with_checks as parametrize_with_checks
    from eventcore.testing.rewards import check_reward as check_reward
    from eventcore.testing.rewards import reward_checks_of as reward_checks_of

_HOMES = {
    "BackendMachine": "backend_machine",
    "ModuleMachine": "module_machine",
    "run_module_machine": "module_machine",
    "Check": "checks",
    "CheckFailed": "checks",
    "ChecksFailed": "checks",
    "FakeLanguageModel": "fake_model",
    "Report": "checks",
    "backend_checks_of": "backend_checks",
    "check_backend": "backend_checks",
    "check_module": "modules",
    "check_optimizer": "optimizers",
    "check_reward": "rewards",
    "module_checks_of": "modules",
    "optimizer_checks_of": "optimizers",
    "parametrize_with_checks": "pytest_plugin",
    "reward_checks_of": "rewards",
}

__all__ = [
    "BackendMachine",
    "Check",
    "CheckFailed",
    "ChecksFailed",
    "FakeLanguageModel",
    "ModuleMachine",
    "Report",
    "backend_checks_of",
    "check_backend",
    "check_module",
    "check_optimizer",
    "check_reward",
    "module_checks_of",
    "optimizer_checks_of",
    "parametrize_with_checks",
    "reward_checks_of",
    "run_module_machine",
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
