"""Modules: callables with variables, and the ones that come with the library."""

from eventcore.modules.call_context import CallContext as CallContext
from eventcore.modules.call_context import current_call as current_call
from eventcore.modules.core import And as And
from eventcore.modules.core import Concat as Concat
from eventcore.modules.core import Factorize as Factorize
from eventcore.modules.core import Identity as Identity
from eventcore.modules.core import InMask as InMask
from eventcore.modules.core import Lambda as Lambda
from eventcore.modules.core import Not as Not
from eventcore.modules.core import Or as Or
from eventcore.modules.core import OutMask as OutMask
from eventcore.modules.core import Prefix as Prefix
from eventcore.modules.core import Suffix as Suffix
from eventcore.modules.core import Xor as Xor
from eventcore.modules.hooks import Hook as Hook
from eventcore.modules.input import Input as Input
from eventcore.modules.input import InputModule as InputModule
from eventcore.modules.module import Module as Module
from eventcore.modules.waiting import wait as wait

__all__ = [
    "And",
    "CallContext",
    "Concat",
    "Factorize",
    "Hook",
    "Identity",
    "InMask",
    "Input",
    "InputModule",
    "Lambda",
    "Module",
    "Not",
    "Or",
    "OutMask",
    "Prefix",
    "Suffix",
    "Xor",
    "current_call",
    "wait",
]
