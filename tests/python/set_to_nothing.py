#!/usr/bin/env python3
"""Sets fields to 0, "", false, [] and no arm of a oneof, by `fields` and by whole values, and reads them back.

Uses no SDK: grpcio's asyncio API and generated code. Run by the tests, with SPATIALDB_ADDRESS set.
"""
import asyncio, os

import grpc
from probe_pb2 import Vitals
from spatialdb.v1 import query_pb2 as query, worker_pb2 as wire, worker_pb2_grpc, world_pb2, world_pb2_grpc

VITALS = 1000
NUMBERS = {name: field.number for name, field in Vitals.DESCRIPTOR.fields_by_name.items()}


def full():
    vitals = Vitals(hp=7, label="seven", alive=True, marks=[1, 2, 3], seal=b"\0\xff", awake="yes", stock={"tea": -1})
    vitals.legs.add(name="first", metres=1.5)
    return vitals


class Session:
    def __init__(self, call):
        self.call, self.seq = call, 0

    async def send(self, **body):
        self.seq += 1
        await self.call.write(wire.ClientMessage(seq=self.seq, **body))

    async def decided(self):
        """Reads until the last message is decided; nothing may have been refused. Gives what was created."""
        created = None
        while (message := await self.call.read()) is not grpc.aio.EOF:
            if message.HasField("created"):
                created = list(message.created.entities)
            assert not message.frame.rejections, message.frame.rejections
            if message.frame.applied_seq >= self.seq:
                return created
        raise AssertionError("the session ended")

    async def write(self, entity, value, fields=()):
        column = wire.Column(component=VITALS, entities=[entity], values=[value.SerializeToString()], fields=fields)
        await self.send(update=wire.Update(columns=[column]))
        await self.decided()


async def read(tools, entity):
    found = await tools.GetEntity(world_pb2.GetEntityRequest(entity=entity))
    value = next(value for value in found.components if value.id == VITALS).value
    vitals = Vitals()
    assert value.Unpack(vitals), value.type_url
    return vitals


async def main():
    async with grpc.aio.insecure_channel(os.environ["SPATIALDB_ADDRESS"]) as channel:
        session = Session(worker_pb2_grpc.WorkerServiceStub(channel).Attach())
        tools = world_pb2_grpc.WorldServiceStub(channel)
        await session.send(hello=wire.Hello(protocol_min=1, protocol_max=1, worker_type="nothing"))
        await session.send(create=wire.Create(count=1, columns=[
            wire.Column(component=VITALS, values=[full().SerializeToString()])]))
        entity, = await session.decided()
        assert await read(tools, entity) == full()

        ways = 0
        nothing = dict(hp=0, label="", alive=False, marks=[], seal=b"", legs=[], stock={})
        for name, value in nothing.items():
            # By name: the payload says 0, "", false or [], which proto3 does not even send.
            await session.write(entity, Vitals(**{name: value}), fields=[NUMBERS[name]])
            expected = full()
            expected.ClearField(name)
            assert await read(tools, entity) == expected, name
            # By a whole value: everything is as it is in the message.
            await session.write(entity, full())
            await session.write(entity, expected)
            found = await read(tools, entity)
            assert found == expected and found != full(), name
            await session.write(entity, full())
            ways += 2

        # All at once, the oneof too, whichever arm is named.
        await session.write(entity, Vitals(), fields=[NUMBERS[name] for name in [*nothing, "asleep_s"]])
        assert await read(tools, entity) == Vitals()
        print(ways, "ways to set a field to nothing")
        await session.send(goodbye=wire.Goodbye())
        await session.call.done_writing()


asyncio.run(main())
