// The replica is what frames say, against a model of plain Maps; and it notices frames that break the rules.

import assert from "node:assert/strict";
import { test } from "node:test";
import { MetadataSchema, PositionSchema } from "../src/gen/spatialdb/v1/components_pb.js";
import { toBinary, create } from "@bufbuild/protobuf";
import { ComponentTable } from "../src/components.js";
import { Replica } from "../src/replica/replica.js";
import { RowIndex, ValueColumn } from "../src/replica/table.js";
import { emptyFrame, type Frame, type Values } from "../src/wire/frame.js";

function values(component: number, rows: [number, number, Uint8Array][]): Values {
  const bytes = new Uint8Array(rows.reduce((sum, [, , value]) => sum + value.length, 0));
  const column: Values = { component, entities: Float64Array.from(rows, ([id]) => id), revisions: Float64Array.from(rows, ([, revision]) => revision), bytes, starts: [], ends: [] };
  let at = 0;
  for (const [, , value] of rows) {
    bytes.set(value, at);
    column.starts.push(at);
    column.ends.push(at += value.length);
  }
  return column;
}

function positions(rows: [number, number, number][]) {
  const of = (index: 0 | 1 | 2) => Float64Array.from(rows, (row) => row[index]);
  return { space: 0, entities: of(0), revisions: of(1), x: of(2), y: of(2), z: new Float64Array() };
}

const frame = (number: number, parts: Partial<Frame>): Frame => ({ ...emptyFrame(), frame: number, ...parts });

function tableOf(): ComponentTable {
  const table = new ComponentTable();
  table.replace([[1, PositionSchema.typeName], [2, MetadataSchema.typeName]].map(([id, name]) => ({ $typeName: "spatialdb.v1.ComponentInfo", id: Number(id), name: String(name) })));
  return table;
}

test("entities read typed, and as nothing once they left", () => {
  const replica = new Replica(tableOf());
  const metadata = toBinary(MetadataSchema, create(MetadataSchema, { type: "post", name: "post 1" }));
  replica.apply(frame(5, { entered: Float64Array.of(1, 2), positions: [positions([[1, 1, 8], [2, 1, -9]])], columns: [values(2, [[1, 4, metadata]])] }));
  const post = replica.get(1n)!;
  assert.equal(post.get(MetadataSchema)!.name, "post 1");
  assert.deepEqual([post.position, post.components, post.revision(MetadataSchema)], [{ space: 0, x: 8, y: 8, z: 0 }, [1, 2], 4n]);
  assert.equal(post.get(PositionSchema)!.x, 8);
  assert.deepEqual([...replica.keys()], [1n, 2n]);
  assert.deepEqual([...replica.with(MetadataSchema)].map(([id, { type }]) => [id, type]), [[1n, "post"]]);
  assert.deepEqual(replica.bounds(), { minX: -9, maxX: 8, minY: -9, maxY: 8 });
  replica.apply(frame(6, { left: [{ reason: 1, entities: Float64Array.of(1) }] }));
  assert.deepEqual([replica.size, replica.has(1n), post.position, post.components, post.get(MetadataSchema)], [1, false, undefined, [], undefined]);
});

test("only what moved after it was there counts as moved", () => {
  const replica = new Replica(tableOf());
  replica.apply(frame(1, { entered: Float64Array.of(1, 2), positions: [positions([[1, 1, 0], [2, 1, 0]])] }));
  replica.apply(frame(2, { positions: [positions([[2, 2, 1]])] }));
  assert.deepEqual([replica.rows.movedAt[replica.rowOf(1n)], replica.rows.movedAt[replica.rowOf(2n)]], [0, 2]);
});

test("frames that break the rules are refused", () => {
  const broken: [Partial<Frame>, RegExp][] = [
    [{ frame: 7 }, /frame 7 came where frame 2 was due/],
    [{ entered: Float64Array.of(1) }, /entity 1 entered twice/],
    [{ left: [{ reason: 1, entities: Float64Array.of(3) }] }, /entity 3 is not in view but left/],
    [{ positions: [positions([[3, 1, 0]])] }, /entity 3 is not in view but has a position/],
    [{ positions: [positions([[1, 4, 0]])] }, /entity 1 component 1: revision 4 came after 5/],
    [{ columns: [values(2, [[1, 1, new Uint8Array()]])] }, /entity 1 component 2: revision 1 came after 5/],
  ];
  for (const [parts, message] of broken) {
    const replica = new Replica(tableOf());
    replica.apply(frame(1, { entered: Float64Array.of(1), positions: [positions([[1, 5, 0]])], columns: [values(2, [[1, 5, new Uint8Array()]])] }));
    assert.throws(() => replica.apply(frame(2, parts)), message);
  }
});

test("values are kept as a model keeps them, through growth and squeezing", () => {
  let seed = 7;
  const random = (below: number) => (seed = (seed * 1_103_515_245 + 12_345) % 2_147_483_648) % below;
  const column = new ValueColumn();
  const model = new Map<number, Uint8Array>();
  for (let step = 0; step < 60_000; step++) {
    const row = random(3000);
    if (random(4) === 0) {
      assert.equal(column.delete(row), model.delete(row));
    } else {
      const value = Uint8Array.from({ length: random(60) }, () => random(256));
      column.set(row, step, value, 0, value.length);
      model.set(row, value);
    }
  }
  assert.equal(column.count, model.size);
  for (let row = 0; row < 3000; row++) assert.deepEqual(column.get(row), model.get(row));
});

test("ids find their rows, near each other and far apart", () => {
  const index = new RowIndex();
  const ids = [1, 2, 255, 256, 257, 2 ** 32 + 5, 2 ** 53 - 1, 2 ** 53 - 2];
  ids.forEach((id, row) => index.set(id, row));
  assert.deepEqual(ids.map((id) => index.get(id)), ids.map((_, row) => row));
  assert.deepEqual([3, 2 ** 32 + 6, 2 ** 40].map((id) => index.get(id)), [-1, -1, -1]);
  index.delete(256);
  index.delete(256);
  assert.deepEqual([index.get(256), index.get(257)], [-1, 4]);
  index.delete(257);
  index.set(256, 9);
  assert.deepEqual([index.get(256), index.get(257)], [9, -1]);
});
