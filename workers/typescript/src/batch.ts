// Writes as columns: what ClientMessage carries for Update, AddComponents and Create.
//
// Responsible for: encoding, joining rows of the same kind, splitting by the limits of a message.
// Not responsible for: numbering and sending (worker.ts).

import { create, toBinary, type DescMessage, type MessageInitShape } from "@bufbuild/protobuf";
import { invalid, SpatialdbError } from "./errors.js";
import { eventIds, POSITION_ID, type ComponentRef, type ComponentTable } from "./components.js";
import { numberOf, numbersOf, type Ids } from "./ids.js";
import type { Point } from "./replica/replica.js";
import { fieldsOf, only } from "./fields.js";
import { WireWriter } from "./wire/writer.js";

/** Numbers of the fields of ClientMessage. */
export enum Body {
  Update = 3, Create = 4, Delete = 5, AddComponents = 6, RemoveComponents = 7, ReserveIds = 8,
  Subscribe = 9, ChangeView = 10, EndView = 11, Heartbeat = 12, Goodbye = 13, Ask = 14, AuthorityReport = 15,
}

/** One message without its seq. */
export interface Outgoing {
  body: Body;
  bytes: Uint8Array;
  /** Of a write: how much its worker knew of what it may write, the number of the last Authority message. */
  authoritySeen?: number;
}

/** What bounds a message, from the server's limits. */
export interface MessageLimits {
  rows: number;
  bytes: number;
}

export function messageLimits(limits: ReadonlyMap<string, number>): MessageLimits {
  return { rows: limits.get("message_rows_max") ?? 65_536, bytes: limits.get("message_bytes_max") ?? 4 << 20 };
}

// Splitting starts well below the limit, because headers come on top.
const HEADROOM_BYTES = 4096;
const COLUMNS_MAX = 512;
// Positions, in Update and AddComponents; values follow, in Update events too.
const POSITIONS_FIELD = 2;
const COLUMNS_FIELD = 3;
const EVENTS_FIELD = 4;
const CREATE_POSITIONS_FIELD = 5;
const CREATE_COLUMNS_FIELD = 6;

interface Part {
  field: number;
  bytes: Uint8Array;
  rows: number;
}

/** Rows of one component with the same field list, or of one event of it, until they are encoded. */
interface OpenColumn {
  component: number;
  /** The fields, or the number of the event. */
  of: readonly number[];
  entities: number[];
  values: Uint8Array[];
  bytes: number;
}

/** Columns one after the other. Only the last takes more rows: joining over another one would change the order of writes. */
class Columns {
  readonly #encode: (column: OpenColumn) => Part;
  readonly #limits: MessageLimits;
  readonly #parts: Part[] = [];
  #open: OpenColumn | undefined;

  constructor(limits: MessageLimits, encode: (column: OpenColumn) => Part) {
    this.#limits = limits;
    this.#encode = encode;
  }

  get isEmpty(): boolean {
    return this.#parts.length === 0 && this.#open === undefined;
  }

  /** Adds what is encoded already. */
  part(part: Part): void {
    this.#parts.push(part);
  }

  row(entity: number, component: number, of: readonly number[], value: Uint8Array): void {
    checkValue(component, value, this.#limits);
    let open = this.#open;
    const joins = open !== undefined && open.component === component && sameNumbers(open.of, of) &&
      open.entities.length < this.#limits.rows && open.bytes + value.length < this.#limits.bytes / 4;
    if (open === undefined || !joins) {
      this.#close();
      open = { component, of, entities: [], values: [], bytes: 0 };
      this.#open = open;
    }
    open.entities.push(entity);
    open.values.push(value);
    open.bytes += value.length + 16;
  }

  /** All of it; nothing is left. */
  take(): Part[] {
    this.#close();
    return this.#parts.splice(0);
  }

  #close(): void {
    const open = this.#open;
    this.#open = undefined;
    if (open !== undefined) this.#parts.push(this.#encode(open));
  }
}

/** Collects writes and encodes them into as few messages as the limits allow. */
export class Batch {
  readonly #table: ComponentTable;
  readonly #limits: MessageLimits;
  readonly #values: Columns;
  readonly #events: Columns;

  /** @internal Worker.batch makes one. */
  constructor(table: ComponentTable, limits: MessageLimits) {
    this.#table = table;
    this.#limits = limits;
    this.#values = new Columns(limits, ({ component, of, entities, values }) =>
      ({ field: COLUMNS_FIELD, bytes: valueColumn(component, entities, values, of), rows: entities.length }));
    this.#events = new Columns(limits, ({ component, of, entities, values }) =>
      ({ field: EVENTS_FIELD, bytes: eventColumn(component, of[0]!, entities, values), rows: entities.length }));
  }

  get isEmpty(): boolean {
    return this.#values.isEmpty && this.#events.isEmpty;
  }

  /** Moves entities: row r of each list is about ids[r]. Without z the height is 0. Copies what it is given. */
  move(ids: Ids, x: Float64Array, y: Float64Array, z?: Float64Array, space = 0): this {
    const entities = numbersOf(ids);
    const count = entities.length;
    if (x.length !== count || y.length !== count || (z !== undefined && z.length !== count)) {
      const lengths = `ids ${count}, x ${x.length}, y ${y.length}${z === undefined ? "" : `, z ${z.length}`}`;
      throw new SpatialdbError("COLUMN_LENGTHS_DIFFER", lengths);
    }
    // A row of positions takes at most 32 bytes.
    const step = Math.min(this.#limits.rows, Math.floor((this.#limits.bytes - HEADROOM_BYTES) / 32));
    for (let from = 0; from < count; from += step) {
      const to = Math.min(count, from + step);
      const bytes = positionColumn(space, entities.subarray(from, to), x.subarray(from, to), y.subarray(from, to), z?.subarray(from, to));
      this.#values.part({ field: POSITIONS_FIELD, bytes, rows: to - from });
    }
    return this;
  }

  /**
   * Replaces fields of a component: those that `value` names. So `{ hp: 0 }` sets hp to 0 and leaves the rest.
   * `fields`, by name, says it apart from the value; a listed field that the value lacks is cleared, one that the
   * value has and the list has not stays as it is in the world.
   */
  update<D extends DescMessage>(id: bigint, component: D, value: MessageInitShape<D>, fields?: readonly string[]): this {
    const numbers = fieldsOf(component, value, fields);
    return this.#put(id, component, only(component, value, numbers), numbers);
  }

  /** Replaces the whole value of a component. */
  set<D extends DescMessage>(id: bigint, component: D, value: MessageInitShape<D>): this {
    return this.#put(id, component, value, []);
  }

  /** Values that are encoded already, one an entity. `fields`, by number: see update; empty means whole values. */
  column(component: ComponentRef, ids: Ids, values: readonly Uint8Array[], fields: readonly number[] = []): this {
    const entities = numbersOf(ids);
    if (entities.length !== values.length) {
      throw new SpatialdbError("COLUMN_LENGTHS_DIFFER", `ids ${entities.length}, values ${values.length}`);
    }
    const number = this.#table.idOf(component);
    entities.forEach((entity, row) => this.#values.row(entity, number, fields, values[row]!));
    return this;
  }

  /**
   * Tells an event of the entity to whoever has it and the event's component in view; it is not stored. Who sees the
   * event sees the other writes of the batch before or with it; events of an entity come in order.
   */
  emit<D extends DescMessage>(id: bigint, schema: D, event?: MessageInitShape<D>): this {
    const ids = eventIds(schema);
    this.#events.row(numberOf(id), ids.component, [ids.event], toBinary(schema, create(schema, event)));
    return this;
  }

  /** The messages of all that was collected; the batch is empty afterwards. @internal */
  take(body: Body.Update | Body.AddComponents): Outgoing[] {
    const messages = pack([...this.#values.take(), ...this.#events.take()], this.#limits);
    return messages.map((bytes) => ({ body, bytes }));
  }

  #put<D extends DescMessage>(id: bigint, component: D, value: MessageInitShape<D>, fields: readonly number[]): this {
    const number = this.#table.idOf(component);
    const entity = numberOf(id);
    if (number === POSITION_ID) {
      if (fields.length > 0 && fields.length < 4) {
        throw invalid("a Position is replaced whole: give all of it, or use move");
      }
      const { space = 0, x = 0, y = 0, z = 0 } = value as Partial<Point>;
      return this.move(Float64Array.of(entity), Float64Array.of(x), Float64Array.of(y), Float64Array.of(z), space);
    }
    this.#values.row(entity, number, fields, toBinary(component, create(component, value)));
    return this;
  }
}

/** An entity to be made. */
export interface NewEntity {
  /** From a block that this worker reserved; without one the server gives it. All rows of a create, or none. */
  id?: bigint;
  position?: { space?: number; x: number; y: number; z?: number };
  /** Made by `component`, each once. */
  components?: readonly EncodedComponent[];
}

/** A component's value, ready to be sent. */
export interface EncodedComponent {
  component: ComponentRef;
  bytes: Uint8Array;
}

/** A component for `create` and `add`: the type checks the value against its schema. */
export function component<D extends DescMessage>(schema: D, value?: MessageInitShape<D>): EncodedComponent {
  return { component: schema, bytes: toBinary(schema, create(schema, value)) };
}

/** The bodies of Create messages for the entities, split by the limits, and how many rows each has. */
export function createBodies(
  entities: readonly NewEntity[], requestId: string, table: ComponentTable, limits: MessageLimits,
): { outgoing: Outgoing; rows: number }[] {
  const chosen = entities.filter((entity) => entity.id !== undefined).length;
  if (chosen !== 0 && chosen !== entities.length) {
    throw invalid(`${chosen} of ${entities.length} new entities chose their ids: all must, or none`);
  }
  const chunks = chunksOf(entities, limits);
  return chunks.map((chunk, index) => {
    const id = chunks.length === 1 ? requestId : `${requestId}.${index}`;
    return { outgoing: { body: Body.Create, bytes: createBody(chunk, id, table, limits) }, rows: chunk.length };
  });
}

function chunksOf(entities: readonly NewEntity[], limits: MessageLimits): NewEntity[][] {
  const chunks: NewEntity[][] = [];
  let chunk: NewEntity[] = [];
  let rows = 0;
  let bytes = 0;
  for (const entity of entities) {
    const components = entity.components ?? [];
    const moreRows = 1 + components.length + (entity.position === undefined ? 0 : 1);
    const moreBytes = 64 + components.reduce((sum, { bytes }) => sum + bytes.length + 16, 0);
    if (chunk.length > 0 && (rows + moreRows > limits.rows || bytes + moreBytes > limits.bytes / 2)) {
      chunks.push(chunk);
      [chunk, rows, bytes] = [[], 0, 0];
    }
    chunk.push(entity);
    rows += moreRows;
    bytes += moreBytes;
  }
  return chunk.length > 0 ? [...chunks, chunk] : chunks;
}

function createBody(entities: readonly NewEntity[], requestId: string, table: ComponentTable, limits: MessageLimits): Uint8Array {
  const writer = new WireWriter(1024);
  writer.text(2, requestId);
  if (entities[0]?.id !== undefined) writer.varints(3, entities.map((entity) => numberOf(entity.id!)));
  else writer.number(4, entities.length);
  // In these columns rows are named by their numbers.
  const placed = new Map<number, number[]>();
  const columns = new Map<number, { rows: number[]; values: Uint8Array[] }>();
  entities.forEach((entity, row) => {
    if (entity.position !== undefined) {
      const space = entity.position.space ?? 0;
      const rows = placed.get(space) ?? [];
      placed.set(space, rows);
      rows.push(row);
    }
    for (const { component, bytes } of entity.components ?? []) {
      const number = table.idOf(component);
      if (number === POSITION_ID) throw new SpatialdbError("POSITION_IN_COLUMN", "give Position as `position` of the new entity");
      checkValue(number, bytes, limits);
      const column = columns.get(number) ?? { rows: [], values: [] };
      columns.set(number, column);
      column.rows.push(row);
      column.values.push(bytes);
    }
  });
  for (const [space, rows] of placed) {
    const of = (axis: "x" | "y" | "z") => Float64Array.from(rows, (row) => entities[row]!.position![axis] ?? 0);
    writer.bytes(CREATE_POSITIONS_FIELD, positionColumn(space, rows, of("x"), of("y"), of("z")));
  }
  for (const [number, { rows, values }] of columns) {
    writer.bytes(CREATE_COLUMNS_FIELD, valueColumn(number, rows, values, []));
  }
  return writer.finish();
}

/** RemoveComponents for one component. */
export function removeBody(component: number, entities: Float64Array): Uint8Array {
  const column = new WireWriter(32 + entities.length * 8);
  column.number(1, component);
  column.varints(2, entities);
  const writer = new WireWriter(16 + column.length);
  writer.bytes(2, column.finish());
  return writer.finish();
}

function positionColumn(space: number, entities: ArrayLike<number>, x: Float64Array, y: Float64Array, z?: Float64Array): Uint8Array {
  const writer = new WireWriter(64 + entities.length * 32);
  writer.number(1, space);
  writer.varints(2, entities);
  writer.doubles(4, x);
  writer.doubles(5, y);
  if (z?.some((height) => height !== 0)) writer.doubles(6, z);
  return writer.finish();
}

function valueColumn(component: number, entities: ArrayLike<number>, values: readonly Uint8Array[], fields: readonly number[]): Uint8Array {
  const writer = new WireWriter(64 + entities.length * 32);
  writer.number(1, component);
  writer.varints(2, entities);
  for (const value of values) writer.bytes(4, value);
  writer.varints(5, fields);
  return writer.finish();
}

function eventColumn(component: number, event: number, entities: ArrayLike<number>, payloads: readonly Uint8Array[]): Uint8Array {
  const writer = new WireWriter(64 + entities.length * 32);
  writer.number(1, component);
  writer.number(2, event);
  writer.varints(3, entities);
  for (const payload of payloads) writer.bytes(4, payload);
  return writer.finish();
}

/** Puts parts into messages, in order. */
function pack(parts: readonly Part[], limits: MessageLimits): Uint8Array[] {
  const messages: Uint8Array[] = [];
  let writer = new WireWriter(256);
  let [rows, columns] = [0, 0];
  for (const part of parts) {
    const full = rows + part.rows > limits.rows || columns === COLUMNS_MAX ||
      writer.length + part.bytes.length > limits.bytes - HEADROOM_BYTES;
    if (columns > 0 && full) {
      messages.push(writer.finish());
      writer = new WireWriter(256);
      [rows, columns] = [0, 0];
    }
    writer.bytes(part.field, part.bytes);
    rows += part.rows;
    columns++;
  }
  if (columns > 0) messages.push(writer.finish());
  return messages;
}

/** A value that alone passes the size of a message would end the session; the server refuses all others by row. */
function checkValue(component: number, value: Uint8Array, limits: MessageLimits): void {
  const max = limits.bytes - HEADROOM_BYTES;
  if (value.length > max) {
    throw new SpatialdbError("VALUE_TOO_LARGE", `a value of component ${component} has ${value.length} bytes; a message takes ${max}`);
  }
}

function sameNumbers(a: readonly number[], b: readonly number[]): boolean {
  return a.length === b.length && a.every((value, index) => value === b[index]);
}
