// What a view or a question says, from options to the wire.
//
// Responsible for: the options and their meaning; components by number.
// Not responsible for: conditions on entities (constraints.ts), sending (worker.ts).

import { create, type MessageInitShape } from "@bufbuild/protobuf";
import type { ComponentRef, ComponentTable } from "./components.js";
import { pointOf, type Place } from "./constraints.js";
import { PlaceSchema, type BandsSchema, type Constraint, type ViewSchema } from "./gen/spatialdb/v1/query_pb.js";
import { AskSchema, type Ask } from "./gen/spatialdb/v1/worker_pb.js";

/** A place that says its space; 0 if it is left out. */
export interface PlaceInSpace extends Place {
  space?: number;
}

/** Of what a view shows, the entities at most `radiusM` metres away. */
export interface Band {
  radiusM: number;
  /** As fast as the server publishes, if left out. */
  rateHz?: number;
  /** What to send at this rate; all that the view sends, if left out. Those of bands further out are sent too, at their rates. */
  components?: readonly ComponentRef[];
}

/** Rates by distance. From band to band the radius rises, and the rate falls down to the view's. */
export interface Bands {
  /** An entity, wherever it goes, or a place. */
  around: bigint | PlaceInSpace;
  bands: readonly Band[];
}

/** How many entities there are in each square of a space. */
export interface Densities {
  /** The side of a square; the server rounds up to that of a cell times a power of two. */
  squareM: number;
  /** Only squares that touch this box. */
  min?: { x: number; y: number };
  max?: { x: number; y: number };
  space?: number;
  /** Count each Metadata.type apart. */
  perType?: boolean;
}

/** What a view shows: entities `where` a constraint holds, or `densities` instead. */
export type ViewOptions = {
  /** The components to send; all, if left out. Position is one of them. */
  components?: readonly ComponentRef[];
  /** At most so many frames a second; as fast as the server publishes, if left out. */
  rateHz?: number;
  /** Send back what this session itself wrote. */
  ownUpdates?: boolean;
  /** Other rates nearby. */
  bands?: Bands;
} & ({ where: Constraint; densities?: never } | { densities: Densities; where?: never });

/** A question. */
export interface AskOptions {
  where: Constraint;
  /** The components to tell; all, if left out. Position is one of them. */
  components?: readonly ComponentRef[];
  /** At most so many entities. */
  limit?: number;
  /** Only how many match. */
  countOnly?: boolean;
  /** The nearest first, each with its distance. Entities without a position in that space are left out. */
  nearestTo?: PlaceInSpace;
}

export function viewOf(options: ViewOptions, table: ComponentTable): MessageInitShape<typeof ViewSchema> {
  const { where, densities, bands, rateHz = 0, ownUpdates = false } = options;
  return {
    ...(where === undefined ? {} : { constraint: where }),
    ...(densities === undefined ? {} : { densities: densitiesOf(densities) }),
    ...(bands === undefined ? {} : { bands: bandsOf(bands, table) }),
    components: numbersOf(options.components, table),
    rateHz,
    ownUpdates,
  };
}

export function askOf(options: AskOptions, table: ComponentTable): Ask {
  const { where, limit = 0, countOnly = false, nearestTo } = options;
  return create(AskSchema, {
    constraint: where, components: numbersOf(options.components, table), limit: BigInt(limit), countOnly,
    ...(nearestTo === undefined ? {} : { nearestTo: placeOf(nearestTo) }),
  });
}

function bandsOf({ around, bands }: Bands, table: ComponentTable): MessageInitShape<typeof BandsSchema> {
  return {
    from: typeof around === "bigint" ? { case: "entity", value: around } : { case: "place", value: placeOf(around) },
    bands: bands.map(({ radiusM, rateHz = 0, components }) => ({ radiusM, rateHz, components: numbersOf(components, table) })),
  };
}

function densitiesOf({ min, max, ...others }: Densities) {
  return { ...others, ...(min === undefined ? {} : { min: pointOf(min) }), ...(max === undefined ? {} : { max: pointOf(max) }) };
}

function placeOf({ space = 0, ...point }: PlaceInSpace) {
  return create(PlaceSchema, { space, point: pointOf({ z: 0, ...point }) });
}

function numbersOf(components: readonly ComponentRef[] = [], table: ComponentTable): number[] {
  return components.map((component) => table.idOf(component));
}
