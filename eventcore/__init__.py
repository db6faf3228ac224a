"""The public names of eventcore, and nothing else.

Every name is imported from its home when it is first used, so `import eventcore` stays light.
"""

from __future__ import annotations

import importlib as _importlib
import os as _os
from typing import TYPE_CHECKING
from typing import Any as _Any

from eventcore._version import __version__ as __version__

if TYPE_CHECKING:
    from eventcore import errors as errors
    from eventcore import ops as ops
    from eventcore import optimizers as optimizers
    from eventcore import saving as saving
    from eventcore import testing as testing
    from eventcore.errors import EventcoreError as EventcoreError
    from eventcore.history.run import Run as Run
    from eventcore.history.state import State as State
    from eventcore.history.store import Store as Store
    from eventcore.history.store import open as open
    from eventcore.history.store import set_seed as set_seed
    from eventcore.language_models import Branch as Branch
    from eventcore.language_models import ChainOfThought as ChainOfThought
    from eventcore.language_models import Decision as Decision
    from eventcore.language_models import EmbeddingModel as EmbeddingModel
    from eventcore.language_models import Generator as Generator
    from eventcore.language_models import LanguageModel as LanguageModel
    from eventcore.language_models import SelfCritique as SelfCritique
    from eventcore.models.data_model import DataModel as DataModel
    from eventcore.models.field import Field as Field
    from eventcore.models.json_data_model import JsonDataModel as JsonDataModel
    from eventcore.models.symbolic import SymbolicDataModel as SymbolicDataModel
    from eventcore.models.trainable import Instructions as Instructions
    from eventcore.models.trainable import Prediction as Prediction
    from eventcore.models.trainable import Trainable as Trainable
    from eventcore.models.trainable import is_trainable as is_trainable
    from eventcore.modules.core import And as And
    from eventcore.modules.core import Concat as Concat
    from eventcore.modules.core import Identity as Identity
    from eventcore.modules.core import InMask as InMask
    from eventcore.modules.core import Lambda as Lambda
    from eventcore.modules.core import Not as Not
    from eventcore.modules.core import Or as Or
    from eventcore.modules.core import OutMask as OutMask
    from eventcore.modules.core import Xor as Xor
    from eventcore.modules.hooks import Hook as Hook
    from eventcore.modules.input import Input as Input
    from eventcore.modules.module import Module as Module
    from eventcore.modules.waiting import wait as wait
    from eventcore.optimizers import OMEGA as OMEGA
    from eventcore.programs.program import Program as Program
    from eventcore.programs.sequential import Sequential as Sequential
    from eventcore.replay.under_way import idempotency_key as idempotency_key
    from eventcore.replay.under_way import spend as spend
    from eventcore.replay.user_effects import effect as effect
    from eventcore.replay.user_effects import now as now
    from eventcore.replay.user_effects import random as random
    from eventcore.replay.user_effects import sleep as sleep
    from eventcore.replay.user_effects import timeout as timeout
    from eventcore.replay.user_effects import to_thread as to_thread
    from eventcore.replay.user_effects import uuid as uuid
    from eventcore.session import clear_session as clear_session
    from eventcore.training import callbacks as callbacks
    from eventcore.training import data as data
    from eventcore.training import metrics as metrics
    from eventcore.training import rewards as rewards
    from eventcore.training.retroactive import rescore as rescore
    from eventcore.training.rewards import ExactMatch as ExactMatch
    from eventcore.variables import initializers as initializers
    from eventcore.variables.initializers import Initializer as Initializer
    from eventcore.variables.scope import name_scope as name_scope
    from eventcore.variables.variable import Variable as Variable

_HOMES = {
    "And": "eventcore.modules.core",
    "Branch": "eventcore.language_models",
    "ChainOfThought": "eventcore.language_models",
    "Concat": "eventcore.modules.core",
    "DataModel": "eventcore.models.data_model",
    "Decision": "eventcore.language_models",
    "EmbeddingModel": "eventcore.language_models",
    "EventcoreError": "eventcore.errors",
    "ExactMatch": "eventcore.training.rewards",
    "Field": "eventcore.models.field",
    "Generator": "eventcore.language_models",
    "Hook": "eventcore.modules.hooks",
    "Identity": "eventcore.modules.core",
    "InMask": "eventcore.modules.core",
    "Initializer": "eventcore.variables.initializers",
    "Input": "eventcore.modules.input",
    "Instructions": "eventcore.models.trainable",
    "JsonDataModel": "eventcore.models.json_data_model",
    "Lambda": "eventcore.modules.core",
    "LanguageModel": "eventcore.language_models",
    "Module": "eventcore.modules.module",
    "Not": "eventcore.modules.core",
    "OMEGA": "eventcore.optimizers",
    "Or": "eventcore.modules.core",
    "OutMask": "eventcore.modules.core",
    "Prediction": "eventcore.models.trainable",
    "Program": "eventcore.programs.program",
    "Run": "eventcore.history.run",
    "SelfCritique": "eventcore.language_models",
    "Sequential": "eventcore.programs.sequential",
    "State": "eventcore.history.state",
    "Store": "eventcore.history.store",
    "SymbolicDataModel": "eventcore.models.symbolic",
    "Trainable": "eventcore.models.trainable",
    "Variable": "eventcore.variables.variable",
    "Xor": "eventcore.modules.core",
    "clear_session": "eventcore.session",
    "effect": "eventcore.replay.user_effects",
    "idempotency_key": "eventcore.replay.under_way",
    "is_trainable": "eventcore.models.trainable",
    "name_scope": "eventcore.variables.scope",
    "now": "eventcore.replay.user_effects",
    "open": "eventcore.history.store",
    "random": "eventcore.replay.user_effects",
    "set_seed": "eventcore.history.store",
    "sleep": "eventcore.replay.user_effects",
    "spend": "eventcore.replay.under_way",
    "timeout": "eventcore.replay.user_effects",
    "rescore": "eventcore.training.retroactive",
    "to_thread": "eventcore.replay.user_effects",
    "uuid": "eventcore.replay.user_effects",
    "wait": "eventcore.modules.waiting",
}
_MODULES = {
    "callbacks": "eventcore.training.callbacks",
    "data": "eventcore.training.data",
    "errors": "eventcore.errors",
    "initializers": "eventcore.variables.initializers",
    "metrics": "eventcore.training.metrics",
    "ops": "eventcore.ops",
    "optimizers": "eventcore.optimizers",
    "rewards": "eventcore.training.rewards",
    "saving": "eventcore.saving",
    "testing": "eventcore.testing",
}

__all__ = [
    "OMEGA",
    "And",
    "Branch",
    "ChainOfThought",
    "Concat",
    "DataModel",
    "Decision",
    "EmbeddingModel",
    "EventcoreError",
    "ExactMatch",
    "Field",
    "Generator",
    "Hook",
    "Identity",
    "InMask",
    "Initializer",
    "Input",
    "Instructions",
    "JsonDataModel",
    "Lambda",
    "LanguageModel",
    "Module",
    "Not",
    "Or",
    "OutMask",
    "Prediction",
    "Program",
    "Run",
    "SelfCritique",
    "Sequential",
    "State",
    "Store",
    "SymbolicDataModel",
    "Trainable",
    "Variable",
    "Xor",
    "callbacks",
    "clear_session",
    "data",
    "effect",
    "errors",
    "idempotency_key",
    "initializers",
    "is_trainable",
    "metrics",
    "name_scope",
    "now",
    "open",
    "ops",
    "optimizers",
    "random",
    "rescore",
    "rewards",
    "saving",
    "set_seed",
    "sleep",
    "spend",
    "testing",
    "timeout",
    "to_thread",
    "uuid",
    "wait",
]


def __getattr__(name: str) -> _Any:
    if name in _MODULES:
        found: _Any = _importlib.import_module(_MODULES[name])
    elif name in _HOMES:
        found = getattr(_importlib.import_module(_HOMES[name]), name)
    else:
        raise AttributeError(f"module 'eventcore' has no attribute {name!r}")
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return [*__all__, "__version__"]


if "EVENTCORE_RERUN" in _os.environ:  # this process runs a script again
    from eventcore.replay.rerun import begin as _begin

    _begin()
