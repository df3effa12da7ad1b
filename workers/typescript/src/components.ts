// Names, numbers and schemas of components, and of their events.
//
// Responsible for: finding the number of a component in the world's table, that of an event in its schema.
// Not responsible for: encoding values (batch.ts), the schema of a running world (world.ts).

import { getOption, hasOption, type DescMessage } from "@bufbuild/protobuf";
import { event as eventOption } from "./gen/spatialdb/v1/schema_pb.js";
import type { ComponentInfo } from "./gen/spatialdb/v1/worker_pb.js";
import { invalid, SpatialdbError } from "./errors.js";

/** A component by its generated schema, by its full name, or by its number. */
export type ComponentRef = DescMessage | string | number;

/** spatialdb.v1.Position travels in columns of its own. */
export const POSITION_ID = 1;
export const POSITION_NAME = "spatialdb.v1.Position";

/** The numbers that the schema gives an event: of its component, and its own. */
export function eventIds(schema: DescMessage): { component: number; event: number } {
  if (!hasOption(schema, eventOption)) throw invalid(`${schema.typeName} is no event: it has no (spatialdb.v1.event) option`);
  const { component, id } = getOption(schema, eventOption);
  return { component, event: id };
}

export class ComponentTable {
  #byName = new Map<string, number>();
  #byId = new Map<number, string>();

  /** Numbers of components by their full names. */
  get ids(): ReadonlyMap<string, number> {
    return this.#byName;
  }

  /** Full names of components by their numbers. */
  get names(): ReadonlyMap<number, string> {
    return this.#byId;
  }

  replace(components: readonly ComponentInfo[]): void {
    this.#byName = new Map(components.map(({ id, name }) => [name, id]));
    this.#byId = new Map(components.map(({ id, name }) => [id, name]));
  }

  idOf(component: ComponentRef): number {
    if (typeof component === "number") return component;
    const name = typeof component === "string" ? component : component.typeName;
    const id = this.#byName.get(name);
    if (id === undefined) throw new SpatialdbError("COMPONENT_UNKNOWN", `the world has no component ${name}`);
    return id;
  }
}
