"""`python -m eventcore`: the command line, for those who have no `eventcore` script on their path."""

from __future__ import annotations

import sys

from eventcore.cli import main

if __name__ == "__main__":
    sys.exit(main())
