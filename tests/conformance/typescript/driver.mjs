// The driver of the TypeScript SDK: reads one JSON object a line, does it, answers with one JSON object a line.
//
//   node tests/conformance/typescript/driver.mjs [--web]
//
// It finds the world by SPATIALDB_ADDRESS. With --web it speaks gRPC-Web (Open, Frames, Send), as a browser does.
// To prepare: npm ci && npm run build in workers/typescript.
import { createInterface } from "node:readline";
import {
  all, and, box, connect, cylinder, entities, eventOf, field, has, inSpace, InterestSchema, LossReason, near, not, or, owned,
  SpatialdbError, sphere, text,
} from "../../../workers/typescript/dist/src/node.js";
import { fromJson, toBinary, toJson } from "../../../workers/typescript/dist/src/proto.js";

const POSITION = "spatialdb.v1.Position";
const transport = process.argv.includes("--web") ? "web" : "attach";

let worker;
let schema; // of the world, for values as JSON
let reconnected; // settles at the next reconnect
const views = new Map(); // view id -> View
let told = []; // events of entities that were not told yet
let missed = 0;
let heard = []; // of what it may write, not told yet
let beforeLoss = []; // what to write when a loss is imminent
const refusedHere = []; // rows with ids that cannot be: the SDK refuses them before the server would

function messageOf(name) {
  const message = schema.registry.getMessage(name);
  if (message === undefined) throw new SpatialdbError("COMPONENT_UNKNOWN", `the schema has no component ${name}`);
  return message;
}

function valueOf(name, json) {
  return fromJson(messageOf(name), json ?? {}, { registry: schema.registry });
}

const point = ({ x = 0, y = 0, z }) => ({ x, y, ...(z === undefined ? {} : { z }) });

/** A constraint from proto3 JSON, by the functions of the SDK. */
function constraintOf(json) {
  const [[kind, value]] = Object.entries(json);
  const list = () => (value.constraints ?? []).map(constraintOf);
  const of = {
    all: () => all(),
    box: () => box(point(value.min), point(value.max), value.space),
    sphere: () => sphere(point(value.center), value.radiusM, value.space),
    cylinder: () => cylinder({ x: value.centerX ?? 0, y: value.centerY ?? 0 }, value.radiusM, value),
    space: () => inSpace(value.space ?? 0),
    entityIds: () => entities(value.entities.map(BigInt)),
    hasComponent: () => has(value),
    hasComponentNamed: () => has(value),
    field: () => fieldTest(value),
    near: () => near(BigInt(value.entity ?? 0), value.radiusM),
    owned: () => owned(value.layer),
    text: () => text(value),
    and: () => and(...list()),
    or: () => or(...list()),
    not: () => not(constraintOf(value)),
  };
  return of[kind]();
}

function fieldTest({ component, componentNamed, field: path, comparison, values: listed }) {
  const values = listed.map((value) => {
    const [[kind, given]] = Object.entries(value);
    return kind === "integer" || kind === "unsigned" ? BigInt(given) : given;
  });
  const tested = field(componentNamed ?? component, path);
  switch (comparison) {
    case "COMPARISON_EQUAL": return tested.equals(values[0]);
    case "COMPARISON_NOT_EQUAL": return tested.notEquals(values[0]);
    case "COMPARISON_LESS": return tested.lessThan(values[0]);
    case "COMPARISON_AT_MOST": return tested.atMost(values[0]);
    case "COMPARISON_GREATER": return tested.greaterThan(values[0]);
    case "COMPARISON_AT_LEAST": return tested.atLeast(values[0]);
    case "COMPARISON_IN": return tested.isIn(values);
    default: throw new SpatialdbError("QUERY_INVALID", `no comparison ${comparison}`);
  }
}

const placeOf = ({ space = 0, ...place }) => ({ space, ...point(place) });

function bandsOf({ entity, place, bands }) {
  return {
    around: entity === undefined ? placeOf(place) : BigInt(entity),
    bands: bands.map(({ radius_m, rate_hz, components }) => ({
      radiusM: radius_m, ...(rate_hz === undefined ? {} : { rateHz: rate_hz }), ...(components === undefined ? {} : { components }),
    })),
  };
}

function viewOptions({ query, densities, components, own_updates, rate_hz, bands }) {
  const what = densities === undefined
    ? { where: constraintOf(query) }
    : { densities: { ...densities, squareM: densities.square_m, perType: densities.per_type ?? false } };
  return {
    ...what,
    ...(bands === undefined ? {} : { bands: bandsOf(bands) }),
    components: components ?? [],
    ownUpdates: own_updates ?? false,
    rateHz: rate_hz ?? 0,
  };
}

async function answerTo({ query, components, limit, count_only, nearest_to }) {
  try {
    const { matchCount, entities } = await worker.ask({
      where: constraintOf(query), components: components ?? [], limit: limit ?? 0, countOnly: count_only ?? false,
      ...(nearest_to === undefined ? {} : { nearestTo: placeOf(nearest_to) }),
    });
    return {
      count: matchCount,
      entities: entities.map((found) => ({
        id: String(found.id), components: componentsJson(found), ...(found.distanceM === undefined ? {} : { distance_m: found.distanceM }),
      })),
    };
  } catch (error) {
    const { reason, detail } = error;
    return { error: { reason, detail } };
  }
}

function newEntity({ id, components = {} }) {
  const { [POSITION]: position, ...others } = components;
  return {
    ...(id === undefined ? {} : { id: BigInt(id) }),
    ...(position === undefined ? {} : { position: valueOf(POSITION, position) }),
    components: Object.entries(others).map(([name, value]) => ({ component: name, bytes: toBinary(messageOf(name), valueOf(name, value)) })),
  };
}

/** The components of an entity, of the replica or of an answer. */
function componentsJson(entity) {
  return Object.fromEntries(entity.components.map((number) => {
    const name = worker.components.get(number);
    return [name, toJson(messageOf(name), entity.get(messageOf(name)), { registry: schema.registry })];
  }));
}

/** Lets in what has come and waits in the socket. */
const turn = () => new Promise((resolve) => setTimeout(resolve, 0));

async function written(entity, component, write) {
  try {
    await write();
  } catch (error) {
    if (error.reason !== "ENTITY_ID_INVALID") throw error;
    refusedHere.push({ reason: error.reason, entity, component, count: 1 });
  }
}

const operations = {
  async connect({ type, name }) {
    worker = await connect({ workerType: type, name: name ?? "", transport });
    watchAuthority();
    schema = await worker.world.schema();
    worker.on("schema", () => { schema = undefined; });
    worker.on("event", (event) => {
      const name = "probe.Hit";
      const hit = eventOf(messageOf(name), event);
      if (hit !== undefined) told.push({ entity: String(event.id), event: name, value: toJson(messageOf(name), hit, { registry: schema.registry }) });
    });
    worker.on("eventsMissed", ({ count }) => { missed += count; });
    watchReconnects();
    return { session: String(worker.welcomed.sessionId), name: worker.welcomed.name };
  },
  async reserve({ count }) {
    return { first: String((await worker.reserveIds(count)).first) };
  },
  async create({ entities: made, request_id }) {
    const ids = await worker.create(made.map(newEntity), request_id);
    return { ids: ids.map((id) => String(id ?? 0n)) };
  },
  async update({ entity, component, value, fields }) {
    const message = valueOf(component, value);
    await written(entity, component, () => fields === undefined
      ? worker.set(BigInt(entity), messageOf(component), message)
      : worker.update(BigInt(entity), messageOf(component), message, fields));
    return {};
  },
  async add({ entity, component, value }) {
    await written(entity, component, () => worker.add(BigInt(entity), messageOf(component), valueOf(component, value)));
    return {};
  },
  async remove({ entity, component }) {
    await written(entity, component, () => worker.remove(BigInt(entity), component));
    return {};
  },
  async delete({ entities: ids }) {
    await worker.delete(ids.map(BigInt));
    return {};
  },
  async decided() {
    const rejections = await worker.decided();
    return {
      rejections: [...refusedHere.splice(0), ...rejections].flatMap(({ reason, entity, component, count }) =>
        Array.from({ length: count }, () => ({ reason, entity: String(entity ?? ""), component: component ?? "" }))),
    };
  },
  async subscribe(command) {
    const view = worker.subscribe({ id: command.view, ...viewOptions(command) });
    const count = await view.ready;
    views.set(command.view, view);
    return { count };
  },
  async change_view(command) {
    const view = views.get(command.view);
    if (view === undefined) throw new SpatialdbError("VIEW_NOT_FOUND", `there is no view ${command.view}`);
    return { count: await view.change(viewOptions(command)) };
  },
  async end_view({ view }) {
    const ended = views.get(view);
    if (ended === undefined) throw new SpatialdbError("VIEW_NOT_FOUND", `there is no view ${view}`);
    await ended.end();
    views.delete(view);
    return {};
  },
  async replica() {
    await turn();
    return { entities: Object.fromEntries([...worker.replica].map(([id, entity]) => [String(id), componentsJson(entity)])) };
  },
  async ask({ asks }) {
    return { answers: await Promise.all(asks.map(answerTo)) };
  },
  async interest({ entity, views }) {
    await worker.add(BigInt(entity), InterestSchema, worker.interest(...views.map(viewOptions)));
    return {};
  },
  async emit({ entity, event, value }) {
    await worker.emit(BigInt(entity), messageOf(event), valueOf(event, value));
    return {};
  },
  async events() {
    await turn();
    const answer = { events: told, missed };
    [told, missed] = [[], 0];
    return answer;
  },
  async densities({ view }) {
    await turn();
    const shown = worker.replica.densities(view);
    return { square_m: shown.squareM, squares: [...shown].map(([square, count]) => ({ ...square, count })) };
  },
  async owned({ scope }) {
    await turn();
    return { entities: [...worker.owned(scope)].map(String), regions: [...worker.regions.keys()].map(String) };
  },
  async owns({ entity, scope }) {
    await turn();
    return { owns: worker.owns(BigInt(entity), scope) };
  },
  async before_loss({ writes }) {
    beforeLoss = writes;
    return {};
  },
  async authority() {
    await turn();
    return { told: heard.splice(0) };
  },
  async heartbeat({ load, tick_ms }) {
    worker.heartbeat(load, tick_ms);
    return {};
  },
  async flags() {
    return { flags: Object.fromEntries(worker.flags) };
  },
  async schema() {
    return { digest: worker.schemaDigest, components: Object.fromEntries(worker.components) };
  },
  async wait_reconnected() {
    await reconnected;
    watchReconnects();
    await Promise.all([...views.values()].map((view) => view.ready));
    return { session: String(worker.welcomed.sessionId) };
  },
  async close() {
    await worker?.close();
    return {};
  },
};

function watchAuthority() {
  const names = {
    regionGained: "region_gained", gained: "gained", lost: "lost", kept: "kept", draining: "draining", drained: "drained",
  };
  for (const [name, told] of Object.entries(names)) worker.on(name, () => heard.push(told));
  worker.on("regionLost", ({ reason }) => heard.push(`region_lost ${LossReason[reason].toLowerCase()}`));
  worker.on("lossImminent", async () => {
    heard.push("loss_imminent");
    for (const { entity, component, value } of beforeLoss) {
      await worker.set(BigInt(entity), messageOf(component), valueOf(component, value));
    }
  });
}

function watchReconnects() {
  reconnected = new Promise((resolve, reject) => {
    worker.on("reconnected", resolve);
    worker.on("closed", (error) => reject(error ?? new SpatialdbError("CLOSED", "the worker was closed")));
  });
  reconnected.catch(() => undefined);
}

function answer(object) {
  process.stdout.write(`${JSON.stringify(object)}\n`);
}

for await (const line of createInterface({ input: process.stdin })) {
  if (line.trim() === "") continue;
  try {
    const { op, ...command } = JSON.parse(line);
    if (operations[op] === undefined) throw new SpatialdbError("OPERATION_UNKNOWN", `no operation ${op}`);
    schema ??= await worker?.world.schema();
    answer(await operations[op](command));
    if (op === "close") break;
  } catch (error) {
    const { reason, detail } = error instanceof SpatialdbError ? error : { reason: "DRIVER_FAILED", detail: String(error?.stack ?? error) };
    answer({ error: { reason, detail } });
  }
}
await worker?.close();
