// The driver of the TypeScript SDK: reads one JSON object a line, does it, answers with one JSON object a line.
//
//   node tests/conformance/typescript/driver.mjs [--web]
//
// It finds the world by SPATIALDB_ADDRESS. With --web it speaks gRPC-Web (Open, Frames, Send), as a browser does.
// To prepare: npm ci && npm run build in workers/typescript.
import { createInterface } from "node:readline";
import { connect, SpatialdbError } from "../../../workers/typescript/dist/src/node.js";
import { ConstraintSchema, create, fromBinary, fromJson, toBinary, toJson } from "../../../workers/typescript/dist/src/proto.js";

const POSITION = "spatialdb.v1.Position";
const transport = process.argv.includes("--web") ? "web" : "attach";

let worker;
let schema; // of the world, for values as JSON
let reconnected; // settles at the next reconnect
const views = new Map(); // view id -> View
const refusedHere = []; // rows with ids that cannot be: the SDK refuses them before the server would

function messageOf(name) {
  const message = schema.registry.getMessage(name);
  if (message === undefined) throw new SpatialdbError("COMPONENT_UNKNOWN", `the schema has no component ${name}`);
  return message;
}

function valueOf(name, json) {
  return fromJson(messageOf(name), json ?? {}, { registry: schema.registry });
}

function viewOptions({ query, components, own_updates, rate_hz }) {
  return {
    where: fromJson(ConstraintSchema, query ?? {}),
    components: components ?? [],
    ownUpdates: own_updates ?? false,
    rateHz: rate_hz ?? 0,
  };
}

function newEntity({ id, components = {} }) {
  const { [POSITION]: position, ...others } = components;
  return {
    ...(id === undefined ? {} : { id: BigInt(id) }),
    ...(position === undefined ? {} : { position: valueOf(POSITION, position) }),
    components: Object.entries(others).map(([name, value]) => ({ component: name, bytes: toBinary(messageOf(name), valueOf(name, value)) })),
  };
}

const replicaJson = () => {
  const entities = {};
  for (const [id, entity] of worker.replica) {
    const components = {};
    for (const number of entity.components) {
      const name = worker.components.get(number);
      components[name] = toJson(messageOf(name), entity.get(messageOf(name)), { registry: schema.registry });
    }
    entities[String(id)] = components;
  }
  return entities;
};

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
    schema = await worker.world.schema();
    worker.on("schema", () => { schema = undefined; });
    watchReconnects();
    return { session: String(worker.welcomed.sessionId), name: worker.welcomed.name };
  },
  async reserve({ count }) {
    return { first: String((await worker.reserveIds(count)).first) };
  },
  async create({ entities, request_id }) {
    const ids = await worker.create(entities.map(newEntity), request_id);
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
  async delete({ entities }) {
    await worker.delete(entities.map(BigInt));
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
    // What has come and waits in the socket is taken in first.
    await new Promise((resolve) => setTimeout(resolve, 0));
    return { entities: replicaJson() };
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
