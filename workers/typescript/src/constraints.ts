// What to look at: short ways to write the constraints of views and queries.
//
//   all()   box({ x: 0, y: 0 }, { x: 10, y: 10 })   sphere({ x: 5, y: 5 }, 100)   cylinder({ x: 5, y: 5 }, 100)
//   inSpace(0)   near(7n, 100)   owned()   entities([7n])   field(CitySchema, "population").atLeast(1e6)
//   has(MetadataSchema)   has("earth.City")   and(a, b)   or(a, b)   not(a)
//   text("has City and City.population >= 1e6 or id = 7")

import { create, type DescMessage, type MessageInitShape } from "@bufbuild/protobuf";
import {
  Comparison, ConstraintSchema, PointSchema, type Constraint, type FieldValueSchema, type Point,
} from "./gen/spatialdb/v1/query_pb.js";
import { invalid } from "./errors.js";
import { numberOf } from "./ids.js";

/** A corner or centre, in metres. */
export interface Place {
  x: number;
  y: number;
  z?: number;
}

/** In `worker.interest`: the entity that has the Interest, where another id would stand. */
export const ITSELF = 0n;

/** Every entity. */
export function all(): Constraint {
  return create(ConstraintSchema, { kind: { case: "all", value: {} } });
}

/** Position inside the box, min <= p < max on each axis. A corner without z leaves the height open. */
export function box(min: Place, max: Place, space = 0): Constraint {
  const corners = { min: pointOf(min), max: pointOf(max) };
  return create(ConstraintSchema, { kind: { case: "box", value: { space, ...corners } } });
}

/** Position not further than `radiusM` metres from the centre. */
export function sphere(center: Place, radiusM: number, space = 0): Constraint {
  const value = { space, center: pointOf({ z: 0, ...center }), radiusM };
  return create(ConstraintSchema, { kind: { case: "sphere", value } });
}

/** Position not further than `radiusM` metres from the centre over x and y; the height is minZ <= z < maxZ. */
export function cylinder(
  center: { x: number; y: number },
  radiusM: number,
  { minZ, maxZ, space = 0 }: { minZ?: number; maxZ?: number; space?: number } = {},
): Constraint {
  const heights = { ...(minZ === undefined ? {} : { minZ }), ...(maxZ === undefined ? {} : { maxZ }) };
  const value = { space, centerX: center.x, centerY: center.y, radiusM, ...heights };
  return create(ConstraintSchema, { kind: { case: "cylinder", value } });
}

/** Has a position in the space. */
export function inSpace(space: number): Constraint {
  return create(ConstraintSchema, { kind: { case: "space", value: { space } } });
}

/** Position not further than `radiusM` metres from an entity, wherever that goes, itself included. For views, not for questions. */
export function near(entity: bigint, radiusM: number): Constraint {
  if (entity !== ITSELF) numberOf(entity);
  return create(ConstraintSchema, { kind: { case: "near", value: { entity, radiusM } } });
}

/**
 * In a region that this worker owns or may get soon, of a layer or of all, or at most `ghost_margin_m` of the layer outside of
 * it. Views follow what it owns. In a world without layers every entity.
 */
export function owned(layer = ""): Constraint {
  return create(ConstraintSchema, { kind: { case: "owned", value: { layer } } });
}

/** One of these entities. */
export function entities(ids: readonly bigint[]): Constraint {
  ids.forEach(numberOf);
  return create(ConstraintSchema, { kind: { case: "entityIds", value: { entities: [...ids] } } });
}

/** Has the component: by schema, full name, short name if that is unique, or number. */
export function has(component: DescMessage | string | number): Constraint {
  if (typeof component === "number") {
    return create(ConstraintSchema, { kind: { case: "hasComponent", value: component } });
  }
  const name = typeof component === "string" ? component : component.typeName;
  return create(ConstraintSchema, { kind: { case: "hasComponentNamed", value: name } });
}

/** What a field is compared with: a number, a boolean, a text (also the name of an enum's value), or bytes, as the field is. */
export type FieldValue = number | bigint | boolean | string | Uint8Array;

/**
 * A scalar field of a component, to compare: `field(CitySchema, "population").atLeast(1e6)`. The component as in `has`;
 * the field by its name in the .proto file, where dots lead into messages: "engine.rpm".
 */
export function field(component: DescMessage | string | number, path: string): Field {
  if (typeof component === "number") return new Field({ component, field: path });
  return new Field({ componentNamed: typeof component === "string" ? component : component.typeName, field: path });
}

/** A field to compare. An entity without the component never passes; a field that is not set has its default. */
export class Field {
  readonly #test: { component?: number; componentNamed?: string; field: string };

  /** @internal `field` makes one. */
  constructor(test: { component?: number; componentNamed?: string; field: string }) {
    this.#test = test;
  }

  equals(value: FieldValue): Constraint { return this.#is(Comparison.EQUAL, [value]); }
  notEquals(value: FieldValue): Constraint { return this.#is(Comparison.NOT_EQUAL, [value]); }
  /** Order is for numbers, texts and bytes. */
  lessThan(value: FieldValue): Constraint { return this.#is(Comparison.LESS, [value]); }
  atMost(value: FieldValue): Constraint { return this.#is(Comparison.AT_MOST, [value]); }
  greaterThan(value: FieldValue): Constraint { return this.#is(Comparison.GREATER, [value]); }
  atLeast(value: FieldValue): Constraint { return this.#is(Comparison.AT_LEAST, [value]); }
  /** It is one of these. */
  isIn(values: readonly FieldValue[]): Constraint { return this.#is(Comparison.IN, values); }

  #is(comparison: Comparison, values: readonly FieldValue[]): Constraint {
    const value = { ...this.#test, comparison, values: values.map(valueOf) };
    return create(ConstraintSchema, { kind: { case: "field", value } });
  }
}

/** What the text says, in the query language: docs/query-language.md. */
export function text(text: string): Constraint {
  return create(ConstraintSchema, { kind: { case: "text", value: text } });
}

/** All of these hold. */
export function and(...constraints: Constraint[]): Constraint {
  return create(ConstraintSchema, { kind: { case: "and", value: { constraints } } });
}

/** One of these holds. */
export function or(...constraints: Constraint[]): Constraint {
  return create(ConstraintSchema, { kind: { case: "or", value: { constraints } } });
}

/** Does not hold. */
export function not(constraint: Constraint): Constraint {
  return create(ConstraintSchema, { kind: { case: "not", value: constraint } });
}

/** @internal */
export function pointOf(place: Place): Point {
  return create(PointSchema, place);
}

function valueOf(value: FieldValue): MessageInitShape<typeof FieldValueSchema> {
  switch (typeof value) {
    case "boolean": return { kind: { case: "boolean", value } };
    case "string": return { kind: { case: "text", value } };
    case "bigint": return { kind: value < 2n ** 63n ? { case: "integer", value } : { case: "unsigned", value } };
    case "number": return { kind: Number.isSafeInteger(value) ? { case: "integer", value: BigInt(value) } : { case: "number", value } };
  }
  if (value instanceof Uint8Array) return { kind: { case: "data", value } };
  throw invalid(`a field is compared with a number, boolean, text or bytes, not with ${String(value)}`);
}
