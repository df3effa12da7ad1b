#!/usr/bin/env python3
"""The conformance driver on generated code alone: no SDK, only grpcio. It shows what the wire asks of a client.

See tests/conformance/README.md for the operations.
"""
import asyncio, json, os, sys

import grpc
import probe_pb2  # registers the components of the test world
from google.protobuf import descriptor_pool, json_format, message_factory
from google.rpc import error_details_pb2, status_pb2
from spatialdb.v1 import authority_pb2, components_pb2, query_pb2, worker_pb2 as wire, worker_pb2_grpc

POSITION = 1
POOL = descriptor_pool.Default()


class Refused(Exception):
    """What an answer with an error tells."""

    def __init__(self, reason, detail):
        super().__init__(detail)
        self.reason = reason


def refusal(error):
    """Reason and detail of a call that has failed."""
    for key, value in error.trailing_metadata() or ():
        if key == "grpc-status-details-bin":
            info = error_details_pb2.ErrorInfo()
            for detail in status_pb2.Status.FromString(value).details:
                if detail.Unpack(info):
                    return Refused(info.reason, info.metadata["detail"])
    return Refused(error.code().name, error.details())


def message_type(name):
    try:
        return message_factory.GetMessageClass(POOL.FindMessageTypeByName(name))
    except KeyError:
        raise Refused("COMPONENT_UNKNOWN", f"no component {name}") from None


class Driver:
    def __init__(self):
        self.hello, self.views = None, {}  # what is said again after the connection was lost
        self.told_of_authority, self.writes = [], []  # not told yet; what to write before a loss

    async def connect(self, type, name):
        token = os.environ.get("SPATIALDB_TOKEN", "")
        self.hello = wire.Hello(protocol_min=1, protocol_max=1, worker_type=type, name=name, token=token)
        try:
            await self.attach()
        except grpc.aio.AioRpcError as error:
            raise refusal(error) from None
        self.hello.name = self.welcome.name
        return {"session": str(self.welcome.session_id), "name": self.welcome.name}

    async def attach(self):
        address, ca = os.environ["SPATIALDB_ADDRESS"], os.environ.get("SPATIALDB_CA")
        options = [("grpc.max_receive_message_length", 64 << 20), ("grpc.use_local_subchannel_pool", 1)]
        if ca:
            trusted = grpc.ssl_channel_credentials(open(ca, "rb").read())
            self.channel = grpc.aio.secure_channel(address, trusted, options=options)
        else:
            self.channel = grpc.aio.insecure_channel(address, options=options)
        self.call = worker_pb2_grpc.WorkerServiceStub(self.channel).Attach()
        self.seq, self.applied, self.entities = 0, 0, {}
        self.rejections, self.answers, self.ready, self.is_lost = [], {}, {}, False
        self.pages, self.told, self.missed, self.squares = {}, [], 0, {}
        self.is_draining, self.seen, self.regions, self.grants = False, 0, {}, {}  # region -> epoch; (layer, entity) -> (region, epoch)
        self.heard, self.sending = asyncio.Event(), asyncio.Lock()
        try:
            await self.send(hello=self.hello)
        except Refused:
            pass  # reading says why
        first = await self.call.read()
        if first is grpc.aio.EOF:
            raise Refused("UNAVAILABLE", "the stream ended before Welcome")
        self.welcome = first.welcome
        self.layers = {layer.name: layer.writes for layer in self.welcome.layers}
        self.flags_now, self.digest = dict(self.welcome.flags), self.welcome.schema_digest
        self.know(self.welcome.components)
        self.reader = asyncio.create_task(self.read())

    def know(self, components):
        self.names = {component.id: component.name for component in components}
        self.ids = {name: id for id, name in self.names.items()}

    async def send(self, **body):
        for write in body.values():
            if hasattr(write, "authority_seen"):
                write.authority_seen = self.seen
        async with self.sending:  # the reader sends too, and a stream takes one message at a time
            self.seq += 1
            seq = self.seq
            try:
                await self.call.write(wire.ClientMessage(seq=seq, **body))
            except (grpc.aio.AioRpcError, asyncio.InvalidStateError):
                raise Refused("NotConnected", "the connection is down") from None
        return seq

    async def read(self):
        try:
            while (message := await self.call.read()) is not grpc.aio.EOF:
                self.hear(message)
                if message.HasField("authority"):
                    await self.hear_of_authority(message.authority)
                self.heard.set()
        except grpc.aio.AioRpcError:
            pass
        self.is_lost = True
        self.regions.clear()
        self.heard.set()

    def hear(self, message):
        kind = message.WhichOneof("body")
        if kind == "frame":
            self.apply(message.frame)
        elif kind == "created":
            self.answers[message.created.seq] = list(message.created.entities)
        elif kind == "ids_reserved":
            self.answers[message.ids_reserved.seq] = message.ids_reserved.first
        elif kind == "answer":
            self.pages.setdefault(message.answer.seq, []).append(message.answer)
        elif kind == "flags_changed":
            self.flags_now = dict(message.flags_changed.flags)
        elif kind == "schema_changed":
            self.digest = message.schema_changed.schema_digest
            self.know(message.schema_changed.components)
        elif kind == "reset":
            self.entities.clear()
            self.squares.clear()

    async def hear_of_authority(self, message):
        """Keeps what it owns, and says what it has seen, flushed, and looked at."""
        self.seen, kind = message.number, message.WhichOneof("body")
        body, report = getattr(message, kind), authority_pb2.AuthorityReport()
        told = self.told_of_authority
        if kind in ("gained", "shaped"):
            self.regions[body.region] = body.epoch
            told += ["region_gained"] if kind == "gained" else []
            # Partitions may have told of its entities before.
            told += ["gained"] if any(region == body.region for region, _ in self.grants.values()) else []
        elif kind == "joined":
            self.regions.pop(body.gone, None)
            for key, (region, epoch) in self.grants.items():
                if region == body.gone:
                    self.grants[key] = body.keep, epoch
        elif kind == "lost":
            told += ["lost", f"region_lost {authority_pb2.LossReason.Name(body.reason).removeprefix('LOSS_REASON_').lower()}"]
            self.regions.pop(body.region, None)
            self.grants = {key: (region, epoch) for key, (region, epoch) in self.grants.items()
                           if region != body.region or epoch > body.epoch}
        elif kind == "loss_imminent":
            told.append("loss_imminent")
            for write in self.writes:
                await self.update(write["entity"], write["component"], write["value"])
            report.flushed.add(region=body.region, epoch=body.epoch)
        elif kind == "drain":
            told.append("draining")
            self.is_draining = True
        elif kind == "warm":
            report.warmed.append(body.region)
        elif kind == "entities":
            for change in body.changes:
                if change.region in self.regions:
                    told.append("gained" if change.gained else "lost")
                for entity in change.entities:
                    if change.gained:
                        self.grants[change.layer, entity] = change.region, change.epoch
                    else:
                        self.grants.pop((change.layer, entity), None)
        if self.is_draining and not self.regions and "drained" not in told:
            told.append("drained")
        if kind in ("gained", "loss_imminent", "warm"):
            await self.send(authority_report=report)

    async def owned(self, scope):
        layers = [name for name, writes in self.layers.items() if scope == name or self.ids.get(scope) in writes]
        entities = {str(entity) for (layer, entity), (region, _) in self.grants.items()
                    if layer in layers and region in self.regions}
        if not self.layers:  # without layers anybody may write anything
            entities = {str(entity) for entity, values in self.entities.items() if self.ids.get(scope, 0) in (0, *values)}
        return {"entities": [*entities], "regions": [*map(str, self.regions)]}

    async def owns(self, entity, scope):
        return {"owns": not self.layers or entity in (await self.owned(scope))["entities"]}

    async def before_loss(self, writes):
        self.writes = writes

    async def authority(self):
        told, self.told_of_authority = self.told_of_authority, []
        return {"told": told}

    def apply(self, frame):
        for entity in frame.entered:
            self.entities[entity] = {}
        for left in frame.left:
            for entity in left.entities:
                del self.entities[entity]
        for gone in frame.gone:
            for entity in gone.entities:
                self.entities[entity].pop(gone.component, None)
        for column in frame.positions:
            for entity, x, y, z in zip(column.entities, column.x, column.y, column.z or [0] * len(column.x)):
                place = components_pb2.Position(space=column.space, x=x, y=y, z=z)
                self.entities[entity][POSITION] = place.SerializeToString()
        for column in frame.columns:
            for entity, value in zip(column.entities, column.values):
                self.entities[entity][column.component] = value
        for column in frame.densities:
            square_m, counts = self.squares.get(column.view_id, (0, {}))
            counts = dict(counts) if square_m == column.square_m else {}
            self.squares[column.view_id] = column.square_m, counts
            for x, y, count in zip(column.x, column.y, column.counts):
                counts[x, y, column.type] = count
        for column in frame.events:
            for entity, payload in zip(column.entities, column.payloads):
                if (column.component, column.event) == (1000, 1):
                    value = json_format.MessageToDict(probe_pb2.Hit.FromString(payload))
                    self.told.append({"entity": str(entity), "event": "probe.Hit", "value": value})
        self.missed += sum(missed.count for missed in frame.events_missed)
        for ready in frame.view_ready:
            self.ready[ready.view_id] = ready.entity_count
        self.rejections += frame.rejections
        self.applied = max(self.applied, frame.applied_seq)

    async def until(self, condition):
        while not (found := condition()):
            if self.is_lost:
                raise Refused("NotConnected", "the connection was lost")
            self.heard.clear()
            await self.heard.wait()
        return found

    def id_of(self, name):
        if name not in self.ids:
            raise Refused("COMPONENT_UNKNOWN", f"the world has no component {name}")
        return self.ids[name]

    def columns(self, component, value, entity, fields=()):
        """Column or PositionColumn of one row, as arguments of the message that takes it."""
        number, kind = self.id_of(component), message_type(component)
        value = json_format.ParseDict(value, kind())
        if number == POSITION:
            column = wire.PositionColumn(space=value.space, entities=[entity], x=[value.x], y=[value.y], z=[value.z])
            return {"positions": [column]}
        numbers = [kind.DESCRIPTOR.fields_by_name[field].number for field in fields]
        for field, _ in value.ListFields() if fields else ():  # a payload has no field but those
            if field.number not in numbers:
                value.ClearField(field.name)
        return {"columns": [wire.Column(
            component=number, entities=[entity], values=[value.SerializeToString()], fields=numbers)]}

    async def reserve(self, count):
        seq = await self.send(reserve_ids=wire.ReserveIds(count=count))
        refused = lambda: [one for one in self.rejections if one.seq == seq]
        await self.until(lambda: seq in self.answers or refused())
        if refused():
            raise Refused(refused()[0].reason, refused()[0].detail)
        return {"first": str(self.answers.pop(seq))}

    async def create(self, entities):
        body = wire.Create(count=len(entities), entities=[int(one["id"]) for one in entities if "id" in one])
        if body.entities:
            body.count = 0
        places, columns = {}, {}  # by space, by component: a message has few columns
        for row, entity in enumerate(entities):
            for component, value in entity["components"].items():
                one = self.columns(component, value, row)
                for column in one.get("positions", ()):
                    places.setdefault(column.space, wire.PositionColumn()).MergeFrom(column)
                for column in one.get("columns", ()):
                    columns.setdefault(column.component, wire.Column()).MergeFrom(column)
        body.positions.extend(places.values())
        body.columns.extend(columns.values())
        seq = await self.send(create=body)
        await self.until(lambda: seq in self.answers)
        return {"ids": [str(entity) for entity in self.answers.pop(seq)]}

    async def update(self, entity, component, value, fields=()):
        await self.send(update=wire.Update(**self.columns(component, value, int(entity), fields)))

    async def add(self, entity, component, value):
        await self.send(add_components=wire.AddComponents(**self.columns(component, value, int(entity))))

    async def remove(self, entity, component):
        column = wire.ComponentEntities(component=self.id_of(component), entities=[int(entity)])
        await self.send(remove_components=wire.RemoveComponents(columns=[column]))

    async def delete(self, entities):
        await self.send(delete=wire.Delete(entities=map(int, entities)))

    async def decided(self):
        await self.until(lambda: self.applied >= self.seq)
        rejections, self.rejections = self.rejections, []
        return {"rejections": [
            {"reason": one.reason, "entity": str(one.entity), "component": self.names.get(one.component, "")}
            for one in rejections]}

    async def subscribe(self, **view):
        return await self.look("subscribe", wire.Subscribe, view)

    async def change_view(self, **view):
        return await self.look("change_view", wire.ChangeView, view)

    async def look(self, kind, body, view):
        wanted = self.view(**view)
        self.ready.pop(wanted.view_id, None)
        seq = await self.send(**{kind: body(view=wanted)})
        refused = lambda: [one for one in self.rejections if one.seq == seq]
        await self.until(lambda: wanted.view_id in self.ready or refused())
        if refused():
            raise Refused(refused()[0].reason, refused()[0].detail)
        self.views[wanted.view_id] = wanted
        return {"count": self.ready[wanted.view_id]}

    def view(self, view=0, query=None, components=(), densities=None, bands=None, **options):
        wanted = query_pb2.View(view_id=view, components=map(self.id_of, components), **options)
        if query is not None:
            json_format.ParseDict(query, wanted.constraint)
        if densities is not None:
            json_format.ParseDict(densities, wanted.densities)
        if bands is not None:
            named = [{**band, "components": [*map(self.id_of, band.get("components", ()))]} for band in bands["bands"]]
            place = {"place": self.place(bands["place"])} if "place" in bands else {"entity": bands["entity"]}
            json_format.ParseDict({**place, "bands": named}, wanted.bands)
        return wanted

    def place(self, place):
        return {"space": place.get("space", 0), "point": {axis: place.get(axis, 0) for axis in "xyz"}}

    async def densities(self, view):
        square_m, counts = self.squares.get(view, (0, {}))
        squares = [{"x": x, "y": y, "type": name, "count": count} for (x, y, name), count in counts.items() if count]
        return {"square_m": square_m, "squares": squares if view in self.views else []}

    async def ask(self, asks):
        seqs = []
        for ask in asks:
            wanted = wire.Ask(
                limit=ask.get("limit", 0), count_only=ask.get("count_only", False),
                components=map(self.id_of, ask.get("components", ())))
            json_format.ParseDict(ask["query"], wanted.constraint)
            if "nearest_to" in ask:
                json_format.ParseDict(self.place(ask["nearest_to"]), wanted.nearest_to)
            seqs.append(await self.send(ask=wanted))
        return {"answers": [await self.answer(seq) for seq in seqs]}

    async def answer(self, seq):
        refused = lambda: [one for one in self.rejections if one.seq == seq]
        await self.until(lambda: seq in self.pages and self.pages[seq][-1].last or refused())
        if refused():
            (error,) = refused()
            self.rejections.remove(error)
            return {"error": {"reason": error.reason, "detail": error.detail}}
        pages = self.pages.pop(seq)
        entities = {entity: {"id": str(entity), "components": {}} for page in pages for entity in page.entities}
        for page in pages:
            for entity, distance_m in zip(page.entities, page.distances_m):
                entities[entity]["distance_m"] = distance_m
            for column in page.positions:
                for entity, x, y, z in zip(column.entities, column.x, column.y, column.z or [0] * len(column.x)):
                    place = components_pb2.Position(space=column.space, x=x, y=y, z=z)
                    entities[entity]["components"][self.names[POSITION]] = json_format.MessageToDict(place)
            for column in page.columns:
                name = self.names[column.component]
                for entity, value in zip(column.entities, column.values):
                    shown = json_format.MessageToDict(message_type(name).FromString(value))
                    entities[entity]["components"][name] = shown
        return {"count": pages[-1].match_count, "entities": list(entities.values())}

    async def interest(self, entity, views):
        made = components_pb2.Interest(views=[self.view(**view) for view in views])
        value = json_format.MessageToDict(made)
        await self.add(entity, "spatialdb.v1.Interest", value)

    async def emit(self, entity, event, value):
        payload = json_format.ParseDict(value, message_type(event)()).SerializeToString()
        column = wire.EventColumn(component=1000, event=1, entities=[int(entity)], payloads=[payload])
        await self.send(update=wire.Update(events=[column]))

    async def events(self):
        told, self.told, missed, self.missed = self.told, [], self.missed, 0
        return {"events": told, "missed": missed}

    async def end_view(self, view):
        del self.views[view]
        await self.send(end_view=wire.EndView(view_id=view))

    async def replica(self):
        show = lambda id, value: json_format.MessageToDict(message_type(self.names[id]).FromString(value))
        return {"entities": {
            str(entity): {self.names[id]: show(id, value) for id, value in values.items()}
            for entity, values in self.entities.items()}}

    async def heartbeat(self, load, tick_ms):
        await self.send(heartbeat=wire.Heartbeat(load=load, tick_ms=tick_ms))

    async def flags(self):
        return {"flags": self.flags_now}

    async def schema(self):
        return {"digest": self.digest, "components": {str(id): name for id, name in self.names.items()}}

    async def wait_reconnected(self):
        await self.reader
        while True:
            await self.channel.close()
            try:
                await self.attach()
                break
            except (grpc.aio.AioRpcError, Refused):
                await asyncio.sleep(0.1)
        for view in self.views.values():
            await self.send(subscribe=wire.Subscribe(view=view))
        await self.until(lambda: self.ready.keys() >= self.views.keys())
        return {"session": str(self.welcome.session_id)}

    async def close(self):
        await self.send(goodbye=wire.Goodbye())
        await self.call.done_writing()
        await self.reader
        await self.channel.close()


async def main():
    driver, loop = Driver(), asyncio.get_running_loop()
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        operation = json.loads(line)
        name = operation.pop("op")
        try:
            answer = await getattr(driver, name)(**operation) or {}
        except Refused as error:
            answer = {"error": {"reason": error.reason, "detail": str(error)}}
        except json_format.ParseError as error:
            answer = {"error": {"reason": "PAYLOAD_INVALID", "detail": str(error)}}
        print(json.dumps(answer), flush=True)
        if name == "close":
            return


asyncio.run(main())
