#!/usr/bin/env python3
"""Lets balloons drift with the wind over a running earth world, and takes its own down when it is stopped.

Balloons carry the worker's name: one that was killed and starts again goes on with its own. In a world with layers it moves
what it owns and nothing else; it keeps nothing that is not in the world, so another worker may go on with any balloon.
It finds the world by the environment: see workers/python/README.md.
"""
import argparse, asyncio, math, os, random, sys, uuid

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [os.path.dirname(HERE), os.path.join(HERE, "generated")]  # the SDK as it stands here; earth_pb2
import spatialdb
from earth_pb2 import Balloon
from spatialdb import query
from spatialdb.v1 import worker_pb2 as wire
from spatialdb.v1.components_pb2 import Metadata, Position

METRES_PER_DEGREE = math.radians(6_371_008.8)  # of the earth world's map: x east, y north
EDGE_X, PERIOD_S = 180 * METRES_PER_DEGREE, 0.2
# Somebody took it down, or somebody else moves it by now: both happen.
EXPECTED = (wire.ERROR_CODE_NOT_FOUND, wire.ERROR_CODE_NOT_AUTHORITATIVE)


class Drifter:
    def __init__(self, args):
        self.args, self.is_looked = args, False

    def own(self, worker):
        """The balloons with the name of this worker, whoever moves them."""
        named = worker.replica.all(Metadata)
        return [entity for entity, metadata in named if metadata.name.startswith(f"{self.args.name} ")]

    async def create(self, worker, count):
        lat, lon = (degrees * METRES_PER_DEGREE for degrees in self.args.around)
        await worker.create([[
            Position(x=lon + random.uniform(-1e5, 1e5), y=lat + random.uniform(-1e5, 1e5), z=random.uniform(300, 3000)),
            Metadata(type="balloon", name=f"{self.args.name} {uuid.uuid4().hex[:6]}"),
            Balloon(color=random.choice(["red", "#ff8800"]), wind_x_mps=random.uniform(2, 15)),
        ] for _ in range(count)])

    async def tick(self, worker):
        if not self.is_looked:
            self.is_looked, count = True, len(self.own(worker))
            print(f"{count} balloons of {self.args.name} are in the world already", flush=True)
            await self.create(worker, max(0, self.args.balloons - count))
        wind_turns, places = random.random() < 0.05, []
        for entity, balloon in worker.owned_with(Balloon):
            if (place := worker.replica.get(entity, Position)) is None:
                continue
            x = (place.x + balloon.wind_x_mps * PERIOD_S + EDGE_X) % (2 * EDGE_X) - EDGE_X  # round the world
            y = max(-EDGE_X / 2, min(EDGE_X / 2, place.y + balloon.wind_y_mps * PERIOD_S))
            places.append((entity, x, y, place.z))
            if wind_turns:  # replaces the two named fields and leaves the colour
                wind = Balloon(wind_x_mps=random.gauss(8, 4), wind_y_mps=random.gauss(0, 4))
                worker.update(entity, wind, fields=["wind_x_mps", "wind_y_mps"])
        if places:
            worker.move(0, *zip(*places))

    def hear(self, worker, event):
        if isinstance(event, spatialdb.Rejected) and event.code not in EXPECTED:
            raise RuntimeError(f"refused: {event.reason}: {event.detail}")

    async def take_down(self, worker):
        worker.delete(*(entity for entity in self.own(worker) if worker.owns(entity, Balloon)))


async def main(args):
    async with spatialdb.connect(worker_type=args.type, name=args.name, patience_s=3) as worker:
        # With its own updates the replica is what the world has, and each step goes on from it.
        await worker.subscribe(query.has(Balloon), components=[Position, Metadata, Balloon], own_updates=True)
        drifter = Drifter(args)
        await worker.run(drifter.tick, period_s=PERIOD_S, on_event=drifter.hear, before_end=drifter.take_down)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--balloons", type=int, default=20, help="how many to keep in the air")
    parser.add_argument("--around", nargs=2, type=float, default=[51.5, -0.1], metavar=("LATITUDE", "LONGITUDE"))
    parser.add_argument("--replace", dest="name", default=os.environ.get("SPATIALDB_WORKER_NAME") or "balloons",
                        metavar="NAME", help="take the place of the worker with this name, which the world has started")
    parsed = parser.parse_args()
    parsed.type = os.environ.get("SPATIALDB_WORKER_TYPE") or "balloons"
    try:
        asyncio.run(main(parsed))
    except (spatialdb.SpatialdbError, RuntimeError) as error:
        sys.exit(f"spatialdb: {error}")
