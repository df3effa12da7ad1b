// What a session may write, from what the server tells of it.
//
// Responsible for: layers, regions, the entities of each layer, what the worker has to say of them.
// Not responsible for: when that is said (worker.ts), who gets what (the server).

import { create, type MessageInitShape } from "@bufbuild/protobuf";
import {
  AuthorityReportSchema, LossReason, Side,
  type Authority as WireAuthority, type AuthorityReport, type Border as WireBorder, type ComponentHold, type EntityChanges,
  type Lease, type RegionLost,
} from "./gen/spatialdb/v1/authority_pb.js";
import type { LayerInfo } from "./gen/spatialdb/v1/worker_pb.js";
import { ProtocolError } from "./errors.js";
import type { WorkerEvents } from "./events.js";

/** Which workers write which components of which entities. The layers of a world do not change while it runs. */
export interface Layer {
  name: string;
  /** The type of the workers that serve it. */
  workerType: string;
  /** Numbers of components: it has the entities with all of these, */
  with: readonly number[];
  /** and none of these. */
  without: readonly number[];
  /** What the owner of such an entity writes. */
  writes: readonly number[];
}

/** What this worker owns in a layer: it writes the entities there. */
export interface Region {
  id: number;
  /** The name of its layer. */
  layer: string;
  /** Undefined: the region of all entities without a position, or of a player. */
  space: number | undefined;
  /** In a layer of strategy client the region is all that belongs to this player; empty in others. */
  player: string;
  /** Metres; infinite where it has no border. Open in z. */
  minX: number;
  minY: number;
  maxX: number;
  maxY: number;
  /** Which grant: rises with each one in the world. */
  epoch: number;
  borders: readonly Border[];
}

/** A stretch of a border, and who owns the other side. Metres. */
export interface Border {
  side: Side;
  /** x of a west or east side, y of the others. */
  at: number;
  /** Where the stretch begins on the other axis, and where it ends. */
  from: number;
  to: number;
  /** The region on the other side. */
  region: number;
  /** The session that owns it; undefined: nobody. */
  sessionId: bigint | undefined;
  /** Of its last grant. */
  epoch: number;
}

type Told =
  "regionGained" | "regionChanged" | "regionLost" | "gained" | "lost" | "lossImminent" | "kept" | "draining" | "drained";

/** An event that the worker is to hear: its name, and what comes with it. */
export type AuthorityEvent = { [K in Told]: [K, WorkerEvents[K]] }[Told];

interface Grant {
  region: number;
  epoch: number;
}

interface Hold {
  epoch: bigint;
  /** World time. */
  untilUs: number;
}

/** The entities of one layer, as far as the session has heard of them. */
interface Members {
  layer: Layer;
  /** The region that each came to last, and under which grant. Of regions that are still to come too. */
  grants: Map<number, Grant>;
  /** What tools keep to themselves for a while: by entity and component. */
  holds: Map<number, Map<number, Hold>>;
}

/** What the session may write. Empty at the begin of each session. */
export class Authority {
  readonly layers: ReadonlyMap<string, Layer>;
  readonly #members: readonly Members[];
  readonly #regions = new Map<number, Region>();
  /** Regions that the worker has let go of, and neither lost nor kept yet. */
  readonly #flushed = new Set<number>();
  /** The number of the last message. */
  seen = 0;
  /** World time, as the last frame has it. */
  nowUs = 0;
  isDraining = false;
  /** Whether regions came or went, and no report has said that the worker knows. */
  isUnseen = false;
  #isDrained = false;
  #toFlush: Grant[] = [];
  #warmed: number[] = [];

  constructor(layers: readonly LayerInfo[] = []) {
    this.layers = new Map(layers.map((layer) => [layer.name, layerOf(layer)]));
    this.#members = [...this.layers.values()].map((layer) => ({ layer, grants: new Map(), holds: new Map() }));
  }

  /** Whether the world has no layers: any worker may write anything. */
  get isOpen(): boolean {
    return this.#members.length === 0;
  }

  get regions(): ReadonlyMap<number, Region> {
    return this.#regions;
  }

  /** Whether somebody waits for what the worker has to say. */
  get isUrgent(): boolean {
    return this.#toFlush.length > 0 || this.#warmed.length > 0;
  }

  /** The session is over, or starts from nothing. */
  clear(): void {
    this.#regions.clear();
    this.#flushed.clear();
    for (const { grants, holds } of this.#members) {
      grants.clear();
      holds.clear();
    }
    [this.#toFlush, this.#warmed, this.isUnseen] = [[], [], false];
  }

  /** Whether the session may write that of the entity: a layer by its name, a component by its number. */
  owns(entity: number, scope: string | number): boolean {
    if (this.isOpen) return true;
    for (const members of this.#membersOf(scope)) {
      const grant = members.grants.get(entity);
      if (grant !== undefined && this.#mayWrite(grant.region) && !isHeld(members, entity, scope, this.nowUs)) return true;
    }
    return false;
  }

  /** Every entity of which the session may write that. */
  *owned(scope: string | number): Generator<number> {
    for (const members of this.#membersOf(scope)) {
      for (const [entity, { region }] of members.grants) {
        if (this.#mayWrite(region) && !isHeld(members, entity, scope, this.nowUs)) yield entity;
      }
    }
  }

  /** The worker writes nothing more to the region. */
  letGo({ id, epoch }: Region): void {
    if (this.#regions.get(id)?.epoch === epoch) this.#flushed.add(id);
  }

  /** What it wrote before it let go of the region is on its way. */
  flush({ id, epoch }: Region): void {
    if (this.#flushed.has(id)) this.#toFlush.push({ region: id, epoch });
  }

  /** What is to be said; nothing is due afterwards. */
  takeReport(): AuthorityReport {
    const flushed = this.#toFlush.map(({ region, epoch }) => ({ region: BigInt(region), epoch: BigInt(epoch) }));
    const init: MessageInitShape<typeof AuthorityReportSchema> =
      { authoritySeen: BigInt(this.seen), flushed, warmed: this.#warmed.map(BigInt) };
    [this.#toFlush, this.#warmed, this.isUnseen] = [[], [], false];
    return create(AuthorityReportSchema, init);
  }

  /** Takes a message in. Returns what the worker is to hear of it. */
  accept({ number, body }: WireAuthority): AuthorityEvent[] {
    if (Number(number) !== this.seen + 1) {
      throw new ProtocolError(`authority message ${number} came where ${this.seen + 1} was due`);
    }
    this.seen++;
    const events = this.#take(body);
    if (this.isDraining && this.#regions.size === 0 && !this.#isDrained) {
      this.#isDrained = true;
      events.push(["drained", undefined]);
    }
    return events;
  }

  #take(body: WireAuthority["body"]): AuthorityEvent[] {
    switch (body.case) {
      case "gained": return this.#gain(regionOf(body.value));
      case "shaped": {
        const region = regionOf(body.value);
        this.#regions.set(region.id, region);
        return [["regionChanged", region]];
      }
      case "joined": {
        this.#join(Number(body.value.gone), Number(body.value.keep));
        return [];
      }
      case "borders": {
        const before = this.#regions.get(Number(body.value.region));
        if (before === undefined) return [];
        const region = { ...before, borders: body.value.borders.map(borderOf) };
        this.#regions.set(region.id, region);
        return [["regionChanged", region]];
      }
      case "lossImminent": {
        const region = this.#regions.get(Number(body.value.region));
        return region === undefined ? [] : [["lossImminent", { region, untilUs: Number(body.value.untilUs) }]];
      }
      case "kept": {
        const region = this.#regions.get(Number(body.value.region));
        this.#keep(Number(body.value.region));
        return region === undefined ? [] : [["kept", region]];
      }
      case "lost": return this.#lose(body.value);
      case "warm":
        // The server has filled the views around it.
        this.#warmed.push(Number(body.value.region));
        return [];
      case "drain":
        this.isDraining = true;
        return [["draining", undefined]];
      case "holds":
        for (const hold of body.value.holds) this.#hold(hold);
        return [];
      case "entities": return body.value.changes.flatMap((changes) => this.#hear(changes));
      default:
        // The views of what gets cool are the server's; what this SDK does not know is from a later version.
        return [];
    }
  }

  #gain(region: Region): AuthorityEvent[] {
    const isNew = !this.#regions.has(region.id);
    this.#regions.set(region.id, region);
    this.#flushed.delete(region.id);
    this.isUnseen = true;
    return [["regionGained", region], ...(isNew ? this.#tellMembers("gained", region.id) : [])];
  }

  #lose(lost: RegionLost): AuthorityEvent[] {
    const [id, epoch] = [Number(lost.region), Number(lost.epoch)];
    this.#keep(id);
    this.isUnseen = true;
    const events: AuthorityEvent[] = [];
    const region = this.#regions.get(id);
    if (region !== undefined) {
      events.push(...this.#tellMembers("lost", id), ["regionLost", { region, reason: lost.reason }]);
      this.#regions.delete(id);
    }
    // What came to it under a later grant stays: that grant is still to come.
    for (const { grants, holds } of this.#members) {
      for (const [entity, grant] of grants) if (grant.region === id && grant.epoch <= epoch) grants.delete(entity);
      for (const entity of holds.keys()) if (!grants.has(entity)) holds.delete(entity);
    }
    return events;
  }

  /** A tool has taken hold of a component, or has let go of it. */
  #hold({ entity, component, epoch, untilUs, over }: ComponentHold): void {
    for (const { holds } of this.#membersOf(component)) {
      const held = holds.get(Number(entity)) ?? new Map<number, Hold>();
      // Words of different partitions may come in any order: of two holds the later one counts.
      const last = held.get(component)?.epoch ?? 0n;
      if (!over && epoch > last) holds.set(Number(entity), held.set(component, { epoch, untilUs: Number(untilUs) }));
      else if (over && epoch === last) held.delete(component);
    }
  }

  #join(gone: number, keep: number): void {
    this.#regions.delete(gone);
    this.#flushed.delete(gone);
    for (const { grants } of this.#members) {
      for (const grant of grants.values()) if (grant.region === gone) grant.region = keep;
    }
  }

  /** Entities came to a region, or went. Tells of those for which that makes a difference. */
  #hear({ layer, region, epoch, gained, entities }: EntityChanges): AuthorityEvent[] {
    const members = this.#members.find((each) => each.layer.name === layer);
    // A layer that Welcome did not name writes nothing.
    if (members === undefined) return [];
    const of = { region: Number(region), epoch: Number(epoch) };
    const is = gained && this.#regions.has(of.region);
    const came: bigint[] = [];
    const went: bigint[] = [];
    for (const id of entities) {
      const entity = Number(id);
      const before = members.grants.get(entity);
      const was = before !== undefined && this.#regions.has(before.region);
      if (gained) members.grants.set(entity, { ...of });
      else {
        members.grants.delete(entity);
        members.holds.delete(entity);
      }
      if (was !== is) (is ? came : went).push(id);
    }
    // Of words of one kind only one of both has any.
    return [...tellOf("gained", layer, came), ...tellOf("lost", layer, went)];
  }

  #tellMembers(name: "gained" | "lost", region: number): AuthorityEvent[] {
    return this.#members.flatMap(({ layer, grants }) => {
      const ids = [...grants].filter(([, grant]) => grant.region === region).map(([entity]) => entity);
      return tellOf(name, layer.name, ids.sort((a, b) => a - b).map(BigInt));
    });
  }

  /** Nothing is to be flushed any more. */
  #keep(region: number): void {
    this.#flushed.delete(region);
    this.#toFlush = this.#toFlush.filter((grant) => grant.region !== region);
  }

  #mayWrite(region: number): boolean {
    return this.#regions.has(region) && !this.#flushed.has(region);
  }

  #membersOf(scope: string | number): readonly Members[] {
    const isMeant = ({ name, writes }: Layer) => typeof scope === "string" ? name === scope : writes.includes(scope);
    return this.#members.filter(({ layer }) => isMeant(layer));
  }
}

/** Whether a tool keeps that component to itself. A layer is not held. */
function isHeld({ holds }: Members, entity: number, scope: string | number, nowUs: number): boolean {
  const hold = typeof scope === "number" ? holds.get(entity)?.get(scope) : undefined;
  return hold !== undefined && hold.untilUs > nowUs;
}

function tellOf(name: "gained" | "lost", layer: string, ids: bigint[]): AuthorityEvent[] {
  return ids.length === 0 ? [] : [[name, { layer, ids }]];
}

function layerOf({ name, workerType, with: having, without, writes }: LayerInfo): Layer {
  return { name, workerType, with: having, without, writes };
}

function regionOf(lease: Lease): Region {
  const { region, layer, space, player, minX, minY, maxX, maxY, epoch, borders } = lease;
  const grant = { epoch: Number(epoch), borders: borders.map(borderOf) };
  return { id: Number(region), layer, space, player, minX, minY, maxX, maxY, ...grant };
}

function borderOf({ side, at, from, to, region, sessionId, epoch }: WireBorder): Border {
  const owner = sessionId === 0n ? undefined : sessionId;
  return { side, at, from, to, region: Number(region), sessionId: owner, epoch: Number(epoch) };
}

export { LossReason, Side };
