#!/usr/bin/env python3
"""Prints what enters and leaves a region of a running earth world.

    watch_region.py --box 50 -2 53 2                    everything around London
    watch_region.py --has earth.Aircraft --seconds 60   aircraft anywhere, for a minute

It finds the world by the environment: see workers/python/README.md.
"""
import argparse, asyncio, json, math, os, signal, sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "generated"))
import grpc
from spatialdb.v1 import components_pb2, query_pb2 as query, worker_pb2 as wire, worker_pb2_grpc

METADATA = 2                                   # the id of spatialdb.v1.Metadata
METRES_PER_DEGREE = math.radians(6_371_008.8)  # of the earth world's map: x east, y north


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--box", nargs=4, type=float, metavar=("SOUTH", "WEST", "NORTH", "EAST"), help="degrees")
    parser.add_argument("--metres", nargs=4, type=float, metavar=("X1", "Y1", "X2", "Y2"), help="on the map")
    parser.add_argument("--has", metavar="COMPONENT", help="only entities with it, e.g. earth.Aircraft")
    parser.add_argument("--seconds", type=float, help="end after this time")
    parser.add_argument("--count", type=int, help="end after this many lines", default=math.inf)
    parser.add_argument("--json", action="store_true", help="print JSON lines")
    return parser.parse_args()


def constraint(args):
    """All that was asked for must hold; with no wish, every entity is shown."""
    wishes = []
    if args.box or args.metres:
        y1, x1, y2, x2 = (degrees * METRES_PER_DEGREE for degrees in args.box or (0, 0, 0, 0))
        x1, y1, x2, y2 = args.metres or (x1, y1, x2, y2)
        wishes.append(query.Constraint(box=query.Box(min=query.Point(x=x1, y=y1), max=query.Point(x=x2, y=y2))))
    if args.has:
        wishes.append(query.Constraint(has_component_named=args.has))
    return query.Constraint(**{"and": query.ConstraintList(constraints=wishes)})  # "and" is a Python keyword


class Watcher:
    def __init__(self, call, args):
        self.call, self.args, self.seq, self.printed, self.seen_frame = call, args, 0, 0, 0
        self.entities, self.entered = {}, []  # id -> (type, name) of all in view; ids new in frames not yet whole

    async def send(self, **body):
        self.seq += 1  # from 1, no gaps
        await self.call.write(wire.ClientMessage(seq=self.seq, **body))

    async def run(self):
        await self.send(hello=wire.Hello(
            protocol_min=1, protocol_max=1, worker_type=os.environ.get("SPATIALDB_WORKER_TYPE") or "watch",
            name=os.environ.get("SPATIALDB_WORKER_NAME", ""), token=os.environ.get("SPATIALDB_TOKEN", "")))
        # Only Metadata is sent: an entity that just moves inside the region costs nothing.
        await self.send(subscribe=wire.Subscribe(view=query.View(
            view_id=1, constraint=constraint(self.args), components=[METADATA])))
        while self.printed < self.args.count and (message := await self.call.read()) is not grpc.aio.EOF:
            if message.HasField("frame"):
                self.apply(message.frame)
            elif message.HasField("reset"):
                self.entities.clear()
            elif message.HasField("goodbye"):
                print("goodbye:", message.goodbye.reason, message.goodbye.detail, file=sys.stderr)
        return self.printed < self.args.count  # whether the server ended the session

    def apply(self, frame):
        self.seen_frame = frame.frame
        if frame.rejections:
            raise RuntimeError(f"refused: {frame.rejections[0].reason}: {frame.rejections[0].detail}")
        for left in frame.left:
            reason = wire.LeaveReason.Name(left.reason).removeprefix("LEAVE_REASON_").lower()
            for entity in left.entities:
                self.show("leave", entity, *self.entities.pop(entity, ("", "")), reason)
        for column in frame.columns:
            for entity, value in zip(column.entities, column.values):
                metadata = components_pb2.Metadata.FromString(value)
                self.entities[entity] = (metadata.type, metadata.name)
        self.entered += frame.entered
        if not frame.more:  # otherwise the names of what entered may still come
            for entity in self.entered:
                self.show("enter", entity, *self.entities.setdefault(entity, ("", "")))
            self.entered = []

    def show(self, change, entity, kind, name, reason=""):
        self.printed += 1
        if self.printed <= self.args.count:
            as_json = dict(change=change, entity=str(entity), type=kind, name=name, reason=reason)  # ids as strings
            as_text = f"{change}  {kind or 'entity':<10} {name} ({entity}) {reason}".rstrip()
            print(json.dumps(as_json) if self.args.json else as_text, flush=True)

    async def heartbeats(self):
        while True:
            await asyncio.sleep(1)
            await self.send(heartbeat=wire.Heartbeat(seen_frame=self.seen_frame))


async def main(args):
    stop = asyncio.Event()
    for sign in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(sign, stop.set)
    async with grpc.aio.insecure_channel(os.environ.get("SPATIALDB_ADDRESS") or "127.0.0.1:7400") as channel:
        watcher = Watcher(worker_pb2_grpc.WorkerServiceStub(channel).Attach(), args)
        run, beats, stopped = (asyncio.create_task(task) for task in (watcher.run(), watcher.heartbeats(), stop.wait()))
        await asyncio.wait({run, stopped}, timeout=args.seconds, return_when=asyncio.FIRST_COMPLETED)
        if not run.done() or not run.result():  # raises what went wrong, if anything did
            await watcher.send(goodbye=wire.Goodbye())
            await asyncio.wait({run}, timeout=2)


if __name__ == "__main__":
    try:
        asyncio.run(main(arguments()))
    except grpc.aio.AioRpcError as error:
        sys.exit(f"spatialdb: {error.code().name}: {error.details()}")
    except RuntimeError as error:
        sys.exit(f"spatialdb: {error}")
