#!/usr/bin/env python3
"""The conformance driver on the Python SDK: reads operations as JSON lines, answers each with a line.

See tests/conformance/README.md for the operations.
"""
import asyncio, json, os, sys

import probe_pb2  # noqa: F401  registers the components of the test world
import spatialdb
from google.protobuf import descriptor_pool, json_format, message_factory
from spatialdb.v1.query_pb2 import Constraint

POOL = descriptor_pool.Default()


def message_type(name):
    try:
        return message_factory.GetMessageClass(POOL.FindMessageTypeByName(name))
    except KeyError:
        raise spatialdb.Refused("COMPONENT_UNKNOWN", f"no component {name}") from None


def message(name, value):
    return json_format.ParseDict(value, message_type(name)())


class Driver:
    def __init__(self):
        self.worker, self.views = None, {}

    async def connect(self, type, name):
        self.worker = await spatialdb.connect(os.environ["SPATIALDB_ADDRESS"], type, name)
        self.events = self.worker.events()
        return {"session": str(self.worker.session_id), "name": self.worker.name}

    async def reserve(self, count):
        return {"first": str((await self.worker.reserve_ids(count)).start)}

    async def create(self, entities):
        rows = [[message(name, value) for name, value in entity["components"].items()] for entity in entities]
        ids = [int(entity["id"]) for entity in entities if "id" in entity]
        created = await self.worker.create(rows, ids=ids or None)
        return {"ids": [str(entity or 0) for entity in created]}

    async def update(self, entity, component, value, fields=None):
        self.worker.update(int(entity), message(component, value), fields)

    async def add(self, entity, component, value):
        self.worker.add(int(entity), message(component, value))

    async def remove(self, entity, component):
        self.worker.remove(int(entity), component)

    async def delete(self, entities):
        self.worker.delete(*map(int, entities))

    async def decided(self):
        rejections = await self.worker.decided()
        return {"rejections": [
            {"reason": one.reason, "entity": str(one.entity), "component": one.component_name} for one in rejections]}

    async def subscribe(self, view, query, components=(), own_updates=False, rate_hz=0):
        self.views[view] = await self.worker.subscribe(
            json_format.ParseDict(query, Constraint()), components=components, own_updates=own_updates, rate_hz=rate_hz)
        return {"count": await self.views[view].ready()}

    async def change_view(self, view, query, components=(), own_updates=False, rate_hz=0):
        self.views[view].change(
            json_format.ParseDict(query, Constraint()), components=components, own_updates=own_updates, rate_hz=rate_hz)
        return {"count": await self.views[view].ready()}

    async def end_view(self, view):
        self.views.pop(view).end()

    async def replica(self):
        replica = self.worker.replica
        show = lambda entity, name: json_format.MessageToDict(replica.get(entity, message_type(name)))
        names = self.worker.components
        return {"entities": {
            str(entity): {names[id]: show(entity, names[id]) for id in replica.components_of(entity)}
            for entity in replica}}

    async def heartbeat(self, load, tick_ms):
        self.worker.heartbeat(load, tick_ms)

    async def flags(self):
        return {"flags": dict(self.worker.flags)}

    async def schema(self):
        components = {str(id): name for id, name in self.worker.components.items()}
        return {"digest": self.worker.schema_digest, "components": components}

    async def wait_reconnected(self):
        async for event in self.events:
            if isinstance(event, spatialdb.Reconnected):
                break
        for view in self.views.values():
            await view.ready()
        return {"session": str(self.worker.session_id)}

    async def close(self):
        await self.worker.close()


async def main():
    driver, loop = Driver(), asyncio.get_running_loop()
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        operation = json.loads(line)
        name = operation.pop("op")
        try:
            answer = await getattr(driver, name)(**operation) or {}
        except spatialdb.SpatialdbError as error:
            answer = {"error": {"reason": getattr(error, "reason", type(error).__name__), "detail": str(error)}}
        except json_format.ParseError as error:
            answer = {"error": {"reason": "PAYLOAD_INVALID", "detail": str(error)}}
        print(json.dumps(answer), flush=True)
        if name == "close":
            return


asyncio.run(main())
