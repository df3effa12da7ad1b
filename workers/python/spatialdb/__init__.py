"""The Python SDK for spatialdb workers: attach, keep a local replica of what your views show, write back.

    async with spatialdb.connect(worker_type="balloons") as worker:
        view = await worker.subscribe(query.has(Balloon), components=[Position, Balloon])
        await view.ready()
        async for event in worker.events():
            ...

Responsible for: one session across reconnects (`Worker`), its `Replica`, typed writes, bounded queues.
Not responsible for: what a worker simulates, and its loop. The worker calls `heartbeat` itself, so that one that
hangs shows.
"""

from . import query
from .answer import Answer, Found
from .authority import (
    Border,
    Drained,
    Draining,
    Gained,
    Kept,
    Layer,
    LossImminent,
    LossReason,
    Lost,
    Region,
    RegionChanged,
    RegionGained,
    RegionLost,
    Side,
)
from .components import component_id, event_ids
from .densities import DensityMap, Square
from .errors import Full, NotConnected, ProtocolError, Refused, Replaced, SpatialdbError, Unreachable
from .events import (
    Changed,
    DensitiesChanged,
    Disconnected,
    Entered,
    EntityEvents,
    Event,
    EventsMissed,
    FlagsChanged,
    Gone,
    Left,
    LeaveReason,
    Overflowed,
    Reconnected,
    Rejected,
    Reset,
    SchemaChanged,
    ViewReady,
)
from .options import Options, replaced_name
from .positions import Positions
from .replica import Replica
from .view import View
from .worker import Worker, connect

__all__ = [
    "Answer", "Border", "Changed", "DensitiesChanged", "DensityMap", "Disconnected", "Drained", "Draining",
    "Entered", "EntityEvents", "Event", "EventsMissed", "FlagsChanged", "Found", "Full", "Gained", "Gone", "Kept",
    "Layer", "LeaveReason", "Left", "LossImminent", "LossReason", "Lost", "NotConnected", "Options", "Overflowed",
    "Positions", "ProtocolError", "Reconnected", "Refused", "Region", "RegionChanged", "RegionGained", "RegionLost",
    "Rejected", "Replaced", "Replica", "Reset", "SchemaChanged", "Side", "SpatialdbError", "Square", "Unreachable",
    "View", "ViewReady", "Worker", "component_id", "connect", "event_ids", "query", "replaced_name",
]  # fmt: skip
