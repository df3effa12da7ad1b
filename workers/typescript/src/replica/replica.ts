// The local replica: what the session's views show, as of the last frame.
//
// Responsible for: applying frames whole, reading by entity, noticing a server that breaks the rules of frames.
// Not responsible for: I/O, and what this session wrote itself: own updates come back only to views with
// `ownUpdates`.

import { create, fromBinary, type DescMessage, type MessageInitShape, type MessageShape } from "@bufbuild/protobuf";
import { ProtocolError, SpatialdbError } from "../errors.js";
import { POSITION_ID, POSITION_NAME, type ComponentRef, type ComponentTable } from "../components.js";
import type { Bounds } from "../follow.js";
import { numberOf } from "../ids.js";
import type { Frame, Values } from "../wire/frame.js";
import type { Positions } from "../wire/positions.js";
import { DensityMap } from "./densities.js";
import { RowIndex, Rows, ValueColumn } from "./table.js";

export interface Point {
  space: number;
  x: number;
  y: number;
  z: number;
}

/** Like a Map from entity ids to what is known of them. */
export class Replica implements Iterable<[bigint, Entity]> {
  /** The columns that all of this is made of: read them to draw or compute without an object for each entity. */
  rows = new Rows();
  /** The number of the last frame applied; 0 before the first. */
  frame = 0;
  #size = 0;
  #index = new RowIndex();
  #values = new Map<number, ValueColumn>();
  #densities = new Map<number, DensityMap>();
  readonly #table: ComponentTable;

  constructor(table: ComponentTable) {
    this.#table = table;
  }

  /** How many entities are in view. */
  get size(): number {
    return this.#size;
  }

  has(id: bigint): boolean {
    return this.rowOf(id) >= 0;
  }

  /** What is known of the entity; undefined if it is not in view. Reads the replica as it is at each call. */
  get(id: bigint): Entity | undefined {
    return this.has(id) ? new Entity(this, id) : undefined;
  }

  *keys(): Generator<bigint> {
    for (let row = 0; row < this.rows.end; row++) if (this.rows.ids[row] !== 0) yield BigInt(this.rows.ids[row]!);
  }

  *[Symbol.iterator](): Generator<[bigint, Entity]> {
    for (const id of this.keys()) yield [id, new Entity(this, id)];
  }

  /** Every entity in view that has the component, in no particular order. */
  *with<D extends DescMessage>(component: D): Generator<[bigint, MessageShape<D>]> {
    const id = this.#table.idOf(component);
    for (let row = 0; row < this.rows.end; row++) {
      const bytes = this.bytesAt(row, id);
      if (bytes !== undefined) yield [BigInt(this.rows.ids[row]!), decode(component, this.rows.ids[row]!, bytes)];
    }
  }

  /** The row of the entity in `rows` and columns, or -1. Valid until the next frame. */
  rowOf(id: bigint): number {
    return this.#index.get(Number(id));
  }

  /** The values of a component by row; undefined while no entity in view has had it. Not of Position: see `rows`. */
  column(component: ComponentRef): ValueColumn | undefined {
    return this.#values.get(this.#table.idOf(component));
  }

  /** How many entities there are where, of a view of densities; empty before its first square. */
  densities(view: number): DensityMap {
    return this.#densities.get(view) ?? new DensityMap();
  }

  /** The smallest rectangle around all positions of a space; undefined if there is none. */
  bounds(space = 0): Bounds | undefined {
    const { end, placed, spaces, x, y } = this.rows;
    const box = { minX: Infinity, minY: Infinity, maxX: -Infinity, maxY: -Infinity };
    for (let row = 0; row < end; row++) {
      if (placed[row] !== 1 || spaces[row] !== space) continue;
      box.minX = Math.min(box.minX, x[row]!);
      box.maxX = Math.max(box.maxX, x[row]!);
      box.minY = Math.min(box.minY, y[row]!);
      box.maxY = Math.max(box.maxY, y[row]!);
    }
    return box.minX <= box.maxX ? box : undefined;
  }

  /** The ids of the components that the row's entity shows. */
  componentsAt(row: number): number[] {
    const out = this.rows.placed[row] === 1 ? [POSITION_ID] : [];
    for (const [id, column] of this.#values) if (column.has(row)) out.push(id);
    return out.sort((a, b) => a - b);
  }

  /** The bytes of a component of the row's entity: valid until the next frame. */
  bytesAt(row: number, component: number): Uint8Array | undefined {
    return this.#values.get(component)?.get(row);
  }

  /** @internal */
  get table(): ComponentTable {
    return this.#table;
  }

  /** Empties the replica for a new session. @internal */
  clear(): void {
    this.rows = new Rows();
    this.#index = new RowIndex();
    this.#values = new Map();
    this.#densities = new Map();
    this.#size = 0;
    this.frame = 0;
  }

  /** Forgets the densities of a view that has ended. @internal */
  endView(view: number): void {
    this.#densities.delete(view);
  }

  /** Applies one frame: what entered, left and is gone, then values, then densities. @internal */
  apply(frame: Frame): void {
    // The first frame after a reset may have any number.
    if (this.frame !== 0 && frame.frame !== this.frame + 1) {
      throw new ProtocolError(`frame ${frame.frame} came where frame ${this.frame + 1} was due`);
    }
    this.frame = frame.frame;
    for (const id of frame.entered) this.#enter(id);
    for (const left of frame.left) for (const id of left.entities) this.#leave(id);
    for (const gone of frame.gone) for (const id of gone.entities) this.#lose(id, gone.component);
    for (const column of frame.positions) this.#applyPositions(column);
    for (const column of frame.columns) this.#applyValues(column);
    for (const column of frame.densities) {
      const view = Number(column.viewId);
      const densities = this.densities(view);
      densities.apply(column);
      this.#densities.set(view, densities);
    }
  }

  #enter(id: number): void {
    if (this.#index.get(id) >= 0) throw new ProtocolError(`entity ${id} entered twice`);
    this.#index.set(id, this.rows.take(id));
    this.#size++;
  }

  #leave(id: number): void {
    const row = this.#rowInView(id, "left");
    for (const column of this.#values.values()) column.delete(row);
    this.rows.release(row);
    this.#index.delete(id);
    this.#size--;
  }

  #lose(id: number, component: number): void {
    const row = this.#rowInView(id, "lost a component");
    if (component === POSITION_ID) this.rows.placed[row] = 0;
    // A component added and removed between two frames was never here.
    else this.#values.get(component)?.delete(row);
  }

  #applyPositions(column: Positions): void {
    const { rows } = this;
    const { entities, revisions, x, y, z } = column;
    const flat = z.length === 0;
    for (let i = 0; i < entities.length; i++) {
      const row = this.#rowInView(entities[i]!, "has a position");
      const wasPlaced = rows.placed[row] === 1;
      if (wasPlaced && revisions[i]! < rows.revisions[row]!) {
        throw fell(entities[i]!, POSITION_ID, rows.revisions[row]!, revisions[i]!);
      }
      rows.movedAt[row] = wasPlaced ? this.frame : 0;
      rows.placed[row] = 1;
      rows.spaces[row] = column.space;
      rows.revisions[row] = revisions[i]!;
      rows.x[row] = x[i]!;
      rows.y[row] = y[i]!;
      rows.z[row] = flat ? 0 : z[i]!;
    }
  }

  #applyValues(column: Values): void {
    const { component, entities, revisions, bytes, starts, ends } = column;
    let values = this.#values.get(component);
    if (values === undefined) {
      values = new ValueColumn();
      this.#values.set(component, values);
    }
    for (let i = 0; i < entities.length; i++) {
      const row = this.#rowInView(entities[i]!, "has a value");
      // The same revision may come again, when another view starts to show the pair; an older one may not.
      if (values.has(row) && revisions[i]! < values.revisions[row]!) {
        throw fell(entities[i]!, component, values.revisions[row]!, revisions[i]!);
      }
      values.set(row, revisions[i]!, bytes, starts[i]!, ends[i]!);
    }
  }

  #rowInView(id: number, what: string): number {
    const row = this.#index.get(id);
    if (row < 0) throw new ProtocolError(`entity ${id} is not in view but ${what}`);
    return row;
  }
}

/** An entity in the replica. Holds no data itself; once the entity has left, it reads as having nothing. */
export class Entity {
  readonly id: bigint;
  readonly #replica: Replica;

  constructor(replica: Replica, id: bigint) {
    this.#replica = replica;
    this.id = id;
    numberOf(id);
  }

  get position(): Point | undefined {
    const { rows } = this.#replica;
    const row = this.#replica.rowOf(this.id);
    if (row < 0 || rows.placed[row] !== 1) return undefined;
    return { space: rows.spaces[row]!, x: rows.x[row]!, y: rows.y[row]!, z: rows.z[row]! };
  }

  /** The ids of the components it shows, in order. */
  get components(): number[] {
    const row = this.#replica.rowOf(this.id);
    return row < 0 ? [] : this.#replica.componentsAt(row);
  }

  has(component: ComponentRef): boolean {
    return this.components.includes(this.#replica.table.idOf(component));
  }

  /** The component, decoded; undefined if the entity has none in view. */
  get<D extends DescMessage>(component: D): MessageShape<D> | undefined {
    if (component.typeName === POSITION_NAME) {
      const { position } = this;
      return position === undefined ? undefined : create(component, position as unknown as MessageInitShape<D>);
    }
    const bytes = this.bytes(component);
    return bytes === undefined ? undefined : decode(component, Number(this.id), bytes);
  }

  /** The encoded component: valid until the next frame. */
  bytes(component: ComponentRef): Uint8Array | undefined {
    const row = this.#replica.rowOf(this.id);
    return row < 0 ? undefined : this.#replica.bytesAt(row, this.#replica.table.idOf(component));
  }

  /** The revision of the component: higher is later. */
  revision(component: ComponentRef): bigint | undefined {
    const row = this.#replica.rowOf(this.id);
    if (row < 0) return undefined;
    const id = this.#replica.table.idOf(component);
    if (id === POSITION_ID) return this.position === undefined ? undefined : BigInt(this.#replica.rows.revisions[row]!);
    const column = this.#replica.column(id);
    return column?.has(row) ? BigInt(column.revisions[row]!) : undefined;
  }
}

function decode<D extends DescMessage>(component: D, id: number, bytes: Uint8Array): MessageShape<D> {
  try {
    return fromBinary(component, bytes);
  } catch (error) {
    throw new SpatialdbError("VALUE_UNREADABLE", `entity ${id}: ${component.typeName} does not decode: ${String(error)}`);
  }
}

function fell(id: number, component: number, before: number, after: number): ProtocolError {
  return new ProtocolError(`entity ${id} component ${component}: revision ${after} came after ${before}`);
}
