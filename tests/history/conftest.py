"""Every test of the engine begins and ends with no store open and no run current."""

from __future__ import annotations

from tests.history.store_fixtures import disk as disk
from tests.history.store_fixtures import nothing_open as nothing_open
from tests.history.store_fixtures import reopen as reopen
from tests.history.store_fixtures import url as url
