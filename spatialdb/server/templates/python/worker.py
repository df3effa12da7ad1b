"""Lets the sheep walk, ten times a second, and keeps them in the meadow.

spatialdb starts it with the world and tells it by the environment where the world is; it may as well be started by hand.
"""

import asyncio
import math
import os
import random
import signal
import sys
import time
from pathlib import Path

import grpc

# grpcio compiles .proto files as they are needed, so there is no generated code to keep up to date.
HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE / "proto"), str(HERE / "schema")]
wire, services = grpc.protos_and_services("spatialdb/v1/worker.proto")
query = grpc.protos("spatialdb/v1/query.proto")
schema = grpc.protos("spatialdb/v1/schema.proto")
Sheep = grpc.protos("meadow.proto").Sheep

SHEEP = Sheep.DESCRIPTOR.GetOptions().Extensions[schema.component].id
HEADING = Sheep.DESCRIPTOR.fields_by_name["heading_deg"].number
PERIOD_S, EDGE_M, TURN_DEG = 0.1, 100.0, 15.0


class Shepherd:
    def __init__(self, call):
        self.call = call
        self.seq = self.seen_frame = 0
        self.places = {}  # id -> [x, y, z]
        self.sheep = {}  # id -> Sheep

    async def send(self, **body):
        self.seq += 1  # from 1, without gaps
        await self.call.write(wire.ClientMessage(seq=self.seq, **body))

    async def read(self):
        """Keeps up with what the world says, until the session ends."""
        while (message := await self.call.read()) is not grpc.aio.EOF:
            if message.HasField("frame"):
                self.apply(message.frame)
            elif message.HasField("goodbye"):
                print("goodbye:", message.goodbye.reason, message.goodbye.detail, flush=True)

    def apply(self, frame):
        self.seen_frame = frame.frame
        for left in frame.left:
            for entity in left.entities:
                self.places.pop(entity, None)
                self.sheep.pop(entity, None)
        for column in frame.positions:
            for entity, *place in zip(column.entities, column.x, column.y, column.z or [0.0] * len(column.x)):
                self.places[entity] = place
        for column in frame.columns:
            for entity, value in zip(column.entities, column.values):
                if column.component == SHEEP:
                    self.sheep[entity] = Sheep.FromString(value)
        for ready in frame.view_ready:
            print("sheep in the meadow:", ready.entity_count, flush=True)
        for rejection in frame.rejections:
            print("refused:", rejection.reason, rejection.detail, flush=True)

    async def step(self):
        """Moves every sheep by one step."""
        flock = sorted(self.sheep.keys() & self.places.keys())
        for entity in flock:
            sheep, place = self.sheep[entity], self.places[entity]
            sheep.heading_deg = (sheep.heading_deg + random.uniform(-TURN_DEG, TURN_DEG)) % 360
            if max(abs(place[0]), abs(place[1])) > EDGE_M:  # back towards the middle
                sheep.heading_deg = math.degrees(math.atan2(-place[0], -place[1])) % 360
            heading = math.radians(sheep.heading_deg)
            place[0] += sheep.speed_mps * PERIOD_S * math.sin(heading)
            place[1] += sheep.speed_mps * PERIOD_S * math.cos(heading)
        if flock:
            x, y, z = zip(*(self.places[entity] for entity in flock))
            # Only the heading is replaced; the other fields stay as they are in the world.
            headings = [Sheep(heading_deg=self.sheep[entity].heading_deg).SerializeToString() for entity in flock]
            await self.send(update=wire.Update(
                positions=[wire.PositionColumn(entities=flock, x=x, y=y, z=z)],
                columns=[wire.Column(component=SHEEP, entities=flock, values=headings, fields=[HEADING])]))

    async def work(self, stop):
        await self.send(hello=wire.Hello(
            protocol_min=1, protocol_max=1,
            worker_type=os.environ.get("SPATIALDB_WORKER_TYPE") or "shepherd",
            name=os.environ.get("SPATIALDB_WORKER_NAME", ""),
            token=os.environ.get("SPATIALDB_TOKEN", "")))
        view = query.View(view_id=1, constraint=query.Constraint(has_component=SHEEP))
        await self.send(subscribe=wire.Subscribe(view=view))
        while not stop.is_set():
            await asyncio.sleep(PERIOD_S)
            started = time.monotonic()
            await self.step()
            busy_s = time.monotonic() - started
            await self.send(heartbeat=wire.Heartbeat(
                load=min(1.0, busy_s / PERIOD_S), tick_ms=busy_s * 1000, seen_frame=self.seen_frame))
        await self.send(goodbye=wire.Goodbye())


def connect(address):
    """With TLS where the environment names the certificates to trust."""
    ca = os.environ.get("SPATIALDB_CA")
    if not ca:
        return grpc.aio.insecure_channel(address)
    return grpc.aio.secure_channel(address, grpc.ssl_channel_credentials(Path(ca).read_bytes()))


async def main():
    address = os.environ.get("SPATIALDB_ADDRESS") or "127.0.0.1:7400"
    stop = asyncio.Event()
    for sign in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(sign, stop.set)
    async with connect(address) as channel:
        shepherd = Shepherd(services.WorkerServiceStub(channel).Attach())
        reading, working = asyncio.create_task(shepherd.read()), asyncio.create_task(shepherd.work(stop))
        await asyncio.wait({reading, working}, return_when=asyncio.FIRST_COMPLETED)
        (reading if reading.done() else working).result()  # raises what went wrong, if anything did
        await asyncio.wait({reading}, timeout=2)  # until the server has ended the session


if __name__ == "__main__":
    try:
        asyncio.run(main())
    except grpc.aio.AioRpcError as error:
        sys.exit(f"worker.py: {error.code().name}: {error.details()}")
