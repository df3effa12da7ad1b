// What to look at: short ways to write the constraints of views and queries.
//
//   all()   box({ x: 0, y: 0 }, { x: 10, y: 10 })   sphere({ x: 5, y: 5 }, 100)   cylinder({ x: 5, y: 5 }, 100)
//   inSpace(0)   entities([7n])
//   has(MetadataSchema)   has("earth.City")   and(a, b)   or(a, b)   not(a)

import { create, type DescMessage } from "@bufbuild/protobuf";
import { ConstraintSchema, PointSchema, type Constraint } from "./gen/spatialdb/v1/query_pb.js";
import { numberOf } from "./ids.js";

/** A corner or centre, in metres. */
export interface Place {
  x: number;
  y: number;
  z?: number;
}

/** Every entity. */
export function all(): Constraint {
  return create(ConstraintSchema, { kind: { case: "all", value: {} } });
}

/** Position inside the box, min <= p < max on each axis. A corner without z leaves the height open. */
export function box(min: Place, max: Place, space = 0): Constraint {
  const corners = { min: create(PointSchema, min), max: create(PointSchema, max) };
  return create(ConstraintSchema, { kind: { case: "box", value: { space, ...corners } } });
}

/** Position not further than `radiusM` metres from the centre. */
export function sphere(center: Place, radiusM: number, space = 0): Constraint {
  const value = { space, center: create(PointSchema, { z: 0, ...center }), radiusM };
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
