// What constraints, views and questions say on the wire.

import assert from "node:assert/strict";
import { test } from "node:test";
import { create, toJson } from "@bufbuild/protobuf";
import { MetadataSchema, PositionSchema } from "../src/gen/spatialdb/v1/components_pb.js";
import { ConstraintSchema, ViewSchema } from "../src/gen/spatialdb/v1/query_pb.js";
import { AskSchema } from "../src/gen/spatialdb/v1/worker_pb.js";
import { ComponentTable } from "../src/components.js";
import { all, and, entities, field, has, ITSELF, near, not, or, owned, text, type FieldValue } from "../src/constraints.js";
import { askOf, viewOf, type ViewOptions } from "../src/views.js";

const table = new ComponentTable();
table.replace([[1, PositionSchema.typeName], [2, MetadataSchema.typeName]].map(([id, name]) => ({ $typeName: "spatialdb.v1.ComponentInfo", id: Number(id), name: String(name) })));
const view = (options: ViewOptions) => toJson(ViewSchema, create(ViewSchema, viewOf(options, table)));

test("constraints join", () => {
  assert.deepEqual([owned(), owned("boats")].map((each) => toJson(ConstraintSchema, each)), [{ owned: {} }, { owned: { layer: "boats" } }]);
  const joined = and(has(MetadataSchema), or(near(7n, 50), not(entities([7n]))), text("has City"));
  assert.deepEqual(toJson(ConstraintSchema, joined), { and: { constraints: [
    { hasComponentNamed: "spatialdb.v1.Metadata" },
    { or: { constraints: [{ near: { entity: "7", radiusM: 50 } }, { not: { entityIds: { entities: ["7"] } } }] } },
    { text: "has City" },
  ] } });
});

test("fields are compared", () => {
  const type = field(MetadataSchema, "type");
  const compared = [type.equals("a"), type.notEquals("a"), type.lessThan("a"), type.atMost("a"), type.greaterThan("a"), type.atLeast("a"), type.isIn(["a", "b"])];
  const tests = compared.map(({ kind }) => (assert.ok(kind.case === "field"), kind.value));
  assert.deepEqual(tests.map(({ comparison }) => comparison), [1, 2, 3, 4, 5, 6, 7]);
  assert.ok(tests.every(({ componentNamed, field }) => componentNamed === "spatialdb.v1.Metadata" && field === "type"));
  assert.deepEqual(tests[6]!.values.map(({ kind }) => kind.value), ["a", "b"]);
  assert.deepEqual(toJson(ConstraintSchema, field(1000, "engine.rpm").atLeast(5)), {
    field: { component: 1000, field: "engine.rpm", comparison: "COMPARISON_AT_LEAST", values: [{ integer: "5" }] },
  });
});

test("values are of the type that they have", () => {
  const kindOf = (value: FieldValue) => {
    const { kind } = field("X", "y").equals(value);
    assert.ok(kind.case === "field");
    return kind.value.values[0]!.kind;
  };
  const cases: [FieldValue, unknown][] = [
    [-3, { case: "integer", value: -3n }], [2n ** 63n - 1n, { case: "integer", value: 2n ** 63n - 1n }],
    [2n ** 63n, { case: "unsigned", value: 2n ** 63n }], [0.5, { case: "number", value: 0.5 }], [1e300, { case: "number", value: 1e300 }],
    [true, { case: "boolean", value: true }], ["post", { case: "text", value: "post" }],
    [Uint8Array.of(255), { case: "data", value: Uint8Array.of(255) }],
  ];
  for (const [value, kind] of cases) assert.deepEqual(kindOf(value), kind);
  assert.throws(() => kindOf(null as unknown as string), /ARGUMENT_INVALID: .* not with null/);
});

test("a view says rates by distance, around an entity or a place", () => {
  const bands = [{ radiusM: 50, components: [PositionSchema] }, { radiusM: 100, rateHz: 5 }];
  assert.deepEqual(view({ where: all(), rateHz: 1, ownUpdates: true, bands: { around: ITSELF, bands } }), {
    constraint: { all: {} }, rateHz: 1, ownUpdates: true,
    bands: { entity: "0", bands: [{ radiusM: 50, components: [1] }, { radiusM: 100, rateHz: 5 }] },
  });
  assert.deepEqual(view({ where: near(ITSELF, 5), bands: { around: { x: 1, y: 2, space: 3 }, bands: [] } }), {
    constraint: { near: { radiusM: 5 } }, bands: { place: { space: 3, point: { x: 1, y: 2, z: 0 } } },
  });
});

test("densities stand in place of a constraint", () => {
  const densities = { squareM: 100, min: { x: 0, y: -1 }, max: { x: 2, y: 3 }, perType: true };
  assert.deepEqual(view({ densities, rateHz: 2 }), {
    densities: { squareM: 100, min: { y: -1 }, max: { x: 2, y: 3 }, perType: true }, rateHz: 2,
  });
});

test("a question says what, how many and from where", () => {
  const ask = askOf({ where: all(), components: [MetadataSchema, "spatialdb.v1.Position"], limit: 3, nearestTo: { x: 1, y: 2 } }, table);
  assert.deepEqual(toJson(AskSchema, ask), { constraint: { all: {} }, components: [2, 1], limit: "3", nearestTo: { point: { x: 1, y: 2, z: 0 } } });
  assert.deepEqual(toJson(AskSchema, askOf({ where: all(), countOnly: true }, table)), { constraint: { all: {} }, countOnly: true });
});
