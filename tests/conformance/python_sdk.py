#!/usr/bin/env python3
"""The conformance driver on the Python SDK: reads operations as JSON lines, answers each with a line.

See tests/conformance/README.md for the operations.
"""
import asyncio, functools, json, operator, os, sys

import probe_pb2  # registers the components of the test world
import spatialdb
from google.protobuf import descriptor_pool, json_format, message_factory
from spatialdb import query as q

POOL = descriptor_pool.Default()


def message_type(name):
    try:
        return message_factory.GetMessageClass(POOL.FindMessageTypeByName(name))
    except KeyError:
        raise spatialdb.Refused("COMPONENT_UNKNOWN", f"no component {name}") from None


def message(name, value):
    return json_format.ParseDict(value, message_type(name)())


def corner(point, open_z=None):
    return point.get("x", 0), point.get("y", 0), point.get("z", open_z)


def value_of(value):
    ((kind, value),) = value.items()
    return int(value) if kind in ("integer", "unsigned") else value


def constraint_of(query):
    """A constraint from proto3 JSON, by the functions and operators of the SDK."""
    ((kind, value),) = query.items()
    space = value.get("space", 0) if isinstance(value, dict) else 0
    if kind == "box":
        (x, y, z), (x_max, y_max, z_max) = corner(value["min"]), corner(value["max"])
        return q.box(x, y, x_max, y_max, z, z_max, space=space)
    if kind == "sphere":
        return q.sphere(*corner(value["center"], 0), radius_m=value["radiusM"], space=space)
    if kind == "cylinder":
        place = value.get("centerX", 0), value.get("centerY", 0)
        return q.cylinder(
            *place, radius_m=value["radiusM"], z_min=value.get("minZ"), z_max=value.get("maxZ"), space=space)
    if kind == "field":
        field = q.field(value.get("componentNamed") or value["component"], value["field"])
        values = [value_of(one) for one in value["values"]]
        comparison = value["comparison"].removeprefix("COMPARISON_")
        if comparison == "IN":
            return field.is_in(values)
        names = {"EQUAL": "eq", "NOT_EQUAL": "ne", "LESS": "lt", "AT_MOST": "le", "GREATER": "gt", "AT_LEAST": "ge"}
        return getattr(operator, names[comparison])(field, *values)
    if kind in ("and", "or") and len(value.get("constraints", ())) > 1:
        return functools.reduce(getattr(operator, f"{kind}_"), map(constraint_of, value["constraints"]))
    makers = {
        "all": lambda: q.everything(),
        "space": lambda: q.in_space(space),
        "entityIds": lambda: q.entities(map(int, value["entities"])),
        "hasComponent": lambda: q.has(value),
        "hasComponentNamed": lambda: q.has(value),
        "near": lambda: q.near(int(value.get("entity", 0)), value["radiusM"]),
        "owned": lambda: q.owned(value.get("layer", "")),
        "text": lambda: q.text(value),
        "and": lambda: q.all_of(*map(constraint_of, value.get("constraints", ()))),
        "or": lambda: q.any_of(*map(constraint_of, value.get("constraints", ()))),
        "not": lambda: ~constraint_of(value),
    }
    return makers[kind]()


def what_of(query=None, densities=None):
    """What a view shows."""
    if densities is None:
        return constraint_of(query)
    low, high = densities.get("min"), densities.get("max")
    box = None if low is None else (*corner(low)[:2], *corner(high)[:2])
    counted = {key: densities[key] for key in ("space", "per_type") if key in densities}
    return q.densities(densities["square_m"], box=box, **counted)


def numbers_of(names):
    return [spatialdb.component_id(message_type(name)) for name in names]


def place_of(place):
    return q.place(*corner(place, 0), space=place.get("space", 0))


def bands_of(bands):
    if bands is None:
        return None
    center = int(bands["entity"]) if "entity" in bands else place_of(bands["place"])
    return q.bands(center, *(
        q.band(one["radius_m"], one.get("rate_hz", 0), numbers_of(one.get("components", ()))) for one in bands["bands"]))


NAMES = {
    spatialdb.RegionGained: "region_gained", spatialdb.RegionLost: "region_lost", spatialdb.Gained: "gained",
    spatialdb.Lost: "lost", spatialdb.LossImminent: "loss_imminent", spatialdb.Kept: "kept",
    spatialdb.Draining: "draining", spatialdb.Drained: "drained"}


class Driver:
    def __init__(self):
        self.worker, self.views, self.told, self.missed = None, {}, [], 0
        self.heard, self.writes = [], []  # of what it may write; what to write before a loss

    async def connect(self, type, name):
        self.worker = await spatialdb.connect(os.environ["SPATIALDB_ADDRESS"], type, name)
        self.reconnected = asyncio.Event()
        self.listening = asyncio.create_task(self.listen())
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

    async def subscribe(self, view, query=None, densities=None, bands=None, **options):
        self.views[view] = await self.worker.subscribe(what_of(query, densities), bands=bands_of(bands), **options)
        return {"count": await self.views[view].ready()}

    async def change_view(self, view, query=None, densities=None, bands=None, **options):
        self.views[view].change(what_of(query, densities), bands=bands_of(bands), **options)
        return {"count": await self.views[view].ready()}

    async def end_view(self, view):
        self.views[view].end()

    async def densities(self, view):
        shown = self.worker.replica.densities(self.views[view].id)
        squares = [{**square._asdict(), "count": count} for square, count in shown.items()]
        return {"square_m": shown.square_m, "squares": squares}

    async def ask(self, asks):
        return {"answers": await asyncio.gather(*(self.ask_one(**ask) for ask in asks))}

    async def ask_one(self, query, nearest_to=None, **options):
        try:
            nearest_to = nearest_to and place_of(nearest_to)
            answer = await self.worker.ask(constraint_of(query), nearest_to=nearest_to, **options)
        except spatialdb.Refused as error:
            return {"error": {"reason": error.reason, "detail": error.detail}}
        return {"count": answer.match_count, "entities": [self.found(found) for found in answer]}

    def found(self, found):
        names = [self.worker.components[component] for component in found.components]
        shown = {name: json_format.MessageToDict(found.get(message_type(name))) for name in names}
        distance = {} if found.distance_m is None else {"distance_m": found.distance_m}
        return {"id": str(found.entity), "components": shown, **distance}

    async def interest(self, entity, views):
        made = [
            q.view(constraint_of(view["query"]), components=numbers_of(view.get("components", ())),
                   rate_hz=view.get("rate_hz", 0), bands=bands_of(view.get("bands")))
            for view in views]
        self.worker.add(int(entity), q.interest(*made))

    async def emit(self, entity, event, value):
        self.worker.emit(int(entity), message(event, value))

    async def events(self):
        told, self.told, missed, self.missed = self.told, [], self.missed, 0
        return {"events": told, "missed": missed}

    async def listen(self):
        try:
            async for event in self.worker.events():
                self.hear(event)
        except spatialdb.SpatialdbError:
            pass  # whoever calls is told too

    def hear(self, event):
        if type(event) in NAMES:
            reason = f" {event.reason.name.lower()}" if isinstance(event, spatialdb.RegionLost) else ""
            self.heard.append(NAMES[type(event)] + reason)
        if isinstance(event, spatialdb.LossImminent):
            for write in self.writes:
                self.worker.update(int(write["entity"]), message(write["component"], write["value"]))
        elif isinstance(event, spatialdb.Reconnected):
            self.reconnected.set()
        elif isinstance(event, spatialdb.EventsMissed):
            self.missed += event.count
        elif isinstance(event, spatialdb.EntityEvents):
            for entity, hit in event.messages(probe_pb2.Hit):
                value = json_format.MessageToDict(hit)
                self.told.append({"entity": str(entity), "event": hit.DESCRIPTOR.full_name, "value": value})

    async def owned(self, scope):
        entities, regions = map(str, self.worker.owned(scope)), map(str, self.worker.regions)
        return {"entities": [*entities], "regions": [*regions]}

    async def owns(self, entity, scope):
        return {"owns": self.worker.owns(int(entity), scope)}

    async def before_loss(self, writes):
        self.writes = writes

    async def authority(self):
        heard, self.heard = self.heard, []
        return {"told": heard}

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
        await self.reconnected.wait()
        self.reconnected.clear()
        for view in self.views.values():
            if not view.is_ended:
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
