// What `Worker.ask` gives.
//
// Responsible for: putting an answer together from its pages, reading it by type.
// Not responsible for: knowing whose answer comes (session.ts).

import { create, fromBinary, type DescMessage, type MessageInitShape, type MessageShape } from "@bufbuild/protobuf";
import { POSITION_ID, POSITION_NAME, type ComponentRef, type ComponentTable } from "./components.js";
import { ProtocolError, SpatialdbError } from "./errors.js";
import type { Answer as Page } from "./gen/spatialdb/v1/worker_pb.js";
import type { Point } from "./replica/replica.js";

/** The entities that match, as of one moment; the nearest first if the question had an order. */
export class Answer implements Iterable<Found> {
  readonly entities: Found[] = [];
  /** How many entities match, not only those told. */
  matchCount = 0;
  readonly #table: ComponentTable;

  constructor(table: ComponentTable) {
    this.#table = table;
  }

  [Symbol.iterator](): Iterator<Found> {
    return this.entities[Symbol.iterator]();
  }

  /** Takes a page in. @internal */
  add(page: Page): void {
    if (page.distancesM.length > 0) checkLengths(page.entities, page.distancesM);
    const rows = new Map(page.entities.map((id, row) => [id, new Found(id, page.distancesM[row], this.#table)]));
    const rowOf = (id: bigint) => {
      const found = rows.get(id);
      if (found === undefined) throw new ProtocolError(`entity ${id} is in a column of an answer only`);
      return found;
    };
    for (const { space, entities, x, y, z } of page.positions) {
      checkLengths(entities, x, y, ...(z.length === 0 ? [] : [z]));
      entities.forEach((id, row) => { rowOf(id).position = { space, x: x[row]!, y: y[row]!, z: z[row] ?? 0 }; });
    }
    for (const { component, entities, values } of page.columns) {
      checkLengths(entities, values);
      entities.forEach((id, row) => rowOf(id).put(component, values[row]!));
    }
    this.entities.push(...rows.values());
    this.matchCount = Number(page.matchCount);
  }
}

/** An entity of an answer. */
export class Found {
  readonly id: bigint;
  /** Metres from where the question said; undefined without `nearestTo`. */
  readonly distanceM: number | undefined;
  /** Undefined if it has none, or that was not asked for. */
  position: Point | undefined;
  readonly #values = new Map<number, Uint8Array>();
  readonly #table: ComponentTable;

  /** @internal */
  constructor(id: bigint, distanceM: number | undefined, table: ComponentTable) {
    this.id = id;
    this.distanceM = distanceM;
    this.#table = table;
  }

  /** The ids of the components that were told, in order. */
  get components(): number[] {
    return [...(this.position === undefined ? [] : [POSITION_ID]), ...this.#values.keys()].sort((a, b) => a - b);
  }

  /** The component, decoded; undefined if the entity has none, or that was not asked for. */
  get<D extends DescMessage>(component: D): MessageShape<D> | undefined {
    if (component.typeName === POSITION_NAME) {
      return this.position && create(component, this.position as unknown as MessageInitShape<D>);
    }
    const bytes = this.bytes(component);
    try {
      return bytes && fromBinary(component, bytes);
    } catch (error) {
      throw new SpatialdbError("VALUE_UNREADABLE", `entity ${this.id}: ${component.typeName} does not decode: ${String(error)}`);
    }
  }

  /** The encoded component. Not of Position: see `position`. */
  bytes(component: ComponentRef): Uint8Array | undefined {
    return this.#values.get(this.#table.idOf(component));
  }

  /** @internal */
  put(component: number, value: Uint8Array): void {
    this.#values.set(component, value);
  }
}

function checkLengths(...[first, ...others]: { length: number }[]): void {
  if (others.some(({ length }) => length !== first!.length)) throw new ProtocolError("an answer has lists of different lengths");
}
