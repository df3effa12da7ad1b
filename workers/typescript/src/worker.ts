// A worker's session with a world, across reconnects.
//
// Responsible for: the one place where session, transport and time meet: waiting, back-pressure, reconnecting.
// Not responsible for: protocol state (session.ts), networks (transport/).

import { create, toBinary, type DescMessage, type MessageInitShape, type MessageShape } from "@bufbuild/protobuf";
import { AuthorityReportSchema } from "./gen/spatialdb/v1/authority_pb.js";
import {
  AskSchema, DeleteSchema, EndViewSchema, GoodbyeSchema, HeartbeatSchema, ReserveIdsSchema, type Welcome,
} from "./gen/spatialdb/v1/worker_pb.js";
import type { Answer } from "./answer.js";
import { attach } from "./attach.js";
import type { Layer, Region } from "./authority.js";
import { InterestSchema, type Interest } from "./gen/spatialdb/v1/components_pb.js";
import {
  Batch, Body, component as encoded, createBodies, messageLimits, removeBody, type NewEntity, type Outgoing,
} from "./batch.js";
import { POSITION_NAME, type ComponentRef } from "./components.js";
import { disconnected, GrpcCode, SpatialdbError } from "./errors.js";
import { eventOf, type Rejection, type WorkerEvents } from "./events.js";
import { Gate } from "./gate.js";
import { bigintsOf, numberOf, numbersOf, type Ids } from "./ids.js";
import { Backoff, settingsOf, type ConnectOptions, type Settings } from "./options.js";
import type { Replica } from "./replica/replica.js";
import { run, type RunOptions } from "./run.js";
import { Session, type Welcomed } from "./session.js";
import type { Link, Transport } from "./transport/transport.js";
import { askOf, viewOf, type AskOptions, type ViewOptions } from "./views.js";
import { World } from "./world.js";

const UNANSWERED_MAX = 64;
const GOODBYE_TIMEOUT_MS = 2000;
// Of regions that come or go within so long a report says all at once that the worker knows.
const REPORT_MS = 20;

/** A view of the session; lives across reconnects until it is ended. */
export interface View {
  readonly id: number;
  /**
   * Resolves with the number of entities that match, once they are in the replica. Rejects if the view is refused.
   * After a reconnect it is a new promise.
   */
  readonly ready: Promise<number>;
  /** Shows something else instead; `ready` is then about that. Only the difference is sent. */
  change(options: ViewOptions): Promise<number>;
  end(): Promise<void>;
}

export class Worker {
  readonly #transport: Transport;
  readonly #settings: Settings;
  readonly #session = new Session();
  readonly #backoff: Backoff;
  readonly #gate = new Gate();
  /** One-off calls: what is the world, an entity, its schema. */
  readonly world: World;
  /** Resolves when the worker has ended: undefined after close, else the error that ended it for good. */
  readonly closed: Promise<SpatialdbError | undefined>;
  #link: Link | undefined;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #ended: SpatialdbError | undefined;
  #reporting: ReturnType<typeof setTimeout> | undefined;
  #nextView = 1;
  #requests = 0;
  /** Called once the server has ended a session that said goodbye. */
  #heard: () => void = () => undefined;

  private constructor(transport: Transport, settings: Settings) {
    this.#transport = transport;
    this.#settings = settings;
    this.#backoff = new Backoff(settings.backoff);
    this.world = new World(transport);
    this.closed = new Promise((resolve) => this.on("closed", resolve));
  }

  /** Connects and waits for Welcome; a server that is not there yet is tried again for `patienceMs`. @internal */
  static async connect(transport: Transport, options: ConnectOptions): Promise<Worker> {
    const worker = new Worker(transport, settingsOf(options));
    const deadline = Date.now() + worker.#settings.patienceMs;
    for (;;) {
      try {
        await worker.#attempt();
        return worker;
      } catch (error) {
        const delayMs = worker.#backoff.nextMs();
        if (!(error instanceof SpatialdbError) || error.isFinal || Date.now() + delayMs > deadline) {
          transport.close();
          throw error;
        }
        await new Promise((resolve) => setTimeout(resolve, delayMs));
      }
    }
  }

  // ---- what there is ---------------------------------------------------------------------------------

  /** What the views show, as of the last frame. */
  get replica(): Replica { return this.#session.replica; }
  /** What the server said when it took the worker in, last time. */
  get welcomed(): Welcomed { return this.#session.welcomed; }
  /** Settings of this worker type. */
  get flags(): ReadonlyMap<string, string> { return this.#session.flags; }
  get schemaDigest(): string { return this.#session.schemaDigest; }
  /** Names of components by their numbers. */
  get components(): ReadonlyMap<number, string> { return this.#session.table.names; }
  /** Whether there is a session now. */
  get isConnected(): boolean { return this.#link !== undefined; }
  /** Whether the replica shows all that the views match: there is a session, and each view has had its first fill. */
  get isReady(): boolean { return this.isConnected && this.#session.isFilled; }
  /** Messages sent and not yet decided. */
  get inFlight(): number { return this.#session.inFlight; }

  /** Calls `listener` for each event of the name, until the function that this returns is called. */
  on<K extends keyof WorkerEvents>(name: K, listener: (event: WorkerEvents[K]) => void): () => void {
    return this.#session.events.on(name, listener);
  }

  /** Calls `listener` for each event of that kind that happens to an entity in view, decoded. See "event" of `on`. */
  onEvent<D extends DescMessage>(schema: D, listener: (id: bigint, event: MessageShape<D>) => void): () => void {
    return this.on("event", (told) => {
      const event = eventOf(schema, told);
      if (event !== undefined) listener(told.id, event);
    });
  }

  // ---- what it may write -----------------------------------------------------------------------------

  /** Every layer of the world by its name; none: the world is open, any worker may write anything. */
  get layers(): ReadonlyMap<string, Layer> { return this.#session.authority.layers; }
  /** The regions that this worker owns, by id. None in a world without layers. */
  get regions(): ReadonlyMap<number, Region> { return this.#session.authority.regions; }
  /** Whether this worker gets nothing more, and what it has goes to others. */
  get isDraining(): boolean { return this.#session.authority.isDraining; }

  /**
   * Whether this worker may write that of the entity: a component, or what a layer writes, by its name. In a world without
   * layers it may write anything.
   */
  owns(id: bigint, scope: ComponentRef): boolean {
    return this.#session.authority.owns(numberOf(id), this.#scope(scope));
  }

  /**
   * The entities of which this worker may write that: a component, or what a layer writes, by its name. In a world without
   * layers those in view; for a component those that have it.
   */
  *owned(scope: ComponentRef): Generator<bigint> {
    const { authority, replica } = this.#session;
    const what = this.#scope(scope);
    if (!authority.isOpen) {
      for (const entity of authority.owned(what)) yield BigInt(entity);
      return;
    }
    for (const [id, entity] of replica) if (typeof what === "string" || entity.components.includes(what)) yield id;
  }

  /** Every entity in view with that component that this worker may write, and its value. */
  *ownedWith<D extends DescMessage>(component: D): Generator<[bigint, MessageShape<D>]> {
    for (const id of this.owned(component)) {
      const value = this.replica.get(id)?.get(component);
      if (value !== undefined) yield [id, value];
    }
  }

  #scope(scope: ComponentRef): string | number {
    const { authority, table } = this.#session;
    const isName = typeof scope === "string" && (authority.layers.has(scope) || !table.ids.has(scope));
    return isName ? scope : table.idOf(scope);
  }

  // ---- looking ---------------------------------------------------------------------------------------

  /** Starts a view. It is subscribed again after a reconnect. */
  subscribe(options: ViewOptions & { id?: number }): View {
    const id = options.id ?? this.#nextView;
    this.#nextView = Math.max(this.#nextView, id) + 1;
    let shown = this.#show(id, options);
    const readyOf = () => this.#session.readyOf(id);
    return {
      id,
      // A view that was refused, or still waits to be sent, is not with the session.
      get ready() { return readyOf() ?? shown; },
      change: (changed) => (shown = this.#show(id, changed)),
      end: () => this.#endView(id),
    };
  }

  #endView(id: number): Promise<void> {
    const bytes = toBinary(EndViewSchema, create(EndViewSchema, { viewId: BigInt(id) }));
    return this.#whenRoom(() => {
      this.#write({ body: Body.EndView, bytes });
      this.#session.endView(id);
    });
  }

  #show(id: number, options: ViewOptions): Promise<number> {
    const shown = this.#whenRoom(() => {
      const { table } = this.#session;
      this.#link!.write(this.#session.view({ ...viewOf(options, table), viewId: BigInt(id) }));
      return this.#session.readyOf(id)!;
    });
    // Who does not ask whether it is ready is not told by a crash that it was refused.
    shown.catch(() => undefined);
    return shown;
  }

  /**
   * Asks once, of the world as it is at one moment; resolves with the whole answer. Several calls may be under way.
   * Rejects if the server refuses the question, and with DISCONNECTED if the connection is lost: it is not asked again.
   * `near` is for views: ask for a sphere.
   */
  async ask(options: AskOptions): Promise<Answer> {
    const bytes = toBinary(AskSchema, askOf(options, this.#session.table));
    return this.#whenRoom(() => new Promise<Answer>((resolve, reject) => {
      this.#link!.write(this.#session.ask(bytes, { resolve, reject }));
    }));
  }

  /**
   * The component that gives the owner of an entity these views, for as long as it also has a PlayerOwner:
   * `worker.add(id, InterestSchema, worker.interest({ where: near(ITSELF, 500) }))`. Own updates cannot be asked for.
   */
  interest(...views: ViewOptions[]): Interest {
    return create(InterestSchema, { views: views.map((view) => viewOf({ ...view, ownUpdates: false }, this.#session.table)) });
  }

  // ---- writing ---------------------------------------------------------------------------------------
  // Each call resolves once the message is handed over, which waits while the server is behind, and rejects with
  // DISCONNECTED, nothing sent, while there is no session. What the server says of it comes by `decided`.

  /** Reserves ids `first`, `first + 1`, ...: only this worker, by type and name, may choose them. */
  async reserveIds(count: number): Promise<{ first: bigint; count: number }> {
    const bytes = toBinary(ReserveIdsSchema, create(ReserveIdsSchema, { count }));
    const [first, given] = await this.#request({ body: Body.ReserveIds, bytes });
    return { first: first!, count: Number(given) };
  }

  /**
   * Creates entities; resolves with their ids in order, undefined for one that was refused. Repeated by itself
   * after a reconnect, and made once all the same: `requestId` (made up if left out) names the request.
   */
  async create(entities: readonly NewEntity[], requestId?: string): Promise<(bigint | undefined)[]> {
    const id = requestId ?? `${Date.now().toString(36)}-${Math.random().toString(36).slice(2)}-${this.#requests++}`;
    const bodies = createBodies(entities, id, this.#session.table, this.#limits);
    const authoritySeen = this.#session.authority.seen;
    const answers = await Promise.all(bodies.map(({ outgoing }) => this.#request({ ...outgoing, authoritySeen })));
    return answers.flat().map((id) => (id === 0n ? undefined : id));
  }

  /** Replaces fields of a component: those that `value` names, or `fields`. See Batch.update. */
  update<D extends DescMessage>(id: bigint, component: D, value: MessageInitShape<D>, fields?: readonly string[]): Promise<void> {
    return this.send(this.batch().update(id, component, value, fields));
  }

  /** Replaces the whole value of a component. */
  set<D extends DescMessage>(id: bigint, component: D, value: MessageInitShape<D>): Promise<void> {
    return this.send(this.batch().set(id, component, value));
  }

  /** Moves entities: row r of each list is about ids[r]. */
  move(ids: Ids, x: Float64Array, y: Float64Array, z?: Float64Array, space = 0): Promise<void> {
    return this.send(this.batch().move(ids, x, y, z, space));
  }

  /** Gives the entity a component; one that it already has gets the new value. */
  add<D extends DescMessage>(id: bigint, component: D, value?: MessageInitShape<D>): Promise<void> {
    const batch = this.batch();
    if (component.typeName === POSITION_NAME) batch.set(id, component, value ?? ({} as MessageInitShape<D>));
    else batch.column(component, [id], [encoded(component, value).bytes]);
    return this.#sendAll(batch.take(Body.AddComponents));
  }

  /** Tells an event of the entity to whoever has it and the event's component in view. See Batch.emit. */
  emit<D extends DescMessage>(id: bigint, event: D, value?: MessageInitShape<D>): Promise<void> {
    return this.send(this.batch().emit(id, event, value));
  }

  remove(ids: bigint | Ids, component: ComponentRef): Promise<void> {
    const entities = numbersOf(typeof ids === "bigint" ? [ids] : ids);
    const number = this.#session.table.idOf(component);
    return this.#sendAll(chunks(entities, this.#limits.rows).map((ids) => ({ body: Body.RemoveComponents, bytes: removeBody(number, ids) })));
  }

  delete(ids: bigint | Ids): Promise<void> {
    const entities = numbersOf(typeof ids === "bigint" ? [ids] : ids);
    return this.#sendAll(chunks(entities, this.#limits.rows).map((ids) => ({
      body: Body.Delete, bytes: toBinary(DeleteSchema, create(DeleteSchema, { entities: bigintsOf(ids) })),
    })));
  }

  /** An empty batch: many writes in few messages. */
  batch(): Batch {
    return new Batch(this.#session.table, this.#limits);
  }

  /** Sends what the batch holds; it is empty afterwards. */
  send(batch: Batch): Promise<void> {
    return this.#sendAll(batch.take(Body.Update));
  }

  /**
   * Resolves once all that was sent is decided, with the refusals not told before. Rejects when the connection
   * breaks before: what was sent may or may not have been applied.
   */
  async decided(): Promise<Rejection[]> {
    await this.#gated(() => true, () => this.#session.decided());
    return this.#session.takeRejections();
  }

  /**
   * Says that the worker's own loop runs. Call it about once a second from that loop, never from a timer of its own:
   * then a hung loop shows. Does nothing while there is no session or no room.
   */
  heartbeat(load = 0, tickMs = 0): void {
    if (this.#link === undefined || !this.#link.hasRoom) return;
    const beat = create(HeartbeatSchema, { load, tickMs, seenFrame: BigInt(this.replica.frame) });
    this.#link.write(this.#session.stamp({ body: Body.Heartbeat, bytes: toBinary(HeartbeatSchema, beat) }));
  }

  /**
   * Ticks until SIGTERM or SIGINT (in Node), until `stop` is aborted, or until the worker was drained, and then closes. Sends
   * heartbeats. See `RunOptions`. Rejects when the session has ended for good, or with what a tick throws.
   */
  run(options: RunOptions): Promise<void> {
    return run(this, options);
  }

  /** Ends the session politely: what was sent before is still applied. Safe to call again. */
  async close(reason = ""): Promise<void> {
    if (this.#ended !== undefined) return;
    const error = new SpatialdbError("CLOSED", "the worker was closed");
    const link = this.#link;
    if (link !== undefined) {
      const goodbye = create(GoodbyeSchema, { reason });
      this.#write({ body: Body.Goodbye, bytes: toBinary(GoodbyeSchema, goodbye) });
      this.#ended = error;
      link.finish();
      await new Promise<void>((resolve) => {
        this.#heard = resolve;
        this.#timer = setTimeout(resolve, GOODBYE_TIMEOUT_MS);
      });
      link.abort();
    }
    this.#stop(error, undefined);
  }

  // ---- sending ---------------------------------------------------------------------------------------

  get #limits() {
    return messageLimits(this.#session.welcomed.limits);
  }

  /** One after the other: each waits for its room, and the order is kept. */
  async #sendAll(messages: readonly Outgoing[]): Promise<void> {
    // What comes while it waits the worker did not know when it wrote this.
    const authoritySeen = this.#session.authority.seen;
    await Promise.all(messages.map((message) => this.#whenRoom(() => this.#write({ ...message, authoritySeen }))));
  }

  #write(outgoing: Outgoing): void {
    this.#link!.write(this.#session.stamp(outgoing));
  }

  /** Says what is due of what the worker may write. */
  #report(): void {
    const { authority } = this.#session;
    clearTimeout(this.#reporting);
    this.#reporting = undefined;
    if (this.#link === undefined || !(authority.isUrgent || authority.isUnseen)) return;
    this.#write({ body: Body.AuthorityReport, bytes: toBinary(AuthorityReportSchema, authority.takeReport()) });
  }

  /** Has listeners write what they have of a region, and lets go of it behind that. */
  #loseSoon(loss: WorkerEvents["lossImminent"]): void {
    const { authority, events } = this.#session;
    const letGo = () => {
      authority.letGo(loss.region);
      // In another session nobody waits for it.
      if (authority !== this.#session.authority) return;
      const flush = () => {
        authority.flush(loss.region);
        this.#report();
      };
      this.#whenRoom(flush).catch(() => undefined);
    };
    const pending = events.settle("lossImminent", loss);
    if (pending === undefined) letGo();
    else void pending.then(letGo);
  }

  #request(outgoing: Outgoing): Promise<bigint[]> {
    const may = () => this.#hasRoom() && this.#session.unanswered < UNANSWERED_MAX;
    return this.#gated(may, () => new Promise<bigint[]>((resolve, reject) => {
      this.#link!.write(this.#session.request(outgoing, { resolve, reject }));
    }));
  }

  #hasRoom(): boolean {
    return this.#link!.hasRoom && this.#session.inFlight < this.#settings.inFlightMax;
  }

  #whenRoom<T>(run: () => T | Promise<T>): Promise<T> {
    return this.#gated(() => this.#hasRoom(), run);
  }

  #gated<T>(may: () => boolean, run: () => T | Promise<T>): Promise<T> {
    if (this.#ended !== undefined) return Promise.reject(this.#ended);
    if (this.#link === undefined) return Promise.reject(disconnected());
    return this.#gate.pass(may, run);
  }

  // ---- the connection --------------------------------------------------------------------------------

  #attempt(): Promise<void> {
    return attach(this.#transport, this.#settings, {
      begin: (link, welcome) => this.#begin(link, welcome),
      message: (bytes) => this.#received(bytes),
      room: () => this.#wake(),
      lost: (error) => this.#lost(error),
    });
  }

  #begin(link: Link, welcome: Welcome): void {
    const messages = this.#session.begin(welcome);
    // From here on the worker keeps the name it has, also when the server gave it.
    this.#settings.name = welcome.name;
    this.#link = link;
    for (const message of messages) link.write(message);
  }

  #received(bytes: Uint8Array): void {
    this.#session.accept(bytes);
    const { authority, losses } = this.#session;
    for (const loss of losses.splice(0)) this.#loseSoon(loss);
    if (authority.isUrgent && this.#link?.hasRoom) this.#report();
    else if (authority.isUnseen || authority.isUrgent) this.#reporting ??= setTimeout(() => this.#report(), REPORT_MS);
    this.#wake();
  }

  #wake(): void {
    if (this.#link !== undefined) this.#gate.wake();
  }

  /** The connection is gone: connects again, or ends if that cannot help. */
  #lost(error: SpatialdbError): void {
    this.#link = undefined;
    clearTimeout(this.#reporting);
    this.#reporting = undefined;
    this.#heard();
    if (this.#ended !== undefined) return;
    const lost = this.#session.lose(error);
    // A session that worked and broke is tried at once; one that we could not read would only break again.
    if (this.#session.proven && error.code === GrpcCode.Unavailable) this.#backoff.reset();
    this.#gate.fail(disconnected());
    if (error.isFinal) return this.#stop(error, error);
    const retryInMs = Math.max(this.#backoff.nextMs(), this.#session.retryAfterMs);
    this.#session.events.emit("disconnected", { error, lost, retryInMs });
    this.#retry(retryInMs);
  }

  #retry(delayMs: number): void {
    // A listener of "disconnected" may have closed the worker.
    if (this.#ended !== undefined) return;
    this.#timer = setTimeout(() => {
      this.#attempt().then(
        () => this.#ended === undefined ? this.#session.events.emit("reconnected", undefined) : this.#link?.abort(),
        (error: SpatialdbError) => {
          if (error.isFinal) this.#stop(error, error);
          else this.#retry(this.#backoff.nextMs());
        },
      );
    }, delayMs);
  }

  #stop(error: SpatialdbError, told: SpatialdbError | undefined): void {
    clearTimeout(this.#timer);
    clearTimeout(this.#reporting);
    this.#ended = error;
    this.#link = undefined;
    this.#session.end(error);
    this.#gate.fail(error);
    this.#transport.close();
    this.#session.events.emit("closed", told);
  }
}

function chunks(ids: Float64Array, rows: number): Float64Array[] {
  const out = [];
  for (let from = 0; from < ids.length; from += rows) out.push(ids.subarray(from, from + rows));
  return out;
}
