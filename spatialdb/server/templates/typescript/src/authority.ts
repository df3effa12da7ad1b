// What this worker may write. proto/spatialdb/v1/authority.proto has the rules.
//
// Regions of a layer belong to workers, and entities belong to regions. The world tells what comes and what goes; a write is
// taken if the worker owned the entity and knew it: it names the last word that it has heard, `seen`. A world without
// layers is open: there anybody may write everything.

/** As much of the messages as this file reads. */
export interface Layer {
  name: string;
  writes: number[];
}
interface Grant {
  region: number;
  epoch: number;
}
export interface Word {
  number: number;
  body?: "gained" | "shaped" | "joined" | "loss_imminent" | "kept" | "lost" | "warm" | "drain" | "entities" | string;
  gained?: Grant;
  shaped?: Grant;
  joined?: { gone: number; keep: number };
  loss_imminent?: Grant;
  kept?: Grant;
  lost?: Grant;
  warm?: Grant;
  entities?: { changes: { layer: string; region: number; epoch: number; gained: boolean; entities: number[] }[] };
}
/** What is answered. */
export interface Report {
  authority_seen: number;
  flushed?: Grant[];
  warmed?: number[];
}

export class Authority {
  seen = 0;
  /** Which grant, of the regions that are ours. */
  readonly #regions = new Map<number, number>();
  /** Regions of ours that somebody else is about to get. */
  readonly #letGo = new Set<number>();
  /** The region of each entity, by layer. */
  readonly #homes: Map<string, Map<number, Grant>>;
  readonly #layers: readonly Layer[];
  /** Regions that we may get once we see what is there. */
  #toWarm: number[] = [];
  #isDraining = false;

  constructor(layers: readonly Layer[]) {
    this.#layers = layers;
    this.#homes = new Map(layers.map((layer) => [layer.name, new Map()]));
  }

  /** Whether the worker was told to give up all it has, and has: then it should end. */
  get isDrained(): boolean {
    return this.#isDraining && this.#regions.size === 0;
  }

  /** Whether this worker may write that component of the entity. */
  owns(entity: number, component: number): boolean {
    if (this.#layers.length === 0) return true;
    return this.#layers.some((layer) => {
      const region = layer.writes.includes(component) ? this.#homes.get(layer.name)?.get(entity)?.region : undefined;
      return region !== undefined && this.#regions.has(region) && !this.#letGo.has(region);
    });
  }

  /** Takes in one word. What has to be answered, if anything. */
  hear(word: Word): Report | undefined {
    this.seen = word.number;
    const { joined, lost, loss_imminent: loss } = word;
    const grant = word.gained ?? word.shaped;
    if (grant) this.#regions.set(grant.region, grant.epoch);
    if (joined) {
      this.#regions.delete(joined.gone);
      this.#eachHome((home) => (home.region === joined.gone ? { ...home, region: joined.keep } : home));
    }
    if (lost) {
      this.#regions.delete(lost.region);
      // What came to it under a later grant stays: that grant is still to come.
      this.#eachHome((home) => (home.region === lost.region && home.epoch <= lost.epoch ? undefined : home));
    }
    // All that the worker knows it has written already, so it lets go at once.
    if (loss) this.#letGo.add(loss.region);
    if (word.warm) this.#toWarm.push(word.warm.region);
    if (word.body === "drain") this.#isDraining = true;
    for (const { layer, region, epoch, gained, entities } of word.entities?.changes ?? []) {
      const homes = this.#homes.get(layer);
      for (const entity of entities) {
        if (gained) homes?.set(entity, { region, epoch });
        else homes?.delete(entity);
      }
    }
    const settled = word.gained ?? word.kept ?? lost;
    if (settled) this.#letGo.delete(settled.region);
    if (loss) return { authority_seen: this.seen, flushed: [{ region: loss.region, epoch: loss.epoch }] };
    return word.gained || lost ? { authority_seen: this.seen } : undefined;
  }

  /** To be told once the worker sees what is in the regions that it may get. */
  warmed(): Report | undefined {
    if (this.#toWarm.length === 0) return undefined;
    const warmed = this.#toWarm;
    this.#toWarm = [];
    return { authority_seen: this.seen, warmed };
  }

  #eachHome(change: (home: Grant) => Grant | undefined): void {
    for (const homes of this.#homes.values()) {
      for (const [entity, home] of homes) {
        const changed = change(home);
        if (changed) homes.set(entity, changed);
        else homes.delete(entity);
      }
    }
  }
}
