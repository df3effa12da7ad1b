#!/usr/bin/env python3
"""Lets balloons drift with the wind over a running earth world, and takes them down when it is stopped.

Balloons carry the worker's name: one that was killed and starts again goes on with its own.
It finds the world by the environment: see workers/python/README.md.
"""
import argparse, asyncio, math, os, random, signal, sys, time, uuid

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "generated"))
import grpc
from earth_pb2 import Balloon
from spatialdb.v1 import query_pb2 as query, worker_pb2 as wire, worker_pb2_grpc
from spatialdb.v1.components_pb2 import Metadata

METADATA, BALLOON, WINDS = 2, 1004, [2, 3]     # ids of components, and field numbers of earth.Balloon
METRES_PER_DEGREE = math.radians(6_371_008.8)  # of the earth world's map: x east, y north
EDGE_X, PERIOD = 180 * METRES_PER_DEGREE, 0.2
NAME = os.environ.get("SPATIALDB_WORKER_NAME") or "balloons"


class Drifter:
    def __init__(self, call, args):
        self.call, self.args, self.seq, self.seen_frame = call, args, 0, 0
        self.places, self.balloons, self.mine = {}, {}, set()  # id -> [x, y, z]; id -> Balloon; ids of our own
        self.missing = 0                                       # to create: known once the view is filled

    async def send(self, **body):
        self.seq += 1  # from 1, no gaps
        await self.call.write(wire.ClientMessage(seq=self.seq, **body))

    async def read(self):
        while (message := await self.call.read()) is not grpc.aio.EOF:
            if message.HasField("frame"):
                self.apply(message.frame)
            elif message.HasField("goodbye"):
                return print("goodbye:", message.goodbye.reason, message.goodbye.detail, file=sys.stderr)

    def apply(self, frame):
        self.seen_frame = frame.frame
        for left in frame.left:
            self.mine.difference_update(left.entities)
        for column in frame.positions:
            for entity, *place in zip(column.entities, column.x, column.y, column.z or [0] * len(column.x)):
                self.places[entity] = place
        for column in frame.columns:
            for entity, value in zip(column.entities, column.values):
                if column.component == BALLOON:
                    self.balloons[entity] = Balloon.FromString(value)
                elif Metadata.FromString(value).name.startswith(NAME + " "):
                    self.mine.add(entity)
        for rejection in frame.rejections:
            # Not found: somebody took it down. Not authoritative: in a world with layers somebody else moves it.
            if rejection.code not in (wire.ERROR_CODE_NOT_FOUND, wire.ERROR_CODE_NOT_AUTHORITATIVE):
                raise RuntimeError(f"refused: {rejection.reason}: {rejection.detail}")
        if frame.view_ready:
            self.missing = self.args.balloons - len(self.mine)
            print(f"{len(self.mine)} balloons of {NAME} are in the world already", flush=True)

    async def create(self):
        count, self.missing = self.missing, 0
        lat, lon = (degrees * METRES_PER_DEGREE for degrees in self.args.around)
        x, y = ([at + random.uniform(-1e5, 1e5) for _ in range(count)] for at in (lon, lat))
        names = [Metadata(type="balloon", name=f"{NAME} {uuid.uuid4().hex[:6]}") for _ in x]
        balloons = [Balloon(color=random.choice(["red", "#ff8800"]), wind_x_mps=random.uniform(2, 15)) for _ in x]
        # With its request_id the same create sent twice would make nothing twice.
        await self.send(create=wire.Create(request_id=str(uuid.uuid4()), count=count, positions=[
            wire.PositionColumn(x=x, y=y, z=[random.uniform(300, 3000) for _ in x])], columns=[
            wire.Column(component=METADATA, values=[name.SerializeToString() for name in names]),
            wire.Column(component=BALLOON, values=[balloon.SerializeToString() for balloon in balloons])]))

    async def drift(self, wind_turns):
        flying = sorted(self.mine & self.places.keys() & self.balloons.keys())
        for place, wind in ((self.places[entity], self.balloons[entity]) for entity in flying):
            place[0] = (place[0] + wind.wind_x_mps * PERIOD + EDGE_X) % (2 * EDGE_X) - EDGE_X  # round the world
            place[1] = max(-EDGE_X / 2, min(EDGE_X / 2, place[1] + wind.wind_y_mps * PERIOD))
        x, y, z = ([self.places[entity][axis] for entity in flying] for axis in range(3))
        update = wire.Update(positions=[wire.PositionColumn(entities=flying, x=x, y=y, z=z)])
        if wind_turns:  # replaces the two named fields and leaves the colour
            for entity in flying:
                self.balloons[entity] = Balloon(wind_x_mps=random.gauss(8, 4), wind_y_mps=random.gauss(0, 4))
            update.columns.add(component=BALLOON, entities=flying, fields=WINDS,
                               values=[self.balloons[entity].SerializeToString() for entity in flying])
        await self.send(update=update)

    async def run(self, stop):
        await self.send(hello=wire.Hello(protocol_min=1, protocol_max=1, name=NAME, worker_type=os.environ.get(
            "SPATIALDB_WORKER_TYPE") or "balloons", token=os.environ.get("SPATIALDB_TOKEN", "")))
        has_balloon = query.Constraint(has_component=BALLOON)
        await self.send(subscribe=wire.Subscribe(view=query.View(view_id=1, constraint=has_balloon)))
        while not stop.is_set():
            await asyncio.sleep(PERIOD)
            started = time.monotonic()
            if self.missing > 0:
                await self.create()
            await self.drift(wind_turns=random.random() < 0.05)
            await self.send(heartbeat=wire.Heartbeat(
                tick_ms=(time.monotonic() - started) * 1000, seen_frame=self.seen_frame))
        await self.send(delete=wire.Delete(entities=sorted(self.mine)))
        await self.send(goodbye=wire.Goodbye())


async def main(args):
    async with grpc.aio.insecure_channel(os.environ.get("SPATIALDB_ADDRESS") or "127.0.0.1:7400") as channel:
        drifter, stop = Drifter(worker_pb2_grpc.WorkerServiceStub(channel).Attach(), args), asyncio.Event()
        for sign in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(sign, stop.set)
        read, run = asyncio.create_task(drifter.read()), asyncio.create_task(drifter.run(stop))
        await asyncio.wait({read, run}, return_when=asyncio.FIRST_COMPLETED)
        (read if read.done() else run).result()  # raises what went wrong, if anything did
        await asyncio.wait({read}, timeout=2)    # until the server has taken them down and ends the session


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--balloons", type=int, default=20, help="how many to keep in the air")
    parser.add_argument("--around", nargs=2, type=float, default=[51.5, -0.1], metavar=("LATITUDE", "LONGITUDE"))
    try:
        asyncio.run(main(parser.parse_args()))
    except (grpc.aio.AioRpcError, RuntimeError) as error:
        sys.exit(f"spatialdb: {error.details() if isinstance(error, grpc.aio.AioRpcError) else error}")
