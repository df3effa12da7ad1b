"""Lets the sheep walk, ten times a second, and keeps them in the meadow. It moves those that it owns.

spatialdb starts it with the world and tells it by the environment where the world is; it may as well be started by hand:
`--replace shepherd-1` takes the place of the one that the world has started.
"""

import argparse
import asyncio
import math
import os
import random
import signal
import sys
import time
from pathlib import Path

import grpc

from authority import Authority

# grpcio compiles .proto files as they are needed, so there is no generated code to keep up to date.
HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE / "proto"), str(HERE / "schema")]
wire, services = grpc.protos_and_services("spatialdb/v1/worker.proto")
rules = grpc.protos("spatialdb/v1/authority.proto")
query = grpc.protos("spatialdb/v1/query.proto")
schema = grpc.protos("spatialdb/v1/schema.proto")
Sheep = grpc.protos("meadow.proto").Sheep

SHEEP = Sheep.DESCRIPTOR.GetOptions().Extensions[schema.component].id
HEADING = Sheep.DESCRIPTOR.fields_by_name["heading_deg"].number
PERIOD_S, EDGE_M, TURN_DEG = 0.1, 100.0, 15.0


class Shepherd:
    """It keeps nothing that is not in the world: another shepherd may go on with any sheep."""

    def __init__(self, call, name, stop):
        self.call, self.name, self.stop = call, name, stop
        self.seq = self.seen_frame = 0
        self.sending = asyncio.Lock()
        self.authority = Authority([])
        self.is_filled = False
        self.places = {}  # id -> (x, y, z)
        self.sheep = {}  # id -> Sheep

    async def send(self, **body):
        async with self.sending:  # a stream takes one message at a time
            self.seq += 1  # from 1, without gaps
            await self.call.write(wire.ClientMessage(seq=self.seq, **body))

    async def read(self):
        """Keeps up with what the world says, until the session ends."""
        while (message := await self.call.read()) is not grpc.aio.EOF:
            if message.HasField("welcome"):
                self.authority = Authority(message.welcome.layers)
            elif message.HasField("frame"):
                self.apply(message.frame)
                await self.warm()
            elif message.HasField("authority"):
                report = rules.AuthorityReport()
                if self.authority.hear(message.authority, report):
                    await self.report(report)
                await self.warm()
                if self.authority.is_drained:
                    self.stop.set()
            elif message.HasField("goodbye"):
                print("goodbye:", message.goodbye.reason, message.goodbye.detail, flush=True)

    async def report(self, report):
        report.authority_seen = self.authority.seen
        await self.send(authority_report=report)

    async def warm(self):
        """Says that it sees what is in the regions that it may get: its view has all sheep."""
        if self.is_filled and self.authority.to_warm:
            warmed, self.authority.to_warm = self.authority.to_warm, []
            await self.report(rules.AuthorityReport(warmed=warmed))

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
            self.is_filled = True
            print("sheep in the meadow:", ready.entity_count, flush=True)
        for rejection in frame.rejections:
            if rejection.code == wire.ERROR_CODE_NOT_AUTHORITATIVE:
                continue  # somebody else has got the sheep while the write was on its way
            print("refused:", rejection.reason, rejection.detail, flush=True)

    async def step(self):
        """Moves every sheep of its own by one step, from where the world has it."""
        update, moved = wire.Update(authority_seen=self.authority.seen), wire.PositionColumn()
        # Only the heading is replaced; the other fields stay as they are in the world.
        turned = wire.Column(component=SHEEP, fields=[HEADING])
        for entity in self.sheep.keys() & self.places.keys():
            if not self.authority.owns(entity, SHEEP):
                continue
            sheep, (x, y, z) = self.sheep[entity], self.places[entity]
            heading_deg = (sheep.heading_deg + random.uniform(-TURN_DEG, TURN_DEG)) % 360
            if max(abs(x), abs(y)) > EDGE_M:  # back towards the middle
                heading_deg = math.degrees(math.atan2(-x, -y)) % 360
            heading, way_m = math.radians(heading_deg), sheep.speed_mps * PERIOD_S
            moved.entities.append(entity)
            moved.x.append(x + way_m * math.sin(heading))
            moved.y.append(y + way_m * math.cos(heading))
            moved.z.append(z)
            turned.entities.append(entity)
            turned.values.append(Sheep(heading_deg=heading_deg).SerializeToString())
        if moved.entities:
            update.positions.append(moved)
            update.columns.append(turned)
            await self.send(update=update)

    async def work(self):
        await self.send(hello=wire.Hello(
            protocol_min=1, protocol_max=1,
            worker_type=os.environ.get("SPATIALDB_WORKER_TYPE") or "shepherd",
            name=self.name,
            token=os.environ.get("SPATIALDB_TOKEN", "")))
        # With its own updates it sees what the world has, and each step goes on from that.
        view = query.View(view_id=1, constraint=query.Constraint(has_component=SHEEP), own_updates=True)
        await self.send(subscribe=wire.Subscribe(view=view))
        while not self.stop.is_set():
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


async def main(name):
    address = os.environ.get("SPATIALDB_ADDRESS") or "127.0.0.1:7400"
    stop = asyncio.Event()
    for sign in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(sign, stop.set)
    async with connect(address) as channel:
        shepherd = Shepherd(services.WorkerServiceStub(channel).Attach(), name, stop)
        reading, working = asyncio.create_task(shepherd.read()), asyncio.create_task(shepherd.work())
        await asyncio.wait({reading, working}, return_when=asyncio.FIRST_COMPLETED)
        (reading if reading.done() else working).result()  # raises what went wrong, if anything did
        await asyncio.wait({reading}, timeout=2)  # until the server has ended the session


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--replace", metavar="NAME", default=os.environ.get("SPATIALDB_WORKER_NAME", ""),
                        help="take the place of the worker with this name")
    try:
        asyncio.run(main(parser.parse_args().replace))
    except grpc.aio.AioRpcError as error:
        sys.exit(f"worker.py: {error.code().name}: {error.details()}")
