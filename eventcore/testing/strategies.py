"""The strategies of the harness under one name: `ec.testing.strategies.from_model(MyModel)`.

They are hypothesis strategies like any other and combine with them; nothing here runs a test.
"""

from eventcore.testing.event_strategies import events as events
from eventcore.testing.event_strategies import histories as histories
from eventcore.testing.schema_strategies import draw as draw
from eventcore.testing.schema_strategies import from_model as from_model
from eventcore.testing.schema_strategies import json_values as json_values

__all__ = ["draw", "events", "from_model", "histories", "json_values"]
