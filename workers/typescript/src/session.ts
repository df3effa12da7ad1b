// The state of a worker's session, without I/O.
//
// Responsible for: sequence numbers, what is not decided, what must be said again after a reconnect, turning
// messages of the server into replica and events.
// Not responsible for: the connection, waiting and time (worker.ts).

import { create, toBinary, type MessageInitShape } from "@bufbuild/protobuf";
import { ViewSchema, type View } from "./gen/spatialdb/v1/query_pb.js";
import {
  SubscribeSchema, type Rejection as WireRejection, type ServerMessage, type Welcome,
} from "./gen/spatialdb/v1/worker_pb.js";
import { Answer } from "./answer.js";
import { Authority } from "./authority.js";
import { Body, type Outgoing } from "./batch.js";
import { ComponentTable } from "./components.js";
import { fateUnknown, GrpcCode, ProtocolError, SpatialdbError } from "./errors.js";
import { Emitter, tell, type Rejection, type WorkerEvents } from "./events.js";
import { Replica } from "./replica/replica.js";
import { decodeServerMessage, type Frame } from "./wire/frame.js";
import { WireWriter } from "./wire/writer.js";

/** Rejections that wait for `decided` one by one; more become counts. */
const REJECTIONS_MAX = 4096;

interface Deferred<T> {
  resolve: (value: T) => void;
  reject: (error: SpatialdbError) => void;
}

/** A Create or ReserveIds: repeated after a reconnect until its answer comes. */
interface Unanswered extends Deferred<bigint[]> {
  outgoing: Outgoing;
}

/** A question, and what has come of its answer. */
interface Asked extends Deferred<Answer> {
  answer: Answer;
}

interface ViewState {
  wire: View;
  /** What the view goes back to if its change is refused; undefined while it is being subscribed. */
  before: View | undefined;
  /** The last message about the view. */
  seq: number;
  /** Settles with the next fill; `waiting` is how, undefined once it has. */
  ready: Promise<number>;
  waiting: Deferred<number> | undefined;
  /** Whether it has had its first fill in this session. */
  isFilled: boolean;
}

export interface Welcomed {
  worldId: string;
  incarnation: bigint;
  sessionId: bigint;
  name: string;
  spaces: ReadonlyMap<number, string>;
  /** Every limit of the server, in the unit its name ends with. */
  limits: ReadonlyMap<string, number>;
}

export class Session {
  readonly table = new ComponentTable();
  readonly replica = new Replica(this.table);
  readonly events = new Emitter();
  authority = new Authority();
  /** Losses that the worker is to be told of, so that it writes what it has. */
  readonly losses: WorkerEvents["lossImminent"][] = [];
  welcomed: Welcomed = { worldId: "", incarnation: 0n, sessionId: 0n, name: "", spaces: new Map(), limits: new Map() };
  flags: ReadonlyMap<string, string> = new Map();
  schemaDigest = "";
  /** Set when a frame has come since the session began: it works. */
  proven = false;
  retryAfterMs = 0;
  #lastSeq = 0;
  /** Seqs sent and not decided, in order; those that a promise already tells of are not counted as lost. */
  #inFlight: { seq: number; told: boolean }[] = [];
  #unanswered = new Map<number, Unanswered>();
  readonly #asked = new Map<number, Asked>();
  readonly #views = new Map<number, ViewState>();
  #rejections: Rejection[] = [];
  #collapsed = new Map<string, number>();
  #deciding: ({ seq: number } & Deferred<void>)[] = [];
  #frames: Frame[] = [];
  #ready: (() => void)[] = [];

  get inFlight(): number {
    return this.#inFlight.length;
  }

  get unanswered(): number {
    return this.#unanswered.size;
  }

  get views(): number {
    return this.#views.size;
  }

  /** Whether every view has had its first fill. */
  get isFilled(): boolean {
    return [...this.#views.values()].every((view) => view.isFilled);
  }

  hasView(id: number): boolean {
    return this.#views.has(id);
  }

  /** A new connection is welcomed; Hello was its message 1. Returns what to send first. */
  begin(welcome: Welcome): Uint8Array[] {
    this.welcomed = {
      worldId: welcome.worldId, incarnation: welcome.incarnation, sessionId: welcome.sessionId, name: welcome.name,
      spaces: new Map(welcome.spaces.map(({ id, name }) => [id, name])),
      limits: new Map(Object.entries(welcome.limits).map(([name, value]) => [name, Number(value)])),
    };
    this.flags = new Map(Object.entries(welcome.flags));
    this.schemaDigest = welcome.schemaDigest;
    this.authority = new Authority(welcome.layers);
    this.table.replace(welcome.components);
    this.#lastSeq = 1;
    this.proven = false;
    this.retryAfterMs = 0;
    const unanswered = [...this.#unanswered.values()];
    this.#unanswered.clear();
    // Creates before views, so that the first fill shows what they made.
    const messages = unanswered.map((each) => {
      each.outgoing = { ...each.outgoing, authoritySeen: 0 };
      return this.#stampUnanswered(each);
    });
    for (const view of this.#views.values()) {
      view.before = undefined;
      view.isFilled = false;
      messages.push(this.#stampView(awaitFill(view), Body.Subscribe));
    }
    for (const waiting of this.#deciding) waiting.seq = this.#lastSeq;
    return messages;
  }

  /** Numbers a message. */
  stamp(outgoing: Outgoing, told = false): Uint8Array {
    this.#lastSeq++;
    const { body, bytes, authoritySeen = 0 } = outgoing;
    if (body !== Body.Heartbeat && body !== Body.AuthorityReport && body !== Body.Goodbye) {
      this.#inFlight.push({ seq: this.#lastSeq, told });
    }
    const seen = new WireWriter(16);
    seen.number(1, authoritySeen);
    const writer = new WireWriter(bytes.length + 40);
    writer.number(1, this.#lastSeq);
    writer.bytes(body, seen.finish(), bytes);
    return writer.finish();
  }

  /** Numbers a Create or ReserveIds. */
  request(outgoing: Outgoing, deferred: Deferred<bigint[]>): Uint8Array {
    return this.#stampUnanswered({ outgoing, ...deferred });
  }

  /** Numbers an Ask. */
  ask(bytes: Uint8Array, deferred: Deferred<Answer>): Uint8Array {
    const message = this.stamp({ body: Body.Ask, bytes }, true);
    this.#asked.set(this.#lastSeq, { answer: new Answer(this.table), ...deferred });
    return message;
  }

  /** Numbers a Subscribe, or a ChangeView if the view is there already. `readyOf` then says when it is filled. */
  view(init: MessageInitShape<typeof ViewSchema>): Uint8Array {
    const wire = create(ViewSchema, init);
    const id = Number(wire.viewId);
    const there = this.#views.get(id);
    if (there === undefined) {
      const view = awaitFill({ wire, before: undefined, seq: 0, ready: NEVER, waiting: undefined, isFilled: false });
      this.#views.set(id, view);
      return this.#stampView(view, Body.Subscribe);
    }
    there.before = there.wire;
    there.wire = wire;
    awaitFill(there);
    return this.#stampView(there, Body.ChangeView);
  }

  /** When the view is filled, as last subscribed or changed; undefined if there is no such view. */
  readyOf(id: number): Promise<number> | undefined {
    return this.#views.get(id)?.ready;
  }

  /** Forgets the view. */
  endView(id: number): void {
    const view = this.#views.get(id);
    this.#views.delete(id);
    this.replica.endView(id);
    view?.waiting?.reject(new SpatialdbError("VIEW_NOT_FOUND", `view ${id} was ended before it was filled`));
  }

  /** Resolves once all that was sent is decided. */
  decided(): Promise<void> {
    if (this.#inFlight.length === 0 && this.#unanswered.size === 0) return Promise.resolve();
    const seq = this.#lastSeq;
    return new Promise((resolve, reject) => this.#deciding.push({ seq, resolve, reject }));
  }

  /** The refusals that were not taken before. */
  takeRejections(): Rejection[] {
    const counted = [...this.#collapsed].map(([reason, count]): Rejection => ({ reason, detail: "", entity: undefined, component: undefined, count }));
    const out = [...this.#rejections, ...counted];
    this.#rejections = [];
    this.#collapsed = new Map();
    return out;
  }

  /** The connection is gone. Returns how many messages have a fate that is not known. */
  lose(cause: SpatialdbError): number {
    const lost = this.#inFlight.filter(({ told }) => !told).length;
    this.#inFlight = [];
    this.#frames = [];
    this.#ready = [];
    this.#disown();
    const detail = "the connection was lost before the answer came";
    this.#failAsked(() => true, new SpatialdbError("DISCONNECTED", detail, undefined, cause));
    // Creates and views are said again by the session itself; only other messages are lost.
    if (lost > 0) for (const waiting of this.#deciding.splice(0)) waiting.reject(fateUnknown(lost, cause));
    return lost;
  }

  /** The worker has ended: nothing that waits will be answered. */
  end(error: SpatialdbError): void {
    for (const each of this.#unanswered.values()) each.reject(error);
    this.#unanswered.clear();
    this.#failAsked(() => true, error);
    for (const view of this.#views.values()) view.waiting?.reject(error);
    for (const waiting of this.#deciding.splice(0)) waiting.reject(error);
  }

  /** Takes in one message of the server. Throws when it breaks the protocol or ends the session for good. */
  accept(bytes: Uint8Array): void {
    const incoming = decodeServerMessage(bytes);
    if ("frame" in incoming) this.#acceptFrame(incoming.frame);
    else this.#acceptMessage(incoming.message);
  }

  /** Nothing is owned any more. */
  #disown(): void {
    this.authority.clear();
    this.losses.length = 0;
  }

  #stampUnanswered(unanswered: Unanswered): Uint8Array {
    const bytes = this.stamp(unanswered.outgoing, true);
    this.#unanswered.set(this.#lastSeq, unanswered);
    return bytes;
  }

  #stampView(view: ViewState, body: Body.Subscribe | Body.ChangeView): Uint8Array {
    const bytes = this.stamp({ body, bytes: toBinary(SubscribeSchema, create(SubscribeSchema, { view: view.wire })) }, true);
    view.seq = this.#lastSeq;
    return bytes;
  }

  #acceptMessage({ body }: ServerMessage): void {
    switch (body.case) {
      case "reset":
        this.replica.clear();
        this.#frames = [];
        this.#ready = [];
        this.#disown();
        this.events.emit("reset", undefined);
        break;
      case "created": {
        const ids = body.value.entities;
        this.#answer(Number(body.value.seq))?.resolve(ids);
        break;
      }
      case "idsReserved":
        this.#answer(Number(body.value.seq))?.resolve([body.value.first, BigInt(body.value.count)]);
        break;
      case "answer": {
        const seq = Number(body.value.seq);
        const asked = this.#asked.get(seq);
        asked?.answer.add(body.value);
        if (body.value.last) {
          this.#asked.delete(seq);
          asked?.resolve(asked.answer);
        }
        break;
      }
      case "authority":
        for (const [name, event] of this.authority.accept(body.value)) {
          if (name === "lossImminent") this.losses.push(event);
          else this.events.emit(name, event);
        }
        break;
      case "flagsChanged":
        this.flags = new Map(Object.entries(body.value.flags));
        this.events.emit("flags", this.flags);
        break;
      case "schemaChanged":
        this.table.replace(body.value.components);
        this.schemaDigest = body.value.schemaDigest;
        this.events.emit("schema", this.schemaDigest);
        break;
      case "goodbye": {
        const { reason, detail, retryAfterMs } = body.value;
        if (reason === "SESSION_REPLACED") throw new SpatialdbError(reason, detail, GrpcCode.Unavailable);
        this.retryAfterMs = retryAfterMs;
        this.events.emit("goodbye", { reason, detail, retryAfterMs });
        break;
      }
      case "welcome":
        throw new ProtocolError("a second Welcome in one session");
      default:
        // Resumed keeps the replica; what this SDK does not know is from a later version.
    }
    this.#tellDecided();
  }

  #acceptFrame(frame: Frame): void {
    // Squares of a view that was ended meanwhile may still have been on their way.
    frame.densities = frame.densities.filter(({ viewId }) => this.#views.has(Number(viewId)));
    this.replica.apply(frame);
    this.proven = true;
    this.authority.nowUs = frame.worldTimeUs;
    for (const rejection of frame.rejections) this.#reject(rejection);
    for (const { reason, count } of frame.collapsed) this.#collapse(reason, Number(count));
    let decided = 0;
    while (decided < this.#inFlight.length && this.#inFlight[decided]!.seq <= frame.appliedSeq) decided++;
    this.#inFlight.splice(0, decided);
    // Their answers would have come before; so their refusals are among those that are only counted.
    this.#failAsked((seq) => seq <= frame.appliedSeq, new SpatialdbError("", "refused; the server only counts its refusals"));
    for (const ready of frame.viewReady) this.#noteReady(Number(ready.viewId), Number(ready.entityCount), frame.appliedSeq);
    this.#frames.push(withoutBytes(frame));
    if (frame.more) return;
    tell(this.events, this.#frames.splice(0));
    for (const ready of this.#ready.splice(0)) ready();
    this.#tellDecided();
  }

  /** A view that was changed since is not ready by what was still on its way for its old self. */
  #noteReady(id: number, count: number, appliedSeq: number): void {
    const view = this.#views.get(id);
    if (view === undefined || view.seq > appliedSeq) return;
    const { waiting } = view;
    view.waiting = undefined;
    view.isFilled = true;
    if (waiting !== undefined) this.#ready.push(() => waiting.resolve(count));
  }

  #reject(wire: WireRejection): void {
    const seq = Number(wire.seq);
    const component = wire.component === 0 ? undefined : this.table.names.get(wire.component) ?? String(wire.component);
    const error = new SpatialdbError(wire.reason, wire.detail);
    for (const [id, view] of this.#views) {
      if (view.seq !== seq) continue;
      const { waiting } = view;
      view.waiting = undefined;
      // A view that was never started is not to be started again after a reconnect.
      if (view.before === undefined) this.#views.delete(id);
      else view.wire = view.before;
      return waiting?.reject(error);
    }
    if (this.#asked.has(seq)) return this.#failAsked((asked) => asked === seq, error);
    const requested = this.#unanswered.get(seq);
    if (requested?.outgoing.body === Body.ReserveIds) return this.#answer(seq)?.reject(error);
    const entity = wire.entity === 0n ? undefined : wire.entity;
    const rejection: Rejection = { reason: wire.reason, detail: wire.detail, entity, component, count: 1 };
    if (this.#rejections.length < REJECTIONS_MAX) this.#rejections.push(rejection);
    else this.#collapse(wire.reason, 1);
    this.events.emit("rejected", rejection);
  }

  /** There is no answer to those questions. */
  #failAsked(which: (seq: number) => boolean, error: SpatialdbError): void {
    for (const [seq, asked] of this.#asked) {
      if (!which(seq)) continue;
      this.#asked.delete(seq);
      asked.reject(error);
    }
  }

  #collapse(reason: string, count: number): void {
    this.#collapsed.set(reason, (this.#collapsed.get(reason) ?? 0) + count);
  }

  #answer(seq: number): Unanswered | undefined {
    const requested = this.#unanswered.get(seq);
    this.#unanswered.delete(seq);
    return requested;
  }

  #tellDecided(): void {
    if (this.#deciding.length === 0) return;
    let oldest = this.#inFlight[0]?.seq ?? Infinity;
    for (const seq of this.#unanswered.keys()) oldest = Math.min(oldest, seq);
    while (this.#deciding.length > 0 && this.#deciding[0]!.seq < oldest) this.#deciding.shift()!.resolve();
  }
}

const NEVER = new Promise<number>(() => undefined);

/** The view is to be filled (again). Who waits for an earlier fill waits for this one instead. */
function awaitFill(view: ViewState): ViewState {
  const earlier = view.waiting;
  view.ready = new Promise((resolve, reject) => { view.waiting = { resolve, reject }; });
  if (earlier !== undefined) view.ready.then(earlier.resolve, earlier.reject);
  // Who does not ask is not told by a crash that a view was refused.
  else view.ready.catch(() => undefined);
  return view;
}

/** The values are in the replica: what waits for the rest of its set keeps only who changed. */
function withoutBytes(frame: Frame): Frame {
  return { ...frame, columns: frame.columns.map((column) => ({ ...column, bytes: new Uint8Array(), starts: [], ends: [] })) };
}
