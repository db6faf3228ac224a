"""Programs: modules made of modules, as a graph, a sequence, or a class of one's own."""

from eventcore.programs.functional import Functional as Functional
from eventcore.programs.program import Program as Program
from eventcore.programs.sequential import Sequential as Sequential

__all__ = ["Functional", "Program", "Sequential"]
