// What a worker hears from its session.
//
// Responsible for: the events and telling them.

import { fromBinary, type DescMessage, type MessageShape } from "@bufbuild/protobuf";
import type { LossReason } from "./gen/spatialdb/v1/authority_pb.js";
import type { LeaveReason } from "./gen/spatialdb/v1/worker_pb.js";
import type { Region } from "./authority.js";
import { eventIds } from "./components.js";
import { SpatialdbError } from "./errors.js";
import { bigintsOf } from "./ids.js";
import { squaresOf, type Square } from "./replica/densities.js";
import type { Frame } from "./wire/frame.js";

/** One row or message that the server refused. */
export interface Rejection {
  /** A reason of docs/errors.md. */
  reason: string;
  detail: string;
  /** The entity, if one is meant. */
  entity: bigint | undefined;
  /** The full name of the component, if one is meant and known. */
  component: string | undefined;
  /** More than 1 where the server only counted. */
  count: number;
}

/**
 * What frames that belong together changed in the replica. Act on `entered`, then `left`, then the rest. The lists
 * of numbers are ids as the wire has them; the getters make bigints when asked.
 */
export class Changes {
  /** The number of the last frame, world time since its start, Unix time: in microseconds. */
  readonly frame: number;
  readonly worldTimeUs: number;
  readonly unixTimeUs: number;
  readonly #frames: readonly Frame[];

  constructor(frames: readonly Frame[]) {
    const last = frames[frames.length - 1]!;
    this.frame = last.frame;
    this.worldTimeUs = last.worldTimeUs;
    this.unixTimeUs = last.unixTimeUs;
    this.#frames = frames;
  }

  get entered(): bigint[] {
    return this.#frames.flatMap((frame) => bigintsOf(frame.entered));
  }

  get left(): { id: bigint; reason: LeaveReason }[] {
    return this.#frames.flatMap((frame) => frame.left.flatMap(({ reason, entities }) => bigintsOf(entities).map((id) => ({ id, reason }))));
  }

  /** Components that entities in view no longer have or show. */
  get gone(): { component: number; ids: Float64Array }[] {
    return this.#frames.flatMap((frame) => frame.gone.map(({ component, entities }) => ({ component, ids: entities })));
  }

  /** Entities with a new position. */
  get moved(): Float64Array[] {
    return this.#frames.flatMap((frame) => frame.positions.map((column) => column.entities));
  }

  /** Entities with a new value of a component, those that entered too. */
  get updated(): { component: number; ids: Float64Array }[] {
    return this.#frames.flatMap((frame) => frame.columns.map(({ component, entities }) => ({ component, ids: entities })));
  }
}

/** An event of an entity, as somebody has sent it with `emit`. */
export interface EntityEvent {
  id: bigint;
  /** The number of the component that the event belongs to, and of the event in it. */
  component: number;
  event: number;
  /** The encoded message. */
  payload: Uint8Array;
}

/** The event, decoded; undefined if it is another one. */
export function eventOf<D extends DescMessage>(schema: D, { id, component, event, payload }: EntityEvent): MessageShape<D> | undefined {
  const ids = eventIds(schema);
  if (component !== ids.component || event !== ids.event) return undefined;
  try {
    return fromBinary(schema, payload);
  } catch (error) {
    throw new SpatialdbError("VALUE_UNREADABLE", `entity ${id}: ${schema.typeName} does not decode: ${String(error)}`);
  }
}

export interface WorkerEvents {
  /** The replica changed. */
  frame: Changes;
  /** Squares of a view of densities have another count: see `replica.densities(view)`. Comes after "frame". */
  densities: { view: number; squares: Square[] };
  /**
   * Something happened to an entity. Comes after "frame", in order, once each; but to an entity that has left in that
   * frame it happened before it left. `Worker.onEvent` decodes it.
   */
  event: EntityEvent;
  /** Events that were not told one by one, because this worker did not read in time. */
  eventsMissed: { component: number; event: number; count: number };
  /** The server refused a row. Also told by `decided`. */
  rejected: Rejection;
  /** This worker owns a region now. */
  regionGained: Region;
  /** A region of this worker has another shape, or other neighbours. */
  regionChanged: Region;
  /** This worker does not own the region any more; what it lost with it was told before. */
  regionLost: { region: Region; reason: LossReason };
  /** Entities that this worker writes from now on: they came to a region of its own, or their region came to it. */
  gained: { layer: string; ids: bigint[] };
  /** Entities that this worker does not write any more. */
  lost: { layer: string; ids: bigint[] };
  /**
   * Another worker is about to get the region: write what is not in the world yet. A listener may be asynchronous. When all
   * are done the worker has let go of the region, and does not own it any longer, unless "kept" comes. World time at which
   * it is taken at last, in microseconds.
   */
  lossImminent: { region: Region; untilUs: number };
  /** This worker keeps a region that it was about to lose. */
  kept: Region;
  /** This worker gets nothing more, and what it has goes to others. */
  draining: undefined;
  /** This worker was draining and owns nothing any more: it can close. */
  drained: undefined;
  /** The replica is empty now, and nothing is owned; its views fill it again. */
  reset: undefined;
  /** The settings of this worker type changed: see `flags`. */
  flags: ReadonlyMap<string, string>;
  /** The schema of the world changed: see `schemaDigest`. */
  schema: string;
  /** The server ends the session politely. */
  goodbye: { reason: string; detail: string; retryAfterMs: number };
  /**
   * The connection is gone, and nothing is owned; the worker connects again. `lost` messages may or may not have been applied.
   */
  disconnected: { error: SpatialdbError; lost: number; retryInMs: number };
  /** A new session has started; views are subscribed again, creates without an answer are repeated. */
  reconnected: undefined;
  /** The worker has ended: by close (no error) or for good. */
  closed: SpatialdbError | undefined;
}

/** Tells what frames that belong together say, in order. */
export function tell(emitter: Emitter, frames: readonly Frame[]): void {
  const changes = ({ entered, left, gone, positions, columns }: Frame) =>
    entered.length + left.length + gone.length + positions.length + columns.length > 0;
  if (frames.some(changes)) emitter.emit("frame", new Changes(frames));
  for (const { densities } of frames) {
    for (const column of densities) emitter.emit("densities", { view: Number(column.viewId), squares: squaresOf(column) });
  }
  for (const { events, eventsMissed } of frames) {
    for (const { component, event, entities, payloads } of events) {
      entities.forEach((id, row) => emitter.emit("event", { id, component, event, payload: payloads[row]! }));
    }
    for (const { component, event, count } of eventsMissed) emitter.emit("eventsMissed", { component, event, count: Number(count) });
  }
}

export class Emitter {
  readonly #listeners = new Map<keyof WorkerEvents, Set<(event: never) => void>>();

  /** Calls `listener` for each event of the name until the function that this returns is called. */
  on<K extends keyof WorkerEvents>(name: K, listener: (event: WorkerEvents[K]) => void): () => void {
    const set = this.#listeners.get(name) ?? new Set();
    this.#listeners.set(name, set);
    set.add(listener);
    return () => { set.delete(listener); };
  }

  emit<K extends keyof WorkerEvents>(name: K, event: WorkerEvents[K]): void {
    for (const listener of this.#listeners.get(name) ?? []) call(listener, event);
  }

  /** The same; resolves when those that are asynchronous are done. Undefined if none is. */
  settle<K extends keyof WorkerEvents>(name: K, event: WorkerEvents[K]): Promise<unknown> | undefined {
    const results = [...(this.#listeners.get(name) ?? [])].map((listener) => call(listener, event));
    const pending = results.filter((result) => result instanceof Promise);
    return pending.length === 0 ? undefined : Promise.all(pending.map((promise) => promise.catch(rethrow)));
  }
}

function call(listener: (event: never) => unknown, event: unknown): unknown {
  try {
    return (listener as (event: unknown) => unknown)(event);
  } catch (error) {
    return rethrow(error);
  }
}

/** What a listener throws is its own: it must neither break the session nor get lost. */
function rethrow(error: unknown): void {
  queueMicrotask(() => { throw error; });
}
