// What is written: columns, partial updates, the limits of messages.

import assert from "node:assert/strict";
import { test } from "node:test";
import { fromBinary } from "@bufbuild/protobuf";
import { MetadataSchema, WorkerSessionSchema } from "../src/gen/spatialdb/v1/components_pb.js";
import { CreateSchema, RemoveComponentsSchema, UpdateSchema } from "../src/gen/spatialdb/v1/worker_pb.js";
import { Batch, Body, component, createBodies, removeBody } from "../src/batch.js";
import { ComponentTable } from "../src/components.js";

const table = new ComponentTable();
table.replace([[1, "spatialdb.v1.Position"], [2, MetadataSchema.typeName], [6, WorkerSessionSchema.typeName]].map(([id, name]) => ({ $typeName: "spatialdb.v1.ComponentInfo", id: Number(id), name: String(name) })));
const LIMITS = { rows: 65_536, bytes: 4 << 20 };

const updatesOf = (batch: Batch) => batch.take(Body.Update).map(({ bytes }) => fromBinary(UpdateSchema, bytes));

test("an update lists the fields it names, also those at their default", () => {
  const [update] = updatesOf(new Batch(table, LIMITS).update(5n, MetadataSchema, { name: "" }));
  const [column] = update!.columns;
  assert.deepEqual([column!.component, column!.entities, column!.fields, column!.values.map((value) => value.length)], [2, [5n], [2], [0]]);
});

test("fields given apart leave out what they do not list", () => {
  const [update] = updatesOf(new Batch(table, LIMITS).update(5n, MetadataSchema, { name: "n", type: "t" }, ["type"]));
  assert.deepEqual(update!.columns[0]!.fields, [1]);
  assert.deepEqual(fromBinary(MetadataSchema, update!.columns[0]!.values[0]!), fromBinary(MetadataSchema, new Uint8Array([10, 1, 116])));
});

test("wrong arguments name what is wrong", () => {
  const batch = new Batch(table, LIMITS);
  assert.throws(() => batch.update(5n, MetadataSchema, { name: "" }, ["nome"]), /FIELD_UNKNOWN: spatialdb.v1.Metadata has no field nome; it has type, name/);
  assert.throws(() => batch.update(5n, MetadataSchema, {}), /names no field/);
  assert.throws(() => batch.update(0n, MetadataSchema, { name: "" }), /ENTITY_ID_INVALID: entity id 0/);
  assert.throws(() => batch.update(2n ** 53n, MetadataSchema, { name: "" }), /ENTITY_ID_INVALID/);
  assert.throws(() => batch.move(Float64Array.of(1.5), Float64Array.of(1), Float64Array.of(1)), /entity id 1.5/);
  assert.throws(() => batch.move([1n], Float64Array.of(1, 2), Float64Array.of(1)), /COLUMN_LENGTHS_DIFFER: ids 1, x 2, y 1/);
  assert.throws(() => batch.column("earth.Nothing", [1n], [new Uint8Array()]), /COMPONENT_UNKNOWN: the world has no component earth.Nothing/);
  assert.ok(batch.isEmpty);
});

test("rows of one kind join, and another kind between keeps the order", () => {
  const batch = new Batch(table, LIMITS);
  batch.set(1n, MetadataSchema, { name: "a" }).set(2n, MetadataSchema, { name: "b" });
  batch.update(1n, MetadataSchema, { name: "c" }).set(1n, MetadataSchema, { name: "d" });
  const [update] = updatesOf(batch);
  assert.deepEqual(update!.columns.map(({ entities, fields }) => [entities, fields]), [[[1n, 2n], []], [[1n], [2]], [[1n], []]]);
  assert.ok(batch.isEmpty);
});

test("moves are split by the rows of a message and keep every row", () => {
  const count = 200_000;
  const ids = Float64Array.from({ length: count }, (_, row) => row + 1);
  const x = Float64Array.from(ids, (id) => id / 2);
  const updates = updatesOf(new Batch(table, LIMITS).move(ids, x, x, x, 3));
  const rows = updates.map(({ positions }) => positions.reduce((sum, { entities }) => sum + entities.length, 0));
  assert.ok(rows.every((rows) => rows <= LIMITS.rows), String(rows));
  const columns = updates.flatMap(({ positions }) => positions);
  assert.deepEqual(columns.flatMap(({ entities }) => entities.map(Number)), [...ids]);
  assert.deepEqual(columns.flatMap(({ z }) => z), [...x]);
  assert.ok(columns.every(({ space }) => space === 3));
});

test("messages stay below the limit of bytes; a value that alone is over it is refused", () => {
  const batch = new Batch(table, { rows: 1000, bytes: 100_000 });
  for (let id = 1n; id <= 100n; id++) batch.column("spatialdb.v1.Metadata", [id], [new Uint8Array(5000)]);
  const messages = batch.take(Body.Update);
  assert.ok(messages.every(({ bytes }) => bytes.length < 100_000), String(messages.map(({ bytes }) => bytes.length)));
  const entities = messages.flatMap(({ bytes }) => fromBinary(UpdateSchema, bytes).columns.flatMap(({ entities }) => entities));
  assert.deepEqual(entities, Array.from({ length: 100 }, (_, row) => BigInt(row + 1)));
  assert.throws(() => batch.column(2, [1n], [new Uint8Array(100_000)]), /VALUE_TOO_LARGE: .* 100000 bytes/);
});

test("a create is columns of row numbers", () => {
  const [body, ...rest] = createBodies([
    { position: { x: 1, y: 2 }, components: [component(MetadataSchema, { name: "a" })] },
    { components: [component(MetadataSchema, { name: "b" })] },
    { position: { x: 3, y: 4, z: 5 } },
  ], "req", table, LIMITS);
  const create = fromBinary(CreateSchema, body!.outgoing.bytes);
  assert.deepEqual([create.requestId, create.count, create.entities, rest], ["req", 3, [], []]);
  assert.deepEqual(create.positions.map(({ entities, x, z }) => [entities, x, z]), [[[0n, 2n], [1, 3], [0, 5]]]);
  assert.deepEqual(create.columns.map(({ component, entities }) => [component, entities]), [[2, [0n, 1n]]]);
  assert.throws(() => createBodies([{ id: 1n }, {}], "r", table, LIMITS), /1 of 2 new entities chose their ids/);
});

test("a large create becomes several, each with a request id of its own", () => {
  const bodies = createBodies(Array.from({ length: 2500 }, () => ({ position: { x: 1, y: 1 } })), "req", table, { rows: 2000, bytes: 4 << 20 });
  assert.deepEqual(bodies.map(({ rows }) => rows), [1000, 1000, 500]);
  assert.deepEqual(bodies.map(({ outgoing }) => fromBinary(CreateSchema, outgoing.bytes).requestId), ["req.0", "req.1", "req.2"]);
});

test("removing names component and entities", () => {
  const message = fromBinary(RemoveComponentsSchema, removeBody(1000, Float64Array.of(1, 2 ** 40)));
  assert.deepEqual(message.columns.map(({ component, entities }) => [component, entities]), [[1000, [1n, 2n ** 40n]]]);
});
