"""Staying put: why a variable goes on living in its run although another one is current.

Variables move to the run they are used in. Two kinds of programs do not: one that was loaded beside a program
in use with the same paths, as long as that one is in use; and a look into the past, which must not reach the
present. What moving means is the variable's own business.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from eventcore.history.run import Run


class Stay:
    """Shared by the variables of one program.

    Args:
        always: For good, or only while another object has the path in the run that is current.
    """

    def __init__(self, always: bool) -> None:
        self.always = always
        self._asked = 0

    def out_of(self, run: Run, path: str) -> bool:
        """Whether a variable of this path keeps out of `run`."""
        if self.always:
            return True
        self._asked += 1
        # Making sure that the other is not mere garbage is slow, so it is done less and less often.
        return run.is_taken(path, collect=self._asked & (self._asked - 1) == 0)
