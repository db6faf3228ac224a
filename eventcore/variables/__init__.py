"""Variables: JSON state whose every read and mutation is an event."""

from eventcore.variables.initializers import Empty as Empty
from eventcore.variables.initializers import Initializer as Initializer
from eventcore.variables.scope import current_path as current_path
from eventcore.variables.scope import name_scope as name_scope
from eventcore.variables.variable import Variable as Variable

__all__ = ["Empty", "Initializer", "Variable", "current_path", "name_scope"]
