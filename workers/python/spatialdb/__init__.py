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
from .components import component_id
from .errors import Full, NotConnected, ProtocolError, Refused, Replaced, SpatialdbError, Unreachable
from .events import (
    Changed,
    Disconnected,
    Entered,
    Event,
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
from .options import Options
from .positions import Positions
from .replica import Replica
from .view import View
from .worker import Worker, connect

__all__ = [
    "Changed", "Disconnected", "Entered", "Event", "FlagsChanged", "Full", "Gone", "Left", "LeaveReason",
    "NotConnected", "Options", "Overflowed", "Positions", "ProtocolError", "Reconnected", "Refused", "Rejected",
    "Replaced", "Replica", "Reset", "SchemaChanged", "SpatialdbError", "Unreachable", "View", "ViewReady", "Worker",
    "component_id", "connect", "query",
]  # fmt: skip
